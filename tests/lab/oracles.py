"""restic and borg as they are, to hold our planner against: found, installed or built, never left out.

Every program lies in a folder of its own under the user's cache. restic 0.14 is Debian's; 0.16.5 is built
from the Go module proxy; borg 1.4 is built by pip in an environment of its own, from Debian's headers.
"""

import base64
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

BUILT = "0.16.5"
BORG = "borgbackup>=1.4,<1.5"
HEADERS = ("liblz4-dev", "libacl1-dev", "libxxhash-dev", "libzstd-dev", "libssl-dev", "pkg-config")
_PASSWORD = "oracle"  # of throw-away repositories that hold nothing but dates


def oracle_folder() -> Path:
    """Where the programs lie between runs."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "mainstay/oracles"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def debian_restic() -> str:
    """Give Debian's restic; install it if it is missing."""
    if not shutil.which("restic"):
        _install("restic")
    return str(shutil.which("restic"))


def built_restic(version: str = BUILT) -> str:
    """Give a newer restic, built from its module with a go.mod of our own."""
    program = oracle_folder() / f"go-v{version}/restic"
    if not program.exists():
        module = oracle_folder() / f"build-{version}"
        module.mkdir(exist_ok=True)
        (module / "go.mod").write_text(
            f"module oracle\n\ngo 1.21\n\nrequire github.com/restic/restic v{version}\n"
        )
        (module / "tools.go").write_text(
            '//go:build tools\n\npackage oracle\n\nimport _ "github.com/restic/restic/cmd/restic"\n'
        )
        package = "github.com/restic/restic/cmd/restic"
        _run(["go", "build", "-mod=mod", "-o", str(program), package], cwd=module)
    return str(program)


def borg_python() -> str:
    """Give a Python that imports borg's own functions."""
    python = oracle_folder() / "borg/bin/python"
    if not (python.parent / "borg").exists():
        _install(*HEADERS)
        _run([sys.executable, "-m", "venv", str(python.parent.parent)])
        _run([str(python), "-m", "pip", "install", "--quiet", BORG])
    return str(python)


def _install(*packages: str) -> None:
    if os.geteuid() != 0:
        raise RuntimeError(f"{', '.join(packages)} of Debian is missing; apt-get install it, or run as root")
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages], more=environment)


def _run(argv: Sequence[str], *, cwd: Path | None = None, more: Mapping[str, str] | None = None) -> str:
    environment = {**os.environ, **(more or {})}
    done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv[:4])} failed ({done.returncode}): {done.stderr[-800:]}")
    return done.stdout


# --- restic ---------------------------------------------------------------------------------------


class Snapshot(NamedTuple):
    """A snapshot to be written: the time as restic writes it, the host that groups it, its tags."""

    time: str
    host: str
    tags: tuple[str, ...] = ()


class ResticOracle:
    """A repository that holds snapshots of our making, and restic's word on which stay."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program, self.folder = program, folder
        self._environment = {
            "RESTIC_REPOSITORY": str(folder),
            "RESTIC_PASSWORD": _PASSWORD,
            "RESTIC_CACHE_DIR": str(folder.parent / f"{folder.name}-cache"),
        }
        self.call("init")
        self._key = json.loads(self.call("cat", "masterkey"))

    def call(self, *words: str, tz: str = "UTC") -> str:
        """Run restic in the time zone of a machine; give what it printed."""
        return _run([self.program, *words], more={**self._environment, "TZ": tz})

    def write(self, snapshots: Iterable[Snapshot]) -> list[str]:
        """Write snapshot objects; give their full ids, in order."""
        return [self._store(json.dumps(_snapshot(one)).encode()) for one in snapshots]

    def clear(self) -> None:
        """Remove every snapshot."""
        for path in (self.folder / "snapshots").iterdir():
            path.unlink()

    def forget(self, flags: Sequence[str], tz: str) -> dict[str, tuple[set[str], set[str]]]:
        """Ask what would be kept and removed; give both by host, in full ids."""
        words = ("forget", "--dry-run", "--json", "--no-lock", "--group-by", "host", *flags)
        groups = json.loads(self.call(*words, tz=tz))
        return {group["host"]: (_ids(group["keep"]), _ids(group["remove"])) for group in groups}

    def _store(self, plain: bytes) -> str:
        stored = seal(self._key, plain)
        name = sha256(stored).hexdigest()
        (self.folder / "snapshots" / name).write_bytes(stored)
        return name


def seal(key: Mapping[str, Any], plain: bytes) -> bytes:
    """Encrypt as restic does, AES-256-CTR and Poly1305-AES; what is stored is named by its hash.

    Args:
        key: as `restic cat masterkey` gives it.
    """
    nonce = secrets.token_bytes(16)
    encryptor = Cipher(algorithms.AES(base64.b64decode(key["encrypt"])), modes.CTR(nonce)).encryptor()
    sealed = encryptor.update(plain) + encryptor.finalize()
    mac = key["mac"]
    block = Cipher(algorithms.AES(base64.b64decode(mac["k"])), modes.ECB()).encryptor().update(nonce)
    tag = Poly1305.generate_tag(base64.b64decode(mac["r"]) + block, sealed)
    return nonce + sealed + tag


def _snapshot(one: Snapshot) -> dict[str, object]:
    made: dict[str, object] = {
        "time": one.time,
        "tree": "0" * 64,
        "paths": ["/srv"],
        "hostname": one.host,
        "username": "root",
    }
    return made | ({"tags": list(one.tags)} if one.tags else {})


def _ids(snapshots: Sequence[Mapping[str, str]] | None) -> set[str]:
    return {one["id"] for one in snapshots or ()}


# --- borg -----------------------------------------------------------------------------------------

_BORG_PROGRAM = """\
import json, os, sys, time
from collections import namedtuple
from datetime import datetime, timezone
from borg.helpers.misc import PRUNING_PATTERNS, prune_split
import borg.helpers.misc as misc
Archive = namedtuple("Archive", "id ts")
def decide(case):
    os.environ["TZ"] = case["tz"]
    time.tzset()
    archives = [Archive(i, datetime.fromisoformat(t)) for i, t in case["archives"]]
    now = datetime.fromisoformat(case["now"])
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return now
    misc.datetime = Clock
    keep, because = [], {}
    if case["within"]:
        keep += misc.prune_within(archives, case["within"], because)
    for rule in PRUNING_PATTERNS:
        if case["rules"].get(rule) is not None:
            keep += prune_split(archives, rule, case["rules"][rule], because)
    return sorted(a.id for a in keep)
json.dump([decide(case) for case in json.load(sys.stdin)], sys.stdout)
"""


class BorgCase(NamedTuple):
    """One call of borg's functions, in the order and with the rule names of its prune command."""

    tz: str
    now: str
    within: int
    rules: Mapping[str, int]
    archives: Sequence[tuple[str, str]]


def ask_borg(cases: Sequence[BorgCase]) -> list[set[str]]:
    """Give the ids that borg's own functions keep, case by case."""
    text = json.dumps([case._asdict() for case in cases])
    done = subprocess.run(
        [borg_python(), "-c", _BORG_PROGRAM], input=text, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"borg's functions failed: {done.stderr[-800:]}")
    return [set(kept) for kept in json.loads(done.stdout)]
