"""Failover, failback, failover again, in one lab that is never put back: every write is accounted for."""

import json
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import NamedTuple

from automation.commands._campaign import RESULTS, Result, keep
from automation.commands._checked import power_on
from automation.commands._command import ROOT, progress
from automation.commands._controller import Command, Ended, Killing, run_to_the_end
from automation.commands._drill import prepare_drill, report_drill
from automation.commands._driving import heal, list_units
from automation.commands._servers import bring_up, converge_servers
from automation.commands._session import Session
from automation.commands._watch import Databases, begin_watch, end_watch, find_databases, start_checkers
from automation.engine.fold import fold
from automation.engine.journal import read_journal
from automation.model.base import Model, format_duration
from automation.model.catalog import Catalog, load_catalog
from automation.model.errors import AdapterError, NotMet
from automation.model.evidence import WritesExported
from automation.model.records import StepEnded
from automation.recovery.history import read_history
from automation.recovery.report import Report
from automation.recovery.spec import load_drill

NAME = "round-trip"
# One after the other: the standby lags and loses writes; the primary lives on; the primary is dead.
LOSSES = ("rolling-disaster", "wan-partition", "site-loss")
# A kill comes soon after one of these has begun.
AIMS = tuple(
    f"/{step}"
    for step in (
        "home-rebuild",
        "home-follow",
        "home-release",
        "start",
        "stop",
        "demote",
        "replayed",
        "fence-network",
        "fence-proof",
        "promote",
        "dns-sql",
        "dns-web",
        "release",
        "follow",
        "synchronous",
    )
)
KILLED_WITHIN_S = 0.25
RESUMES = 3


class Trip(Model):
    """One way there and back: what was acknowledged, lost, exported, and what does not add up."""

    number: int
    drill: str
    failover_run: str
    failback_run: str
    failover_outage_s: float
    failback_pause_s: float
    acknowledged: int
    listed_as_lost: int
    exported: int
    kills: tuple[str, ...] = ()
    exit_codes: tuple[int, ...] = ()
    overlaps: int = 0
    commits: Mapping[str, int] = {}
    resolution_ms: float = 0.0
    faults_found: tuple[str, ...] = ()


class Books(Model):
    """What is known of every write since the campaign began."""

    acknowledged: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()

    def check(
        self, present: Counter[str], exported: frozenset[str], lost_now: frozenset[str]
    ) -> tuple[str, ...]:
        """Say what does not add up.

        Args:
            present: references at the primary now, with how often each is there.
            exported: references with a row in this round's exported file.
            lost_now: those that this round's report listed.
        """
        vanished = self.acknowledged - self.lost - present.keys()
        doubled = {name for name, times in present.items() if times > 1}
        found = {
            f"{len(vanished)} acknowledged writes are missing that no report listed": bool(vanished),
            f"{len(doubled)} writes are there more than once": bool(doubled),
            f"{len(self.lost & present.keys())} writes that were listed as lost are there": bool(
                self.lost & present.keys()
            ),
            f"{len(lost_now - exported)} lost writes are not in the exported file": bool(lost_now - exported),
            f"{len(exported & present.keys())} exported writes are at the primary, too": bool(
                exported & present.keys()
            ),
        }
        return tuple(text for text, true in found.items() if true)


class How(NamedTuple):
    """How the trips are made; the seed decides every kill."""

    seed: int
    kill: bool


def run_round_trips(session: Session, times: int, how: How, *, results: Path = RESULTS) -> list[Trip]:
    """Bring the lab up once, fail over and back so many times, keep the rows in the folder of results.

    Raises:
        NotMet: a write is not accounted for, or two databases took writes at once.
    """
    bring_up(session)
    converge_servers(session)
    progress(f"seed {how.seed}: the same seed chooses the same kills")
    books, trips = Books(), list[Trip]()
    for number in range(1, times + 1):
        books, trip = _trip(session, books, number, how)
        trips.append(trip)
        progress(f"trip {number} of {times}: {in_words(trip)}")
        if trip.faults_found:
            break  # what comes next would not begin at home
    about = {
        "seed": how.seed,
        "killed": how.kill,
        "method": "one lab, never put back; every reference that a witness has acknowledged in any drill or "
        "failback is looked for at the primary after each trip; three checkers write to both databases",
    }
    ending = "-kill" if how.kill else ""
    path = keep(results / f"{NAME}{ending}.json", Result(NAME, summary(trips), trips, about))
    progress(f"{summary(trips)}; kept in {path}")
    if bad := [f"trip {trip.number}: {'; '.join(trip.faults_found)}" for trip in trips if trip.faults_found]:
        raise NotMet(f"{len(bad)} of {len(trips)} trips did not hold: {' | '.join(bad)}")
    return trips


