"""Calls on what holds data: public buckets, buckets without TLS, disks, databases and open snapshots."""

import json
from typing import Any

from pydantic import JsonValue

from automation.adapters.aws.account import Account
from automation.adapters.aws.calls import Kind, State, held
from automation.adapters.aws.facts_stores import (
    FLAGS,
    bucket_region,
    buckets,
    encrypts,
    is_shared_with_all,
    read_block,
    read_policy,
)
from automation.adapters.aws.policies import is_tls_only, with_tls_only
from automation.adapters.aws.session import Region, Shown
from automation.model.errors import AdapterError
from automation.model.provider_settings import WantedCall

_EVERYBODY = "all"
_MODIFYING_S = 300.0  # until a database has its addresses; minutes are common


# --- buckets -----------------------------------------------------------------------------------------


def _read_block(account: Account, _name: str, _before: State) -> State:
    seen = read_block(account)
    return None if seen is None else {flag: bool(seen.get(flag)) for flag in FLAGS.values()}


def _blocked(_state: State, _wanted: WantedCall) -> State:
    return dict.fromkeys(FLAGS.values(), True)


def _set_block(account: Account, _name: str, _now: State, wanted: State) -> None:
    what = f"the block of public buckets of account {account.id} could not be set"
    if wanted is None:
        account.home.change("s3control.delete_public_access_block", what, AccountId=account.id)
    else:
        account.home.change(
            "s3control.put_public_access_block",
            what,
            AccountId=account.id,
            PublicAccessBlockConfiguration=dict(wanted),
        )


def _check_buckets(account: Account, _wanted: WantedCall) -> None:
    """Refuse where a bucket is public today, is a website, or does not let itself be asked."""
    found, problems = buckets(account)
    if problems:
        raise AdapterError(f"{problems[0]}; so the block of public buckets was not set")
    seen = [
        str(one["name"])
        for one in found
        if isinstance(one, dict) and not (one["public"] is False and one["website"] is False)
    ]
    if seen:
        raise AdapterError(
            f"bucket {', '.join(seen[:4])} is public or a website today, or that cannot be asked; the "
            "block of public buckets was not set",
            hint="move it behind CloudFront, then plan anew",
        )


def _read_policy(account: Account, name: str, _before: State) -> State:
    policy = read_policy(bucket_region(account, name), name)
    return {"arn": f"arn:{account.partition}:s3:::{name}", "policy": policy}


def _with_tls(state: State, wanted: WantedCall) -> State:
    arn, policy = held(state, "arn"), held(state, "policy")
    if is_tls_only(policy, wanted.on):
        return state
    added: JsonValue = dict(with_tls_only(policy, str(arn)))
    return {"arn": arn, "policy": added}


def _set_policy(account: Account, name: str, _now: State, wanted: State) -> None:
    region, what = bucket_region(account, name), f"the policy of bucket {name} could not be set"
    policy = held(wanted, "policy")
    if policy is None:
        region.change("s3.delete_bucket_policy", what, Bucket=name)
    else:
        region.change("s3.put_bucket_policy", what, Bucket=name, Policy=json.dumps(policy))


# --- disks and databases -----------------------------------------------------------------------------


def _read_encryption(account: Account, name: str, _before: State) -> State:
    return {"encrypts": encrypts(_region(account, name))}


def _encrypted(_state: State, _wanted: WantedCall) -> State:
    return {"encrypts": True}


def _set_encryption(account: Account, name: str, _now: State, wanted: State) -> None:
    what = f"whether new disks of {name} are encrypted could not be set"
    if held(wanted, "encrypts"):
        _region(account, name).change("ec2.enable_ebs_encryption_by_default", what)
    else:
        _region(account, name).change("ec2.disable_ebs_encryption_by_default", what)


def _region(account: Account, name: str) -> Region:
    if name not in account.names:
        raise AdapterError(f"region {name} of account {account.id} is not on; nothing was changed")
    return account.region(name)


def _read_database(account: Account, arn: str, _before: State) -> State:
    return {"public": bool(_database(account, arn).get("PubliclyAccessible"))}


def _database(account: Account, arn: str) -> Shown:
    name, what = arn.split(":", 6)[6], f"database {arn} could not be looked at"
    answer = account.region_of_arn(arn).read("rds.describe_db_instances", what, DBInstanceIdentifier=name)
    found: Shown = answer["DBInstances"][0]
    return found


def _private(_state: State, _wanted: WantedCall) -> State:
    return {"public": False}


def _set_database(account: Account, arn: str, _now: State, wanted: State) -> None:
    account.region_of_arn(arn).change(
        "rds.modify_db_instance",
        f"whether database {arn} is reached from outside could not be set",
        DBInstanceIdentifier=arn.split(":", 6)[6],
        PubliclyAccessible=bool(held(wanted, "public")),
        ApplyImmediately=True,
    )


# --- snapshots ---------------------------------------------------------------------------------------


def _read_shared(account: Account, arn: str, _before: State) -> State:
    return {"public": is_shared_with_all(account.region_of_arn(arn), arn)}


def _set_shared(account: Account, arn: str, _now: State, wanted: State) -> None:
    region, public = account.region_of_arn(arn), bool(held(wanted, "public"))
    what = f"with whom {arn} is shared could not be set"
    if arn.split(":")[2] == "rds":
        _share_of_rds(region, arn, public, what)
        return
    kind, _, id_ = arn.rpartition(":")[2].partition("/")
    verb = "Add" if public else "Remove"
    if kind == "image":
        groups = {verb: [{"Group": _EVERYBODY}]}
        region.change("ec2.modify_image_attribute", what, ImageId=id_, LaunchPermission=groups)
    else:
        region.change(
            "ec2.modify_snapshot_attribute",
            what,
            SnapshotId=id_,
            Attribute="createVolumePermission",
            OperationType=verb.lower(),
            GroupNames=[_EVERYBODY],
        )


def _share_of_rds(region: Region, arn: str, public: bool, what: str) -> None:
    kind, name = arn.split(":", 6)[5:7]
    values: dict[str, Any] = {"ValuesToAdd" if public else "ValuesToRemove": [_EVERYBODY]}
    if kind == "cluster-snapshot":
        region.change(
            "rds.modify_db_cluster_snapshot_attribute",
            what,
            DBClusterSnapshotIdentifier=name,
            AttributeName="restore",
            **values,
        )
    else:
        region.change(
            "rds.modify_db_snapshot_attribute",
            what,
            DBSnapshotIdentifier=name,
            AttributeName="restore",
            **values,
        )


KINDS = {
    "block_public_buckets": Kind(_read_block, _blocked, _set_block, _check_buckets),
    "deny_without_tls": Kind(_read_policy, _with_tls, _set_policy),
    "encrypt_new_disks": Kind(_read_encryption, _encrypted, _set_encryption),
    "make_database_private": Kind(_read_database, _private, _set_database, takes_s=_MODIFYING_S),
    "make_snapshot_private": Kind(_read_shared, _private, _set_shared),
}
