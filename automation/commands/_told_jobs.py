"""Telling people how a job of a timer ended: that it failed, and that it is well again."""

import socket
from datetime import UTC, datetime
from pathlib import Path

from automation.adapters.timers import Systemd
from automation.commands._jobs import EXIT_BUSY, in_words
from automation.commands._notify import FOLDER, alarm, deliver, well
from automation.commands._units import unit_of
from automation.model.environment import Environment
from automation.model.errors import EXIT_PARTIAL, ConfigError, NotMet
from automation.model.notices import Delivery, Notice, Told
from automation.model.timers import ServiceSeen

LINES = 200
SHOWN = 12
_BEGINS = ("error: ", "interrupted: ")


def tell_of_job(environment: Environment, state: Path, job: str, systemd: Systemd) -> int:
    """Tell people how a job ended last, as far as they do not know; give the exit code.

    Raises:
        NotMet: nobody could be told.
    """
    service = systemd.service(f"{unit_of(environment.name, job)}.service")
    if service.result == "success":
        if service.exit_code == EXIT_BUSY or service.ended_at is None:
            return 0
        said = f"{job} ended well" if service.exit_code == 0 else f"{job}: {in_words(service)}"
        return _code(environment, well(environment, state, job, said))
    if service.exit_code == NotMet.exit_code and _said_itself(state, service.invocation):
        return 0
    return _code(environment, _tell_failure(environment, state, job, service, systemd))


def _tell_failure(
    environment: Environment, state: Path, job: str, service: ServiceSeen, systemd: Systemd
) -> Delivery:
    said = what_it_said(systemd.said(service.invocation, LINES)) if service.invocation else ()
    env, unit = environment.name, unit_of(environment.name, job)
    looks = (f"./inv backup.status --env {env}",) if job.startswith("backup.") else ()
    return alarm(
        environment,
        state,
        job,
        f"the job failed: {in_words(service)}",
        said=said,
        next_acts=(
            *looks,
            f"./inv schedule.list --env {env}",
            f"./inv run.list --env {env} --limit 5",
            f"journalctl -u {unit}.service -n 50",
        ),
        now=datetime.now(UTC),
    )


def what_it_said(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Give the last error of a command's own words, with its hint; progress before it is left out."""
    begins = [place for place, line in enumerate(lines) if line.startswith(_BEGINS)]
    return lines[begins[-1] :][:SHOWN] if begins else lines[-3:]


def send_test(environment: Environment, state: Path) -> int:
    """Send a message to every target; give the exit code.

    Raises:
        ConfigError: environment.yml names nobody.
        NotMet: nobody could be told.
    """
    if not environment.notify:
        raise ConfigError(
            f"environment.yml of {environment.name} names nobody to tell; nothing was sent",
            hint="write notify: {ops: {url: {file: secrets/notify-ops}}}, and the URL into that file of the "
            "state folder",
        )
    notice = Notice(
        kind="test",
        environment=environment.name,
        about="test",
        what="a test: if you read this, alarms reach you",
        node=socket.gethostname(),
        since=datetime.now(UTC),
    )
    return _code(environment, deliver(environment, state, notice))


def _said_itself(state: Path, invocation: str) -> bool:
    """Whether the job told people, in its own words, what it found."""
    for path in (state / FOLDER).glob("*.json"):
        try:
            told = Told.model_validate_json(path.read_text())
        except (OSError, ValueError):
            continue
        if invocation and told.invocation == invocation:
            return True
    return False


def _code(environment: Environment, delivery: Delivery) -> int:
    if delivery.failed and not delivery.took:
        raise NotMet(
            f"nobody could be told: {', '.join(delivery.failed)} of {environment.name}",
            hint=f"./inv schedule.test-notify --env {environment.name}",
        )
    return EXIT_PARTIAL if delivery.failed else 0
