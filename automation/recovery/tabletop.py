"""A tabletop: people talk a recovery plan through, inject by inject; no server is touched. Pure.

The plan that is exercised is compiled as a walkthrough; its digest and its steps stand beside what was
said about them, so that a record tells which plan the people at the table had before them.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import Field, model_validator

from automation.model.actions import AskPlayers, Inject
from automation.model.base import DurationS, Model, format_duration
from automation.model.errors import ConfigError
from automation.model.loading import load_model
from automation.model.plan import Gate, Plan, Step
from automation.model.records import Event, GateAnswered, RunClosed, RunOpened, StepEnded


class InjectLine(Model):
    """Something that happens in the story, whom it reaches, and what they should do."""

    at_s: DurationS = Field(alias="at", ge=0, description="on the clock of the story")
    happens: str = Field(description="what is read out")
    to: str = Field(description="role that is told")
    expect: str = Field(description="what they should do about it")
    steps: tuple[str, ...] = Field(default=(), description="steps of the plan that this is about")


class Tabletop(Model):
    """`drtests/tabletops/<name>.yml`: the story of an exercise without servers."""

    name: str
    title: str = Field(description="what the exercise is called")
    objectives: tuple[str, ...] = Field(min_length=1, description="what the exercise is to show")
    players: tuple[str, ...] = Field(min_length=1, description="roles at the table")
    lead: str = Field(default="dr-coordinator", description="role that leads it and writes down what is said")
    injects: tuple[InjectLine, ...] = Field(
        min_length=1, description="what happens, in the order in which it is read out"
    )

    @model_validator(mode="after")
    def _can_be_told(self) -> "Tabletop":
        for before, after in zip(self.injects, self.injects[1:], strict=False):
            if after.at_s < before.at_s:
                raise ValueError(f"inject {after.happens!r} is told after a later one; put injects in order")
        for inject in self.injects:
            if inject.to not in self.players:
                raise ValueError(f"inject {inject.happens!r} reaches {inject.to}, who is not at the table")
        return self


class InjectResult(Model):
    """One inject: what was expected, what was said, and how long it took to say it."""

    step: str
    at_s: float
    event: str
    to: str
    expect: str
    plan_says: tuple[str, ...]
    handled: bool | None = Field(description="None: nobody answered")
    said: str = ""
    by: str = ""
    told_at: datetime | None = None
    answered_at: datetime | None = None

    @property
    def took_s(self) -> float | None:
        if self.told_at is None or self.answered_at is None:
            return None
        return (self.answered_at - self.told_at).total_seconds()


class TabletopRecord(Model):
    """What a tabletop left: who was there, what they did, what is open."""

    run_id: str
    name: str
    exercised: str
    started_at: datetime
    ended_at: datetime | None
    finished: bool
    present: str
    injects: tuple[InjectResult, ...]
    open_questions: tuple[str, ...]

    @property
    def findings(self) -> tuple[str, ...]:
        """What was not done as expected, one sentence each."""
        return tuple(
            f"{one.to} at {clock(one.at_s)}: {one.event} Expected: {one.expect} Said: {one.said or '-'}"
            for one in self.injects
            if one.handled is False
        )


def load_tabletop(repository: Path, name: str) -> Tabletop:
    """Read `drtests/tabletops/<name>.yml`.

    Raises:
        ConfigError: there is no such file, or it has faults.
    """
    folder = repository / "drtests/tabletops"
    path = folder / f"{name}.yml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yml"))) or "none yet"
        raise ConfigError(
            f"there is no {path.name} in {folder.name}; nothing was touched", hint=f"--injects: {known}"
        )
    return load_model(path, Tabletop, name=name)


def compile_tabletop(tabletop: Tabletop, walkthrough: Plan) -> Plan:
    """Make the plan of a tabletop about a plan: who is there, every inject in its order, what is open.

    Raises:
        ConfigError: an inject names a step that the plan does not have.
    """
    lead = tabletop.lead
    steps = [_ask("attendance", lead, tabletop, walkthrough, ())]
    for number, inject in enumerate(tabletop.injects, start=1):
        steps.append(_inject(f"inject/{number}", tabletop, inject, walkthrough, steps[-1].id))
    steps.append(_ask("open-questions", lead, tabletop, walkthrough, (steps[-1].id,)))
    return Plan(
        name=f"tabletop-{tabletop.name}",
        environment=walkthrough.environment,
        mode="tabletop",
        steps=tuple(steps),
    )


def _inject(step_id: str, tabletop: Tabletop, line: InjectLine, walkthrough: Plan, before: str) -> Step:
    if unknown := [name for name in line.steps if name not in walkthrough.by_id]:
        raise ConfigError(
            f"tabletop {tabletop.name}: {walkthrough.name} has no step {unknown[0]!r}; nothing was touched",
            hint="dr.plan --mode walkthrough shows the ids of all steps",
        )
    says = tuple(f"{name}: {walkthrough.step(name).why}" for name in line.steps)
    return Step(
        id=step_id,
        run=Inject(at_s=line.at_s, event=line.happens, to=line.to, expect=line.expect, plan_says=says),
        why=f"{line.to} should: {line.expect}",
        after=(before,),
        gate=Gate(role=line.to, ask=line.happens),
        on_failure="continue",
    )


def _ask(about: str, lead: str, tabletop: Tabletop, walkthrough: Plan, after: tuple[str, ...]) -> Step:
    present = about == "attendance"
    question = (
        f"Who is at the table? Wanted: {', '.join(tabletop.players)}."
        if present
        else "What is open: questions, findings, what to change in the plan?"
    )
    exercised = f"{walkthrough.name}, {len(walkthrough.steps)} steps, digest {walkthrough.digest}"
    return Step(
        id=about,
        run=AskPlayers(
            about="attendance" if present else "open-questions", question=question, exercised=exercised
        ),
        why="; ".join(tabletop.objectives) if present else "what is found is worth more than what went well",
        after=after,
        gate=Gate(role=lead, ask=question),
        on_failure="continue",
    )


def clock(seconds: float) -> str:
    """Give a time of the story as people say it: T+0, T+15 min."""
    return f"T+{format_duration(seconds)}" if seconds else "T+0"


def fold_tabletop(plan: Plan, events: Sequence[Event]) -> TabletopRecord:
    """Give what a tabletop left; one that was broken off says what was not asked."""
    opened = next(event for event in events if isinstance(event.body, RunOpened))
    assert isinstance(opened.body, RunOpened)
    answers = {e.body.step: (e.at, e.body) for e in events if isinstance(e.body, GateAnswered)}
    closed = [event for event in events if isinstance(event.body, RunClosed)]
    texts = {name: said.reason for name, (_, said) in answers.items()}
    exercised = next((s.run.exercised for s in plan.steps if isinstance(s.run, AskPlayers)), "")
    return TabletopRecord(
        run_id=opened.body.run_id,
        name=plan.name,
        exercised=exercised,
        started_at=opened.at,
        ended_at=closed[-1].at if closed else None,
        finished=all(step.id in answers for step in plan.steps),
        present=texts.get("attendance", ""),
        injects=tuple(_results(plan, events, answers)),
        open_questions=tuple(line for line in texts.get("open-questions", "").splitlines() if line.strip()),
    )


def _results(
    plan: Plan, events: Sequence[Event], answers: dict[str, tuple[datetime, GateAnswered]]
) -> Iterator[InjectResult]:
    ended = {event.body.step: event.at for event in events if isinstance(event.body, StepEnded)}
    for step in plan.steps:
        if not isinstance(step.run, Inject):
            continue
        at, said = answers.get(step.id, (None, None))
        yield InjectResult(
            step=step.id,
            at_s=step.run.at_s,
            event=step.run.event,
            to=step.run.to,
            expect=step.run.expect,
            plan_says=step.run.plan_says,
            handled=None if said is None else said.answer == "yes",
            said=said.reason if said else "",
            by=said.by if said else "",
            told_at=ended.get(step.after[0]) if step.after else None,
            answered_at=at,
        )
