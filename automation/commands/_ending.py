"""Where a failover stands when its run has ended, and what a person can decide then."""

from collections.abc import Callable, Container, Mapping
from typing import NamedTuple

from automation.commands._backup_ending import BACKUP_PLANS, conclude_backup
from automation.commands._command import ROOT, progress
from automation.commands._drill import Prepared, PreparedFailover, finish_drill, leave_report
from automation.commands._session import Session
from automation.commands._tabletop import leave_record
from automation.engine.finished import Finished
from automation.engine.fold import Folded
from automation.engine.journal import read_journal
from automation.engine.run import read_plan
from automation.model.actions import (
    BlockServer,
    CiteDeclaration,
    LookAtRecords,
    PowerOffServer,
    Promote,
    ProveRefused,
    SuspectSplitBrain,
    SwapAddress,
)
from automation.model.catalog import Service, load_catalog
from automation.model.errors import EXIT_PARTIAL, ConfigError, NotMet, OutcomeUnknown, StepFailed
from automation.model.plan import Plan, Step
from automation.model.records import Failure, StepEnded, StepSettled
from automation.recovery.audits import is_audit
from automation.recovery.spec import Failover, load_drill

_FENCING = (PowerOffServer, BlockServer, ProveRefused)


class Standing(NamedTuple):
    """How far a failover came: what its steps left, and which of them failed last."""

    env: str
    run_id: str
    plan: Plan
    done: Mapping[str, str]
    failed: Mapping[str, Failure]
    doubtful: frozenset[str] = frozenset()

    @property
    def site(self) -> str:
        return next(step.run.site for step in self.plan.steps if isinstance(step.run, CiteDeclaration))

    @property
    def promoted(self) -> tuple[str, ...]:
        return self._hosts(self.done)

    @property
    def perhaps_promoted(self) -> tuple[str, ...]:
        """Hosts whose promotion began and whose end nobody knows."""
        return self._hosts(self.doubtful)

    def _hosts(self, steps: Container[str]) -> tuple[str, ...]:
        return tuple(s.run.host for s in self.plan.steps if isinstance(s.run, Promote) and s.id in steps)

    @property
    def resume(self) -> str:
        return f"./inv run.resume --env {self.env} --run {self.run_id}"


def conclude(session: Session, finished: Finished, *, json: bool = False) -> int:
    """Say how a run ended; for a failover also what was promoted, and what a person can decide.

    Args:
        json: the report of a drill, a failover or a move is all that stands on stdout.

    Returns:
        0, or 3 when it went on without a fence: a person must look and clear it.

    Raises:
        StepFailed, OutcomeUnknown, NotMet, KeyboardInterrupt: it did not end well.
    """
    plan = read_plan(finished.folder)
    if (code := _conclude_elsewhere(session, plan, finished, json=json)) is not None:
        return code
    if plan.mode == "exercise" and (drill := _drill_of(session, plan)):
        finish_drill(session, drill, finished, json=json)
        return 0
    if not any(isinstance(step.run, CiteDeclaration) for step in plan.steps):
        finished.raise_for_status()
        return 0
    standing = _standing(session.environment.name, plan, finished)
    leave_report(session, _failover_of(session, standing), finished.folder, json=json)
    if finished.closed.status != "interrupted" and not _left(standing) and not finished.closed.gates:
        return _recovered(standing, progress if json else print)
    try:
        finished.raise_for_status()
    except OutcomeUnknown as exc:
        raise OutcomeUnknown(_stopped(standing, str(exc)), hint=exc.hint) from exc
    except StepFailed as exc:
        told = [f"{step}: {failure.message}" for step, failure in standing.failed.items()]
        if gates := finished.closed.gates:
            told.append(f"waiting for a person's answer: {', '.join(gates)}")
        hint = _decide(standing) if standing.failed else exc.hint
        raise StepFailed(_stopped(standing, " | ".join(told)), hint=hint) from exc
    return 0


