"""Many drills in one lab: every one begins from the same disks, every result is kept."""

import json
import os
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from automation.commands._command import ROOT, progress
from automation.commands._drill import prepare_drill, report_drill, restore_disks, save_disks
from automation.commands._servers import bring_up, converge_servers
from automation.commands._session import Session
from automation.model.base import Model, format_duration
from automation.model.errors import NotMet
from automation.recovery.report import Report
from automation.recovery.spec import Drill, load_drill

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


def run_campaign(
    session: Session,
    drills: Sequence[str],
    times: int,
    *,
    results: Path = RESULTS,
    lab: "FreshLab | None" = None,
) -> list[DrillRow]:
    """Bring the lab up, run every drill so many times, keep the rows in the folder of results.

    Args:
        lab: one that is up already; its saved disks are used again.

    Raises:
        ConfigError: a drill does not exist; nothing was touched.
        NotMet: a drill did not meet its objectives, or a lost write is not accounted for.
    """
    specs = [load_drill(ROOT, name) for name in drills]
    lab = lab or FreshLab(session)
    every = []
    for spec in specs:
        rows = [_drill_afresh(session, lab, spec, f"{number} of {times}") for number in range(1, times + 1)]
        path = keep(results / f"campaign-{spec.name}.json", Result(spec.name, summary(rows), rows))
        progress(f"{summary(rows)}; kept in {path}")
        every += rows
    bad = [row.run_id for row in every if row.verdict != "met" or not row.accounted]
    if bad:
        raise NotMet(
            f"{len(bad)} of {len(every)} drills did not hold: {', '.join(bad)}",
            hint=f"./inv run.show --env {session.environment.name} --run {bad[0]}",
        )
    return every


class FreshLab:
    """The lab of a campaign: the same disks for every drill, with replication as it needs it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._saved: dict[bool, str] = {}
        self._used = False

    def renew(self, *, synchronous: bool = False) -> None:
        """Give a city in which nothing has happened yet."""
        if synchronous in self._saved:
            if self._used:
                restore_disks(self._session, self._saved[synchronous])
        else:
            self._configure(synchronous)
        self._used = True

    def prepare(self, *, synchronous: bool = False) -> None:
        """Bring it up and save its disks now, so that the first drill finds it ready."""
        self.renew(synchronous=synchronous)
        self._used = False

    def _configure(self, synchronous: bool) -> None:
        variables: dict[str, str | int | bool] = {"postgresql_synchronous": synchronous}
        if self._saved:
            restore_disks(self._session, next(iter(self._saved.values())))
            converge_servers(self._session, limit="postgresql", variables=variables)
        else:
            bring_up(self._session)
            converge_servers(self._session, variables=variables)
        name = f"{DISKS}-synchronous" if synchronous else DISKS
        save_disks(self._session, name)
        self._saved[synchronous] = name


def _drill_afresh(session: Session, lab: FreshLab, drill: Drill, which: str) -> DrillRow:
    lab.renew(synchronous=needs_synchronous(drill))
    prepared = prepare_drill(session, drill.name)
    finished = session.run(prepared.plan, narrate=lambda event: None)
    row = fold_row(report_drill(session, prepared, finished.folder))
    progress(f"{drill.name} {which}: {_in_words(row)}")
    return row


def fold_row(report: Report) -> DrillRow:
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
    return f"{met} of {len(rows)} met; {_lost(lost, acknowledged)}; median outage {middle}"


def _in_words(row: DrillRow) -> str:
    worst = max((service.rta_s or 0.0 for service in row.services), default=0.0)
    lost = _lost(row.missing, row.acknowledged)
    return f"{row.verdict}, outage {format_duration(worst)}, {lost} (run {row.run_id})"


def _lost(missing: int, acknowledged: int) -> str:
    """Say how many writes were lost of how many; where none was counted, nobody knows of any."""
    return f"{missing} of {acknowledged} acknowledged writes lost" if acknowledged else "no write was counted"


def needs_synchronous(drill: Drill) -> bool:
    """Say whether a drill may lose no write at all."""
    return any(objective.rpo_s == 0 for objective in drill.objectives.values())


class Result(NamedTuple):
    """What a campaign keeps: of which drill or scenario, in a line, every one, and how it was run."""

    name: str
    summary: str
    rows: Sequence[Model]
    about: Mapping[str, object] = {}


def keep(path: Path, result: Result) -> Path:
    """Write what a campaign showed, with the commit it was made at."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "drill": result.name,
        "commit": commit.stdout.strip() or "unknown",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_average": os.getloadavg()[0],
        **result.about,
        "summary": result.summary,
        "drills": [row.model_dump(mode="json") for row in result.rows],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path
