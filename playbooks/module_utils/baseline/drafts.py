"""Files as they shall be: drafts over what lies on the host, and edits of single lines."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from ansible.module_utils.baseline.revert import Host, rights, same_rights


class Refused(Exception):
    """A setting that cannot be applied here; the message says why, and nothing of it was done."""


@dataclass
class Draft:
    """One file as it was, and as it shall be."""

    path: str
    was: dict | None  # rights; None: it is not there
    before: bytes | None  # None: not there, or only its rights are wanted
    content: bytes | None
    rights: dict

    @property
    def changes_content(self) -> bool:
        return self.content is not None and self.content != self.before

    @property
    def changes(self) -> bool:
        return self.changes_content or (
            self.was is not None and any(self.was[key] != self.rights[key] for key in ("mode", "uid", "gid"))
        )

    def is_stale(self, place: Path) -> bool:
        """Whether a file is not any more as it was when this was made of it."""
        now = rights(place) if os.path.lexists(place) else None
        if self.was is None or now is None:
            return now is not self.was
        return not same_rights(now, self.was) or (
            self.changes_content and (not place.is_file() or place.read_bytes() != self.before)
        )

    def wrote(self) -> dict:
        """Give what an undo compares with: whatever differs then was edited since."""
        sha256 = hashlib.sha256(self.content).hexdigest() if self.content is not None else ""
        return {"sha256": sha256, **{key: self.rights[key] for key in ("mode", "uid", "gid")}}


@dataclass
class Drafts:
    """All files of a change, each as all settings so far want it."""

    host: Host
    files: dict[str, Draft] = field(default_factory=dict)

    def read(self, path: str) -> bytes | None:
        """Give what stands in a file, with what earlier settings made of it; None if it is not there."""
        draft = self.files.get(path)
        if draft is not None and draft.content is not None:
            return draft.content
        place = self.host.at(path)
        return place.read_bytes() if place.is_file() else None

    def write(self, path: str, content: bytes, mode: int | None = None) -> None:
        """Let a file have this content; without a mode it keeps the one it has, and new ones get 0644."""
        draft = self._draft(path)
        if draft.content is None:
            draft.content = draft.before = self.host.at(path).read_bytes() if draft.was is not None else None
        draft.content = content
        if mode is not None:
            uid, gid = self.host.owner
            draft.rights = {**draft.rights, "mode": mode, "uid": uid, "gid": gid}

    def set_rights(self, path: str, mode: int, uid: int, gid: int) -> None:
        draft = self._draft(path)
        draft.rights = {**draft.rights, "mode": mode, "uid": uid, "gid": gid}

    def forget(self, path: str) -> None:
        self.files.pop(path, None)

    def changed(self) -> list[Draft]:
        return [draft for draft in self.files.values() if draft.changes]

    def _draft(self, path: str) -> Draft:
        if path not in self.files:
            was = self._look(self.host.at(path))
            uid, gid = self.host.owner
            new = {"mode": 0o644, "uid": uid, "gid": gid, "xattrs": {}}
            kept = {key: value for key, value in (was or new).items() if key != "mtime_ns"}
            self.files[path] = Draft(path, was, None, None, kept)
        return self.files[path]

    @staticmethod
    def _look(place: Path) -> dict | None:
        try:
            seen = place.lstat()
        except FileNotFoundError:
            return None
        except NotADirectoryError as error:
            raise Refused(f"{error.filename} lies below a file") from error
        if stat.S_ISLNK(seen.st_mode):
            raise Refused(f"it is a link to {place.readlink()}; name the file that it points to")
        if not stat.S_ISREG(seen.st_mode) and not stat.S_ISDIR(seen.st_mode):
            raise Refused("it is neither a file nor a folder")
        return rights(place)


def find(host: Host, pattern: str) -> list[str]:
    """Name what a pattern stands for on the host, sorted; as in a shell an asterisk hides hidden files."""
    root = str(host.root).rstrip("/")
    return sorted(path.removeprefix(root) for path in glob.glob(glob.escape(root) + pattern))  # noqa: PTH207


# --- single lines ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """A key of a file of keys and values."""

    name: str
    separator: str = " "
    section: str = ""
    any_case: bool = False

    def line(self, value: str) -> str:
        return f"{self.name}{self.separator}{value}" if value else self.name

    def pattern(self, prefix: str = r"\s*") -> re.Pattern[str]:
        between = r"\s*=\s*" if "=" in self.separator else r"[ \t]+"
        flags = re.IGNORECASE if self.any_case else 0
        return re.compile(rf"^{prefix}{re.escape(self.name)}(?:{between}(?P<value>.*?))?\s*$", flags)


def get_key(text: str, key: Key) -> str | None:
    """Give the value of a key as its last line has it; None if no line has it."""
    lines = text.split("\n")
    start, end = _section(lines, key.section)
    found = [match["value"] or "" for line in lines[start:end] if (match := key.pattern().match(line))]
    return found[-1] if found else None


def set_key(text: str, key: Key, value: str) -> str:
    """Give a text in which every line of a key has this value, and at least one does.

    Order and comments are kept. A line that is missing goes below the commented-out one, or to the end of
    its section.
    """
    lines = text.split("\n")
    start, end = _section(lines, key.section)
    pattern, line = key.pattern(), key.line(value)
    found = [at for at in range(start, end) if pattern.match(lines[at])]
    for at in found:
        match = pattern.match(lines[at])
        if match is not None and (match["value"] or "") != value:
            lines[at] = line
    if not found:
        _insert(lines, key, line)
    return "\n".join(lines)


def _insert(lines: list[str], key: Key, line: str) -> None:
    start, end = _section(lines, key.section)
    if start == end == len(lines) and key.section:
        while lines and not lines[-1].strip():
            lines.pop()
        lines += [*([""] if lines else []), f"[{key.section}]", line, ""]
        return
    shown = key.pattern(prefix=r"\s*#\s*")
    examples = [at for at in range(start, end) if shown.match(lines[at])]
    at = examples[-1] + 1 if examples else _last_written(lines, start, end)
    lines.insert(at, line)
    if at == len(lines) - 1:
        lines.append("")  # a file ends with a line feed


def _last_written(lines: list[str], start: int, end: int) -> int:
    while end > start and not lines[end - 1].strip():
        end -= 1
    return end


def _section(lines: list[str], name: str) -> tuple[int, int]:
    """Give where the lines of a section begin and end; without a name those before any section."""
    heads = [(at, match[1]) for at, line in enumerate(lines) if (match := re.match(r"^\s*\[([^]]+)\]", line))]
    if not name:
        return 0, heads[0][0] if heads else len(lines)
    for number, (at, found) in enumerate(heads):
        if found == name:
            return at + 1, heads[number + 1][0] if number + 1 < len(heads) else len(lines)
    return len(lines), len(lines)