def new_seed() -> int:
    """Draw a seed."""
    return secrets.randbelow(1_000_000) + 1


def in_words(trip: Trip) -> str:
    """Say what one trip showed."""
    kills = f", killed after {', '.join(trip.kills)}" if trip.kills else ""
    return (
        f"{trip.drill}, outage {format_duration(trip.failover_outage_s)}, "
        f"pause home {format_duration(trip.failback_pause_s)}, {trip.listed_as_lost} lost and listed, "
        f"{trip.exported} exported{kills}; {'; '.join(trip.faults_found) or 'held'}"
    )


def summary(trips: Sequence[Trip]) -> str:
    """Say what a campaign showed in one line."""
    held = sum(not trip.faults_found for trip in trips)
    lost = sum(trip.listed_as_lost for trip in trips)
    pauses = [trip.failback_pause_s for trip in trips] or [0.0]
    gone = f"{lost} lost{' and exported' if lost and held == len(trips) else ''}"
    between = f"{format_duration(min(pauses))} to {format_duration(max(pauses))}"
    return (
        f"{held} of {len(trips)} round trips held; {sum(trip.acknowledged for trip in trips)} writes "
        f"acknowledged, {gone}; pause home {between}; {sum(trip.overlaps for trip in trips)} overlaps; "
        f"{sum(len(trip.kills) for trip in trips)} kills"
    )


def _trip(session: Session, books: Books, number: int, how: How) -> tuple[Books, Trip]:
    name = LOSSES[(number - 1) % len(LOSSES)]
    folder = session.state / "watches" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-trip-{number}"
    folder.mkdir(mode=0o700, parents=True)
    databases = find_databases(session.environment)
    watching = begin_watch(session, folder.name)
    prepared = prepare_drill(session, name)
    lost = session.run(prepared.plan, narrate=lambda event: None)
    report = report_drill(session, prepared, lost.folder)
    heal(session, load_drill(ROOT, name).faults)
    power_on(session)
    start_checkers(watching)
    home = _fail_back(session, databases, folder, Random(f"{how.seed}/{number}") if how.kill else None)
    left_off = power_on(session)
    start_checkers(watching)
    _, seen = end_watch(watching, folder)
    home_folder = session.state / "runs" / home.run_id
    lost_now = frozenset(reference for row in report.services for reference in row.loss.missing)
    written = _acknowledged(lost.folder) | _acknowledged(home_folder)
    books = Books(acknowledged=books.acknowledged | written, lost=books.lost | lost_now)
    exported = _exported(home_folder)
    faults = [
        *books.check(_present(session, databases), exported, lost_now),
        *_ended_badly(report, home, home_folder),
    ]
    if left_off:
        faults.append(f"{', '.join(left_off)} is still fenced")
    if seen.overlaps:
        faults.append(f"{len(seen.overlaps)} times both databases took writes")
    commits = {node: sum(p.commits for p in seen.periods if p.node == node) for node in watching.watch.nodes}
    faults += [f"no checker's write reached {node}" for node, count in commits.items() if not count]
    trip = Trip(
        number=number,
        drill=name,
        failover_run=lost.folder.name,
        failback_run=home.run_id,
        failover_outage_s=_outage_s(report),
        failback_pause_s=_pause_s(home_folder),
        acknowledged=len(written),
        listed_as_lost=len(lost_now),
        exported=len(exported),
        kills=tuple(kill.after_step for kill in home.kills),
        exit_codes=home.exit_codes,
        overlaps=len(seen.overlaps),
        commits=commits,
        resolution_ms=seen.resolution_ms,
        faults_found=tuple(faults),
    )
    return books, trip


