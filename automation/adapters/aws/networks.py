"""Networks at AWS: a subnet with a security group of its own, and a way out unless it is isolated."""

from collections.abc import Mapping
from typing import Any

from automation.adapters.aws.instances import done_once, made_once
from automation.adapters.aws.isolation import cut_off, is_cut_off, unbind
from automation.adapters.aws.marks import Marks, as_tags, named, others, specified, tags_of
from automation.adapters.aws.network_parts import Parts, part_of, parts_of
from automation.adapters.aws.rules import Passage, declared_in, declared_out, read_passages
from automation.adapters.aws.session import Region, Shown, region_of
from automation.adapters.aws.vpcs import (
    ending_with,
    find_vpc,
    have_vpc,
    is_our_vpc,
    mark_end,
    remove_vpc,
)
from automation.model.actions import ChangeSubnet, CreateSubnet, DeleteSubnet
from automation.model.errors import AdapterError
from automation.model.machine_evidence import ProviderChange
from automation.model.records import Context, Outcome, Progress
from automation.model.servers import OWNER, ROLE, RUN, NetworkSpec

# --- actions -----------------------------------------------------------------------------------------


def create_network(action: CreateSubnet, ctx: Context) -> Outcome:
    """Make what is missing of a network: its VPC, its subnet, its group, and its rules as declared."""
    region, network = region_of(ctx, action.network.site), action.network
    _require_addresses(network)
    before = parts_of(region, network.name)
    vpc = before.subnet or have_vpc(region, network, ctx.run_id)  # either names the VPC
    made = [part for part in ("subnet", "security-group") if part not in before.ids]
    subnet = before.subnet or _make_subnet(region, network, vpc, ctx)
    group = before.group or _make_group(region, network, vpc, ctx)
    if network.isolated:
        cut_off(region, network, subnet, before.table, ctx)
    done = _apply_rules(region, network, group)
    return _outcome(region, network, ctx, bool(made or done))


def verify_create_network(action: CreateSubnet, ctx: Context) -> Progress:
    """Say whether all of it is there, with its rules."""
    region, network = region_of(ctx, action.network.site), action.network
    lacking = _lacking(region, network)
    if lacking:
        return Progress(state="not_done", why=f"network {network.name} lacks its {lacking}")
    return Progress(state="done", outcome=_outcome(region, network, ctx, True))


def change_network(action: ChangeSubnet, ctx: Context) -> Outcome:
    """Make the rules, the isolation and the tags of a network what was declared."""
    region, network = region_of(ctx, action.network.site), action.network
    parts = parts_of(region, network.name)
    if parts.subnet is None or parts.group is None:
        raise AdapterError(
            f"network {network.name} of {region.environment} is not at {region.provider.region}; nothing was "
            "changed",
            hint=f"./inv provision.plan --env {region.environment} makes it",
        )
    done = list(_apply_rules(region, network, parts.group))
    if network.isolated:
        done += cut_off(region, network, parts.subnet, parts.table, ctx)
    done += _apply_tags(region, network, parts.subnet)
    return _outcome(region, network, ctx, bool(done), verb="changed")


def verify_change_network(action: ChangeSubnet, ctx: Context) -> Progress:
    """Every part is looked at before it is changed: doing it again does what is left."""
    return Progress(state="not_done", why="to change what still differs is safe")


def delete_network(action: DeleteSubnet, ctx: Context) -> Outcome:
    """Remove the subnet that the plan saw, its group and table, and with the last one a VPC of ours."""
    region = region_of(ctx, action.site)
    parts = parts_of(region, action.name)
    removed = dict(parts.ids)
    if parts.subnet is not None:
        _require_unused(region, action, parts.subnet)
        mark_end(region, parts.subnet["VpcId"], action.id, action.name)
    _remove(region, parts, action.name)
    vpc = ending_with(region, action.id, action.name)
    if vpc is not None and remove_vpc(region, vpc["VpcId"], action.name):
        removed["vpc"] = vpc["VpcId"]
    return _removed(region, action, removed)


def verify_delete_network(action: DeleteSubnet, ctx: Context) -> Progress:
    """Say whether all of it is gone; what is left is removed by doing it again."""
    region = region_of(ctx, action.site)
    left = list(parts_of(region, action.name).ids)
    left += ["VPC"] if ending_with(region, action.id, action.name) else []
    if left:
        return Progress(state="not_done", why=f"network {action.name} still has its {', '.join(left)}")
    return Progress(state="done", outcome=_removed(region, action, {"subnet": action.id}))


