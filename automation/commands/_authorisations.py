"""Standing authorisations: signing one, showing what stands, withdrawing one, and running a job under one."""

import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from typing import NamedTuple

from automation.commands._approvals import ask_terminal
from automation.commands._command import progress
from automation.commands._session import Session, actor
from automation.engine.authorisation import (
    FOLDER,
    LONGEST_S,
    Granted,
    digest_of,
    keep,
    load,
    path_of,
    policy_digest,
    refuse_role,
    require_authorisation,
    sign,
    sign_anew,
    verify,
    withdrawn_path,
)
from automation.engine.jobs import JOBS
from automation.engine.signers import Signers, load_signers
from automation.model.approvals import Asked, Authorisation
from automation.model.base import Model, parse_duration_s
from automation.model.environment import Environment, Inventory, load_environment
from automation.model.errors import AutomationError, ConfigError, PreflightError
from automation.model.plan import Plan

ALL = "all"
VALID_FOR = "90 d"


class JobFlags(NamedTuple):
    """How a command was asked for that may run with nobody watching."""

    command: str
    authorisation: str = ""
    resource: str = ALL


class Wanted(NamedTuple):
    """What a person gave on the command line to authorise a job."""

    name: str
    job: str
    resource: str
    limits: str
    key: Path
    reason: str
    valid: str = ""


class Standing(Model):
    """One authorisation that lies in the state folder; `stands` says that it holds now."""

    name: str
    job: str
    resource: str
    limits: Mapping[str, float]
    signed_by: str
    role: str
    not_before: datetime
    expires_at: datetime
    reason: str
    stands: bool
    why_not: str = ""

    @property
    def line(self) -> str:
        """It for people, in one line."""
        limits = ", ".join(f"{guard} {most:g}" for guard, most in self.limits.items())
        state = "stands" if self.stands else f"does NOT stand: {self.why_not}"
        until = f"{self.expires_at:%Y-%m-%d %H:%M} UTC"
        return (
            f"{self.name}: {self.job} on {self.resource}, at most {limits}; until {until}, "
            f"signed by {self.signed_by or 'nobody known'} as {self.role}: {self.reason}; {state}"
        )


class Withdrawn(Model):
    """Who took an authorisation away, when and why."""

    name: str
    by: str
    at: datetime
    reason: str


def unattended(session: Session, plan: Plan, job: JobFlags, amounts: Mapping[str, float]) -> Granted | None:
    """Give the standing authorisation that a job runs under; None where a person watches, or in a lab.

    A command makes its plan, asks here before it runs it, hands what it gets to `session.run(granted=...)`,
    and calls `look_again` there as `look`; see `_servers.bring_up`.

    Args:
        amounts: what this plan would do, for every guard of the job in `engine.jobs`: the points that
            backup.run would take or copy, those that backup.rotate would delete, what backup.verify would
            restore, the stores that backup.canary would try.

    Raises:
        PreflightError: it needs one, and there is none that allows what it is about to do.
    """
    environment = session.environment
    if not job.authorisation and (sys.stdin.isatty() or environment.kind == "lab"):
        return None
    asked = Asked(
        environment=environment.name,
        command=job.command,
        resource=job.resource,
        policy_digest=policy_digest(environment, session.inventory, JOBS[job.command]),
        amounts=amounts,
    )
    if not job.authorisation:
        raise PreflightError(
            f"{job.command} of {environment.name} runs here with nobody watching and under no standing "
            "authorisation; nothing was changed",
            hint=f"{sign_anew(asked)}\n      then give the job --authorisation NAME",
        )
    now = datetime.now(UTC)
    granted = require_authorisation(
        job.authorisation, asked, plan, environment=environment, state=session.state, now=now
    )
    signer = granted.signer
    progress(f"standing authorisation {job.authorisation} of {signer.principal} ({signer.fingerprint})")
    return granted


