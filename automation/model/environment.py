"""What an environment is: its kind, inventory, witness, lab; and where its state lives."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from automation.model.approvals import ApprovalSettings
from automation.model.base import DurationS, Model
from automation.model.errors import ConfigError
from automation.model.loading import load_model


class SecretRef(Model):
    """Names a secret and never holds it: `{env: NAME}` or `{file: path}` (relative to the state folder)."""

    env: str | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "SecretRef":
        if (self.env is None) == (self.file is None):
            raise ValueError("give exactly one of env, file")
        return self


class WitnessSettings(Model):
    """Where clients are watched from, and how densely."""

    host: str
    beat_s: DurationS = Field(default=1.0, alias="beat")
    timeout_s: DurationS = Field(default=2.0, alias="timeout")
    sustained: int = Field(default=10, ge=1, description="good probes in a row that end an outage")


class DnsSettings(Model):
    """The zone that failover changes, and the TSIG key that may change it."""

    zone: str
    key_name: str
    key: SecretRef
    ttl_s: DurationS = Field(default=5.0, alias="ttl")


class LabSettings(Model):
    """The network of a lab: one subnet a site, a control subnet, a WAN between all."""

    id: str = Field(pattern=r"^[a-z][a-z0-9]{0,8}$")
    prefix: str
    control_subnet: str
    sites: Mapping[str, str] = Field(description="site to subnet")
    wan_rtt_s: DurationS = Field(default=0.02, alias="wan_rtt")


class RunRetention(Model):
    """How long the folders of ended runs are kept, and how much room they may take."""

    keep_s: DurationS = Field(
        default=400 * 86400.0, alias="keep", ge=7 * 86400.0, description="400 d; at least 7 d"
    )
    cap_gib: float = Field(default=20.0, gt=0, description="of all of them together, in GiB")


class Environment(Model):
    """`inventories/<env>/environment.yml`, with the name of its folder."""

    name: str
    folder: Path
    kind: Literal["lab", "production"]
    inventory: tuple[str, ...] = Field(min_length=1)
    automation_user: str
    witness: WitnessSettings
    dns: DnsSettings
    lab: LabSettings | None = None
    control_nodes: tuple[str, ...] = Field(
        default=(), description="machines that may change it, by host name; none: any, for a lab alone"
    )
    approvals: ApprovalSettings = ApprovalSettings()
    runs: RunRetention = Field(default=RunRetention(), description="how many runs are kept")
    timezone: str = Field(default="", description="of the people: America/Chicago; empty: the machine's")

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

    @property
    def inventory_files(self) -> tuple[Path, ...]:
        return tuple(self.folder / source for source in self.inventory)

    def require_lab(self) -> LabSettings:
        """Give the lab settings.

        Raises:
            ConfigError: this environment is not a lab.
        """
        if self.lab is None:
            raise ConfigError(f"environment {self.name} is not a lab; nothing was touched")
        return self.lab


class Server(Model):
    """One host of the inventory, with the attributes provisioning needs."""

    name: str
    address: str
    site: str
    provider: str
    image: str
    groups: tuple[str, ...] = ()


class Inventory(Model):
    """Every server of an environment, by name."""

    servers: Mapping[str, Server]
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
        known = {*self.servers, *(group for server in self.servers.values() for group in server.groups)}
        if not words or not words <= known:
            return tuple(self.servers)
        return tuple(name for name, server in self.servers.items() if words & {name, *server.groups})

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
