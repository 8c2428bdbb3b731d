"""What was done and seen: outcomes, journal events, and the seams to hosts."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import Field

from automation.model.base import Model
from automation.model.environment import Environment, Inventory, SecretRef
from automation.model.evidence import Evidence


class Completed(Model):
    """How a command on a host ended."""

    exit_code: int
    stdout: str
    stderr: str


class Remote(Protocol):
    """One host, reached over a kept connection; every call raises AdapterError on loss of it."""

    def run(self, argv: Sequence[str], stdin: str | None = None, timeout_s: float = 30.0) -> Completed:
        """Run one command to its end; a non-zero exit code is an answer, not an error."""

    def put(self, path: str, content: bytes, mode: int = 0o600) -> None:
        """Write one file, whole or not at all."""

    def get(self, path: str) -> bytes:
        """Read one file."""


class Context(Protocol):
    """What the engine hands to an adapter function beside its action."""

    @property
    def run_id(self) -> str: ...

    @property
    def step_id(self) -> str: ...

    @property
    def environment(self) -> Environment: ...

    @property
    def inventory(self) -> Inventory: ...

    @property
    def state(self) -> Path:
        """The environment's state folder."""

    @property
    def images(self) -> Path:
        """Golden images, shared by all environments of this state."""

    @property
    def artifacts(self) -> Path:
        """The run's artifacts."""

    @property
    def timeout_s(self) -> float:
        """The step's limit; an adapter keeps to it itself."""

    def remote(self, host: str) -> Remote:
        """Give the kept connection to a host of the inventory."""

    def say(self, text: str) -> None:
        """Tell the person who watches how far a long action is."""

    def secret(self, ref: SecretRef) -> str:
        """Resolve a reference at the last moment; the value is redacted from logs from then on."""


class Outcome(Model):
    """What an action did; `changed` is false when what it wants was already so."""

    changed: bool
    summary: str
    evidence: Evidence | None = None


class Failure(Model):
    """Why a step did not succeed, and whether its effect is known."""

    error: str
    message: str
    hint: str | None = None
    known: bool = True
    transient: bool = False


RunStatus = Literal["succeeded", "paused", "halted", "interrupted"]


class RunOpened(Model):
    """First event of every journal."""

    kind: Literal["run-opened"] = "run-opened"
    run_id: str
    plan_format: int
    plan_name: str
    plan_digest: str
    environment: str
    mode: str
    actor: str
    node: str
    version: str


class StepStarted(Model):
    """Written and synced before the effect."""

    kind: Literal["step-started"] = "step-started"
    step: str


class StepEnded(Model):
    """Written and synced after the effect; exactly one of outcome and failure."""

    kind: Literal["step-ended"] = "step-ended"
    step: str
    status: Literal["succeeded", "failed"]
    outcome: Outcome | None = None
    failure: Failure | None = None


class RunClosed(Model):
    """Last event of a run that ended by itself."""

    kind: Literal["run-closed"] = "run-closed"
    status: RunStatus
    not_started: tuple[str, ...] = ()


Body = Annotated[RunOpened | StepStarted | StepEnded | RunClosed, Field(discriminator="kind")]


class Event(Model):
    """One line of a journal: `hash` covers this line and, by `previous`, all lines before."""

    sequence: int
    at: datetime
    body: Body
    previous: str
    hash: str
