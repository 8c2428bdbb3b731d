"""Who may sign, and what ssh-keygen says of a signature.

`allowed_signers` is OpenSSH's own file (ssh-keygen(1), ALLOWED SIGNERS). The comment of a line gives
the person's roles, which ssh-keygen reads over:

    alex namespaces="mainstay-approval" ssh-ed25519 AAAAC3... roles=dr-coordinator,database-owner

`revoked_signers` in the same folder, if it exists, holds revoked keys: one public key a line, or a KRL.
Both belong to root, are writable by nobody else, and lie outside the checkout.
"""

import base64
import hashlib
import os
import re
import stat
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from automation.model.errors import ConfigError, PreflightError, Problem

REVOKED = "revoked_signers"
TIMEOUT_S = 30.0
# A person types a passphrase or touches a hardware key meanwhile.
SIGN_TIMEOUT_S = 300.0
_ROLES = re.compile(r"\broles=([a-z0-9][a-z0-9,-]*)\s*$")
_KEY = re.compile(r"\s((?:ssh|ecdsa|sk)-[^\s\"]+)\s+([A-Za-z0-9+/=]+)")


class Signer(NamedTuple):
    """One line of allowed_signers: a person, the base64 of their public key, their roles."""

    principal: str
    key: str
    roles: tuple[str, ...]


@dataclass(frozen=True)
class Signers:
    """The two files as they were read once; what is hashed is what ssh-keygen is given."""

    path: Path
    allowed: bytes
    revoked: bytes | None

    @property
    def digest(self) -> str:
        """What `sha256sum allowed_signers revoked_signers | sha256sum` prints in their folder."""
        lines = f"{_sha256(self.allowed)}  allowed_signers\n"
        if self.revoked is not None:
            lines += f"{_sha256(self.revoked)}  {REVOKED}\n"
        return _sha256(lines.encode())

    @cached_property
    def entries(self) -> tuple[Signer, ...]:
        """Every line.

        Raises:
            ConfigError: lines that name no person with a plain key, all of them.
        """
        return _entries(self.allowed, self.path)

    def signer_of(self, key: str) -> Signer | None:
        return next((entry for entry in self.entries if entry.key == key), None)


class Checked(NamedTuple):
    """A signature that holds: who made it, with which key, and the roles that person has."""

    principal: str
    fingerprint: str
    roles: frozenset[str]


class BadSignature(Exception):
    """A signature does not hold; the text says why."""


def load_signers(path: Path, *, checkout: Path, trusted_uid: int = 0) -> Signers:
    """Read allowed_signers and revoked_signers, if they can be trusted.

    Args:
        path: absolute.
        checkout: the repository; whoever writes there must not also say who approves.
        trusted_uid: the owner the files and every folder above them must have, besides root.

    Raises:
        PreflightError: a file is missing, lies in the checkout, or others may change it.
    """
    real = path.resolve()
    if not path.is_absolute() or real.is_relative_to(checkout.resolve()):
        raise PreflightError(f"{path} must be an absolute path outside the checkout; nothing was changed")
    allowed = _read_trusted(real, trusted_uid)
    if allowed is None:
        raise PreflightError(
            f"there is no {path}, so nobody can approve; nothing was changed",
            hint="docs/safety-model.md, Approvals, says what belongs into it",
        )
    return Signers(path, allowed, _read_trusted(real.with_name(REVOKED), trusted_uid))


