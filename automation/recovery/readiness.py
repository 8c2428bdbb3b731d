"""Compile and judge readiness: would the failover of a site work now? Reads only. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from types import MappingProxyType
from typing import NamedTuple

from automation.model.actions import (
    LookAtHost,
    LookAtRecords,
    LookAtReplication,
    LookAtSecrets,
    LookAtServer,
)
from automation.model.base import Model, format_duration
from automation.model.catalog import AwsPilotLight, PostgresqlStandby, Service, Vendor, VmReplica
from automation.model.environment import Environment
from automation.model.evidence import (
    DnsRecord,
    Evidence,
    HostSeen,
    RecordsSeen,
    ReplicationSeen,
    SecretsSeen,
)
from automation.model.moves import Move
from automation.model.plan import Plan, Step
from automation.model.records import Event, RunOpened, StepEnded
from automation.model.replicas import PilotSeen, ReplicasSeen
from automation.model.secrets import SecretRef
from automation.recovery.lag import format_limit, judge_lag
from automation.recovery.names import find_behind
from automation.recovery.patience import with_retries
from automation.recovery.planner import City, affected_services, hosts_of_recovery, recovery_site
from automation.recovery.readiness_copies import (
    Proven,
    judge_pilot,
    judge_proof,
    judge_replicas,
    look_at_pilot,
)
from automation.recovery.readiness_fences import FencesSeen, judge_fences
from automation.recovery.readiness_findings import Finding as Finding
from automation.recovery.readiness_findings import amiss, well
from automation.recovery.spec import Failover, RecoveryPlan
from automation.recovery.strategies import vm_replica
from automation.recovery.strategies.fencing import FENCED_BY

LEAST_FREE_BYTES = 1 << 30
MOST_USED_PERCENT = 90
SSH_KEY = "ssh/id_ed25519"


class Readiness(Model):
    """Whether the failover of a site would work now, with every finding."""

    run_id: str
    environment: str
    site: str
    plan: str
    findings: tuple[Finding, ...]

    @property
    def ready(self) -> bool:
        return all(finding.status == "ready" for finding in self.findings)


class Watched(NamedTuple):
    """What readiness is judged by."""

    city: City
    site: str
    plan: str
    services: Mapping[str, Service]


def watch(name: str, plan: RecoveryPlan, city: City, site: str) -> Watched:
    """Choose the services whose failover is looked at.

    Raises:
        ConfigError: no such site or service, or nothing to recover there.
    """
    asked = Failover(plan=name, site=site, title="readiness", declaration="none")
    return Watched(city, site, name, affected_services(asked, plan, city.catalog))


def compile_readiness(watched: Watched) -> Plan:
    """Make the plan that looks at all that the failover of a site stands on; every step only reads."""
    steps = (
        *(_replication(name, service) for name, service in _databases(watched)),
        _records(watched),
        *_hosts(watched),
        *_replicas(watched),
        *_pilots(watched),
        *_fences(watched),
        Step(
            id="secrets",
            run=LookAtSecrets(secrets=_secrets(watched.city.environment)),
            why="without its secrets the control node changes nothing",
        ),
    )
    looking = tuple(step.model_copy(update={"on_failure": "continue", "timeout_s": 20.0}) for step in steps)
    return Plan(
        name=f"readiness-{watched.site}",
        environment=watched.city.environment.name,
        mode="readiness",
        steps=with_retries(looking),
    )


def fold_readiness(
    watched: Watched,
    plan: Plan,
    events: Sequence[Event],
    proven: Sequence[Proven] = (),
    *,
    fences: Mapping[str, FencesSeen] = MappingProxyType({}),
) -> Readiness:
    """Judge what was seen; a step that could not look is a finding too.

    Args:
        proven: of every backup that a service is brought back from, how far it is proven.
        fences: by site, what its vCenter or region showed that would have to fence.
    """
    city, env = watched.city, watched.city.environment.name
    ends = {event.body.step: event.body for event in events if isinstance(event.body, StepEnded)}
    opened = next(event.body for event in events if isinstance(event.body, RunOpened))
    findings = [finding for step in plan.steps for finding in _judge(watched, step, ends.get(step.id))]
    return Readiness(
        run_id=opened.run_id,
        environment=opened.environment,
        site=watched.site,
        plan=watched.plan,
        findings=(
            *findings,
            *_proofs(watched, proven, events[0].at),
            *_without_fence(watched),
            *judge_fences(watched.services, city.inventory, fences, env=env),
            *_acceptances(watched, events[0].at.date()),
            _control_node(watched, opened.node),
        ),
    )


# --- what is looked at ---------------------------------------------------------------------------


def _databases(watched: Watched) -> list[tuple[str, Service]]:
    return [
        (name, service)
        for name, service in watched.services.items()
        if isinstance(service.strategy, PostgresqlStandby)
    ]


def _secrets(environment: Environment) -> tuple[SecretRef, SecretRef]:
    return environment.dns.key, SecretRef(file=str(environment.ssh.key_file or SSH_KEY))


def _replication(name: str, service: Service) -> Step:
    strategy = service.strategy
    assert isinstance(strategy, PostgresqlStandby)
    look = LookAtReplication(
        primary=strategy.hosts[service.primary],
        standby=strategy.hosts[service.recovery],
        cluster=strategy.cluster,
    )
    return Step(
        id=f"replication/{name}", run=look, why="a standby that lags loses what clients were told is kept"
    )


def _records(watched: Watched) -> Step:
    names = {name for service in watched.services.values() for name in service.city_names}
    servers = tuple(site.dns_server for site in watched.city.catalog.sites.values())
    return Step(
        id="dns",
        run=LookAtRecords(names=tuple(sorted(names)), servers=servers, moves=True),
        why="clients are led by names; every site's server must tell the same",
    )


def _hosts(watched: Watched) -> Iterator[Step]:
    """The recovery hosts from here and from their own site, and the witness's host."""
    inventory = watched.city.inventory
    databases = {service.hosts_at(service.recovery)[0] for _, service in _databases(watched)}
    hosts = sorted(hosts_of_recovery(watched.services) & inventory.standing.keys())
    for host in hosts:
        folder = "/var/lib/postgresql" if host in databases else "/"
        yield Step(
            id=f"host/{host}", run=LookAtHost(host=host, folder=folder), why="recovery needs it and its room"
        )
    recovery = recovery_site(watched.services)
    beside = watched.city.catalog.sites[recovery].dns_server
    reach = tuple(f"{inventory.server(host).address}:{inventory.server(host).port}" for host in hosts)
    yield Step(
        id=f"reach/{beside}",
        run=LookAtHost(host=beside, reach=reach),
        why="the recovery site must stand by itself when the other one is gone",
    )
    witness = watched.city.environment.witness.host
    yield Step(
        id=f"witness/{witness}", run=LookAtHost(host=witness), why="without a witness nothing is measured"
    )


