"""A drill told as a story, for people who see one for the first time. Pure.

What is said follows from the declarations and from what the run's events say; no number stands here.
"""

import re
import textwrap
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from automation.model.actions import (
    AwaitFailed,
    AwaitGood,
    BlockServer,
    CreateInstance,
    Declare,
    FailSite,
    ListWrites,
    PowerOffServer,
    PowerOnVm,
    Promote,
    PromoteReplica,
    ProveRefused,
    RegisterReplica,
    RunChecks,
    StartUnit,
    StartWitness,
    SwapAddress,
)
from automation.model.base import format_duration
from automation.model.catalog import Catalog, PostgresqlStandby, Service
from automation.model.environment import Environment, Inventory
from automation.model.plan import Plan, Step
from automation.model.records import Event, StepEnded
from automation.recovery.report import Report
from automation.recovery.report_words import format_target
from automation.recovery.spec import Drill

LABEL = 11
NARROWEST = 50
# A number and its unit stay on one line; the space that holds them is no white space to textwrap.
_HELD = "\N{NO-BREAK SPACE}"
_QUANTITY = re.compile(r"(\d) (ms|s|min|h|d)\b")


class Scene(NamedTuple):
    """What the story is about."""

    environment: Environment
    inventory: Inventory
    catalog: Catalog
    drill: Drill

    @property
    def lost(self) -> Mapping[str, Service]:
        """The services of the site that will be lost, those that others stand on first."""
        chosen = {n: one for n, one in self.catalog.services.items() if one.primary == self.drill.site}
        return dict(sorted(chosen.items(), key=lambda item: item[1].tier))

    def title(self, site: str) -> str:
        """Name a site as people do."""
        return self.catalog.sites[site].title


class Said(NamedTuple):
    """One paragraph, with the word or the moment that stands before it."""

    label: str
    text: str


def set_lines(said: Said, width: int) -> list[str]:
    """Break a paragraph into lines, with its label beside the first."""
    room = max(NARROWEST, width) - LABEL - 2
    text = _QUANTITY.sub(f"\\1{_HELD}\\2", said.text)
    wrapped = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
    lines = [line.replace(_HELD, " ") for line in wrapped]
    labels = [f"{said.label:>{LABEL}}", *[" " * LABEL] * (len(lines) - 1)]
    return [f"{label}  {line}" for label, line in zip(labels, lines, strict=True)]


def opening(scene: Scene) -> list[Said]:
    """Say what the city is, who its people are, what was promised and what will happen."""
    services = list(scene.lost.values())
    here, there = scene.title(scene.drill.site), scene.title(services[0].recovery)
    lab, beat_s = scene.environment.require_lab(), scene.environment.witness.beat_s
    hosts = len(scene.inventory.standing)
    promises = [
        f"{one.title}: back within {format_target(one.rto_s)} (RTO), with all but the last "
        f"{format_target(one.rpo_s)} of what came in (RPO)"
        for one in services
    ]
    return [
        Said(
            "The city",
            f"{hosts} small servers on this machine stand for two sites, {here} and {there}, and for a "
            f"computer of the people outside of both. A round trip between sites takes {_ms(lab.wan_rtt_s)}.",
        ),
        Said(
            "Its people",
            f"They pay their bills. That needs {' and '.join(one.title for one in services)}, which run at "
            f"{here}. The other site has a copy of the database that follows a moment behind, and a payments "
            "service that is switched off.",
        ),
        Said("Promised", f"{'. '.join(promises)}."),
        Said(
            "Today",
            f"{here} loses power while people pay. Mainstay brings them back at {there}, and sees to it that "
            f"never two databases take payments. A client that pays and reads every {_ms(beat_s)} measures "
            "how long people are out, and whether a payment that they were told is done is lost.",
        ),
    ]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:g} ms"