def read_policy(session: Session) -> tuple[Environment, Inventory]:
    """Read an environment and its inventory as they lie on the disk now."""
    from automation.adapters.ansible import list_inventory

    own = session.environment
    environment = load_environment(own.folder.parents[1], own.name)
    return environment, list_inventory(environment.inventory_files, session.state, environment.reading)


def look_again(
    session: Session,
    plan: Plan,
    granted: Granted | None,
    read: Callable[[Session], tuple[Environment, Inventory]] = read_policy,
) -> None:
    """See, under a run's locks, that what was agreed to still stands: a job may have waited for them.

    Raises:
        PreflightError: it was withdrawn or has expired, or the policy was edited meanwhile.
    """
    if granted is None:
        return
    environment, inventory = read(session)
    digest = policy_digest(environment, inventory, JOBS[granted.asked.command])
    asked = granted.asked.model_copy(update={"policy_digest": digest})
    name, now = granted.authorisation.name, datetime.now(UTC)
    require_authorisation(name, asked, plan, environment=environment, state=session.state, now=now)


def authorise(session: Session, wanted: Wanted, *, confirm: Callable[[], bool] = ask_terminal) -> Path:
    """Say what a job would be allowed, ask, sign, and keep it with the environment.

    Raises:
        ConfigError: no such job or key, or limits that are not those of the job.
        PreflightError: this signature would not count, or the person said no.
    """
    words = _words(session, wanted)
    refuse_role(words, session.environment)
    for line in describe(words):
        progress(line)
    if not confirm():
        raise PreflightError(f"authorisation {wanted.name} was not given; nothing was signed")
    signed = sign(words, wanted.key)
    verify(signed, _most(words), allowed_signers=_signers(session), now=datetime.now(UTC))
    return keep(session.state / FOLDER, signed)


def describe(words: Authorisation) -> Iterator[str]:
    """Say in words what a signature would allow."""
    days = (words.expires_at - words.not_before).total_seconds() / 86400
    yield f"You, as {words.role}, let a job run again and again with nobody watching:"
    yield f"  {words.command} on {words.resource} of environment {words.environment}"
    for guard, most in words.limits.items():
        often = "within 24 hours" if guard in JOBS[words.command].daily else "each time"
        yield f"  at most {most:g} {guard} {often}; more is refused"
    policy = _policy_in_words(words.command)
    yield f"  policy {words.policy_digest[:16]}: any later edit of {policy} voids this"
    yield f"  until {words.expires_at:%Y-%m-%d %H:%M} UTC ({days:.1f} days); your reason: {words.reason}"
    yield "  never: failover, failback, restore in place, removing servers"


def _policy_in_words(command: str) -> str:
    job = JOBS[command]
    return ", ".join(("the inventory", "environment.yml", *job.own, *job.policy))


def list_standing(session: Session) -> list[Standing]:
    """Give every authorisation of an environment, and whether it holds now; by name."""
    paths = sorted((session.state / FOLDER).glob("*.json"))
    return [_standing(session, path) for path in paths]


def withdraw(session: Session, name: str, reason: str) -> Withdrawn:
    """Take an authorisation away; a copy of it that is put back does not count.

    Raises:
        ConfigError: there is none of that name, or no reason.
    """
    path = path_of(session.state, name)
    if not reason.strip() or not path.is_file():
        what = "--reason is empty" if path.is_file() else f"there is no authorisation {name}"
        env = session.environment.name
        raise ConfigError(f"{what}; nothing was changed", hint=f"./inv run.authorisations --env {env}")
    signed = load(path)
    words = Withdrawn(name=name, by=actor(), at=datetime.now(UTC), reason=reason)
    mark = withdrawn_path(session.state, signed)
    mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark.write_text(words.model_dump_json(indent=1) + "\n")
    path.rename(mark.with_name(f"{digest_of(signed)}.signed"))
    path.with_name(f"{path.name}.sig").rename(mark.with_name(f"{digest_of(signed)}.signed.sig"))
    return words


# --- parts -----------------------------------------------------------------------------------------


