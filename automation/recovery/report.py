"""What a drill leaves behind: the report, as people and programs read it. Pure words.

`report_fold.fold_report` makes it from the plan, the journal and the witness's record.
"""

from datetime import datetime
from typing import Literal

from automation.model.base import Model
from automation.model.evidence import (
    ChecksRun,
    Declaration,
    DnsChange,
    Fault,
    FenceProof,
    Promotion,
    Source,
)
from automation.recovery.objectives import Loss, Milestones, Outage, Verdict

REPORT_FORMAT = 1


class ServiceResult(Model):
    """One row of the result: what was promised, what was measured."""

    service: str
    title: str
    owner: str
    tier: int
    rto_s: float
    rpo_s: float
    outage: Outage
    loss: Loss
    rto_verdict: Verdict
    rpo_verdict: Verdict
    verdict: Verdict
    found_on_lost_primary: int | None = None


class StepResult(Model):
    """One step as it ran; without times when it never started."""

    id: str
    service: str | None
    why: str
    status: Literal["succeeded", "failed", "unfinished", "not-started"]
    started_at: datetime | None = None
    ended_at: datetime | None = None
    seconds: float | None = None
    text: str = ""


class FenceResult(Model):
    """One fence, as the device that makes it read it back."""

    step: str
    server: str
    read_back: str
    source: Source


class Stretch(Model):
    """Probes of one id that followed each other with the same verdict."""

    good: bool
    from_at: datetime
    until_at: datetime
    probes: int
    errors: tuple[str, ...] = ()


class ProbeView(Model):
    """What one probe saw over the whole record."""

    probe: str
    stretches: tuple[Stretch, ...]


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


class DrillReport(Model):
    """Everything that a drill leaves behind, for people and for programs."""

    format: int = REPORT_FORMAT
    drill: str
    title: str
    verdict: Literal["met", "missed", "not-measured", "failed"]
    headline: str
    environment: str
    mode: str
    run_id: str
    actor: str
    node: str
    version: str
    plan_digest: str
    run_status: str
    started_at: datetime
    ended_at: datetime | None
    source: Source
    limits: tuple[str, ...]
    marks: Milestones
    faults: tuple[Fault, ...]
    declaration: Declaration | None
    services: tuple[ServiceResult, ...]
    steps: tuple[StepResult, ...]
    fences: tuple[FenceResult, ...]
    proofs: tuple[FenceProof, ...]
    promotions: tuple[Promotion, ...]
    dns: tuple[DnsChange, ...]
    checks: ChecksRun | None
    measurement: Measurement
    probes: tuple[ProbeView, ...]
