"""What may be wrong with compiled steps: is every path to a promotion fenced, agreed to and declared? Pure.

The same rules hold for a plan that a person wrote into and for one that nobody touched: `refuse_unsafe` is
asked before the first step of every run. A rule reads steps and their needs alone; `after` is order, and
proves nothing.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping

from automation.model.actions import (
    AcceptLag,
    BlockServer,
    CiteDeclaration,
    CloneStandby,
    CollectWitness,
    CreateInstance,
    Declare,
    FenceInstance,
    Follow,
    HoldDown,
    KeepData,
    LookAtRecords,
    PowerOffServer,
    PowerOnVm,
    Promote,
    ProveRefused,
    ReconcileServer,
    ReleaseServer,
    RestoreCluster,
    Rewind,
    RunPlaybook,
    SaveDatabase,
    StartFenced,
    StartInstance,
    StartServer,
    StartUnit,
    StartWitness,
    SuspectSplitBrain,
    SwapAddress,
    UnblockServer,
    UnregisterVm,
)
from automation.model.errors import PreflightError
from automation.model.plan import Mode, Plan, Step
from automation.recovery.completing import kind_of
from automation.recovery.lint_cloud import lint_cloud
from automation.recovery.lint_isolated import lint_isolated
from automation.recovery.lint_words import LintFinding as LintFinding
from automation.recovery.lint_words import Severity as Severity

RUN_MODES: Collection[Mode] = ("exercise", "test-failover", "planned-migration", "failover", "failback")
AGREED_MODES: Collection[Mode] = ("exercise", "planned-migration", "failover", "failback")

# What makes a database the one that takes writes: in these modes clients are led to it.
Takeover = Promote | RestoreCluster
TAKING_OVER: Collection[Mode] = ("exercise", "planned-migration", "failover", "failback", "walkthrough")
BRINGING_BACK = (
    Promote | RestoreCluster | StartUnit | RunPlaybook | PowerOnVm | CreateInstance | StartInstance
)
LABEL = re.compile(r"[0-9]{8}-[0-9]{6}F(_[0-9]{8}-[0-9]{6}[DI])?")

LIFTS = ReleaseServer | StartFenced | StartServer | UnblockServer

# Steps before a point of no return that stay as they are when a run is given up, and why.
LASTING: Mapping[type, str] = {
    PowerOffServer: "a fence is lifted by failback alone",
    BlockServer: "a fence is lifted by failback alone",
    FenceInstance: "a fence is lifted by failback alone",
    SaveDatabase: "a snapshot harms nobody, and holds what may be nowhere else",
    SuspectSplitBrain: "a suspicion ends by dr.clear alone",
    Declare: "what a person declared was declared",
    StartWitness: "it only looks, and is collected at the end",
    ReconcileServer: "a name server that tells the truth stays so",
    HoldDown: "an old primary that cannot serve stays so until it follows",
    KeepData: "nothing that was acknowledged is thrown away",
    Rewind: "its old data is kept, and it stays fenced",
    CloneStandby: "its old data is kept, and it stays fenced",
    Follow: "a standby harms nobody, and its host is fenced again by the steps before",
    ReleaseServer: "its host is fenced again by the steps before",
    UnregisterVm: "its files stay, and it is registered anew when it comes home",
}


def lint_steps(
    plan: Plan,
    *,
    lab: bool,
    excused: Collection[str] = (),
    verified: Callable[[str], bool] = lambda address: True,
) -> tuple[LintFinding, ...]:
    """Give everything that is wrong with the steps of a plan; a plan of a mode that never runs is read alike.

    Args:
        lab: of a lab nobody's agreement is asked.
        excused: steps that say why they are not taken back.
        verified: whether an action, by its address, can be looked at after a crash.
    """
    return tuple(
        finding
        for found in (
            _promotions(plan),
            _moves(plan),
            _declared(plan),
            _lifted(plan),
            _faults(plan),
            _agreed(plan, lab),
            _undone(plan, excused),
            _verified(plan, verified),
            _witnessed(plan),
            lint_isolated(plan),
            lint_cloud(plan),
        )
        for finding in found
    )


def refuse_unsafe(plan: Plan, *, lab: bool) -> None:
    """See that a plan is one that runs, and that nothing in it is unsafe.

    Raises:
        PreflightError: names every fault.
    """
    if plan.mode == "walkthrough":
        raise PreflightError(
            f"{plan.name} is a walkthrough: it is read, never run; nothing was changed",
            hint=f"./inv dr.failover --env {plan.environment} makes a plan of what it observes",
        )
    if plan.mode not in RUN_MODES:
        return
    of_recovery = (_promotions(plan), _declared(plan), _lifted(plan), _faults(plan))
    told = (*of_recovery, lint_isolated(plan), lint_cloud(plan))
    faults = [one for found in told for one in found]
    faults += [one for one in (*_moves(plan), *_agreed(plan, lab)) if one.severity == "error"]
    if faults:
        lines = "\n".join(f"  {one.subject}: {one.message}" for one in faults)
        raise PreflightError(
            f"{plan.name} is not safe; nothing was changed\n{lines}", hint=faults[0].act or None
        )


# --- before a promotion ----------------------------------------------------------------------------


def _promotions(plan: Plan) -> Iterator[LintFinding]:
    services = _by_service(plan)
    for step in plan.steps:
        if not isinstance(step.run, Takeover):
            continue
        if isinstance(step.run, RestoreCluster) and plan.mode not in TAKING_OVER:
            continue  # beside a primary that serves: to be looked at, on a server that nobody is led to
        own = services.get(step.service or "", [])
        by_hand = plan.mode == "walkthrough"
        near = _unproven(step, step.run, _near(plan, step), own, by_hand)
        yield from near and _unproven(step, step.run, _above(plan, step), own, by_hand)
        if step.on_failure == "continue":
            yield _error("promotion-may-fail", step, "goes on when it fails", "on_failure: halt")
        if plan.mode != "walkthrough" and (assumed := _assumed(step.run)):
            yield _error("identity-assumed", step, assumed, "make the plan anew: it looks first")


def _assumed(run: Takeover) -> str:
    """What a plan that is run must have seen, and has not; empty where it has."""
    if isinstance(run, Promote) and not run.expect_system_identifier.isdigit():
        return f"expects {run.expect_system_identifier!r}, which is no system identifier"
    if isinstance(run, RestoreCluster) and not LABEL.fullmatch(run.point or ""):
        return f"would begin with {run.point!r}, which is no backup"
    return ""


def _unproven(
    step: Step, promote: Takeover, above: Mapping[str, Step], own: Collection[Step], by_hand: bool
) -> list[LintFinding]:
    if by_hand and any(_is_by_hand(step, above)):
        return [*_risks(step, above, own), *_led(step, above, own)]
    return [*_fenced(step, promote, above), *_risks(step, above, own), *_led(step, above, own)]


def _fenced(step: Step, promote: Takeover, above: Mapping[str, Step]) -> Iterator[LintFinding]:
    """Every path to a promotion leads over a proven fence, a clean handover, or a risk that people bear."""
    if any(_is_handover(promote, above)):
        return
    proofs = [one for one in above.values() if _proves(one, promote)]
    if not proofs:
        yield _error(
            "fence-before-promote",
            step,
            f"{promote.host} would be made the primary and nothing proves that the old primary is fenced",
            "it must need a fence-proof, which needs both fences",
        )
    for proof in proofs:
        yield from _proven(step, promote, proof, above)


def _proven(step: Step, promote: Takeover, proof: Step, above: Mapping[str, Step]) -> Iterator[LintFinding]:
    assert isinstance(proof.run, ProveRefused)
    fences = [above[name] for name in proof.needs if name in above]
    kinds = {
        type(one.run)
        for one in fences
        if isinstance(one.run, PowerOffServer | BlockServer) and one.run.host == proof.run.server
    }
    if len(kinds) < 2:
        yield _error(
            "two-means",
            proof,
            f"does not need two independent fences of {proof.run.server}",
            "it must need its power cut and its network block",
        )
    if set(proof.run.means) - {one.id for one in fences}:
        missing = ", ".join(sorted(set(proof.run.means) - {one.id for one in fences}))
        yield _error("two-means", proof, f"names fences that it does not need: {missing}", "needs: its means")
    passable = [one for one in (*fences, proof) if one.on_failure == "continue"]
    if passable and not any(_is_borne(one, proof.run.server, promote.host) for one in above.values()):
        yield _error(
            "override-complete",
            step,
            f"{passable[0].id} may fail and nobody bears that {proof.run.server} may still take writes",
            "on_failure: halt, or a suspicion that two roles sign, before the promotion",
        )


def _proves(step: Step, promote: Takeover) -> bool:
    """A proof of this standby's old primary: that of another database says nothing of it."""
    run = step.run
    return isinstance(run, ProveRefused) and run.server != promote.host and promote.host in run.else_from


