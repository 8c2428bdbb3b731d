"""The table at the end of a demo: every drill, what was promised, what was measured and by whom."""

from collections.abc import Iterable
from typing import Literal

from rich.table import Table
from rich.text import Text

from automation.commands._demo_result import DemoResult, MeasuredRow, rows_of
from automation.commands._render import _console, _word

# The same for each drill, so that they stand below each other within 80 columns.
COLUMNS = {"Service": 13, "RTO": 5, "RTA": 10, "RPO": 6, "RPA": 9, "Measured by": 15, "Verdict": 7}
NUMBERS = ("RTO", "RTA", "RPO", "RPA")
KEY = (
    "RTA by client: a witness outside asks as people do; by provider: its own times.",
    "RPA by writes: those that a client was told are done; by age: of the copy.",
    "* simulated: what says so stands for VMware or AWS.",
)


def print_demo(result: DemoResult) -> None:
    """Print all drills below each other, and who measured what."""
    console = _console()
    console.print(_table())
    for report in result.reports:
        console.print(Text(report.name, style="bold"))
        console.print(_table(rows_of(report), header=False))
    for line in KEY:
        console.print(Text(line))


def _table(rows: Iterable[MeasuredRow] = (), *, header: bool = True) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=header)
    for name, width in COLUMNS.items():
        justify: Literal["left", "right"] = "right" if name in NUMBERS else "left"
        table.add_column(name, justify=justify, min_width=width, overflow="fold")
    for row in rows:
        words = (row.rto, row.rta, row.rpo, row.rpa, row.measured_by, _word(row.verdict))
        table.add_row(f"  {row.service}", *words)
    return table
