"""What an environment is: its kind, inventory, witness, lab; and where its state lives."""

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from automation.model.approvals import ApprovalSettings
from automation.model.base import DurationS, Model
from automation.model.errors import ConfigError
from automation.model.loading import load_model
from automation.model.providers import Provider
from automation.model.secrets import SecretRef
from automation.model.servers import ServerSpec
from automation.model.simulators import ObjectStoreSimulator, Simulator

UNMANAGED = "unmanaged"


class WitnessSettings(Model):
    """Where clients are watched from, and how densely."""

    host: str = Field(description="host of a client's network, outside the sites that may fail")
    beat_s: DurationS = Field(default=1.0, alias="beat", description="time between two probes: 100 ms, 1 s")
    timeout_s: DurationS = Field(
        default=2.0, alias="timeout", description="a probe that takes longer has failed"
    )
    sustained: int = Field(default=10, ge=1, description="good probes in a row that end an outage")


class DnsSettings(Model):
    """The zone that failover changes, and the TSIG key that may change it."""

    zone: str = Field(description="the zone whose names failover moves")
    key_name: str = Field(description="name of the TSIG key")
    key: SecretRef = Field(description="where the TSIG key is")
    ttl_s: DurationS = Field(default=5.0, alias="ttl", description="how long clients may keep an answer")


class LabSettings(Model):
    """The network of a lab: one subnet a site, a control subnet, a WAN between all."""

    id: str = Field(pattern=r"^[a-z][a-z0-9]{0,8}$", description="marks every object of the lab")
    prefix: str = Field(description="all of the lab's addresses")
    control_subnet: str = Field(description="the subnet of the control node")
    sites: Mapping[str, str] = Field(description="site to subnet")
    wan_rtt_s: DurationS = Field(default=0.02, alias="wan_rtt", description="round trip between two sites")
    simulators: Mapping[str, Simulator] = Field(
        default_factory=dict, description="programs that stand for a city's cloud, by name"
    )


class RunRetention(Model):
    """How long the folders of ended runs are kept, and how much room they may take."""

    keep_s: DurationS = Field(
        default=400 * 86400.0, alias="keep", ge=7 * 86400.0, description="400 d; at least 7 d"
    )
    cap_gib: float = Field(default=20.0, gt=0, description="of all of them together, in GiB")


