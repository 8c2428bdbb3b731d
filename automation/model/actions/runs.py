"""Actions that every drill and failover has: witness, checks, time, what people declare."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from automation.model.actions.base import BaseAction, Effect
from automation.model.base import Model


class Probe(Model):
    """One thing a client does again and again, by name, to see whether a service is well."""

    id: str = Field(description="service/probe")
    kind: Literal["http", "http-write", "postgresql", "tcp"]
    name: str = Field(description="the DNS name that clients use")
    port: int = Field(ge=1, le=65535)
    path: str = "/"
    expect_status: int = 200


class StartWitness(BaseAction):
    """Start probing from a vantage host."""

    do: Literal["witness.start"] = "witness.start"
    effect: ClassVar[Effect] = "change"
    host: str
    probes: tuple[Probe, ...]
    beat_s: float
    timeout_s: float


class AwaitGood(BaseAction):
    """Wait until each of the probes was good so many times in a row."""

    do: Literal["witness.await_good"] = "witness.await_good"
    effect: ClassVar[Effect] = "read"
    host: str
    probes: tuple[str, ...]
    count: int


class AwaitWell(BaseAction):
    """Wait until each of the probes was good so many times in a row, right before what needs it is begun."""

    do: Literal["witness.await_well"] = "witness.await_well"
    effect: ClassVar[Effect] = "read"
    guards: ClassVar[bool] = True
    host: str
    probes: tuple[str, ...]
    count: int


class AwaitFailed(BaseAction):
    """Wait until one of the probes failed so many times in a row: the outage is detected."""

    do: Literal["witness.await_failed"] = "witness.await_failed"
    effect: ClassVar[Effect] = "read"
    host: str
    probes: tuple[str, ...]
    count: int


class ProveRefused(BaseAction):
    """Try to connect to a fenced server from the vantage; a connection made is a failure."""

    do: Literal["witness.prove_refused"] = "witness.prove_refused"
    effect: ClassVar[Effect] = "read"
    holds: ClassVar[bool] = True
    host: str
    server: str
    address: str
    port: int
    reachable: tuple[str, ...] = Field(description="address:port that must answer in the same moment")
    same_site: tuple[str, ...] = Field(default=(), description="address:port beside the fenced server")
    else_from: tuple[str, ...] = Field(default=(), description="vantages to ask when the host is lost")
    means: tuple[str, ...]


class CollectWitness(BaseAction):
    """Stop the witness and fetch its record into the run's artifacts."""

    do: Literal["witness.collect"] = "witness.collect"
    effect: ClassVar[Effect] = "change"
    host: str


class RunChecks(BaseAction):
    """Run pytest checks against the recovered services; no check collected is a failure."""

    do: Literal["checks.run"] = "checks.run"
    effect: ClassVar[Effect] = "read"
    paths: tuple[str, ...]
    services: tuple[str, ...]
    site: str
    host: str = Field(
        default="", description="isolated server that they all run on; empty: they serve clients"
    )


class Wait(BaseAction):
    """Let time pass: drills place their faults with it."""

    do: Literal["clock.wait"] = "clock.wait"
    effect: ClassVar[Effect] = "read"
    seconds: float = Field(ge=0, le=3600)


class Declare(BaseAction):
    """Record that sites are lost, by whom and why; a drill's is marked an exercise."""

    do: Literal["declaration.declare"] = "declaration.declare"
    effect: ClassVar[Effect] = "change"
    sites: tuple[str, ...]
    reason: str
    exercise: bool
    declared_by: str


class CiteDeclaration(BaseAction):
    """See that a person's declaration still stands; the run of a failover begins with it."""

    do: Literal["declaration.cite"] = "declaration.cite"
    effect: ClassVar[Effect] = "read"
    holds: ClassVar[bool] = True
    declaration: str = Field(description="the run that recorded it")
    site: str
    services: tuple[str, ...] = Field(
        default=(), description="none of them may be suspected of a split brain"
    )


class SuspectSplitBrain(BaseAction):
    """Mark a service: two of its databases may be writable, until a person has looked."""

    do: Literal["declaration.suspect_split_brain"] = "declaration.suspect_split_brain"
    effect: ClassVar[Effect] = "change"
    holds: ClassVar[bool] = True
    service: str
    hosts: tuple[str, str] = Field(description="the old primary, the new one")
    observed: str = Field(description="what the signatures of both roles accept, word for word")
    roles: tuple[str, str]
    reason: str


class AcceptLag(BaseAction):
    """Go on with a standby that lacks more than the RPO allows; two people have signed for this value."""

    do: Literal["declaration.accept_lag"] = "declaration.accept_lag"
    effect: ClassVar[Effect] = "read"
    service: str
    observed: str = Field(description="what the signatures of both roles accept, word for word")
    roles: tuple[str, str]


class ClearSuspicion(BaseAction):
    """End the suspicion of a service, with who looked and what was seen."""

    do: Literal["declaration.clear_suspicion"] = "declaration.clear_suspicion"
    effect: ClassVar[Effect] = "change"
    service: str
    suspected_by: str = Field(description="the run that left the suspicion which was looked into")
    since: datetime
    seen: tuple[str, ...]
    seen_at: datetime
    reason: str
    cleared_by: str
