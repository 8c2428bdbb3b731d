"""A plan on a terminal: services in waves, then who is asked, then where it stops being possible to go back.

Every line stands for itself and fits its terminal; what has no room in a line is told by `--service`, never
cut off in the middle of a word.
"""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from automation.commands._plan_view import PlanView, ServiceView
from automation.model.actions import Confirm
from automation.model.base import format_duration
from automation.model.plan import Plan, Step
from automation.recovery.prediction import PredictedService

PLAIN_WIDTH = 1000
NARROW = 100
MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86400.0
LISTED = 6
ALOUD_INDENT = 6
WIDEST_NAME, WIDEST_HAPPENS = 21, 24
_ABOUT = (
    (9.95, 1.0, 1, "s"),
    (90.0, 1.0, 0, "s"),
    (90 * MINUTE_S, MINUTE_S, 0, "min"),
    (2 * DAY_S, HOUR_S, 1, "h"),
)
EFFECTS = {"read": "dim", "fault": "bold yellow", "destroy": "bold red"}


def print_plan_view(view: PlanView, *, steps: bool, hint: bool = False) -> None:
    """Print a plan: its services by wave, then every step, or by `hint` how they are shown."""
    console = _console()
    _print_heading(console, view)
    for number, rows in view.waves().items():
        _print_wave(console, view, number, rows)
    _say(console, "")
    _say(console, f"Around them, {len(view.around)} steps: {', '.join(view.around)}")
    _print_people(console, view)
    _print_no_return(console, view)
    _print_warnings(console, view)
    if steps:
        _say(console, "")
        print_steps(console, view.plan)
    if hint:
        every = len(view.plan.steps)
        _say(console, f"Steps: --service NAME shows those of one service, --steps all {every}.")


def print_service_steps(view: PlanView, name: str) -> None:
    """Print every step of one service, with what it waits for and whom it asks."""
    console = _console()
    row = next(row for row in view.services if row.service == name)
    _say(console, f"{row.service}: {row.title}", style="bold")
    what = (
        f"tier {row.tier}, wave {row.wave}, {row.strategy}, RTO {format_target(row.rto_s)}, {row.steps} steps"
    )
    _say(console, what)
    _say(console, f"predicted: {predicted_words(row.predicted)}")
    for step in view.plan.steps:
        if step.service == name:
            _print_step(console, step)


def print_steps(console: Console, plan: Plan) -> None:
    """Print every step of a plan in the order in which they could start."""
    narrow = console.width < NARROW
    table = _table("Turn", "Step", "Effect", "Why", *(() if narrow else ("Does",)), right={0})
    for number, wave in enumerate(plan.waves(), start=1):
        for step in wave:
            effect = Text(step.run.effect, style=EFFECTS.get(step.run.effect, ""))
            row = (str(number), Text(step.id, no_wrap=True), effect, Text(step.why))
            table.add_row(*row, *(() if narrow else (Text(_does(step)),)))
    console.print(table)


def print_aloud(lines: Iterable[str]) -> None:
    """Print what is read aloud; what has no room in a line goes on under it."""
    console = _console()
    _say(console, "")
    for line in lines:
        _say(console, line, hang=ALOUD_INDENT if line.startswith(" ") else 0)


def predicted_words(predicted: PredictedService | None) -> str:
    """Say what is expected of a service: a median, and what it takes when all is slow."""
    if predicted is None or predicted.median_s is None or predicted.p90_s is None:
        return "no history"
    return f"{format_about(predicted.median_s)} (p90 {format_about(predicted.p90_s)})"


def format_about(seconds: float) -> str:
    """Give a time nobody knows exactly, in at most seven letters: 2.4 s, 31 min, 2.7 h, 3 d."""
    for limit_s, unit_s, digits, unit in _ABOUT:
        if seconds < limit_s:
            return f"{seconds / unit_s:.{digits}f} {unit}"
    return f"{seconds / DAY_S:.0f} d"


# --- parts, from the top -------------------------------------------------------------------------


def _print_heading(console: Console, view: PlanView) -> None:
    plan = view.plan
    _say(console, f"{plan.name}: {view.title}", style="bold")
    size = f"{_count(len(view.services), 'service')} of {view.site}, {_count(len(plan.steps), 'step')}"
    _say(console, f"{size}, mode {plan.mode}, digest {plan.digest[:12]}")
    for rule in view.rules:
        _say(console, f"- {rule}")
    _say(console, f"- {_history_words(view)}")
    if console.width < NARROW:
        _say(console, "T: tier; #: steps; !: cannot be taken back; >: over the target")


def _history_words(view: PlanView) -> str:
    if not view.prediction.services:
        return f"not predicted: what counts begins with {view.prediction.since}"
    known = sum(one.median_s is not None for one in view.prediction.services)
    if not known:
        runs = view.prediction.runs
        past = (
            f"{_count(runs, 'past run')} without these steps" if runs else "no past run of this environment"
        )
        return f"predicted: no history ({past})"
    past = f"{_count(view.prediction.runs, 'past run')}, from {view.prediction.since}"
    return f"predicted for {known} of {len(view.services)} services from {past}"


