"""What the policies of a user allow at the simulated AWS: asked before a call of EC2 is carried out.

Which permission a call needs on what is told by the Service Authorization Reference, "Actions, resources, and
condition keys for Amazon EC2", and not by what Mainstay believes. Reading needs its action alone; a change
needs it on each thing that the call names, and on what it makes; marks in the call that makes something need
ec2:CreateTags, too. Not known are Deny, other services' resources, and keys of resources' own (sizes, types).
"""

import json
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from aws_access import Call, RefusedCallError, arn_of, denied
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends

Tags = Mapping[str, str]
_READS = ("Describe", "Get", "List")
_KINDS = {
    "ami": "image",
    "eni": "network-interface",
    "i": "instance",
    "rtb": "route-table",
    "sg": "security-group",
    "snap": "snapshot",
    "subnet": "subnet",
    "vol": "volume",
    "vpc": "vpc",
}
_OF_NO_ACCOUNT = ("image", "snapshot")
# What a call makes; what it names beside that is there already.
_MADE = {
    "CreateNetworkInterface": ("network-interface",),
    "CreateRouteTable": ("route-table",),
    "CreateSecurityGroup": ("security-group",),
    "CreateSnapshot": ("snapshot",),
    "CreateSubnet": ("subnet",),
    "CreateVolume": ("volume",),
    "CreateVpc": ("vpc",),
    "RunInstances": ("instance", "network-interface", "volume"),
}
# Where things are named by which a call needs no permission: groups that a rule lets in, routes' targets.
_NOT_ASKED = re.compile(r"^(IpPermissions|TagSpecification|Filter|Tag)\.")


class Ask(NamedTuple):
    """One permission that a call needs: on what, and what is known of it and of the call."""

    action: str
    resource: str
    keys: Mapping[str, str]


def refuse_unless_allowed(call: Call) -> tuple[str, ...]:
    """Refuse a call of a user to whom policies are attached and whom none of them allows it.

    Returns:
        The permissions that it needed; none of a login without policies, which may do all.

    Raises:
        RefusedCallError: in AWS's words, with the first permission that is missing.
    """
    documents = policies_of(call)
    if not documents or call.service == "sts":
        return ()
    asks = asks_of(call)
    for ask in asks:
        if not any(allows(document, ask) for document in documents):
            raise _refusal(call, ask)
    return tuple(ask.action for ask in asks)


def _refusal(call: Call, ask: Ask) -> RefusedCallError:
    """Say what is missing on what, as AWS does."""
    refusal = denied(call)
    start = "You are not authorized to perform this operation. " if call.service == "ec2" else ""
    words = (
        f"{start}User: {arn_of(call.login)} is not authorized to perform: {ask.action} on resource: "
        f"{ask.resource} because no identity-based policy allows the {ask.action} action"
    )
    return RefusedCallError(refusal.code, words, refusal.status)


def policies_of(call: Call) -> list[Any]:
    """Give the managed policies of the user who calls; none of a login that settings name."""
    user = iam_backends[call.login.account]["aws"].users.get(call.login.name)
    if user is None or call.login.token:
        return []
    return [
        json.loads(version.document)
        for policy in user.managed_policies.values()
        for version in policy.versions
        if version.version_id == policy.default_version_id
    ]


# --- policies -----------------------------------------------------------------------------------------


def allows(document: Mapping[str, Any], ask: Ask) -> bool:
    """Whether a statement of a policy allows something. Pure."""
    return any(_applies(one, ask) for one in document["Statement"] if one["Effect"] == "Allow")


