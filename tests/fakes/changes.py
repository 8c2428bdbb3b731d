"""A host that takes changes back by itself: what the controller sees of it, in time that a test owns.

Contract with the real host side, held by tests/lab/test_enforcement.py: a change that may lock people out is
armed before it is made; `confirm` of an armed one keeps it, later it only says that it was taken back; a host
that nobody can log in to, or whose sudo says no, lets people in again when its switch has run.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from automation.model.errors import AdapterError
from automation.model.records import Completed


@dataclass
class ChangedHost:
    """One host, its clock, and what its change does to logins."""

    now_s: float = 1000.0
    markers: dict[str, dict[str, Any]] = field(default_factory=dict)
    reverts_at_s: float | None = None
    lets_in: bool = True
    lets_sudo: bool = True
    away_until_s: float = 0.0
    logins: list[float] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    # --- what a module does -------------------------------------------------------------------------

    def change(self, change: str, switch_s: float, **locks: Any) -> None:
        """Arm, and make a change that does something to logins."""
        self.markers[change] = {"state": "armed", "why": ""}
        self.reverts_at_s = self.now_s + switch_s
        for name, value in locks.items():
            setattr(self, name, value)

    def revert(self, change: str, why: str) -> None:
        self.markers[change] = {"state": "reverted", "why": why}
        self.lets_in = self.lets_sudo = True
        self.reverts_at_s = None

    # --- what the controller sees ---------------------------------------------------------------------

    @contextmanager
    def fresh(self) -> Iterator["ChangedHost"]:
        self._pass_time()
        self.logins.append(self.now_s)
        if not self.lets_in or self.now_s < self.away_until_s:
            raise AdapterError("cannot log in to web as ops: Authentication failed", transient=True)
        yield self

    def run(self, argv: Sequence[str], stdin: str | None = None, timeout_s: float = 30.0) -> Completed:
        self._pass_time()
        words = list(argv)
        if words[0] == "sudo" and not self.lets_sudo:
            return Completed(exit_code=1, stdout="", stderr="sudo: a password is required\n")
        if words == ["sh", "-c", "echo $SSH_CONNECTION"]:
            return Completed(exit_code=0, stdout="10.0.0.9 40000 10.0.0.1 22\n", stderr="")
        if words[-1] in ("state", "confirm"):
            return self._answer(words[-2].split("/")[-2], words[-1])
        return Completed(exit_code=0, stdout="", stderr="")

    def _answer(self, change: str, what: str) -> Completed:
        self.asked.append(what)
        marker = self.markers.get(change, {"state": "absent"})
        if what == "confirm" and marker["state"] == "armed" and not marker.get("failed"):
            marker["state"] = "confirmed"
            self.reverts_at_s = None
        kept = marker["state"] in ("confirmed", "kept")
        code = 1 if what == "confirm" and not kept else 0
        return Completed(exit_code=code, stdout=json.dumps(marker), stderr="")

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def _pass_time(self) -> None:
        if self.reverts_at_s is not None and self.now_s >= self.reverts_at_s:
            for change, marker in self.markers.items():
                if marker["state"] == "armed":
                    self.revert(change, "nobody confirmed it in time")


@dataclass
class FakeLog:
    """What a playbook left: the module's result, and how it ended."""

    result: dict[str, Any] | None
    failure: Exception | None = None

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        return {} if self.result is None else {"web": self.result}

    def outcome(self) -> None:
        if self.failure is not None:
            raise self.failure
