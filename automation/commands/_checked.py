"""One drill under the checker: perhaps killed and resumed, then healed, powered on and watched."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from random import Random

from automation.commands._command import ROOT
from automation.commands._controller import Kill, run_to_the_end
from automation.commands._drill import Prepared, report_drill
from automation.commands._session import Session
from automation.commands._watch import (
    Watching,
    begin_watch,
    end_watch,
    let_time_pass,
    start_checkers,
)
from automation.model.actions import (
    AwaitReady,
    HealLink,
    HealSite,
    RejoinSite,
    StartServer,
)
from automation.model.base import Model
from automation.model.catalog import load_catalog
from automation.model.errors import PreflightError
from automation.model.plan import Plan, Step
from automation.model.records import Remote
from automation.recovery.overlap import Record, Writability, count_attempts
from automation.recovery.planner import affected_services
from automation.recovery.report import DrillReport
from automation.recovery.spec import Drill, LinkCut, PowerLoss, load_drill, load_plan

# A checker that tried less often than this share of its beats did not watch.
TRIED_SHARE = 0.5
BEATS_A_SECOND = 50


class Promotions(Model):
    """What the standby's host itself says of its promotion."""

    units: int = 0
    requests: int = 0


class Watched(Model):
    """What a vantage tried on the old primary after everything was healed and powered on."""

    tried: int
    committed: int


class CheckedRow(Model):
    """One drill under the checker: what it went through, what was seen, why it does not hold."""

    run_id: str
    verdict: str
    kills: tuple[Kill, ...]
    kills_wanted: bool
    exit_codes: tuple[int, ...]
    promotions: Promotions
    periods: Mapping[str, int]
    commits: Mapping[str, int]
    before_fault: Mapping[str, int]
    handover_ms: float | None
    overlaps: int
    returns: int
    in_doubt: int
    resolution_ms: float
    usual_resolution_ms: float
    one_clock: bool
    left_off: tuple[str, ...]
    after_healing: Mapping[str, Watched]
    faults_found: tuple[str, ...]


def drill_under_watch(
    session: Session, name: str, folder: Path, *, chance: Random | None, watch_s: float
) -> CheckedRow:
    """Drill once while the checkers write; heal and power on; watch the old primary; fold it all.

    Raises:
        AutomationError: the run did not come to an end, or a checker could not be started or read.
    """
    folder.mkdir(mode=0o700, parents=True)
    drill = load_drill(ROOT, name)
    watching = begin_watch(session, folder.name)
    ended = run_to_the_end(session, name, folder, chance)
    heal(session, drill)
    left_off = power_on(session)
    start_checkers(watching)
    since_ns = let_time_pass(watch_s, f"{watching.databases.primary} must stay shut")
    records, seen = end_watch(watching, folder)
    nodes = watching.watch.nodes
    report = _report(session, drill, ended.run_id)
    row = CheckedRow(
        run_id=ended.run_id,
        verdict=report.verdict,
        kills=ended.kills,
        kills_wanted=chance is not None,
        exit_codes=ended.exit_codes,
        promotions=count_promotions(session.remote(watching.databases.standby), ended.run_id),
        periods={node: sum(p.node == node for p in seen.periods) for node in nodes},
        commits={node: sum(p.commits for p in seen.periods if p.node == node) for node in nodes},
        before_fault=before_fault(records, watching, report.marks.fault_at),
        handover_ms=handover_ms(seen, watching),
        overlaps=len(seen.overlaps),
        returns=len(seen.returns),
        in_doubt=sum(row.in_doubt for row in seen.coverage),
        resolution_ms=seen.resolution_ms,
        usual_resolution_ms=seen.usual_resolution_ms,
        one_clock=seen.one_clock,
        left_off=left_off,
        after_healing=after_healing(records, watching, since_ns),
        faults_found=(),
    )
    return row.model_copy(update={"faults_found": find_faults(row, drill, seen, watch_s)})


def find_faults(row: CheckedRow, drill: Drill, seen: Writability, watch_s: float) -> tuple[str, ...]:
    """Say everything that must not be: an overlap, a return, a second promotion, a watch that was none."""
    recovered = drill.expect == "recovered"
    wanted = Promotions(units=1, requests=1) if recovered else Promotions()
    nobody = [
        host for host, one in row.after_healing.items() if one.tried < TRIED_SHARE * BEATS_A_SECOND * watch_s
    ]
    blind = [host for host, commits in row.before_fault.items() if not commits]
    entered = [host for host, one in row.after_healing.items() if one.committed]
    found = {
        f"both nodes took writes: {_names(seen)}": bool(seen.overlaps),
        f"{row.returns} writes reached the old primary after the handover": bool(seen.returns),
        f"no write reached the old primary from {', '.join(blind)} before the fault": bool(blind),
        f"no handover was seen: commits {dict(row.commits)}": recovered and not _handed_over(row),
        f"the controller ended with {row.exit_codes or 'nothing'}": not _ended_well(row, recovered),
        "the controller was not killed": row.kills_wanted and not row.kills,
        f"promotions: {row.promotions}, expected: {wanted}": row.promotions != wanted,
        f"not enough was tried from {', '.join(nobody)} after healing": bool(nobody),
        f"the old primary took writes from {', '.join(entered)} after healing": recovered and bool(entered),
        "the checkers' clocks are not one clock": not row.one_clock,
        f"the drill's verdict is {row.verdict}": row.verdict != "met",
    }
    return tuple(text for text, true in found.items() if true)