def _fail_back(session: Session, databases: Databases, folder: Path, chance: Random | None) -> Ended:
    """Type dr.failback, answer its question, and perhaps kill what goes on then."""
    env = session.environment.name

    def units(run: str) -> tuple[str, ...]:
        with suppress(AdapterError):  # it is cut off while the other one takes over
            return list_units(session.remote(databases.standby), run)
        return ()

    ask = Command(("dr.failback", "--env", env, "--site", databases.site))
    asked = run_to_the_end(session, ask, _made(folder / "asked"), None, units)
    answer = ("--gate", f"{databases.service}/home-unblock", "--answer", "yes", "--reason", "the campaign")
    go_on = Command(("run.resume", "--env", env, "--run", asked.run_id, *answer), asked.run_id)
    killing = Killing(chance, aim=chance.choice(AIMS), within_s=KILLED_WITHIN_S) if chance else None
    home = run_to_the_end(session, go_on, _made(folder / "answered"), killing, units)
    codes = list(home.exit_codes)
    for number in range(RESUMES):
        closed = fold(read_journal(session.state / "runs" / asked.run_id / "journal.jsonl")).closed
        if closed is None or closed.status in ("succeeded", "aborted"):
            break
        # Killed before its answer was written down, or something gave no answer in time on a busy machine.
        words = go_on.words if closed.gates else go_on.words[: -len(answer)]
        again = Command(words, asked.run_id)
        codes += run_to_the_end(session, again, _made(folder / f"again-{number}"), None, units).exit_codes
    return home.model_copy(update={"exit_codes": tuple(codes)})


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _ended_badly(report: Report, home: Ended, folder: Path) -> Iterable[str]:
    if report.verdict != "met":
        yield f"the drill's verdict is {report.verdict}: {report.headline}"
    closed = fold(read_journal(folder / "journal.jsonl")).closed
    if closed is None or closed.status != "succeeded":
        yield f"the failback is {closed.status if closed else 'open'} (exit codes {home.exit_codes})"
    verdict = _report(folder).get("verdict")
    if verdict != "met" and not (home.kills and verdict == "missed"):
        # A controller that is dead lets a pause last: that is told in `failback_pause_s`, and loses nothing.
        yield f"the failback's verdict is {verdict}"


def _report(folder: Path) -> dict[str, object]:
    path = folder / "report.json"
    shown: dict[str, object] = json.loads(path.read_text()) if path.exists() else {}
    return shown


def _outage_s(report: Report) -> float:
    return max((row.outage.rta_s or 0.0 for row in report.services), default=0.0)


def _pause_s(folder: Path) -> float:
    path = folder / "report.json"
    return _outage_s(Report.model_validate_json(path.read_bytes())) if path.exists() else 0.0


def _acknowledged(folder: Path) -> frozenset[str]:
    """References that the run's witness had acknowledged."""
    path = folder / "artifacts/witness.jsonl"
    if not path.exists():
        return frozenset()
    history = read_history(path.read_text().splitlines())
    return frozenset(
        reference
        for writes in history.writes.values()
        for reference, one in writes.items()
        if one.fate == "acknowledged"
    )


def _exported(folder: Path) -> frozenset[str]:
    """References that have a row in the exported file; not those that are only listed."""
    found: set[str] = set()
    for event in read_journal(folder / "journal.jsonl"):
        outcome = event.body.outcome if isinstance(event.body, StepEnded) else None
        if outcome is not None and isinstance(outcome.evidence, WritesExported) and outcome.evidence.export:
            listed = (folder / "artifacts" / outcome.evidence.references).read_text().splitlines()
            rows = (folder / "artifacts" / outcome.evidence.export).read_text()
            found |= {reference for reference in listed if f",{reference}," in rows}
    return frozenset(found)


def _present(session: Session, databases: Databases) -> Counter[str]:
    """Every reference at the primary, with how often it is there."""
    from automation.adapters.postgresql.door import psql

    catalog: Catalog = load_catalog(session.environment.folder / "services.yml")
    found: Counter[str] = Counter()
    for service in catalog.services.values():
        for probe in service.probes.values():
            if probe.stored_in == databases.service and probe.database and probe.query:
                remote = session.remote(databases.primary)
                sql = f"{probe.query};"
                host, cluster = databases.primary, databases.cluster
                found.update(psql(remote, host, cluster, probe.database, sql, 60.0).splitlines())
    return found
