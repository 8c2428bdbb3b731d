"""The live view of a run on a terminal: services and clocks, steps that run, probes, open questions.

Shapes carry the meaning, colours only help; what does not fit on the screen is counted, not cut off.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import NamedTuple

from rich import box
from rich.console import Console, Group
from rich.live import Live as Screen
from rich.table import Table
from rich.text import Text

from automation.commands._live import Cell, Live, LiveView, ServiceNow, State, StepNow
from automation.model.base import format_duration
from automation.model.plan import Step

REFRESH_PER_S = 6
CELL_S = 0.5
NARROW = 100
# Lines that are not services: heading, table frame, steps, last, keys.
OTHER_LINES = 16
MOST_RUNNING = 6
_CELLS: dict[Cell, tuple[str, str, str]] = {
    "good": ("█", "#", "green"),
    "mixed": ("▄", "+", "yellow"),
    "failed": ("▁", "_", "bold red"),
    "none": (" ", " ", "dim"),
}
_STATES: dict[State, str] = {
    "out": "bold red",
    "stopped": "bold red",
    "answers again": "yellow",
    "in work": "yellow",
    "back": "bold green",
    "well": "green",
    "done": "green",
    "waiting": "dim",
    "unseen": "dim",
}
_FIRST = list(_STATES)


class Words(NamedTuple):
    """What is said around a view: its title, where the run is, what a person can do."""

    title: str
    env: str
    run: str
    keys: str


class LiveScreen:
    """Draws a run until the block ends; quiet while a person is asked something."""

    def __init__(
        self, live: Live, words: Words, *, console: Console | None = None, stays: bool = True
    ) -> None:
        """`stays`: the last view is left on the screen."""
        self.live, self.words, self.stays = live, words, stays
        self.console = console or Console(stderr=True, highlight=False)
        self.before: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._screen = self._new()

    def _new(self) -> Screen:
        return Screen(
            console=self.console,
            get_renderable=self._drawn,
            refresh_per_second=REFRESH_PER_S,
            transient=not self.stays,
        )

    def _drawn(self) -> Group:
        console = self.console
        with self._lock:
            self.before()
            view = self.live.at(datetime.now(UTC), cells=strip_cells(console.width), cell_s=CELL_S)
        unicode = console.encoding.lower().startswith("utf")
        return draw(view, self.words, width=console.width, height=console.height, unicode=unicode)

    def feed(self, change: Callable[[Live], None]) -> None:
        """Change what is drawn; any thread."""
        with self._lock:
            change(self.live)

    def say(self, text: str) -> None:
        """Print a line above the view, to stay."""
        self.console.print(Text(text))

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw until the block ends."""
        self._screen.start(refresh=True)
        try:
            yield
        finally:
            with suppress(OSError):
                self._screen.stop()

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Take the view off the screen while a person is asked."""
        self._screen.transient = True
        self._screen.stop()
        try:
            yield
        finally:
            self._screen = self._new()
            self._screen.start(refresh=True)


def strip_cells(width: int) -> int:
    """Length of a strip that leaves room for the other columns."""
    return max(10, min(60, width - 61))


def draw(view: LiveView, words: Words, *, width: int, height: int, unicode: bool = True) -> Group:
    """Lay one moment out for a screen."""
    parts: list[Text | Table] = [
        _line(words.title, width, "bold"),
        Text(f"{_clock(view.seconds)}  {view.status}, {view.done} of {view.steps} steps done"),
    ]
    if view.services:
        parts += _services(view.services, max(3, height - OTHER_LINES), width, unicode)
    parts += [_running(step, width) for step in view.running[:MOST_RUNNING]]
    if len(view.running) > MOST_RUNNING:
        parts.append(Text(f"  and {len(view.running) - MOST_RUNNING} more steps run", style="dim"))
    parts += [_line(f"  failed: {name}: {why}", width, "bold red") for name, why in view.failed[:3]]
    for step in view.waiting:
        parts += _question(step, view, words)
    if view.last:
        parts.append(_line(f"  last: {view.last}", width, "dim"))
    if view.status == "running":
        parts.append(Text(words.keys, style="dim"))
    return Group(*parts)


def _services(services: tuple[ServiceNow, ...], room: int, width: int, unicode: bool) -> list[Text | Table]:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    table.add_column("Service", no_wrap=True, max_width=max(12, width // 4), overflow="ellipsis")
    table.add_column("State", no_wrap=True, min_width=13)
    table.add_column("Out for", justify="right", no_wrap=True, min_width=7)
    table.add_column("RTO", justify="right", no_wrap=True)
    table.add_column("Steps", justify="right", no_wrap=True)
    table.add_column("Client probes", no_wrap=True)
    first = sorted(services, key=lambda one: _FIRST.index(one.state)) if len(services) > room else services
    for one in first[:room]:
        table.add_row(
            one.name,
            Text(one.state, style=_STATES[one.state]),
            Text("" if one.out_s is None else f"{one.out_s:.1f} s", style="bold red" if one.late else ""),
            "" if one.rto_s is None else format_duration(one.rto_s),
            f"{one.done}/{one.steps}",
            _strip(one.strip, unicode),
        )
    rest = first[room:]
    counted = {state: sum(one.state == state for one in rest) for state in _FIRST}
    words = ", ".join(f"{count} {state}" for state, count in counted.items() if count)
    return [table, *([Text(f"  and {len(rest)} more services: {words}", style="dim")] if rest else [])]


def _strip(cells: tuple[Cell, ...], unicode: bool) -> Text:
    strip = Text()
    for cell in cells:
        block, plain, style = _CELLS[cell]
        strip.append(block if unicode else plain, style=style)
    return strip


def _running(now: StepNow, width: int) -> Text:
    return _line(f"  runs {now.seconds:6.1f} s  {now.step.id}: {now.step.why}", width, "")


def _question(step: Step, view: LiveView, words: Words) -> list[Text]:
    assert step.gate is not None
    asked = f"{step.id} ({step.gate.role}): {step.gate.ask}"
    how = f"./inv run.resume --env {words.env} --run {words.run} --gate {step.id} --answer yes --reason '...'"
    if view.status == "running":
        how = "answer at the terminal that runs it"
    return [Text.assemble(("  waits for an answer: ", "bold yellow"), asked), Text(f"    {how}")]


def _line(text: str, width: int, style: str) -> Text:
    line = Text(text.replace("\n", " "), style=style, no_wrap=True, overflow="ellipsis")
    line.truncate(width, overflow="ellipsis")
    return line


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0.0, seconds), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"