def _conclude_elsewhere(session: Session, plan: Plan, finished: Finished, *, json: bool) -> int | None:
    """Conclude what has words of its own: a move, an isolated test, a run on backups; None for another."""
    if plan.mode == "tabletop":
        leave_record(finished.folder)
    if plan.mode in ("planned-migration", "failback"):
        from automation.commands._moved import conclude_move

        return conclude_move(session, finished, json=json)
    if plan.mode == "test-failover" and (drill := _drill_of(session, plan)):
        from automation.commands._isolated import finish_isolated

        finish_isolated(session, drill, finished, json=json)
        return 0
    return conclude_backup(session, plan, finished, json=json) if plan.name in BACKUP_PLANS else None


def _drill_of(session: Session, plan: Plan) -> Prepared | None:
    """The drill that a plan was compiled from; None for an exercise that is none."""
    try:
        drill = load_drill(ROOT, plan.name)
    except ConfigError:
        return None
    return Prepared(drill, _services(session, plan), plan)


def _failover_of(session: Session, standing: Standing) -> PreparedFailover:
    cited = next(s.run for s in standing.plan.steps if isinstance(s.run, CiteDeclaration))
    failover = Failover(
        plan=standing.plan.name,
        site=cited.site,
        title=standing.done.get("declaration", f"{cited.site} lost"),
        declaration=cited.declaration,
    )
    return PreparedFailover(failover, _services(session, standing.plan), standing.plan)


def _services(session: Session, plan: Plan) -> dict[str, Service]:
    """The services that a plan recovers, as the catalog has them."""
    catalog = load_catalog(session.environment.folder / "services.yml")
    names = dict.fromkeys(step.service for step in plan.steps if step.service)
    return {name: catalog.services[name] for name in names if name in catalog.services}


def _standing(env: str, plan: Plan, finished: Finished) -> Standing:
    """Take from the journal what is done, what failed and of what nobody knows how it ended."""
    folded, told = Folded(), dict[str, str]()
    for event in read_journal(finished.folder / "journal.jsonl"):
        folded.add(event)
        if isinstance(event.body, StepEnded) and event.body.outcome is not None:
            told[event.body.step] = event.body.outcome.summary
        elif isinstance(event.body, StepSettled) and event.body.progress == "done":
            told.setdefault(event.body.step, f"settled as done by {event.body.by}: {event.body.reason}")
    done = {step: told.get(step, "done") for step in folded.succeeded}
    unsure = {name for name, one in folded.failed.items() if one.transient or not one.known}
    doubtful = frozenset((unsure | set(folded.started)) - set(done))
    return Standing(env, finished.folder.name, plan, done, folded.failed, doubtful)


# --- it came to its end ---------------------------------------------------------------------------


def _recovered(standing: Standing, say: Callable[[str], None]) -> int:
    """Say what serves now; a look that failed is told, and is no success.

    Raises:
        NotMet: the services were moved, and checks failed or nobody saw clients served.
    """
    serving = f"{', '.join(standing.promoted)} serves" if standing.promoted else "its services are back"
    say(f"failover of {standing.site}: {serving}; run {standing.run_id}")
    marked = [s.run.service for s in standing.plan.steps if isinstance(s.run, SuspectSplitBrain)]
    for service in marked:
        look = f"./inv dr.clear --env {standing.env} --service {service} --reason '...'"
        say(f"{service}: SPLIT_BRAIN_SUSPECTED until a person has looked: {look}")
    for step in (step for step in standing.failed if is_audit(step)):
        say(f"nobody knows how it is secured: {step}: {standing.failed[step].message}")
    unseen = {
        step: failure
        for step, failure in standing.failed.items()
        if not _is_fence(standing, step) and not is_audit(step)
    }
    if unseen:
        told = " | ".join(f"{step}: {failure.message}" for step, failure in unseen.items())
        raise NotMet(
            f"failover of {standing.site}: {serving} and names are moved, "
            f"but not all was seen to be well: {told}",
            hint=f"look from a client's chair; where each service is: ./inv dr.status --env {standing.env}",
        )
    return EXIT_PARTIAL if marked else 0


