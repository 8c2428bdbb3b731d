"""What a person sees while a run goes: a live view on a terminal, else one line an event."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from automation.commands._command import ROOT, progress
from automation.commands._live import Live
from automation.commands._probes import ProbeFeed, ProbeReader
from automation.engine.fold import fold
from automation.engine.journal import read_journal
from automation.engine.run import read_plan
from automation.model.catalog import load_catalog
from automation.model.environment import Environment, load_environment
from automation.model.errors import AutomationError
from automation.model.plan import Plan, Step
from automation.model.records import (
    Event,
    GateAnswered,
    Remote,
    RunOpened,
    StepEnded,
    StepRetried,
    StepStarted,
    StepUndone,
    StepVerified,
)

if TYPE_CHECKING:
    from automation.commands._render_live import Words

Ask = Callable[[Step], GateAnswered | None]


RUNNING = "Ctrl-C: what runs ends, nothing new starts; goes on: {resume}"
TOLD = "Ctrl-C: what runs ends, nothing new starts."  # who tells the story says what is left then
WATCHING = "Ctrl-C ends the watching; the run goes on."
# Of a run that is drawn or told as a story, these lines are told as well.
TROUBLE = frozenset({"FAIL", "look", "wait", "undo"})


class Story(NamedTuple):
    """What a run is told as: lines for those of its events that mean something to a newcomer.

    `answers`: takes the place of the person who answers gates; for a story in a lab of its own alone.
    """

    tell: Callable[[Event], Sequence[str]]
    view_stays: bool = True
    answers: Ask | None = None

    def by(self, say: Callable[[str], None]) -> Callable[[Event], None]:
        """Give what tells each event's lines by `say`."""

        def tell(event: Event) -> None:
            for line in self.tell(event):
                say(line)

        return tell


class Onlooker(NamedTuple):
    """What a run calls: with each event, and with a gate's question if there is somebody to ask."""

    on_event: Callable[[Event], None]
    ask: Ask | None


@contextmanager
def looking_on(
    plan: Plan,
    folder: Path,
    environment: Environment,
    *,
    remote: Callable[[str], Remote],
    ask: Ask | None,
    narrate: Callable[[Event], None] | None = None,
    story: Story | None = None,
) -> Iterator[Onlooker]:
    """Show a run until the block ends.

    Args:
        ask: puts a gate's question on the terminal; None when nobody sits there.
        narrate: takes the place of what is shown.
        story: takes the place of the lines that are told.
    """
    from automation.adapters.witness import follow

    feed = ProbeFeed(plan, folder, remote, follow)
    ask = story.answers if story is not None and story.answers is not None else ask
    past = _past(folder)
    feed.catch_up(fold(past))
    try:
        if narrate is not None or not on_a_terminal() or (story is None and len(plan.steps) < 2):
            tells = [narrate] if narrate else _told(progress, story) if story else [Narrator()]
            yield Onlooker(_each(*tells, feed.on_event), ask)
        else:
            with _live(plan, folder, environment, past, feed, ask, story) as onlooker:
                yield onlooker
    finally:
        feed.stop()


def _told(say: Callable[[str], None], story: Story | None) -> list[Callable[[Event], None]]:
    """What is told beside a view: trouble, and a story if there is one."""
    return [Narrator(say, marks=TROUBLE), *([story.by(say)] if story else [])]


def _each(*callees: Callable[[Event], None]) -> Callable[[Event], None]:
    def call(event: Event) -> None:
        for callee in callees:
            callee(event)

    return call


@contextmanager
def _live(
    plan: Plan,
    folder: Path,
    environment: Environment,
    past: list[Event],
    feed: ProbeFeed,
    ask: Ask | None,
    story: Story | None,
) -> Iterator[Onlooker]:
    from automation.commands._render_live import LiveScreen

    live, reader = live_of(plan, environment), ProbeReader(folder)
    for event in past:
        live.add(event)
    words = words_of(plan, environment, folder, RUNNING if story is None else TOLD)
    screen = LiveScreen(live, words, stays=story is None or story.view_stays)
    screen.before = lambda: live.see(reader.new())
    tell = _each(*_told(screen.say, story))

    def on_event(event: Event) -> None:
        screen.feed(partial(Live.add, event=event))
        tell(event)
        feed.on_event(event)

    def ask_quietly(step: Step) -> GateAnswered | None:
        assert ask is not None
        with screen.quiet():
            return ask(step)

    with screen.shown():
        yield Onlooker(on_event, ask_quietly if ask else None)