def _replicas(watched: Watched) -> Iterator[Step]:
    """What another vCenter would register; machines that a failover makes are not there to be looked at."""
    for name, service in watched.services.items():
        if isinstance(service.strategy, VmReplica):
            yield Step(
                id=f"replica/{name}",
                run=vm_replica.look_at(service, service.strategy),
                why="VMs whose files are not at the other site, or old, cannot be brought up there",
            )


def _pilots(watched: Watched) -> Iterator[Step]:
    """What another region would launch, promote or restore."""
    for name, service in watched.services.items():
        if isinstance(service.strategy, AwsPilotLight):
            yield Step(
                id=f"pilot/{name}",
                run=look_at_pilot(service, service.strategy),
                why="without an image and a copy of its database there is nothing to bring up",
            )


def _fences(watched: Watched) -> Iterator[Step]:
    for _, service in _databases(watched):
        host = service.hosts_at(service.primary)[0]
        if _provider(watched, host) in FENCED_BY:
            yield Step(
                id=f"fence/{host}",
                run=LookAtServer(host=host),
                why="what its provider cannot see cannot be fenced",
            )


# --- what it means -------------------------------------------------------------------------------


def _judge(watched: Watched, step: Step, end: StepEnded | None) -> Iterator[Finding]:
    evidence = end.outcome.evidence if end and end.outcome else None
    if evidence is None:
        said = end.failure.message if end and end.failure else "it was not looked at"
        yield amiss(_check_of(step), _subject_of(step), said, _ACTS[_check_of(step)])
        return
    yield from _judge_evidence(watched, step, evidence)


