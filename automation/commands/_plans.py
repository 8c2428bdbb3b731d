"""Showing a plan before it runs: what happens to each service, and how long the past says it takes."""

from collections.abc import Mapping
from typing import NamedTuple

from automation.commands._command import print_json, progress
from automation.commands._drill import Prepared, PreparedFailover, plan_for, prepare_drill
from automation.commands._failover import Asked, prepare_failover
from automation.commands._foretold import foresee
from automation.commands._isolated import is_isolated, prepare_isolated
from automation.commands._moving import (
    PreparedMove,
    ask_failback,
    ask_migration,
    moves,
    prepare_drilled,
    prepare_failback,
    prepare_migration,
)
from automation.commands._plan_view import Compiled, PlanView, view_plan
from automation.commands._session import Session
from automation.commands._told_weaker import told_weaker
from automation.commands._walkthrough import prepare_walkthrough, tell_walkthrough
from automation.model.catalog import Service, load_catalog
from automation.model.errors import ConfigError
from automation.recovery.planner import affected_services
from automation.recovery.prediction import Prediction
from automation.recovery.spec import Failover

FEW_SERVICES = 12


class Chosen(NamedTuple):
    """Which plan is to be shown, as it was asked for on the command line."""

    drill: str
    plan: str
    site: str
    mode: str


class Shown(NamedTuple):
    """How it is to be shown."""

    json: bool = False
    steps: bool = False
    service: str = ""


def prepare_view(session: Session, chosen: Chosen) -> PlanView:
    """Compile a drill, a failover, a planned move or a walkthrough, and predict it; changes nothing.

    Raises:
        ConfigError: a file has faults.
        PreflightError: what must be observed or declared first is not.
    """
    prepared = _prepare(session, chosen)
    if isinstance(prepared, PreparedMove):
        for line in told_weaker(session, prepared.services):
            progress(line)
        # The pause of a planned move begins in the middle of its plan, and is announced.
        nothing = Prediction(runs=0, since="the announced pause", services=())
        switch = prepared.switch
        recovery = plan_for(session, switch.plan)
        return view_plan(Compiled(prepared.plan, recovery, prepared.services, switch.site), nothing)
    spec = prepared.drill
    compiled = Compiled(prepared.plan, plan_for(session, spec.plan), prepared.services, spec.site)
    return view_plan(compiled, foresee(session, spec, prepared.services, prepared.plan))


def show(session: Session, chosen: Chosen, shown: Shown) -> None:
    """Print a plan, all of it or one service's steps.

    Raises:
        ConfigError: a file has faults, or the plan does not recover that service.
    """
    from automation.commands._render_plan import print_aloud, print_plan_view, print_service_steps

    view = prepare_view(session, chosen)
    if shown.service and shown.service not in {row.service for row in view.services}:
        raise ConfigError(
            f"{view.plan.name} does not recover {shown.service!r}; nothing was touched",
            hint="dr.plan without --service names all that it does",
        )
    if shown.json:
        print_json(view)
        return
    if shown.service:
        print_service_steps(view, shown.service)
        return
    steps = shown.steps or len(view.services) <= FEW_SERVICES
    aloud = steps and chosen.mode == "walkthrough"
    print_plan_view(view, steps=steps and not aloud, hint=not steps)
    if aloud:
        print_aloud(tell_walkthrough(view.plan, plan_for(session, chosen.plan)))


def _prepare(session: Session, chosen: Chosen) -> Prepared | PreparedFailover | PreparedMove:
    drill, plan, site, mode = chosen
    if drill and is_isolated(drill):
        return prepare_isolated(session, drill)
    if drill:
        return prepare_drilled(session, drill) if moves(drill) else prepare_drill(session, drill)
    if mode == "planned-migration":
        return prepare_migration(session, ask_migration(site, plan))
    if mode == "failback":
        return prepare_failback(session, ask_failback(site, plan))
    if mode == "walkthrough":
        asked = Failover(plan=plan, site=site, title="a walkthrough", declaration="none")
        services = _services(session, asked)
        return PreparedFailover(asked, services, prepare_walkthrough(session, plan, site))
    return prepare_failover(session, Asked(plan, site))


def _services(session: Session, asked: Failover) -> Mapping[str, Service]:
    catalog = load_catalog(session.environment.folder / "services.yml")
    return affected_services(asked, plan_for(session, asked.plan), catalog)