def _is_handover(promote: Takeover, above: Mapping[str, Step]) -> Iterator[bool]:
    """A planned move: the old primary was demoted, and the standby has replayed its last record."""
    steps = [one for one in above.values() if one.on_failure != "continue"]
    demoted = {
        getattr(one.run, "host", "")
        for one in steps
        if one.run.do == "postgresql.demote" and getattr(one.run, "standby", "") == promote.host
    }
    for one in steps:
        awaited = (
            one.run.do == "postgresql.await_replayed" and getattr(one.run, "standby", "") == promote.host
        )
        yield awaited and getattr(one.run, "primary", "") in demoted


def _is_by_hand(step: Step, above: Mapping[str, Step]) -> Iterator[bool]:
    """A walkthrough of a provider without fences: people do it, and no run is made of it."""
    for one in above.values():
        yield one.id == f"{step.service}/fence-proof" and one.run.do == "people.confirm"


def _is_borne(step: Step, old: str, new: str) -> bool:
    run = step.run
    if not isinstance(run, SuspectSplitBrain) or step.on_failure == "continue":
        return False
    return run.hosts == (old, new) and _are_two(run.roles) and bool(run.reason.strip())


def _are_two(roles: tuple[str, ...]) -> bool:
    return len({role.strip() for role in roles} - {""}) >= 2


