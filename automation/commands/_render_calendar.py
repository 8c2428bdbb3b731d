"""The exercise calendar on a terminal: a row a service, a column a level."""

from collections import Counter

from rich.table import Table
from rich.text import Text

from automation.commands._render import _console, _table
from automation.recovery.calendar import LEVELS, Calendar, Due, ServiceRow

_STYLES = {"done": "green", "soon": "yellow", "overdue": "bold red", "never": "bold red"}
_WORDS = {
    "readiness": "Looked at",
    "tabletop": "Tabletop",
    "test-failover": "Test failover",
    "failover": "Failover",
}


def print_calendar(calendar: Calendar, *, overdue_only: bool = False, limit: int = 0) -> None:
    """Print when each service was last exercised, by level; what is overdue says so in words."""
    console = _console()
    table: Table = _table("Tier", "Service", *(_WORDS[level] for level in LEVELS), right={0})
    rows = [row for row in calendar.rows if not overdue_only or _is_overdue(row)]
    shown = rows[:limit] if limit else rows
    for row in shown:
        table.add_row(str(row.tier), row.service, *(_cell(due) for due in row.levels))
    if shown:
        console.print(table)
    if len(shown) < len(rows):
        console.print(Text(f"and {len(rows) - len(shown)} more; --limit 0 shows all"))
    for line in _summary(calendar):
        console.print(Text(line))


def _is_overdue(row: ServiceRow) -> bool:
    return any(due.status in ("overdue", "never") for due in row.levels)


def _cell(due: Due) -> Text:
    if due.last is None:
        return Text("never", style=_STYLES["never"])
    day = f"{due.last.ended_at:%Y-%m-%d}"
    verdict = " missed" if due.last.verdict == "missed" else ""
    word = {"overdue": " OVERDUE", "soon": " due soon"}.get(due.status, "")
    return Text(f"{day}{verdict}{word}", style=_STYLES[due.status])


def _summary(calendar: Calendar) -> list[str]:
    lines = []
    for number, level in enumerate(LEVELS):
        counts = Counter(row.levels[number].status for row in calendar.rows)
        words = ", ".join(
            f"{counts[status]} {status}" for status in ("done", "soon", "overdue", "never") if counts[status]
        )
        lines.append(f"{_WORDS[level]}: {words or 'no service'}")
    if calendar.without_plan:
        lines.append(
            f"in no recovery plan: {', '.join(calendar.without_plan[:8])}"
            + (f" and {len(calendar.without_plan) - 8} more" if len(calendar.without_plan) > 8 else "")
        )
    return lines
