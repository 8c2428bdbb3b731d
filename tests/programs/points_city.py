"""A city whose servers at a simulated AWS are saved: its policy, a session, and what happened in the past."""

import shutil
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from automation.backups.entries import Entry, Noted
from automation.backups.spec import load_backups
from automation.commands._ledger import note
from automation.commands._session import Session
from automation.engine.context import RunContext
from automation.model.backup_evidence import Figures, PointProven, PointsMarked, PointTaken, PolicyAccepted
from automation.model.environment import Inventory
from automation.model.errors import AdapterError
from automation.model.records import Remote
from automation.model.recovery_points import Level
from tests.conftest import ROOT
from tests.programs.aws_city import environment_of
from tests.programs.simulators import AwsSimulated

if TYPE_CHECKING:
    from automation.adapters.ssh import Connections

POLICY = """\
version: 1
tz: UTC
stores:
  east: {type: aws, site: east}
  west: {type: aws, site: west, copy_of: east}
rule: {copies: 2, media: 2, offsite: 0, immutable: 0}
guards: {min_keep: 2, max_delete: {percent: 50, count: 10000}, grace: 7 days}
retention:
  standard: {daily: 7, keep_oldest: false}
resources:
  disks:
    source: {kind: ebs-snapshots, servers: [web-1, web-2]}
    rpo: 24 h
    take: {every: 1 day}
    to: [east, west]
    keep: {profile: standard, never_drop_last_verified: L1}
    verify: [{level: L1, every: 1 day}]
  images:
    source: {kind: machine-image, server: web-1}
    rpo: 24 h
    take: {every: 1 day}
    to: [east, west]
    keep: {profile: standard, never_drop_last_verified: L1}
    verify: [{level: L1, every: 1 day}, {level: L4, every: 90 days, by: drill}]
  payments:
    source: {kind: rds-snapshots, database: payments}
    rpo: 24 h
    take: {every: 1 day}
    to: [east, west]
    keep: {profile: standard}
    verify: [{level: L1, every: 1 day}, {level: L4, every: 90 days, by: drill}]
"""
DAY = timedelta(days=1)
OURS = {"mainstay:environment": "city"}
FIGURES = Figures(files=2, total_bytes=2**34)
_runs = count()


class Unreachable:
    """Connections to hosts, of which there is none."""

    def remote(self, host: str) -> Remote:
        raise AdapterError(f"{host} does not answer")


def session_of(
    aws: AwsSimulated, folder: Path, policy: str = POLICY, west: Mapping[str, object] | None = None
) -> Session:
    """Open a session of the city as a command does; its state is the simulator's and its own."""
    (folder / "backups.yml").write_text(policy)
    shutil.copy(ROOT / "inventories/lab/services.yml", folder)
    environment = environment_of(aws).model_copy(update={"folder": folder})
    other = environment.providers["aws-west"].model_copy(update=dict(west or {}))
    providers = {**environment.providers, "aws-west": other}
    environment = environment.model_copy(update={"providers": providers})
    inventory = Inventory(servers={}, digest="1" * 64)

    def context(run_id: str) -> RunContext:
        artifacts = aws.state / "runs" / run_id / "artifacts"
        nobody = cast("Connections", Unreachable())
        return RunContext(
            run_id, environment, inventory, aws.state, folder, artifacts, nobody, lambda *_: None
        )

    return Session(environment, inventory, aws.state, folder, Unreachable().remote, context, lambda _: None)


def tags(more: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in {**OURS, **more}.items()]


def make_server(aws: AwsSimulated, name: str, *, disks: int = 2, encrypted: bool = True) -> str:
    """Run an instance of ours with so many disks; give its id."""
    ec2 = aws.client("ec2")
    devices = [
        {"DeviceName": device, "Ebs": {"VolumeSize": 8, "Encrypted": encrypted}}
        for device in ["/dev/xvda", *(f"/dev/sd{letter}" for letter in "fghijklmnop")][:disks]
    ]
    image = ec2.describe_images(ImageIds=[aws.image()])["Images"][0]
    devices[0]["DeviceName"] = image["RootDeviceName"]
    made = ec2.run_instances(
        ImageId=aws.image(),
        MinCount=1,
        MaxCount=1,
        InstanceType="t3.small",
        BlockDeviceMappings=devices,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags({"mainstay:name": name})}],
    )
    instance = str(made["Instances"][0]["InstanceId"])
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
    return instance


def marks(resource: str, point: str, at: datetime, parts: int) -> dict[str, str]:
    """Give the marks of a point that was taken at another time."""
    return {
        "mainstay:resource": resource,
        "mainstay:point": point,
        "mainstay:taken": at.isoformat(timespec="seconds"),
        "mainstay:parts": str(parts),
    }


def past_set(ec2: Any, instance: str, resource: str, point: str, at: datetime, parts: int) -> list[str]:
    """Make a set of snapshots that says it is of another time; give its members."""
    made = ec2.create_snapshots(
        InstanceSpecification={"InstanceId": instance},
        TagSpecifications=[
            {"ResourceType": "snapshot", "Tags": tags(marks(resource, point, at, parts))},
        ],
    )
    return [one["SnapshotId"] for one in made["Snapshots"]]


def past_image(ec2: Any, instance: str, resource: str, point: str, at: datetime, parts: int) -> str:
    """Make an image that says it is of another time; give its id."""
    said = tags(marks(resource, point, at, parts))
    made = ec2.create_image(
        InstanceId=instance,
        Name=f"mainstay-{resource}-{point}",
        NoReboot=True,
        TagSpecifications=[{"ResourceType": kind, "Tags": said} for kind in ("image", "snapshot")],
    )
    return str(made["ImageId"])


def remember(session: Session, *noted: tuple[datetime, Noted]) -> None:
    """Note in the ledger what runs did, each at its time."""
    run = f"20200101-000000-{next(_runs):04}"
    entries = [
        Entry(at=at, run_id=run, sequence=number, actor="t", noted=one)
        for number, (at, one) in enumerate(noted)
    ]
    note(session.state, entries)


def remember_points(
    session: Session, resource: str, store: str, points: Mapping[str, datetime], proven: str
) -> None:
    """Note that jobs took points, that the effect of the policy was shown, and that one is proven."""
    taken = [
        (at + timedelta(seconds=1), took(resource, store, point, at)) for point, at in sorted(points.items())
    ]
    digest = load_backups(session.environment.folder / "backups.yml").policy_digest(resource, store)
    proof = PointProven(
        resource=resource,
        store=store,
        point=proven,
        level=Level.L4,
        seconds=1.0,
        size_bytes=1,
        found=("launched",),
        host="",
        source="simulated",
    )
    accepted = PolicyAccepted(resource=resource, store=store, policy_digest=digest)
    lately = datetime.now(UTC) - timedelta(minutes=5)
    remember(session, *taken, (lately, accepted), (lately, proof))


def took(resource: str, store: str, point: str, at: datetime) -> PointTaken:
    return PointTaken(
        resource=resource, store=store, point=point, claimed_at=at, figures=FIGURES, seconds=1.0
    )


def mark(session: Session, resource: str, store: str, points: Iterable[str], *, days: int = 8) -> None:
    """Note that a rotation found points expired so many days ago."""
    marked = PointsMarked(resource=resource, store=store, points=tuple(sorted(points)))
    remember(session, (datetime.now(UTC) - days * DAY, marked))
