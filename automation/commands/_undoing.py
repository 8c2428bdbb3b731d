"""Taking back what a run of baseline.enforce changed: shown, asked, in reverse order."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from automation.baseline.planner import ENFORCE, Undoing, plan_undo
from automation.commands._baseline_subjects import beside
from automation.commands._baselines import load_baseline
from automation.commands._enforced import Done, read_done, read_undone
from automation.commands._enforcing import agreed
from automation.commands._session import Session
from automation.engine.fold import fold
from automation.engine.journal import read_journal
from automation.engine.run import read_plan
from automation.model.actions import EnforceAccount, EnforceSettings, EnforceVcenter
from automation.model.base import Model
from automation.model.baseline_evidence import CallsMade, SettingsEnforced, SettingsUndone
from automation.model.errors import EXIT_PARTIAL, ConfigError, PreflightError
from automation.model.plan import Plan


class UndoFlags(NamedTuple):
    """What is taken back; names and files with commas between."""

    change: str
    limit: str = ""
    edited: str = ""
    yes: bool = False


class Undoable(Model):
    """What a run changed and has not been taken back; of a host in doubt, what it may have changed."""

    change: str
    subjects: Mapping[str, tuple[str, ...]]  # to what was changed there


class Undone(Model):
    """What was put back, and what was not."""

    run: str
    change: str
    settings: tuple[SettingsUndone, ...]
    calls: tuple[CallsMade, ...]


class PreparedUndo(NamedTuple):
    """An undoing that is ready to run."""

    plan: Plan
    shown: Undoable


def prepare_undo(session: Session, flags: UndoFlags) -> PreparedUndo:
    """Find what a run changed; changes nothing.

    Raises:
        ConfigError: there is no such run, or it enforced nothing.
        PreflightError: there is nothing to undo.
    """
    folder = session.existing(flags.change).artifacts.parent
    plan = read_plan(folder)
    if plan.name != ENFORCE:
        raise ConfigError(f"run {flags.change} is no baseline.enforce but {plan.name}; nothing was touched")
    changed = _changed(plan, read_done(folder), _doubtful(folder))
    if flags.limit:
        words = set(flags.limit.replace(":", ",").split(","))
        named = words | set(session.inventory.covered(flags.limit) if words & _known(session) else ())
        changed = {subject: what for subject, what in changed.items() if subject in named}
    if not changed:
        raise PreflightError(f"run {flags.change} changed nothing that is to be undone; nothing was changed")
    undoing = _undoing(plan, read_done(folder), changed)
    undoing = undoing._replace(beside=beside(session, changed))
    edited = tuple(filter(None, flags.edited.split(",")))
    walk_s = load_baseline(session).walk_s
    undo_plan = plan_undo(session.environment.name, flags.change, undoing, edited, walk_s)
    return PreparedUndo(undo_plan, Undoable(change=flags.change, subjects=changed))


def undo(
    session: Session, prepared: PreparedUndo, flags: UndoFlags, *, ask: Callable[[], bool] | None
) -> Undone:
    """Ask, and take it back.

    Raises:
        PreflightError: refused, or nobody said yes: nothing was changed.
        StepFailed: something could not be put back, and nothing further was begun.
    """
    if not flags.yes and not agreed(ask):
        raise PreflightError("nobody said yes; nothing was changed")
    finished = session.run(prepared.plan)
    finished.raise_for_status()
    settings, calls = read_undone(finished.folder)
    return Undone(run=finished.folder.name, change=flags.change, settings=settings, calls=calls)


def judge_undone(undone: Undone) -> int:
    """Give the exit code: 3 if something was left as it is."""
    left = [*(one.left for one in undone.settings), *(one.left for one in undone.calls)]
    return EXIT_PARTIAL if any(left) else 0


def _known(session: Session) -> set[str]:
    return {*session.inventory.servers, *session.inventory.groups}


def _changed(plan: Plan, done: Done, doubtful: set[str]) -> dict[str, tuple[str, ...]]:
    """Give every subject that a run changed, in the order of its plan, with what was changed there."""
    found: dict[str, tuple[str, ...]] = {}
    for host in done.settings:
        found.pop(host.host, None)  # of a run that was resumed the last word counts
        if what := tuple(_of_host(host)):
            found[host.host] = what
    for subject, calls in done.calls.items():
        saved = tuple(f"{one.call.replace('_', ' ')} {one.on}".strip() for one in calls.saved)
        found |= {subject: saved} if saved else {}
    for step in plan.steps:
        if step.id in doubtful and isinstance(step.run, EnforceSettings):
            found.setdefault(step.run.host, ("how far it was changed is not known; the host knows",))
    order = [step.id for step in plan.steps]
    return dict(sorted(found.items(), key=lambda one: order.index(f"{one[0]}/enforce")))


def _of_host(host: SettingsEnforced) -> Iterator[str]:
    """Tell what is another way on a host than before; of what it took back, what it could not put back."""
    if host.switch == "reverted":
        yield from (f"{what}: not put back: {why}" for what, why in host.failed.items())
    else:
        yield from (f"{one.what}: {one.after} -> {one.before}" for one in host.settings if one.changed)


def _doubtful(folder: Path) -> set[str]:
    """Name the steps that began and of which nobody knows how far they came."""
    folded = fold(read_journal(folder / "journal.jsonl"))
    return {*folded.started, *(name for name, one in folded.failed.items() if not one.known)}


def _undoing(plan: Plan, done: Done, changed: Mapping[str, tuple[str, ...]]) -> Undoing:
    runs = [step.run for step in plan.steps]
    hosts = tuple(one.host for one in runs if isinstance(one, EnforceSettings) and one.host in changed)
    accounts = [one.account for one in runs if isinstance(one, EnforceAccount) and one.account in changed]
    vcenters = [one.vcenter for one in runs if isinstance(one, EnforceVcenter) and one.vcenter in changed]
    return Undoing(
        hosts,
        {name: done.calls[name].saved for name in accounts},
        {name: done.calls[name].saved for name in vcenters},
    )
