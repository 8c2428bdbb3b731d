"""Proofs and restores for people: a row each, and under it what was found."""

from rich.text import Text

from automation.backups.proof_results import ProofRow, Proved
from automation.commands._render import _console, _table
from automation.model.base import format_duration, format_size

_STYLES = {"proven": "green", "failed": "bold red", "broken off": "bold yellow", "not tried": "yellow"}
SHORT_ID = 12


def print_proved(proved: Proved) -> None:
    """Print what a run of proofs showed."""
    console = _console()
    if not proved.rows:
        console.print(Text("nothing is due"))
        return
    table = _table("Proof of", "Store", "Level", "Point", "Result", "Took", "Size", right={5, 6})
    for row in proved.rows:
        table.add_row(
            row.subject,
            row.store,
            row.level.name,
            short_point(row.point),
            Text(row.result, style=_STYLES[row.result]),
            format_duration(row.seconds) if row.seconds else "",
            format_size(row.size_bytes) if row.size_bytes else "",
        )
    console.print(table)
    for row in proved.rows:
        for line in _lines(row):
            console.print(Text(line))


def short_point(point: str) -> str:
    """Give so much of an id as people need to tell it from others; a label stands whole."""
    return point[:SHORT_ID] if len(point) == 64 else point


def _lines(row: ProofRow) -> list[str]:
    where = f"{row.subject} in {row.store}"
    moment = f", recovered to {row.until:%Y-%m-%d %H:%M:%S} UTC" if row.until else ""
    lines = [f"{where} ({row.level.name}{moment}): {'; '.join(row.said)}"] if row.said else []
    if row.left_behind:
        lines.append(f"{where}: LEFT BEHIND: {row.left_behind}")
    return lines
