"""Commands for those who work on Mainstay: lint, schemas and test."""

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING

from invoke import Context

from automation.commands._command import ENV_HELP, ROOT, command, progress
from automation.model.errors import ConfigError, NotMet

if TYPE_CHECKING:
    from automation.commands._session import Session

SCHEMAS = ROOT / "schemas"
_BIN = Path(sys.prefix) / "bin"
_YAML_FOLDERS = ("inventories", "playbooks")
_LINTERS: Mapping[str, Sequence[str]] = {
    "ruff format": ("ruff", "format", "--check", "--quiet", "."),
    "ruff check": ("ruff", "check", "--quiet", "."),
    "mypy": ("mypy", "--no-error-summary"),
    "ansible-lint": ("ansible-lint", "--offline", "--nocolor", "-q", *_YAML_FOLDERS),
}
ROUND_TRIP = "round-trip"


@command(help={})
def lint(context: Context) -> None:
    """Check format, lint, types and playbooks of this checkout; changes nothing.

    Exit codes: 0 no finding, 6 findings.
    """
    with ExitStack() as stack:
        begun = [
            (name, *_begin(words, stack.enter_context(tempfile.TemporaryFile())))
            for name, words in _LINTERS.items()
        ]
        found = [name for name, process, said in begun if not _passes(name, process, said)]
    if found:
        raise NotMet(f"findings of {', '.join(found)}", hint="they stand above, under each tool's name")


@command(help={"to": "The folder to write to; without it, schemas/ of this checkout."}, leaves="whole files")
def schemas(context: Context, to: str = "") -> None:
    """Write a JSON Schema of every kind of file that people write, for editors.

    Exit codes: 0 written, or as they were already.
    """
    from automation.commands._schemas import FILES, write_schemas

    folder = Path(to) if to else SCHEMAS
    changed = write_schemas(folder)
    for path in changed:
        print(path)
    progress(f"{folder}: {len(FILES)} schemas, {len(changed)} written")


@command(
    help={
        "only": "One suite: unit (no root), programs (real ones, no lab), lab or backups (in labs, as root)."
    },
    leaves="if the lab suite was cut short, a test lab; lab.status and lab.down deal with it",
)
def test(context: Context, only: str = "") -> None:
    """Run the unit suite, then the two lab suites and the one of real programs side by side.

    The lab suites make labs of their own and take them down again; what runs beside `lab` is shown when it
    has ended.

    Exit codes: 0 all passed, 6 a test failed, a suite could not run or had no test.
    """
    from automation.commands._suites import SUITES, run_suites

    if only and only not in SUITES:
        known = ", ".join(SUITES)
        raise ConfigError(f"--only {only} is no suite; nothing was run", hint=f"--only is one of: {known}")
    started = time.monotonic()
    verdicts = run_suites([only] if only else list(SUITES))
    for suite, (verdict, seconds) in verdicts.items():
        progress(f"{suite:8} {seconds:7.1f} s  {verdict}")
    progress(f"{'all':8} {time.monotonic() - started:7.1f} s")
    faulty = [f"{suite}: {verdict}" for suite, (verdict, _) in verdicts.items() if verdict != "passed"]
    if faulty:
        raise NotMet(
            "; ".join(faulty), hint="./inv test --only unit|programs|lab|backups runs one suite alone"
        )


@command(
    help={
        "env": ENV_HELP,
        "drill": "Drills of drtests/drills/, without .yml, comma between; with --checker also "
        "failover-power-loss, failover-wan-partition, failover-dark-site, standby-copy, or all of them: all. "
        "Or round-trip: there and back so many times in one lab, under the checker.",
        "times": "How many of each.",
        "checker": "Write to both databases from every network meanwhile, and see that no two take writes.",
        "kill": "Kill the controller at a random moment of each drill, then resume; with --checker.",
        "seed": "Chooses the kills; a new one is drawn and printed if none is given.",
        "watch": "With --checker: seconds to try the old primary after everything is healed.",
        "keep": "Leave the lab up afterwards.",
    },
    leaves="perhaps the lab; ./inv lab.down --env lab removes it",
)
def campaign(
    context: Context,
    env: str,
    drill: str,
    times: int = 20,
    checker: bool = False,
    kill: bool = False,
    seed: int = 0,
    watch: int = 60,
    keep: bool = False,
) -> None:
    """Run drills many times in a lab of their own and keep the results in bench/results.

    Exit codes: 0 every drill held, 2 faulty words, 4 refused (a lab is up already), 5 stopped part-way,
    6 one did not, 7 another command makes or removes the lab.
    """
    from automation.commands._servers import refuse_running_lab
    from automation.commands._session import open_session
    from automation.commands.lab import hold_lab, take_down

    if kill and not checker and drill != ROUND_TRIP:
        raise ConfigError(
            "--kill without --checker would see too little; nothing was run",
            hint=f"./inv dev.campaign --env {env} --drill {drill} --checker --kill",
        )
    with open_session(env) as session, hold_lab(session.state, "dev.campaign"):
        refuse_running_lab(session)
        if drill == ROUND_TRIP:
            run = _round_trips(session, kill, seed)
        else:
            run = _checked(session, drill, kill, seed, watch) if checker else _plain(session, drill)
        try:  # whatever lab is there from here on is this campaign's own
            run(times)
        finally:
            if not keep:
                take_down(env)


