"""Fence the old primary, restore the database at the recovery site, let clients in, move the name.

Invariant: the restore needs the proof of the fence, as a promotion does; what it makes is the one primary.
"""

from automation.model.actions import RestoreCluster, RunPlaybook
from automation.model.actions.databases import Stanza
from automation.model.catalog import RestoreFromBackup
from automation.model.errors import PreflightError
from automation.model.plan import Step
from automation.recovery.moments import newest_moment, tell
from automation.recovery.strategies.fencing import accept, fence
from automation.recovery.strategies.scope import Scope

ASSUMED = "observed when the plan is made"
LEAST_TIMEOUT_S = 1800.0


def compile_failover(scope: Scope, strategy: RestoreFromBackup) -> tuple[Step, ...]:
    """Give the steps that bring one database back from a backup at its other site.

    Raises:
        PreflightError: nobody has looked at the copy, it holds nothing, or nothing can fence the old primary.
    """
    before = (*fence(scope), *accept(scope), scope.names_answer())
    restore = _restore(scope, strategy, needs=tuple(step.id for step in before[2:]))
    configure = Step(
        id=scope.step_id("configure"),
        service=scope.name,
        run=RunPlaybook(
            playbook=strategy.configure,
            limit=scope.new_host,
            variables={
                "mainstay_service": scope.name,
                "mainstay_site": scope.service.recovery,
                "mainstay_cluster": strategy.cluster,
                "mainstay_mode": scope.mode,
            },
            secrets=scope.secrets,
        ),
        why="a restored cluster lets nobody in and archives nothing until it is told to",
        needs=(restore.id,),
        timeout_s=LEAST_TIMEOUT_S,
    )
    return (*before, restore, configure, *scope.swaps((configure.id,)))


def _restore(scope: Scope, strategy: RestoreFromBackup, needs: tuple[str, ...]) -> Step:
    of, point, told = _source(scope, strategy)
    restorable = scope.restorables.get(scope.name)
    took = restorable.restore_s if restorable is not None and restorable.restore_s else 0.0
    return Step(
        id=scope.step_id("restore"),
        service=scope.name,
        run=RestoreCluster(
            host=scope.new_host,
            resource=strategy.resource,
            of=of,
            cluster=strategy.cluster,
            point=point,
            port=next(iter(scope.service.endpoints.values())).port,
            listen="*",
        ),
        why=f"{scope.new_host} becomes the one primary, as far as the archive goes; {told}",
        needs=needs,
        timeout_s=max(LEAST_TIMEOUT_S, 3 * took),
        on_failure="halt",
    )


def _source(scope: Scope, strategy: RestoreFromBackup) -> tuple[Stanza, str, str]:
    """The stanza, the backup to begin with, and what is known of the copy."""
    restorable = scope.restorables.get(scope.name)
    if restorable is not None:
        return restorable.kept.of, newest_moment(restorable).backup.label, tell(restorable)
    if scope.mode != "walkthrough":
        raise PreflightError(
            f"{strategy.store} was not looked at: {scope.name} cannot be planned; nothing was changed"
        )
    return Stanza(store=strategy.store, stanza=ASSUMED, repo=1), ASSUMED, ASSUMED