def watch_live(env: str, run_id: str) -> None:
    """Show a run of another terminal, or of the past, from its journal until it closes.

    Raises:
        ConfigError: there is no such run.
        StepFailed: its controller is gone and it is not closed.
    """
    from automation.commands._render_live import LiveScreen
    from automation.commands._runs import follow, run_folder

    folder, environment = run_folder(env, run_id), load_environment(ROOT, env)
    plan = read_plan(folder)
    live, reader = live_of(plan, environment), ProbeReader(folder)
    words = words_of(plan, environment, folder, WATCHING)
    screen = LiveScreen(live, words)
    screen.before = lambda: live.see(reader.new())
    tell = Narrator(screen.say, marks=TROUBLE)
    with screen.shown():
        for event in follow(env, run_id):
            screen.feed(partial(Live.add, event=event))
            tell(event)


def words_of(plan: Plan, environment: Environment, folder: Path, keys: str = RUNNING) -> "Words":
    """Give what is said around the view of a run."""
    from automation.commands._render_live import Words

    env, run = environment.name, folder.name
    title = f"{plan.name} ({plan.mode}) on {env}, run {run}"
    return Words(title, env, run, keys.format(resume=f"./inv run.resume --env {env} --run {run}"))


def live_of(plan: Plan, environment: Environment) -> Live:
    """Give the empty view of a run, with the targets of the services it moves."""
    targets: dict[str, float] = {}
    with suppress(AutomationError):  # a catalog with faults hinders no view
        catalog = load_catalog(environment.folder / "services.yml")
        targets = {name: service.rto_s for name, service in catalog.services.items()}
    targets |= _own_targets(plan)
    return Live(plan, targets=targets, sustained=environment.witness.sustained)


def _own_targets(plan: Plan) -> dict[str, float]:
    from automation.recovery.spec import load_drill

    with suppress(AutomationError):
        objectives = load_drill(ROOT, plan.name).objectives
        return {name: own.rto_s for name, own in objectives.items() if own.rto_s is not None}
    return {}


def on_a_terminal() -> bool:
    """Whether a view that is drawn again and again can be shown."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


def _past(folder: Path) -> list[Event]:
    journal = folder / "journal.jsonl"
    return list(read_journal(journal)) if journal.is_file() else []


class Narrator:
    """Tells one line as each step ends, is looked at, tried again or taken back."""

    def __init__(
        self, tell: Callable[[str], None] = progress, *, marks: frozenset[str] | set[str] | None = None
    ) -> None:
        """`marks`: tell these lines alone, of ok, FAIL, undo, look, wait."""
        self._began = time.monotonic()
        self._started: dict[str, float] = {}
        self._tell, self._marks = tell, marks

    def __call__(self, event: Event) -> None:
        now, body = time.monotonic(), event.body
        if isinstance(body, RunOpened):
            self._began = now
        elif isinstance(body, StepStarted):
            self._started[body.step] = now
        elif isinstance(body, StepEnded | StepUndone):
            self._ended(body, now)
        elif isinstance(body, StepVerified):
            self._print(now, "look", f"{body.step}: {body.progress.replace('_', ' ')} {body.why}".rstrip())
        elif isinstance(body, StepRetried):
            self._print(now, "wait", f"{body.step}: {body.failure.message}; again in {body.wait_s:g} s")

    def _ended(self, end: StepEnded | StepUndone, now: float) -> None:
        good = "ok" if isinstance(end, StepEnded) else "undo"
        mark = good if end.status == "succeeded" else "FAIL"
        text = end.outcome.summary if end.outcome else end.failure.message if end.failure else ""
        took = now - self._started.get(end.step, now)
        self._print(now, mark, f"{end.step}: {text} ({took:.2f} s)")

    def _print(self, now: float, mark: str, text: str) -> None:
        if self._marks is None or mark in self._marks:
            self._tell(f"{now - self._began:7.2f}s {mark:4} {text}")