def sign_text(content: str, key: Path, namespace: str) -> str:
    """Sign a text with a private key, or with its public half through an agent.

    Raises:
        ConfigError: ssh-keygen could not.
    """
    if not key.is_file():
        raise ConfigError(f"there is no key {key}; nothing was signed")
    argv = ["ssh-keygen", "-Y", "sign", "-q", "-n", namespace, "-f", str(key)]
    # On a terminal ssh-keygen itself says what it waits for, such as a touch of a hardware key.
    stderr = None if sys.stderr.isatty() else subprocess.PIPE
    try:
        done = subprocess.run(
            argv,
            input=content,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            check=False,
            timeout=SIGN_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise ConfigError(f"ssh-keygen could not sign with {key}: {exc}; nothing was signed") from exc
    if done.returncode or "BEGIN SSH SIGNATURE" not in done.stdout:
        raise ConfigError(f"ssh-keygen could not sign with {key}: {(done.stderr or '').strip()}")
    return done.stdout


def check_signature(
    content: str, signature: str, *, signers: Signers, namespace: str, now: datetime
) -> Checked:
    """Ask ssh-keygen whether a signature over a text holds, and say who made it.

    Raises:
        BadSignature: it does not hold; says why.
    """
    blob, made_for = _unpack(signature)
    if made_for != namespace:
        raise BadSignature(f"it was made for the namespace {made_for!r}, not {namespace!r}")
    key = base64.b64encode(blob).decode()
    signer = signers.signer_of(key)
    if signer is None:
        raise BadSignature(f"key {fingerprint(blob)} is not in {signers.path}")
    with tempfile.TemporaryDirectory(prefix="mainstay-verify-") as name:
        folder = Path(name)
        (folder / "allowed_signers").write_bytes(signers.allowed)
        (folder / "signature").write_text(signature)
        argv = ["ssh-keygen", "-Y", "verify", "-f", str(folder / "allowed_signers"), "-I", signer.principal]
        argv += ["-n", namespace, "-s", str(folder / "signature")]
        argv += [f"-Overify-time={now.astimezone(UTC):%Y%m%d%H%M%S}Z"]
        _verify(argv, content, signer)
        if signers.revoked is not None:
            (folder / REVOKED).write_bytes(signers.revoked)
            try:
                _verify([*argv, "-r", str(folder / REVOKED)], content, signer)
            except BadSignature:  # it says no more; without the revocations the signature holds
                raise BadSignature(f"the key of {signer.principal} is revoked") from None
    return Checked(signer.principal, fingerprint(blob), frozenset(signer.roles))


def fingerprint(blob: bytes) -> str:
    """Give a public key's SHA256 fingerprint, as `ssh-keygen -l` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def signed_with(signature: str) -> str:
    """Give the fingerprint of the key that a signature says made it; says nothing of whether it holds.

    Raises:
        BadSignature: it has not the form of one.
    """
    return fingerprint(_unpack(signature)[0])


def _verify(argv: list[str], content: str, signer: Signer) -> None:
    try:
        done = subprocess.run(
            argv, input=content, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise BadSignature(f"ssh-keygen could not check it: {exc}") from exc
    if done.returncode == 0:
        return
    if "incorrect signature" in done.stderr:
        raise BadSignature(f"the text is not the one that {signer.principal} signed")
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    raise BadSignature(f"ssh-keygen refuses it for {signer.principal}: {lines[0] if lines else 'no reason'}")


def _unpack(signature: str) -> tuple[bytes, str]:
    """Give the public key and the namespace that a signature names (OpenSSH, PROTOCOL.sshsig)."""
    match = re.fullmatch(
        r"-----BEGIN SSH SIGNATURE-----\n([A-Za-z0-9+/=\n]+)-----END SSH SIGNATURE-----\n?", signature
    )
    try:
        packed = base64.b64decode((match[1] if match else "").replace("\n", ""), validate=True)
        if not packed.startswith(b"SSHSIG\0\0\0\1"):
            raise ValueError
        blob, rest = _take(packed[10:])
        namespace, _ = _take(rest)
        return blob, namespace.decode()
    except (ValueError, struct.error):
        raise BadSignature("it is not an SSH signature") from None


def _take(packed: bytes) -> tuple[bytes, bytes]:
    (length,) = struct.unpack_from(">I", packed)
    if 4 + length > len(packed):
        raise ValueError
    return packed[4 : 4 + length], packed[4 + length :]


def _entries(allowed: bytes, path: Path) -> tuple[Signer, ...]:
    """Read the lines of allowed_signers; only plain keys of plain people are taken."""
    signers: list[Signer] = []
    problems: list[Problem] = []
    for number, raw in enumerate(allowed.decode(errors="replace").splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        key, roles = _KEY.search(line), _ROLES.search(line)
        principal = line.split()[0].split(",")[0]
        if key is None or "cert-authority" in line[: key.start()] or re.search(r"[*?!\"]", line.split()[0]):
            problems.append(Problem(str(path), number, principal, "must be a person and a plain public key"))
        elif any(signer.key == key[2] for signer in signers):
            problems.append(Problem(str(path), number, principal, "this key stands in a line before"))
        else:
            signers.append(Signer(principal, key[2], tuple(roles[1].split(",")) if roles else ()))
    if problems:
        raise ConfigError(f"{path.name} is not valid; nothing was touched", problems=problems)
    return tuple(signers)


def _read_trusted(path: Path, trusted_uid: int) -> bytes | None:
    """Read a file that root, or the trusted owner, alone can change; None if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise PreflightError(f"cannot read {path}: {exc.strerror}; nothing was changed") from exc
    with os.fdopen(descriptor, "rb") as file:
        for place, status in ((path, os.fstat(descriptor)), *((p, p.stat()) for p in path.parents)):
            _refuse_untrusted(place, status, trusted_uid)
        return file.read()


def _refuse_untrusted(place: Path, status: os.stat_result, trusted_uid: int) -> None:
    # In a sticky folder such as /tmp nobody can replace what another one owns.
    sticky = stat.S_ISDIR(status.st_mode) and bool(status.st_mode & stat.S_ISVTX)
    if status.st_uid not in (0, trusted_uid):
        why = "does not belong to root"
    elif status.st_mode & 0o022 and not sticky:
        why = f"can be written by others than its owner (mode {stat.S_IMODE(status.st_mode):04o})"
    else:
        return
    raise PreflightError(f"{place} {why}, so it cannot say who may approve; nothing was changed")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
