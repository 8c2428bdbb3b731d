"""A failover by a restore, killed at every event: nothing is restored beside a primary that serves."""

from pathlib import Path

import pytest

from automation.engine.journal import read_journal
from automation.model.actions import Action, RestoreCluster, RunPlaybook
from automation.model.errors import AdapterError
from automation.model.plan import Plan
from automation.model.records import Event, StepEnded, StepStarted
from automation.recovery.failover import compile_failover
from tests.fakes.city import FakeCity
from tests.fakes.lives import Fate, live, read_fold
from tests.recovery.isolated_city import PLAN as RULES
from tests.recovery.isolated_city import make_isolated_city, make_restorable
from tests.recovery.test_restore_from_backup import ASKED, DB, STRATEGY


def compile_plan() -> Plan:
    city = make_isolated_city()
    services = dict(city.catalog.services)
    services[DB] = services[DB].model_copy(update={"strategy": STRATEGY})
    catalog = city.catalog.model_copy(update={"services": services})
    asked = city._replace(catalog=catalog, clusters={}, restorables={DB: make_restorable()})
    return compile_failover(ASKED, RULES, asked)


PLAN = compile_plan()
HELD = {f"{DB}/{what}" for what in ("fence-power", "fence-network", "fence-proof", "dns-answers")}
each_fate = pytest.mark.parametrize("fate", Fate, ids=lambda fate: fate.name.lower())


class RestoringCity(FakeCity):
    """A city with no standby, whose first restores may fail; its old primary runs until it is fenced."""

    def __init__(self, refusals: int = 0) -> None:
        super().__init__()
        self.hosts["pg-b"].primary = None
        self.refusals = refusals
        self.configured = False

    def _act(self, action: Action) -> bool:
        if isinstance(action, RestoreCluster) and self.refusals:
            self.refusals -= 1
            raise AdapterError("no room on its disk; nothing was changed")
        if isinstance(action, RunPlaybook):
            self.configured = True
            return True
        return super()._act(action)

    def bring_back(self) -> None:
        """Somebody starts the old primary by hand, long after it was fenced."""
        old = self.hosts["pg-a"]
        old.on, old.autostart, old.blocked = True, True, False


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fdatasync", lambda descriptor: None)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def unstopped(tmp_path_factory: pytest.TempPathFactory) -> FakeCity:
    folder, city = tmp_path_factory.mktemp("unstopped"), RestoringCity()
    assert live(PLAN, folder, city)
    closed = read_fold(folder).closed
    assert closed is not None
    assert closed.status == "succeeded"
    assert (city.promotions, city.broken, city.configured) == (1, [], True)
    return city


def began(event: Event, step: str) -> bool:
    return isinstance(event.body, StepStarted) and event.body.step == step


def order(folder: Path) -> list[str]:
    """Every start and every good end, in order: `+step`, `-step`."""
    told = []
    for event in read_journal(folder / "journal.jsonl"):
        if isinstance(event.body, StepStarted):
            told.append(f"+{event.body.step}")
        elif isinstance(event.body, StepEnded) and event.body.status == "succeeded":
            told.append(f"-{event.body.step}")
    return told


@each_fate
def test_killed_at_every_event_and_again_while_resuming_the_city_ends_the_same(
    fate: Fate, unstopped: FakeCity, tmp_path: Path
) -> None:
    for number in range(2 * len(PLAN.steps)):
        folder, city = tmp_path / str(number), RestoringCity()
        folder.mkdir()
        live(PLAN, folder, city, until=lambda event, at=number: event.sequence >= at, fate=fate)
        live(PLAN, folder, city, until=lambda event, at=number: event.sequence >= at + 3, fate=fate)
        assert live(PLAN, folder, city)
        folded = read_fold(folder)
        assert folded.closed is not None
        assert folded.closed.status == "succeeded", f"event {number}"
        assert city.state() == unstopped.state(), f"event {number}"
        ends = [told for told in order(folder) if told.startswith("-")]
        twice = {told[1:] for told in ends if ends.count(told) > 1}
        assert all(PLAN.step(name).run.holds for name in twice), f"event {number}: {twice}"


@each_fate
def test_a_restore_long_after_its_fences_is_fenced_and_proven_again(fate: Fate, tmp_path: Path) -> None:
    for number in range(12):
        folder, city = tmp_path / str(number), RestoringCity(refusals=1)
        folder.mkdir()
        assert live(PLAN, folder, city)
        assert f"{DB}/restore" in read_fold(folder).failed
        city.bring_back()
        at = len(list(read_journal(folder / "journal.jsonl")))
        live(PLAN, folder, city, until=lambda event, at=at + number: event.sequence >= at, fate=fate)
        assert live(PLAN, folder, city)
        assert (city.promotions, city.broken) == (1, []), number
        assert {name for name in HELD if order(folder).count(f"+{name}") < 2} == set()


def test_a_restore_that_never_began_is_fenced_and_proven_again(tmp_path: Path) -> None:
    """The controller died when the start was written down, and the old primary was brought back."""
    city = RestoringCity()
    live(PLAN, tmp_path, city, until=lambda event: began(event, f"{DB}/restore"), fate=Fate.LOST)
    city.bring_back()
    assert live(PLAN, tmp_path, city)
    assert (city.promotions, city.broken) == (1, [])


def test_while_a_restore_goes_on_by_itself_what_follows_it_waits_for_the_fences(tmp_path: Path) -> None:
    city = RestoringCity()
    live(PLAN, tmp_path, city, until=lambda event: began(event, f"{DB}/restore"), fate=Fate.LOST)
    city.answers[f"{DB}/restore:1"] = "runs"  # the command arrived, and its unit runs
    before = len(order(tmp_path))
    assert live(PLAN, tmp_path, city)
    since = order(tmp_path)[before:]
    assert f"+{DB}/restore" not in since  # it was joined
    assert {f"-{name}" for name in HELD} <= set(since[: since.index(f"+{DB}/configure")])


def test_once_it_is_restored_nothing_is_fenced_again(tmp_path: Path) -> None:
    city = RestoringCity()
    live(PLAN, tmp_path, city, until=lambda event: began(event, f"{DB}/configure"), fate=Fate.LOST)
    before = len(order(tmp_path))
    assert live(PLAN, tmp_path, city)
    assert not {f"+{name}" for name in HELD} & set(order(tmp_path)[before:])


def test_this_city_sees_a_restore_without_fences() -> None:
    """The guard itself: a restore beside a primary that serves is caught, or the walk would prove nothing."""
    city = RestoringCity()
    city._act(PLAN.step(f"{DB}/restore").run)
    assert city.broken == ["restored without both fences"]
