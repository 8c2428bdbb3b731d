"""What the events of a drill mean to people who see one for the first time. Pure.

What is said follows from the declarations and from what the run's events say; no number stands here.
"""

from datetime import datetime

from automation.commands._story import Said, Scene
from automation.commands._teller_words import copied, lost, returned
from automation.model.actions import (
    AwaitFailed,
    AwaitGood,
    BlockServer,
    Demote,
    FailSite,
    ListWrites,
    PowerOffServer,
    ProveRefused,
    RunChecks,
    ShutDownVm,
    StartWitness,
    StopInstance,
    StopUnit,
)
from automation.model.catalog import PostgresqlStandby
from automation.model.plan import Plan, Step
from automation.model.records import Event, GateAnswered, RunOpened, StepEnded, StepStarted
from automation.recovery.report_words import format_target

STOPS = StopUnit | ShutDownVm | StopInstance | Demote


class Teller:
    """Says what each event of a drill means; most say nothing.

    Moments count from the power cut; of a way home from the first stop of a service; of a test on copies
    from its beginning.
    """

    def __init__(self, plan: Plan, scene: Scene) -> None:
        self.plan, self.scene = plan, scene
        self.zero: datetime | None = None
        self.fenced: list[str] = []
        self.said: set[str] = set()
        self._pays = any(self._of_database(step) for step in plan.steps)

    def __call__(self, event: Event) -> Said | None:
        """Give what is to be told of an event, if anything."""
        text, body = "", event.body
        if isinstance(body, RunOpened) and self.plan.mode == "test-failover":
            self.zero = event.at
        elif isinstance(body, StepStarted):
            text = self._paused(event.at, self.plan.step(body.step))
        elif isinstance(body, GateAnswered):
            text = self._answered(body)
        elif isinstance(body, StepEnded) and body.status == "succeeded":
            text = self._ended(event.at, body)
        if not text or text in self.said:  # of two servers in one network, and of what is looked at again
            return None
        self.said.add(text)
        return Said(self._moment(event.at), text)

    def _moment(self, at: datetime) -> str:
        if self.zero is None:
            return "before"
        return f"+{(at - self.zero).total_seconds():.1f} s"

    def _paused(self, at: datetime, step: Step) -> str:
        """Say that a planned pause begins, with the first service that is stopped."""
        if self.plan.mode != "failback" or self.zero is not None or not isinstance(step.run, STOPS):
            return ""
        self.zero = at
        longest = format_target(self.scene.drill.pause_s)
        return f"Now they move: from here on people are without them, for {longest} at most as announced."

    def _answered(self, gate: GateAnswered) -> str:
        asked = self.plan.step(gate.step).gate
        if asked is None:
            return ""
        question = asked.ask.rstrip().removesuffix("Go on?").rstrip()
        return f"Here a person is asked: “{question}” In this exercise the demo says {gate.answer}."

    def _ended(self, at: datetime, end: StepEnded) -> str:
        step = self.plan.step(end.step)
        if isinstance(step.run, FailSite):
            self.zero = at
        summary = end.outcome.summary if end.outcome else ""
        return self._people(step) or self._what_changed(step, end) or _proof(step, summary)

    def _people(self, step: Step) -> str:
        """What clients have to do with a step."""
        match step.run:
            case StartWitness():
                does = "pay and to read receipts" if self._pays else "ask for pages"
                return f"The client begins to {does}, as people do: by name, over the network."
            case AwaitGood() if self.zero is None:
                return "All is well: the client gets a good answer every time."
            case AwaitGood():
                return (
                    f"The client gets good answers again, {step.run.count} in a row. How long it was out is "
                    "counted at the end, from every answer that it got."
                )
            case FailSite(site=site):
                nobody = "Nobody can pay." if self._pays else "Nobody gets an answer."
                return f"{self.scene.title(site)} is without power, its network with it. {nobody}"
            case AwaitFailed():
                return (
                    "The client's answers fail: that is the alarm. Mainstay does nothing of its own accord."
                )
            case ProveRefused(server=server):
                old = "the old database" if self._of_database(step) else f"the old {server}"
                return f"The client tries to reach {old}, and is refused. Now it is proved shut out."
            case _:
                return ""

    def _what_changed(self, step: Step, end: StepEnded) -> str:
        match self.plan.mode:
            case "test-failover":
                return copied(step, end)
            case "failback":
                return returned(step, end, self.scene)
            case _:
                return self._shut_out(step) or lost(step, self.scene)

    def _shut_out(self, step: Step) -> str:
        match step.run:
            case PowerOffServer(host=host):
                return self._fence(self._old(step, host), "switched off, and stays off when power returns")
            case BlockServer(host=host):
                return self._fence(
                    self._old(step, host), "cut off the network, and stays so when the site is back"
                )
            case _:
                return ""

    def _of_database(self, step: Step) -> bool:
        service = self.scene.catalog.services.get(step.service or "")
        return service is not None and isinstance(service.strategy, PostgresqlStandby)

    def _old(self, step: Step, host: str) -> str:
        return "The old database server" if self._of_database(step) else f"The old {host}"

    def _fence(self, old: str, how: str) -> str:
        """One of two fences, whichever is made first."""
        self.fenced.append(old)
        both = [one for one in self.fenced if self.fenced.count(one) == 2]
        again = " One fence may fail, so there are two." if both == [old, old] else ""
        return f"{old} is {how}.{again}"


def _proof(step: Step, summary: str) -> str:
    """What is looked at when people are served again."""
    match step.run:
        case RunChecks():
            return f"Good answers are not yet right ones: {summary}."
        case ListWrites():
            return "Every payment that the client was told is done is looked for in the database."
        case _:
            return ""
