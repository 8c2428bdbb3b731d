"""How what is ours is marked, and what makes a repeated call the same call. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from automation.model.errors import AdapterError
from automation.model.servers import OWNER, ROLE, RUN, Disk

# Names of a server's disks in the order of their devices; it stands on the instance, because the volumes of
# one RunInstances can only be given the same tags.
DISKS = "mainstay:disks"
DISK = "mainstay:disk"  # on a volume or snapshot: which disk of its server it is
RETIRED = "mainstay:of"  # on a snapshot that is kept: the volume that it was taken of
UNTIL = "mainstay:until"  # on a snapshot that is kept: the last day on which nothing of ours deletes it
RESTARTS = "mainstay:restarts"  # on an instance that was stopped only to be changed
_OURS = frozenset({OWNER, ROLE, RUN, DISKS, DISK, RETIRED, UNTIL, RESTARTS})
LONGEST_TAG = 256
_FIRST_DEVICE, _MOST_DISKS = "f", 11  # /dev/sdf to /dev/sdp, which EC2 keeps for data

Tagged = Mapping[str, Any]


class Marks(NamedTuple):
    """Whose it is, what it is there, and which run made it."""

    owner: str
    name: str
    run: str

    def tags(self, more: Mapping[str, str] | None = None) -> list[dict[str, str]]:
        """Give them as EC2 takes tags, with the name that its console shows."""
        ours = {OWNER: self.owner, ROLE: self.name, RUN: self.run}
        return as_tags({"Name": self.name, **(more or {}), **ours})

    def filters(self) -> list[dict[str, Any]]:
        """Give what finds everything of this name that is ours, whichever run made it."""
        return [named(f"tag:{OWNER}", self.owner), named(f"tag:{ROLE}", self.name)]


def as_tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Give tags as EC2 takes them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tags_of(shown: Tagged) -> dict[str, str]:
    """Read the tags of anything that EC2 shows."""
    return {one["Key"]: one["Value"] for one in shown.get("Tags") or shown.get("TagSet") or ()}


def others(tags: Mapping[str, str]) -> dict[str, str]:
    """Leave out our own marks, the name that they tell, and what AWS itself sets."""
    named = tags.get(ROLE) if tags.get("Name") == tags.get(ROLE) else None
    return {
        key: value
        for key, value in tags.items()
        if key not in _OURS and not key.startswith("aws:") and not (key == "Name" and named is not None)
    }


def is_marked(tags: Mapping[str, str]) -> bool:
    """Whether it bears anybody's mark."""
    return bool(tags.get(OWNER))


def specified(kinds: Sequence[str], tags: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Give tags for what a call makes, in that same call."""
    return [{"ResourceType": kind, "Tags": tags} for kind in kinds]


def named(key: str, *values: str) -> dict[str, Any]:
    """Give one filter of EC2."""
    return {"Name": key, "Values": list(values)}


def token(run: str, step: str, name: str, *more: object) -> str:
    """Make a call that is repeated, by this process or the next, the same call; 64 characters at most.

    Runs of two environments in one account may bear the same id: their name belongs into `more`.
    """
    words = "\0".join((run, step, name, *map(str, more)))
    return hashlib.sha256(words.encode()).hexdigest()


def device(place: int) -> str:
    """Name the device of a server's disk by its place."""
    return f"/dev/sd{chr(ord(_FIRST_DEVICE) + place)}"


def disk_marks(server: str, disks: Sequence[Disk]) -> dict[str, str]:
    """Give the tag that says which device is which disk.

    Raises:
        AdapterError: there are more than EC2 has devices for, or their names are too long for a tag.
    """
    names = ",".join(disk.name for disk in disks)
    if len(disks) > _MOST_DISKS or len(names) > LONGEST_TAG:
        raise AdapterError(
            f"server {server}: {len(disks)} disks with {len(names)} letters of names; EC2 takes "
            f"{_MOST_DISKS} and {LONGEST_TAG}; nothing was changed",
            hint="fewer disks, or shorter names, in server_disks",
        )
    return {DISKS: names} if names else {}


def disk_names(tags: Mapping[str, str]) -> dict[str, str]:
    """Give the disk of each device, as its server's tag tells: `data`, of an adopted one `data=/dev/sdb`."""
    listed = tags.get(DISKS, "")
    entries = (one.partition("=") for one in (listed.split(",") if listed else ()))
    return {at or device(place): name for place, (name, _, at) in enumerate(entries)}


def with_disk(tags: Mapping[str, str], disk: str, at: str) -> str:
    """Give the tag that names one disk more; its device is written out where it is not the next one."""
    listed = tags.get(DISKS, "").split(",") if tags.get(DISKS) else []
    return ",".join([*listed, disk if at == device(len(listed)) else f"{disk}={at}"])


def adopted_marks(server: str, devices: Mapping[str, str]) -> dict[str, str]:
    """Give the tag of a server that somebody else made: which disk each device is.

    Raises:
        AdapterError: it is longer than a tag may be.
    """
    told = ",".join(f"{name}={at}" for at, name in devices.items())
    if len(told) > LONGEST_TAG:
        raise AdapterError(
            f"server {server}: the names of {len(devices)} disks take {len(told)} letters, and EC2 takes "
            f"{LONGEST_TAG}; nothing was changed",
            hint="shorter names in server_disks",
        )
    return {DISKS: told} if told else {}
