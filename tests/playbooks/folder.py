"""A folder that stands for a host, for what our Ansible modules share; found as Ansible finds it."""

import os
from pathlib import Path
from typing import Any

import ansible.module_utils

SHARED = Path(__file__).resolve().parents[2] / "playbooks/module_utils"
ansible.module_utils.__path__.append(str(SHARED))

from ansible.module_utils.baseline.revert import Host  # noqa: E402


class Folder(Host):
    """A folder that stands for a host's root; systemd alone answers, and what was asked is kept."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, owner=(os.getuid(), os.getgid()))
        self.asked: list[tuple[str, ...]] = []
        self.units: dict[str, list[str]] = {}
        self.failing: set[str] = set()
        self.boot = "first"

    def run(self, *words: str, timeout_s: float = 0.0) -> tuple[int, str, str]:
        """Answer as systemd would of the units that there are."""
        self.asked.append(words)
        if self.failing & set(words):
            return 1, "", f"{words[0]} refuses"
        words = tuple(word for word in words if not word.startswith("--"))
        verb, unit = words[1] if words[1:] else "", words[-1]
        state = self.units.get(unit, ["not-found", "inactive"])
        changes = {
            "mask": (0, "masked"),
            "unmask": (0, "disabled"),
            "enable": (0, "enabled"),
            "disable": (0, "disabled"),
            "start": (1, "active"),
            "stop": (1, "inactive"),
        }
        if words[0] == "systemctl" and verb in changes and unit in self.units:
            at, word = changes[verb]
            state[at] = word
        said = {"is-enabled": state[0], "is-active": state[1]}
        if verb == "show":
            return 0, f"Id={unit}\nActiveState={state[1]}\n", ""
        return 0, said.get(verb, ""), ""

    def boot_id(self) -> str:
        return self.boot

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Lay a file down."""
        place = self.at(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)
        return place

    def everything(self) -> dict[str, Any]:
        """Give all files but those of changes: bytes, mode, time."""
        return {
            str(path.relative_to(self.root)): (
                path.read_bytes(),
                path.stat().st_mode,
                path.stat().st_mtime_ns,
            )
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and "mainstay-changes" not in path.parts
        } | {f"{path.relative_to(self.root)}/": path.stat().st_mode for path in self.root.glob("etc/**/")}
