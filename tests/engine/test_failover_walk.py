"""The real failover plan, killed at every boundary, before, within and after each step, and resumed."""

from pathlib import Path

import pytest

from automation.engine.journal import read_journal
from automation.model.actions import Promote
from automation.model.environment import load_environment
from automation.model.observations import PostgresqlCluster
from automation.model.plan import Plan
from automation.model.records import Event, StepEnded, StepStarted
from automation.recovery.planner import City, compile_drill
from automation.recovery.spec import load_drill, load_plan
from tests.fakes.city import FakeCity
from tests.fakes.lives import Fate, live, read_fold
from tests.on_premises import load_on_premises
from tests.recovery.conftest import IDENTIFIER, REPOSITORY, make_inventory


def compile_plan() -> Plan:
    standby = PostgresqlCluster(host="pg-b", system_identifier=IDENTIFIER, timeline=3, in_recovery=True)
    city = City(
        environment=load_environment(REPOSITORY, "lab"),
        inventory=make_inventory(),
        catalog=load_on_premises(),
        clusters={"pg-b": standby},
    )
    drill = load_drill(REPOSITORY, "site-loss")
    return compile_drill(drill, load_plan(REPOSITORY, drill.plan), city, declared_by="coordinator")


PLAN = compile_plan()


@pytest.fixture(scope="module")
def unstopped(tmp_path_factory: pytest.TempPathFactory) -> FakeCity:
    folder, city = tmp_path_factory.mktemp("unstopped"), FakeCity()
    assert live(PLAN, folder, city)
    closed = read_fold(folder).closed
    assert closed is not None
    assert closed.status == "succeeded"
    assert (city.promotions, city.broken) == (1, [])
    return city


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the disk alone; that every event is synced has tests of its own."""
    monkeypatch.setattr("os.fdatasync", lambda descriptor: None)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def began(event: Event, step: str) -> bool:
    return isinstance(event.body, StepStarted) and event.body.step == step


def ended(event: Event, step: str) -> bool:
    return isinstance(event.body, StepEnded) and event.body.step == step


@pytest.mark.parametrize("fate", Fate, ids=lambda fate: fate.name.lower())
@pytest.mark.parametrize("when", [began, ended], ids=["begun", "ended"])
def test_killed_around_every_step_and_resumed_the_city_ends_the_same(
    when: object, fate: Fate, unstopped: FakeCity, tmp_path: Path
) -> None:
    assert callable(when)
    for step in PLAN.steps:
        folder, city = tmp_path / step.id.replace("/", "-"), FakeCity()
        folder.mkdir()
        live(PLAN, folder, city, until=lambda event, name=step.id: when(event, name), fate=fate)
        assert city.broken == [], f"killed when {step.id} had {when.__name__}"
        assert live(PLAN, folder, city)
        check_end(folder, city, unstopped, step.id)


@pytest.mark.parametrize("fate", Fate, ids=lambda fate: fate.name.lower())
def test_killed_at_every_event_and_again_while_resuming_the_city_ends_the_same(
    fate: Fate, unstopped: FakeCity, tmp_path: Path
) -> None:
    for number in range(2 * len(PLAN.steps)):
        folder, city = tmp_path / str(number), FakeCity()
        folder.mkdir()
        live(PLAN, folder, city, until=lambda event, at=number: event.sequence >= at, fate=fate)
        live(PLAN, folder, city, until=lambda event, at=number: event.sequence >= at + 3, fate=fate)
        assert live(PLAN, folder, city)
        check_end(folder, city, unstopped, f"event {number}")


def check_end(folder: Path, city: FakeCity, unstopped: FakeCity, where: str) -> None:
    folded = read_fold(folder)
    assert folded.closed is not None
    assert folded.closed.status == "succeeded", where
    assert city.state() == unstopped.state(), where
    events = read_journal(folder / "journal.jsonl")
    ends = [e.body.step for e in events if isinstance(e.body, StepEnded) and e.body.status == "succeeded"]
    assert set(ends) == set(PLAN.by_id), where
    twice = {name for name in ends if ends.count(name) > 1}
    assert all(PLAN.step(name).run.holds for name in twice), f"{where}: an end is there twice"


HELD = {f"payments-db/{name}" for name in ("fence-power", "fence-network", "fence-proof", "dns-answers")}


class Forgetful(FakeCity):
    """A city where the first promotion fails."""

    refusals = 1

    def _promote_now(self, action: Promote) -> str:
        if self.refusals:
            self.refusals -= 1
            return "no room on its disk"
        return super()._promote_now(action)


@pytest.mark.parametrize("fate", Fate, ids=lambda fate: fate.name.lower())
def test_a_promotion_long_after_its_fences_is_fenced_and_proven_again(fate: Fate, tmp_path: Path) -> None:
    """By hand, between the run and its resume, the old primary was brought back and serves."""
    for number in range(16):
        folder, city = tmp_path / str(number), Forgetful()
        folder.mkdir()
        assert live(PLAN, folder, city)
        assert "payments-db/promote" in read_fold(folder).failed
        old = city.hosts["pg-a"]
        old.on, old.autostart, old.blocked = True, True, False
        at = len(list(read_journal(folder / "journal.jsonl")))
        live(PLAN, folder, city, until=lambda event, at=at + number: event.sequence >= at, fate=fate)
        assert live(PLAN, folder, city)
        assert (city.promotions, city.broken) == (1, [])
        again = [e.body.step for e in read_journal(folder / "journal.jsonl") if began_any(e)]
        assert {name for name in HELD if again.count(name) < 2} == set()
        assert again.count("fault/1-power-loss") == again.count("declare") == 1


def began_any(event: Event) -> bool:
    return isinstance(event.body, StepStarted)


@pytest.mark.parametrize("fate", [Fate.LOST], ids=["lost"])
def test_a_promotion_that_never_began_is_fenced_and_proven_again(fate: Fate, tmp_path: Path) -> None:
    """The controller died when the start was written down, and the old primary was brought back."""
    city = FakeCity()
    live(PLAN, tmp_path, city, until=lambda event: began(event, "payments-db/promote"), fate=fate)
    old = city.hosts["pg-a"]
    old.on, old.autostart, old.blocked = True, True, False
    assert live(PLAN, tmp_path, city)
    assert (city.promotions, city.broken) == (1, [])


def test_this_city_sees_a_promotion_without_fences() -> None:
    """The guard itself: a plan that promotes first is caught, or the walk would prove nothing."""
    city = FakeCity()
    promote = next(step for step in PLAN.steps if step.id == "payments-db/promote")
    city._promote(promote.run, "unit", late=False)  # type: ignore[arg-type]
    assert city.broken == ["promoted without both fences", "two primaries serve"]