@command(
    help={"to": "The archive to write, for example mainstay.tar; it must not exist."},
    leaves="no archive, or a whole one",
)
def bundle(context: Context, to: str) -> None:
    """Pack this repository's last commit with all its Python packages, for machines without a network.

    Exit codes: 0 written, 2 the archive exists or cannot be written, 4 a package could not be fetched.
    """
    from automation.commands._bundle import make_bundle

    made = make_bundle(Path(to))
    size = f"{made.size_bytes / 1e6:.0f} MB"
    print(f"{to}: commit {made.commit[:12]}, {made.wheels} wheels, {size}, sha256 {made.sha256}")


@command(
    help={
        "env": ENV_HELP,
        "to": "The folder to write to, for example docs/pictures; pictures that are there are replaced.",
        "run": "A drill that recovered; without it, the newest.",
    },
    leaves="perhaps some pictures of an older run",
)
def pictures(context: Context, env: str, to: str, run: str = "") -> None:
    """Make the README's pictures from a real drill: its live view, its report, and a city's plan.

    The report is drawn by Chromium without a window.
    Exit codes: 0 written, 1 the browser failed, 2 no such drill, 4 no browser is here: nothing was written.
    """
    from automation.commands._pictures import make_pictures
    from automation.commands._session import open_session

    with open_session(env) as session:
        for path in make_pictures(session, run, Path(to)):
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


@command(help={})
def completion(context: Context) -> None:
    """Print the completion of commands, flags, environments, drills and runs for bash and zsh.

    Exit codes: 0 printed.
    """
    print((ROOT / "templates/completion/inv.bash").read_text(), end="")


def _round_trips(session: "Session", kill: bool, seed: int) -> Callable[[int], object]:
    from automation.commands._round_trip import How, new_seed, run_round_trips

    how = How(seed=seed or new_seed(), kill=kill)
    return lambda times: run_round_trips(session, times, how)


def _plain(session: "Session", drills: str) -> Callable[[int], object]:
    from automation.commands._campaign import run_campaign

    names = tuple(name.strip() for name in drills.split(","))
    return lambda times: run_campaign(session, names, times)


def _checked(session: "Session", names: str, kill: bool, seed: int, watch: int) -> Callable[[int], object]:
    """Choose what runs under the checker, before anything is touched."""
    from automation.commands._checked_campaign import Checked, run_checked_campaign
    from automation.commands._scenarios import choose_scenarios
    from automation.commands._watch import find_databases

    scenarios = choose_scenarios(names, site=find_databases(session.environment).site)
    how = Checked(seed=seed or secrets.randbelow(1_000_000) + 1, kill=kill, watch_s=watch)
    return lambda times: run_checked_campaign(session, scenarios, times, how)


def _begin(words: Sequence[str], said: IO[bytes]) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """Start a program of our environment in the checkout; it says everything into a file."""
    path = os.pathsep.join([str(_BIN), os.environ.get("PATH", os.defpath)])
    argv, environ = [str(_BIN / words[0]), *words[1:]], {**os.environ, "PATH": path}
    return subprocess.Popen(argv, cwd=ROOT, env=environ, stdout=said, stderr=subprocess.STDOUT), said


def _passes(name: str, process: subprocess.Popen[bytes], said: IO[bytes]) -> bool:
    """Await a linter and show what it found."""
    progress(f"--- {name}")
    code = process.wait()
    said.seek(0)
    sys.stdout.flush()
    sys.stdout.buffer.write(said.read())
    sys.stdout.flush()
    progress(f"    {'ok' if code == 0 else f'findings, exit code {code}'}")
    return code == 0
