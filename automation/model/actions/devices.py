"""Actions on network devices and object stores, and the notes that backups leave in the journal."""

from typing import ClassVar, Literal

from pydantic import AwareDatetime, Field

from automation.model.actions.base import BaseAction, Effect
from automation.model.secrets import SecretRef
from automation.model.terminals import DeviceLogin

Vendor = Literal["frr", "cisco-ios", "junos"]
# Vendors whose checker of configurations anybody may run; of others L3 is the most that can be proven.
WITH_CHECKER: frozenset[Vendor] = frozenset({"frr"})


class FetchConfig(BaseAction):
    """Read a device's running configuration and leave it on a host, its secrets in a file of their own."""

    do: Literal["devices.fetch"] = "devices.fetch"
    effect: ClassVar[Effect] = "change"
    locks: ClassVar[bool] = False
    host: str = Field(description="where the files are left, to be saved from there")
    device: str
    vendor: Vendor
    folder: str = Field(pattern=r"^/", description="gets <device>.conf and <device>.secrets")
    split_secrets: bool
    login: DeviceLogin = DeviceLogin()


class ProveConfig(BaseAction):
    """L4: have the vendor's own checker load a restored configuration, put together with its secrets."""

    do: Literal["devices.prove"] = "devices.prove"
    effect: ClassVar[Effect] = "read"
    host: str = Field(description="scratch host, with the vendor's checker")
    resource: str
    store: str
    point: str
    vendor: Vendor
    folder: str = Field(pattern=r"^/", description="where the point was restored")
    devices: tuple[str, ...] = Field(min_length=1)
    simulated: bool = Field(default=False, description="a simulator answers as the store")


class TryDelete(BaseAction):
    """Write a small object of our own, try to delete it by version, and expect to be refused.

    It is locked by nothing but the bucket's own default, as everything else that is written there.
    """

    do: Literal["object_store.try_delete"] = "object_store.try_delete"
    effect: ClassVar[Effect] = "change"
    locks: ClassVar[bool] = False
    store: str
    bucket_url: str = Field(description="https://endpoint/bucket[/prefix]")
    login: SecretRef | None = Field(default=None, description="lines AWS_ACCESS_KEY_ID=, ..; none: of boto3")
    lock_mode: Literal["governance", "compliance"] = Field(
        default="governance", description="what the store must at least hold to"
    )
    lock_s: float = Field(default=0.0, ge=0, description="how long it must at least be locked")


class LengthenLocks(BaseAction):
    """Lock every object that a store still shows for as long as if it were written now.

    A lock only ever becomes longer, in its own mode. What a delete marker hides is left alone: its lock runs
    out. So do those of restic's own `locks/` and of our canaries.
    """

    do: Literal["object_store.lengthen_locks"] = "object_store.lengthen_locks"
    effect: ClassVar[Effect] = "change"
    locks: ClassVar[bool] = False  # of many objects it takes long, and it is in nobody's way
    store: str
    bucket_url: str = Field(description="https://endpoint/bucket[/prefix]")
    login: SecretRef | None = Field(default=None, description="as of the canary; may put retention")
    lock_mode: Literal["governance", "compliance"] = Field(description="of what is not locked at all")
    lock_s: float = Field(gt=0, description="how long from now; never more than the bucket's own default")
    least_s: float = Field(gt=0, description="a lock that lasts so long still is left as it is")
    running_out: tuple[str, ...] = Field(
        default=(), description="points that only their lock still keeps: their own objects are left alone"
    )


class RecoverCopy(BaseAction):
    """Copy what a bucket held at a moment into an empty one, past every later delete marker and overwrite.

    Bucket and target are of one endpoint, and `login` may read the versions of the one and write the other.
    """

    do: Literal["object_store.recover"] = "object_store.recover"
    effect: ClassVar[Effect] = "change"
    store: str
    bucket_url: str
    login: SecretRef | None = Field(default=None, description="as of the canary")
    as_of: AwareDatetime
    to_bucket_url: str = Field(description="made if it is not there; what is there already is compared")


class MarkPoints(BaseAction):
    """Note which points are found expired now; the time of grace of those that were not begins."""

    do: Literal["notes.mark"] = "notes.mark"
    effect: ClassVar[Effect] = "read"
    resource: str
    store: str
    points: tuple[str, ...] = Field(description="all of them; a mark of any other is taken back")


class AcceptPolicy(BaseAction):
    """Note that the effect of a policy was shown; the next rotation may act on it."""

    do: Literal["notes.accept_policy"] = "notes.accept_policy"
    effect: ClassVar[Effect] = "read"
    resource: str
    store: str
    policy_digest: str


class ClearDoubt(BaseAction):
    """Note that a person looked at what stopped the rotation of a resource, or of a store, and clears it."""

    do: Literal["notes.clear_doubt"] = "notes.clear_doubt"
    effect: ClassVar[Effect] = "read"
    resource: str = Field(default="", description="one of both: a resource in every copy")
    store: str = Field(default="", description="or a store with every resource in it")
    doubts: tuple[str, ...] = Field(min_length=1, description="what was seen, in words")
    reason: str = Field(min_length=1)
    by: str
