"""A city's own playbooks, one a verb: fence, recover, verify; then move the names, if there are any.

A playbook is told what it is for by `mainstay_service`, `mainstay_site` (where it acts), `mainstay_hosts`
(the service's hosts there) and `mainstay_mode`. It reaches the service's hosts of both sites and the control
node itself, no other. A fence must fail unless the old site can serve no more: nothing else proves it.
"""

from typing import Literal

from automation.model.actions import RunPlaybook
from automation.model.catalog import Playbooks
from automation.model.plan import OnFailure, Step
from automation.recovery.strategies.scope import Scope

CONTROL_NODE = "localhost"
LEAST_TIMEOUT_S = 600.0

Verb = Literal["fence", "recover", "verify", "fail-back"]


def compile_failover(scope: Scope, strategy: Playbooks) -> tuple[Step, ...]:
    """Give the steps that recover one service by the city's own playbooks."""
    steps: list[Step] = []
    before = (scope.declared, *scope.ready)
    if strategy.fence:
        why = f"{scope.name} at {scope.service.primary} must be unable to serve before it runs elsewhere"
        fence = run_verb(scope, strategy, "fence", (scope.declared,), why=why, on_failure="halt")
        steps.append(fence)
        before = (fence.id, *scope.ready)
    if scope.service.endpoints:
        steps.append(scope.names_answer())
        before = (*before, steps[-1].id)
    why = f"the city's own way to bring {scope.name} back at {scope.service.recovery}"
    steps.append(run_verb(scope, strategy, "recover", before, why=why))
    if strategy.verify:
        why = "the playbook that recovers is not the one that says it is well"
        steps.append(run_verb(scope, strategy, "verify", (steps[-1].id,), why=why))
    return (*steps, *scope.swaps((steps[-1].id,)))


def run_verb(
    scope: Scope,
    strategy: Playbooks,
    verb: Verb,
    needs: tuple[str, ...],
    *,
    why: str,
    on_failure: OnFailure = "pause",
) -> Step:
    """Give the step that runs the playbook of one verb, at the site where that verb acts."""
    playbook = {
        "fence": strategy.fence,
        "recover": strategy.recover,
        "verify": strategy.verify,
        "fail-back": strategy.fail_back,
    }[verb]
    assert playbook is not None
    service = scope.service
    site = service.primary if verb in ("fence", "fail-back") else service.recovery
    reach = (*strategy.hosts[service.primary], *strategy.hosts[service.recovery], CONTROL_NODE)
    return Step(
        id=scope.step_id(verb),
        service=scope.name,
        run=RunPlaybook(
            playbook=playbook,
            limit=",".join(dict.fromkeys(reach)),
            variables={
                "mainstay_service": scope.name,
                "mainstay_site": site,
                "mainstay_hosts": ",".join(strategy.hosts[site]),
                "mainstay_mode": scope.mode,
            },
            fence=verb == "fence",
        ),
        why=why,
        needs=needs,
        timeout_s=max(LEAST_TIMEOUT_S, service.rto_s),
        on_failure=on_failure,
    )
