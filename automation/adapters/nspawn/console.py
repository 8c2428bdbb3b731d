"""The out-of-band console of a fenced server, as a `Remote`: by the supervisor, not by the network.

The counterpart of what a hypervisor offers as guest operations. It is refused while the management of the
server's site does not answer, and for a server that is not blocked on the network.
"""

import base64
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from automation.adapters.nspawn.client import Supervisor
from automation.model.errors import AdapterError
from automation.model.records import Completed

ANSWER_S = 5.0


@dataclass(frozen=True)
class Console:
    """One server's console; root inside it."""

    lab: Supervisor
    host: str

    def run(self, argv: Sequence[str], stdin: str | None = None, timeout_s: float = 30.0) -> Completed:
        """Run one command to its end."""
        done = self.lab.ask(
            "run_on_console",
            server=self.host,
            argv=list(argv),
            stdin=stdin or "",
            timeout_s=timeout_s,
            within_s=timeout_s + ANSWER_S,
        )
        return Completed(exit_code=done["exit_code"], stdout=done["stdout"], stderr=done["stderr"])

    def put(self, path: str, content: bytes, mode: int = 0o600) -> None:
        """Write one file, whole or not at all."""
        new = shlex.quote(f"{path}.new")
        script = f"umask 077; base64 -d >{new} && chmod {mode:o} {new} && mv -T {new} {shlex.quote(path)}"
        self._must(["sh", "-c", script], base64.b64encode(content).decode())

    def get(self, path: str) -> bytes:
        """Read one file."""
        return base64.b64decode(self._must(["base64", "--", path]))

    def _must(self, argv: Sequence[str], stdin: str = "") -> str:
        done = self.run(argv, stdin)
        if done.exit_code:
            raise AdapterError(f"{argv[0]} on the console of {self.host}: {done.stderr.strip()}")
        return done.stdout
