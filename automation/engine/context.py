"""What adapters are handed: connections, state, secrets, progress."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from automation.engine.units import Unit, unit_name
from automation.model.environment import Environment, Inventory
from automation.model.errors import AdapterError
from automation.model.logs import redact
from automation.model.records import Completed, Remote, UnitState
from automation.model.refused_text import holds_a_secret
from automation.model.secrets import SecretRef
from automation.model.terminals import DeviceLogin, Manners, Terminal


class Connections(Protocol):
    """Kept connections to the hosts of an inventory."""

    def remote(self, host: str) -> Remote: ...

    def fresh(self, host: str) -> AbstractContextManager[Remote]: ...

    def terminal(
        self, host: str, manners: Manners, user: str, password: str | None, enable: str | None
    ) -> Terminal: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class RunContext:
    """The context of one run; `for_step` gives each step its own view."""

    run_id: str
    environment: Environment
    inventory: Inventory
    state: Path
    images: Path
    artifacts: Path
    connections: Connections
    progress: Callable[[str, str], None]
    step_id: str = ""
    timeout_s: float = 60.0
    attempt: int = 1
    resolved: set[str] = field(default_factory=set)
    consoles: Callable[[str], Remote] | None = None

    def for_step(self, step_id: str, timeout_s: float, attempt: int = 1) -> "RunContext":
        """Give a step's own view; attempts are counted by the failures that were written down."""
        return replace(self, step_id=step_id, timeout_s=timeout_s, attempt=attempt)

    def remote(self, host: str) -> Remote:
        return self.connections.remote(host)

    def fresh(self, host: str) -> AbstractContextManager[Remote]:
        return self.connections.fresh(host)

    def terminal(self, host: str, manners: Manners, login: DeviceLogin) -> Terminal:
        password, enable = (
            None if ref is None else self.secret(ref) for ref in (login.password, login.enable)
        )
        return self.connections.terminal(host, manners, login.user, password, enable)

    def console(self, host: str) -> Remote:
        if self.consoles is None:
            raise AdapterError(f"the provider of {host} has no out-of-band console; nothing was changed")
        return self.consoles(host)

    def run_unit(
        self,
        host: str,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        timeout_s: float | None = None,
        console: bool = False,
    ) -> Completed:
        unit = self._unit(host, console=console)
        return unit.run(argv, stdin, self.timeout_s if timeout_s is None else timeout_s)

    def unit_state(self, host: str, *, console: bool = False) -> UnitState:
        return self._unit(host, console=console).state()

    def _unit(self, host: str, *, console: bool) -> Unit:
        remote = self.console(host) if console else self.remote(host)
        return Unit(unit_name(self.run_id, self.step_id, self.attempt), host, remote)

    def say(self, text: str) -> None:
        self.progress(self.step_id, redact(text, self.resolved))

    def secret(self, ref: SecretRef) -> str:
        value = read_secret(ref, self.state)
        self.resolved.add(value)
        named = (line.partition("=") for line in value.splitlines())
        self.resolved.update(part for name, _, part in named if holds_a_secret(name))
        return value


def read_secret(ref: SecretRef, state: Path) -> str:
    """Give the value that a reference names.

    Raises:
        AdapterError: it cannot be read; names the reference alone.
    """
    if ref.env is not None:
        if ref.env not in os.environ:
            raise AdapterError(f"secret {{env: {ref.env}}} is not set; nothing was changed")
        return os.environ[ref.env]
    path = state / str(ref.file)
    try:
        return path.read_text().strip()
    except OSError as exc:
        raise AdapterError(
            f"secret {{file: {ref.file}}} cannot be read: {exc.strerror}; nothing was changed"
        ) from exc