def _is_fence(standing: Standing, step: str) -> bool:
    return isinstance(standing.plan.step(step).run, _FENCING)


# --- it stopped -----------------------------------------------------------------------------------


def _stopped(standing: Standing, told: str) -> str:
    """Say on which side of the point of no return it stopped, or that nobody knows, and what was done."""
    side, state = _side(standing)
    for step in _changed(standing):
        progress(f"done: {step.id}: {standing.done[step.id]}")
    return f"failover of {standing.site} stopped {side} (run {standing.run_id}): {told}; {state}"


def _side(standing: Standing) -> tuple[str, str]:
    promoted, names = ", ".join(standing.promoted), ", ".join(_names_left(standing)) or "none"
    if standing.perhaps_promoted:
        perhaps = ", ".join(standing.perhaps_promoted)
        also = f"{promoted} is promoted; " if promoted else ""
        return (
            f"in the promotion of {perhaps}",
            f"{also}whether {perhaps} was promoted is not known: it may take writes now or later; "
            f"names not moved: {names}",
        )
    if promoted:
        return f"after promotion of {promoted}", (
            f"{promoted} is the one writable primary; names not moved: {names}"
        )
    moved = any(isinstance(standing.plan.step(step).run, SwapAddress) for step in standing.done)
    named = f"names not moved: {names}" if moved else "no name was moved"
    if not any(isinstance(step.run, Promote) for step in standing.plan.steps):
        return "part-way", named
    return "before promotion", f"nothing was promoted, {named}"


def _left(standing: Standing) -> list[str]:
    """Steps of services that are not done, but for those that may be passed over."""
    return [
        step.id
        for step in standing.plan.steps
        if step.service and step.id.startswith(f"{step.service}/")
        if step.id not in standing.done and step.on_failure != "continue"
    ]


def _names_left(standing: Standing) -> list[str]:
    left = []
    for step in standing.plan.steps:
        name = getattr(step.run, "name", None)
        if step.run.do == "dns.swap_address" and step.id not in standing.done and name:
            left.append(str(name))
    return left


def _changed(standing: Standing) -> list[Step]:
    return [step for step in standing.plan.steps if step.id in standing.done and step.run.effect == "change"]


def _decide(standing: Standing) -> str:
    """Tell what a person can do now, for the first step that failed."""
    step = standing.plan.step(next(iter(standing.failed)))
    if isinstance(step.run, _FENCING):
        return _decide_unfenced(standing, step)
    if isinstance(step.run, LookAtRecords):
        return f"start {', '.join(step.run.required)}, then {standing.resume}"
    if isinstance(step.run, Promote):
        return f"bring {step.run.host} back, then {standing.resume}"
    return standing.resume


def _decide_unfenced(standing: Standing, step: Step) -> str:
    if isinstance(step.run, ProveRefused) and set(step.run.means) <= set(standing.done):
        vantages = " or ".join((step.run.host, *step.run.else_from))
        return (
            f"{step.run.server} is fenced by two means, only the proof is missing: see that {vantages} "
            f"answers and reaches {', '.join(step.run.reachable)}, then {standing.resume}"
        )
    old = getattr(step.run, "server", None) or getattr(step.run, "host", "")
    again = f"./inv dr.failover --env {standing.env} --site {standing.site}"
    return (
        f"{old} may still take writes, so a person decides:\n"
        f"      1. when the management of {standing.site} answers again: {standing.resume}\n"
        f"      2. wait: clients stay without the service, and nothing is lost\n"
        f"      3. bear that two databases may take writes, with two signatures: "
        f"{again} --accept-unfenced --reason '...'"
    )
