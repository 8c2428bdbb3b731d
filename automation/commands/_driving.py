"""Driving a scenario to its end by the commands that people type, in controllers that may be killed."""

import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from automation.commands._command import ROOT
from automation.commands._controller import Command, Ended, Killing, run_to_the_end
from automation.commands._drill import Prepared, declare_site, report_drill
from automation.commands._healing import look_at_lab, plan_heal
from automation.commands._readiness import look, raise_unless_ready
from automation.commands._scenarios import Scenario
from automation.commands._session import Session
from automation.commands._watch import Databases
from automation.engine.fold import fold
from automation.engine.journal import read_journal
from automation.model.actions import (
    AwaitStreaming,
    CloneStandby,
    CutLink,
    DarkenSite,
    FailSite,
    PartitionSite,
    Promote,
)
from automation.model.catalog import load_catalog
from automation.model.errors import NotMet, PreflightError
from automation.model.plan import Plan, Step
from automation.model.records import Remote
from automation.recovery.planner import affected_services
from automation.recovery.spec import DrillFault, LinkCut, PowerLoss, WanPartition, load_drill, load_plan

# What ./inv dr.failover carries out when nobody names another.
PLAN = "payments"
# A copy lasts some seconds, so that a kill comes into its middle.
COPY_KIB_S = 6144
COPY_WITHIN_S = 300.0
WELL_WITHIN_S = 60.0
LAG_BYTES = 16 * 2**20


class Driven(NamedTuple):
    """A scenario that came to its end: its run, when its fault came, what its record says of it."""

    ended: Ended
    fault_at: datetime | None
    verdict: str


def drive(
    session: Session, scenario: Scenario, databases: Databases, folder: Path, killing: Killing | None
) -> Driven:
    """Carry a scenario out; with killing, its controller is killed and its run resumed.

    Raises:
        AutomationError: it did not come to an end.
    """
    env = session.environment.name
    standby = session.remote(databases.standby)
    fault_at = datetime.now(UTC)
    if scenario.kind == "failover":
        fault_at = datetime.now(UTC)
        for fault in scenario.faults:
            act(session, "fault", [Step(id="fault", run=_break(fault), why="what the scenario begins with")])
        declare_site(session, databases.site, f"{scenario.name}, under the checker", exercise=False)
        first = Command(("dr.failover", "--env", env, "--site", databases.site, "--plan", PLAN))
    elif scenario.kind == "copy":
        run_id = _open_run(session, plan_copy(session, databases))
        first = Command(("run.resume", "--env", env, "--run", run_id), run_id)
    else:
        first = Command(("dr.drill", "--env", env, "--drill", scenario.name))
    ended = run_to_the_end(session, first, folder, killing, lambda run: list_units(standby, run))
    if scenario.kind == "drill":
        return _judge_drill(session, scenario, ended)
    return Driven(ended, fault_at, judge_run(session.state / "runs" / ended.run_id))


def await_well(session: Session, site: str) -> None:
    """Wait until a failover of a site could begin: what was just booted needs some seconds.

    Raises:
        NotMet: it could not within a minute; says what is not ready.
    """
    until = time.monotonic() + WELL_WITHIN_S
    while True:
        try:
            raise_unless_ready(look(session, PLAN, site))
            break
        except NotMet:
            if time.monotonic() > until:
                raise
            time.sleep(1.0)


def heal(session: Session, faults: Iterable[DrillFault]) -> None:
    """Take every fault back, as ./inv lab.heal does; fences stay."""
    for fault in faults:
        sites = fault.between if isinstance(fault, LinkCut) else (fault.site,)
        act(session, "heal", plan_heal(fault.fault, sites, look_at_lab(session)))


def act(session: Session, name: str, steps: Iterable[Step], *, may_fail: bool = False) -> tuple[str, ...]:
    """Run a few steps of ours quietly; give those that failed, if they may."""
    plan = Plan(name=name, environment=session.environment.name, mode="apply", steps=tuple(steps))
    if not plan.steps:
        return ()
    finished = session.run(plan, narrate=lambda event: None)
    if not may_fail:
        finished.raise_for_status()
    return tuple(sorted(finished.failures))


