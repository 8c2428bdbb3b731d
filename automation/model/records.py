"""What was done and seen: outcomes, journal events, and the seams to hosts."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import Field, model_validator

from automation.model.base import Model
from automation.model.environment import Environment, Inventory
from automation.model.evidence import Evidence
from automation.model.secrets import SecretRef
from automation.model.terminals import DeviceLogin, Manners, Terminal


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


UnitState = Literal["absent", "running", "ended", "lost"]


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

    def fresh(self, host: str) -> AbstractContextManager[Remote]:
        """Log in to a host anew, over a connection of its own that is closed at the end.

        Raises:
            AdapterError: it lets nobody in.
        """

    def terminal(self, host: str, manners: Manners, login: DeviceLogin) -> Terminal:
        """Log in to a device and give its shell, pager off; the caller closes it."""

    def console(self, host: str) -> Remote:
        """Give the out-of-band console of a host that runs behind its network fence, by its provider.

        Raises:
            AdapterError: its provider has none.
        """

    def run_unit(
        self,
        host: str,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        timeout_s: float | None = None,
        console: bool = False,
    ) -> Completed:
        """Run, as root, what may last over 5 s as the step's own transient unit on the host.

        Called again, after a lost connection or by a resumed run, it joins the unit that runs or ran and
        never starts a second; what the unit said is kept on the host. `console`: by its console.

        Raises:
            OutcomeUnknown: it has not ended in time, or it began and left no result.
        """

    def unit_state(self, host: str, *, console: bool = False) -> UnitState:
        """Say how far the step's unit on a host is; changes nothing."""

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
    evidence: Evidence | None = None


ProgressState = Literal["done", "not_done", "in_progress", "unknown"]


class Progress(Model):
    """What `verify_<function>(action, ctx)` found of a step that began and whose end nobody wrote down.

    done: the effect is there, and `outcome` says so with its evidence; the action is not called again.
    not_done: nothing of it happened, or calling the action again is safe. in_progress: its unit runs on the
    host, calling the action joins it. unknown: a person must look.
    """

    state: ProgressState
    why: str = ""
    outcome: Outcome | None = None

    @model_validator(mode="after")
    def _done_says_what(self) -> "Progress":
        if (self.state == "done") != (self.outcome is not None):
            raise ValueError("done, and only done, comes with its outcome")
        return self


RunStatus = Literal["succeeded", "paused", "halted", "interrupted", "aborted"]


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


class StepRetried(Model):
    """An attempt met a transient error; the next begins after the wait, under the same start."""

    kind: Literal["step-retried"] = "step-retried"
    step: str
    attempt: int = Field(description="the one that failed, from 1")
    failure: Failure
    wait_s: float


class StepVerified(Model):
    """A resumed run looked at a step whose end nobody wrote down."""

    kind: Literal["step-verified"] = "step-verified"
    step: str
    progress: ProgressState
    why: str = ""


class UndoStarted(Model):
    """Written and synced before a step is taken back."""

    kind: Literal["undo-started"] = "undo-started"
    step: str


class StepUndone(Model):
    """A step was taken back, or that failed."""

    kind: Literal["step-undone"] = "step-undone"
    step: str
    status: Literal["succeeded", "failed"]
    outcome: Outcome | None = None
    failure: Failure | None = None


class GateAnswered(Model):
    """A person answered a gate; `by` is the actor, or the principal of a signed approval."""

    kind: Literal["gate-answered"] = "gate-answered"
    step: str
    answer: Literal["yes", "no"]
    by: str
    roles: tuple[str, ...] = ()
    reason: str = ""


class ApprovalRecorded(Model):
    """A signed approval of this run was verified and used up."""

    kind: Literal["approval-recorded"] = "approval-recorded"
    principal: str
    roles: tuple[str, ...]
    nonce: str
    approval_digest: str = Field(description="sha256 of the signed file, kept in the run's folder")
    expires_at: datetime


class OverrideRecorded(Model):
    """Signed: go on although a guard of a step saw what it must not."""

    kind: Literal["override-recorded"] = "override-recorded"
    step: str
    observed: str
    reason: str
    principals: tuple[str, ...]
    nonces: tuple[str, ...]
    approval_digests: tuple[str, ...] = Field(default=(), description="sha256 of the signed files")


class AuthorisationRecorded(Model):
    """The run goes on with nobody watching, under a standing authorisation that was verified."""

    kind: Literal["authorisation-recorded"] = "authorisation-recorded"
    name: str
    principal: str
    fingerprint: str = Field(description="of the key that signed it")
    role: str
    command: str
    resource: str
    amounts: Mapping[str, float] = Field(description="what the job was about to do, of what is limited")
    policy_digest: str
    authorisation_digest: str = Field(description="sha256 of the signed file, kept in the run's folder")
    expires_at: datetime


class StepSettled(Model):
    """A person looked at a step whose effect was unknown, and says how it is."""

    kind: Literal["step-settled"] = "step-settled"
    step: str
    progress: Literal["done", "not_done"]
    by: str
    reason: str


class RunResumed(Model):
    """A run goes on; everything before this line is folded first."""

    kind: Literal["run-resumed"] = "run-resumed"
    actor: str
    node: str
    version: str
    torn_bytes: int = Field(default=0, description="cut off the journal's end into journal.torn")


class AbortStarted(Model):
    """A person gave the run up: from here on only undo and cleanup."""

    kind: Literal["abort-started"] = "abort-started"
    actor: str
    reason: str
    undo: bool


class RunSealed(Model):
    """The head's hash, signed by the control node; the last line of a closed run."""

    kind: Literal["run-sealed"] = "run-sealed"
    head: str
    signer: str = Field(description="the public key")
    signed: str = Field(description="a `Seal`, as the bytes that were signed")
    signature: str


class RunClosed(Model):
    """A run ended by itself; one that is resumed later closes once more."""

    kind: Literal["run-closed"] = "run-closed"
    status: RunStatus
    not_started: tuple[str, ...] = ()
    gates: tuple[str, ...] = Field(default=(), description="steps that wait for nothing but a person's yes")


Body = Annotated[
    RunOpened
    | StepStarted
    | StepEnded
    | StepRetried
    | StepVerified
    | StepSettled
    | UndoStarted
    | StepUndone
    | GateAnswered
    | ApprovalRecorded
    | OverrideRecorded
    | AuthorisationRecorded
    | RunResumed
    | AbortStarted
    | RunSealed
    | RunClosed,
    Field(discriminator="kind"),
]


class Event(Model):
    """One line of a journal: `hash` covers this line and, by `previous`, all lines before."""

    sequence: int
    at: datetime
    body: Body
    previous: str
    hash: str
