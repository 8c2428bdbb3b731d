"""Facts of what holds data in an account: buckets, disks, databases, public snapshots."""

import json
from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from automation.adapters.aws.account import Account, by_marker, understood
from automation.adapters.aws.policies import is_tls_only
from automation.adapters.aws.session import Region, Shown
from automation.model.errors import AdapterError

NO_BLOCK = frozenset({"NoSuchPublicAccessBlockConfiguration"})
NO_POLICY = frozenset({"NoSuchBucketPolicy"})
_NO_SITE = frozenset({"NoSuchWebsiteConfiguration"})
_RDS_PAGE, _BUCKETS_PAGE = 100, 1000
_EVERYBODY = "all"
_SNAPSHOTS = (
    "snapshots of databases could not be listed",
    {"SnapshotType": "manual", "MaxRecords": _RDS_PAGE},
)
# Where a bucket says that it lies, in words from before regions had names.
_OLD_NAMES: Mapping[str | None, str] = {None: "us-east-1", "": "us-east-1", "EU": "eu-west-1"}
FLAGS: Mapping[str, str] = {
    "block_acls": "BlockPublicAcls",
    "ignore_acls": "IgnorePublicAcls",
    "block_policy": "BlockPublicPolicy",
    "restrict": "RestrictPublicBuckets",
}


def account_block(account: Account) -> JsonValue:
    """Say whether buckets of the account can be public at all."""
    seen = read_block(account) or {}
    return {ours: bool(seen.get(theirs)) for ours, theirs in FLAGS.items()}


def read_block(account: Account) -> Shown | None:
    """Give the account's block of public buckets, as S3 tells it; None: it has none."""
    what = f"the block of public buckets of account {account.id} could not be read"
    answer = account.home.find("s3control.get_public_access_block", what, NO_BLOCK, AccountId=account.id)
    return None if answer is None else answer["PublicAccessBlockConfiguration"]


def buckets(account: Account) -> tuple[list[JsonValue], list[str]]:
    """List buckets, and beside them what of some could not be read."""
    every = account.each(list(_listed(account)), lambda one: _tried(account, one))
    problems = [str(one) for one in every if isinstance(one, AdapterError)]
    return [one for one in every if not isinstance(one, AdapterError)], problems


def bucket_region(account: Account, name: str) -> Region:
    """Give the region that a bucket lies in."""
    answer = account.home.read(
        "s3.get_bucket_location", f"where bucket {name} lies could not be asked", Bucket=name
    )
    told = answer.get("LocationConstraint")
    return account.region(_OLD_NAMES.get(told, str(told)))


def read_policy(region: Region, name: str) -> JsonValue:
    """Give the policy of a bucket; None: it has none."""
    what = f"the policy of bucket {name} could not be read"
    answer = region.find("s3.get_bucket_policy", what, NO_POLICY, Bucket=name)
    policy: JsonValue = None if answer is None else json.loads(answer["Policy"])
    return policy


def encryption(region: Region) -> list[JsonValue]:
    """Say whether a region encrypts new disks."""
    return [{"name": region.provider.region, "encrypts_new_disks": encrypts(region)}]


def encrypts(region: Region) -> bool:
    """Whether new disks of a region are encrypted."""
    what = "whether new disks are encrypted could not be asked"
    return bool(region.read("ec2.get_ebs_encryption_by_default", what)["EbsEncryptionByDefault"])


def databases(region: Region) -> list[JsonValue]:
    """List databases of RDS."""
    what = "databases could not be listed"
    shown = by_marker(region, "rds.describe_db_instances", "DBInstances", what, {"MaxRecords": _RDS_PAGE})
    return [
        {
            "name": str(one["DBInstanceArn"]),
            "encrypted": bool(one.get("StorageEncrypted")),
            "public": bool(one.get("PubliclyAccessible")),
        }
        for one in shown
    ]


def public_snapshots(region: Region) -> list[JsonValue]:
    """List snapshots and images of the account that everybody may copy."""
    disks = region.pages(
        "ec2.describe_snapshots",
        "Snapshots",
        "public snapshots could not be listed",
        OwnerIds=["self"],
        RestorableByUserIds=[_EVERYBODY],
    )
    images = region.pages(
        "ec2.describe_images",
        "Images",
        "public images could not be listed",
        Owners=["self"],
        ExecutableUsers=[_EVERYBODY],
    )
    found: list[tuple[str, str]] = [("ebs", _ec2_arn(region, "snapshot", one["SnapshotId"])) for one in disks]
    found += [("image", _ec2_arn(region, "image", one["ImageId"])) for one in images]
    found += [("rds", arn) for arn in _public_of_rds(region)]
    return [{"kind": kind, "name": arn} for kind, arn in found]


