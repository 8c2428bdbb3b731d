"""Everything Mainstay can do: one class per action, named by its address.

`do: "dns.swap_address"` is performed by `automation.adapters.dns.swap_address(action, ctx)`.
`effect` tells how far it reaches; `fault` actions exist for labs alone.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from automation.model.base import Model
from automation.model.environment import SecretRef

Effect = Literal["read", "change", "destroy", "fault"]


class _Action(Model):
    """An address, its parameters, and how far it reaches."""

    effect: ClassVar[Effect]
    irreversible: ClassVar[bool] = False


class Probe(Model):
    """One thing a client does again and again, by name, to see whether a service is well."""

    id: str = Field(description="service/probe")
    kind: Literal["http", "http-write", "postgresql", "tcp"]
    name: str = Field(description="the DNS name that clients use")
    port: int = Field(ge=1, le=65535)
    path: str = "/"
    expect_status: int = 200


# --- lab servers (systemd-nspawn) --------------------------------------------------------------


class MakeKeys(_Action):
    """Make the automation user's SSH key and the secrets that do not exist yet."""

    do: Literal["keys.make"] = "keys.make"
    effect: ClassVar[Effect] = "change"
    secrets: tuple[str, ...]


class BuildImage(_Action):
    """Build the golden image if the state folder has none of this recipe."""

    do: Literal["nspawn.build_image"] = "nspawn.build_image"
    effect: ClassVar[Effect] = "change"
    image: str


class StartLab(_Action):
    """Start the lab's supervisor, its site networks and the WAN."""

    do: Literal["nspawn.start_lab"] = "nspawn.start_lab"
    effect: ClassVar[Effect] = "change"


class CreateServer(_Action):
    """Make a host's disk, keys and network port, and boot it."""

    do: Literal["nspawn.create_server"] = "nspawn.create_server"
    effect: ClassVar[Effect] = "change"
    host: str
    site: str
    address: str
    image: str


class StartServer(_Action):
    """Power on a host that exists; a fence in force is an error."""

    do: Literal["nspawn.start_server"] = "nspawn.start_server"
    effect: ClassVar[Effect] = "change"
    host: str


class PowerOffServer(_Action):
    """Cut a host's power and switch its autostart off, then read both back."""

    do: Literal["nspawn.power_off_server"] = "nspawn.power_off_server"
    effect: ClassVar[Effect] = "change"
    host: str


class BlockServer(_Action):
    """Cut a host off the network, persistently, then read it back."""

    do: Literal["nspawn.block_server"] = "nspawn.block_server"
    effect: ClassVar[Effect] = "change"
    host: str


class UnblockServer(_Action):
    """Lift the network fence of a host."""

    do: Literal["nspawn.unblock_server"] = "nspawn.unblock_server"
    effect: ClassVar[Effect] = "change"
    host: str


class FailSite(_Action):
    """Power loss: the site's network goes, then all its hosts, at once."""

    do: Literal["nspawn.fail_site"] = "nspawn.fail_site"
    effect: ClassVar[Effect] = "fault"
    site: str


class HealSite(_Action):
    """Power and network return; fenced hosts stay as they are."""

    do: Literal["nspawn.heal_site"] = "nspawn.heal_site"
    effect: ClassVar[Effect] = "change"
    site: str


class CutLink(_Action):
    """Cut the WAN between two sites, both ways."""

    do: Literal["nspawn.cut_link"] = "nspawn.cut_link"
    effect: ClassVar[Effect] = "fault"
    sites: tuple[str, str]


class HealLink(_Action):
    """Mend the WAN between two sites."""

    do: Literal["nspawn.heal_link"] = "nspawn.heal_link"
    effect: ClassVar[Effect] = "change"
    sites: tuple[str, str]


class PartitionSite(_Action):
    """A site is cut off from every other one; its hosts run on and its management answers."""

    do: Literal["nspawn.partition_site"] = "nspawn.partition_site"
    effect: ClassVar[Effect] = "fault"
    site: str


class DarkenSite(_Action):
    """Nothing of a site answers, its management neither; nobody outside knows whether its hosts run."""

    do: Literal["nspawn.darken_site"] = "nspawn.darken_site"
    effect: ClassVar[Effect] = "fault"
    site: str


class RejoinSite(_Action):
    """Mend a site's way to every other one, and its management."""

    do: Literal["nspawn.rejoin_site"] = "nspawn.rejoin_site"
    effect: ClassVar[Effect] = "change"
    site: str


class LookAtServer(_Action):
    """Ask a server's provider for its state: what cannot be asked cannot be fenced."""

    do: Literal["nspawn.look_at_server"] = "nspawn.look_at_server"
    effect: ClassVar[Effect] = "read"
    host: str


