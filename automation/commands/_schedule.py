"""Putting an environment's jobs on the timers of this machine, and taking them off."""

import difflib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from automation.adapters.timers import Systemd, require_systemd
from automation.backups.spec import load_backups
from automation.backups.timetable import ScheduledJob, plan_jobs
from automation.commands._authorisations import ALL, Standing, list_standing
from automation.commands._baselines import FILE as BASELINE
from automation.commands._command import progress
from automation.commands._session import Session, actor
from automation.commands._units import Place, here, marker, render_units
from automation.engine.control_node import require_control_node
from automation.engine.jobs import JOBS
from automation.engine.lock import hold
from automation.model.environment import Environment
from automation.model.errors import AdapterError, ConfigError, PreflightError, StepFailed

Confirm = Callable[[], bool]
# By the clock of the machine; the delay spreads the load of many control nodes and hypervisors.
AUDIT = ScheduledJob(
    command="baseline.audit",
    words=("--tell",),
    calendar="*-*-* 04:40",
    beat_s=86400.0,
    jitter_s=3600,
    longest_s=4 * 3600,
    authorised=False,
    finds=True,
)


class Change(NamedTuple):
    """What would be done to the units of an environment."""

    units: Path
    have: Mapping[str, str]
    want: Mapping[str, str]
    asleep: tuple[str, ...] = ()  # timers that are as they should be, but wait for nothing

    @property
    def written(self) -> tuple[str, ...]:
        """Units that are new or have another text."""
        return tuple(name for name, text in self.want.items() if self.have.get(name) != text)

    @property
    def deleted(self) -> tuple[str, ...]:
        """Units that no job needs any more."""
        return tuple(name for name in self.have if name not in self.want)

    @property
    def lines(self) -> Iterator[str]:
        """It for people, as a unified diff."""
        for name in (*self.written, *self.deleted):
            path = self.units / name
            before, after = self.have.get(name, ""), self.want.get(name, "")
            yield from difflib.unified_diff(
                before.splitlines(),
                after.splitlines(),
                str(path) if before else "/dev/null",
                str(path) if after else "/dev/null",
                lineterm="",
            )
        for name in self.asleep:
            yield f"enable and start {name}"


def jobs_of(environment: Environment) -> tuple[ScheduledJob, ...]:
    """Give the jobs that an environment's backups.yml and baseline.yml need.

    Raises:
        ConfigError: there is neither, or backups.yml has faults.
    """
    backups = environment.folder / "backups.yml"
    jobs = plan_jobs(load_backups(backups)) if backups.is_file() else ()
    if (environment.folder / BASELINE).is_file():
        jobs = (*jobs, AUDIT)
    if not jobs:
        raise ConfigError(
            f"{environment.name} has no backups.yml and no {BASELINE}, so no job is due; nothing was changed",
            hint="inventories/example-city/backups.yml is one to copy from",
        )
    return jobs


def authorised_by(session: Session, jobs: Sequence[ScheduledJob]) -> dict[str, Standing]:
    """Give the authorisation of each job that stands, and stands longest; a job without one is left out."""
    found: dict[str, Standing] = {}
    wanted = {job.command for job in jobs if job.authorised}
    for one in sorted(list_standing(session), key=lambda one: one.expires_at):
        if one.stands and one.resource == ALL and one.job in wanted:
            found[one.job] = one
    return found


def wanted_units(session: Session, place: Place | None = None) -> dict[str, str]:
    """Give the units as they should be now.

    Raises:
        PreflightError: outside a lab, a job that changes something has no authorisation that stands.
    """
    environment = session.environment
    jobs = jobs_of(environment)
    granted = {job: one.name for job, one in authorised_by(session, jobs).items()}
    missing = [job.command for job in jobs if job.authorised and job.command not in granted]
    if missing and environment.kind != "lab":
        raise PreflightError(
            f"{', '.join(missing)} of {environment.name} may not run with nobody watching: no standing "
            "authorisation for that holds; nothing was changed",
            hint="\n      ".join(_sign(environment.name, job) for job in missing),
        )
    return render_units(environment, jobs, granted, place or here(environment))