def list_units(remote: Remote, run_id: str) -> tuple[str, ...]:
    """Name the units of a run that work on a host now."""
    words = ["systemctl", "list-units", "--plain", "--no-legend", f"mainstay-{run_id}-*"]
    shown = remote.run([*words, "--state=activating,active"]).stdout
    return tuple(line.split()[0] for line in shown.splitlines() if line.strip())


def judge_run(folder: Path) -> str:
    """Say what a run's journal tells of its end: recovered, copied, not promoted, or neither."""
    plan = Plan.model_validate_json((folder / "plan.json").read_bytes())
    folded = fold(read_journal(folder / "journal.jsonl"))
    status = folded.closed.status if folded.closed else "open"
    promotions = [step.id for step in plan.steps if isinstance(step.run, Promote)]
    if status == "succeeded":
        return "recovered" if promotions else "copied"
    begun = {*folded.started, *folded.succeeded, *folded.failed}
    return status if not promotions or begun & set(promotions) else "not promoted"


def plan_copy(session: Session, databases: Databases) -> Plan:
    """Plan to make the standby anew from its primary: its old data stays beside it."""
    from automation.adapters import postgresql
    from automation.adapters.postgresql.door import psql

    primary, standby, cluster = databases.primary, databases.standby, databases.cluster
    seen = postgresql.observe(primary, cluster, session.remote(primary))
    slot = psql(session.remote(standby), standby, cluster, "postgres", "SHOW primary_slot_name", 10.0).strip()
    copy = CloneStandby(
        host=standby,
        primary=primary,
        cluster=cluster,
        expect_system_identifier=seen.system_identifier,
        slot=slot,
        max_rate_kib_s=COPY_KIB_S,
    )
    streams = AwaitStreaming(
        primary=primary,
        standby=standby,
        cluster=cluster,
        expect_system_identifier=seen.system_identifier,
        max_lag_bytes=LAG_BYTES,
        synchronous=False,
    )
    steps = (
        Step(
            id=f"{databases.service}/clone",
            service=databases.service,
            run=copy,
            why=f"{standby} is made anew while {primary} serves",
            timeout_s=COPY_WITHIN_S,
            on_failure="halt",
        ),
        Step(
            id=f"{databases.service}/streams",
            run=streams,
            why="a copy that does not stream is no standby",
            needs=(f"{databases.service}/clone",),
        ),
    )
    return Plan(name="standby-copy", environment=session.environment.name, mode="apply", steps=steps)


def _open_run(session: Session, plan: Plan) -> str:
    """Write a run down and begin nothing: its first controller is a child, which may be killed."""

    def refuse() -> None:
        raise PreflightError("opened for another process; nothing was changed")

    runs = session.state / "runs"
    before = {folder.name for folder in runs.iterdir()}
    with suppress(PreflightError):
        session.run(plan, narrate=lambda event: None, look=refuse)
    (run_id,) = {folder.name for folder in runs.iterdir()} - before
    return run_id


def _judge_drill(session: Session, scenario: Scenario, ended: Ended) -> Driven:
    """Fold the report of a drill that other processes carried out."""
    folder = session.state / "runs" / ended.run_id
    drill = load_drill(ROOT, scenario.name)
    catalog = load_catalog(session.environment.folder / "services.yml")
    services = affected_services(drill, load_plan(ROOT, drill.plan), catalog)
    plan = Plan.model_validate_json((folder / "plan.json").read_bytes())
    report = report_drill(session, Prepared(drill, services, plan), folder)
    return Driven(ended, report.marks.fault_at, report.verdict)


def _break(fault: DrillFault) -> FailSite | PartitionSite | DarkenSite | CutLink:
    if isinstance(fault, LinkCut):
        return CutLink(sites=fault.between)
    if isinstance(fault, PowerLoss):
        return FailSite(site=fault.site)
    return PartitionSite(site=fault.site) if isinstance(fault, WanPartition) else DarkenSite(site=fault.site)