def _handed_over(row: CheckedRow) -> bool:
    return row.handover_ms is not None and all(row.commits.values())


def _ended_well(row: CheckedRow, recovered: bool) -> bool:
    """Whether the last controller succeeded, or had nothing to resume: a second kill came after the end."""
    if not row.exit_codes:
        return False
    too_late = recovered and len(row.kills) > 1 and not row.kills[-1].under_way
    return row.exit_codes[-1] == 0 or (too_late and row.exit_codes[-1] == PreflightError.exit_code)


def heal(session: Session, drill: Drill) -> None:
    """Take every fault of a drill back; fences stay."""
    steps = []
    for number, fault in enumerate(drill.faults, start=1):
        if isinstance(fault, LinkCut):
            action: HealLink | HealSite | RejoinSite = HealLink(sites=fault.between)
        elif isinstance(fault, PowerLoss):
            action = HealSite(site=fault.site)
        else:
            action = RejoinSite(site=fault.site)
        steps.append(Step(id=f"heal/{number}", run=action, why="what was fenced must stay so"))
    _act(session, "heal", steps)


def power_on(session: Session) -> tuple[str, ...]:
    """Power on every server that is off, wait for those that may run; give those that stayed off."""
    servers = tuple(session.inventory.servers)
    start = (
        Step(id=f"power-on/{host}", run=StartServer(host=host), why="the power is back") for host in servers
    )
    failed = _act(session, "power-on", start, may_fail=True)
    left_off = tuple(step.removeprefix("power-on/") for step in failed)
    ready = (
        Step(id=f"ready/{host}", run=AwaitReady(host=host), why="up is what answers")
        for host in servers
        if host not in left_off
    )
    _act(session, "ready", ready)
    return left_off


def count_promotions(remote: Remote, run_id: str) -> Promotions:
    """Count the units of a run that promoted, by systemd's journal, and what PostgreSQL was asked.

    A unit that is started twice has two invocations; PostgreSQL logs every request that reached it.
    """
    argv = [
        "sudo",
        "-n",
        "journalctl",
        "--no-pager",
        "-o",
        "json",
        "_PID=1",
        "--output-fields=UNIT,INVOCATION_ID",
    ]
    invocations = set()
    for line in remote.run(argv).stdout.splitlines():
        entry = json.loads(line)
        unit = str(entry.get("UNIT", ""))
        if run_id in unit and unit.removesuffix(".service").endswith("promote"):
            invocations.add(entry.get("INVOCATION_ID"))
    logged = ["sudo", "-n", "sh", "-c", "cat /var/log/postgresql/*.log | grep -c 'received promote request'"]
    return Promotions(units=len(invocations), requests=int(remote.run(logged).stdout or 0))


def after_healing(records: Sequence[Record], watching: Watching, since_ns: int) -> dict[str, Watched]:
    """Count what every vantage tried on the old primary since a moment."""
    counted = count_attempts(records, watching.databases.primary, since_ns)
    both = {host: counted.get(host, (0, 0)) for host in watching.hosts}
    return {host: Watched(tried=tried, committed=committed) for host, (tried, committed) in both.items()}


def before_fault(records: Sequence[Record], watching: Watching, fault_at: datetime | None) -> dict[str, int]:
    """Count what every vantage committed on the old primary before the first fault."""
    found = dict.fromkeys(watching.hosts, 0)
    for record in records:
        if fault_at is None or not record.clocks:
            continue
        fault_ns = int(fault_at.timestamp() * 1e9) - record.clocks[0].wall_minus_mono_ns
        for one in record.attempts:
            if one.became == "committed" and one.node == watching.databases.primary and one.end_ns < fault_ns:
                found[one.writer] = found.get(one.writer, 0) + 1
    return found


def handover_ms(seen: Writability, watching: Watching) -> float | None:
    """Give the time that no node took writes; None if the standby never did."""
    old = [p.until_ns for p in seen.periods if p.node == watching.databases.primary]
    new = [p.from_ns for p in seen.periods if p.node == watching.databases.standby]
    return round((min(new) - max(old)) / 1e6, 1) if old and new else None


def _report(session: Session, drill: Drill, run_id: str) -> DrillReport:
    """Fold the report of a run that other processes carried out."""
    folder = session.state / "runs" / run_id
    catalog = load_catalog(session.environment.folder / "services.yml")
    services = affected_services(drill, load_plan(ROOT, drill.plan), catalog)
    plan = Plan.model_validate_json((folder / "plan.json").read_bytes())
    return report_drill(session, Prepared(drill, services, plan), folder)


def _act(session: Session, name: str, steps: Iterable[Step], *, may_fail: bool = False) -> tuple[str, ...]:
    """Run a few steps of ours quietly; give those that failed, if they may."""
    plan = Plan(name=name, environment=session.environment.name, mode="apply", steps=tuple(steps))
    finished = session.run(plan, narrate=lambda event: None)
    if not may_fail:
        finished.raise_for_status()
    return tuple(sorted(finished.failures))


def _names(seen: Writability) -> str:
    """Name the writes of the first overlap."""
    if not seen.overlaps:
        return ""
    overlap = seen.overlaps[0]
    words = [f"{w.writer}'s write {w.number} on {w.node}" for w in (*overlap.first, *overlap.last)]
    return f"{', '.join(words)}; for {overlap.at_least_ms:g} ms or more"
