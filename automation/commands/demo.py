"""The whole story in one command: a city rehearses, loses its data centre and a region, and comes home."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import TYPE_CHECKING

from invoke import Context

from automation.commands._command import ROOT, command, print_json, progress
from automation.model.errors import AutomationError, NotMet

if TYPE_CHECKING:
    from automation.commands._demo_result import DemoResult
    from automation.commands._session import Session
    from automation.commands._story import Said, Scene
    from automation.model.environment import Environment
    from automation.recovery.report import Report

ENVIRONMENT = "lab"
# A way home begins when its site is well again.
DRILLS = (
    "gis-test-failover",
    "portal-test-failover",
    "site-loss",
    "failback",
    "region-loss",
    "region-failback",
)
MAIN = "site-loss"  # whose services the story begins with
ACTS = 2 + len(DRILLS)
SAVED = "portal-images,portal-db"  # of which the portal comes up in the other region
LAG_TOLD_S = 5.0  # AWS tells it once a minute: two of those are not waited for here, and that is told
PLAIN_WIDTH = 100
# Longer lines are hard to read, however wide the terminal is.
WIDEST = 110


@command(
    help={
        "keep": "Leave the city running afterwards; ./inv lab.down --env lab removes it.",
        "json": "Print an object on stdout: verdict, took_s, and reports, one of each drill in order.",
    },
    leaves="perhaps parts of the lab; ./inv lab.down --env lab removes them",
)
def demo(context: Context, keep: bool = False, json: bool = False) -> None:
    """Build a small city here, lose its data centre, then a region, bring all home, report, and remove it.

    Two test failovers on copies, two losses and two ways home; what stands for VMware and AWS is simulated,
    and each report says so. Gates that ask a person are answered with yes, and that is told.

    Told as a story on stderr; results are on stdout. A drill that misses an objective ends nothing; one that
    stops or fails does, and the city is removed all the same.
    Exit codes: 0 objectives met, 4 refused (not root, a lab is up already, or this machine lacks
    something), 5 stopped part-way, 6 objectives or checks not met, 7 another makes or removes the lab,
    8 a person must look.
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
        # For a program, the one result on stdout is the object at the end.
        with redirect_stdout(sys.stderr) if json else nullcontext():
            try:  # whatever lab is there from here on is this demo's own
                reports = _play(session, took)
            except (AutomationError, KeyboardInterrupt) as exc:
                _tell_what_is_left(exc, list(took)[-1], kept=keep)
                raise
            finally:
                if not keep:
                    with _timed(took, "removal"):
                        take_down(ENVIRONMENT)
        _end(session, scene, _result(reports, took), json=json, kept=keep)


def _tell_what_is_left(exc: AutomationError | KeyboardInterrupt, part: str, *, kept: bool) -> None:
    """Have an error say where it came and what is left of the city: other hints speak of one that stands."""
    if kept:
        left = f"the city stays; ./inv lab.down --env {ENVIRONMENT} removes it"
    else:
        left = f"the city is removed, and its runs can be read: ./inv run.list --env {ENVIRONMENT}"
    if isinstance(exc, KeyboardInterrupt):
        exc.__notes__ = [f"the demo was stopped in: {part}; {left}"]
        return
    useful = f"{exc.hint}; " if exc.hint and (kept or isinstance(exc, NotMet)) else ""
    exc.hint = f"{useful}the demo ended in: {part}; {left}"


def _without_backups(environment: "Environment") -> "Environment":
    """Leave out what keeps the city's own backups, the story is another one; have AWS tell lags soon."""
    from automation.model.simulators import AwsSimulator

    lab = environment.require_lab()
    kept = {
        name: one.model_copy(update={"lag_told_s": LAG_TOLD_S}) if isinstance(one, AwsSimulator) else one
        for name, one in lab.simulators.items()
        if one.kind != "object-store"
    }
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

    scene = _scene(session, MAIN)
    _head("Mainstay: a city loses its data centre and a cloud region, and comes home")
    _tell(opening(scene))
    return scene


def _play(session: "Session", took: dict[str, float]) -> list["Report"]:
    from automation.commands._demo_acts import play_act, quietly
    from automation.commands._servers import bring_up, converge_servers

    _head(f"1 of {ACTS}: the city is built, of containers, with what stands for its cloud")
    with _timed(took, "boot"):
        bring_up(session, story=quietly())
    _head(f"2 of {ACTS}: its servers get their roles, by Ansible, and the portal its first backup")
    with _timed(took, "converge"):
        converge_servers(session, story=quietly())
    with _timed(took, "backup"):
        _save_portal(session)
    reports = []
    for number, name in enumerate(DRILLS, start=3):
        scene = _scene(session, name)
        _head(f"{number} of {ACTS}: {scene.drill.title}")
        with _timed(took, name):
            reports.append(play_act(session, scene, _lines))
    return reports


def _save_portal(session: "Session") -> None:
    """Save what the portal will come up from, and copy it to the other region."""
    from automation.commands._taking import TakeFlags, back_up, raise_failed

    result, _ = back_up(session, TakeFlags(SAVED, False, False, ""))
    raise_failed(result, session.environment.name)


def _result(reports: Sequence["Report"], took: dict[str, float]) -> "DemoResult":
    from automation.commands._demo_result import DemoResult, worst

    seconds = {name: round(seconds, 1) for name, seconds in took.items()}
    return DemoResult(verdict=worst(reports), took_s=seconds, reports=tuple(reports))


def _end(session: "Session", scene: "Scene", result: "DemoResult", *, json: bool, kept: bool) -> None:
    """Print the result, say what it means and what to go on with.

    Raises:
        NotMet: a drill missed an objective, or could not measure it.
    """
    from automation.commands._render_demo import print_demo
    from automation.commands._story import Said, meaning

    _head(f"What it means: {result.verdict}")
    if json:
        print_json(result)
    else:
        print_demo(result)
    progress("")
    _tell(meaning(result.reports))
    _go_on(session, scene, result.reports, kept=kept)
    words = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.took_s.items())
    progress("")
    _tell([Said("Took", f"{sum(result.took_s.values()):.0f} s: {words}.")])
    if result.verdict != "met":
        bad = [one for one in result.reports if one.verdict != "met"]
        told = "; ".join(f"{one.name}: {one.headline}" for one in bad)
        raise NotMet(
            f"{len(bad)} of {len(result.reports)} drills: {told}", hint="their reports are named above"
        )


def _go_on(session: "Session", scene: "Scene", reports: Sequence["Report"], *, kept: bool) -> None:
    from automation.commands._story import next_acts

    _head("Go on")
    progress("Reports, one page each, for a browser, that ask nothing of a network:")
    for report in reports:
        progress(f"  {report.name}\n      {session.state / 'runs' / report.run_id / 'report.html'}")
    main = next(one for one in reports if one.name == MAIN)
    progress("Commands:")
    for act, gives in next_acts(ENVIRONMENT, main.run_id, scene, kept=kept):
        progress(f"  {act}\n      {gives}")


def _head(text: str) -> None:
    bold, plain = ("\033[1m", "\033[0m") if sys.stderr.isatty() else ("", "")
    progress(f"\n{bold}{text}{plain}")


def _tell(told: Sequence["Said"]) -> None:
    for line in (line for said in told for line in _lines(said)):
        progress(line)


def _lines(said: "Said") -> list[str]:
    from automation.commands._story import set_lines

    return set_lines(said, _width())


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
