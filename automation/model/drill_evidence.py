"""What the steps of a drill in isolation prove: read by its report alone."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import Field

from automation.model.base import Model

Listed = Literal["servers", "clusters", "archive", "folders", "names"]


class IsolatedServer(Model):
    """A server that exchanges packets with a few addresses alone, as its router reads it back."""

    kind: Literal["isolated-server"] = "isolated-server"
    server: str
    address: str
    reaches: tuple[str, ...]
    source: Literal["real", "simulated"] = "real"


class IsolationProof(Model):
    """What an isolated server tried to reach and did not, while a vantage did; and who did not reach it."""

    kind: Literal["isolation-proof"] = "isolation-proof"
    server: str
    vantage: str
    refused: Mapping[str, str] = Field(description="what it is, to how the attempt from inside failed")
    answered: tuple[str, ...] = Field(description="of those, what answered the vantage in the same moment")
    reached: tuple[str, ...] = Field(description="what the same probe reached from inside")
    kept_out: Mapping[str, str] = Field(description="host to how its attempt to reach the server failed")
    source: Literal["real", "simulated"] = "real"


class Listing(Model):
    """What was there at one moment, thing by thing; the same look before and after a drill is compared."""

    kind: Literal["listing"] = "listing"
    of: Listed
    where: str = Field(description="host, store or lab")
    items: Mapping[str, str] = Field(default_factory=dict, description="thing to its state")
    file: str = Field(
        default="", description="artifact with one `thing<tab>state` a line; empty: all is in items"
    )
    source: Literal["real", "simulated"] = "real"


class RestoredSeen(Model):
    """A database that was restored, as it stood before anything was started on it."""

    kind: Literal["restored-seen"] = "restored-seen"
    host: str
    cluster: str
    archive_mode: str
    slots: int
    timeline: int
    system_identifier: str
    asked_at: datetime | None
    reached_at: datetime | None = Field(description="last commit that was recovered; none: none is known")
