"""Backups on a terminal: how resources stand, which points there are, what a rotation would do."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from rich.text import Text

from automation.commands._render import NARROW, _console, _table
from automation.model.base import format_duration, format_size

if TYPE_CHECKING:
    from automation.backups.standing import BackupStanding, ProofSeen, ResourceStanding
    from automation.commands._backup_status import Listing
    from automation.commands._explaining import Explained
    from automation.commands._foretelling import Foretold
    from automation.commands._rotation import DecisionRow, RotationShown
    from automation.commands._taking import TakeResult

STYLES = {
    "good": "green",
    "red": "bold red",
    "unknown": "bold yellow",
    "kept": "green",
    "goes": "bold red",
    "held": "yellow",
    "allow": "green",
    "hold": "yellow",
    "refuse": "bold red",
    "done": "green",
    "failed": "bold red",
    "not started": "dim",
}
_HASH = re.compile(r"\b[0-9a-f]{64}\b")
SHOWN_POINTS = 12
SHOWN_DAYS = 30


def print_standing(standing: "BackupStanding") -> None:
    """Print one row a resource, then all that is wrong, then what is not known."""
    console = _console()
    wide = console.width >= NARROW
    more = ("Kind", "Next due", "RTO sample") if wide else ()
    table = _table("Resource", "State", "Age", "RPO", "Proof", "Copies", "Locked", *more, right={2, 3})
    for row in standing.resources:
        cells: list[str | Text] = [
            row.resource,
            _word(row.state),
            _age(row.age_s),
            _age(row.rpo_s),
            _proof(row.proof, standing.at),
            _copies(row),
            str(row.immutable),
        ]
        if wide:
            rto = "" if row.rto_sample_s is None else format_duration(row.rto_sample_s)
            cells += [row.kind, _due(row.due_at, standing.at), rto]
        table.add_row(*cells)
    console.print(table)
    for row in standing.resources:
        for line in row.wrong:
            console.print(Text.assemble((f"{row.resource}: ", "bold red"), _brief(line)))
        for line in row.unknown:
            console.print(Text.assemble((f"{row.resource}: ", "bold yellow"), line))
    for line in standing.strangers:
        console.print(Text(f"note: {line}"))


def print_listing(listing: "Listing", tz: str) -> None:
    """Print every point, newest first, by resource and store."""
    console = _console()
    table = _table("Resource", "Store", "Taken", "Point", "Size", "Proven", "Status", right={4})
    for column in table.columns[2:4]:
        column.no_wrap = True
    for one in listing.points:
        at = f"{one.point.claimed_at.astimezone(ZoneInfo(tz)):%Y-%m-%d %H:%M}"
        level = f"{one.level}, suspended" if one.suspended else one.level
        size = format_size(one.point.size_bytes)
        table.add_row(one.resource, one.store, at, short(one.point.id), size, level, one.point.status)
    console.print(table if listing.points else Text("no points"))
    if listing.points:
        console.print(Text(f"times of {tz}"))
    for line in listing.problems:
        console.print(Text(f"cannot be looked at: {line}", style="bold yellow"))
    for line in listing.strangers:
        console.print(Text(f"note: {line}"))


def print_taken(result: "TakeResult") -> None:
    """Print what a backup made, and what it left out."""
    console = _console()
    if result.rows:
        table = _table("Step", "Result", "What it says")
        table.columns[0].no_wrap = True
        for row in result.rows:
            table.add_row(row.step, _word(row.result), Text(row.said))
        console.print(table)
    for one in result.left_out:
        where = f" in {one.store}" if one.store else ""
        console.print(Text(f"{one.resource}{where}: {one.reason}", style="bold red" if one.is_fault else ""))


def print_rotation(shown: "RotationShown", tz: str, *, points: bool) -> None:
    """Print what is kept, what goes, and what every guard says.

    Args:
        points: every point and every guard; else what goes or is held, and the guards that do not allow all.
    """
    console = _console()
    table = _table("Resource", "Store", "Kept", "Expired", "Go", "Held", "Says", right={2, 3, 4, 5})
    for row in shown.rows:
        numbers = ("", "", "", "") if row.problem else (row.kept, row.expired, row.going, row.held)
        table.add_row(row.resource, row.store, *map(str, numbers), _says(row))
    console.print(table)
    for row in shown.rows:
        _print_decision(row, tz, points=points)
    _print_rulings(shown.rows)
    done = f"{shown.deletes} points go" if shown.deletes else "nothing to delete"
    notes = sum(step.endswith(("/accept", "/mark")) for step in shown.steps)
    others = ", ".join(step for step in shown.steps if step.startswith("reclaim/"))
    noted = f"; {notes} notes" if notes else ""
    console.print(Text(f"{done}{noted}{'; ' if others else ''}{others}"))


def print_explained(found: Sequence["Explained"], tz: str) -> None:
    """Print a sentence for each store that has the point."""
    console = _console()
    for one in found:
        at = f"{one.claimed_at.astimezone(ZoneInfo(tz)):%Y-%m-%d %H:%M %Z}"
        console.print(
            Text(f"{one.resource} in {one.store}, {short(one.point)} of {at}: {_brief(one.sentence)}")
        )
        console.print(Text(f"  proof: {one.proof or 'none of ours'}"))


def print_foretold(shown: "Foretold", tz: str) -> None:
    """Print the days on which points go, the numbers at the end, and the old rule beside ours."""
    console = _console()
    console.print(Text(f"{shown.resource} in {shown.store}: {shown.kept_now} kept now; {shown.assumed}"))
    changing = [day for day in shown.days if day.expired and not all(_to_come(p) for p in day.expired)]
    table = _table(f"Day ({tz})", "Kept", "Room", "Go", right={1, 2})
    zone = ZoneInfo(tz)
    for day in changing[:SHOWN_DAYS]:
        gone = ", ".join(short(point) for point in day.expired if not _to_come(point))
        at = f"{day.at.astimezone(zone):%Y-%m-%d}"
        table.add_row(at, str(day.kept), format_size(day.size_bytes), Text(gone))
    if changing:
        console.print(table)
    if len(changing) > SHOWN_DAYS:
        console.print(
            Text(f"and {len(changing) - SHOWN_DAYS} more days on which a point of now goes; --json has all")
        )
    if shown.days:
        last, most = shown.days[-1], max(shown.days, key=lambda day: day.size_bytes)
        console.print(
            Text(
                f"{last.at.astimezone(zone):%Y-%m-%d}: {last.kept} kept, "
                f"about {format_size(last.size_bytes)}; "
                f"at most {format_size(most.size_bytes)} on {most.at.astimezone(zone):%Y-%m-%d}"
            )
        )
    if shown.old:
        console.print(Text(shown.old))


def _brief(words: str) -> str:
    """Give words with every id of restic as short as people type it."""
    return _HASH.sub(lambda found: found[0][:12], words)


def short(point: str) -> str:
    """Give as much of an id as people type: 12 letters of a hash, a label whole."""
    return point[:12] if len(point) == 64 else point


# --- parts -----------------------------------------------------------------------------------------


def _print_rulings(rows: Sequence["DecisionRow"]) -> None:
    """Print each ruling that keeps something once, with the places where it does; then the alarms."""
    said: dict[tuple[str, str, str], list[str]] = {}
    alarms: dict[str, list[str]] = {}
    for row in rows:
        name = f"{row.resource} in {row.store}"
        for guard in row.guards if row.expired else ():
            if guard.answer != "allow":
                said.setdefault((guard.guard, guard.answer, guard.reason), []).append(name)
        for line in row.alarms:
            alarms.setdefault(line, []).append(name)
    console = _console()
    for (guard_, answer, reason), names in said.items():
        console.print(Text.assemble(f"{guard_} ", _word(answer), f": {_brief(reason)} ({', '.join(names)})"))
    for line, names in alarms.items():
        console.print(Text(f"ALARM {', '.join(names)}: {_brief(line)}", style="bold red"))


def _print_decision(row: "DecisionRow", tz: str, *, points: bool) -> None:
    console = _console()
    name = f"{row.resource} in {row.store}"
    for guard in row.guards if points else ():
        console.print(
            Text.assemble(f"{name}: {guard.guard} ", _word(guard.answer), f": {_brief(guard.reason)}")
        )
    wanted = [one for one in row.points if points or one.fate == "goes"]
    limit = len(wanted) if points else SHOWN_POINTS
    for one in wanted[:limit]:
        at = f"{one.claimed_at.astimezone(ZoneInfo(tz)):%Y-%m-%d %H:%M}"
        console.print(
            Text.assemble(f"{name}: {at} {short(one.point)} ", _word(one.fate), f": {_brief(one.why)}")
        )
    if len(wanted) > limit:
        console.print(Text(f"{name}: and {len(wanted) - limit} more that go; --points shows every one"))


def _says(row: "DecisionRow") -> Text:
    if row.problem:
        return Text(f"unknown: {row.problem}", style=STYLES["unknown"])
    if row.frozen:
        return Text("frozen", style=STYLES["red"])
    if row.new_policy:
        return Text("new policy: shown, not done", style=STYLES["held"])
    return Text("by its rules", style=STYLES["good"])


def _word(word: str) -> Text:
    return Text(word, style=STYLES.get(word, ""))


def _age(seconds: float | None) -> str:
    """Give a time as short as a table needs it: 12 s, 41 min, 5 h, 12 d."""
    if seconds is None:
        return "none"
    for unit, size, most in (("s", 1.0, 120), ("min", 60.0, 120), ("h", 3600.0, 72)):
        if seconds < size * most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def _proof(proof: "ProofSeen | None", now: datetime) -> Text:
    if proof is None:
        return Text("none", style=STYLES["red"])
    simulated = " (simulated)" if proof.source == "simulated" else ""
    return Text(f"{proof.level.name} {_age((now - proof.at).total_seconds())}{simulated}")


def _copies(row: "ResourceStanding") -> str:
    current = sum(copy.current for copy in row.copies)
    return f"{current}/{len(row.copies)}"


def _due(at: datetime | None, now: datetime) -> str:
    if at is None:
        return ""
    return "now" if at <= now else f"in {_age((at - now).total_seconds())}"


def _to_come(point: str) -> bool:
    return point.startswith("to-come-")
