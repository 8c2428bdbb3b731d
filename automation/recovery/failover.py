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
from automation.model.catalog import AwsPilotLight, PostgresqlStandby, Service
from automation.model.errors import ConfigError
from automation.model.observations import PostgresqlCluster
from automation.model.plan import Mode, OnFailure, Plan, Step
from automation.recovery.audits import ask_copies, hosts_recovered
from automation.recovery.completing import Draft, complete
from automation.recovery.planner import (
    City,
    affected_services,
    cutovers,
    list_probes,
    moved,
    probe_ids,
    recover,
    recovery_site,
    rto_s,
    seen_well,
)
from automation.recovery.spec import Failover, RecoveryPlan
from automation.recovery.strategies.aws_pilot_light import assume_pilot
from automation.recovery.strategies.scope import Accepted
from automation.recovery.writes import count_writes

# What the witness does in a real failover is never worth stopping for: it looks, it recovers nothing.
LOOKING: OnFailure = "continue"


# What is put in the place of what nobody has seen, in a walkthrough.
ASSUMED = "observed when the plan is made"


def compile_failover(failover: Failover, plan: RecoveryPlan, city: City) -> Plan:
    """Make the plan of a real failover of one site.

    Raises:
        ConfigError: no such site or service, nothing to recover, or no approvals asked for outside a lab.
        PreflightError: a standby was not observed, or is none, or the plan's limits forbid it.
    """
    if plan.rule("failover") is None and city.environment.kind != "lab":
        raise ConfigError(
            f"a failover of {city.environment.name}, which is no lab, must ask for approvals; "
            "nothing was changed",
            hint=f"say who must sign in drtests/plans/{failover.plan}.yml: approvals: {{failover: [ROLE]}}",
        )
    return _compile(failover, plan, city, "failover")


def compile_walkthrough(plan_name: str, plan: RecoveryPlan, city: City, site: str) -> Plan:
    """Make the plan of a failover to be read, with nothing observed; it is never run.

    Raises:
        ConfigError: no such site or service, or nothing to recover.
        PreflightError: the plan's limits forbid it.
    """
    failover = Failover(plan=plan_name, site=site, title="a walkthrough", declaration=ASSUMED)
    services = affected_services(failover, plan, city.catalog)
    assumed = {
        host: PostgresqlCluster(host=host, system_identifier=ASSUMED, timeline=0, in_recovery=True)
        for service in services.values()
        if isinstance(service.strategy, PostgresqlStandby)
        for host in service.hosts_at(service.recovery)[:1]
    }
    pilots = {
        name: assume_pilot(service, service.strategy)
        for name, service in services.items()
        if isinstance(service.strategy, AwsPilotLight)
    }
    cloud = city.cloud.model_copy(update={"pilots": pilots})
    return _compile(failover, plan, city._replace(clusters=assumed, cloud=cloud), "walkthrough")


def _compile(failover: Failover, plan: RecoveryPlan, city: City, mode: Mode) -> Plan:
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
    recovery = recover(city, services, declared.id, accepted, mode)
    checks = _check(plan, services)
    steps = (declared, *recovery, checks)
    if probe_ids(services):
        watch, good, collect = _see(failover, city, services, recovery)
        checks = checks.model_copy(update={"after": (good.id,)})
        steps = (declared, watch, *recovery, good, checks, collect, *_count(services))
    steps = (*steps, *_ask(city, services, tuple(step.id for step in steps)))
    draft = Draft(failover.name, city.environment.name, mode, steps, services, declared.id)
    return complete(draft, plan, city.catalog.services, city.inventory)


def _check(plan: RecoveryPlan, services: Mapping[str, Service]) -> Step:
    own = moved(services)
    return Step(
        id="checks",
        run=RunChecks(paths=plan.checks, services=tuple(own), site=recovery_site(services)),
        why="good probes are not yet a right service",
        needs=cutovers(own),
        timeout_s=300,
    )


def _see(
    failover: Failover, city: City, services: Mapping[str, Service], recovery: tuple[Step, ...]
) -> tuple[Step, Step, Step]:
    """Watch what clients see: from the declaration on, until all is well, and fetch the record of it."""
    witness, seen = city.environment.witness, seen_well(services)
    watch = Step(
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
    good = Step(
        id="clients-good",
        run=AwaitGood(host=witness.host, probes=probe_ids(seen), count=witness.sustained),
        why="recovered is what clients see, sustained",
        needs=cutovers(seen),
        after=("witness/start",),
        timeout_s=max(rto_s(failover, name, service) for name, service in seen.items()) + 60,
        on_failure=LOOKING,
    )
    collect = Step(
        id="witness/collect",
        run=CollectWitness(host=witness.host),
        why="what the witness saw belongs to the record",
        needs=cutovers(moved(services)),
        after=("witness/start", "clients-good", "checks", *cutovers(services)),
        timeout_s=120,
        cleanup=True,
        on_failure=LOOKING,
    )
    return watch, good, collect


def _count(services: Mapping[str, Service]) -> tuple[Step, ...]:
    """List the writes at the new primary; a ledger kept before the loss can be held against them."""
    counted = count_writes(services, inspect_old_primary=False)
    return tuple(step.model_copy(update={"on_failure": LOOKING}) for step in counted)


def _ask(city: City, services: Mapping[str, Service], before: tuple[str, ...]) -> tuple[Step, ...]:
    """Ask the recovered hosts how they are secured, when all else is done: it is told, and stops nothing."""
    hosts = hosts_recovered(services, city.inventory)
    return ask_copies(city.walk_s, hosts, needs=cutovers(moved(services)), after=before)


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