class SshSettings(Model):
    """A key and host keys that exist already; without them Mainstay's own in its state folder count."""

    key_file: Path | None = Field(default=None, description="private key of the automation user; absolute")
    known_hosts: Path | None = Field(default=None, description="host keys, as ssh knows them; absolute")

    @field_validator("key_file", "known_hosts")
    @classmethod
    def _is_absolute(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_absolute():
            raise ValueError(f"{path} is not absolute; write for example /etc/mainstay/{path.name}")
        return path


class NotifyTarget(Model):
    """Where a message goes; jobs of timers see no variables, so its address stands in a file."""

    url: SecretRef = Field(description="file that holds Apprise's URL of it: mailto://..., slack://...")
    wants: Literal["alarms", "all"] = Field(
        default="alarms", description="alarms: what is wrong; all: also that it is well again"
    )

    @field_validator("url")
    @classmethod
    def _is_a_file(cls, ref: SecretRef) -> SecretRef:
        if ref.file is None:
            raise ValueError("a timer's job sees no variables of yours; write {file: secrets/notify-NAME}")
        return ref


class InventoryReading(Model):
    """How an inventory is read that was not written for Mainstay."""

    site_of_group: Mapping[str, str] = Field(default_factory=dict)
    ansible_config: Path | None = None
    environ: tuple[str, ...] = ()


class Environment(Model):
    """`inventories/<env>/environment.yml`, with the name of its folder."""

    name: str
    folder: Path
    kind: Literal["lab", "production"] = Field(
        description="a lab may be broken on purpose; anything else may not"
    )
    inventory: tuple[str, ...] = Field(
        min_length=1, description="Ansible's own sources: beside this file, or anywhere by a path; no folder"
    )
    site_of_group: Mapping[str, str] = Field(
        default_factory=dict, description="group of the inventory to site, for hosts without server_site"
    )
    ansible_config: Path | None = Field(
        default=None, description="the city's own ansible.cfg, with which its inventory is read"
    )
    inventory_environ: tuple[str, ...] = Field(
        default=(), description="variables that inventory plugins may see: AWS_PROFILE"
    )
    automation_user: str = Field(description="whom SSH logs in as")
    ssh: SshSettings = Field(default=SshSettings(), description="a key and host keys that are there already")
    witness: WitnessSettings = Field(description="where clients are watched from")
    dns: DnsSettings = Field(description="how names are moved")
    lab: LabSettings | None = Field(default=None, description="the lab's network; for kind: lab alone")
    control_nodes: tuple[str, ...] = Field(
        default=(), description="machines that may change it, by host name; none: any, for a lab alone"
    )
    approvals: ApprovalSettings = Field(
        default=ApprovalSettings(), description="where it stands who may sign"
    )
    runs: RunRetention = Field(default=RunRetention(), description="how many runs are kept")
    notify: Mapping[str, NotifyTarget] = Field(
        default_factory=dict, description="whom to tell when something is wrong, by a name for each"
    )
    metrics: Path | None = Field(
        default=None,
        description="file that the watchdog of backups writes for Prometheus, absolute: "
        "/var/lib/prometheus/node-exporter/mainstay.prom",
    )
    providers: Mapping[str, Provider] = Field(
        default_factory=dict, description="regions of AWS and vCenters, by name; one of a kind at a site"
    )
    object_store_ca: Path | None = Field(
        default=None,
        description="certificates that those of object stores are signed by: absolute, or below the state "
        "folder; none: the system's",
    )
    timezone: str = Field(default="", description="of the people: America/Chicago; empty: the machine's")

    @field_validator("metrics")
    @classmethod
    def _is_a_textfile(cls, path: Path | None) -> Path | None:
        if path is not None and not (path.is_absolute() and path.suffix == ".prom"):
            raise ValueError(f"{path} must be absolute and end with .prom, which the collector looks for")
        return path

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            return ZoneInfo(name).key if name else ""
        except (KeyError, OSError, ValueError) as exc:
            raise ValueError(f"{name!r} is not a time zone; write for example America/Chicago") from exc

    @model_validator(mode="after")
    def _lab_has_settings(self) -> "Environment":
        if (self.kind == "lab") != (self.lab is not None):
            raise ValueError("kind: lab needs a lab section, and only then")
        return self

    @model_validator(mode="after")
    def _one_of_a_kind_at_a_site(self) -> "Environment":
        places = [(one.kind, one.site) for one in self.providers.values()]
        twice = next((place for place in places if places.count(place) > 1), None)
        if twice:
            raise ValueError(f"providers: two of kind {twice[0]} at site {twice[1]}")
        return self

    def provider(self, kind: str, site: str) -> Provider:
        """Give the provider of a kind at a site.

        Raises:
            ConfigError: environment.yml names none.
        """
        found = next((one for one in self.providers.values() if (one.kind, one.site) == (kind, site)), None)
        if found is None:
            raise ConfigError(
                f"{self.folder}/environment.yml: providers: none is of kind {kind} at site {site}; "
                "nothing was touched"
            )
        return found

    @property
    def inventory_files(self) -> tuple[Path, ...]:
        return tuple(Path(os.path.normpath(self.folder / source)) for source in self.inventory)

    @property
    def reading(self) -> InventoryReading:
        """How the inventory is read."""
        config = self.folder / self.ansible_config if self.ansible_config else None
        return InventoryReading(
            site_of_group=self.site_of_group, ansible_config=config, environ=self.inventory_environ
        )

    def ssh_key(self, state: Path) -> Path:
        """The private key of the automation user."""
        return self.ssh.key_file or state / "ssh/id_ed25519"

    def known_hosts(self, state: Path) -> Path:
        """The file of host keys that alone are trusted."""
        return self.ssh.known_hosts or state / "known_hosts"

    def trusted_by_stores(self, state: Path) -> Path | None:
        """The certificates by which object stores are trusted; none: the system's."""
        return None if self.object_store_ca is None else state / self.object_store_ca

    def simulator_at(self, url: str) -> ObjectStoreSimulator | None:
        """The simulator that answers at a URL; none where it is real."""
        host = url.removeprefix("s3:").removeprefix("https://").partition("/")[0].partition(":")[0]
        known = self.lab.simulators.values() if self.lab else ()
        stores = (one for one in known if isinstance(one, ObjectStoreSimulator))
        return next((one for one in stores if host in (one.name, one.address)), None)

    def from_control_node(self, url: str) -> str:
        """A URL as the control node reaches it, which does not ask the lab's DNS for a simulator's name."""
        simulator = self.simulator_at(url)
        return url if simulator is None else url.replace(simulator.name, simulator.address, 1)

    def require_lab(self) -> LabSettings:
        """Give the lab settings.

        Raises:
            ConfigError: this environment is not a lab.
        """
        if self.lab is None:
            raise ConfigError(f"environment {self.name} is not a lab; nothing was touched")
        return self.lab


class Server(Model):
    """One host of the inventory.

    What nobody said of it is empty: without a site no service stands on it, without a provider nothing of
    ours fences it, without an image nothing of ours makes it.
    """

    name: str
    address: str
    site: str = ""
    provider: str = UNMANAGED
    image: str = ""
    port: int = Field(default=22, ge=1, le=65535, description="of its sshd")
    groups: tuple[str, ...] = ()
    on_demand: bool = Field(
        default=False, description="made by a drill and removed by it; else it is not there"
    )


class Inventory(Model):
    """Every server of an environment, by name."""

    servers: Mapping[str, Server]
    specs: Mapping[str, ServerSpec] = Field(
        default_factory=dict, description="of those whose provider makes servers: what each is to be"
    )
    digest: str = Field(default="", description="sha256 of all that ansible-inventory answered")

    def server(self, name: str) -> Server:
        """Give one server.

        Raises:
            ConfigError: the inventory has no such host.
        """
        try:
            return self.servers[name]
        except KeyError:
            raise ConfigError(f"host {name} is not in the inventory; nothing was touched") from None

    def covered(self, pattern: str | None) -> tuple[str, ...]:
        """Name every server that an Ansible pattern of names and groups may reach; of another form, all."""
        if pattern is None:
            return tuple(self.servers)
        words = {word for part in pattern.split(",") for word in part.split(":") if word}
        if not words or not all(word in self.servers or word in self.groups for word in words):
            return tuple(self.servers)
        found = {name for word in words for name in self.groups.get(word, ())} | (words & self.servers.keys())
        return tuple(sorted(found, key=self._places.__getitem__))

    @cached_property
    def standing(self) -> Mapping[str, Server]:
        """Every server that is always there, by name."""
        return {name: server for name, server in self.servers.items() if not server.on_demand}

    @cached_property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """Every group with its servers, in the inventory's order."""
        groups: dict[str, list[str]] = {}
        for name, server in self.servers.items():
            for group in server.groups:
                groups.setdefault(group, []).append(name)
        return {group: tuple(names) for group, names in groups.items()}

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {name: place for place, name in enumerate(self.servers)}

    def at_site(self, site: str) -> tuple[Server, ...]:
        return tuple(server for server in self.servers.values() if server.site == site)


def list_environments(repository: Path) -> tuple[str, ...]:
    """Name every environment of a repository, sorted."""
    return tuple(sorted(path.parent.name for path in (repository / "inventories").glob("*/environment.yml")))


def load_environment(repository: Path, name: str) -> Environment:
    """Read `inventories/<name>/environment.yml`.

    Raises:
        ConfigError: no such environment, or its file has faults.
    """
    folder = repository / "inventories" / name
    known = list_environments(repository)
    if name not in known:
        raise ConfigError(
            f"there is no environment {name!r}; nothing was touched",
            hint=f"--env is one of: {', '.join(known)}",
        )
    return load_model(folder / "environment.yml", Environment, name=name, folder=folder)


def state_root(environ: Mapping[str, str] = os.environ, *, uid: int | None = None) -> Path:
    """Give the folder of all state: `MAINSTAY_STATE`, else /var/lib for root, else the XDG state folder."""
    if environ.get("MAINSTAY_STATE"):
        return Path(environ["MAINSTAY_STATE"])
    if (os.geteuid() if uid is None else uid) == 0:
        return Path("/var/lib/mainstay")
    home = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "/")) / ".local/state")
    return Path(home) / "mainstay"
