"""Actions on any host: reach it, look at it, start a unit, run a playbook."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from automation.model.actions.base import BaseAction, Effect
from automation.model.secrets import SecretRef


class AwaitReady(BaseAction):
    """Wait until a host answers over SSH as the automation user."""

    do: Literal["ssh.await_ready"] = "ssh.await_ready"
    effect: ClassVar[Effect] = "read"
    host: str


class LookAtHost(BaseAction):
    """See that a host answers, how much room a folder's disk has, and what the host itself reaches."""

    do: Literal["ssh.look_at_host"] = "ssh.look_at_host"
    effect: ClassVar[Effect] = "read"
    host: str
    folder: str = "/"
    reach: tuple[str, ...] = Field(default=(), description="address:port, tried from the host")


class LookAtSecrets(BaseAction):
    """See which secrets can be read here; none is shown."""

    do: Literal["keys.look_at_secrets"] = "keys.look_at_secrets"
    effect: ClassVar[Effect] = "read"
    secrets: tuple[SecretRef, ...]


class StartUnit(BaseAction):
    """Start a systemd unit and see it active; `enable`: it comes back with the host, too."""

    do: Literal["systemd.start_unit"] = "systemd.start_unit"
    effect: ClassVar[Effect] = "change"
    host: str
    unit: str
    enable: bool = False


class RunPlaybook(BaseAction):
    """Run an Ansible playbook of this repository."""

    do: Literal["ansible.run_playbook"] = "ansible.run_playbook"
    effect: ClassVar[Effect] = "change"
    playbook: str
    limit: str | None = None
    variables: Mapping[str, str | int | bool] = Field(default_factory=dict)
    secrets: Mapping[str, SecretRef] = Field(default_factory=dict)
    check: bool = False
    fence: bool = Field(
        default=False, description="it makes an old site unable to serve: a resumed run does it again first"
    )
