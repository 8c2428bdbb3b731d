"""What a run leaves behind: the report, as people and programs read it. Pure words.

`report_fold.fold_report` makes it from the plan, the journal and the witness's record; the after-action
report in it is made of `report_review`'s words.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import Field

from automation.model.base import Model
from automation.model.copies import CopiesCompared
from automation.model.evidence import (
    ChecksRun,
    Declaration,
    DnsChange,
    Fault,
    FenceProof,
    Promotion,
    Source,
    WritesExported,
)
from automation.recovery.objectives import Loss, Milestones, Outage, Verdict
from automation.recovery.rebuilt import IsolatedResult
from automation.recovery.report_review import Review
from automation.recovery.tabletop import TabletopRecord

REPORT_FORMAT = 2

ReportVerdict = Literal["met", "missed", "not-measured", "failed", "done", "open"]
StepStatus = Literal["succeeded", "failed", "unfinished", "not-started", "taken-back"]


class ServiceResult(Model):
    """One row of the result: what was promised, what was measured."""

    service: str
    title: str
    owner: str
    tier: int
    rto_s: float
    rpo_s: float
    mtd_s: float | None = None
    wrt_s: float = 0.0
    predicted_s: float | None = None
    outage: Outage
    loss: Loss
    rto_verdict: Verdict
    rpo_verdict: Verdict
    verdict: Verdict
    found_on_lost_primary: int | None = None
    exports: tuple[str, ...] = Field(default=(), description="artifacts that list writes, kept or lost")


class Attempt(Model):
    """One time that a step was tried; without an end it was cut short."""

    started_at: datetime
    ended_at: datetime | None = None
    status: Literal["succeeded", "failed", "unfinished"]
    text: str = ""


class StepResult(Model):
    """One step as it ran last; without times when it never started."""

    id: str
    service: str | None
    why: str
    effect: str = "read"
    status: StepStatus
    started_at: datetime | None = None
    ended_at: datetime | None = None
    seconds: float | None = None
    text: str = ""
    earlier: tuple[Attempt, ...] = Field(default=(), description="tried before this time")
    retries: int = 0
    critical: bool = Field(default=False, description="on the path that decided when the run was through")


class FenceResult(Model):
    """One fence, as the device that makes it read it back."""

    step: str
    server: str
    read_back: str
    source: Source
    at: datetime | None = None


class Takeover(Model):
    """One promotion, and what was known of the old primary when it began."""

    server: str
    started_at: datetime
    fences: tuple[str, ...] = Field(description="steps that had fenced it by then")
    proofs: tuple[str, ...] = Field(description="steps that had proved it by then")
    handed_over: tuple[str, ...] = Field(default=(), description="steps of a clean stop, with nothing left")
    borne_by: tuple[str, ...] = Field(default=(), description="who signed to go on without")


class Safety(Model):
    """Whether there could have been two primaries: the answer, and what it rests on."""

    verdict: Literal["safe", "borne", "unsafe", "nothing-promoted", "not-known"]
    text: str
    takeovers: tuple[Takeover, ...] = ()


class Signature(Model):
    """A person's agreement: who, in which role, with which key, to what, and when it was used."""

    kind: Literal["approval", "override", "gate", "authorisation"]
    person: str
    roles: tuple[str, ...]
    fingerprint: str = Field(default="", description="of the key; empty: no signed file is at hand")
    nonce: str = ""
    at: datetime
    expires_at: datetime | None = None
    step: str = ""
    asked: str = Field(default="", description="the question of a gate")
    answer: str = ""
    observed: str = Field(default="", description="the risk that was accepted, word for word")
    reason: str = ""


class Deviation(Model):
    """Something that the plan did not foresee; `by` is a person who acted, empty when nobody did."""

    at: datetime
    kind: str
    step: str = ""
    by: str = ""
    text: str


class Standstill(Model):
    """A time in which nobody ran the run: it was killed, stopped, or waited for a person."""

    from_at: datetime
    until_at: datetime


class Stretch(Model):
    """Probes of one id that followed each other with the same verdict."""

    good: bool
    from_at: datetime
    until_at: datetime
    probes: int
    errors: tuple[str, ...] = ()


class ProbeView(Model):
    """What one probe saw over the whole record; `down` is its longest time without a good answer."""

    probe: str
    stretches: tuple[Stretch, ...]
    out_from: datetime | None = None
    out_until: datetime | None = None
    down_from: datetime | None = None
    down_until: datetime | None = None

    @property
    def failures(self) -> int:
        """Probes that failed, in an outage that was measured or in none."""
        return sum(one.probes for one in self.stretches if not one.good)


class Measurement(Model):
    """How it was measured: without this, a time says nothing."""

    method: tuple[str, ...]
    witness_host: str
    beat_s: float
    timeout_s: float
    sustained: int
    clock_offset_s: float
    clock_uncertainty_s: float
    missed_beats: int
    witness_starts: int
    ended_in_order: bool
    resolver: str


class EvidenceState(Model):
    """What vouches for the record: chain, seal, and what a check of both found when this was written."""

    events: int
    head: str
    seals: int = Field(description="one for each time that the run ended")
    sealed: bool = Field(description="the last event is a seal")
    sealed_at: datetime | None = None
    seal_key: str = Field(default="", description="fingerprint of the control node's key")
    files: int = Field(default=0, description="files whose hash the last seal holds")
    checked: bool = False
    faults: tuple[str, ...] = ()


class Answer(Model):
    """A question that everybody has, and its answer in a sentence or two."""

    question: str
    text: str
    more: tuple[str, ...] = ()


class Report(Model):
    """Everything that a run leaves behind, for people and for programs."""

    format: int = REPORT_FORMAT
    name: str
    title: str
    kind: str
    verdict: ReportVerdict
    headline: str
    answers: tuple[Answer, ...]
    environment: str
    mode: str
    site: str
    run_id: str
    actor: str
    node: str
    version: str
    plan_digest: str
    inventory_digest: str
    timezone: str
    run_status: str
    started_at: datetime
    ended_at: datetime | None
    source: Source
    sources: Mapping[str, int] = Field(description="readings of devices by source: real, simulated")
    limits: tuple[str, ...]
    marks: Milestones
    served_again_at: datetime | None = Field(default=None, description="the run itself saw good probes")
    faults: tuple[Fault, ...]
    declaration: Declaration | None
    services: tuple[ServiceResult, ...]
    steps: tuple[StepResult, ...]
    fences: tuple[FenceResult, ...]
    proofs: tuple[FenceProof, ...]
    promotions: tuple[Promotion, ...]
    safety: Safety
    dns: tuple[DnsChange, ...]
    exported: tuple[WritesExported, ...]
    checks: ChecksRun | None
    signatures: tuple[Signature, ...]
    table: TabletopRecord | None = Field(default=None, description="what was said, of a tabletop")
    deviations: tuple[Deviation, ...]
    standstills: tuple[Standstill, ...]
    measurement: Measurement
    probes: tuple[ProbeView, ...]
    evidence: EvidenceState
    isolated: IsolatedResult | None = Field(default=None, description="of a test failover")
    copies: CopiesCompared | None = Field(default=None, description="how recovered hosts are secured")
    review: Review
