"""Proofs and restores for people: a row each, and under it what was found."""

from textwrap import fill

from rich.text import Text

from automation.backups.proof_results import ProofRow, Proved
from automation.commands._render import NARROW, _console, _table
from automation.model.base import format_duration, format_size

_STYLES = {"proven": "green", "failed": "bold red", "broken off": "bold yellow", "not tried": "yellow"}
SHORT_ID = 12


def print_proved(proved: Proved) -> None:
    """Print what a run of proofs showed."""
    console = _console()
    if not proved.rows:
        console.print(Text("nothing is due"))
        return
    columns = ["Proof of", "Store", "Level", "Point", "Result", "Took", "Size"]
    shown = columns if console.width >= NARROW else columns[:-1]
    table = _table(*shown, right={5, 6})
    for row in proved.rows:
        table.add_row(*_cells(row)[: len(shown)])
    console.print(table)
    for row in proved.rows:
        for line in _lines(row):
            console.print(Text(fill(line, console.width, subsequent_indent="  ", break_on_hyphens=False)))
    if proved.run:
        console.print(Text(f"run {proved.run}; what was drawn was drawn from seed {proved.seed}"))


def short_point(point: str) -> str:
    """Give so much of an id as people need to tell it from others: of a label its own part."""
    return point[:SHORT_ID] if len(point) == 64 else point.rpartition("_")[2]


def _cells(row: ProofRow) -> tuple[str | Text, ...]:
    return (
        row.resource or "(repository)",
        row.store,
        row.level.name,
        short_point(row.point),
        Text(row.result, style=_STYLES[row.result]),
        format_duration(row.seconds) if row.seconds else "",
        format_size(row.size_bytes) if row.size_bytes else "",
    )


def _lines(row: ProofRow) -> list[str]:
    simulated = ", a simulated store" if row.source == "simulated" else ""
    where = f"{row.subject} in {row.store}{simulated}"
    moment = f", recovered to {row.until:%Y-%m-%d %H:%M:%S} UTC" if row.until else ""
    lines = [f"{where} ({row.level.name}{moment}): {'; '.join(row.said)}"] if row.said else []
    if row.left_behind:
        lines.append(f"{where}: LEFT BEHIND: {row.left_behind}")
    return lines
