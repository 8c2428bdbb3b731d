"""What a login must be allowed for what Mainstay does at AWS, and the least policy that says so. Pure.

Reading is allowed everywhere in the region. What is made must bear this environment's mark in the same call;
what is changed or removed must bear it already; only what bears nobody's mark can be adopted. Baselines are
of a whole account: what audits read stands in a statement of its own, what enforcement changes in another.
"""

import json
from collections.abc import Iterable, Mapping, Set
from typing import Literal, NamedTuple

from automation.adapters.aws.permitted import CALLS
from automation.adapters.aws.permitted_accounts import OF_ACCOUNTS
from automation.model.errors import AdapterError
from automation.model.providers import AwsProvider
from automation.model.servers import OWNER

When = Literal["always", "new", "ours", "nobodys"]
Condition = Mapping[str, Mapping[str, str | list[str]]]
_GLOBAL = "us-east-1"  # where Route 53 answers for all regions
_PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
_OF_NO_ACCOUNT = frozenset({"image", "snapshot"})  # their ARNs of EC2 name none


class Need(NamedTuple):
    """One permission: what may be done, to which kinds of things, and on what condition."""

    action: str
    kinds: tuple[str, ...] = ()
    when: When = "always"


def needs_of(call: str) -> tuple[Need, ...]:
    """Give the permissions of one call of boto3: `ec2.run_instances`.

    Raises:
        KeyError: the call is in no list, so no policy would allow it.
    """
    if call in _SPECIAL:
        return _SPECIAL[call]
    service, _, name = call.partition(".")
    action = f"{_SERVICE.get(service, service)}:{_in_capitals(name)}"
    if name.startswith(_READING) or (call in _OF_ACCOUNTS and call not in _CHANGING):
        return (Need(action),)
    return (Need(action, _CHANGING[call], "ours"),)


