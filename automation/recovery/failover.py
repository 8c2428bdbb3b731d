"""Compile a real failover: cite the declaration, recover, see clients served. Pure; it has no faults."""

from collections.abc import Mapping

from automation.model.actions import (
    AcceptLag,
    AwaitGood,
    CiteDeclaration,
    CollectWitness,
    RunChecks,
    StartWitness,
    SuspectSplitBrain,
)
from automation.model.approvals import ApprovalRule, Request
from automation.model.catalog import Service
from automation.model.errors import ConfigError
from automation.model.plan import OnFailure, Plan, Step
from automation.recovery.planner import (
    City,
    affected_services,
    list_probes,
    probe_ids,
    recover,
    recovery_site,
    rto_s,
)
from automation.recovery.spec import Failover, RecoveryPlan
from automation.recovery.strategies.scope import Accepted, cutover_ids
from automation.recovery.writes import count_writes

# What the witness does in a real failover is never worth stopping for: it looks, it recovers nothing.
LOOKING: OnFailure = "continue"


def compile_failover(failover: Failover, plan: RecoveryPlan, city: City) -> Plan:
    """Make the plan of a real failover of one site.

    Raises:
        ConfigError: no such site or service, nothing to recover, or no approvals asked for outside a lab.
        PreflightError: a standby was not observed, or is none.
    """
    if plan.rule("failover") is None and city.environment.kind != "lab":
        raise ConfigError(
            f"a failover of {city.environment.name}, which is no lab, must ask for approvals; "
            "nothing was changed",
            hint=f"say who must sign in drtests/plans/{failover.plan}.yml: approvals: {{failover: [ROLE]}}",
        )
    services = affected_services(failover, plan, city.catalog)
    declared = Step(
        id="declaration",
        run=CiteDeclaration(declaration=failover.declaration, site=failover.site, services=tuple(services)),
        why="a failover between sites is declared by a person, never automatic",
        on_failure="halt",
    )
    accepted = {
        name: Accepted(failover.accept_unfenced, failover.accept_lag.get(name, ""), plan.overrides)
        for name in services
    }
    recovery = recover(city, services, declared.id, accepted)
    seen = _see(failover, plan, city, services)
    return Plan(
        name=failover.name,
        environment=city.environment.name,
        mode="failover",
        steps=(declared, _watch(city, services), *recovery, *seen, *_count(services)),
        approvals=plan.rule("failover"),
    )


def _watch(city: City, services: Mapping[str, Service]) -> Step:
    witness = city.environment.witness
    return Step(
        id="witness/start",
        run=StartWitness(
            host=witness.host,
            probes=list_probes(services),
            beat_s=witness.beat_s,
            timeout_s=witness.timeout_s,
        ),
        why="recovered is what clients see",
        needs=("declaration",),
        timeout_s=30,
        on_failure=LOOKING,
    )


def _see(
    failover: Failover, plan: RecoveryPlan, city: City, services: Mapping[str, Service]
) -> tuple[Step, ...]:
    witness = city.environment.witness
    moved = tuple(step for name, service in services.items() for step in cutover_ids(name, service))
    good = Step(
        id="clients-good",
        run=AwaitGood(host=witness.host, probes=probe_ids(services), count=witness.sustained),
        why="recovered is what clients see, sustained",
        needs=moved,
        after=("witness/start",),
        timeout_s=max(rto_s(failover, name, service) for name, service in services.items()) + 60,
        on_failure=LOOKING,
    )
    checks = Step(
        id="checks",
        run=RunChecks(paths=plan.checks, services=tuple(services), site=recovery_site(services)),
        why="good probes are not yet a right service",
        needs=moved,
        after=("clients-good",),
        timeout_s=300,
    )
    collect = Step(
        id="witness/collect",
        run=CollectWitness(host=witness.host),
        why="what the witness saw belongs to the record",
        needs=moved,
        after=("witness/start", "clients-good", "checks"),
        timeout_s=120,
        cleanup=True,
        on_failure=LOOKING,
    )
    return good, checks, collect


def _count(services: Mapping[str, Service]) -> tuple[Step, ...]:
    """List the writes at the new primary; a ledger kept before the loss can be held against them."""
    counted = count_writes(services, inspect_old_primary=False)
    return tuple(step.model_copy(update={"on_failure": LOOKING}) for step in counted)


def override_requests(plan: Plan, run_id: str, requester: str) -> tuple[Request, ...]:
    """Give what two people must sign before a plan that accepts a risk may start; none for most plans."""
    return tuple(
        Request(
            kind="override",
            environment=plan.environment,
            mode=plan.mode,
            run_id=run_id,
            plan_digest=plan.digest,
            rule=ApprovalRule(roles=step.run.roles),
            requester=requester,
            step=step.id,
            observed=step.run.observed,
            question=f"{step.why} Accepted is: {step.run.observed}.",
        )
        for step in plan.steps
        if isinstance(step.run, SuspectSplitBrain | AcceptLag)
    )
