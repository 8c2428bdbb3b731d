"""Sealed evidence: a closed run's head, signed by the control node and copied to the witness host.

The chain finds a changed line, the signature finds a chain that was written anew, and the witness's copy
finds an end that was cut off. `check_run` looks for all three.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from automation.engine.authorisation import USED
from automation.engine.journal import GENESIS, check_line
from automation.engine.signers import BadSignature, Signers, check_signature, sign_text
from automation.model.approvals import SEAL_NAMESPACE, Seal
from automation.model.errors import AdapterError, AutomationError
from automation.model.plan import plan_digest
from automation.model.records import (
    ApprovalRecorded,
    AuthorisationRecorded,
    Body,
    Event,
    OverrideRecorded,
    Remote,
    RunClosed,
    RunOpened,
    RunSealed,
)

KEY = "ssh/control_node"
SIGNER = "control-node"
HEADS = "/var/lib/mainstay-witness/heads"
WITNESS_TIMEOUT_S = 5.0
# What a person makes of the evidence, or asks of a paused run, is no part of what is sealed; the signature
# beside an approval that was used is, and its words have their digest in the journal.
_UNSEALED = ("journal.", "progress.", "report.", "approvals/")
_LEAVE = 'mkdir -p -m 0755 "$1" && printf "%s\\n" "$3" >>"$1/$2"'


class Finding(NamedTuple):
    """What does not hold; `line` counts from 1, None is for what is not a line of the journal."""

    line: int | None
    problem: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.problem}" if self.line else self.problem


class Left(NamedTuple):
    """One line of the witness's copy: how many events there were, and the last one's hash."""

    at: str
    events: int
    hash: str


# --- making --------------------------------------------------------------------------------------


def seal(folder: Path, head: str, *, key: Path, now: datetime) -> RunSealed:
    """Sign a run's head and the files of its folder, with the control node's key.

    Raises:
        ConfigError: there is no such key, or ssh-keygen cannot sign with it.
    """
    journal = (folder / "journal.jsonl").read_bytes()
    words = Seal(
        run_id=folder.name,
        head=head,
        events=journal.count(b"\n"),
        journal=hashlib.sha256(journal).hexdigest(),
        files=_files(folder) | _signatures(folder, journal),
        sealed_at=now,
    )
    signed = words.model_dump_json()
    signature = sign_text(signed, key, SEAL_NAMESPACE)
    return RunSealed(head=head, signer=_public(key), signed=signed, signature=signature)


def leave_head(remote: Remote, run_id: str, count: int, head: str) -> None:
    """Append a head to the witness's copy.

    Raises:
        AdapterError: the witness host did not take it; the run has nothing to wait for.
    """
    line = f"{datetime.now(UTC).isoformat(timespec='seconds')} {count} {head}"
    argv = ["sudo", "-n", "sh", "-c", _LEAVE, "head", HEADS, run_id, line]
    done = remote.run(argv, timeout_s=WITNESS_TIMEOUT_S)
    if done.exit_code:
        raise AdapterError(f"the witness host took no copy of the head: {done.stderr.strip()}")


def read_heads(remote: Remote, run_id: str) -> tuple[Left, ...]:
    """Give the witness's copy; empty if it has none.

    Raises:
        AdapterError: the witness host does not answer, or what it keeps is not a list of heads.
    """
    argv = ["sh", "-c", 'test ! -e "$1" || cat "$1"', "heads", f"{HEADS}/{run_id}"]
    done = remote.run(argv, timeout_s=WITNESS_TIMEOUT_S)
    if done.exit_code:
        raise AdapterError(f"the witness's copy cannot be read: {done.stderr.strip()}")
    return parse_heads(done.stdout)


def parse_heads(text: str) -> tuple[Left, ...]:
    """Read a witness's copy.

    Raises:
        AdapterError: a line of it has another form.
    """
    try:
        parts = [line.split() for line in text.splitlines()]
        return tuple(Left(at, int(events), head) for at, events, head in parts)
    except ValueError:
        raise AdapterError("the witness's copy is not a list of heads") from None


def _files(folder: Path) -> dict[str, str]:
    """sha256 of every file of evidence, by its path in the run's folder."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    named = ((path.relative_to(folder).as_posix(), path) for path in paths)
    return {name: _sha256(path) for name, path in named if not name.startswith(_UNSEALED)}


def _signatures(folder: Path, journal: bytes) -> dict[str, str]:
    """sha256 of the signature of each approval that a journal says was used."""
    paths = sorted((folder / "approvals").glob("*.json.sig"))
    used = (path for path in paths if path.name.partition(".")[0].encode() in journal)
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in used}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _public(key: Path) -> str:
    return " ".join(key.with_name(f"{key.name}.pub").read_text().split()[:2])


# --- checking ------------------------------------------------------------------------------------


def check_run(folder: Path, *, public_key: Path, heads: Sequence[Left] = ()) -> tuple[Finding, ...]:
    """Look for everything that does not hold in a run's folder; the first bad line comes first.

    Args:
        public_key: the control node's.
        heads: the witness's copy.
    """
    content = (folder / "journal.jsonl").read_bytes()
    events, bad = read_chain(content)
    if bad is not None:
        return (bad,)
    findings = [
        *_begins_well(events, folder),
        *_seals(events, folder.name, public_key),
        *_as_left(events, heads),
        *_files_as_sealed(events, folder),
        *_approvals_as_used(events, folder),
    ]
    return tuple(sorted(findings, key=lambda finding: finding.line or len(events) + 1))


