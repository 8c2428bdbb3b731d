"""Many drills in one lab: every one begins from the same disks, every result is kept."""

import json
import os
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import NamedTuple

from automation.commands._checked import CheckedRow, drill_under_watch
from automation.commands._command import ROOT, progress
from automation.commands._drill import prepare_drill, report_drill, restore_disks, save_disks
from automation.commands._servers import bring_up, converge_servers
from automation.commands._session import Session
from automation.model.base import Model, format_duration
from automation.model.errors import NotMet
from automation.recovery.report import DrillReport
from automation.recovery.spec import load_drill

DISKS = "campaign"


class ServiceRow(Model):
    """What one drill cost one service."""

    service: str
    rta_s: float | None
    rpa_s: float | None
    acknowledged: int
    missing: int
    found_on_lost_primary: int | None


class DrillRow(Model):
    """One drill of a campaign."""

    run_id: str
    verdict: str
    acknowledged: int
    missing: int
    services: tuple[ServiceRow, ...]

    @property
    def accounted(self) -> bool:
        """Every lost write is on the lost primary's disk, where that was looked at."""
        return all(row.found_on_lost_primary in (None, row.missing) for row in self.services)


RESULTS = ROOT / "bench/results"


def run_campaign(session: Session, drill: str, times: int, *, results: Path = RESULTS) -> list[DrillRow]:
    """Bring the lab up, drill so many times, keep the rows in the folder of results.

    Raises:
        NotMet: a drill did not meet its objectives, or a lost write is not accounted for.
    """
    prepare_lab(session, drill)
    rows = []
    for number in range(1, times + 1):
        if number > 1:
            restore_disks(session, DISKS)
        rows.append(_drill_once(session, drill))
        progress(f"drill {number} of {times}: {_in_words(rows[-1])}")
    path = keep(results / f"campaign-{drill}.json", drill, summary(rows), rows)
    progress(f"{summary(rows)}; kept in {path}")
    bad = [row.run_id for row in rows if row.verdict != "met" or not row.accounted]
    if bad:
        raise NotMet(f"{len(bad)} of {times} drills did not hold: {', '.join(bad)}")
    return rows


def prepare_lab(session: Session, drill: str) -> None:
    """Bring the lab up as a drill needs it, and keep a copy of its disks."""
    spec = load_drill(ROOT, drill)
    synchronous = any(objective.rpo_s == 0 for objective in spec.objectives.values())
    bring_up(session)
    converge_servers(session, variables={"postgresql_synchronous": synchronous})
    save_disks(session, DISKS)


class Checked(NamedTuple):
    """How a campaign under the checker is run; the seed decides every kill."""

    seed: int
    kill: bool
    watch_s: float


def run_checked_campaign(
    session: Session, drill: str, times: int, how: Checked, *, results: Path = RESULTS
) -> list[CheckedRow]:
    """Bring the lab up, drill so many times under the checker, keep the rows in the folder of results.

    Raises:
        NotMet: a drill did not hold; the rows say why.
    """
    prepare_lab(session, drill)
    progress(f"seed {how.seed}: the same seed chooses the same kills")
    rows = []
    for number in range(1, times + 1):
        if number > 1:
            restore_disks(session, DISKS)
        chance = Random(f"{how.seed}/{number}") if how.kill else None
        folder = session.state / "watches" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{number}"
        rows.append(drill_under_watch(session, drill, folder, chance=chance, watch_s=how.watch_s))
        progress(f"drill {number} of {times}: {checked_in_words(rows[-1])}")
    name = f"checked-{drill}{'-kill' if how.kill else ''}.json"
    path = keep(results / name, drill, checked_summary(rows), rows, lab=_about(session, how))
    progress(f"{checked_summary(rows)}; kept in {path}")
    bad = [f"{row.run_id}: {'; '.join(row.faults_found)}" for row in rows if row.faults_found]
    if bad:
        raise NotMet(f"{len(bad)} of {times} drills did not hold: {' | '.join(bad)}")
    return rows


