"""The file of host keys that alone are trusted: a server's key is put in when it is learned."""

import base64
import fcntl
import hashlib
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path


def pin(path: Path, names: Iterable[str], public: str) -> bool:
    """Make a key the only one that is accepted of a server; whether that changed anything.

    Args:
        names: its name and its addresses.
        public: as OpenSSH writes it: type, blank, base64.
    """
    listed = tuple(dict.fromkeys(names))
    kind, encoded = public.split()[:2]
    with _locked(path):
        before = _read(path)
        after = [*_without(before, set(listed)), f"{','.join(listed)} {kind} {encoded}"]
        changed = set(after) != set(before)
        if changed:
            _write(path, after)
        return changed


def forget(path: Path, names: Set[str]) -> None:
    """Accept a server no more: it is gone."""
    with _locked(path):
        before = _read(path)
        if (after := _without(before, names)) != before:
            _write(path, after)


def pinned(path: Path, names: Set[str]) -> tuple[str, ...]:
    """Give the keys that are accepted of a server by all of these names: type, blank, base64."""
    lines = (line.split() for line in _read(path))
    return tuple(" ".join(words[1:3]) for words in lines if words and names <= set(words[0].split(",")))


def fingerprint(public: str) -> str:
    """Give the fingerprint of a public key as ssh-keygen prints it. Pure."""
    digest = hashlib.sha256(base64.b64decode(public.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the file while it is written: servers are made side by side."""
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _without(lines: Iterable[str], names: Set[str]) -> list[str]:
    return [line for line in lines if not names & set(line.split(" ", 1)[0].split(","))]


def _read(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _write(path: Path, lines: Iterable[str]) -> None:
    draft = path.with_name(f".{path.name}.new")
    draft.write_text("".join(f"{line}\n" for line in lines))
    draft.chmod(0o600)
    draft.replace(path)
