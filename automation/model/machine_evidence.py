"""What the steps on servers of AWS and vSphere prove."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from automation.model.base import Model
from automation.model.servers import ProviderKind, Source


class ProviderChange(Model):
    """What one step made, changed or removed at a provider; whatever it made stands in `ids`.

    The sum of all of them is what is ours there: nothing is made that no journal names.
    """

    kind: Literal["provider-change"] = "provider-change"
    provider: ProviderKind
    site: str
    what: Literal["server", "network", "snapshots"]
    name: str
    verb: Literal[
        "found",
        "created",
        "changed",
        "started",
        "stopped",
        "adopted",
        "deleted",
        "registered",
        "unregistered",
    ]
    ids: Mapping[str, str] = Field(
        default_factory=dict,
        description="part to id: server, disk:data, address:eth0, subnet, security-group, snapshot:data",
    )
    address: str = Field(default="", description="where it is reached")
    source: Source = "real"


class HostKeyLearned(Model):
    """A host key that came by the provider's own channel, not from whoever answered first."""

    kind: Literal["host-key-learned"] = "host-key-learned"
    host: str
    address: str
    channel: Literal["console-output", "guestinfo", "made-by-us"]
    fingerprint: str
    source: Source = "real"
