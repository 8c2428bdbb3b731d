"""A planned migration and a failback, killed at every event and resumed, failed at every step and undone."""

from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import pytest

from automation.engine.abort import abort
from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.journal import Journal, read_journal
from automation.model.actions import CollectWitness, Promote, StartWitness
from automation.model.errors import AdapterError
from automation.model.observations import PostgresqlCluster
from automation.model.plan import Plan, Step
from automation.model.records import AbortStarted, Event, GateAnswered, Outcome, StepEnded
from automation.recovery.failback import compile_failback
from automation.recovery.migration import compile_migration
from automation.recovery.spec import Switch, load_plan
from automation.recovery.turning import turn_from
from tests.fakes.city import FakeCity
from tests.fakes.lives import Fate, live, read_fold
from tests.recovery.conftest import IDENTIFIER, REPOSITORY, make_city

CITY = make_city()
RECOVERY = load_plan(REPOSITORY, "city")
AT_HOME, AWAY = frozenset({"1", "2"}), frozenset({"1", "3"})


def primary(host: str, timeline: int) -> PostgresqlCluster:
    return PostgresqlCluster(host=host, system_identifier=IDENTIFIER, timeline=timeline, in_recovery=False)


def compile_plan(mode: str, rebuild: str = "rewind") -> Plan:
    site, serves = ("city-hall", primary("pg-a", 3)) if mode == "migration" else ("eoc", primary("pg-b", 4))
    asked = Switch.model_validate(
        {"name": mode, "title": mode, "plan": "city", "site": "city-hall", "pause_s": 30, "rebuild": rebuild}
    )
    services = turn_from(CITY.catalog, site)
    city = CITY._replace(clusters={serves.host: serves})
    if mode == "migration":
        return compile_migration(asked, RECOVERY, city, services)
    return compile_failback(asked, RECOVERY, city, services, fenced={"pg-a"})


def make_world(plan: Plan) -> FakeCity:
    """The city before a migration, or after a failover whose site is well again."""
    city = FakeCity()
    old, new = city.hosts["pg-a"], city.hosts["pg-b"]
    old.writes = new.writes = frozenset({"1"})
    if plan.mode == "failback":
        old.on = old.autostart = False
        old.blocked = True
        old.writes, new.writes = AT_HOME, AWAY
        new.primary, new.timeline = True, 4
        city.hosts["app-b"].units.add("payments.service")
        city.names["dns-b"] = {"pay-db.city.lab": "10.77.2.20", "pay.city.lab": "10.77.2.30"}
    return city