def _judge_evidence(watched: Watched, step: Step, evidence: Evidence) -> Iterator[Finding]:
    subject = _subject_of(step)
    if isinstance(evidence, ReplicationSeen):
        yield from _judge_replication(watched, subject, evidence)
    elif isinstance(evidence, RecordsSeen):
        yield from _judge_records(watched, evidence)
    elif isinstance(evidence, HostSeen):
        yield from _judge_host(watched, step, evidence)
    elif isinstance(evidence, SecretsSeen):
        yield from _judge_secrets(evidence)
    elif isinstance(evidence, ReplicasSeen):
        strategy = watched.services[subject].strategy
        assert isinstance(strategy, VmReplica)
        yield judge_replicas(subject, strategy, evidence)
    elif isinstance(evidence, PilotSeen):
        strategy = watched.services[subject].strategy
        assert isinstance(strategy, AwsPilotLight)
        yield from judge_pilot(subject, strategy, evidence, env=watched.city.environment.name)
    else:
        yield well("fence", subject, "its provider answers")


_ACTS = {
    "replication": "see why the database does not answer: systemctl status postgresql on it",
    "replica": "see that the storage replicates, and that the vCenter of the recovery site answers",
    "pilot": "see why the region does not answer, or does not let us look",
    "dns": "start the DNS server, then look again",
    "host": "start the host: without it the service cannot be recovered",
    "reach": "mend the recovery site's network",
    "witness": "start the witness's host: without it neither outage nor loss is measured",
    "fence": "bring the site's management back: without it a failover stops before promotion",
    "secrets": "put the secret back into the state folder of this control node",
}


def _check_of(step: Step) -> str:
    return step.id.partition("/")[0]


def _subject_of(step: Step) -> str:
    return step.id.partition("/")[2] or "all"


def _judge_replication(watched: Watched, name: str, seen: ReplicationSeen) -> Iterator[Finding]:
    service = watched.services[name]
    strategy = service.strategy
    primary, standby = seen.primary, seen.standby
    for host, reason in seen.silent.items():
        yield amiss("database", host, reason, _ACTS["replication"])
    if primary is None or standby is None or not isinstance(strategy, PostgresqlStandby):
        return
    if primary.in_recovery or not standby.in_recovery:
        who = primary.host if primary.in_recovery else standby.host
        role = "a standby" if primary.in_recovery else "a primary"
        status = f"./inv dr.status --env {watched.city.environment.name}"
        yield amiss("roles", name, f"{who} is {role}", f"see {status}: this site may be the other way round")
        return
    same = primary.system_identifier == standby.system_identifier
    identity = (
        "one system identifier" if same else f"{primary.system_identifier} and {standby.system_identifier}"
    )
    if same:
        yield well("identity", name, identity)
    else:
        yield amiss("identity", name, identity, f"make {standby.host} anew as a copy of {primary.host}")
    if standby.streaming:
        yield well("streaming", name, f"{standby.host} streams")
    else:
        yield amiss("streaming", name, f"{standby.host} does not stream", f"see the log of {standby.host}")
    lag = judge_lag(primary, standby, rpo_s=service.rpo_s, max_lag_bytes=strategy.max_lag_bytes)
    allowed = f"{lag.words}; allowed: {format_limit(service.rpo_s, strategy.max_lag_bytes)}"
    if lag.verdict == "within":
        yield well("lag", name, allowed)
    else:
        yield amiss("lag", name, allowed, "let it catch up; until then a failover needs a signed override")


def _judge_records(watched: Watched, seen: RecordsSeen) -> Iterator[Finding]:
    for server, reason in seen.silent.items():
        yield amiss("dns", server, reason, _ACTS["dns"])
    wanted_s = watched.city.environment.dns.ttl_s
    for name in sorted({name for records in seen.answers.values() for name in records}):
        told = {server: records[name] for server, records in seen.answers.items() if name in records}
        addresses = {record.addresses for record in told.values()}
        ttl_s = max(record.ttl_s for record in told.values())
        words = "; ".join(f"{server}: {', '.join(r.addresses) or 'nothing'}" for server, r in told.items())
        if len(addresses) != 1 or () in addresses:
            yield amiss("records", name, *_judge_unequal(watched, name, told, words))
        elif ttl_s > wanted_s:
            yield amiss(
                "ttl",
                name,
                f"clients keep it for {format_duration(ttl_s)}",
                f"set {format_duration(wanted_s)}",
            )
        else:
            yield well("records", name, f"{words}; clients keep it for {format_duration(ttl_s)}")


