"""One scenario under the checker: perhaps killed and resumed, then healed, powered on and watched."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from automation.commands._controller import Kill, Killing
from automation.commands._driving import act, await_well, drive, heal
from automation.commands._scenarios import Scenario
from automation.commands._session import Session
from automation.commands._watch import (
    Watching,
    begin_watch,
    end_watch,
    find_databases,
    let_time_pass,
    start_checkers,
)
from automation.model.actions import AwaitReady, StartServer
from automation.model.base import Model
from automation.model.errors import PreflightError
from automation.model.plan import Step
from automation.model.records import Remote
from automation.recovery.overlap import Record, Writability, count_attempts

# A checker that tried less often than this share of its beats did not watch.
TRIED_SHARE = 0.5
BEATS_A_SECOND = 50
# So long the checkers write before a fault that has no drill's steady state before it.
SETTLED_S = 3.0
# What ended before its kill came does not count, so nobody waits for it long.
MISSED_WATCH_S = 2.0


class Once(Model):
    """What the standby's host itself says of the work that must happen once, or never.

    `promotions` and `copies` are units that systemd started, `requests` what PostgreSQL was asked.
    """

    promotions: int = 0
    requests: int = 0
    copies: int = 0


class Watched(Model):
    """What a vantage tried on the old primary after everything was healed and powered on."""

    tried: int
    committed: int


class CheckedRow(Model):
    """One scenario under the checker: what it went through, what was seen, why it does not hold."""

    run_id: str
    verdict: str
    kills: tuple[Kill, ...]
    kills_wanted: bool
    exit_codes: tuple[int, ...]
    unit_starts: tuple[str, ...]
    once: Once
    old_primary: str
    standby: str
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
    watched_after_healing_s: float
    after_healing: Mapping[str, Watched]
    faults_found: tuple[str, ...]

    @property
    def missed(self) -> bool:
        """It was to be killed, and it ended before: it counts neither way."""
        return self.kills_wanted and not any(kill.in_run for kill in self.kills)


def run_under_watch(
    session: Session, scenario: Scenario, folder: Path, *, killing: Killing | None, watch_s: float
) -> CheckedRow:
    """Run a scenario while the checkers write; heal, power on, watch the old primary; fold it all.

    Raises:
        AutomationError: the run did not come to an end, or a checker could not be started or read.
    """
    folder.mkdir(mode=0o700, parents=True)
    await_well(session, find_databases(session.environment).site)
    watching = begin_watch(session, folder.name)
    databases = watching.databases
    if scenario.kind != "drill":
        let_time_pass(SETTLED_S, "the checkers write before anything happens")
    driven = drive(session, scenario, databases, folder, killing)
    heal(session, scenario.faults)
    left_off = power_on(session)
    start_checkers(watching)
    if killing is not None and not any(kill.in_run for kill in driven.ended.kills):
        watch_s = min(watch_s, MISSED_WATCH_S)
    since_ns = let_time_pass(watch_s, f"who can write to {databases.primary} now")
    records, seen = end_watch(watching, folder)
    nodes, standby = watching.watch.nodes, session.remote(databases.standby)
    starts = list_starts(standby, driven.ended.run_id)
    row = CheckedRow(
        run_id=driven.ended.run_id,
        verdict=driven.verdict,
        kills=driven.ended.kills,
        kills_wanted=killing is not None,
        exit_codes=driven.ended.exit_codes,
        unit_starts=starts,
        once=count_once(starts, standby),
        old_primary=databases.primary,
        standby=databases.standby,
        periods={node: sum(p.node == node for p in seen.periods) for node in nodes},
        commits={node: sum(p.commits for p in seen.periods if p.node == node) for node in nodes},
        before_fault=before_fault(records, watching, driven.fault_at),
        handover_ms=handover_ms(seen, watching),
        overlaps=len(seen.overlaps),
        returns=len(seen.returns),
        in_doubt=sum(row.in_doubt for row in seen.coverage),
        resolution_ms=seen.resolution_ms,
        usual_resolution_ms=seen.usual_resolution_ms,
        one_clock=seen.one_clock,
        left_off=left_off,
        watched_after_healing_s=watch_s,
        after_healing=after_healing(records, watching, since_ns),
        faults_found=(),
    )
    return row.model_copy(update={"faults_found": find_faults(row, scenario, seen)})


_WANTED = {
    "handover": Once(promotions=1, requests=1),
    "exchange": Once(promotions=1, requests=1),
    "no-promotion": Once(),
    "copy": Once(copies=1),
}


def find_faults(row: CheckedRow, scenario: Scenario, seen: Writability) -> tuple[str, ...]:
    """Say all that must not be: an overlap, a return, work done twice, a watch that was none."""
    handover, wanted = scenario.hands_over, _WANTED[scenario.expect]
    blind = [host for host, commits in row.before_fault.items() if not commits]
    found = {
        f"both nodes took writes: {_names(seen)}": bool(seen.overlaps),
        f"{row.returns} writes reached the old primary after the handover": bool(seen.returns),
        f"no write reached the old primary from {', '.join(blind)} before the fault": bool(blind),
        f"no handover was seen: commits {dict(row.commits)}": handover and not _handed_over(row),
        f"the standby took {row.commits[row.standby]} writes": not handover
        and bool(row.commits[row.standby]),
        f"the controller ended with {row.exit_codes or 'nothing'}": not _ended_well(row, scenario),
        "the controller was not killed": row.missed,
        f"was done: {row.once}, expected: {wanted}": row.once != wanted,
        "the checkers' clocks are not one clock": not row.one_clock,
        f"its verdict is {row.verdict}, expected: {scenario.verdict}": row.verdict != scenario.verdict,
        **_after_healing_faults(row, scenario),
    }
    return tuple(text for text, true in found.items() if true)


def _after_healing_faults(row: CheckedRow, scenario: Scenario) -> dict[str, bool]:
    handover = scenario.hands_over
    enough = TRIED_SHARE * BEATS_A_SECOND * row.watched_after_healing_s
    seldom = [host for host, one in row.after_healing.items() if one.tried < enough]
    entered = [host for host, one in row.after_healing.items() if one.committed]
    shut = [host for host, one in row.after_healing.items() if not one.committed]
    off = (row.old_primary,) if scenario.expect == "handover" else ()
    return {
        f"not enough was tried from {', '.join(seldom)} after healing": bool(seldom),
        f"the old primary took writes from {', '.join(entered)} after healing": handover and bool(entered),
        f"nobody at {', '.join(shut)} could write after healing, and no other node serves": (
            not handover and bool(shut)
        ),
        f"left off by their fences: {row.left_off or 'none'}, expected: {off or 'none'}": row.left_off != off,
    }


def _handed_over(row: CheckedRow) -> bool:
    return row.handover_ms is not None and all(row.commits.values())


def _ended_well(row: CheckedRow, scenario: Scenario) -> bool:
    """Whether the last controller ended as it must, or a second kill left it nothing to resume."""
    if not row.exit_codes:
        return False
    too_late = scenario.expect != "no-promotion" and len(row.kills) > 1 and not row.kills[-1].in_run
    last = row.exit_codes[-1]
    return last == scenario.ends_with or (too_late and last == PreflightError.exit_code)


def power_on(session: Session) -> tuple[str, ...]:
    """Power on every server of the lab's own that is off, wait for those that may run; give the others."""
    standing = session.inventory.standing
    servers = tuple(name for name, one in standing.items() if one.provider == "nspawn")
    start = (
        Step(id=f"power-on/{host}", run=StartServer(host=host), why="the power is back") for host in servers
    )
    failed = act(session, "power-on", start, may_fail=True)
    left_off = tuple(step.removeprefix("power-on/") for step in failed)
    ready = (
        Step(id=f"ready/{host}", run=AwaitReady(host=host), why="up is what answers")
        for host in servers
        if host not in left_off
    )
    act(session, "ready", ready)
    return left_off


