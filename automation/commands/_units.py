"""The units of systemd that start an environment's jobs, as they should be."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from automation.backups.timetable import ScheduledJob
from automation.commands._command import ROOT
from automation.commands._notify import FOLDER
from automation.model.environment import Environment, state_root
from automation.model.errors import PreflightError
from automation.model.templating import render

# What a unit file takes as it stands, with no quoting and no specifier.
_PLAIN = re.compile(r"[A-Za-z0-9._:/@+,-]+")


class Place(NamedTuple):
    """Where Mainstay and its state lie on this machine."""

    checkout: Path
    state: Path
    chosen: str = ""  # MAINSTAY_STATE, if it is set


def here(environment: Environment) -> Place:
    """Give the checkout and the state folder of this process."""
    return Place(ROOT, state_root() / environment.name, os.environ.get("MAINSTAY_STATE", ""))


def marker(environment: str) -> str:
    """The line by which a unit of an environment is known as ours."""
    return f"Of={environment}"


def unit_of(environment: str, command: str) -> str:
    """Name the unit of a job, without its suffix."""
    return f"mainstay-{environment}-{command.replace('.', '-')}"


def render_units(
    environment: Environment, jobs: Sequence[ScheduledJob], granted: Mapping[str, str], place: Place
) -> dict[str, str]:
    """Give the text of every unit by its name.

    Args:
        granted: job to the name of the standing authorisation that it runs under.

    Raises:
        PreflightError: a path cannot stand in a unit.
    """
    name = environment.name
    for word in (name, str(place.checkout), str(place.state), place.chosen or "-", *granted.values()):
        if not _PLAIN.fullmatch(word):
            raise PreflightError(
                f"{word!r} cannot stand in a unit of systemd; nothing was changed",
                hint="use a path of letters, digits and ._:/@+,- alone",
            )
    known = {"environment": name, "checkout": place.checkout, "state": place.chosen}
    texts = {}
    for job in jobs:
        unit = unit_of(name, job.command)
        values = {**known, "unit": unit, "job": job, "words": _words(environment, job, granted)}
        for suffix in ("service", "timer"):
            texts[f"{unit}.{suffix}"] = _render(f"job.{suffix}", **values)
    for word in ("notify", "well"):
        values = {**known, "told": place.state / FOLDER, "when_told": word == "well"}
        texts[f"mainstay-{name}-{word}@.service"] = _render("tell.service", **values)
    return texts


def _words(environment: Environment, job: ScheduledJob, granted: Mapping[str, str]) -> tuple[str, ...]:
    words = list(job.words)
    if job.command in granted:
        words += ["--authorisation", granted[job.command]]
    if job.command == "backup.status" and environment.metrics:
        words += ["--metrics", str(environment.metrics)]
    return tuple(words)


def _render(template: str, **values: object) -> str:
    return render(ROOT / "templates/systemd", f"{template}.j2", **values)