def read_chain(content: bytes) -> tuple[list[Event], Finding | None]:
    """Read a journal byte by byte: the events whose chain holds, and the first line that breaks it."""
    events: list[Event] = []
    previous = GENESIS
    for number, line in enumerate(_lines(content), start=1):
        event = _read_line(line, number - 1, previous)
        if isinstance(event, str):
            return events, Finding(number, event)
        previous = event.hash
        events.append(event)
    return events, None


def _read_line(line: bytes, sequence: int, previous: str) -> Event | str:
    event = check_line(line, sequence, previous)
    # A space or another spelling of the same value is no change of words, but a change of evidence.
    if isinstance(event, Event) and event.model_dump_json(exclude_unset=True).encode() + b"\n" != line:
        return "not as it was written"
    return event


def _lines(content: bytes) -> list[bytes]:
    *whole, rest = content.split(b"\n")
    return [*(line + b"\n" for line in whole), *([rest] if rest else [])]


def _begins_well(events: Sequence[Event], folder: Path) -> Iterator[Finding]:
    opened = events[0].body if events else None
    if not isinstance(opened, RunOpened):
        yield Finding(1, "a journal begins with the opening of its run")
    elif opened.run_id != folder.name:
        yield Finding(1, f"this is the journal of run {opened.run_id}")
    else:
        try:
            digest = plan_digest(json.loads((folder / "plan.json").read_bytes()))
        except (OSError, ValueError):
            yield Finding(None, "plan.json is missing or no plan")
        else:
            if digest != opened.plan_digest:
                yield Finding(None, "plan.json is not the plan that was run")


def _seals(events: Sequence[Event], run_id: str, public_key: Path) -> Iterator[Finding]:
    """Check every seal where it stands; a run that was resumed has one for each of its ends."""
    if not public_key.is_file():
        yield Finding(None, f"there is no {public_key.name} to check the seal with")
        return
    key = " ".join(public_key.read_text().split()[:2])
    for index, event in enumerate(events):
        if isinstance(event.body, RunSealed):
            problem = _bad_seal(event.body, (run_id, index, event.previous), key)
            if problem:
                yield Finding(index + 1, problem)
            if index + 1 < len(events) and not _goes_on(events[index + 1]):
                yield Finding(index + 2, "stands after the seal, and no resume comes before it")
    if events and not isinstance(events[-1].body, RunSealed):
        closed = isinstance(events[-1].body, RunClosed)
        state = "the run is closed but not sealed" if closed else "the run is not closed"
        yield Finding(len(events), f"no seal follows: {state}, or the journal's end was cut off")


def _goes_on(event: Event) -> bool:
    return event.body.kind in ("run-resumed", "abort-started")


def _bad_seal(body: RunSealed, place: tuple[str, int, str], key: str) -> str | None:
    if body.signer != key:
        return "sealed with a key that is not this control node's"
    signers = Signers(Path("control_node_signers"), f"{SIGNER} {key}\n".encode(), None)
    try:
        check_signature(
            body.signed, body.signature, signers=signers, namespace=SEAL_NAMESPACE, now=datetime.now(UTC)
        )
        words = Seal.model_validate_json(body.signed)
    except (BadSignature, AutomationError, ValueError) as exc:
        return f"the seal does not hold: {exc}"
    if (words.run_id, words.events, words.head) != place or body.head != words.head:
        return "the seal is of another run or another place"
    return None


def _as_left(events: Sequence[Event], heads: Sequence[Left]) -> Iterator[Finding]:
    for left in heads:
        if left.events > len(events):
            text = f"the journal's end was cut off: the witness saw {left.events} lines at {left.at}"
            yield Finding(len(events) + 1, text)
        elif left.events < 1 or events[left.events - 1].hash != left.hash:
            yield Finding(left.events, f"not the line that the witness saw at {left.at}")


def _approvals_as_used(events: Sequence[Event], folder: Path) -> Iterator[Finding]:
    for index, event in enumerate(events, start=1):
        for nonce, digest in _used(event.body):
            path = folder / "approvals" / f"{nonce}.json"
            if not path.is_file() or _sha256(path) != digest:
                yield Finding(index, f"{path.name} is missing or not the approval that was used")
        if isinstance(event.body, AuthorisationRecorded):
            path = folder / USED / f"{event.body.name}.json"
            if not path.is_file() or _sha256(path) != event.body.authorisation_digest:
                yield Finding(index, f"{path.name} is missing or not the authorisation that was used")


def _used(body: Body) -> tuple[tuple[str, str | None], ...]:
    """Give the nonces that an event says were used, each with the sha256 of its signed file."""
    if isinstance(body, ApprovalRecorded):
        return ((body.nonce, body.approval_digest),)
    if isinstance(body, OverrideRecorded):
        return tuple(zip_longest(body.nonces, body.approval_digests[: len(body.nonces)]))
    return ()


def _files_as_sealed(events: Sequence[Event], folder: Path) -> Iterator[Finding]:
    last = events[-1].body if events else None
    if not isinstance(last, RunSealed):
        return
    try:
        sealed = Seal.model_validate_json(last.signed).files
    except ValueError:
        return  # said already
    # Those sealed by a version that did not yet seal signatures have none of them.
    signatures = {name: folder / name for name in sealed if name.startswith("approvals/")}
    found = _files(folder) | {name: _sha256(path) for name, path in signatures.items() if path.is_file()}
    for name in sorted(sealed.keys() | found.keys()):
        if name not in found:
            yield Finding(None, f"{name} is missing")
        elif name not in sealed:
            yield Finding(None, f"{name} was not there when the run was sealed")
        elif sealed[name] != found[name]:
            yield Finding(None, f"{name} was changed after the run was sealed")
