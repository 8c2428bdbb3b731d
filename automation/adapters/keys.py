"""Keys and secrets of an environment: made once, in its state folder, never printed."""

import base64
import ipaddress
import os
import secrets
import string
import subprocess
from pathlib import Path

from automation.model.actions import LookAtSecrets, MakeKeys
from automation.model.errors import AdapterError
from automation.model.evidence import SecretsSeen
from automation.model.records import Context, Outcome

SECRET_BYTES = 32
KEY_LETTERS = string.ascii_uppercase + string.digits
VCENTER_USER = "mainstay@vsphere.local"
AUTHORITY = "ca"
CERTIFICATE_DAYS = 3650  # of a lab, which nobody renews
# One logs in to hosts, the other seals runs: who holds the first on a host can forge no evidence.
CONTROL_NODE = "control_node"
SSH_KEYS = ("id_ed25519", CONTROL_NODE)


def make(action: MakeKeys, ctx: Context) -> Outcome:
    """Make what is missing; what exists is left as it is."""
    made = [name for name in action.secrets if _make_secret(ctx.state / "secrets" / name)]
    made += [name for name in action.logins if _make_login(ctx.state / "secrets" / name)]
    made += [name for name in action.vcenter_logins if _make_vcenter_login(ctx.state / "secrets" / name)]
    made += [f"ssh/{name}" for name in SSH_KEYS if _make_ssh_key(ctx.state / "ssh" / name)]
    for name, names in action.certificates.items():
        made += [f"certificates/{name}"] if _make_certificate(ctx.state / "certificates", name, names) else []
    return Outcome(changed=bool(made), summary=f"made {', '.join(made)}" if made else "all keys exist")


def missing(state: Path, names: tuple[str, ...], certificates: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Name the keys, secrets and certificates that do not exist yet."""
    paths = {name: state / "secrets" / name for name in names}
    paths |= {f"ssh/{name}": state / "ssh" / f"{name}.pub" for name in SSH_KEYS}
    paths |= {f"certificates/{name}": state / "certificates" / f"{name}.crt" for name in certificates}
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
    return _write_secret(path, base64.b64encode(secrets.token_bytes(SECRET_BYTES)) + b"\n")


def _make_login(path: Path) -> bool:
    """Write an access key and its secret in the form of AWS: twenty and forty letters or digits."""
    key = "".join(secrets.choice(KEY_LETTERS) for _ in range(20))
    secret = "".join(secrets.choice(KEY_LETTERS + KEY_LETTERS.lower()) for _ in range(40))
    return _write_secret(path, f"AWS_ACCESS_KEY_ID={key}\nAWS_SECRET_ACCESS_KEY={secret}\n".encode())


def _make_vcenter_login(path: Path) -> bool:
    """Write a user of vCenter's own and a random password."""
    password = secrets.token_urlsafe(SECRET_BYTES)
    return _write_secret(path, f"VSPHERE_USER={VCENTER_USER}\nVSPHERE_PASSWORD={password}\n".encode())


def _write_secret(path: Path, content: bytes) -> bool:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists():
        return False
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
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


def _make_certificate(folder: Path, name: str, names: tuple[str, ...]) -> bool:
    """Make a key and a certificate for names and addresses, signed by the environment's own authority."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (folder / f"{name}.crt").exists():
        return False
    if not (folder / f"{AUTHORITY}.crt").exists():
        _openssl(folder, AUTHORITY, "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign")
    subject = "subjectAltName=" + ",".join(f"{_kind_of(one)}:{one}" for one in names)
    signer = ("-CA", str(folder / f"{AUTHORITY}.crt"), "-CAkey", str(folder / f"{AUTHORITY}.key"))
    _openssl(folder, name, subject, "basicConstraints=critical,CA:FALSE", signer=signer)
    return True


def _kind_of(name: str) -> str:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "DNS"
    return "IP"


def _openssl(folder: Path, name: str, *extensions: str, signer: tuple[str, ...] = ()) -> None:
    """Make a key and its certificate, the certificate last; what a killed one left is made again."""
    key, draft = folder / f"{name}.key", folder / f".{name}.crt.new"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv += ["-days", str(CERTIFICATE_DAYS), "-subj", f"/O=Mainstay/CN={name}", *signer]
    argv += ["-keyout", str(key), "-out", str(draft)]
    argv += [word for extension in extensions for word in ("-addext", extension)]
    mask = os.umask(0o077)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    finally:
        os.umask(mask)
    if done.returncode:
        raise AdapterError(f"openssl for {draft}: {done.stderr.strip()[-300:]}; no certificate was made")
    draft.replace(folder / f"{name}.crt")
