"""A city of every strategy on the fake: machines, playbooks, people and a vendor, killed and resumed."""

from pathlib import Path

import pytest

from automation.engine.journal import read_journal
from automation.model.actions import Action, RunPlaybook, SwapAddress
from automation.model.environment import load_environment
from automation.model.errors import AdapterError
from automation.model.observations import PostgresqlCluster
from automation.model.plan import Plan, Step
from automation.model.records import Event, GateAnswered, StepEnded, StepStarted
from automation.recovery.planner import City, compile_drill
from automation.recovery.spec import load_drill
from tests.fakes.city import FakeCity
from tests.fakes.lives import Fate, live, read_fold
from tests.on_premises import load_on_premises
from tests.recovery.conftest import IDENTIFIER, REPOSITORY, make_inventory
from tests.recovery.mixed import mix, plan_of

NOTICES = "notices.service"


def compile_plan() -> Plan:
    standby = PostgresqlCluster(host="pg-b", system_identifier=IDENTIFIER, timeline=3, in_recovery=True)
    city = City(
        environment=load_environment(REPOSITORY, "lab"),
        inventory=make_inventory(),
        catalog=load_on_premises(),
        clusters={"pg-b": standby},
    )
    return compile_drill(load_drill(REPOSITORY, "site-loss"), plan_of(), mix(city), declared_by="coordinator")


PLAN = compile_plan()
GATES = {step.id for step in PLAN.steps if step.gate}


class MixedCity(FakeCity):
    """A city whose notices are brought over by playbooks: never at two sites, never unverified."""

    def __init__(self) -> None:
        super().__init__()
        self.hosts["app-a"].units.add(NOTICES)
        for names in self.names.values():
            names["notices.city.lab"] = "10.77.1.30"

    def _act(self, action: Action) -> bool:
        run = getattr(action, "run", action)
        if not isinstance(run, RunPlaybook):
            moves = isinstance(run, SwapAddress) and run.name == "notices.city.lab"
            if moves and NOTICES not in self.hosts["app-b"].units:
                self.broken.append("the name of the notices moved before they were there")
            return super()._act(action)
        before = repr(self.state())
        assert run.variables["mainstay_mode"] == "exercise"
        old, new = self.hosts["app-a"].units, self.hosts[str(run.variables["mainstay_hosts"])].units
        if run.playbook.endswith("fence.yml"):
            old.discard(NOTICES)
        elif run.playbook.endswith("recover.yml"):
            if NOTICES in old:
                self.broken.append("the notices run at two sites")
            new.add(NOTICES)
        elif NOTICES not in new:
            raise AdapterError("the notices do not run")
        return repr(self.state()) != before


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the disk alone; that every event is synced has tests of its own."""
    monkeypatch.setattr("os.fdatasync", lambda descriptor: None)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def yes(step: Step) -> GateAnswered:
    return GateAnswered(step=step.id, answer="yes", by="clerk")


@pytest.fixture(scope="module")
def unstopped(tmp_path_factory: pytest.TempPathFactory) -> FakeCity:
    folder, city = tmp_path_factory.mktemp("unstopped"), MixedCity()
    assert live(PLAN, folder, city, ask=yes)
    closed = read_fold(folder).closed
    assert closed is not None
    assert closed.status == "succeeded"
    assert (city.promotions, city.broken) == (1, [])
    return city


def test_with_nobody_to_ask_machines_recover_theirs_and_the_run_waits_for_people(tmp_path: Path) -> None:
    city = MixedCity()
    live(PLAN, tmp_path, city)
    folded = read_fold(tmp_path)
    assert folded.closed is not None
    assert (folded.closed.status, set(folded.closed.gates)) == (
        "paused",
        {"switchboard/line-1", "portal/call"},
    )
    assert {"checks", "notices/dns-web", "payments/dns-web"} <= set(folded.succeeded)
    assert (city.promotions, city.broken) == (1, [])


def test_who_answered_each_line_and_when_stands_in_the_journal(tmp_path: Path) -> None:
    live(PLAN, tmp_path, MixedCity(), ask=yes)
    bodies = [event.body for event in read_journal(tmp_path / "journal.jsonl")]
    assert {body.step: body.by for body in bodies if isinstance(body, GateAnswered)} == dict.fromkeys(
        GATES, "clerk"
    )
    own = [b.step for b in bodies if isinstance(b, StepStarted) and b.step.startswith("switchboard/")]
    assert own == ["switchboard/line-1", "switchboard/line-2", "switchboard/sign-off"]


def test_a_line_that_is_not_done_holds_back_the_sign_off_and_nothing_else(tmp_path: Path) -> None:
    def answer(step: Step) -> GateAnswered:
        said = "no" if step.id == "switchboard/line-2" else "yes"
        return GateAnswered(step=step.id, answer=said, by="clerk")

    live(PLAN, tmp_path, MixedCity(), ask=answer)
    folded = read_fold(tmp_path)
    assert folded.closed is not None
    assert folded.closed.status == "paused"
    assert set(folded.closed.not_started) == {"switchboard/sign-off", "witness/collect", "writes/payments"}
    assert "portal/sign-off" in folded.succeeded


@pytest.mark.parametrize("fate", Fate, ids=lambda fate: fate.name.lower())
def test_killed_after_any_event_and_resumed_the_city_ends_the_same(
    fate: Fate, unstopped: FakeCity, tmp_path: Path
) -> None:
    for number in range(0, 2 * len(PLAN.steps) + len(GATES), 3):
        folder, city = tmp_path / str(number), MixedCity()
        folder.mkdir()
        live(PLAN, folder, city, until=lambda event, at=number: event.sequence >= at, fate=fate, ask=yes)
        assert live(PLAN, folder, city, ask=yes)
        folded = read_fold(folder)
        assert folded.closed is not None
        assert folded.closed.status == "succeeded", f"event {number}"
        assert city.state() == unstopped.state(), f"event {number}"


def test_a_citys_own_fence_is_done_again_before_a_resumed_run_recovers(tmp_path: Path) -> None:
    city = MixedCity()

    def fenced(event: Event) -> bool:
        return isinstance(event.body, StepEnded) and event.body.step == "notices/fence"

    live(PLAN, tmp_path, city, until=fenced, ask=yes)
    city.hosts["app-a"].units.add(NOTICES)  # the old site is back, and serves again
    assert live(PLAN, tmp_path, city, ask=yes)
    bodies = [event.body for event in read_journal(tmp_path / "journal.jsonl")]
    began = [b.step for b in bodies if isinstance(b, StepStarted) and b.step.startswith("notices/")]
    assert began.count("notices/fence") == 2
    assert (city.promotions, city.broken) == (1, [])
    assert NOTICES not in city.hosts["app-a"].units