def _about(session: Session, how: Checked) -> Mapping[str, object]:
    """Say where and how a campaign was run, and how closely the checkers looked."""
    lab = session.environment.require_lab()
    return {
        "lab": lab.id,
        "prefix": lab.prefix,
        "wan_rtt_ms": lab.wan_rtt_s * 1000,
        "seed": how.seed,
        "watched_after_healing_s": how.watch_s,
        "method": "three checkers commit a row on each node every 20 ms; all read one monotonic clock; "
        "resolution: the longest time in which a node was not tried, and the slowest commit",
    }


def _drill_once(session: Session, drill: str) -> DrillRow:
    prepared = prepare_drill(session, drill)
    finished = session.run(prepared.plan, narrate=lambda event: None)
    return fold_row(report_drill(session, prepared, finished.folder))


def fold_row(report: DrillReport) -> DrillRow:
    """Give what a campaign keeps of one report."""
    services = tuple(
        ServiceRow(
            service=row.service,
            rta_s=row.outage.rta_s,
            rpa_s=row.loss.rpa_s,
            acknowledged=row.loss.acknowledged,
            missing=len(row.loss.missing),
            found_on_lost_primary=row.found_on_lost_primary,
        )
        for row in report.services
    )
    ledgers = {row.loss for row in report.services}  # a database and what writes to it share theirs
    return DrillRow(
        run_id=report.run_id,
        verdict=report.verdict,
        acknowledged=sum(loss.acknowledged for loss in ledgers),
        missing=sum(len(loss.missing) for loss in ledgers),
        services=services,
    )


def summary(rows: Sequence[DrillRow]) -> str:
    """Say what a campaign showed in one line."""
    outages = [max(row.rta_s or 0.0 for row in drill.services) for drill in rows]
    lost = sum(drill.missing for drill in rows)
    acknowledged = sum(drill.acknowledged for drill in rows)
    met = sum(drill.verdict == "met" for drill in rows)
    middle = format_duration(statistics.median(outages))
    return (
        f"{met} of {len(rows)} met; {lost} of {acknowledged} acknowledged writes lost; median outage {middle}"
    )


def _in_words(row: DrillRow) -> str:
    worst = max((service.rta_s or 0.0 for service in row.services), default=0.0)
    lost = row.missing
    return (
        f"{row.verdict}, outage {format_duration(worst)}, {lost} acknowledged writes lost (run {row.run_id})"
    )


def checked_in_words(row: CheckedRow) -> str:
    """Say what one drill under the checker showed."""
    kills = ", ".join(kill.after_step for kill in row.kills) or "nobody"
    gap = "none" if row.handover_ms is None else f"{row.handover_ms:.0f} ms"
    seen = f"handover {gap}, resolution {row.resolution_ms:.0f} ms"
    return f"killed after {kills}; {seen}; {'; '.join(row.faults_found) or 'held'} (run {row.run_id})"


def checked_summary(rows: Sequence[CheckedRow]) -> str:
    """Say what a campaign under the checker showed in one line."""
    held = sum(not row.faults_found for row in rows)
    commits = sum(sum(row.commits.values()) for row in rows)
    resolution = f"{max(row.usual_resolution_ms for row in rows):.0f} ms"
    worst = f"{max(row.resolution_ms for row in rows):.0f} ms"
    return (
        f"{held} of {len(rows)} held; {sum(len(row.kills) for row in rows)} kills; "
        f"{sum(row.overlaps for row in rows)} overlaps in {commits} commits; "
        f"resolution {resolution} for 99 of 100 attempts, {worst} at worst"
    )


def keep(
    path: Path,
    drill: str,
    said: str,
    rows: Sequence[DrillRow] | Sequence[CheckedRow],
    lab: Mapping[str, object] | None = None,
) -> Path:
    """Write the rows with the commit they were made at."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "drill": drill,
        "commit": commit.stdout.strip() or "unknown",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_average": os.getloadavg()[0],
        **(lab or {}),
        "summary": said,
        "drills": [row.model_dump(mode="json") for row in rows],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path
