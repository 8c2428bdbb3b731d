"""The README's pictures: a moment of a real drill, a city's plan, the first screen of the drill's report.

The same run gives the same pictures: what is drawn is its journal, its probes and its report.
"""

import fcntl
import os
import pty
import shutil
import struct
import subprocess
import tempfile
import termios
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from automation.commands._command import ROOT
from automation.commands._onlooker import live_of, words_of
from automation.commands._probes import ProbeReader
from automation.commands._report import make_report
from automation.commands._runs import run_folder
from automation.commands._session import Session
from automation.engine.journal import read_journal
from automation.engine.run import read_plan
from automation.model.actions import AwaitGood, Promote
from automation.model.errors import AutomationError, ConfigError, PreflightError
from automation.model.plan import Plan
from automation.model.records import Event, StepEnded, StepStarted

WIDTH = 100
CELL_S = 0.5
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER_WITHIN_S = 120.0
SCREEN = (1000, 680)
SCALE = 1.5
SCHEMES = {"light": "1", "dark": "0"}
SHOWN_PLAN = (
    *("dr.plan", "--env", "example-city", "--plan", "everything"),
    *("--site", "civic-centre", "--mode", "walkthrough"),
)
PLAN_LINES = 43


def make_pictures(session: Session, run_id: str, to: Path) -> list[Path]:
    """Write every picture into a folder; those that are there are replaced.

    Args:
        run_id: a drill that recovered; without it, the newest.

    Raises:
        ConfigError: there is no such drill, or it kept no probes.
        PreflightError: no browser is here; nothing was written.
    """
    browser = find_browser()
    folder = run_folder(session.environment.name, run_id or newest_drill(session.state))
    live = draw_live(session, folder)
    pictures = {"live.svg": live, "plan.svg": draw_plan()}
    to.mkdir(parents=True, exist_ok=True)
    for name, content in pictures.items():
        (to / name).write_text(content, encoding="utf-8")
    return [*(to / name for name in pictures), *_photograph(session, folder, browser, to)]


def find_browser() -> str:
    """Give the program that draws pages.

    Raises:
        PreflightError: there is none.
    """
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        raise PreflightError(
            f"no browser that draws pages is here (looked for {', '.join(BROWSERS)}); nothing was written",
            hint="install chromium; the pictures of terminals need it not, but all are made in one go",
        )
    return found


def newest_drill(state: Path) -> str:
    """Name the newest drill in which clients were seen to be served again.

    Raises:
        ConfigError: there is none.
    """
    for path in sorted((state / "runs").glob("*/progress.probes"), reverse=True):
        with suppress(AutomationError, OSError, ValueError):
            moment_of(read_plan(path.parent), tuple(read_journal(path.parent / "journal.jsonl")))
            return path.parent.name
    raise ConfigError(
        "no drill that recovered is kept here; nothing was written", hint="./inv demo makes one"
    )


def draw_live(session: Session, folder: Path) -> str:
    """Draw the live view of a run as it was when its standby had just been promoted."""
    from automation.commands._render_live import strip_cells
    from automation.commands._render_pictures import live_svg

    plan, environment = read_plan(folder), session.environment
    events = tuple(read_journal(folder / "journal.jsonl"))
    moment = moment_of(plan, events)
    live = live_of(plan, environment)
    for event in events:
        if event.at <= moment:
            live.add(event)
    live.see(probe for probe in ProbeReader(folder).new() if probe.at_s <= moment.timestamp())
    view = live.at(moment, cells=strip_cells(WIDTH), cell_s=CELL_S)
    title = f"./inv dr.drill --env {environment.name} --drill {plan.name}"
    return live_svg(view, words_of(plan, environment, folder), title, width=WIDTH)


def moment_of(plan: Plan, events: Sequence[Event]) -> datetime:
    """Choose the moment that shows most: clients are still out, and are just being served again.

    Raises:
        ConfigError: the run promoted nothing, or clients were not seen to be served.
    """
    promoted = [step.id for step in plan.steps if isinstance(step.run, Promote)]
    started = {one.body.step: one.at for one in events if isinstance(one.body, StepStarted)}
    ended = {one.body.step: one.at for one in events if isinstance(one.body, StepEnded)}
    for step in reversed(plan.steps):
        if isinstance(step.run, AwaitGood) and step.id in ended and any(one in ended for one in promoted):
            return started[step.id] + (ended[step.id] - started[step.id]) / 2
    raise ConfigError("this run promoted nothing before clients' eyes; nothing was written")


def draw_plan() -> str:
    """Draw the beginning of a whole city's plan, as dr.plan shows it on a terminal."""
    from automation.commands._render_pictures import screen_svg

    shown = _on_a_terminal([str(ROOT / "inv"), *SHOWN_PLAN])
    return screen_svg(
        "\n".join(shown.splitlines()[:PLAN_LINES]), f"./inv {' '.join(SHOWN_PLAN)}", width=WIDTH
    )


def _on_a_terminal(argv: Sequence[str]) -> str:
    """Give what a command shows on a terminal of a known width.

    Raises:
        AutomationError: it failed.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, WIDTH, 0, 0))
    environ = {**os.environ, "TERM": "xterm-256color"} | {"COLUMNS": str(WIDTH)}
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL, env=environ
    ) as running:
        os.close(theirs)
        shown = _read(ours)
    os.close(ours)
    if running.returncode:
        raise AutomationError(f"{' '.join(argv)} ended with {running.returncode}; nothing was written")
    return shown


def _read(terminal: int) -> str:
    found = bytearray()
    with suppress(OSError):  # how a terminal ends when nobody writes to it any more
        while content := os.read(terminal, 65536):
            found += content
    return found.decode(errors="replace").replace("\r\n", "\n")


def _photograph(session: Session, folder: Path, browser: str, to: Path) -> list[Path]:
    """Draw the first screen of a run's report, light and dark."""
    from automation.commands._report_page import render_html

    made = []
    with tempfile.TemporaryDirectory(prefix="mainstay-pictures-") as scratch:
        page = Path(scratch) / "report.html"
        page.write_text(render_html(make_report(session, folder)), encoding="utf-8")
        for name, scheme in SCHEMES.items():
            picture = Path(scratch) / f"report-{name}.png"
            _run_browser(browser, scheme, page, picture)
            made.append(to / picture.name)
            shutil.copyfile(picture, made[-1])
    return made


def _run_browser(browser: str, scheme: str, page: Path, picture: Path) -> None:
    width, height = SCREEN
    argv = [
        *(browser, "--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
        *(["--no-sandbox"] if os.geteuid() == 0 else []),  # a page of our own; root may not have one
        f"--user-data-dir={page.parent / 'profile'}",
        f"--blink-settings=preferredColorScheme={scheme}",
        f"--force-device-scale-factor={SCALE}",
        f"--window-size={width},{height}",
        f"--screenshot={picture}",
        page.as_uri(),
    ]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=BROWSER_WITHIN_S)
    except subprocess.TimeoutExpired as exc:
        raise AutomationError(f"{browser} drew no page in {BROWSER_WITHIN_S:g} s") from exc
    if not picture.is_file():
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise AutomationError(f"{browser} drew no page: {last}")
