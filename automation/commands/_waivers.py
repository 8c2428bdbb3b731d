"""Waivers of an environment: read, held against the signatures beside them, and signed.

`waivers.yml` says what is waived; `waivers/<id>.sig` is the signature of the role that approves it, over
`words_of` the waiver. Any later edit of the waiver, and a key that was revoked, make it count no more.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from automation.baseline.controls import Control
from automation.baseline.waivers import Attestation, Exceptions, Waiver, lint, words_of
from automation.commands._approvals import ask_terminal
from automation.commands._command import progress
from automation.commands._controls import load_controls
from automation.commands._session import Session
from automation.engine.signers import BadSignature, Checked, Signers, check_signature, load_signers, sign_text
from automation.model.approvals import WAIVER_NAMESPACE
from automation.model.base import Model
from automation.model.environment import Environment
from automation.model.errors import ConfigError, PreflightError
from automation.model.loading import load_model

FILE = "waivers.yml"
FOLDER = "waivers"
LARGEST_BYTES = 64 * 1024


class WaiverTold(Model):
    """What is to be said of a waiver or an attestation, and whether it counts all the same."""

    id: str
    counts: bool
    words: str


class Weighed(NamedTuple):
    """Those that count, and what is to be said of all of them."""

    counted: tuple[Waiver | Attestation, ...] = ()
    told: tuple[WaiverTold, ...] = ()


def read_waivers(environment: Environment) -> Exceptions:
    """Read waivers.yml of an environment; where there is none, nothing is waived.

    Raises:
        ConfigError: it has faults.
    """
    path = environment.folder / FILE
    return load_model(path, Exceptions) if path.exists() else Exceptions()


def weigh(
    session: Session, exceptions: Exceptions, controls: Mapping[str, Control], now: datetime
) -> Weighed:
    """Tell those that count: signed by whom they need, in force, and within the rules of their control.

    A host that is gone makes none of them count less on the others.

    Raises:
        ConfigError: allowed_signers has faulty lines.
    """
    if not exceptions.every:
        return Weighed()
    refused = refusals(session.environment, exceptions, now)
    own = sorted({subject for one in exceptions.every for subject in one.subjects})
    faults = {(one.id, one.words) for one in lint(exceptions, controls, own, now) if one.fault}
    bad = refused.keys() | {name for name, _ in faults}
    told = [WaiverTold(id=name, counts=False, words=words) for name, words in refused.items()]
    for one in lint(exceptions, controls, tuple(session.inventory.servers), now):
        told.append(WaiverTold(id=one.id, counts=one.id not in bad, words=one.words))
    return Weighed(tuple(one for one in exceptions.every if one.id not in bad), tuple(told))


def refusals(environment: Environment, exceptions: Exceptions, now: datetime) -> dict[str, str]:
    """Give those whose signature does not hold, each with why.

    Raises:
        ConfigError: allowed_signers has faulty lines.
    """
    try:
        signers = _signers(environment)
    except PreflightError as exc:
        return {one.id: f"its signature cannot be checked: {exc}" for one in exceptions.every}
    found = {}
    for one in exceptions.every:
        try:
            check(one, environment, read_signature(environment, one), signers=signers, now=now)
        except BadSignature as exc:
            found[one.id] = str(exc)
    return found


def check(
    one: Waiver | Attestation, environment: Environment, signature: str, *, signers: Signers, now: datetime
) -> Checked:
    """Say who signed one of them, if that person may.

    Raises:
        BadSignature: it does not hold, or not from that person; says why.
    """
    words = words_of(one, environment.name)
    checked = check_signature(words, signature, signers=signers, namespace=WAIVER_NAMESPACE, now=now)
    if (role := signing_role(one)) not in checked.roles:
        raise BadSignature(f"{checked.principal} signed it and has not the role {role}")
    if isinstance(one, Waiver) and one.requested_by in checked.roles:
        raise BadSignature(
            f"{checked.principal} signed it and has the role {one.requested_by} that asked for it, too"
        )
    return checked


def signing_role(one: Waiver | Attestation) -> str:
    """Name the role whose signature it needs."""
    return one.approved_by if isinstance(one, Waiver) else one.by


def signature_path(environment: Environment, one: Waiver | Attestation) -> Path:
    """Where its signature lies."""
    return environment.folder / FOLDER / f"{one.id}.sig"


def read_signature(environment: Environment, one: Waiver | Attestation) -> str:
    """Read its signature.

    Raises:
        BadSignature: there is none.
    """
    try:
        with signature_path(environment, one).open(errors="replace") as file:
            return file.read(LARGEST_BYTES)
    except FileNotFoundError:
        raise BadSignature(f"nobody signed it; it needs the role {signing_role(one)}") from None
    except OSError as exc:
        raise BadSignature(f"its signature cannot be read: {exc.strerror}") from exc


# --- signing ---------------------------------------------------------------------------------------


def waive(session: Session, name: str, key: Path, *, confirm: Callable[[], bool] = ask_terminal) -> Path:
    """Say what would be accepted, ask, sign, and leave the signature beside waivers.yml.

    Raises:
        ConfigError: no such waiver or key, or faulty files.
        PreflightError: it would not count with this signature, or the person said no.
    """
    environment, controls = session.environment, load_controls()
    one = _named(read_waivers(environment), name, environment.name)
    _refuse_faulty(one, controls, session)
    signers = _signers(environment)
    for line in describe(one, controls[one.control], environment.name):
        progress(line)
    if not confirm():
        raise PreflightError(f"{name} was not approved; nothing was signed")
    signature = sign_text(words_of(one, environment.name), key, WAIVER_NAMESPACE)
    try:
        check(one, environment, signature, signers=signers, now=datetime.now(UTC))
    except BadSignature as exc:
        raise PreflightError(f"this signature of {name} would not count: {exc}; nothing was kept") from exc
    return _keep(signature_path(environment, one), signature)


def describe(one: Waiver | Attestation, control: Control, environment: str) -> Iterator[str]:
    """Say in words what a signature would agree to."""
    act = "accept that this fails" if isinstance(one, Waiver) else "attest that you looked at this"
    yield f"You, as {signing_role(one)}, {act}:"
    yield f"  {control.id} ({control.severity}): {control.title}"
    yield f"  on {len(one.subjects)} of environment {environment}: {', '.join(one.subjects)}"
    if isinstance(one, Waiver):
        for fact, value in one.observed.items():
            yield f"  as long as {fact} is {json.dumps(value)}; another value is not accepted"
        yield f"  asked for by {one.requested_by}; protected instead by: {_in_a_line(one.compensated_by)}"
    ticket = f" ({_in_a_line(one.ticket)})" if one.ticket else ""
    yield f"  because: {_in_a_line(one.reason)}{ticket}"
    days = (one.expires - one.starts).total_seconds() / 86400
    yield f"  from {one.starts:%Y-%m-%d %H:%M %Z} until {one.expires:%Y-%m-%d %H:%M %Z} ({days:.0f} days)"
    yield f"  any later edit of {one.id} in {FILE} voids this"


def _in_a_line(text: str) -> str:
    """Keep what people wrote from looking like a line of ours; other signs are refused when it is read."""
    return " ".join(text.split())


def _named(exceptions: Exceptions, name: str, environment: str) -> Waiver | Attestation:
    found = next((one for one in exceptions.every if one.id == name), None)
    if found is None:
        known = ", ".join(one.id for one in exceptions.every) or "none yet"
        raise ConfigError(
            f"there is no {name!r} in {FILE} of {environment}; nothing was signed", hint=f"known: {known}"
        )
    return found


def _refuse_faulty(one: Waiver | Attestation, controls: Mapping[str, Control], session: Session) -> None:
    """See that it would count if it were signed: people must not sign what is void."""
    alone = Exceptions(
        waivers=(one,) if isinstance(one, Waiver) else (),
        attestations=() if isinstance(one, Waiver) else (one,),
    )
    faults: Sequence[str] = [
        problem.words
        for problem in lint(alone, controls, tuple(session.inventory.servers), datetime.now(UTC))
        if problem.fault
    ]
    if faults:
        raise PreflightError(f"{one.id} would not count: {'; '.join(faults)}; nothing was signed")


def _signers(environment: Environment) -> Signers:
    return load_signers(environment.approvals.allowed_signers, checkout=environment.folder.parents[1])


def _keep(path: Path, signature: str) -> Path:
    """Put a signature in place of an older one; it is whole and on the disk when this returns."""
    path.parent.mkdir(exist_ok=True)
    draft = path.with_name(f"{path.name}.new")
    with draft.open("w") as file:
        file.write(signature)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return path
