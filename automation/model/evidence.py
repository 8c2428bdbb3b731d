"""Typed evidence: what an outcome proves, read by reports and by the next plan only."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from automation.model.backup_evidence import (
    CanaryRefused,
    ConfigFetched,
    CopyRecovered,
    DatabaseDumped,
    DoubtCleared,
    LocksLengthened,
    NotImmutable,
    PointProven,
    PointRestored,
    PointsCopied,
    PointsDeleted,
    PointsMarked,
    PointTaken,
    PolicyAccepted,
    ProofFailed,
    RepositoryChecked,
    SpaceReclaimed,
    TakeFailed,
)
from automation.model.base import Model
from automation.model.baseline_evidence import CallsMade, FactsCollected, SettingsEnforced, SettingsUndone
from automation.model.drill_evidence import IsolatedServer, IsolationProof, Listing, RestoredSeen
from automation.model.machine_evidence import HostKeyLearned, ProviderChange
from automation.model.moves import Stamp
from automation.model.observations import PrimaryPosition, StandbyPosition
from automation.model.replicas import DatabaseChange, NetworkProven, PilotSeen, ReplicasSeen

Source = Literal["real", "simulated"]

# A declaration older than this was about another day.
DECLARATION_LIVES = timedelta(hours=24)


class ServerState(Model):
    """Read back from the provider after a power or network action."""

    kind: Literal["server-state"] = "server-state"
    server: str
    power: Literal["on", "off", "absent"]
    autostart: bool
    network: Literal["connected", "blocked"]
    source: Source = "real"


class FenceProof(Model):
    """A connection to the fenced server was attempted from a vantage and refused."""

    kind: Literal["fence-proof"] = "fence-proof"
    server: str
    vantage: str
    address: str
    port: int
    refused_by: str = Field(description="how the attempt failed, for example unreachable or timeout")
    reached_instead: tuple[str, ...] = Field(description="what the vantage reached at that moment")
    means: tuple[str, ...] = Field(description="the fences read back before")
    basis: Literal["own-block", "reached-same-site"] = Field(
        default="own-block",
        description="why a refusal is more than silence: a router of ours said no, or the site answered",
    )
    source: Source = "real"


class Declaration(Model):
    """A person, or a drill, says that a site is lost."""

    kind: Literal["declaration"] = "declaration"
    sites: tuple[str, ...]
    reason: str
    exercise: bool
    declared_by: str
    declared_at: datetime


class Promotion(Model):
    """A standby became the writable primary."""

    kind: Literal["promotion"] = "promotion"
    server: str
    system_identifier: str
    timeline_before: int
    timeline_after: int
    last_lsn: str = Field(description="last WAL location replayed before promotion")


class StandbyCloned(Model):
    """A host's cluster was made anew from its primary; what it held before is kept."""

    kind: Literal["standby-cloned"] = "standby-cloned"
    server: str
    primary: str
    system_identifier: str
    kept: str = Field(description="the old data directory")


class ServicePaused(Model):
    """A service was stopped on purpose: from then on clients are without it."""

    kind: Literal["service-paused"] = "service-paused"
    host: str
    unit: str
    at: datetime


class Demotion(Model):
    """A primary was stopped cleanly and can only come back as a standby."""

    kind: Literal["demotion"] = "demotion"
    server: str
    standby: str
    system_identifier: str
    timeline: int
    checkpoint: str = Field(description="WAL location of its last record, the shutdown checkpoint")


class NothingLost(Model):
    """A standby has replayed all that its stopped primary ever wrote."""

    kind: Literal["nothing-lost"] = "nothing-lost"
    primary: str
    standby: str
    checkpoint: str
    replayed: str
    timeline: int


class DataKept(Model):
    """A data directory that is kept beside the one in use; nothing removes it by itself."""

    kind: Literal["data-kept"] = "data-kept"
    server: str
    path: str
    size_bytes: int
    kept_at: datetime
    keep_until: datetime


class WritesExported(Model):
    """Writes that only an old primary holds: their references, and their rows where a query gives them."""

    kind: Literal["writes-exported"] = "writes-exported"
    service: str
    server: str
    references: str
    count: int
    export: str | None = Field(description="artifact with the rows; None: no query gives them")


class Synchrony(Model):
    """Whether commits of a primary wait for its standby."""

    kind: Literal["synchrony"] = "synchrony"
    server: str
    standby: str
    synchronous: bool


class Replication(Model):
    """State of a standby as the primary and itself see it."""

    kind: Literal["replication"] = "replication"
    primary: str
    standby: str
    system_identifier: str
    timeline: int
    state: str
    synchronous: bool
    lag_bytes: int


class ReplicationSeen(Model):
    """A pair of databases as each sees itself; None where one did not answer."""

    kind: Literal["replication-seen"] = "replication-seen"
    primary: PrimaryPosition | None
    standby: StandbyPosition | None
    silent: Mapping[str, str] = Field(description="host to why it did not answer")


class DnsRecord(Model):
    """The addresses of a name on one server, and how long clients may keep them."""

    addresses: tuple[str, ...]
    ttl_s: float
    moved: Stamp | None = Field(default=None, description="when it was last moved, if that was asked for")


