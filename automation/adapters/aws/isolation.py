"""The isolation of a network: a route table of its own that leads nowhere."""

from collections.abc import Mapping
from typing import Any

from automation.adapters.aws.instances import done_once, made_once
from automation.adapters.aws.marks import Marks, named, specified, token
from automation.adapters.aws.network_parts import Parts, part_of
from automation.adapters.aws.session import Region, Shown
from automation.model.records import Context
from automation.model.servers import NetworkSpec


def cut_off(
    region: Region, network: NetworkSpec, subnet: Shown, table: Shown | None, ctx: Context
) -> tuple[str, ...]:
    """Give a subnet a route table of its own that leads nowhere."""
    if table is not None and is_cut_off(Parts(subnet, None, table)):
        return ()
    name, what = network.name, f"network {network.name} could not be cut off"
    tags = specified(("route-table",), Marks(region.environment, name, ctx.run_id).tags())

    def make() -> Shown:
        request = {"VpcId": subnet["VpcId"], "TagSpecifications": tags}
        again = token(ctx.run_id, ctx.step_id, name, region.environment, "routes", subnet["SubnetId"])
        made: Shown = region.change("ec2.create_route_table", what, once=True, ClientToken=again, **request)[
            "RouteTable"
        ]
        return made

    table = table or made_once(region, what, make, lambda: part_of(region, "route-table", name))
    for route in _ways_out(table):
        where = {key: route[key] for key in _DESTINATIONS if route.get(key)}
        region.change("ec2.delete_route", what, RouteTableId=table["RouteTableId"], **where)
    here: dict[str, Any] = {"RouteTableId": table["RouteTableId"], "SubnetId": subnet["SubnetId"]}
    if not _is_bound(table, subnet):
        _bind(region, what, here, name)
    return ("isolation",)


_DESTINATIONS = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")


def _bind(region: Region, what: str, here: Mapping[str, Any], name: str) -> None:
    """Bind a subnet to its own table, away from whichever it is bound to."""
    filters = [named("association.subnet-id", here["SubnetId"])]
    for other in region.read("ec2.describe_route_tables", what, Filters=filters)["RouteTables"]:
        for one in other.get("Associations", ()):
            if one.get("SubnetId") == here["SubnetId"] and other["RouteTableId"] != here["RouteTableId"]:
                region.change(
                    "ec2.replace_route_table_association",
                    what,
                    AssociationId=one["RouteTableAssociationId"],
                    RouteTableId=here["RouteTableId"],
                )
                return
    done_once(
        lambda: region.change("ec2.associate_route_table", what, **here),
        lambda: _is_bound(part_of(region, "route-table", name) or {}, here),
    )


def _is_bound(table: Shown, subnet: Mapping[str, Any]) -> bool:
    return any(one.get("SubnetId") == subnet["SubnetId"] for one in table.get("Associations", ()))


def is_cut_off(parts: Parts) -> bool:
    """Whether a network has a table of its own without a way out."""
    if parts.subnet is None or parts.table is None:
        return False
    return _is_bound(parts.table, parts.subnet) and not _ways_out(parts.table)


def _ways_out(table: Shown) -> list[Shown]:
    """List the routes that lead anywhere but within the VPC."""
    return [one for one in table.get("Routes", ()) if one.get("GatewayId") != "local"]


def unbind(region: Region, table: Shown | None, name: str) -> None:
    """Take a table from its subnet, in which nothing is any more."""
    what = f"network {name}: its route-table could not be taken from it"
    for one in (table or {}).get("Associations", ()):
        association = one["RouteTableAssociationId"]
        done_once(
            lambda id_=association: region.change(  # type: ignore[misc]
                "ec2.disassociate_route_table", what, AssociationId=id_
            ),
            lambda: not (part_of(region, "route-table", name) or {}).get("Associations"),
        )
