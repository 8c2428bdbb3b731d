"""A drill told as a story, for people who see one for the first time. Pure.

What is said follows from the declarations and from what the run's events say; no number stands here.
"""

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from automation.model.catalog import Catalog, PostgresqlStandby, Service
from automation.model.environment import Environment, Inventory
from automation.recovery.report import Answer, Report
from automation.recovery.report_words import format_target, listing
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
            f"They pay bills and look at its map. That needs {listing([one.title for one in services])}, "
            f"which run at {here}. The other site has a copy of the database that follows a moment behind, "
            "copies of the VMs, and a payments service that is switched off.",
        ),
        Said("Promised", f"{'. '.join(promises)}."),
        Said(
            "Today",
            f"First Mainstay rehearses on copies. Then {here} loses power while people pay: it brings them "
            f"back at {there}, sees to it that never two databases take payments, and leads them home when "
            f"{here} is well again. Then the same with a region of the city's cloud. What stands for VMware "
            "and AWS here is simulated; each result says so.",
        ),
        Said(
            "Measured",
            f"A client that pays and reads every {_ms(beat_s)} measures how long people are out, and whether "
            "a payment that they were told is done is lost.",
        ),
    ]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:g} ms"


def meaning(reports: Sequence[Report]) -> list[Said]:
    """Say what was lost and whether it was safe, in the words of each report's first page."""
    found = []
    wanted = {"What was lost?": "Lost", "Was it safe?": "Safe?"}
    for report in reports:
        if report.faults:
            answers = [one for one in report.answers if one.question in wanted]
            found += [Said(wanted[one.question], _told(one, report)) for one in answers]
    found.append(
        Said(
            "Not shown",
            "All servers of this city share one machine and its kernel. This shows order, times, fences and "
            "data; it does not show that a disk keeps what it was told when its power goes. What stands for "
            "VMware and AWS is simulated: it shows that calls, order and checks are right, and not how long "
            "theirs take.",
        )
    )
    return found


def _told(one: Answer, report: Report) -> str:
    allowed = _allowed(report) if one.question == "What was lost?" else ""
    return f"{report.title}: {one.text}{allowed}"


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
            Act(f"./inv run.logs {here} --run {run_id}", "all that it did in that drill, event by event"),
            Act("./inv demo --keep", "the same, and the city stays, to look around and to break more of it"),
            Act(city, "how a whole city would come back, wave by wave; nothing is run"),
        ]
    standing = [one for one in scene.lost.values() if isinstance(one.strategy, PostgresqlStandby)]
    hosts = [host for one in standing for host in one.hosts_at(one.primary)]
    return [
        Act(f"./inv dr.status {here}", "where databases and payments run: they are at home again"),
        Act(f"./inv lab.ssh {here} --host {hosts[0]}", "a shell on the server that has the database now"),
        Act(f"./inv dr.drill {here} --drill {scene.drill.name}", "the data centre is lost once more"),
        Act(f"./inv lab.down {here}", "removes the city"),
    ]