def actions_needing(addresses: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Give the calls of each action of a plan that is AWS's: `aws.create_instance`; and of looking.

    Raises:
        AdapterError: an action is not of this adapter.
    """
    names = {address.removeprefix("aws.") for address in addresses if address.startswith("aws.")}
    names |= {"list_kept", "look"}
    unknown = sorted(names - CALLS.keys())
    if unknown:
        raise AdapterError(f"aws: no permissions are listed for {', '.join(unknown)}; nothing was changed")
    return {name: CALLS[name] for name in sorted(names)}


def policy(addresses: Iterable[str], environment: str, provider: AwsProvider) -> str:
    """Write the least IAM policy by which the actions of a plan succeed in one region, as JSON."""
    asked = actions_needing(addresses)
    calls = {call for name, calls in asked.items() if name not in OF_ACCOUNTS for call in calls}
    needs = {need for call in calls for need in needs_of(call) if need.action not in _FREE}
    grouped: dict[tuple[bool, tuple[str, ...], When], list[str]] = {}
    for need in sorted(needs):
        is_global = need.action.startswith("route53:")
        # The mark itself says what is ours, of whatever kind; so many kinds would not fit into a policy.
        all_of_ec2 = need.when == "ours" and need.action.startswith("ec2:")
        kinds = ("*",) if all_of_ec2 else need.kinds
        grouped.setdefault((is_global, kinds, need.when), []).append(need.action)
    statements = []
    for (is_global, kinds, when), actions in sorted(grouped.items()):
        condition = _condition(when, environment, _GLOBAL if is_global else provider.region)
        statements.append(_statement(actions, kinds, condition, provider))
    creating = sorted({need.action.partition(":")[2] for need in needs if need.when == "new"} & _TAGS_AT)
    if creating:
        mark = _condition("new", environment, provider.region)["StringEquals"]
        condition = {"StringEquals": {**mark, "ec2:CreateAction": creating}}
        statements.append(_statement(["ec2:CreateTags"], ("*",), condition, provider))
    if "ec2.run_instances" in calls and provider.instance_profile:
        passed: Condition = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
        statements.append(_statement(["iam:PassRole"], (provider.instance_profile,), passed, provider))
    statements += _of_account({call for name in asked.keys() & OF_ACCOUNTS for call in asked[name]}, provider)
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=1)


def _of_account(calls: Set[str], provider: AwsProvider) -> list[dict[str, object]]:
    """Allow calls on a whole account, in all its regions: reading and changing apart."""
    here: Condition = {"StringEqualsIfExists": {"aws:ResourceAccount": provider.account}}
    reads = sorted(call for call in calls if call.partition(".")[2].startswith(_READING))
    parts = {"MainstayAuditReads": reads, "MainstayBaselineChanges": sorted(calls - set(reads))}
    found = []
    for name, some in parts.items():
        actions = [need.action for call in some for need in needs_of(call) if need.action not in _FREE]
        if actions:
            found.append({"Sid": name, **_statement(actions, (), here, provider)})
    if "ec2.create_flow_logs" in calls:
        passed: Condition = {"StringEquals": {"iam:PassedToService": "vpc-flow-logs.amazonaws.com"}}
        found.append(_statement(["iam:PassRole"], ("*",), passed, provider))
        # Who may mark anything as ours may do with it whatever is allowed with what is ours.
        made: Condition = {"StringEquals": {"ec2:CreateAction": "CreateFlowLogs"}}
        found.append(_statement(["ec2:CreateTags"], (), made, provider))
    return found


def _statement(
    actions: list[str], kinds: tuple[str, ...], condition: Condition, provider: AwsProvider
) -> dict[str, object]:
    return {
        "Effect": "Allow",
        "Action": sorted(set(actions)),
        "Resource": sorted({_arn(kind, actions[0], provider) for kind in kinds}) or "*",
        "Condition": condition,
    }


def _arn(kind: str, action: str, provider: AwsProvider) -> str:
    service, region, account = action.partition(":")[0], provider.region, provider.account
    starts = (name for start, name in _PARTITIONS.items() if region.startswith(start))
    partition = next(starts, "aws")
    if service == "iam":
        return f"arn:{partition}:iam::{account}:role/{kind}"
    if service == "route53":
        return f"arn:{partition}:route53:::{kind}/*"
    if service == "ec2" and kind == "*":
        return f"arn:{partition}:ec2:{region}:*:*"
    if service == "ec2":
        return f"arn:{partition}:ec2:{region}:{'' if kind in _OF_NO_ACCOUNT else account}:{kind}/*"
    return f"arn:{partition}:{service}:{region}:{account}:{kind}:*"


def _condition(when: When, environment: str, region: str) -> Condition:
    if when == "new":
        return {"StringEquals": {f"aws:RequestTag/{OWNER}": environment}}
    if when == "ours":
        return {"StringEquals": {f"aws:ResourceTag/{OWNER}": environment}}
    if when == "nobodys":
        asked = {f"aws:RequestTag/{OWNER}": environment}
        return {"StringEquals": asked, "Null": {f"aws:ResourceTag/{OWNER}": "true"}}
    return {"StringEquals": {"aws:RequestedRegion": region}}


def _in_capitals(name: str) -> str:
    words = (_ACRONYMS.get(word, word.capitalize()) for word in name.split("_"))
    return "".join(words)


_ACRONYMS = {"db": "DB", "mfa": "MFA"}
_SERVICE = {"service-quotas": "servicequotas"}
_READING = ("describe_", "list_", "get_")
_OF_ACCOUNTS = frozenset(call for calls in OF_ACCOUNTS.values() for call in calls)
_FREE = frozenset({"sts:GetCallerIdentity"})  # nobody can be denied it
# Calls that set tags on what they make; EC2 then asks for ec2:CreateTags too.
_TAGS_AT = frozenset(
    {
        "CopyImage",
        "CopySnapshot",
        "CreateImage",
        "CreateNetworkInterface",
        "CreateRouteTable",
        "CreateSecurityGroup",
        "CreateSnapshot",
        "CreateSnapshots",
        "CreateSubnet",
        "CreateVolume",
        "CreateVpc",
        "RunInstances",
    }
)
_PARTS = ("instance", "network-interface", "volume")
# Calls on what is there already and ours: the kinds that each of them touches.
_CHANGING: Mapping[str, tuple[str, ...]] = {
    "ec2.associate_route_table": ("route-table", "subnet"),
    "ec2.associate_vpc_cidr_block": ("vpc",),
    "ec2.attach_network_interface": ("instance", "network-interface"),
    "ec2.attach_volume": ("instance", "volume"),
    "ec2.authorize_security_group_egress": ("security-group",),
    "ec2.authorize_security_group_ingress": ("security-group",),
    "ec2.delete_network_interface": ("network-interface",),
    "ec2.delete_route": ("route-table",),
    "ec2.delete_route_table": ("route-table",),
    "ec2.delete_security_group": ("security-group",),
    "ec2.delete_snapshot": ("snapshot",),
    "ec2.delete_subnet": ("subnet",),
    "ec2.delete_tags": _PARTS,
    "ec2.delete_volume": ("volume",),
    "ec2.delete_vpc": ("vpc",),
    "ec2.deregister_image": ("image",),
    "ec2.detach_network_interface": ("instance", "network-interface"),
    "ec2.disassociate_route_table": ("route-table", "subnet"),
    "ec2.lock_snapshot": ("snapshot",),
    "ec2.modify_image_attribute": ("image",),
    "ec2.modify_instance_attribute": ("instance", "volume"),
    "ec2.modify_network_interface_attribute": ("instance", "network-interface", "security-group"),
    "ec2.modify_snapshot_attribute": ("snapshot",),
    "ec2.modify_volume": ("volume",),
    "ec2.replace_route_table_association": ("route-table", "subnet"),
    "ec2.revoke_security_group_egress": ("security-group",),
    "ec2.revoke_security_group_ingress": ("security-group",),
    "ec2.start_instances": ("instance",),
    "ec2.stop_instances": ("instance",),
    "ec2.terminate_instances": ("instance",),
    "rds.delete_db_instance": ("db",),
    "rds.delete_db_subnet_group": ("subgrp",),
    "rds.delete_db_snapshot": ("snapshot",),
    "rds.modify_db_snapshot_attribute": ("snapshot",),
}
# Calls that make something: marked when it is made, of things that are there.
_SPECIAL: Mapping[str, tuple[Need, ...]] = {
    "ec2.copy_image": (
        Need("ec2:CopyImage", ("image", "snapshot"), "new"),
        Need("ec2:CopyImage", ("image",)),
    ),
    "ec2.copy_snapshot": (Need("ec2:CopySnapshot", ("snapshot",), "new"),),
    "ec2.create_image": (
        Need("ec2:CreateImage", ("instance",), "ours"),
        Need("ec2:CreateImage", ("image", "snapshot"), "new"),
    ),
    "ec2.create_network_interface": (
        Need("ec2:CreateNetworkInterface", ("network-interface",), "new"),
        Need("ec2:CreateNetworkInterface", ("security-group", "subnet"), "ours"),
    ),
    "ec2.create_route_table": (
        Need("ec2:CreateRouteTable", ("route-table",), "new"),
        Need("ec2:CreateRouteTable", ("vpc",)),
    ),
    "ec2.create_security_group": (
        Need("ec2:CreateSecurityGroup", ("security-group",), "new"),
        Need("ec2:CreateSecurityGroup", ("vpc",)),
    ),
    "ec2.create_snapshot": (
        Need("ec2:CreateSnapshot", ("snapshot",), "new"),
        # What was attached by people to a server of ours is kept too before that goes.
        Need("ec2:CreateSnapshot", ("volume",)),
    ),
    "ec2.create_snapshots": (
        Need("ec2:CreateSnapshots", ("snapshot",), "new"),
        Need("ec2:CreateSnapshots", ("instance",), "ours"),
        Need("ec2:CreateSnapshots", ("volume",)),
    ),
    "ec2.create_subnet": (
        Need("ec2:CreateSubnet", ("subnet",), "new"),
        Need("ec2:CreateSubnet", ("vpc",)),
    ),
    "ec2.create_tags": (
        Need("ec2:CreateTags", (*_PARTS, "subnet", "vpc"), "ours"),
        Need("ec2:CreateTags", _PARTS, "nobodys"),
    ),
    "ec2.create_volume": (Need("ec2:CreateVolume", ("volume",), "new"),),
    "ec2.create_vpc": (Need("ec2:CreateVpc", ("vpc",), "new"),),
    "ec2.run_instances": (
        Need("ec2:RunInstances", _PARTS, "new"),
        Need("ec2:RunInstances", ("security-group", "subnet"), "ours"),
        Need("ec2:RunInstances", ("image", "snapshot")),
    ),
    # The city's own databases, which bear no mark of ours, are promoted, and blocked while it fails over.
    "rds.add_tags_to_resource": (Need("rds:AddTagsToResource", ("db",)),),
    "rds.modify_db_instance": (Need("rds:ModifyDBInstance", ("db", "secgrp")),),
    "rds.remove_tags_from_resource": (Need("rds:RemoveTagsFromResource", ("db",)),),
    "rds.create_db_instance_read_replica": (
        Need("rds:CreateDBInstanceReadReplica", ("db", "og", "pg", "subgrp")),
        Need("rds:AddTagsToResource", ("db",)),
    ),
    "rds.promote_read_replica": (Need("rds:PromoteReadReplica", ("db",)),),
    "rds.create_db_subnet_group": (
        Need("rds:CreateDBSubnetGroup", ("subgrp",)),
        Need("rds:AddTagsToResource", ("subgrp",)),
    ),
    "rds.copy_db_snapshot": (
        Need("rds:CopyDBSnapshot", ("snapshot",)),
        Need("rds:AddTagsToResource", ("snapshot",)),
    ),
    "rds.create_db_snapshot": (
        Need("rds:CreateDBSnapshot", ("db", "snapshot")),
        Need("rds:AddTagsToResource", ("snapshot",)),
    ),
    "rds.restore_db_instance_from_db_snapshot": (
        Need("rds:RestoreDBInstanceFromDBSnapshot", ("db", "og", "pg", "snapshot", "subgrp")),
        Need("rds:AddTagsToResource", ("db",)),
    ),
    # S3 has other names for some permissions than for the calls.
    "ec2.create_flow_logs": (
        Need("ec2:CreateFlowLogs"),
        Need("logs:CreateLogDelivery"),
    ),
    "s3.list_buckets": (Need("s3:ListAllMyBuckets"),),
    "s3.get_bucket_lifecycle_configuration": (Need("s3:GetLifecycleConfiguration"),),
    "s3control.get_public_access_block": (Need("s3:GetAccountPublicAccessBlock"),),
    "s3control.put_public_access_block": (Need("s3:PutAccountPublicAccessBlock"),),
    "s3control.delete_public_access_block": (Need("s3:PutAccountPublicAccessBlock"),),
    "route53.change_resource_record_sets": (Need("route53:ChangeResourceRecordSets", ("hostedzone",)),),
}
