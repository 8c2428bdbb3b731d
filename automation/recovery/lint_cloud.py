"""What may be wrong where VMs and instances take over: is the old site fenced, is a test cut off? Pure."""

from collections.abc import Collection, Iterator, Mapping

from automation.model.actions import (
    Action,
    AwaitGood,
    AwaitReplica,
    BlockDatabase,
    CopyReplica,
    CreateInstance,
    DeleteDatabase,
    PowerOffServer,
    PromoteReplica,
    ProvePortGroup,
    ProveRefused,
    ProveSubnet,
    RegisterReplica,
    RemoveCopy,
    RemoveDatabase,
    RemoveInstance,
    RestoreDatabase,
    SuspectSplitBrain,
)
from automation.model.plan import Mode, Plan, Step
from automation.recovery.kinds import FENCE, NETWORK, POWER, TAKING
from automation.recovery.lint_words import LintFinding, wrong

FENCED_IN: Collection[Mode] = ("exercise", "failover")
MOVED_IN: Collection[Mode] = ("planned-migration", "failback")


def lint_cloud(plan: Plan) -> Iterator[LintFinding]:
    """Give what is not safe where machines of a provider take over, or are copied for a test."""
    if plan.mode == "test-failover":
        yield from _tests(plan)
    if plan.mode in MOVED_IN:
        yield from _handed_over(plan)
    if plan.mode not in FENCED_IN:
        return
    for step in plan.steps:
        if isinstance(step.run, TAKING) and step.service:
            yield from _fenced(plan, step)


def _fenced(plan: Plan, step: Step) -> Iterator[LintFinding]:
    """Every fence of the service, of both kinds, and their proof come first, or people bear the risk."""
    above = {name: plan.by_id[name] for name in plan.stands_on(step.id)}
    own = [one for one in plan.steps if one.service == step.service and isinstance(one.run, FENCE)]
    for kind, word in ((POWER, "power"), (NETWORK, "network")):
        if not any(isinstance(one.run, kind) for one in own):
            yield wrong("two-means", step, f"takes over, and no fence cuts the {word}", "fence by both")
    if missing := [one.id for one in own if one.id not in above]:
        message = f"takes over without needing {', '.join(missing)}"
        yield wrong("fence-before-promote", step, message, "it must need every fence of its service")
    proofs = [s for s in above.values() if isinstance(s.run, ProveRefused) and s.service == step.service]
    if not proofs:
        message = "takes over, and nothing proves that the old site is fenced"
        yield wrong("fence-before-promote", step, message, "it must need a fence-proof")
    passable = [one.id for one in (*own, *proofs) if one.on_failure == "continue"]
    if passable and not _is_borne(above, step.service):
        message = f"{passable[0]} may fail and nobody bears that the old site may still serve"
        yield wrong("override-complete", step, message, "a suspicion that two roles sign, before it")
    by_lab = any(isinstance(one.run, PowerOffServer) for one in own)  # who writes to it is off
    if not (_is_shut(above, step.run) or by_lab or _is_borne(above, step.service)):
        message = "takes over, and nothing shuts the database that served"
        yield wrong("fence-before-promote", step, message, "it must need what blocks that database")
    if step.on_failure == "continue":
        yield wrong("promotion-may-fail", step, "goes on when it fails", "on_failure: halt")


def _is_shut(above: Mapping[str, Step], run: Action) -> bool:
    """Whether the database that one takes over from lets nobody in; true of what is no database."""
    if not isinstance(run, PromoteReplica | RestoreDatabase):
        return True
    blocks = [one.run for one in above.values() if isinstance(one.run, BlockDatabase)]
    source = run.expect_source if isinstance(run, PromoteReplica) else ""
    return any(one.site != run.site and source in ("", one.database) for one in blocks)


def _handed_over(plan: Plan) -> Iterator[LintFinding]:
    """A replica takes over when its source lets nobody in and it holds all; what is replaced goes last."""
    for step in plan.steps:
        above = {name: plan.by_id[name].run for name in plan.stands_on(step.id)}
        if isinstance(step.run, PromoteReplica):
            source, name = step.run.expect_source, step.run.database
            if not any(isinstance(one, BlockDatabase) and one.database == source for one in above.values()):
                message = f"takes over while {source} may still be written to"
                yield wrong("fence-before-promote", step, message, "it must need what blocks it")
            if not any(_holds_all(one, name) for one in above.values()):
                message = f"takes over, and nothing sees that it holds all of {source}"
                yield wrong(
                    "replicated-first", step, message, "it must need a wait that is behind by nothing"
                )
        elif isinstance(step.run, DeleteDatabase) and not any(
            isinstance(one, AwaitGood) for name, one in above.items() if name == "clients-good"
        ):
            message = "is deleted before clients are seen to be good"
            yield wrong("served-first", step, message, "it must need clients-good")


def _holds_all(run: Action, database: str) -> bool:
    return isinstance(run, AwaitReplica) and run.database == database and run.behind_s == 0


def _is_borne(above: Mapping[str, Step], service: str | None) -> bool:
    return any(
        isinstance(one.run, SuspectSplitBrain) and one.service == service and one.on_failure != "continue"
        for one in above.values()
    )


# --- a test ----------------------------------------------------------------------------------------


def _tests(plan: Plan) -> Iterator[LintFinding]:
    """A test copies, in a network that is proven to lead nowhere, and removes what it made."""
    removed = {
        getattr(step.run, "host", "") or getattr(step.run, "database", "")
        for step in plan.steps
        if isinstance(step.run, RemoveCopy | RemoveInstance | RemoveDatabase) and step.cleanup
    }
    for step in plan.steps:
        run = step.run
        if isinstance(run, RegisterReplica | PromoteReplica | FENCE):
            yield wrong("isolation", step, f"{run.do} in a test", "a test acts on a copy alone")
        made = _made(step)
        if not made:
            continue
        if not _is_cut_off(plan, step):
            message = f"makes {made} before its network is proven to lead nowhere"
            yield wrong("isolated-first", step, message, "needs: the step that proves it")
        if made not in removed:
            yield wrong("leftover", step, f"nothing removes {made}", "remove it as cleanup")


def _made(step: Step) -> str:
    """Name of what a step of a test makes; empty: it makes nothing."""
    run = step.run
    if isinstance(run, CopyReplica | CreateInstance):
        return run.host
    return run.database if isinstance(run, RestoreDatabase) else ""


def _is_cut_off(plan: Plan, step: Step) -> bool:
    proven = {
        one.run.name
        for name in plan.stands_on(step.id)
        if isinstance((one := plan.by_id[name]).run, ProvePortGroup | ProveSubnet)
        and one.on_failure != "continue"
    }
    run = step.run
    if isinstance(run, CopyReplica):
        return run.network in proven
    if isinstance(run, RestoreDatabase):
        return run.network in proven
    return isinstance(run, CreateInstance) and bool(run.spec.networks) and {*run.spec.networks} <= proven
