"""Points of one account, shared with another for as long as that copies them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from automation.adapters.aws.points import Part
from automation.adapters.aws.session import Region


@contextmanager
def shared(source: Region, target: Region, parts: Sequence[Part]) -> Iterator[None]:
    """Share parts with the account of the target, unless it is the same, and take that back at the end."""
    account = target.provider.account
    if account == source.provider.account:
        yield
        return
    try:
        for part in parts:
            _share(source, part, account, verb="add")
        yield
    finally:
        for part in parts:
            _share(source, part, account, verb="remove")


def _share(source: Region, part: Part, account: str, *, verb: str) -> None:
    what = f"{part.id} could not be shared with account {account}"
    if verb == "remove":
        what = f"{part.id} is still shared with account {account}, and could not be taken back"
    if part.id.startswith("snap-"):
        source.change(
            "ec2.modify_snapshot_attribute",
            what,
            SnapshotId=part.id,
            Attribute="createVolumePermission",
            OperationType=verb,
            UserIds=[account],
        )
    elif part.id.startswith("ami-"):
        source.change(
            "ec2.modify_image_attribute",
            what,
            ImageId=part.id,
            Attribute="launchPermission",
            OperationType=verb,
            UserIds=[account],
        )
    else:
        key = "ValuesToAdd" if verb == "add" else "ValuesToRemove"
        values: dict[str, Any] = {key: [account]}
        source.change(
            "rds.modify_db_snapshot_attribute",
            what,
            DBSnapshotIdentifier=part.id.rpartition(":")[2],
            AttributeName="restore",
            **values,
        )
