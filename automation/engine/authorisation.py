"""Standing authorisations: what an unattended job may do, signed once by a person.

A file `<name>.json` with `<name>.json.sig` beside it, in the environment's state folder. Unlike an approval
it is not used up: it holds until it expires, for one job on one resource under one policy, and no further
than its limits. Whoever takes it away leaves its digest, so that a copy put back does not count.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from automation.engine.approval import inventory_digest
from automation.engine.jobs import JOBS, Job, refuse_plan
from automation.engine.journal import read_journal
from automation.engine.signers import (
    BadSignature,
    Checked,
    Signers,
    check_signature,
    load_signers,
    sign_text,
)
from automation.model.approvals import AUTHORISATION_NAMESPACE, Asked, Authorisation, SignedApproval
from automation.model.environment import Environment, Inventory
from automation.model.errors import ConfigError, PreflightError
from automation.model.plan import Plan
from automation.model.records import AuthorisationRecorded

FOLDER = "authorisations"
# In the folder of a run that used one; it is sealed with the rest.
USED = "authorisation"
# Longer than this and nobody remembers what was agreed to.
LONGEST_S = 366 * 86400.0


class Granted(NamedTuple):
    """A standing authorisation that holds for what a job is about to do, and who signed it."""

    authorisation: Authorisation
    signer: Checked
    signed: SignedApproval
    asked: Asked
    plan_digest: str = ""

    def leave(self, folder: Path) -> AuthorisationRecorded:
        """Keep it in the folder of the run that uses it; give the journal's record of it."""
        keep(folder / USED, self.signed)
        asked = self.asked
        return AuthorisationRecorded(
            name=self.authorisation.name,
            principal=self.signer.principal,
            fingerprint=self.signer.fingerprint,
            role=self.authorisation.role,
            command=asked.command,
            resource=asked.resource,
            amounts=asked.amounts,
            policy_digest=asked.policy_digest,
            authorisation_digest=digest_of(self.signed),
            expires_at=self.authorisation.expires_at,
        )


# --- what a job calls ----------------------------------------------------------------------------


def require_authorisation(
    name: str, asked: Asked, plan: Plan, *, environment: Environment, state: Path, now: datetime
) -> Granted:
    """See that a person let this job do what it is about to do.

    Args:
        asked: what the plan would do, in the words that an authorisation limits.
        now: aware.

    Raises:
        PreflightError: nobody may grant this, there is no such authorisation, or everything that the job
            would do beyond it.
        ConfigError: allowed_signers has faulty lines.
    """
    refuse_plan(plan, asked)
    path = path_of(state, name)
    if not path.is_file():
        raise PreflightError(
            f"there is no standing authorisation {name}; nothing was changed", hint=sign_anew(asked)
        )
    signed = load(path)
    if withdrawn_path(state, signed).exists():
        raise PreflightError(
            f"authorisation {name} was withdrawn; nothing was changed", hint=sign_anew(asked)
        )
    signers = load_signers(environment.approvals.allowed_signers, checkout=environment.folder.parents[1])
    today = _with_earlier(asked, state, now)
    granted = verify(signed, today, allowed_signers=signers, now=now)._replace(
        asked=asked, plan_digest=plan.digest
    )
    refuse_role(granted.authorisation, environment)
    if granted.authorisation.name != name:
        raise PreflightError(
            f"{name}.json holds the authorisation {granted.authorisation.name}; nothing was changed"
        )
    return granted


def require_still(
    used: AuthorisationRecorded,
    plan: Plan,
    *,
    environment: Environment,
    inventory: Inventory,
    state: Path,
    now: datetime,
) -> None:
    """See that a run which a job began may go on with nobody watching.

    Raises:
        PreflightError: such a run never does, or what it was begun under no longer stands.
    """
    job = JOBS.get(used.command)
    if job is None or not job.resumes:
        raise PreflightError(f"a run of {used.command} goes on at a terminal alone; nothing was changed")
    asked = Asked(
        environment=environment.name,
        command=used.command,
        resource=used.resource,
        policy_digest=policy_digest(environment, inventory, job),
        amounts=used.amounts,
    )
    require_authorisation(used.name, asked, plan, environment=environment, state=state, now=now)


