"""What instances are made of: images by id, or by the name that their owner gave them."""

import re
from collections.abc import Sequence

from automation.adapters.aws.marks import named
from automation.adapters.aws.session import Region, Shown
from automation.model.errors import AdapterError

# Anybody may publish an image under any name: only these owners' are taken, unless another is written.
_TRUSTED_OWNERS = ("self", "amazon")
_WITH_OWNER = re.compile(r"(\d{12})/(.+)")


def images_of(region: Region, wanted: Sequence[str]) -> dict[str, Shown]:
    """Give every image that is there, by how it was asked for: `ami-...`, `NAME`, or `ACCOUNT/NAME`."""
    found: dict[str, Shown] = {}
    for owners, names in _by_owner(wanted).items():
        filters = [named("name", *names), named("state", "available")]
        shown = region.read(
            "ec2.describe_images", "images could not be listed", Owners=list(owners), Filters=filters
        )
        for one in sorted(shown["Images"], key=lambda image: str(image.get("CreationDate", ""))):
            prefix = "" if owners == _TRUSTED_OWNERS else f"{owners[0]}/"
            found[prefix + one["Name"]] = one  # of one name, as amazon reuses them, the newest
    ids = sorted({one for one in wanted if one.startswith("ami-")})
    if ids:
        filters = [named("image-id", *ids), named("state", "available")]
        shown = region.read("ec2.describe_images", "images could not be listed", Filters=filters)
        found |= {one["ImageId"]: one for one in shown["Images"]}
    return found


def image_of(region: Region, wanted: str, server: str) -> Shown:
    """Give the one image that a server is to be made of.

    Raises:
        AdapterError: there is none.
    """
    found = images_of(region, (wanted,)).get(wanted)
    if found is None:
        raise AdapterError(
            f"server {server}: image {wanted!r} is not at {region.provider.region}, or not of this account "
            "or amazon; nothing was changed",
            hint="correct server_image: ami-..., a name, or ACCOUNT/NAME for an image of another owner",
        )
    return found


def _by_owner(wanted: Sequence[str]) -> dict[tuple[str, ...], list[str]]:
    owners: dict[tuple[str, ...], list[str]] = {}
    for one in sorted(set(wanted)):
        if one and not one.startswith("ami-"):
            match = _WITH_OWNER.fullmatch(one)
            key, name = ((match[1],), match[2]) if match else (_TRUSTED_OWNERS, one)
            owners.setdefault(key, []).append(name)
    return owners