class SaveDisks(_Action):
    """Shut all hosts down in good order, keep a named copy of their disks, and boot them again."""

    do: Literal["nspawn.save_disks"] = "nspawn.save_disks"
    effect: ClassVar[Effect] = "change"
    name: str


class RestoreDisks(_Action):
    """Cut all power, put a named copy of the disks back, mend network and fences, and boot."""

    do: Literal["nspawn.restore_disks"] = "nspawn.restore_disks"
    effect: ClassVar[Effect] = "fault"
    name: str


class InspectDisk(_Action):
    """Run a program on a copy-on-write view of a powered-off host's disk, without any network."""

    do: Literal["nspawn.inspect_disk"] = "nspawn.inspect_disk"
    effect: ClassVar[Effect] = "read"
    host: str
    argv: tuple[str, ...]
    artifact: str


# --- hosts ------------------------------------------------------------------------------------


class AwaitReady(_Action):
    """Wait until a host answers over SSH as the automation user."""

    do: Literal["ssh.await_ready"] = "ssh.await_ready"
    effect: ClassVar[Effect] = "read"
    host: str


class LookAtHost(_Action):
    """See that a host answers, how much room a folder's disk has, and what the host itself reaches."""

    do: Literal["ssh.look_at_host"] = "ssh.look_at_host"
    effect: ClassVar[Effect] = "read"
    host: str
    folder: str = "/"
    reach: tuple[str, ...] = Field(default=(), description="address:port, tried from the host")


class LookAtSecrets(_Action):
    """See which secrets can be read here; none is shown."""

    do: Literal["keys.look_at_secrets"] = "keys.look_at_secrets"
    effect: ClassVar[Effect] = "read"
    secrets: tuple[SecretRef, ...]


class StartUnit(_Action):
    """Start a systemd unit and see it active."""

    do: Literal["systemd.start_unit"] = "systemd.start_unit"
    effect: ClassVar[Effect] = "change"
    host: str
    unit: str


class RunPlaybook(_Action):
    """Run an Ansible playbook of this repository."""

    do: Literal["ansible.run_playbook"] = "ansible.run_playbook"
    effect: ClassVar[Effect] = "change"
    playbook: str
    limit: str | None = None
    variables: Mapping[str, str | int | bool] = Field(default_factory=dict)
    secrets: Mapping[str, SecretRef] = Field(default_factory=dict)
    check: bool = False


# --- PostgreSQL and DNS -----------------------------------------------------------------------


class AwaitStreaming(_Action):
    """Wait until the standby streams within a lag in bytes; `synchronous`: an RPO of zero demands it."""

    do: Literal["postgresql.await_streaming"] = "postgresql.await_streaming"
    effect: ClassVar[Effect] = "read"
    primary: str
    standby: str
    cluster: str
    expect_system_identifier: str
    max_lag_bytes: int
    synchronous: bool


class LookAtReplication(_Action):
    """See how far a primary has written and how far its standby has received and replayed."""

    do: Literal["postgresql.look_at_replication"] = "postgresql.look_at_replication"
    effect: ClassVar[Effect] = "read"
    primary: str
    standby: str
    cluster: str


class Promote(_Action):
    """Promote a standby, if it is the one expected; never two primaries of one timeline."""

    do: Literal["postgresql.promote"] = "postgresql.promote"
    effect: ClassVar[Effect] = "change"
    irreversible: ClassVar[bool] = True
    host: str
    cluster: str
    expect_system_identifier: str
    expect_timeline: int


class CloneStandby(_Action):
    """Make a host's cluster anew as standby of a primary; its old data directory is kept beside it."""

    do: Literal["postgresql.clone_standby"] = "postgresql.clone_standby"
    effect: ClassVar[Effect] = "destroy"
    host: str
    primary: str
    cluster: str
    expect_system_identifier: str = Field(description="of the primary; what is on the host may be anything")
    slot: str = Field(pattern=r"^[a-z0-9_]+$")
    max_rate_kib_s: int | None = Field(default=None, ge=32, le=1048576)


class ListWrites(_Action):
    """List the references of all writes that a database holds."""

    do: Literal["postgresql.list_writes"] = "postgresql.list_writes"
    effect: ClassVar[Effect] = "read"
    host: str
    cluster: str
    database: str
    query: str
    artifact: str


class LookAtRecords(_Action):
    """Ask every authoritative server for the same names: addresses and time to live."""

    do: Literal["dns.look_at_records"] = "dns.look_at_records"
    effect: ClassVar[Effect] = "read"
    names: tuple[str, ...]
    servers: tuple[str, ...]


