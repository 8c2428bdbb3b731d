"""Many scenarios under the checker in one lab, perhaps with killed controllers; every result is kept."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import NamedTuple

from automation.commands._campaign import RESULTS, FreshLab, Result, keep
from automation.commands._checked import CheckedRow, run_under_watch
from automation.commands._command import progress
from automation.commands._controller import AFTER_START_S, Kill, Killing
from automation.commands._scenarios import Scenario
from automation.commands._session import Session
from automation.model.base import Model
from automation.model.errors import NotMet

# A kill that comes after the end hit nothing: so often the same drill is tried once more.
TRIES = 5
# How long a promotion, and a slowed copy, are under way at least: a kill within it comes into the middle.
PROMOTION_S, COPY_S = 0.15, 4.0
AIM_EVERY = 2
METHOD = (
    "three checkers, in the clients' network and at both sites, commit a row on each node every 20 ms; all "
    "read one monotonic clock; resolution: the longest time in which a node was not tried, and the slowest "
    "commit"
)


class Checked(NamedTuple):
    """How a campaign under the checker is run; the seed decides every kill."""

    seed: int
    kill: bool
    watch_s: float


class Ran(Model):
    """A scenario of a campaign and the rows that count; `missed`: runs that ended before their kill came."""

    scenario: Scenario
    rows: tuple[CheckedRow, ...]
    missed: tuple[str, ...] = ()


class ScenarioRow(Model):
    """What a whole campaign keeps of one scenario."""

    scenario: str
    summary: str


def run_checked_campaign(
    session: Session, scenarios: Sequence[Scenario], times: int, how: Checked, *, results: Path = RESULTS
) -> list[Ran]:
    """Bring the lab up, run every scenario so many times under the checker, keep the rows as files.

    Raises:
        NotMet: one did not hold; its row says why.
    """
    progress(f"seed {how.seed}: the same seed chooses the same kills")
    lab, ending = FreshLab(session), "-kill" if how.kill else ""
    about = _about(session, how)
    ran: list[Ran] = []
    for scenario in scenarios:
        ran.append(_run_times(session, lab, scenario, times, how))
        name = f"checked-{scenario.name}{ending}.json"
        missed = {"missed": ran[-1].missed} if how.kill else {}
        said = summary(ran[-1:])
        path = keep(results / name, Result(scenario.name, said, ran[-1].rows, {**about, **missed}))
        progress(f"{scenario.name}: {said}; kept in {path}")
    if len(ran) > 1:
        rows = [ScenarioRow(scenario=one.scenario.name, summary=summary([one])) for one in ran]
        path = keep(results / f"checked{ending}.json", Result("all of these", summary(ran), rows, about))
        progress(f"{summary(ran)}; kept in {path}")
    _raise_unless_held(session, ran)
    return ran


def _run_times(session: Session, lab: FreshLab, scenario: Scenario, times: int, how: Checked) -> Ran:
    """Run one scenario until it counts so many times."""
    rows: list[CheckedRow] = []
    missed: list[str] = []
    for number in range(1, times + 1):
        for again in range(TRIES if how.kill else 1):
            lab.renew(synchronous=scenario.synchronous)
            killing = plan_kill(scenario, number, again, how.seed) if how.kill else None
            folder = session.state / "watches" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{number}"
            row = run_under_watch(session, scenario, folder, killing=killing, watch_s=how.watch_s)
            progress(f"{scenario.name} {number} of {times}: {in_words(row)}")
            if len(row.faults_found) != 1 or not row.missed or again == TRIES - 1:
                break
            missed.append(row.run_id)
        rows.append(row)
    return Ran(scenario=scenario, rows=tuple(rows), missed=tuple(missed))


def plan_kill(scenario: Scenario, number: int, again: int, seed: int) -> Killing:
    """Say how the controller of one run is killed: every second time in what must happen once."""
    chance = Random(f"{seed}/{scenario.name}/{number}/{again}")
    if scenario.expect == "copy":
        return Killing(chance, aim="/clone", within_s=COPY_S)
    if scenario.hands_over and number % AIM_EVERY == 0:
        return Killing(chance, aim="/promote", within_s=PROMOTION_S)
    return Killing(chance, within_s=AFTER_START_S)


def in_words(row: CheckedRow) -> str:
    """Say what one scenario under the checker showed."""
    kills = ", ".join(kill.after_step for kill in row.kills) or "nobody"
    gap = "none" if row.handover_ms is None else f"{row.handover_ms:.0f} ms"
    seen = f"handover {gap}, resolution {row.resolution_ms:.0f} ms"
    return f"killed after {kills}; {seen}; {'; '.join(row.faults_found) or 'held'} (run {row.run_id})"


def summary(ran: Sequence[Ran]) -> str:
    """Say what scenarios under the checker showed, in one line."""
    rows = [row for one in ran for row in one.rows]
    kills = [kill for row in rows for kill in row.kills if kill.in_run]
    commits = sum(sum(row.commits.values()) for row in rows)
    watched_s = sum(row.watched_after_healing_s for row in rows)
    return (
        f"{sum(not row.faults_found for row in rows)} of {len(rows)} held; {len(kills)} kills"
        f"{_middles(kills)}; {sum(row.overlaps for row in rows)} overlaps in {commits} commits; "
        f"resolution {max(row.usual_resolution_ms for row in rows):.0f} ms for 99 of 100 attempts, "
        f"{max(row.resolution_ms for row in rows):.0f} ms at worst; {watched_s:.0f} s watched after healing"
    )


def _middles(kills: Sequence[Kill]) -> str:
    """Count the kills that came into the middle of what must happen once."""
    within = {
        word: sum(any(step.endswith(f"/{name}") for step in kill.under_way) for kill in kills)
        for name, word in (("promote", "a promotion"), ("clone", "a copy"))
    }
    said = ", ".join(f"{count} in {word}" for word, count in within.items() if count)
    return f" ({said})" if said else ""


def _about(session: Session, how: Checked) -> dict[str, object]:
    """Say where and how a campaign was run, and how closely the checkers looked."""
    lab = session.environment.require_lab()
    return {
        "lab": lab.id,
        "prefix": lab.prefix,
        "wan_rtt_ms": lab.wan_rtt_s * 1000,
        "seed": how.seed,
        "watched_after_healing_s": how.watch_s,
        "method": METHOD,
    }


def _raise_unless_held(session: Session, ran: Sequence[Ran]) -> None:
    rows = [row for one in ran for row in one.rows]
    bad = [row for row in rows if row.faults_found]
    if bad:
        told = " | ".join(f"{row.run_id}: {'; '.join(row.faults_found)}" for row in bad)
        raise NotMet(
            f"{len(bad)} of {len(rows)} did not hold: {told}",
            hint=f"./inv run.show --env {session.environment.name} --run {bad[0].run_id}; "
            f"the checkers' records are in {session.state / 'watches'}",
        )
