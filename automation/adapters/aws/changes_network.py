"""Calls on what reaches servers: rules that are open to all, and metadata that ask for no session."""

from typing import Any

from pydantic import JsonValue

from automation.adapters.aws.account import Account
from automation.adapters.aws.calls import Kind, State, held
from automation.adapters.aws.facts_network import (
    is_for_administrators,
    is_open,
    list_rules,
    list_servers,
    metadata_of,
)
from automation.adapters.aws.marks import as_tags, named, specified, tags_of
from automation.adapters.aws.session import Region, Shown
from automation.model.errors import AdapterError
from automation.model.provider_settings import WantedCall
from automation.model.servers import OWNER

_SOURCES = {
    "CidrIpv4": ("IpRanges", "CidrIp"),
    "CidrIpv6": ("Ipv6Ranges", "CidrIpv6"),
    "PrefixListId": ("PrefixListIds", "PrefixListId"),
}
_CONTENT = ("IpProtocol", "FromPort", "ToPort", *_SOURCES)
_ANY = "-1"


# --- rules -------------------------------------------------------------------------------------------


def _read_rule(account: Account, id_: str, before: State) -> State:
    """Give a rule by its id; one that was revoked by its content, for it comes back by another id."""
    if before is None:
        found = account.find(lambda region: next(list_rules(region, id_=id_), None))
        return None if found is None else _state_of(*found)
    region, group = account.region(str(before["region"])), str(before["group"])
    for one in list_rules(region, group=group):
        state = _state_of(region, one)
        if all(state[name] == before[name] for name in (*_CONTENT, "egress")):
            return state
    return None


def _state_of(region: Region, shown: Shown) -> dict[str, JsonValue]:
    return {
        "region": region.provider.region,
        "group": str(shown["GroupId"]),
        "egress": bool(shown.get("IsEgress")),
        "open": is_open(region, shown, {}),
        **{name: shown.get(name) for name in _CONTENT},
        "description": shown.get("Description", ""),
        "tags": dict[str, JsonValue](tags_of(shown)),
    }


def _revoked(state: State, _wanted: WantedCall) -> State:
    """Leave what somebody closed, or gave other ports, meanwhile."""
    is_ours = held(state, "open") is True and held(state, "egress") is False
    ports = (held(state, name) for name in ("IpProtocol", "FromPort", "ToPort"))
    return None if is_ours and is_for_administrators(*ports) else state


def _set_rule(account: Account, id_: str, now: State, wanted: State) -> None:
    if wanted is None:
        _revoke(account, id_, now or {})
    else:
        _authorize(account, wanted)


def _revoke(account: Account, id_: str, now: State) -> None:
    group = str(held(now, "group"))
    account.region(str(held(now, "region"))).change(
        "ec2.revoke_security_group_ingress",
        f"rule {id_} of group {group} could not be revoked",
        GroupId=group,
        SecurityGroupRuleIds=[id_],
    )


def _authorize(account: Account, wanted: State) -> None:
    group, told = str(held(wanted, "group")), dict(wanted or {})
    passage: dict[str, object] = {"IpProtocol": told["IpProtocol"]}
    if told["IpProtocol"] != _ANY:
        passage |= {"FromPort": told["FromPort"], "ToPort": told["ToPort"]}
    said = {"Description": told["description"]} if told["description"] else {}
    for name, (ranges, source) in _SOURCES.items():
        if told[name]:
            passage[ranges] = [{source: told[name], **said}]
    tags = told["tags"] if isinstance(told["tags"], dict) else {}
    marks = as_tags({key: str(value) for key, value in tags.items()})
    more: dict[str, Any] = {"TagSpecifications": specified(("security-group-rule",), marks)} if marks else {}
    account.region(str(told["region"])).change(
        "ec2.authorize_security_group_ingress",
        f"a rule of group {group} could not be put back",
        GroupId=group,
        IpPermissions=[passage],
        **more,
    )


def _check_rule(account: Account, wanted: WantedCall) -> None:
    """Refuse a rule of a network that an environment declares: it would be put back by its next apply."""
    found = account.find(lambda region: next(list_rules(region, id_=wanted.on), None))
    if found is None:
        return
    region, rule = found
    what = f"group {rule['GroupId']} could not be looked at"
    asked = [named("group-id", str(rule["GroupId"]))]
    for group in region.pages("ec2.describe_security_groups", "SecurityGroups", what, Filters=asked):
        owner = tags_of(group).get(OWNER)
        if owner:
            raise AdapterError(
                f"rule {wanted.on} is of a network that environment {owner} declares; it was not revoked",
                hint=f"take it from networks.yml, then ./inv provision.apply --env {owner}",
            )


# --- metadata ----------------------------------------------------------------------------------------


def _read_metadata(account: Account, id_: str, _before: State) -> State:
    region, shown = account.where(f"server {id_}", lambda one: next(list_servers(one, id_), None))
    return {"region": region.provider.region, "metadata": metadata_of(shown)}


def _with_sessions(state: State, _wanted: WantedCall) -> State:
    if held(state, "metadata") != "optional":
        return state
    return {"region": held(state, "region"), "metadata": "required"}


def _set_metadata(account: Account, id_: str, _now: State, wanted: State) -> None:
    account.region(str(held(wanted, "region"))).change(
        "ec2.modify_instance_metadata_options",
        f"how server {id_} answers for its credentials could not be set",
        InstanceId=id_,
        HttpTokens=str(held(wanted, "metadata")),
    )


KINDS = {
    "revoke_rule": Kind(_read_rule, _revoked, _set_rule, _check_rule),
    "require_metadata_sessions": Kind(_read_metadata, _with_sessions, _set_metadata),
}