class RecordsSeen(Model):
    """What each authoritative server answers for the names of services."""

    kind: Literal["records-seen"] = "records-seen"
    answers: Mapping[str, Mapping[str, DnsRecord]] = Field(description="server to name to record")
    silent: Mapping[str, str] = Field(description="server to why it did not answer")


class HostSeen(Model):
    """A host that answers, the room on its disk, and what it reaches itself."""

    kind: Literal["host-seen"] = "host-seen"
    host: str
    free_bytes: int
    used_percent: int
    not_reached: tuple[str, ...]


class SecretsSeen(Model):
    """Names of secrets that can be read here and of those that cannot."""

    kind: Literal["secrets-seen"] = "secrets-seen"
    readable: tuple[str, ...]
    unreadable: Mapping[str, str]


class Suspicion(Model):
    """Two databases of a service may be writable: SPLIT_BRAIN_SUSPECTED."""

    kind: Literal["suspicion"] = "suspicion"
    service: str
    hosts: tuple[str, str] = Field(description="the old primary, the new one")
    run_id: str
    reason: str
    since: datetime


class SuspicionCleared(Model):
    """A person looked at both databases and says that one alone is writable."""

    kind: Literal["suspicion-cleared"] = "suspicion-cleared"
    suspicion: Suspicion
    seen: tuple[str, ...]
    reason: str
    cleared_by: str
    cleared_at: datetime


class DnsChange(Model):
    """Records swapped on every authoritative server that was reached."""

    kind: Literal["dns-change"] = "dns-change"
    name: str
    old: str
    new: str
    updated: tuple[str, ...]
    reconcile: tuple[str, ...] = Field(description="servers not reached: reconcile before they answer again")
    source: Source = "real"


class RecordsReconciled(Model):
    """What a server took from others whose names were moved later than its own."""

    kind: Literal["records-reconciled"] = "records-reconciled"
    server: str
    sources: tuple[str, ...]
    taken: Mapping[str, str] = Field(description="name to address")
    started: bool = Field(default=False, description="it did not run, took them first, and was started then")


class WitnessRecord(Model):
    """What the witness has written, fetched to the run's artifacts."""

    kind: Literal["witness-record"] = "witness-record"
    host: str
    file: str
    probes: int
    acknowledged: int
    clock_offset_s: float = Field(description="clock of the witness host minus ours")
    clock_uncertainty_s: float


class ProbesSeen(Model):
    """The witness saw enough good, or failed, probes in a row."""

    kind: Literal["probes-seen"] = "probes-seen"
    verdict: Literal["good", "failed"]
    probes: tuple[str, ...]
    at: datetime


class WritesListed(Model):
    """References of the writes that a database holds, in an artifact, one a line."""

    kind: Literal["writes-listed"] = "writes-listed"
    server: str
    file: str
    count: int


class ChecksRun(Model):
    """What pytest said of drtests/checks."""

    kind: Literal["checks-run"] = "checks-run"
    passed: int
    failed: int
    skipped: int
    failures: tuple[str, ...] = ()


class PlaybookRun(Model):
    """Changed and unchanged tasks by host; in check mode, those that would have changed something."""

    kind: Literal["playbook-run"] = "playbook-run"
    playbook: str
    changed: Mapping[str, int]
    ok: Mapping[str, int]
    check: bool = False


class Fault(Model):
    """A fault was put into the lab; wall clock of the lab's own event log."""

    kind: Literal["fault"] = "fault"
    fault: str
    target: str
    at: datetime


class CommandOutput(Model):
    """Output of a command, kept as an artifact."""

    kind: Literal["command-output"] = "command-output"
    server: str
    file: str
    exit_code: int


Evidence = Annotated[
    ServerState
    | FactsCollected
    | SettingsEnforced
    | SettingsUndone
    | CallsMade
    | ProviderChange
    | HostKeyLearned
    | PilotSeen
    | ReplicasSeen
    | DatabaseChange
    | NetworkProven
    | FenceProof
    | Declaration
    | Promotion
    | StandbyCloned
    | ServicePaused
    | Demotion
    | NothingLost
    | DataKept
    | WritesExported
    | Synchrony
    | Replication
    | ReplicationSeen
    | RecordsSeen
    | HostSeen
    | SecretsSeen
    | Suspicion
    | SuspicionCleared
    | DnsChange
    | RecordsReconciled
    | WitnessRecord
    | ProbesSeen
    | WritesListed
    | ChecksRun
    | PlaybookRun
    | Fault
    | CommandOutput
    | IsolatedServer
    | IsolationProof
    | Listing
    | RestoredSeen
    | PointTaken
    | TakeFailed
    | PointsCopied
    | PointsDeleted
    | SpaceReclaimed
    | RepositoryChecked
    | PointProven
    | ProofFailed
    | PointRestored
    | NotImmutable
    | DatabaseDumped
    | ConfigFetched
    | CanaryRefused
    | LocksLengthened
    | CopyRecovered
    | PointsMarked
    | PolicyAccepted
    | DoubtCleared,
    Field(discriminator="kind"),
]
