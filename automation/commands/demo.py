"""The whole story in one command: a city loses its data centre and comes back, measured."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import TYPE_CHECKING

from invoke import Context

from automation.commands._command import ROOT, command, progress

if TYPE_CHECKING:
    from automation.commands._session import Session
    from automation.commands._story import Said, Scene
    from automation.model.environment import Environment
    from automation.model.plan import Plan
    from automation.model.records import Event
    from automation.recovery.report import Report

ENVIRONMENT = "lab"
DRILL, SECOND = "site-loss", "region-loss"
IMAGES = "portal-images"  # of which the portal is launched in the other region
PLAIN_WIDTH = 100
# Longer lines are hard to read, however wide the terminal is.
WIDEST = 110


@command(
    help={
        "keep": "Leave the city running afterwards; ./inv lab.down --env lab removes it.",
        "json": "Print the report as JSON on stdout.",
    },
    leaves="perhaps parts of the lab; ./inv lab.down --env lab removes them",
)
def demo(context: Context, keep: bool = False, json: bool = False) -> None:
    """Build a small city on this machine, lose its data centre, recover, report, and remove it.

    Then a region of its cloud is lost, too; what stands for its cloud is simulated, and the report says so.

    Told as a story on stderr; the result is on stdout.
    Exit codes: 0 objectives met, 4 refused (not root, a lab is up already, or this machine lacks
    something), 5 stopped part-way, 6 objectives or checks not met, 7 another makes or removes the lab.
    """
    from automation.commands._servers import build_images, refuse_running_lab, require_machine
    from automation.commands._session import open_session
    from automation.commands.lab import hold_lab, take_down

    took: dict[str, float] = {}
    wings = _Wings()
    with (
        open_session(ENVIRONMENT, say=wings.hear, narrow=_without_backups) as session,
        hold_lab(session.state, "demo"),
    ):
        refuse_running_lab(session)
        require_machine(session)
        scene = _set_scene(session)
        with _timed(took, "image"):
            build_images(session)
        try:  # whatever lab is there from here on is this demo's own
            report = _play(session, scene, took, json=json)
        finally:
            if not keep:
                with _timed(took, "removal"):
                    take_down(ENVIRONMENT)
        _end(session, scene, report, took, kept=keep)


def _without_backups(environment: "Environment") -> "Environment":
    """Leave out what keeps the city's own backups: the story is another one."""
    lab = environment.require_lab()
    kept = {name: one for name, one in lab.simulators.items() if one.kind != "object-store"}
    inventory = tuple(source for source in environment.inventory if source != "backup_hosts.yml")
    update = {"inventory": inventory, "lab": lab.model_copy(update={"simulators": kept})}
    return environment.model_copy(update=update)


class _Wings:
    """Hears what runs say between their events; tells how an image is built, and which play is on."""

    def __init__(self) -> None:
        self._play = ""

    def hear(self, text: str) -> None:
        step, _, rest = text.strip().partition(": ")
        play, _, task = rest.partition(": ")
        if step.startswith("image"):
            progress(text)
        elif step == "converge" and task and play != self._play:
            self._play = play
            progress(f"{'':13}{play} ...")


def _scene(session: "Session", drill: str) -> "Scene":
    from automation.commands._story import Scene
    from automation.model.catalog import load_catalog
    from automation.recovery.spec import load_drill

    catalog = load_catalog(session.environment.folder / "services.yml")
    return Scene(session.environment, session.inventory, catalog, load_drill(ROOT, drill))


def _set_scene(session: "Session") -> "Scene":
    from automation.commands._story import opening

    scene = _scene(session, DRILL)
    _head("Mainstay: a city loses its data centre, then a region of its cloud")
    _tell(opening(scene))
    return scene


def _play(session: "Session", scene: "Scene", took: dict[str, float], *, json: bool) -> "Report":
    from automation.commands._onlooker import Story
    from automation.commands._servers import bring_up, converge_servers

    quietly = Story(tell=lambda event: (), view_stays=False)
    _head(
        "1 of 4: the city is built, as containers with a system of their own, and what stands for its cloud"
    )
    with _timed(took, "boot"):
        bring_up(session, story=quietly)
    _head("2 of 4: its servers get their roles, by Ansible")
    with _timed(took, "converge"):
        converge_servers(session, story=quietly)
    _save_images(session)
    _head(f"3 of 4: {scene.drill.title}")
    with _timed(took, "drill"):
        report = _drill(session, scene, DRILL, json=json)
    second = _scene(session, SECOND)
    _head(f"4 of 4: {second.drill.title}")
    # For a program, the result on stdout is one report.
    with _timed(took, "second drill"), redirect_stdout(sys.stderr) if json else nullcontext():
        _drill(session, second, SECOND, json=False)
    return report


def _drill(session: "Session", scene: "Scene", name: str, *, json: bool) -> "Report":
    from automation.commands._drill import run_drill
    from automation.commands._onlooker import Story
    from automation.commands._story import Teller, set_lines

    def story(plan: "Plan") -> Story:
        teller = Teller(plan, scene)

        def tell(event: "Event") -> Sequence[str]:
            said = teller(event)
            return set_lines(said, _width()) if said else ()

        return Story(tell)

    return run_drill(session, name, json=json, story=story)


def _save_images(session: "Session") -> None:
    """Save what the portal will be launched from, and copy it to the other region."""
    from automation.commands._taking import TakeFlags, back_up, raise_failed

    result, _ = back_up(session, TakeFlags(IMAGES, False, False, ""))
    raise_failed(result, session.environment.name)


def _end(session: "Session", scene: "Scene", report: "Report", took: dict[str, float], *, kept: bool) -> None:
    from automation.commands._story import meaning, next_acts

    _head(f"What it means: {report.verdict}")
    _tell(meaning(report))
    _head("Go on")
    page = session.state / "runs" / report.run_id / "report.html"
    acts = next_acts(ENVIRONMENT, report.run_id, scene, kept=kept)
    for act, gives in [
        (str(page), "the report: one page, for a browser, that asks nothing of a network"),
        *acts,
    ]:
        progress(f"  {act}\n      {gives}")
    words = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in took.items())
    progress(f"\ntook {sum(took.values()):.0f} s: {words}")


def _head(text: str) -> None:
    bold, plain = ("\033[1m", "\033[0m") if sys.stderr.isatty() else ("", "")
    progress(f"\n{bold}{text}{plain}")


def _tell(told: Sequence["Said"]) -> None:
    from automation.commands._story import set_lines

    for said in told:
        for line in set_lines(said, _width()):
            progress(line)


def _width() -> int:
    try:
        return min(WIDEST, os.get_terminal_size(sys.stderr.fileno()).columns)
    except OSError:
        return PLAIN_WIDTH


@contextmanager
def _timed(took: dict[str, float], name: str) -> Iterator[None]:
    began = time.monotonic()
    try:
        yield
    finally:
        took[name] = time.monotonic() - began
