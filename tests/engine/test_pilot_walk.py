"""A pilot light moves, killed at every event and resumed: one database takes writes, what serves stays up."""

from collections.abc import Callable
from pathlib import Path

import pytest

from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.journal import read_journal
from automation.model.actions import (
    Action,
    BlockDatabase,
    BlockInstance,
    CreateInstance,
    CreateReplica,
    DeleteDatabase,
    FenceInstance,
    PromoteReplica,
    ReleaseInstance,
    RenameDatabase,
    StartInstance,
    StopInstance,
    TerminateInstance,
)
from automation.model.plan import Plan, Step
from automation.model.records import GateAnswered, Outcome, Progress
from tests.fakes.lives import Fate, live, read_fold
from tests.recovery.test_pilot_moves import EAST, WEST, coming, going

PLANS = {"migration": going(), "failback": coming()}
each_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
each_fate = pytest.mark.parametrize("fate", [Fate.LOST, Fate.DONE], ids=lambda fate: fate.name)


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fdatasync", lambda descriptor: None)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


class Regions:
    """Two regions as a move changes them: which instances run and are cut off, who copies whom."""

    def __init__(self, plan: Plan) -> None:
        away = plan.mode == "failback"
        self.running = set(WEST if away else EAST)
        self.blocked: set[str] = set()
        self.copies = {"portal-db": "", "portal-db-west": "" if away else "portal-db"}
        self.shut = {"portal-db"} if away else set()
        self.broken: list[str] = []

    def work(self, cut: Callable[[], Fate | None]) -> Work:
        def perform(step: Step, ctx: RunContext) -> Outcome:
            if cut() is not Fate.LOST:
                self.do(step.run)
                writable = [name for name, of in self.copies.items() if not of and name not in self.shut]
                if len(writable) > 1:
                    self.broken.append(f"{step.id}: {', '.join(writable)} take writes")
            return Outcome(changed=True, summary="done")

        return Work(perform=perform, undo=perform, verify=lambda step, ctx: Progress(state="not_done"))

    def do(self, run: Action) -> None:
        """Do what a step does; each is done again without another end."""
        match run:
            case StartInstance(host=host) | CreateInstance(host=host):
                self.running.add(host)
            case StopInstance(host=host) | FenceInstance(host=host) | TerminateInstance(host=host):
                self.running.discard(host)
            case BlockInstance(host=host):
                self.blocked.add(host)
            case ReleaseInstance(host=host):
                self.blocked.discard(host)
            case _:
                self.do_to_database(run)

    def do_to_database(self, run: Action) -> None:
        match run:
            case BlockDatabase(database=name):
                self.shut.add(name)
            case PromoteReplica(database=name):
                self.copies[name] = ""
            case RenameDatabase(database=name, to=kept) if kept not in self.copies:
                self.copies[kept] = self.copies.pop(name)
                self.shut = (self.shut - {name}) | {kept}
            case CreateReplica(database=name, source=source):
                self.copies.setdefault(name, source)
            case DeleteDatabase(database=name):
                self.copies.pop(name, None)

    def served(self, plan: Plan) -> tuple[set[str], set[str], str, bool]:
        home = "portal-db" if plan.mode == "failback" else "portal-db-west"
        own = set(EAST if plan.mode == "failback" else WEST)
        return self.running, self.blocked & own, self.copies.get(home, "gone"), home in self.shut


def yes(step: Step) -> GateAnswered:
    return GateAnswered(step=step.id, answer="yes", by="coordinator")


@each_fate
@each_plan
def test_killed_at_every_event_the_other_region_serves_at_the_end(
    plan: Plan, fate: Fate, tmp_path: Path
) -> None:
    live(plan, tmp_path, Regions(plan), ask=yes)
    count = len(list(read_journal(tmp_path / "journal.jsonl")))
    for number in range(list(Fate).index(fate) + 1, count, 2):
        folder, regions = tmp_path / str(number), Regions(plan)
        folder.mkdir()
        live(plan, folder, regions, until=lambda e, n=number: e.sequence >= n, fate=fate, ask=yes)  # type: ignore[misc]
        assert live(plan, folder, regions, ask=yes)
        assert {step.id for step in plan.steps} <= set(read_fold(folder).succeeded), number
        wanted = set(EAST if plan.mode == "failback" else WEST)
        assert regions.served(plan) == (wanted, set(), "", False), number
        assert regions.broken == []


@each_plan
def test_answered_days_later_nothing_that_serves_is_fenced_again(plan: Plan, tmp_path: Path) -> None:
    regions = Regions(plan)
    live(plan, tmp_path, regions, ask=lambda step: None if step.id.endswith("rest-agreed") else yes(step))
    before = regions.served(plan)
    assert live(plan, tmp_path, regions, ask=yes)
    assert regions.served(plan)[1:] == before[1:]
    assert regions.broken == []