def policy_digest(environment: Environment, inventory: Inventory, job: Job) -> str:
    """sha256 over the resolved inventory, environment.yml, and every file that says what a job does."""
    checkout = environment.folder.parents[1]
    lines = [inventory_digest(environment, inventory)]
    for place in (
        *(checkout / name for name in job.policy),
        *(environment.folder / name for name in job.own),
    ):
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        for path in files:
            if path.is_file() and "__pycache__" not in path.parts:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                lines.append(f"{content}  {path.relative_to(checkout).as_posix()}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def refuse_role(authorisation: Authorisation, environment: Environment) -> None:
    """See that the environment lets that role authorise that job.

    Raises:
        PreflightError: it does not.
    """
    wanted = environment.approvals.authorise.get(authorisation.command)
    if wanted != authorisation.role:
        who = f"the role {wanted} may" if wanted else "nobody may"
        raise PreflightError(
            f"{authorisation.role} may not authorise {authorisation.command} in {environment.name}: {who}; "
            "nothing was changed",
            hint="environment.yml names the role of each job in approvals.authorise",
        )


def _with_earlier(asked: Asked, state: Path, now: datetime) -> Asked:
    """Add what the same job did in the last 24 hours to the amounts that are limited by the day."""
    amounts = dict(asked.amounts)
    for used in _used_since(now - timedelta(days=1), state) if JOBS[asked.command].daily else ():
        if (used.command, used.resource) == (asked.command, asked.resource):
            for guard in JOBS[asked.command].daily:
                amounts[guard] = amounts.get(guard, 0) + used.amounts.get(guard, 0)
    return asked.model_copy(update={"amounts": amounts})


def _used_since(begin: datetime, state: Path) -> Iterator[AuthorisationRecorded]:
    """Give what the runs since then were allowed; the names of their folders begin with their time."""
    for kept in (state / "runs").glob(f"*/{USED}"):
        journal = kept.with_name("journal.jsonl")
        if kept.parent.name >= f"{begin.astimezone(UTC):%Y%m%d-%H%M%S}" and journal.is_file():
            bodies = (event.body for event in read_journal(journal))
            yield from islice((body for body in bodies if isinstance(body, AuthorisationRecorded)), 1)


def sign_anew(asked: Asked) -> str:
    """Say how a person lets such a job run."""
    limits = ",".join(f"{guard}=N" for guard in asked.amounts)
    return (
        f"./inv run.authorise --env {asked.environment} --name NAME --job {asked.command} "
        f"--resource {asked.resource} --limits {limits} --reason WHY --key FILE"
    )


# --- files ---------------------------------------------------------------------------------------


def path_of(state: Path, name: str) -> Path:
    """Where an authorisation of that name lies.

    Raises:
        ConfigError: it is no name.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise ConfigError(f"{name!r} is no name of an authorisation: small letters, digits and dashes")
    return state / FOLDER / f"{name}.json"


def withdrawn_path(state: Path, signed: SignedApproval) -> Path:
    """Where it is written that an authorisation, by its digest, was withdrawn."""
    return state / FOLDER / "withdrawn" / f"{digest_of(signed)}.json"


def digest_of(signed: SignedApproval) -> str:
    """sha256 of the signed file."""
    return hashlib.sha256(signed.content.encode()).hexdigest()


def keep(folder: Path, signed: SignedApproval) -> Path:
    """Write an authorisation and its signature; an older one of the same name is replaced."""
    name = Authorisation.model_validate_json(signed.content).name
    path = folder / f"{name}.json"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(path.with_name(f"{path.name}.sig"), signed.signature)
    _write(path, signed.content)
    return path


def _write(path: Path, text: str) -> None:
    """Put a whole file in place of an older one; it is on the disk when this returns."""
    draft = path.with_name(f"{path.name}.new")
    with draft.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def load(path: Path) -> SignedApproval:
    """Read an authorisation and its signature.

    Raises:
        PreflightError: one of the two files cannot be read.
    """
    try:
        signature = path.with_name(f"{path.name}.sig").read_text(errors="replace")
        return SignedApproval(content=path.read_text(errors="replace"), signature=signature)
    except OSError as exc:
        raise PreflightError(
            f"cannot read authorisation {path.name}: {exc.strerror}; nothing was changed"
        ) from exc


# --- signing and checking ------------------------------------------------------------------------


def sign(authorisation: Authorisation, key: Path) -> SignedApproval:
    """Sign with a private key, or by its public half through an agent.

    Raises:
        ConfigError: ssh-keygen could not sign with that key.
    """
    content = authorisation.model_dump_json(indent=1) + "\n"
    return SignedApproval(content=content, signature=sign_text(content, key, AUTHORISATION_NAMESPACE))


def verify(signed: SignedApproval, asked: Asked, *, allowed_signers: Signers, now: datetime) -> Granted:
    """Check that a job may do what it is about to do.

    Args:
        now: aware.

    Raises:
        PreflightError: the signature does not hold, or everything that the job would do beyond it.
    """
    try:
        checked = check_signature(
            signed.content,
            signed.signature,
            signers=allowed_signers,
            namespace=AUTHORISATION_NAMESPACE,
            now=now,
        )
        granted = Authorisation.model_validate_json(signed.content)
    except BadSignature as exc:
        raise PreflightError(f"the authorisation is refused: {exc}; nothing was changed") from exc
    except ValueError as exc:
        raise PreflightError("the authorisation is refused: it has not the form of one") from exc
    wrong = [*_wrong_signer(granted, checked, now), *_wrong_words(granted, asked), *_over(granted, asked)]
    if wrong:
        reasons = ", and ".join(wrong)
        raise PreflightError(
            f"authorisation {granted.name} is refused: {reasons}; nothing was changed", hint=sign_anew(asked)
        )
    return Granted(granted, checked, signed, asked)


def _wrong_signer(granted: Authorisation, checked: Checked, now: datetime) -> Iterator[str]:
    if granted.role not in checked.roles:
        yield f"{checked.principal} has not the role {granted.role}"
    if now < granted.not_before:
        yield f"it begins at {granted.not_before:%Y-%m-%d %H:%M %Z}"
    if now >= granted.expires_at:
        yield f"it expired at {granted.expires_at:%Y-%m-%d %H:%M %Z}"
    if (granted.expires_at - granted.not_before).total_seconds() > LONGEST_S:
        yield f"it is valid for longer than {LONGEST_S / 86400:.0f} days"


def _wrong_words(granted: Authorisation, asked: Asked) -> Iterator[str]:
    for name in ("environment", "command", "resource"):
        if getattr(granted, name) != getattr(asked, name):
            yield f"it is for {name} {getattr(granted, name)!r}, not {getattr(asked, name)!r}"
    if granted.policy_digest != asked.policy_digest:
        yield "the policy is not the one that was agreed to"


def _over(granted: Authorisation, asked: Asked) -> Iterator[str]:
    """What a job would do more of than agreed; a guard that nobody agreed on allows nothing."""
    for guard, amount in asked.amounts.items():
        if guard not in granted.limits:
            yield f"it sets no limit for {guard}"
        elif not amount <= granted.limits[guard]:
            yield f"{guard} would be {amount:g}, at most {granted.limits[guard]:g} was agreed"
    for guard in granted.limits.keys() - asked.amounts.keys():
        yield f"the job does not say its {guard}, which is limited"
