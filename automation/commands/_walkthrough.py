"""A plan to be read aloud, step by step: nothing is observed, nothing is run."""

from collections.abc import Iterator

from automation.commands._drill import check_hosts, plan_for
from automation.commands._session import Session
from automation.model.catalog import load_catalog
from automation.model.plan import Mode, Plan, Step
from automation.recovery.failover import ASSUMED, compile_walkthrough
from automation.recovery.planner import City
from automation.recovery.spec import RecoveryPlan

SIGNED: tuple[Mode, ...] = ("failover", "planned-migration", "failback", "test-failover")


def prepare_walkthrough(session: Session, plan: str, site: str) -> Plan:
    """Compile the failover of a site to be read; no host is asked anything.

    Raises:
        ConfigError: a file has faults, or the site has nothing to recover.
    """
    catalog = load_catalog(session.environment.folder / "services.yml")
    check_hosts(catalog, session)
    city = City(session.environment, session.inventory, catalog, {})
    return compile_walkthrough(plan, plan_for(session, plan), city, site)


def tell_walkthrough(plan: Plan, recovery: RecoveryPlan) -> Iterator[str]:
    """Give every step in an order in which it could be done, with what it waits for and who is asked."""
    yield f"{plan.name}: a walkthrough of {len(plan.steps)} steps; nothing was observed, nothing is run"
    for mode in SIGNED:
        if rule := recovery.rule(mode):
            yield f"before a {mode}: signed by {', '.join(rule.roles)}"
    ordered = [step for wave in plan.waves() for step in wave]
    for number, step in enumerate(ordered, start=1):
        yield from describe_step(number, step)


def describe_step(number: int, step: Step) -> Iterator[str]:
    """Give the lines that tell one step."""
    mark = "; POINT OF NO RETURN" if step.run.irreversible else ""
    yield f"{number:4}. {step.id} ({step.run.effect}){mark}"
    yield f"      {step.why}"
    if step.gate:
        yield f"      {step.gate.role} is asked: {step.gate.ask}"
    if waits := (*step.needs, *step.after):
        yield f"      waits for: {_few(waits)}"
    if step.on_failure != "pause":
        what = "nothing new starts" if step.on_failure == "halt" else "the run goes on"
        yield f"      if it fails: {what}"
    if assumed := [name for name, value in step.run if value == ASSUMED]:
        yield f"      {', '.join(name.replace('_', ' ') for name in assumed)}: {ASSUMED}"


def _few(names: tuple[str, ...]) -> str:
    known = tuple(dict.fromkeys(names))
    more = f" and {len(known) - 6} more" if len(known) > 6 else ""
    return ", ".join(known[:6]) + more