def is_shared_with_all(region: Region, arn: str) -> bool:
    """Whether everybody may copy a snapshot or an image, by its ARN."""
    what, kind = f"with whom {arn} is shared could not be asked", arn.rpartition(":")[2].partition("/")[0]
    if arn.split(":")[2] == "rds":
        return _EVERYBODY in _shared_of_rds(region, arn, what)
    id_ = arn.rpartition("/")[2]
    if kind == "image":
        seen = region.read(
            "ec2.describe_image_attribute", what, ImageId=id_, Attribute="launchPermission"
        ).get("LaunchPermissions", ())
    else:
        seen = region.read(
            "ec2.describe_snapshot_attribute", what, SnapshotId=id_, Attribute="createVolumePermission"
        ).get("CreateVolumePermissions", ())
    return any(one.get("Group") == _EVERYBODY for one in seen)


def _shared_of_rds(region: Region, arn: str, what: str) -> list[str]:
    kind, name = arn.split(":", 6)[5:7]
    if kind == "cluster-snapshot":
        answer = region.read(
            "rds.describe_db_cluster_snapshot_attributes", what, DBClusterSnapshotIdentifier=name
        )["DBClusterSnapshotAttributesResult"]["DBClusterSnapshotAttributes"]
    else:
        answer = region.read("rds.describe_db_snapshot_attributes", what, DBSnapshotIdentifier=name)[
            "DBSnapshotAttributesResult"
        ]["DBSnapshotAttributes"]
    return [who for one in answer if one["AttributeName"] == "restore" for who in one["AttributeValues"]]


def _public_of_rds(region: Region) -> Iterator[str]:
    """Ask of each snapshot: what RDS lists as public is that of everybody in the world."""
    what, page = _SNAPSHOTS
    single = by_marker(region, "rds.describe_db_snapshots", "DBSnapshots", what, page)
    arns = [str(one["DBSnapshotArn"]) for one in single]
    clusters = by_marker(region, "rds.describe_db_cluster_snapshots", "DBClusterSnapshots", what, page)
    arns += [str(one["DBClusterSnapshotArn"]) for one in clusters]
    yield from (arn for arn in arns if is_shared_with_all(region, arn))


def _ec2_arn(region: Region, kind: str, id_: str) -> str:
    """Name a thing of EC2 with its region; such ARNs bear no account."""
    name = region.provider.region
    starts = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
    partition = next((one for start, one in starts.items() if name.startswith(start)), "aws")
    return f"arn:{partition}:ec2:{name}::{kind}/{id_}"


def _listed(account: Account) -> Iterator[str]:
    what, more = f"buckets of account {account.id} could not be listed", dict[str, object]()
    while True:
        answer = account.home.read("s3.list_buckets", what, MaxBuckets=_BUCKETS_PAGE, **more)
        yield from (str(one["Name"]) for one in answer.get("Buckets", ()))
        if not answer.get("ContinuationToken"):
            return
        more = {"ContinuationToken": answer["ContinuationToken"]}


def _tried(account: Account, name: str) -> JsonValue | AdapterError:
    try:
        return understood(lambda: _bucket(account, name))
    except AdapterError as exc:
        return exc


def _bucket(account: Account, name: str) -> JsonValue:
    region = bucket_region(account, name)
    told: dict[str, JsonValue] = {"name": name, "tls_only": is_tls_only(read_policy(region, name), name)}
    return {**told, **_exposure(region, name)}


def _exposure(region: Region, name: str) -> dict[str, JsonValue]:
    """Say whether strangers read a bucket today; null where that could not be asked: only guards ask."""
    told: dict[str, JsonValue] = {}
    for word, asked in (("public", _is_public), ("website", _is_site)):
        try:
            told[word] = asked(region, name)
        except AdapterError:
            told[word] = None
    return told


def _is_public(region: Region, name: str) -> bool:
    what = f"whether bucket {name} is public could not be asked"
    answer = region.find("s3.get_bucket_policy_status", what, NO_POLICY, Bucket=name)
    by_policy = answer is not None and bool(answer["PolicyStatus"]["IsPublic"])
    grants = region.read("s3.get_bucket_acl", what, Bucket=name).get("Grants", ())
    return by_policy or any("/global/" in str(one["Grantee"].get("URI", "")) for one in grants)


def _is_site(region: Region, name: str) -> bool:
    what = f"whether bucket {name} is a website could not be asked"
    return region.find("s3.get_bucket_website", what, _NO_SITE, Bucket=name) is not None