class SwapAddress(_Action):
    """Change a name's address on every reachable authoritative server, if it is the old one."""

    do: Literal["dns.swap_address"] = "dns.swap_address"
    effect: ClassVar[Effect] = "change"
    name: str
    old: str
    new: str
    servers: tuple[str, ...]
    required: tuple[str, ...] = Field(description="servers that must take the change for it to count")


# --- witness, checks, declaration -------------------------------------------------------------


class StartWitness(_Action):
    """Start probing from a vantage host."""

    do: Literal["witness.start"] = "witness.start"
    effect: ClassVar[Effect] = "change"
    host: str
    probes: tuple[Probe, ...]
    beat_s: float
    timeout_s: float


class AwaitGood(_Action):
    """Wait until each of the probes was good so many times in a row."""

    do: Literal["witness.await_good"] = "witness.await_good"
    effect: ClassVar[Effect] = "read"
    host: str
    probes: tuple[str, ...]
    count: int


class AwaitFailed(_Action):
    """Wait until one of the probes failed so many times in a row: the outage is detected."""

    do: Literal["witness.await_failed"] = "witness.await_failed"
    effect: ClassVar[Effect] = "read"
    host: str
    probes: tuple[str, ...]
    count: int


class ProveRefused(_Action):
    """Try to connect to a fenced server from the vantage; a connection made is a failure."""

    do: Literal["witness.prove_refused"] = "witness.prove_refused"
    effect: ClassVar[Effect] = "read"
    host: str
    server: str
    address: str
    port: int
    reachable: tuple[str, ...] = Field(description="address:port that must answer in the same moment")
    same_site: tuple[str, ...] = Field(default=(), description="address:port beside the fenced server")
    else_from: tuple[str, ...] = Field(default=(), description="vantages to ask when the host is lost")
    means: tuple[str, ...]


class CollectWitness(_Action):
    """Stop the witness and fetch its record into the run's artifacts."""

    do: Literal["witness.collect"] = "witness.collect"
    effect: ClassVar[Effect] = "change"
    host: str


class RunChecks(_Action):
    """Run pytest checks against the recovered services; no check collected is a failure."""

    do: Literal["checks.run"] = "checks.run"
    effect: ClassVar[Effect] = "read"
    paths: tuple[str, ...]
    services: tuple[str, ...]
    site: str


class Wait(_Action):
    """Let time pass: drills place their faults with it."""

    do: Literal["clock.wait"] = "clock.wait"
    effect: ClassVar[Effect] = "read"
    seconds: float = Field(ge=0, le=3600)


class Declare(_Action):
    """Record that sites are lost, by whom and why; a drill's is marked an exercise."""

    do: Literal["declaration.declare"] = "declaration.declare"
    effect: ClassVar[Effect] = "change"
    sites: tuple[str, ...]
    reason: str
    exercise: bool
    declared_by: str


class CiteDeclaration(_Action):
    """See that a person's declaration still stands; the run of a failover begins with it."""

    do: Literal["declaration.cite"] = "declaration.cite"
    effect: ClassVar[Effect] = "read"
    declaration: str = Field(description="the run that recorded it")
    site: str


class SuspectSplitBrain(_Action):
    """Mark a service: two of its databases may be writable, until a person has looked."""

    do: Literal["declaration.suspect_split_brain"] = "declaration.suspect_split_brain"
    effect: ClassVar[Effect] = "change"
    service: str
    hosts: tuple[str, str] = Field(description="the old primary, the new one")
    reason: str


class ClearSuspicion(_Action):
    """End the suspicion of a service, with who looked and what was seen."""

    do: Literal["declaration.clear_suspicion"] = "declaration.clear_suspicion"
    effect: ClassVar[Effect] = "change"
    service: str
    seen: tuple[str, ...]
    reason: str
    cleared_by: str


Action = Annotated[
    MakeKeys
    | BuildImage
    | StartLab
    | CreateServer
    | StartServer
    | PowerOffServer
    | BlockServer
    | UnblockServer
    | FailSite
    | HealSite
    | CutLink
    | HealLink
    | PartitionSite
    | DarkenSite
    | RejoinSite
    | LookAtServer
    | SaveDisks
    | RestoreDisks
    | InspectDisk
    | AwaitReady
    | LookAtHost
    | LookAtSecrets
    | StartUnit
    | RunPlaybook
    | AwaitStreaming
    | LookAtReplication
    | Promote
    | ListWrites
    | LookAtRecords
    | SwapAddress
    | StartWitness
    | AwaitGood
    | AwaitFailed
    | ProveRefused
    | CollectWitness
    | RunChecks
    | Wait
    | Declare
    | CiteDeclaration
    | SuspectSplitBrain
    | ClearSuspicion,
    Field(discriminator="do"),
]