PLANS = {
    "migration": compile_plan("migration"),
    "failback": compile_plan("failback"),
    "failback by a copy": compile_plan("failback", "basebackup"),
}
each_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the disk alone; that every event is synced has tests of its own."""
    monkeypatch.setattr("os.fdatasync", lambda descriptor: None)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def yes(step: Step) -> GateAnswered:
    return GateAnswered(step=step.id, answer="yes", by="coordinator")


def check_served(city: FakeCity, plan: Plan, where: str) -> None:
    """One primary that serves, the other one its standby, names and services beside it; nothing is lost."""
    new, old = ("pg-a", "pg-b") if plan.mode == "failback" else ("pg-b", "pg-a")
    site = "1" if plan.mode == "failback" else "2"
    assert city.broken == [], where
    assert city.promotions == 1, where
    assert (city.hosts[new].primary, city.hosts[new].blocked, city.hosts[new].autostart) == (
        True,
        False,
        True,
    )
    standby = city.hosts[old]
    assert (standby.primary, standby.runs, standby.only_standby, standby.masked) == (False, True, True, False)
    assert not standby.blocked
    assert standby.timeline == city.hosts[new].timeline
    assert all(address.startswith(f"10.77.{site}.") for at in city.names.values() for address in at.values())
    running = {name for name, host in city.hosts.items() if "payments.service" in host.units}
    assert running == {"app-a" if plan.mode == "failback" else "app-b"}
    if plan.mode == "failback":
        assert (city.exported, city.hosts["pg-a"].kept) == (AT_HOME - AWAY, AT_HOME), where
        assert city.hosts["pg-a"].writes == AWAY


# The two failbacks differ in one step: one fate is enough for the second.
WALKS = [(name, fate) for name in ("migration", "failback") for fate in Fate]


@pytest.mark.parametrize(("name", "fate"), [*WALKS, ("failback by a copy", Fate.LATE)])
def test_killed_at_every_event_and_again_while_resuming_the_roles_are_exchanged_once(
    name: str, fate: Fate, tmp_path: Path
) -> None:
    plan = PLANS[name]

    def at_or_after(number: int) -> Callable[[Event], bool]:
        return lambda event: event.sequence >= number

    # A third of the events for each fate, another third for the next: all together every one.
    for number in range(list(Fate).index(fate), 2 * len(plan.steps), len(Fate)):
        folder, city = tmp_path / str(number), make_world(plan)
        folder.mkdir()
        live(plan, folder, city, until=at_or_after(number), fate=fate, ask=yes)
        live(plan, folder, city, until=at_or_after(number + 3), fate=fate, ask=yes)
        assert live(plan, folder, city, ask=yes)
        closed = read_fold(folder).closed
        assert closed is not None
        assert closed.status == "succeeded", f"event {number}"
        check_served(city, plan, f"event {number}")


# --- what fails before the promotion is taken back --------------------------------------------------


class Failing(FakeCity):
    """A city where one step fails for good, with its effect or without it."""

    def __init__(self, step: str, *, done: bool) -> None:
        super().__init__()
        self.step, self.done = step, done

    def work(self, cut: Callable[[], Fate | None]) -> Work:
        inner = super().work(cut)

        def perform(step: Step, ctx: RunContext) -> Outcome:
            if step.id != self.step:
                return inner.perform(step, ctx)
            if self.done:
                inner.perform(step, ctx)
            raise AdapterError("it fails for good")

        return Work(perform=perform, verify=inner.verify, undo=inner.undo)


def take_back(plan: Plan, folder: Path, city: FakeCity) -> str:
    """Give the run up with undo, as the command does by itself."""
    journal = Journal(folder / "journal.jsonl")
    folded = read_fold(folder)

    def append(body: object) -> None:
        folded.add(journal.append(body))  # type: ignore[arg-type]

    append(AbortStarted(actor="a", reason="it failed", undo=True))
    ctx = RunContext("r", None, None, folder, folder, folder, None, lambda s, t: None)  # type: ignore[arg-type]
    closed = abort(plan, ctx, folded, append, city.work(lambda: None), SimpleQueue())
    journal.close()
    return closed.status


def before_promotion(plan: Plan) -> list[str]:
    promote = next(step.id for step in plan.steps if isinstance(step.run, Promote))
    stands_on = plan.stands_on(promote)
    return [step.id for step in plan.steps if step.id in stands_on]


@pytest.mark.parametrize("done", [False, True], ids=["without its effect", "with its effect"])
def test_a_migration_that_fails_before_its_promotion_is_taken_back_exactly(
    done: bool, tmp_path: Path
) -> None:
    plan = PLANS["migration"]
    for number, name in enumerate(before_promotion(plan)):
        folder, city = tmp_path / str(number), Failing(name, done=done)
        folder.mkdir()
        city.__dict__.update({k: v for k, v in vars(make_world(plan)).items() if k != "_lock"})
        live(plan, folder, city)
        assert city.promotions == 0, name
        assert take_back(plan, folder, city) == "aborted", name
        as_it_was = make_world(plan)
        as_it_was.witness = city.witness
        assert city.state() == as_it_was.state(), name


def test_a_failback_that_fails_before_its_promotion_leaves_home_fenced_and_the_other_site_serving(
    tmp_path: Path,
) -> None:
    plan = PLANS["failback"]
    for number, name in enumerate(before_promotion(plan)):
        folder, city = tmp_path / str(number), Failing(name, done=False)
        folder.mkdir()
        city.__dict__.update({k: v for k, v in vars(make_world(plan)).items() if k != "_lock"})
        live(plan, folder, city, ask=yes)
        assert city.promotions == 0, name
        assert take_back(plan, folder, city) == "aborted", name
        assert city.broken == [], name
        assert city.hosts["pg-a"].fenced(), name
        assert city._serves("pg-b"), name
        assert "payments.service" in city.hosts["app-b"].units, name
        assert city.hosts["pg-b"].slots == set(), name


@each_plan
def test_after_the_promotion_nothing_that_it_stands_on_is_taken_back(plan: Plan, tmp_path: Path) -> None:
    city = Failing("clients-good", done=False)
    city.__dict__.update({k: v for k, v in vars(make_world(plan)).items() if k != "_lock"})
    live(plan, tmp_path, city, ask=yes)
    assert city.promotions == 1
    take_back(plan, tmp_path, city)
    assert city.broken == []
    assert sum(city._serves(name) for name in city.hosts) == 1


def test_nothing_of_the_old_data_goes_before_a_person_says_yes(tmp_path: Path) -> None:
    plan = PLANS["failback"]
    city = make_world(plan)
    assert live(plan, tmp_path, city)
    home = city.hosts["pg-a"]
    assert (home.blocked, home.writes, home.kept) == (True, AT_HOME, AT_HOME)
    closed = read_fold(tmp_path).closed
    assert closed is not None
    assert (closed.status, closed.gates) == ("paused", ("payments-db/home-unblock",))


def test_an_old_primary_that_was_brought_back_by_hand_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    """Between the controller's death and the resume: released, started as primary, and written to."""
    plan = PLANS["migration"]
    city = make_world(plan)
    live(plan, tmp_path, city, until=lambda event: _began(event, "payments-db/promote"), fate=Fate.LOST)
    old = city.hosts["pg-a"]
    old.primary, old.runs, old.only_standby, old.blocked = True, True, False, False
    old.writes |= {"late"}
    live(plan, tmp_path, city)
    assert (city.promotions, city.broken) == (0, [])
    assert "payments-db/replayed" in read_fold(tmp_path).failed


