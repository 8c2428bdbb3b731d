"""What may be wrong with a test failover: does anything of it touch production, or stay behind? Pure."""

import re
from collections.abc import Collection, Iterator

from automation.model.actions import (
    BlockServer,
    CopyReplica,
    CreateInstance,
    CreateIsolated,
    Declare,
    LookAtRestored,
    PowerOffServer,
    Promote,
    ProveIsolated,
    RemoveServer,
    RestoreCluster,
    RestoreDatabase,
    RunPlaybook,
    StartUnit,
    SwapAddress,
)
from automation.model.plan import Plan, Step
from automation.recovery.lint_words import LintFinding, wrong

OF_PRODUCTION = Promote | SwapAddress | PowerOffServer | BlockServer | Declare
# What `lint_cloud` sees proven and removed.
COPIES = CopyReplica | CreateInstance | RestoreDatabase
BROUGHT_IN = RunPlaybook | RestoreCluster | StartUnit


def lint_isolated(plan: Plan) -> Iterator[LintFinding]:
    """Give what is not safe in the steps of a test failover; nothing for plans of other modes."""
    if plan.mode != "test-failover":
        return
    own = {step.run.host for step in plan.steps if isinstance(step.run, CreateIsolated)}
    copies = {one for step in plan.steps if isinstance(step.run, COPIES) for one in _acts_on(step)}
    for step in plan.steps:
        yield from _touches(step, own | copies)
        if isinstance(step.run, BROUGHT_IN):
            yield from _proven(plan, step)
        if isinstance(step.run, StartUnit):
            yield from _quiet(plan, step)
    yield from _leaves(plan, own)


def _touches(step: Step, own: Collection[str]) -> Iterator[LintFinding]:
    """A test changes its own server alone."""
    if isinstance(step.run, OF_PRODUCTION):
        yield wrong("isolation", step, f"{step.run.do} in a test", "a test acts on a copy alone")
    elif step.run.effect in ("change", "destroy", "fault") and (other := _acts_on(step) - set(own)):
        hosts = ", ".join(sorted(other))
        yield wrong("isolation", step, f"would change {hosts}, which it did not make", "its own server alone")


def _acts_on(step: Step) -> set[str]:
    run = step.run
    if isinstance(run, RunPlaybook):
        return {word for word in (run.limit or "every host").split(",") if word != "localhost"}
    host = getattr(run, "host", getattr(run, "database", None))
    return {host} if isinstance(host, str) else {step.run.do}


def _proven(plan: Plan, step: Step) -> Iterator[LintFinding]:
    """Nothing is brought onto a server before the proof that it is isolated, and not if that failed."""
    proofs = {
        one.run.host
        for name in plan.stands_on(step.id)
        if isinstance((one := plan.by_id[name]).run, ProveIsolated) and one.on_failure != "continue"
    }
    if missing := _acts_on(step) - proofs:
        message = f"does not need the proof that {', '.join(sorted(missing))} is isolated"
        yield wrong("isolated-first", step, message, "needs: the step that proves it")


def _quiet(plan: Plan, step: Step) -> Iterator[LintFinding]:
    """Nothing runs on a restored database before somebody has seen that it archives nothing."""
    above = [plan.by_id[name] for name in plan.stands_on(step.id)]
    restored = {one.run.cluster for one in above if isinstance(one.run, RestoreCluster)}
    seen = {one.run.cluster for one in above if isinstance(one.run, LookAtRestored)}
    if restored - seen:
        message = f"runs on {', '.join(sorted(restored - seen))}, which may archive"
        yield wrong("archive-off", step, message, "it must need the look at the restored cluster")


def _leaves(plan: Plan, own: Collection[str]) -> Iterator[LintFinding]:
    """Every server that is made is removed whatever happens, and what was listed is listed again."""
    removed = {step.run.host for step in plan.steps if isinstance(step.run, RemoveServer) and step.cleanup}
    for step in plan.steps:
        if isinstance(step.run, CreateIsolated) and step.run.host not in removed:
            yield wrong("leftover", step, f"nothing removes {step.run.host}", "remove it as cleanup")
        again = f"after/{step.id.removeprefix('before/')}"
        if step.id.startswith("before/") and not (again in plan.by_id and plan.by_id[again].cleanup):
            yield wrong("leftover", step, "is not looked at again", f"{again}, as cleanup")


def lint_test_step(step: Step, production: Collection[str]) -> Iterator[LintFinding]:
    """Give what a step that people wrote for a test failover would do to production.

    Args:
        production: names of endpoints that clients use.
    """
    yield from _of_people(step)
    if step.run.effect in ("change", "destroy"):
        words = set(re.findall(r"[\w.-]+", step.run.model_dump_json()))
        for name in sorted(words & set(production)):
            yield wrong("isolation", step, f"a test names {name}, which clients use", "use the copy's own")


def _of_people(step: Step) -> Iterator[LintFinding]:
    if isinstance(step.run, OF_PRODUCTION):
        yield wrong("isolation", step, f"{step.run.do} in a test", "a test acts on a copy alone")