def _judge_unequal(watched: Watched, name: str, told: Mapping[str, DnsRecord], words: str) -> tuple[str, str]:
    """Say what is seen and what to do: a server that only missed a move is told what the others know."""
    moves = {
        server: {name: Move(addresses=record.addresses, ttl_s=round(record.ttl_s), stamp=record.moved)}
        for server, record in told.items()
    }
    behind = tuple(find_behind(moves))
    if not behind:
        return words, "make the records equal before anything else is changed"
    env = watched.city.environment.name
    acts = " and ".join(f"./inv dr.reconcile --env {env} --server {server}" for server in behind)
    return f"{words}; reconcile before use: {', '.join(behind)}", acts


def _judge_host(watched: Watched, step: Step, seen: HostSeen) -> Iterator[Finding]:
    check, site = _check_of(step), watched.city.inventory.server(seen.host).site
    if seen.not_reached:
        yield amiss(check, seen.host, f"does not reach {', '.join(seen.not_reached)}", _ACTS["reach"])
    elif check == "witness" and site == watched.site:
        yield amiss(check, seen.host, f"stands at {site} itself", "watch from a host outside the site")
    elif seen.free_bytes < LEAST_FREE_BYTES or seen.used_percent > MOST_USED_PERCENT:
        free = f"{seen.free_bytes // 2**20} MiB free, {seen.used_percent} % used"
        yield amiss(check, seen.host, free, f"make room: at least 1 GiB and {100 - MOST_USED_PERCENT} %")
    else:
        yield well(check, seen.host, f"answers, {seen.free_bytes // 2**20} MiB free")


def _judge_secrets(seen: SecretsSeen) -> Iterator[Finding]:
    for name in seen.readable:
        yield well("secret", name, "can be read here")
    for name, reason in seen.unreadable.items():
        yield amiss("secret", name, reason, _ACTS["secrets"])


def _proofs(watched: Watched, proven: Sequence[Proven], now: datetime) -> Iterator[Finding]:
    for one in proven:
        if one.service in watched.services:
            yield judge_proof(one, now, env=watched.city.environment.name)


def _acceptances(watched: Watched, today: date) -> Iterator[Finding]:
    """A service that nothing of ours recovers is ready as long as somebody bears that."""
    for name, service in watched.services.items():
        strategy = service.strategy
        if isinstance(strategy, Vendor):
            seen = f"{strategy.accepted_by} bears it until {strategy.review_by}: {strategy.accepted_risk}"
            if strategy.review_by < today:
                act = f"let {strategy.accepted_by} look at the risk, then set a new review_by in the catalog"
                yield amiss("accepted risk", name, seen, act)
            else:
                yield well("accepted risk", name, seen)


def _provider(watched: Watched, host: str) -> str:
    return watched.city.inventory.server(host).provider


def _without_fence(watched: Watched) -> Iterator[Finding]:
    """Databases whose provider this version cannot ask to cut power or network."""
    for name, service in _databases(watched):
        host = service.hosts_at(service.primary)[0]
        if (provider := _provider(watched, host)) not in FENCED_BY:
            seen = f"its provider is {provider}, and this version has no fence for it"
            yield amiss("fence", host, seen, f"recover {name} by playbooks that fence (strategy: playbooks)")


def _control_node(watched: Watched, node: str) -> Finding:
    """A control node that stands in the inventory at the lost site is lost with it."""
    server = watched.city.inventory.servers.get(node)
    if server is not None and server.site == watched.site:
        return amiss(
            "control node", node, f"stands at {server.site}", "run from a control node outside the site"
        )
    where = f"stands at {server.site}" if server else "stands at none of the sites"
    return well("control node", node, where)