def _removed(region: Region, action: DeleteSubnet, removed: Mapping[str, str]) -> Outcome:
    evidence = _evidence(region, action.name, "deleted", removed)
    said = f"removed: {', '.join(removed)}" if removed else "is not there"
    return Outcome(changed=bool(removed), summary=f"network {action.name} {said}", evidence=evidence)


# --- looking -----------------------------------------------------------------------------------------


def _groups(region: Region, network: NetworkSpec) -> Mapping[str, str]:
    """Give the group of each network that the rules name, and its own."""
    names = sorted({network.name, *(rule.source for rule in network.rules)})
    filters = [named(f"tag:{OWNER}", region.environment), named(f"tag:{ROLE}", *names)]
    what = f"network {network.name}: the groups of its rules could not be looked for"
    found = region.pages("ec2.describe_security_groups", "SecurityGroups", what, Filters=filters)
    return {tags_of(one)[ROLE]: one["GroupId"] for one in found}


def _lacking(region: Region, network: NetworkSpec) -> str:
    parts = parts_of(region, network.name)
    missing = [part for part in ("subnet", "security-group") if part not in parts.ids]
    if missing or parts.group is None:
        return ", ".join(missing)
    if network.isolated and not is_cut_off(parts):
        return "isolation"
    more, less = _differing(region, network, parts.group)
    return "rules" if more or less else ""


# --- making ------------------------------------------------------------------------------------------


def _require_addresses(network: NetworkSpec) -> None:
    if not network.cidr:
        raise AdapterError(
            f"network {network.name} declares no addresses; nothing was changed",
            hint="write cidr at it in networks.yml: 10.20.1.0/24",
        )


def _make_subnet(region: Region, network: NetworkSpec, vpc: Shown, ctx: Context) -> Shown:
    what = f"network {network.name}: its subnet {network.cidr} could not be made"
    tags = Marks(region.environment, network.name, ctx.run_id).tags(network.tags)
    zone = region.provider.availability_zone
    request: dict[str, Any] = {
        "VpcId": vpc["VpcId"],
        "CidrBlock": network.cidr,
        "TagSpecifications": specified(("subnet",), tags),
        **({"AvailabilityZone": zone} if zone else {}),
    }

    def make() -> Shown:
        made: Shown = region.change("ec2.create_subnet", what, once=True, **request)["Subnet"]
        return made

    return made_once(region, what, make, lambda: part_of(region, "subnet", network.name))


def _make_group(region: Region, network: NetworkSpec, vpc: Shown, ctx: Context) -> Shown:
    what = f"network {network.name}: its security group could not be made"
    tags = Marks(region.environment, network.name, ctx.run_id).tags(network.tags)
    request: dict[str, Any] = {
        "VpcId": vpc["VpcId"],
        "GroupName": f"mainstay:{region.environment}:{network.name}",
        "Description": f"servers of {network.name}",
        "TagSpecifications": specified(("security-group",), tags),
    }

    def make() -> Shown:
        made = region.change("ec2.create_security_group", what, once=True, **request)
        filters = [named("group-id", made["GroupId"])]
        shown = region.read("ec2.describe_security_groups", what, Filters=filters)["SecurityGroups"]
        # Not shown yet it has what EC2 gives every new one: all may go out.
        return shown[0] if shown else {"GroupId": made["GroupId"], "IpPermissionsEgress": _FRESH}

    return made_once(region, what, make, lambda: part_of(region, "security-group", network.name))


_FRESH = ({"IpProtocol": "-1", "IpRanges": ({"CidrIp": "0.0.0.0/0"},)},)


# --- rules and tags ----------------------------------------------------------------------------------


def _differing(
    region: Region, network: NetworkSpec, group: Shown
) -> tuple[dict[str, frozenset[Passage]], dict[str, frozenset[Passage]]]:
    """Give what lacks and what is too much, by direction."""
    groups = {**_groups(region, network), network.name: group["GroupId"]}
    has = {
        "ingress": read_passages(group.get("IpPermissions", ())),
        "egress": read_passages(group.get("IpPermissionsEgress", ())),
    }
    wanted = {"ingress": declared_in(network, groups), "egress": declared_out(network, groups)}
    more = {way: wanted[way] - has[way] for way in has if wanted[way] - has[way]}
    less = {way: has[way] - wanted[way] for way in has if has[way] - wanted[way]}
    return more, less


