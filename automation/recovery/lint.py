"""What may be wrong with a recovery plan, found before anybody needs it. Pure.

The plan's own words, what stands on the disk, what the catalog says of its services, and its steps for
every site that may be lost, compiled as a walkthrough. A finding names the rule, and where in the plan
file the fault stands, if it stands there.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from typing import NamedTuple
from zoneinfo import ZoneInfo

from automation.model.actions import Action, RunPlaybook
from automation.model.catalog import Playbooks, PostgresqlStandby, RestoreFromBackup, Service
from automation.model.errors import ConfigError, PreflightError
from automation.model.plan import Mode, Plan, Step
from automation.recovery.completing import gate_id
from automation.recovery.failover import compile_walkthrough
from automation.recovery.freezes import FARTHEST, frozen
from automation.recovery.lint_isolated import lint_test_step
from automation.recovery.lint_steps import LintFinding, Severity, lint_steps
from automation.recovery.planner import City
from automation.recovery.spec import RecoveryPlan
from automation.recovery.strategies.fencing import FENCED_BY
from automation.recovery.strategies.scope import is_moved

Where = tuple[str | int, ...]
DATABASES = PostgresqlStandby | RestoreFromBackup


class Facts(NamedTuple):
    """What the rules cannot know by themselves: the disk, the adapters, the day."""

    exists: Callable[[str], bool]
    verified: Callable[[str], bool]
    today: date


def lint_recovery(name: str, recovery: RecoveryPlan, city: City, facts: Facts) -> tuple[LintFinding, ...]:
    """Give everything that is wrong with a recovery plan, and what is worth a look; errors first.

    Args:
        name: the plan's file, without its ending.
    """
    chosen = choose(recovery, city)
    findings = [
        *_words(name, recovery, city, facts),
        *_fences(chosen, city),
        *(one for service in chosen for one in _service(service, city.catalog.services, chosen, facts)),
    ]
    sites = sorted({city.catalog.services[service].primary for service in chosen})
    read = _as_failed_over(recovery)
    plans = {site: _compile(name, read, city, site) for site in sites}
    for plan in plans.values():
        findings += _compiled(plan, recovery, city, facts) if isinstance(plan, Plan) else [plan]
    findings += _gates(read, [plan for plan in plans.values() if isinstance(plan, Plan)])
    unique = {one.model_dump_json(): one for one in findings}
    return tuple(
        sorted(unique.values(), key=lambda one: (one.severity != "error", one.where == (), one.rule))
    )


def choose(recovery: RecoveryPlan, city: City) -> tuple[str, ...]:
    """Name the services that a plan may recover, whichever site is lost."""
    services = city.catalog.services
    return tuple(name for name, service in services.items() if recovery.services.chooses(name, service))


# --- the plan's own words --------------------------------------------------------------------------


def _words(name: str, recovery: RecoveryPlan, city: City, facts: Facts) -> Iterator[LintFinding]:
    yield from _choice(recovery, city)
    yield from _files(recovery, facts)
    yield from _tests(recovery, city)
    yield from _freezes(recovery, facts)
    if len({role.strip() for role in recovery.overrides} - {""}) < 2:
        yield _error("two-roles", name, "one role would sign for both", ("overrides",), "name two roles")
    if city.environment.kind != "lab" and recovery.rule("failover") is None:
        here = city.environment.name
        message = f"a failover of {here}, which is no lab, asks nobody and is refused"
        severity: Severity = "error" if here in recovery.environments else "warning"
        yield _finding(severity, "approvals", name, message, ("approvals",), "approvals: {failover: [ROLE]}")


def _choice(recovery: RecoveryPlan, city: City) -> Iterator[LintFinding]:
    services, sites = city.catalog.services, city.catalog.sites
    for index, name in enumerate(recovery.services.names):
        if name not in services:
            where: Where = ("services", index)
            yield _error("service", name, "there is no such service", where, "services.yml names them all")
    for name in recovery.services.but:
        if name not in services:
            yield _error("service", name, "there is no such service to leave out", ("services", "except"))
    for index, site in enumerate(recovery.services.sites):
        if site not in sites:
            yield _error(
                "site", site, "there is no such site", ("services", "sites", index), ", ".join(sites)
            )
    if not choose(recovery, city):
        yield _error("choice", "services", "chooses no service of the catalog", ("services",))


def _files(recovery: RecoveryPlan, facts: Facts) -> Iterator[LintFinding]:
    for index, path in enumerate(recovery.checks):
        if not facts.exists(path):
            yield _error("checks-exist", path, "there is no such file or folder", ("checks", index))
    for index, step in enumerate(recovery.steps):
        for action in (step.run, *([step.undo] if step.undo else [])):
            if isinstance(action, RunPlaybook):
                yield from _playbook(action, facts, ("steps", index, "run"), step.id)


def _tests(recovery: RecoveryPlan, city: City) -> Iterator[LintFinding]:
    """A step of a test failover keeps away from what clients use."""
    services = city.catalog.services.values()
    production = {endpoint.name for service in services for endpoint in service.endpoints.values()}
    for index, own in enumerate(recovery.steps):
        if "test-failover" in own.modes:
            step = Step(id=own.id, run=own.run, why=own.why)
            for one in lint_test_step(step, production):
                yield one.model_copy(update={"where": ("steps", index)})


def _playbook(action: Action, facts: Facts, where: Where, subject: str) -> Iterator[LintFinding]:
    assert isinstance(action, RunPlaybook)
    if not facts.exists(action.playbook):
        yield _error("playbook-exists", subject, f"there is no playbook {action.playbook}", where)
    if action.limit is None:
        act = "limit: the hosts it is for, or localhost"
        yield _warning("playbook-limit", subject, f"{action.playbook} may reach every host", act, where)


def _freezes(recovery: RecoveryPlan, facts: Facts) -> Iterator[LintFinding]:
    for index, freeze in enumerate(recovery.freezes):
        now = datetime.combine(facts.today, time(12), ZoneInfo(freeze.tz))
        for one, until in frozen(recovery, freeze.modes[0], now):
            if one is freeze and until - now >= FARTHEST:
                act = "`for` is shorter than the time between two beginnings"
                yield _warning("freeze-ends", freeze.name, "does not end", act, ("freezes", index))


# --- the services it chooses -----------------------------------------------------------------------


def _service(
    name: str, services: Mapping[str, Service], chosen: tuple[str, ...], facts: Facts
) -> Iterator[LintFinding]:
    service = services[name]
    if isinstance(service.strategy, Playbooks):
        yield from _verbs(name, service.strategy, facts)
    for other in service.depends_on:
        beside = services[other].primary == service.primary
        if beside and is_moved(services[other]) and other not in chosen and is_moved(service):
            act = f"choose {other} too, or say in the catalog that {name} does without it"
            yield _warning(
                "depends", name, f"stands on {other}, which this plan leaves at the lost site", act
            )
    for probe in service.probes.values():
        store = services.get(probe.stored_in or "")
        if store is not None and not isinstance(store.strategy, DATABASES):
            act = "writes are counted in databases of strategy postgresql-standby or restore-from-backup"
            yield _warning("loss-measured", name, f"what is lost of {probe.stored_in} is not measured", act)


def _fences(chosen: tuple[str, ...], city: City) -> Iterator[LintFinding]:
    """Databases whose primary no fence of this version reaches, by provider."""
    unfenced: dict[str, list[str]] = defaultdict(list)
    for name in chosen:
        service = city.catalog.services[name]
        if isinstance(service.strategy, DATABASES):
            provider = city.inventory.server(service.hosts_at(service.primary)[0]).provider
            if provider not in FENCED_BY:
                unfenced[provider].append(name)
    for provider, names in unfenced.items():
        message = f"cannot be fenced by this version, so a failover of {', '.join(names)} is refused"
        yield _warning("fence", f"provider {provider}", message, "recover them by playbooks that fence")


def _verbs(name: str, strategy: Playbooks, facts: Facts) -> Iterator[LintFinding]:
    verbs = {
        "fence": strategy.fence,
        "recover": strategy.recover,
        "verify": strategy.verify,
        "fail_back": strategy.fail_back,
    }
    for verb, playbook in verbs.items():
        if playbook is not None and not facts.exists(playbook):
            yield _error(
                "playbook-exists", name, f"there is no playbook {playbook} to {verb}", act="services.yml"
            )
    if strategy.fence is None:
        act = "strategy: fence, if it holds anything that must not be written at two places"
        yield _warning("playbook-fence", name, "nothing makes its old site unable to serve", act)
    if strategy.verify is None:
        act = "strategy: verify"
        yield _warning("playbook-verify", name, "nothing but the playbook that recovers says it is well", act)


# --- its steps -------------------------------------------------------------------------------------


def _as_failed_over(recovery: RecoveryPlan) -> RecoveryPlan:
    """Have a walkthrough show what is there in a failover, too: a gate or step for that mode alone."""
    gates = [one.model_copy(update={"modes": _shown(one.modes)}) for one in recovery.gates]
    steps = [one.model_copy(update={"modes": _shown(one.modes)}) for one in recovery.steps]
    return recovery.model_copy(update={"gates": tuple(gates), "steps": tuple(steps)})


def _shown(modes: tuple[Mode, ...]) -> tuple[Mode, ...]:
    return (*modes, "walkthrough") if "failover" in modes else modes


def _compile(name: str, recovery: RecoveryPlan, city: City, site: str) -> Plan | LintFinding:
    try:
        return compile_walkthrough(name, recovery, city, site)
    except (ConfigError, PreflightError) as exc:
        return _error("compile", site, str(exc), act=exc.hint or "")


def _gates(recovery: RecoveryPlan, plans: Sequence[Plan]) -> Iterator[LintFinding]:
    """A gate that stands before nothing, whichever site is lost, asks nobody."""
    shown = [gate for gate in recovery.gates if not gate.modes or "walkthrough" in gate.modes]
    for number, gate in enumerate(shown, start=1):
        if plans and not any(gate_id(number, gate) in plan.by_id for plan in plans):
            act = "before: a service of this plan, one of its steps, or fence, promote, names"
            where: Where = ("gates", recovery.gates.index(gate))
            yield _warning("gate-asks", gate.before, "nothing of this plan waits for that gate", act, where)


def _compiled(plan: Plan, recovery: RecoveryPlan, city: City, facts: Facts) -> Iterator[LintFinding]:
    excused = {step.id for step in recovery.steps if step.no_undo}
    places = {step.id: index for index, step in enumerate(recovery.steps)}
    for found in lint_steps(
        plan, lab=city.environment.kind == "lab", excused=excused, verified=facts.verified
    ):
        own = places.get(found.subject)
        yield found if own is None else found.model_copy(update={"where": ("steps", own)})


def _error(rule: str, subject: str, message: str, where: Where = (), act: str = "") -> LintFinding:
    return _finding("error", rule, subject, message, where, act)


def _warning(rule: str, subject: str, message: str, act: str, where: Where = ()) -> LintFinding:
    return _finding("warning", rule, subject, message, where, act)


def _finding(
    severity: Severity, rule: str, subject: str, message: str, where: Where, act: str
) -> LintFinding:
    return LintFinding(severity=severity, rule=rule, subject=subject, message=message, act=act, where=where)