def _risks(step: Step, above: Mapping[str, Step], own: Collection[Step]) -> Iterator[LintFinding]:
    """A risk of this service that is written down anywhere must be borne before the promotion."""
    for one in own:
        if not isinstance(one.run, SuspectSplitBrain | AcceptLag):
            continue
        if one.id not in above:
            yield _error(
                "override-complete", step, f"does not need {one.id}", "a risk is borne before the promotion"
            )
        if not _are_two(one.run.roles):
            yield _error(
                "override-complete", one, "is signed by one role", "`overrides` of the plan: two roles"
            )
        if one.on_failure == "continue":
            yield _error("override-complete", one, "may fail and be passed over", "on_failure: halt")


def _led(step: Step, above: Mapping[str, Step], own: Collection[Step]) -> Iterator[LintFinding]:
    """Where names move afterwards, the server that must take them answers before."""
    wanted = {server for one in own if isinstance(one.run, SwapAddress) for server in one.run.required}
    seen = {
        server
        for one in above.values()
        if isinstance(one.run, LookAtRecords) and one.on_failure != "continue"
        for server in one.run.required
    }
    if wanted - seen:
        yield _error(
            "names-answer",
            step,
            f"does not see first whether {', '.join(sorted(wanted - seen))} answers",
            "a primary that clients cannot be led to helps nobody: look at the records before",
        )


# --- names, declarations, faults -------------------------------------------------------------------


def _moves(plan: Plan) -> Iterator[LintFinding]:
    for step in plan.steps:
        if not isinstance(step.run, SwapAddress) or not step.service or plan.mode == "test-failover":
            continue
        if not _brought_back(_near(plan, step)) and not _brought_back(_above(plan, step)):
            yield _error(
                "name-before-service",
                step,
                f"moves {step.run.name} before anything has brought {step.service} back",
                "it must need what starts or promotes the service",
            )


def _brought_back(above: Mapping[str, Step]) -> bool:
    return any(isinstance(one.run, BRINGING_BACK) for one in above.values())


def _declared(plan: Plan) -> Iterator[LintFinding]:
    """Nothing is recovered before somebody has declared the loss."""
    if plan.mode not in ("exercise", "failover", "walkthrough"):
        return
    acts = [step for step in plan.steps if step.run.effect in ("change", "destroy") and _recovers(step)]
    said = [step for step in plan.steps if isinstance(step.run, Declare | CiteDeclaration)]
    if not acts:
        return
    under = _under(plan, {step.id for step in said if step.on_failure != "continue"})
    for step in acts:
        if step.id not in under:
            yield _error(
                "declared-first",
                step,
                "would run before the loss is declared",
                "it must need the declaration",
            )
    for step in said:
        if isinstance(step.run, Declare) and not step.run.exercise and plan.mode == "exercise":
            yield _error(
                "declared-first", step, "a drill declares a real loss", "a drill's is marked exercise"
            )


def _recovers(step: Step) -> bool:
    return not isinstance(step.run, Declare | StartWitness | CollectWitness)


def _lifted(plan: Plan) -> Iterator[LintFinding]:
    """A fence of a lost site is lifted by failback alone: a proof must hold until the promotion and after."""
    if plan.mode not in ("exercise", "failover", "walkthrough"):
        return
    fenced = {step.run.host for step in plan.steps if isinstance(step.run, PowerOffServer | BlockServer)}
    for step in plan.steps:
        for action in (step.run, step.undo):
            if isinstance(action, LIFTS) and action.host in fenced:
                yield _error(
                    "fence-lasts",
                    step,
                    f"{action.do} would lift the fence of {action.host}",
                    "leave it out: dr.failback lifts fences, when its old primary can serve no more",
                )


