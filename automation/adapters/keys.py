"""Keys and secrets of an environment: made once, in its state folder, never printed."""

import base64
import os
import secrets
import subprocess
from pathlib import Path

from automation.model.actions import LookAtSecrets, MakeKeys
from automation.model.errors import AdapterError
from automation.model.evidence import SecretsSeen
from automation.model.records import Context, Outcome

SECRET_BYTES = 32
# One logs in to hosts, the other seals runs: who holds the first on a host can forge no evidence.
CONTROL_NODE = "control_node"
SSH_KEYS = ("id_ed25519", CONTROL_NODE)


def make(action: MakeKeys, ctx: Context) -> Outcome:
    """Make what is missing; what exists is left as it is."""
    made = [name for name in action.secrets if _make_secret(ctx.state / "secrets" / name)]
    made += [f"ssh/{name}" for name in SSH_KEYS if _make_ssh_key(ctx.state / "ssh" / name)]
    return Outcome(changed=bool(made), summary=f"made {', '.join(made)}" if made else "all keys exist")


def missing(state: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """Name the keys and secrets that do not exist yet."""
    paths = {name: state / "secrets" / name for name in names}
    paths |= {f"ssh/{name}": state / "ssh" / f"{name}.pub" for name in SSH_KEYS}
    return tuple(name for name, path in paths.items() if not path.exists())


def look_at_secrets(action: LookAtSecrets, ctx: Context) -> Outcome:
    """Try to read every secret; only names and reasons leave."""
    readable, unreadable = [], {}
    for ref in action.secrets:
        name = str(ref.file or ref.env)
        try:
            ctx.secret(ref)
            readable.append(name)
        except AdapterError as exc:
            unreadable[name] = str(exc)
    evidence = SecretsSeen(readable=tuple(readable), unreadable=unreadable)
    summary = f"{len(readable)} of {len(action.secrets)} secrets can be read here"
    return Outcome(changed=False, summary=summary, evidence=evidence)


def make_control_node(state: Path) -> None:
    """Make the key that seals runs, if there is none yet."""
    _make_ssh_key(state / "ssh" / CONTROL_NODE)


def _make_secret(path: Path) -> bool:
    """Write a random value that suits a password and a TSIG key alike: base64, 256 bits."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists():
        return False
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(secrets.token_bytes(SECRET_BYTES)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return True


def _make_ssh_key(path: Path) -> bool:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    public = path.with_suffix(".pub")
    if path.exists() and public.exists():
        return False
    path.unlink(missing_ok=True)
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "mainstay", "-f", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise AdapterError(f"ssh-keygen for {path}: {done.stderr.strip()}; no key was made")
    return True
