"""How the jobs of an environment go: when each begins next, how it ended last, and what is wrong with it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from automation.adapters.timers import Systemd, require_systemd
from automation.backups.timetable import ScheduledJob
from automation.commands._authorisations import Standing
from automation.commands._schedule import authorised_by, jobs_of, wanted_units
from automation.commands._session import Session
from automation.commands._units import marker, unit_of
from automation.model.base import format_duration
from automation.model.errors import PreflightError
from automation.model.timers import JobSeen, JobState, Schedule, ServiceSeen, TimerSeen

EXIT_BUSY = 7


def look_at_jobs(session: Session, systemd: Systemd, now: datetime | None = None) -> Schedule:
    """Look at every job that should be there; changes nothing.

    Raises:
        ConfigError: backups.yml is not there, or has faults.
        PreflightError: systemd does not run this machine.
    """
    require_systemd()
    environment, now = session.environment, now or datetime.now(UTC)
    jobs = jobs_of(environment)
    granted = authorised_by(session, jobs)
    have = systemd.read(marker(environment.name))
    want = _wanted(session)
    seen = []
    for job in jobs:
        unit = unit_of(environment.name, job.command)
        stale = [
            name for suffix in ("service", "timer") if have.get(name := f"{unit}.{suffix}") != want.get(name)
        ]
        missing = [name for suffix in ("service", "timer") if (name := f"{unit}.{suffix}") not in have]
        lacks = _lacks(job, granted, is_lab=environment.kind == "lab")
        files = _file_faults(missing, stale if want else (), lacks)
        seen.append(
            judge(
                job,
                unit,
                files,
                systemd.timer(f"{unit}.timer"),
                systemd.service(f"{unit}.service"),
                granted.get(job.command),
                now,
            )
        )
    return Schedule(environment=environment.name, told=tuple(environment.notify), jobs=tuple(seen))


def _wanted(session: Session) -> Mapping[str, str]:
    try:
        return wanted_units(session)
    except PreflightError:
        return {}  # an authorisation is missing, which its job says


def _lacks(job: ScheduledJob, granted: Mapping[str, Standing], *, is_lab: bool) -> bool:
    return job.authorised and job.command not in granted and not is_lab


def _file_faults(missing: Sequence[str], stale: Sequence[str], lacks: bool) -> Iterator[str]:
    if missing:
        yield "not installed"
    elif stale:
        yield "its unit is not the one that schedule.install would write now"
    if lacks:
        yield "no standing authorisation allows it now"


def judge(
    job: ScheduledJob,
    unit: str,
    files: Iterator[str],
    timer: TimerSeen,
    service: ServiceSeen,
    granted: Standing | None,
    now: datetime,
) -> JobSeen:
    """Say how a job goes, and everything that is wrong with it. Pure."""
    faults = tuple(files)
    if "not installed" not in faults:
        faults = (*faults, *_timer_faults(job, timer, service, now))
    running = service.state in ("active", "activating")
    began = max((at for at in (timer.last_at, service.began_at) if at), default=None)
    state: JobState = "red" if faults else "running" if running else "ok" if began else "not-run-yet"
    ended = not running and service.ended_at is not None
    return JobSeen(
        job=job.command,
        unit=unit,
        state=state,
        next_at=timer.next_at,
        last_at=began,
        ended_at=service.ended_at if ended else None,
        ended=_ended(service, now, running=running),
        exit_code=service.exit_code if ended else None,
        authorisation=granted.name if granted else "",
        authorised_until=granted.expires_at if granted else None,
        faults=faults,
    )


def _timer_faults(job: ScheduledJob, timer: TimerSeen, service: ServiceSeen, now: datetime) -> Iterator[str]:
    if not timer.enabled:
        yield "its timer is disabled"
    if not timer.active:
        yield "its timer is stopped"
    running = service.state in ("active", "activating")
    heard = max((at for at in (timer.last_at, timer.since) if at), default=None)
    if timer.active and heard and not running:
        silent_s = (now - heard).total_seconds()
        if silent_s > job.silent_after_s:
            yield f"silent for {format_duration(silent_s)}"
    if service.state == "failed":
        yield f"it failed: {in_words(service)}"


def _ended(service: ServiceSeen, now: datetime, *, running: bool) -> str:
    if running:
        began = service.began_at
        return f"runs for {format_duration((now - began).total_seconds())}" if began else "begins"
    return in_words(service) if service.ended_at else ""


def in_words(service: ServiceSeen) -> str:
    """Say how a service ended."""
    if service.result == "start-limit-hit":
        return MEANINGS[EXIT_BUSY]
    if service.result == "timeout":
        return "it took too long and was ended"
    if service.result in ("signal", "core-dump", "oom-kill"):
        return f"it was killed ({service.result})"
    if service.result == "success" and service.exit_code == EXIT_BUSY:
        return "others held what it needs (exit 7); the next beat tries again"
    if service.result == "success" and service.exit_code:
        return f"it found what people were told of (exit {service.exit_code})"
    if service.result == "success":
        return "done"
    return MEANINGS.get(service.exit_code, f"{service.result}, exit {service.exit_code}")


MEANINGS = {
    1: "a defect or an unknown state (exit 1)",
    2: "a file or rule is wrong; nothing was touched (exit 2)",
    3: "done in part (exit 3)",
    4: "refused before the first step; nothing changed (exit 4)",
    5: "stopped part-way; the state is known (exit 5)",
    6: "checks or objectives were not met (exit 6)",
    7: "others held what it needs, until it gave up; nothing changed (exit 7)",
    8: "an effect may or may not have happened: a person must look (exit 8)",
    130: "interrupted (exit 130)",
    203: "its program could not be started (203)",
    226: "systemd could not shut it in (226)",
}
