"""What a test failover rebuilt, and what it left as it was: a part of its report. Pure words."""

from datetime import datetime

from pydantic import Field

from automation.model.base import Model
from automation.model.drill_evidence import IsolatedServer, IsolationProof
from automation.model.replicas import NetworkProven
from automation.recovery.leftovers import Audit


class Rebuilt(Model):
    """One database that was restored, and how far it came."""

    service: str
    resource: str
    store: str
    point: str
    asked_at: datetime | None
    reached_at: datetime | None
    restore_s: float | None
    size_bytes: int | None
    archive_mode: str
    slots: int | None
    behind_s: float | None
    proven: bool


class IsolatedResult(Model):
    """A test failover: its server, the proof that it was isolated, what was rebuilt, what stayed."""

    server: str
    reaches: tuple[str, ...]
    read_back: IsolatedServer | None
    proof: IsolationProof | None
    rebuilt: tuple[Rebuilt, ...]
    audit: Audit
    copies: tuple[str, ...] = Field(default=(), description="machines that were copied, none rebuilt")
    networks: tuple[NetworkProven, ...] = Field(default=(), description="where copies were, leading nowhere")

    @property
    def is_proven(self) -> bool:
        """Whether its isolation was proved, before anything was brought in."""
        return self.proof is not None or bool(self.networks)
