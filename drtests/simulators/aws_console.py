"""Console output of a simulated instance: a boot by cloud-init that ends with its SSH host keys."""

import base64
import hashlib
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml
from moto.core.types import Base64EncodedString

KEYS_FROM = "SSH HOST KEY KEYS"
PRINTS_FROM = "SSH HOST KEY FINGERPRINTS"
NAME = "mainstay:name"


def console_of(instance: Any) -> str:
    """Write what the console of an instance shows; empty before its first boot.

    Its host keys are those of the host that it starts, else those that its user data gives it, else one that
    is made once.
    """
    if not getattr(instance, "host_keys", "") and instance.state != "running":
        return ""
    name = {tag["key"]: tag["value"] for tag in instance.get_tags()}.get(NAME, "")
    known = getattr(instance, "host_keys", "")
    instance.host_keys = known or _given(instance.user_data) or _made(name or instance.id)
    lines = [line for line in instance.host_keys.splitlines() if line.strip()]
    prints = [f"<14>cloud-init: {_fingerprint(line)}" for line in lines]
    shown = [
        f"[    0.000000] Linux version 6.12.0-amd64 ({instance.id})",
        "[    5.120000] cloud-init[642]: Cloud-init v. 25.1 running 'modules:final'",
        f"<14>cloud-init: -----BEGIN {PRINTS_FROM}-----",
        *prints,
        f"<14>cloud-init: -----END {PRINTS_FROM}-----",
        f"-----BEGIN {KEYS_FROM}-----",
        *lines,
        f"-----END {KEYS_FROM}-----",
        f"{name or instance.id} login: ",
    ]
    return "\r\n".join(shown)


def _given(user_data: Any) -> str:
    """Give the public host keys that a cloud-config brings along."""
    if not user_data:
        return ""
    try:
        encoded = user_data.as_bytes() if isinstance(user_data, Base64EncodedString) else user_data
        told = yaml.safe_load(base64.b64decode(encoded))
    except (ValueError, yaml.YAMLError):
        return ""
    keys = told.get("ssh_keys", {}) if isinstance(told, dict) else {}
    return "\n".join(str(value).strip() for name, value in keys.items() if name.endswith("_public"))


def _made(name: str) -> str:
    with tempfile.TemporaryDirectory(prefix="mainstay-console-") as folder:
        path = Path(folder, "key")
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"root@{name}", "-f", str(path)]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
        return path.with_suffix(".pub").read_text().strip()


def _fingerprint(line: str) -> str:
    kind, key, *comment = line.split()
    digest = base64.b64encode(hashlib.sha256(base64.b64decode(key)).digest()).decode().rstrip("=")
    return f"256 SHA256:{digest} {' '.join(comment)} ({kind.removeprefix('ssh-').upper()})"