# systemd's message "unit starts", one for each time (systemd.journal-fields(7), sd-messages.h).
_STARTING = "7d4958e842da4a758f6c1cdc7b36dcc5"
_LIST_STARTS = f"journalctl --no-pager -o json MESSAGE_ID={_STARTING} --output-fields=UNIT,INVOCATION_ID"
_COUNT_REQUESTS = "cat /var/log/postgresql/*.log | grep -c 'received promote request'"


def list_starts(remote: Remote, run_id: str) -> tuple[str, ...]:
    """Give every start of a unit of a run, by systemd's journal: its name and the id of that start."""
    found = []
    for line in remote.run(["sudo", "-n", *_LIST_STARTS.split()]).stdout.splitlines():
        entry = json.loads(line)
        unit = str(entry.get("UNIT", "")).removesuffix(".service")
        if unit.startswith(f"mainstay-{run_id}-"):
            found.append(f"{unit} {entry.get('INVOCATION_ID', '')}")
    return tuple(found)


def count_once(starts: Sequence[str], remote: Remote) -> Once:
    """Count the units that promoted or copied, and what PostgreSQL was asked, by its log.

    A unit of a later attempt has that one's number behind its name, and counts too.
    """
    steps = [start.split()[0].split(":")[0].rsplit("-", 1)[-1] for start in starts]
    requests = remote.run(["sudo", "-n", "sh", "-c", _COUNT_REQUESTS]).stdout
    return Once(
        promotions=steps.count("promote"), copies=steps.count("clone"), requests=int(requests.strip() or 0)
    )


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


def _names(seen: Writability) -> str:
    """Name the writes of the first overlap."""
    if not seen.overlaps:
        return ""
    overlap = seen.overlaps[0]
    words = [f"{w.writer}'s write {w.number} on {w.node}" for w in (*overlap.first, *overlap.last)]
    return f"{', '.join(words)}; for {overlap.at_least_ms:g} ms or more"