class Teller:
    """Says what each event of the drill means; most say nothing. Moments count from the power cut."""

    def __init__(self, plan: Plan, scene: Scene) -> None:
        self.plan, self.scene = plan, scene
        self.broken_at: datetime | None = None
        self.fenced: list[str] = []
        self._pays = any(isinstance(one.strategy, PostgresqlStandby) for one in scene.lost.values())

    def __call__(self, event: Event) -> Said | None:
        """Give what is to be told of an event, if anything."""
        body = event.body
        if not isinstance(body, StepEnded) or body.status != "succeeded":
            return None
        step = self.plan.step(body.step)
        if isinstance(step.run, FailSite):
            self.broken_at = event.at
        summary = body.outcome.summary if body.outcome else ""
        text = self._people(step) or self._recovery(step) or self._clouds(step) or _proof(step, summary)
        return Said(self._moment(event.at), text) if text else None

    def _moment(self, at: datetime) -> str:
        if self.broken_at is None:
            return "before"
        return f"+{(at - self.broken_at).total_seconds():.1f} s"

    def _people(self, step: Step) -> str:
        """What clients and the one who decides have to do with a step."""
        match step.run:
            case StartWitness():
                does = "pay and to read receipts" if self._pays else "ask for pages"
                return f"The client begins to {does}, as people do: by name, over the network."
            case AwaitGood() if self.broken_at is None:
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
            case Declare():
                return (
                    "The site is declared lost. That is for a person to say, because two sites cannot tell a "
                    "neighbour that is dead from a line that is cut; in this exercise the drill says it."
                )
            case _:
                return ""

    def _recovery(self, step: Step) -> str:
        """What a step changes."""
        match step.run:
            case PowerOffServer(host=host):
                return self._fence(self._old(step, host), "switched off, and stays off when power returns")
            case BlockServer(host=host):
                return self._fence(
                    self._old(step, host), "cut off the network, and stays so when the site is back"
                )
            case ProveRefused(server=server):
                old = "the old database" if self._of_database(step) else f"the old {server}"
                return f"The client tries to reach {old}, and is refused. Now it is proved shut out."
            case Promote(host=host):
                return f"Only now the copy on {host} becomes the database that takes payments."
            case StartUnit(host=host):
                return f"The payments service that was switched off is started on {host}."
            case SwapAddress(name=name):
                return f"The name {name} leads there now."
            case _:
                return ""

    def _clouds(self, step: Step) -> str:
        """What a step changes at a vCenter or at AWS."""
        match step.run:
            case RegisterReplica(host=host, site=site):
                return f"The replica of {host} is known at {self.scene.title(site)} now."
            case PowerOnVm(host=host):
                return f"Only now the replica of {host} is powered on."
            case PromoteReplica(database=name):
                return f"Only now the copy {name} becomes a database of its own."
            case CreateInstance(host=host):
                return f"{host} is launched from the newest image, and runs."
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


def meaning(report: Report) -> list[Said]:
    """Say what was measured and what it means, in the words of the report's first page."""
    found = []
    for row in report.services:
        if row.outage.rta_s is not None:
            out = f"out for {format_duration(row.outage.rta_s)}; promised: {format_target(row.rto_s)}"
            found.append(Said("Measured", f"{row.title}: {out}."))
    wanted = {"What was lost?": "Lost", "Was it safe?": "Safe?"}
    for one in report.answers:
        if one.question in wanted:
            allowed = _allowed(report) if one.question == "What was lost?" else ""
            found.append(Said(wanted[one.question], one.text + allowed))
    found.append(
        Said(
            "Not shown",
            "All servers of this city share one machine and its kernel. This shows order, times, fences and "
            "data; it does not show that a disk keeps what it was told when its power goes.",
        )
    )
    return found


def _allowed(report: Report) -> str:
    """What the promise says of a loss, if there is one."""
    if not any(row.loss.missing for row in report.services):
        return ""
    longest_s = max(row.rpo_s for row in report.services)
    return f" What came in within {format_target(longest_s)} before the loss may be lost (RPO)."


class Act(NamedTuple):
    """A command to go on with, and what it is for."""

    command: str
    gives: str


def next_acts(env: str, run_id: str, scene: Scene, *, kept: bool) -> list[Act]:
    """Name commands to go on with; of a city that was kept, those that look around in it."""
    here = f"--env {env}"
    if not kept:
        city = "./inv dr.plan --env example-city --plan everything --site civic-centre --mode walkthrough"
        return [
            Act(f"./inv run.logs {here} --run {run_id}", "all that it did, event by event"),
            Act("./inv demo --keep", "the same, and the city stays, to look around and to break more of it"),
            Act(city, "how a whole city would come back, wave by wave; nothing is run"),
        ]
    standing = [one for one in scene.lost.values() if isinstance(one.strategy, PostgresqlStandby)]
    hosts = [host for one in standing for host in one.hosts_at(one.recovery)]
    heal = f"./inv lab.heal {here} --fault power-loss --site {scene.drill.site}"
    return [
        Act(f"./inv dr.status {here}", "where everything runs now, and which servers are fenced"),
        Act(f"./inv lab.ssh {here} --host {hosts[0]}", "a shell on the server that has the database now"),
        Act(heal, f"power returns; then ./inv dr.drill {here} --drill failback leads home"),
        Act(f"./inv lab.down {here}", "removes the city"),
    ]