def _applies(statement: Mapping[str, Any], ask: Ask) -> bool:
    return (
        any(fnmatchcase(ask.action, one) for one in _listed(statement["Action"]))
        and any(fnmatchcase(ask.resource, one) for one in _listed(statement["Resource"]))
        and all(
            _holds(operator, ask.keys.get(key), _listed(wanted))
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def _holds(operator: str, value: str | None, wanted: list[str]) -> bool:
    if operator == "Null":
        return (value is None) == (wanted == ["true"])
    if operator == "StringEqualsIfExists" and value is None:
        return True
    if operator in ("StringEquals", "StringEqualsIfExists"):
        return value in wanted
    raise NotImplementedError(f"condition {operator}")


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


# --- calls --------------------------------------------------------------------------------------------


def asks_of(call: Call) -> list[Ask]:
    """Give the permissions that a call needs."""
    service = {"service-quotas": "servicequotas"}.get(call.service, call.service)
    keys = {"aws:RequestedRegion": call.region}
    if call.service != "ec2" or call.action.startswith(_READS):
        return [Ask(f"{service}:{call.action}", "*", keys)]
    there = [_on(call, id_, keys) for id_ in dict.fromkeys(_named(call))]
    made = [_new(call, kind, keys) for kind in _MADE.get(call.action, ())]
    marks = [
        Ask("ec2:CreateTags", one.resource, {**one.keys, "ec2:CreateAction": call.action})
        for one in made
        if any(key.startswith("aws:RequestTag/") for key in one.keys)
    ]
    return [*there, *made, *marks] or [Ask(f"ec2:{call.action}", "*", keys)]


def _on(call: Call, id_: str, keys: Mapping[str, str]) -> Ask:
    backend = ec2_backends[call.login.account][call.region]
    tags = {one["key"]: one["value"] for one in backend.describe_tags({"resource-id": [id_]})}
    known = {f"aws:ResourceTag/{key}": value for key, value in tags.items()}
    asked: Tags = _tags(call, r"Tag\.") if call.action in ("CreateTags", "DeleteTags") else {}
    asked = {f"aws:RequestTag/{key}": value for key, value in asked.items()}
    return Ask(
        f"ec2:{call.action}", _arn(call, _KINDS[id_.partition("-")[0]], id_), {**keys, **known, **asked}
    )


def _new(call: Call, kind: str, keys: Mapping[str, str]) -> Ask:
    told = (
        _tags(call, re.escape(name.removesuffix("ResourceType")) + r"Tag\.")
        for name, value in call.parameters.items()
        if re.fullmatch(r"TagSpecification\.\d+\.ResourceType", name) and value == kind
    )
    asked = {f"aws:RequestTag/{key}": value for tags in told for key, value in tags.items()}
    return Ask(f"ec2:{call.action}", _arn(call, kind, "*"), {**keys, **asked})


def _tags(call: Call, start: str) -> Tags:
    found = {}
    for name, key in call.parameters.items():
        if re.fullmatch(start + r"\d+\.Key", name):
            found[key] = call.parameters.get(name.removesuffix("Key") + "Value", "")
    return found


def _named(call: Call) -> Iterable[str]:
    """Give the ids of what a call names, an association's by what it associates."""
    backend = ec2_backends[call.login.account][call.region]
    for name, value in call.parameters.items():
        if _NOT_ASKED.match(name):
            continue
        if value.startswith("eni-attach-"):
            ports = [one for one in backend.enis.values() if one.attachment_id == value]
            yield from (id_ for one in ports for id_ in (one.id, one.instance.id))
        elif value.startswith("rtbassoc-"):
            yield from _associated(backend.route_tables.values(), value)
        elif re.fullmatch(rf"({'|'.join(_KINDS)})-[0-9a-f]+", value):
            yield value


def _associated(tables: Iterable[Any], association: str) -> Iterable[str]:
    for table in tables:
        for known in table.associations:
            if known["RouteTableAssociationId"] == association:
                yield table.id
                yield known.get("SubnetId", table.id)


def _arn(call: Call, kind: str, id_: str) -> str:
    account = "" if kind in _OF_NO_ACCOUNT else call.login.account
    return f"arn:aws:ec2:{call.region}:{account}:{kind}/{id_}"
