"""A run as an archive that somebody else can check, or, redacted, may read."""

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from automation.commands._command import ROOT
from automation.commands._evidence import left_heads, public_key
from automation.commands._session import Session, actor
from automation.engine.approval_files import gather
from automation.engine.authorisation import USED
from automation.engine.seal import SIGNER, Left, read_chain
from automation.engine.signers import REVOKED, Signers, load_signers
from automation.model.approvals import APPROVAL_NAMESPACE, AUTHORISATION_NAMESPACE
from automation.model.errors import AutomationError, ConfigError, PreflightError
from automation.model.pseudonyms import Pseudonyms, find_accounts, find_people
from automation.model.records import (
    ApprovalRecorded,
    AuthorisationRecorded,
    Event,
    OverrideRecorded,
    RunOpened,
    RunSealed,
)
from automation.model.templating import render

Files = dict[str, bytes]
# They name people by their keys, and none of them checks anything of a redacted copy.
_SIGNED = (".sig", "signers", ".pub", "seal.json", "SHA256SUMS")


def export_run(session: Session, run_id: str, target: Path, *, redact: bool) -> list[str]:
    """Write a run's evidence into one tar.gz; give the names in it.

    Raises:
        ConfigError: there is no such run, or the target exists already.
        AutomationError: something known would remain in a redacted copy; nothing was written.
    """
    folder = session.existing(run_id).artifacts.parent
    if target.exists():
        raise ConfigError(f"{target} exists already; nothing was written")
    files = _collect(folder)
    events, _ = read_chain(files["journal.jsonl"])
    heads, note = left_heads(session, run_id)
    signers = _signers(session)
    if redact:
        files = _redacted(files, _known(session, events, files, signers), run_id, events)
    else:
        files |= _proofs(session, events, heads, signers)
        files["README.txt"] = _readme(folder, events, signers, heads, note)
        files["SHA256SUMS"] = _sums(files)
    _write(target, run_id, files)
    return sorted(files)


def _collect(folder: Path) -> Files:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _signers(session: Session) -> Signers | None:
    environment = session.environment
    try:
        return load_signers(environment.approvals.allowed_signers, checkout=environment.folder.parents[1])
    except PreflightError:
        return None  # an environment without approvals has none


def _proofs(session: Session, events: list[Event], heads: tuple[Left, ...], signers: Signers | None) -> Files:
    """What a stranger needs to check the run: keys, the seal apart, the witness's copy."""
    files: Files = {}
    public = public_key(session)
    if public.is_file():
        key = " ".join(public.read_text().split()[:2])
        files["control_node_signers"] = f'{SIGNER} namespaces="mainstay-seal" {key}\n'.encode()
    if signers is not None:
        files["allowed_signers"] = signers.allowed
        if signers.revoked is not None:
            files[REVOKED] = signers.revoked
    last = events[-1].body if events else None
    if isinstance(last, RunSealed):
        files["seal.json"], files["seal.json.sig"] = last.signed.encode(), last.signature.encode()
    if heads:
        files["witness_heads"] = "".join(f"{one.at} {one.events} {one.hash}\n" for one in heads).encode()
    return files


def _readme(
    folder: Path, events: list[Event], signers: Signers | None, heads: tuple[Left, ...], note: str
) -> bytes:
    last = events[-1].body if events else None
    by_nonce = {one.nonce: one for one in gather(folder)}
    used = [(e.body.principal, e.body.nonce) for e in events if isinstance(e.body, ApprovalRecorded)]
    for event in events:
        if isinstance(event.body, OverrideRecorded):
            used += zip(event.body.principals, event.body.nonces, strict=True)
    approvals = [
        {"principal": name, "file": f"approvals/{nonce}.json", "namespace": APPROVAL_NAMESPACE}
        for name, nonce in used
        if nonce in by_nonce
    ]
    standing = [e.body for e in events if isinstance(e.body, AuthorisationRecorded)]
    authorisations = [
        {"principal": one.principal, "file": f"{USED}/{one.name}.json", "namespace": AUTHORISATION_NAMESPACE}
        for one in standing
    ]
    return render(
        ROOT / "templates",
        "reports/evidence.txt.j2",
        run_id=folder.name,
        redacted=False,
        sealed=isinstance(last, RunSealed),
        events=len(events) - 1,
        approvals=approvals,
        authorisations=authorisations,
        has_revoked=signers is not None and signers.revoked is not None,
        heads=heads,
        note=note,
    ).encode()


def _sums(files: Mapping[str, bytes]) -> bytes:
    lines = (f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items()))
    return "".join(lines).encode()


# --- redaction -----------------------------------------------------------------------------------


def _known(
    session: Session, events: list[Event], files: Files, signers: Signers | None
) -> dict[str, set[str]]:
    """What the run and its surroundings name: hosts, addresses, people, accounts."""
    documents = list(_documents(files))
    people = {actor(), session.environment.automation_user}
    people |= {name for one in documents for name in find_people(one)}
    people |= {signer.principal for signer in signers.entries} if signers else set()
    hosts = {*session.inventory.servers, session.environment.dns.zone}
    for event in events:
        if isinstance(event.body, RunOpened):
            hosts.add(event.body.node)
    addresses = {server.address for server in session.inventory.servers.values()}
    accounts = {number for one in documents for number in find_accounts(one)}
    return {"person": people, "host": hosts, "address": addresses, "account": accounts}


def _documents(files: Files) -> Iterable[Any]:
    for name, content in files.items():
        texts = (
            [content] if name.endswith(".json") else content.splitlines() if name.endswith(".jsonl") else []
        )
        for text in texts:
            try:
                yield json.loads(text)
            except ValueError:
                continue


def _redacted(files: Files, known: Mapping[str, set[str]], run_id: str, events: list[Event]) -> Files:
    """Replace in every text file, names of files too; see that nothing known remains."""
    pseudonyms = Pseudonyms(known, salt=run_id)
    redacted: Files = {}
    left_out = []
    for name, content in files.items():
        if name.endswith(_SIGNED):
            continue
        try:
            text = content.decode()
        except UnicodeDecodeError:
            left_out.append(pseudonyms.of_text(name))
            continue
        redacted[pseudonyms.of_text(name)] = pseudonyms.of_file(name, text).encode()
    for name, content in redacted.items():
        if remaining := pseudonyms.remaining(f"{name}\n{content.decode()}"):
            count = len(remaining)
            raise AutomationError(
                f"{name} still has {count} known names after redaction; nothing was written"
            )
    redacted["README.txt"] = render(
        ROOT / "templates",
        "reports/evidence.txt.j2",
        run_id=run_id,
        redacted=True,
        head=events[-1].hash if events else "",
        left_out=left_out,
    ).encode()
    return redacted


# --- the archive ---------------------------------------------------------------------------------


def _write(target: Path, run_id: str, files: Files) -> None:
    """Write a tar.gz that is the same bytes for the same files, readable by its owner alone."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(f"{run_id}/{name}")
            member.size, member.mode = len(content), 0o600
            tar.addfile(member, io.BytesIO(content))
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as exc:
        raise ConfigError(f"cannot write {target}: {exc.strerror}; nothing was written") from exc
    with os.fdopen(descriptor, "wb") as file:
        file.write(packed.getvalue())
