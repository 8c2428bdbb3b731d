"""A test on copies at a simulated AWS proves the points that they were made of, at L4, in the ledger."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from automation.adapters import aws as adapter
from automation.backups.spec import load_backups
from automation.commands._backup_status import look_at_standing
from automation.commands._ledger import read_ledger
from automation.commands._session import Session
from automation.commands._taking import TakeFlags, back_up, raise_failed
from automation.engine.finished import Finished
from automation.engine.fold import fold
from automation.engine.journal import read_journal
from automation.model.actions import (
    Action,
    CreateInstance,
    CreateSubnet,
    LookAtPilot,
    ProveImage,
    ProveSnapshot,
    ProveSubnet,
    RemoveDatabase,
    RemoveInstance,
    RestoreDatabase,
)
from automation.model.plan import Plan, Step
from automation.model.recovery_points import Level, Proof
from automation.model.replicas import PilotSeen
from tests.programs.aws_city import OTHER_SITE, make_login, network, server, step_of
from tests.programs.points_city import make_server, session_of
from tests.programs.simulators import REGIONS, AwsSimulated

pytestmark = pytest.mark.lab
EAST, WEST = REGIONS
COPY = "web-1-test"


@pytest.fixture
def city(aws: AwsSimulated, tmp_path: Path) -> Session:
    """A city with a server in the east and a network without a way out in the west."""
    for folder in ("runs", "backups", "locks"):
        subprocess.run(["rm", "-rf", "--", str(aws.state / folder)], check=True)
    make_login(aws.state)
    make_server(aws, "web-1")
    apart = network("apart", site=OTHER_SITE, cidr="10.99.1.0/24", part_of="test", isolated=True, rules=())
    adapter.create_network(CreateSubnet(network=apart), step_of(aws, step="net"))
    return session_of(aws, tmp_path)


def save(city: Session, resource: str) -> None:
    result, _ = back_up(city, TakeFlags(resource))
    raise_failed(result, "city")


def image_in_west(aws: AwsSimulated) -> str:
    mine = [{"Name": "tag:mainstay:resource", "Values": ["images"]}]
    (image,) = aws.client("ec2", WEST).describe_images(Owners=["self"], Filters=mine)["Images"]
    return str(image["ImageId"])


def drill(city: Session, made: Action, removed: Action, *proofs: Action) -> Finished:
    """Run what a test failover runs between its listings: a copy is made, judged, and gone again."""
    proven = tuple(f"portal/proven-{number}" for number, _ in enumerate(proofs))
    judged = zip(proven, proofs, strict=True)
    isolated = ProveSubnet(site=OTHER_SITE, name="apart")
    steps = (
        Step(id="portal/isolated", run=isolated, why="a network", on_failure="halt"),
        Step(id="portal/made", run=made, why="a copy", needs=("portal/isolated",), timeout_s=60),
        *(Step(id=id_, run=one, why="a proof", after=("portal/made",), timeout_s=5) for id_, one in judged),
        Step(id="portal/removed", run=removed, why="gone", after=("portal/made", *proven), cleanup=True),
    )
    return city.run(Plan(name="drill", environment="city", mode="test-failover", steps=steps))


def launch(image: str) -> CreateInstance:
    spec = server(COPY, site=OTHER_SITE, networks=("apart",), image=image)
    return CreateInstance(host=COPY, site=OTHER_SITE, spec=spec)


REMOVE = RemoveInstance(host=COPY, site=OTHER_SITE)


def proof_of(image: str, resource: str = "images") -> ProveImage:
    return ProveImage(site=OTHER_SITE, resource=resource, store="west", image=image, servers=(COPY,))


def proofs(city: Session, resource: str) -> list[Proof]:
    spec = load_backups(city.environment.folder / "backups.yml").resources[resource]
    found = read_ledger(city.state, simulated={"west"}).proofs(resource, "west", spec)
    return [one for one in found if one.level is Level.L4]


def test_a_server_that_is_well_proves_its_image_and_status_asks_for_no_more(
    city: Session, aws: AwsSimulated
) -> None:
    save(city, "images")
    before = look_at_standing(city, "images").resources[0]
    assert "L4 was never proven in east, west" in before.wrong
    image = image_in_west(aws)
    look = LookAtPilot(site=OTHER_SITE, images="images")
    seen = adapter.look_at_ready(look, step_of(aws)).evidence
    assert isinstance(seen, PilotSeen)
    assert seen.image is not None
    assert (seen.image.id, seen.source) == (image, "simulated")
    finished = drill(city, launch(image), REMOVE, proof_of(image), proof_of(image, "disks"))
    finished.raise_for_status()
    (proof,) = proofs(city, "images")
    assert proofs(city, "disks") == []  # the image bears no mark of that resource
    assert (proof.by, proof.source, proof.seconds > 0) == (finished.folder.name, "simulated", True)
    assert "EC2's checks say system ok, instance ok" in proof.evidence
    after = look_at_standing(city, "images").resources[0]
    assert not [line for line in after.wrong if "L4" in line]
    assert after.proof is not None
    assert (after.proof.level, after.proof.store, after.proof.source) == (Level.L4, "west", "simulated")


def test_what_another_run_or_another_image_made_proves_nothing_good_or_bad(
    city: Session, aws: AwsSimulated
) -> None:
    save(city, "images")
    image = image_in_west(aws)
    adapter.create_instance(launch(image), step_of(aws, run="another-run"))
    finished = drill(city, launch(image), REMOVE, proof_of(image))
    assert finished.closed.status != "succeeded"
    assert proofs(city, "images") == []
    assert read_ledger(city.state).suspended("west") == ""


def saved_snapshot(city: Session, aws: AwsSimulated) -> str:
    """Save a database of the east to the west; give the identifier of its snapshot there."""
    rds = aws.client("rds", EAST)
    rds.create_db_instance(
        DBInstanceIdentifier="payments",
        Engine="postgres",
        DBInstanceClass="db.t3.small",
        AllocatedStorage=20,
        MasterUsername="postgres",
        MasterUserPassword="not-a-secret",
    )
    rds.get_waiter("db_instance_available").wait(
        DBInstanceIdentifier="payments", WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    save(city, "payments")
    shown = aws.client("rds", WEST).describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    (snapshot,) = (str(one["DBSnapshotIdentifier"]) for one in shown)
    return snapshot


def bring_back(city: Session, snapshot: str) -> Finished:
    """Run a test failover of a database."""
    restored = RestoreDatabase(
        site=OTHER_SITE,
        database="payments-test",
        snapshot=snapshot,
        taken_at=datetime.now(UTC),
        network="apart",
    )
    judged = ProveSnapshot(
        site=OTHER_SITE, resource="payments", store="west", snapshot=snapshot, database="payments-test"
    )
    removed = RemoveDatabase(site=OTHER_SITE, database="payments-test")
    return drill(city, restored, removed, judged)


def test_a_database_that_rds_opened_proves_its_snapshot(city: Session, aws: AwsSimulated) -> None:
    bring_back(city, saved_snapshot(city, aws)).raise_for_status()
    (proof,) = proofs(city, "payments")
    assert (proof.source, "postgres is available" in proof.evidence) == ("simulated", True)
    assert not [line for line in look_at_standing(city, "payments").resources[0].wrong if "L4" in line]


def test_a_snapshot_that_rds_cannot_open_is_a_failed_proof_and_its_copy_is_removed(
    city: Session, aws: AwsSimulated
) -> None:
    snapshot = saved_snapshot(city, aws)
    aws.plant(damaged=[snapshot])
    finished = bring_back(city, snapshot)
    folded = fold(read_journal(finished.folder / "journal.jsonl"))
    assert {"portal/made", "portal/proven-0"} == folded.failed.keys()
    assert "portal/removed" in folded.succeeded
    assert proofs(city, "payments") == []
    assert "incompatible-restore" in read_ledger(city.state).suspended("west")
    left = aws.client("rds", WEST).describe_db_instances()["DBInstances"]
    assert "payments-test" not in {one["DBInstanceIdentifier"] for one in left}