def _words(session: Session, wanted: Wanted) -> Authorisation:
    environment, now = session.environment, datetime.now(UTC).replace(microsecond=0)
    job = JOBS.get(wanted.job)
    if job is None:
        raise ConfigError(
            f"{wanted.job} is never done with nobody watching; nothing was signed",
            hint=f"--job: {', '.join(JOBS)}",
        )
    if not wanted.reason.strip():
        raise ConfigError("--reason is empty: it stands beside what you allow; nothing was signed")
    path_of(session.state, wanted.name)
    return Authorisation(
        name=wanted.name,
        environment=environment.name,
        command=wanted.job,
        resource=wanted.resource or ALL,
        policy_digest=policy_digest(environment, session.inventory, job),
        limits=_limits(wanted.limits, job.guards),
        role=environment.approvals.authorise.get(wanted.job, "nobody"),
        not_before=now,
        expires_at=now + timedelta(seconds=_seconds(wanted.valid or VALID_FOR)),
        reason=wanted.reason,
    )


def _limits(text: str, guards: tuple[str, ...]) -> dict[str, float]:
    """Read `hosts=7,created=0`: each guard of the job, once."""
    found: dict[str, float] = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        guard, _, most = part.partition("=")
        try:
            found[guard] = float(most)
        except ValueError:
            raise ConfigError(f"--limits: {part!r} has no number; nothing was signed") from None
    if set(found) != set(guards) or any(not 0 <= most < inf for most in found.values()):
        hint = f"--limits {','.join(f'{guard}=N' for guard in guards)}"
        raise ConfigError(
            f"--limits must give {', '.join(guards)}, and nothing else; nothing was signed", hint=hint
        )
    return found


def _seconds(valid: str) -> float:
    try:
        seconds = float(str(parse_duration_s(valid)))
    except ValueError as exc:
        raise ConfigError(f"--valid: {exc}; nothing was signed") from exc
    if not 3600 <= seconds <= LONGEST_S:
        raise ConfigError(
            f"--valid {valid} is not between 1 h and {LONGEST_S / 86400:.0f} d; nothing was signed"
        )
    return seconds


def _most(words: Authorisation) -> Asked:
    """The most that it allows, asked for: it holds for that, or for nothing."""
    return Asked(
        environment=words.environment,
        command=words.command,
        resource=words.resource,
        policy_digest=words.policy_digest,
        amounts=words.limits,
    )


def _standing(session: Session, path: Path) -> Standing:
    try:
        words = Authorisation.model_validate_json(load(path).content)
    except (ValueError, PreflightError):
        return _unreadable(path)
    signer, why_not = "", ""
    try:
        asked = _most(words).model_copy(update={"policy_digest": _policy_now(session, words)})
        granted = verify(load(path), asked, allowed_signers=_signers(session), now=datetime.now(UTC))
        signer = granted.signer.principal
        refuse_role(words, session.environment)
        if withdrawn_path(session.state, granted.signed).exists():
            why_not = "it was withdrawn"
    except AutomationError as exc:
        why_not = str(exc)
    return Standing(
        name=path.stem,
        job=words.command,
        resource=words.resource,
        limits=words.limits,
        signed_by=signer,
        role=words.role,
        not_before=words.not_before,
        expires_at=words.expires_at,
        reason=words.reason,
        stands=not why_not,
        why_not=why_not,
    )


def _unreadable(path: Path) -> Standing:
    never = datetime.fromtimestamp(0, UTC)
    return Standing(
        name=path.stem,
        job="",
        resource="",
        limits={},
        signed_by="",
        role="",
        not_before=never,
        expires_at=never,
        reason="",
        stands=False,
        why_not="it is no authorisation, or its signature is missing",
    )


def _policy_now(session: Session, words: Authorisation) -> str:
    job = JOBS.get(words.command)
    return policy_digest(session.environment, session.inventory, job) if job else ""


def _signers(session: Session) -> Signers:
    environment = session.environment
    return load_signers(environment.approvals.allowed_signers, checkout=environment.folder.parents[1])