def _print_wave(console: Console, view: PlanView, number: int, rows: Sequence[ServiceView]) -> None:
    steps = sum(row.steps for row in rows)
    size = f"{_count(len(rows), 'service')}, {_count(steps, 'step')}"
    _say(console, "")
    _say(console, f"Wave {number}: {size}{_by(rows)}", style="bold")
    wide = console.width >= NARROW
    history = any(one.median_s is not None for one in view.prediction.services)
    columns = ["Tier" if wide else "T", "Service", "Steps" if wide else "#", "RTO"]
    columns += [*(["Predicted/p90"] if history else []), "What happens", *(["Title"] if wide else [])]
    table = _table(*columns, right={0, 2, 3})
    _align(table, view, history=history, wide=wide)
    for row in rows:
        cells: list[str | Text] = [str(row.tier), Text(row.service), str(row.steps), format_target(row.rto_s)]
        cells += [_predicted(row.predicted)] if history else []
        cells += [Text(", ".join(row.happens)), *([Text(row.title)] if wide else [])]
        table.add_row(*cells)
    console.print(Padding(table, (0, 0, 0, 1), expand=False))


def _align(table: Table, view: PlanView, *, history: bool, wide: bool) -> None:
    """Give the columns of every wave the same widths."""
    table.columns[1].min_width = min(WIDEST_NAME, max(len(row.service) for row in view.services))
    table.columns[3].min_width = max(len(format_target(row.rto_s)) for row in view.services)
    if history:
        table.columns[4].min_width = max(len(_predicted(row.predicted)) for row in view.services)
    if wide:
        happens = table.columns[5 if history else 4]
        happens.min_width = min(WIDEST_HAPPENS, max(len(", ".join(row.happens)) for row in view.services))


def _by(rows: Iterable[ServiceView]) -> str:
    """When the last service of a wave is expected, if all of it is known."""
    times = [row.predicted.median_s if row.predicted else None for row in rows]
    known = [time for time in times if time is not None]
    return f", back by {format_about(max(known))}" if known and len(known) == len(times) else ""


def _print_people(console: Console, view: PlanView) -> None:
    if not view.asked:
        return
    lines = view.asked - len(view.questions)
    _say(console, "")
    own = f"; {lines} are lines of checklists, calls and fences" if lines else ""
    _say(console, f"People are asked {_count(view.asked, 'time')}{own}.", style="bold")
    for question in view.questions:
        _say(console, f"  before {question.step}, {question.role}: {question.ask}")


def _print_no_return(console: Console, view: PlanView) -> None:
    steps = [step for row in view.services for step in row.no_return]
    fenced = sum(any(word.startswith("fence") for word in row.happens) for row in view.services)
    _say(console, "")
    if steps:
        _say(console, f"Point of no return ({_count(len(steps), 'step')}):", style="bold")
        _say(console, f"  {', '.join(steps)}")
    if fenced:
        _say(console, f"Fenced at the lost site before it runs elsewhere: {_count(fenced, 'service')}.")


def _print_warnings(console: Console, view: PlanView) -> None:
    late = [one for one in view.prediction.services if one.late]
    tight = [one for one in view.prediction.services if one.tight]
    if late or tight:
        _say(console, "")
    for one in late[:LISTED]:
        _say(console, f"warning: {late_words(one)}", style="bold red")
    for names, what in ((late[LISTED:], "would miss their targets too"), (tight, "may miss their targets")):
        if names:
            _say(console, f"warning: {len(names)} {what}: {', '.join(one.service for one in names)}")


def late_words(one: PredictedService) -> str:
    """Say how far a prediction lies over its target, and which steps decide it."""
    way = " > ".join(one.path[-4:])
    return (
        f"{one.service} would miss its target of {format_target(one.rto_s)}: {predicted_words(one)}, by {way}"
    )


def _print_step(console: Console, step: Step) -> None:
    marks = [step.run.effect, *(["cannot be taken back"] if step.run.irreversible else [])]
    told = {"after": ", ".join((*step.needs, *step.after))}
    if step.gate:
        told["asks"] = f"{step.gate.role}: {step.gate.ask}"
    if not isinstance(step.run, Confirm):
        told["does"] = f"{_does(step)}, for at most {format_target(step.timeout_s)}"
    if step.undo:
        told["undo"] = step.undo.do
    _say(console, "")
    _say(console, f"{step.id} ({', '.join(marks)})", style="bold")
    _say(console, f"  {step.why}")
    for word, text in told.items():
        _say(console, f"  {word:7}{text}", hang=9)


# --- small parts ---------------------------------------------------------------------------------


def _console() -> Console:
    terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, width=None if terminal else PLAIN_WIDTH, highlight=False, emoji=False)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _say(console: Console, text: str, style: str = "", hang: int = 0) -> None:
    """Print a line; one that is too long goes on under its own text, `hang` letters in."""
    indent = hang or len(text) - len(text.lstrip(" -"))
    if not sys.stdout.isatty() or not indent:
        console.print(Text(text, style=style), soft_wrap=not sys.stdout.isatty())
        return
    grid = Table.grid()
    grid.add_column(width=indent)
    grid.add_column()
    grid.add_row(Text(text[:indent], style=style), Text(text[indent:], style=style))
    console.print(grid)


def _table(*columns: str, right: set[int]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index in right else "left", overflow="fold")
    return table


def _predicted(one: PredictedService | None) -> Text:
    """Median and p90; the sign > stands before what is over the target."""
    if one is None or one.median_s is None or one.p90_s is None:
        return Text("no history", style="dim")
    style = "bold red" if one.late else "yellow" if one.tight else ""
    told = (
        f"{'>' if seconds > one.rto_s else ''}{format_about(seconds)}"
        for seconds in (one.median_s, one.p90_s)
    )
    return Text("/".join(told), style=style)


def format_target(seconds: float) -> str:
    if seconds < MINUTE_S:
        return f"{seconds:g} s"
    return f"{seconds / DAY_S:g} d" if seconds >= 2 * DAY_S else format_duration(seconds)


def _does(step: Step) -> str:
    target = next((str(v) for name in ("host", "site", "name") if (v := getattr(step.run, name, None))), "")
    return f"{step.run.do} {target}".strip()
