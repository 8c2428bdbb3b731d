"""The jobs of an environment on a terminal: a row a job."""

from datetime import datetime

from rich.text import Text

from automation.commands._render import _console, _table
from automation.model.timers import JobSeen, Schedule

_STYLES = {"ok": "green", "running": "green", "not-run-yet": "yellow", "red": "bold red"}


def print_schedule(schedule: Schedule) -> None:
    """Print when each job begins next and how it ended last; faults below, one a line."""
    console = _console()
    table = _table("Job", "State", "Next", "Began last", "How it ended", "Authorised until")
    for job in schedule.jobs:
        table.add_row(
            job.job,
            Text(job.state, style=_STYLES[job.state]),
            _at(job.next_at),
            _at(job.last_at),
            job.ended or "not since boot",
            _until(job),
        )
    console.print(table)
    for job in schedule.red:
        for fault in job.faults:
            console.print(Text(f"{job.job}: {fault}", style="red"))
    told = ", ".join(schedule.told) or "NOBODY: environment.yml has no notify"
    console.print(Text(f"told when a job fails: {told}"))


def _at(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}Z" if at else ""


def _until(job: JobSeen) -> str:
    return f"{job.authorised_until:%Y-%m-%d} ({job.authorisation})" if job.authorised_until else ""