def _sign(environment: str, job: str) -> str:
    limits = ",".join(f"{guard}=N" for guard in JOBS[job].guards)
    return (
        f"./inv run.authorise --env {environment} --name {job.replace('.', '-')} --job {job} "
        f"--limits {limits} --reason WHY --key FILE"
    )


def plan_install(session: Session, systemd: Systemd) -> Change:
    """Compare the units with what they should be; changes nothing.

    Raises:
        PreflightError: this machine may not, or cannot, start the jobs of this environment.
    """
    require_systemd()
    _require_root()
    require_control_node(session.environment)
    want = wanted_units(session)
    line = marker(session.environment.name)
    if foreign := systemd.foreign(tuple(want), line):
        raise PreflightError(
            f"{', '.join(foreign)} in {systemd.units} was not made by schedule.install; nothing was changed",
            hint="move it away, then install again",
        )
    have = systemd.read(line)
    asleep = [name for name in want if name.endswith(".timer") and have.get(name) == want[name]]
    return Change(systemd.units, have, want, tuple(name for name in asleep if not _awake(systemd, name)))


def _awake(systemd: Systemd, name: str) -> bool:
    seen = systemd.timer(name)
    return seen.enabled and seen.active


def plan_remove(environment: Environment, systemd: Systemd) -> Change:
    """Name every unit of an environment; changes nothing."""
    require_systemd()
    _require_root()
    return Change(systemd.units, systemd.read(marker(environment.name)), {})


def carry_out(
    change: Change, environment: Environment, state: Path, systemd: Systemd, *, confirm: Confirm
) -> bool:
    """Show a change, ask, and do it; tell whether anything was to be done.

    Raises:
        PreflightError: the person said no.
        Busy: another process installs or removes the schedule.
        StepFailed: systemd said no part-way.
    """
    lines = list(change.lines)
    for line in lines:
        print(line)
    if not lines:
        return False
    if not confirm():
        raise PreflightError("the schedule was not agreed to; nothing was changed")
    holder = f"schedule of {actor()}"
    with hold(state / "locks", ["schedule"], holder=holder, reason="it changes the timers"):
        try:
            _do(change, systemd)
        except (AdapterError, OSError) as exc:
            raise StepFailed(
                f"the timers of {environment.name} were changed in part: {exc}",
                hint=f"./inv schedule.install --env {environment.name} goes on; "
                f"./inv schedule.list --env {environment.name} shows what is there",
            ) from exc
    return True


def _do(change: Change, systemd: Systemd) -> None:
    gone = [name for name in change.deleted if name.endswith(".timer")]
    if gone:
        systemd.ask("disable", "--now", *gone)
    for name in change.written:
        systemd.write(name, change.want[name])
    for name in change.deleted:
        systemd.delete(name)
    systemd.ask("daemon-reload")
    timers = [name for name in (*change.written, *change.asleep) if name.endswith(".timer")]
    if timers:
        systemd.ask("enable", "--quiet", *timers)
        systemd.ask("restart", *timers)


def ask_yes(*, yes: bool) -> Confirm:
    """Give what asks a person, or what takes the flag for an answer.

    The jobs run under what people signed; the flag only lets their timers be put in place.
    """

    def ask() -> bool:
        if yes:
            return True
        if not sys.stdin.isatty():
            raise PreflightError(
                "nobody sits at a terminal to agree; nothing was changed",
                hint="look at the change above, then give --yes",
            )
        print("Type yes to do this: ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() == "yes"

    return ask


def warn(session: Session) -> None:
    """Say what will be missed: people who are told, signatures that end soon."""
    environment, now = session.environment, datetime.now(UTC)
    if not environment.notify:
        progress(
            f"warning: nobody is told when a job of {environment.name} fails: environment.yml has no notify"
        )
    for job, one in authorised_by(session, jobs_of(environment)).items():
        days = (one.expires_at - now).total_seconds() / 86400
        if days < 14:
            progress(f"warning: {job} runs for {days:.0f} more days: authorisation {one.name} ends then")


def _require_root() -> None:
    if os.geteuid() != 0:
        raise PreflightError(
            "the jobs are units of the system, which root alone installs; nothing was changed",
            hint="sudo ./inv ... as the one who runs them",
        )
