"""An offline copy of Mainstay: the repository's tree and the wheels of its lock, in one archive."""

import hashlib
import platform
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import automation
from automation.commands._command import ROOT, progress
from automation.model.errors import ConfigError, PreflightError

WHEELS = "wheels"
TOP = "mainstay"


class Bundle(NamedTuple):
    """What was packed."""

    commit: str
    wheels: int
    size_bytes: int
    sha256: str


def make_bundle(to: Path) -> Bundle:
    """Pack the last commit and every wheel of requirements.lock for this Python and kind of machine.

    The archive unpacks to one folder, whose `./inv setup` takes its packages from `wheels/` alone.

    Raises:
        ConfigError: the archive exists or cannot be written.
        PreflightError: this is no Git checkout, or a wheel could not be fetched; nothing was written.
    """
    if to.exists():
        raise ConfigError(f"{to} exists already; nothing was written", hint="give another --to")
    commit = _git("rev-parse", "HEAD").decode().strip()
    if _git("status", "--porcelain", "--untracked-files=no"):
        progress("what is changed and not committed is left out")
    with tempfile.TemporaryDirectory(prefix="mainstay-bundle-") as folder:
        wheels = Path(folder) / WHEELS
        _fetch(wheels)
        partial = to.with_name(f"{to.name}.part")
        try:
            _pack(partial, commit, wheels)
            partial.replace(to)
        except OSError as exc:
            raise ConfigError(f"cannot write {to}: {exc.strerror}; nothing was written") from exc
        finally:
            partial.unlink(missing_ok=True)
        return Bundle(commit, len(list(wheels.iterdir())), to.stat().st_size, _sha256(to))


def _fetch(wheels: Path) -> None:
    progress(f"fetching the wheels of requirements.lock for Python {platform.python_version()}")
    words = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", "download"]
    words += ["--require-hashes", "--only-binary", ":all:", "--no-deps", "--progress-bar", "off"]
    words += ["--requirement", str(ROOT / "requirements.lock"), "--dest", str(wheels)]
    if subprocess.run(words, check=False, stdout=sys.stderr).returncode:
        raise PreflightError(
            "pip could not fetch every wheel; nothing was written", hint="see pip's message above"
        )


def _pack(target: Path, commit: str, wheels: Path) -> None:
    tree = _git("archive", "--format=tar", f"--prefix={TOP}/", commit)
    with tarfile.open(target, "w") as archive, tarfile.open(fileobj=BytesIO(tree)) as source:
        for member in source.getmembers():
            archive.addfile(member, source.extractfile(member) if member.isfile() else None)
        for wheel in sorted(wheels.iterdir()):
            archive.add(wheel, f"{TOP}/{WHEELS}/{wheel.name}")
        _add(archive, f"{TOP}/BUNDLE", _about(commit))


def _about(commit: str) -> bytes:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    made_for = f"Python {python} on {platform.system()} {platform.machine()}"
    return f"Mainstay {automation.__version__}, commit {commit}, for {made_for}.\n".encode()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    archive.addfile(member, BytesIO(content))


def _git(*words: str) -> bytes:
    done = subprocess.run(["git", "-C", str(ROOT), *words], check=False, capture_output=True)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise PreflightError(f"git {words[0]}: {said}; nothing was written")
    return done.stdout


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