def _apply_rules(region: Region, network: NetworkSpec, group: Shown) -> tuple[str, ...]:
    """Let through exactly what was declared; what an isolated network must not have goes first."""
    more, less = _differing(region, network, group)
    calls = [(f"ec2.authorize_security_group_{way}", passages) for way, passages in more.items()]
    revoke = [(f"ec2.revoke_security_group_{way}", passages) for way, passages in less.items()]
    what = f"network {network.name}: its rules could not be set"
    for call, passages in revoke + calls if network.isolated else calls + revoke:
        shown = [one.as_shown() for one in sorted(passages)]
        _apply(region, call, what, group["GroupId"], shown)
    return tuple(f"{way} rules" for way in {**more, **less})


def _apply(region: Region, call: str, what: str, group_id: str, shown: list[dict[str, Any]]) -> None:
    way = "IpPermissionsEgress" if call.endswith("egress") else "IpPermissions"
    wanted = read_passages(shown)

    def is_done() -> bool:
        filters = [named("group-id", group_id)]
        found = region.read("ec2.describe_security_groups", what, Filters=filters)["SecurityGroups"]
        has = read_passages(found[0].get(way, ())) if found else frozenset()
        return wanted <= has if "authorize" in call else not wanted & has

    done_once(lambda: region.change(call, what, GroupId=group_id, IpPermissions=shown), is_done)


def _apply_tags(region: Region, network: NetworkSpec, subnet: Shown) -> tuple[str, ...]:
    has = others(tags_of(subnet))
    wanted = {key: value for key, value in network.tags.items() if has.get(key) != value}
    if wanted:
        what = f"network {network.name} could not be tagged"
        region.change("ec2.create_tags", what, Resources=[subnet["SubnetId"]], Tags=as_tags(wanted))
    return tuple(f"tag {key}" for key in wanted)


# --- removing ----------------------------------------------------------------------------------------


def _require_unused(region: Region, action: DeleteSubnet, subnet: Shown) -> None:
    subnet_id = subnet["SubnetId"]
    if subnet_id != action.id:
        raise AdapterError(
            f"network {action.name} is {subnet_id}, planned was {action.id}; nothing was changed",
            hint=f"./inv provision.plan --env {region.environment} looks again",
        )
    what = f"network {action.name}: who uses it could not be asked"
    filters = [named("subnet-id", subnet_id)]
    ports = region.read("ec2.describe_network_interfaces", what, Filters=filters)["NetworkInterfaces"]
    if ports:
        raise AdapterError(
            f"network {action.name} ({subnet_id}) is used by {len(ports)} ports, of "
            f"{', '.join(sorted({_user_of(one) for one in ports}))}; nothing was changed",
            hint="retire its servers first",
        )


def _user_of(port: Shown) -> str:
    return str(port.get("Attachment", {}).get("InstanceId") or port["NetworkInterfaceId"])


def _remove(region: Region, parts: Parts, name: str) -> None:
    removals = (
        ("subnet", "ec2.delete_subnet", "SubnetId"),
        ("route-table", "ec2.delete_route_table", "RouteTableId"),
        ("security-group", "ec2.delete_security_group", "GroupId"),
    )
    unbind(region, parts.table, name)
    for kind, call, key in removals:
        if kind in parts.ids:
            _remove_part(region, kind, (call, {key: parts.ids[kind]}), name)


def _remove_part(region: Region, kind: str, call: tuple[str, Mapping[str, Any]], name: str) -> None:
    what = f"network {name}: its {kind} could not be removed"
    done_once(
        lambda: region.change(call[0], what, **call[1]),
        lambda: part_of(region, kind, name) is None,
    )


# --- telling -----------------------------------------------------------------------------------------


def _outcome(
    region: Region, network: NetworkSpec, ctx: Context, changed: bool, verb: str = "created"
) -> Outcome:
    parts = parts_of(region, network.name)
    run = tags_of(parts.subnet or {}).get(RUN, "")
    ours = run == ctx.run_id if verb == "created" else changed
    ids = dict(parts.ids)
    vpc = find_vpc(region, parts.subnet["VpcId"]) if parts.subnet else None
    if vpc is not None and is_our_vpc(vpc, region):
        ids["vpc"] = vpc["VpcId"]
    evidence = _evidence(region, network.name, verb if ours else "found", ids)
    said = verb if changed else "is as it was declared"
    return Outcome(changed=changed, summary=f"network {network.name} {said}", evidence=evidence)


def _evidence(region: Region, name: str, verb: str, ids: Mapping[str, str]) -> ProviderChange:
    return ProviderChange.model_validate(
        {
            "provider": "aws",
            "site": region.provider.site,
            "what": "network",
            "name": name,
            "verb": verb,
            "ids": dict(ids),
            "source": region.source,
        }
    )