def serve_again(city: FakeCity) -> None:
    """By hand, behind its fence: the old primary is one again, and takes a write."""
    old = city.hosts["pg-a"]
    old.primary, old.runs, old.only_standby, old.masked = True, True, False, False
    old.writes |= {"late"}


@pytest.mark.parametrize("step", ["payments-db/held", "payments-db/release"])
def test_a_fence_stays_when_the_old_primary_could_serve_again_before_a_resume(
    step: str, tmp_path: Path
) -> None:
    """A look that succeeded before is worth nothing: done again, also before a lift that is in doubt."""
    plan = PLANS["migration"]
    city = make_world(plan)
    live(plan, tmp_path, city, until=lambda event: _began(event, step), fate=Fate.LOST)
    assert city.promotions == 1
    serve_again(city)
    live(plan, tmp_path, city)
    assert (city.broken, city.hosts["pg-a"].blocked) == ([], True)
    assert "payments-db/held" in read_fold(tmp_path).failed


def test_a_fence_stays_when_the_old_primary_could_serve_when_a_person_says_yes(tmp_path: Path) -> None:
    plan = PLANS["failback"]
    city = make_world(plan)

    def after_hours(step: Step) -> GateAnswered:
        serve_again(city)
        return yes(step)

    live(plan, tmp_path, city, ask=after_hours)
    assert (city.broken, city.hosts["pg-a"].blocked) == ([], True)
    assert "payments-db/home-held" in read_fold(tmp_path).failed


def _began(event: Event, step: str) -> bool:
    return event.body.kind == "step-started" and event.body.step == step


@each_plan
def test_a_plan_looks_again_at_what_must_hold_when_its_promotion_is_resumed(
    plan: Plan, tmp_path: Path
) -> None:
    city = make_world(plan)
    promote = next(step.id for step in plan.steps if isinstance(step.run, Promote))
    live(plan, tmp_path, city, until=lambda event: _began(event, promote), fate=Fate.LOST, ask=yes)
    assert live(plan, tmp_path, city, ask=yes)
    ends = [e.body.step for e in read_journal(tmp_path / "journal.jsonl") if isinstance(e.body, StepEnded)]
    again = {name for name in ends if ends.count(name) > 1 and not plan.step(name).run.guards}
    assert again == {step for step in plan.stands_on(promote) if plan.step(step).run.holds}
    assert {"payments-db/replayed", "payments-db/fence-network", "payments-db/fence-proof"} <= again
    assert not any(isinstance(plan.step(name).run, StartWitness | CollectWitness) for name in again)