def _faults(plan: Plan) -> Iterator[LintFinding]:
    for step in plan.steps:
        if step.run.effect == "fault" and plan.mode != "exercise":
            yield _error("fault", step, f"puts a fault into a {plan.mode}", "faults belong into drills")


# --- agreed, taken back, looked at -----------------------------------------------------------------


def _agreed(plan: Plan, lab: bool) -> Iterator[LintFinding]:
    """What cannot be taken back has somebody's yes: of the whole run, or of a gate before it."""
    if lab or plan.approvals is not None or plan.mode not in AGREED_MODES:
        return
    gated = _under(plan, {step.id for step in plan.steps if step.gate is not None})
    for step in plan.steps:
        if (step.run.irreversible or step.run.effect == "destroy") and step.id not in gated:
            yield _error(
                "agreed",
                step,
                f"cannot be taken back, and nobody is asked before it in mode {plan.mode}",
                f"approvals: {{{plan.mode}: [ROLE]}}, or a gate before it",
            )


def _undone(plan: Plan, excused: Collection[str]) -> Iterator[LintFinding]:
    """What is done before a point of no return can be taken back, or says why not."""
    last = {step.id for step in plan.steps if step.run.irreversible}
    before = {name for name in _over(plan, last) if name not in last}
    past = _past_return(plan)
    for step in plan.steps:
        if step.id not in before or step.run.effect not in ("change", "destroy") or step.undo is not None:
            continue
        if step.id in past:
            continue
        if type(step.run) not in LASTING and step.id not in excused and kind_of(step) != "fence":
            yield _error(
                "undo-before-no-return",
                step,
                "is done before a point of no return and cannot be taken back",
                "give it `undo`, or `no_undo` with the reason",
            )


def _past_return(plan: Plan) -> set[str]:
    """Steps of a service that stand on its own first point of no return: a second one may come after them."""
    found: set[str] = set()
    for steps in _by_service(plan).values():
        lasting = {step.id for step in steps if step.run.irreversible}
        if len(lasting) > 1:
            own = {step.id for step in steps}
            found |= (_under(plan, lasting) - lasting) & own
    return found


def _verified(plan: Plan, verified: Callable[[str], bool]) -> Iterator[LintFinding]:
    for step in plan.steps:
        if (step.run.irreversible or step.run.effect == "destroy") and not verified(step.run.do):
            yield _error(
                "verify",
                step,
                f"{step.run.do} cannot be taken back, and after a crash nothing tells whether it was done",
                "its adapter needs a verify_ function",
            )


def _witnessed(plan: Plan) -> Iterator[LintFinding]:
    started = {step.run.host: step for step in plan.steps if isinstance(step.run, StartWitness)}
    collected = {s.run.host for s in plan.steps if isinstance(s.run, CollectWitness) and s.cleanup}
    for host, step in started.items():
        if host not in collected:
            yield _error(
                "witness-collected",
                step,
                f"the witness on {host} would go on for ever",
                "collect it as cleanup",
            )


# --- the graph -------------------------------------------------------------------------------------


def _above(plan: Plan, step: Step) -> dict[str, Step]:
    """Every step that must have succeeded before one starts."""
    return {name: plan.by_id[name] for name in plan.stands_on(step.id)}


def _near(plan: Plan, step: Step) -> dict[str, Step]:
    """Those of the same service that are reached over steps of it alone: few, however large the plan is."""
    found: dict[str, Step] = {}
    open_ = list(step.needs)
    while open_:
        one = plan.by_id[open_.pop()]
        if one.id not in found and one.service == step.service:
            found[one.id] = one
            open_ += one.needs
    return found


def _by_service(plan: Plan) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = defaultdict(list)
    for step in plan.steps:
        if step.service:
            found[step.service].append(step)
    return found


def _under(plan: Plan, roots: Collection[str]) -> set[str]:
    """Steps that cannot start unless one of these has succeeded, and these."""
    below: dict[str, list[str]] = defaultdict(list)
    for step in plan.steps:
        for name in step.needs:
            below[name].append(step.id)
    return _closure(roots, below)


def _over(plan: Plan, steps: Collection[str]) -> set[str]:
    """Steps that these need, directly or not, and these."""
    return _closure(steps, {step.id: list(step.needs) for step in plan.steps})


def _closure(roots: Collection[str], edges: Mapping[str, list[str]]) -> set[str]:
    found: set[str] = set()
    open_ = list(roots)
    while open_:
        name = open_.pop()
        if name not in found:
            found.add(name)
            open_ += edges.get(name, ())
    return found


def _error(rule: str, step: Step, message: str, act: str) -> LintFinding:
    return LintFinding(severity="error", rule=rule, subject=step.id, message=message, act=act)
