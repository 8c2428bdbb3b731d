"""The rules of a security group: what is declared, what is there, and what lies between. Pure."""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from automation.adapters.aws.session import Shown
from automation.model.errors import AdapterError
from automation.model.servers import NetworkSpec, Rule

_SOURCES: dict[str, str] = {
    "IpRanges": "CidrIp",
    "Ipv6Ranges": "CidrIpv6",
    "UserIdGroupPairs": "GroupId",
    "PrefixListIds": "PrefixListId",
}
_ANY, _ALL_PORTS = "-1", (0, 65535)
EVERYWHERE = "0.0.0.0/0"
Protocol = Literal["tcp", "udp", "icmp"]
_DECLARABLE: tuple[Protocol, ...] = ("tcp", "udp", "icmp")


class Passage(NamedTuple):
    """One thing that a group lets through, as EC2 keeps it: of one protocol, range of ports and source."""

    protocol: str
    first: int
    last: int
    kind: str
    source: str

    def as_shown(self) -> dict[str, Any]:
        """Give it as EC2 takes it."""
        ports = {} if self.protocol == _ANY else {"FromPort": self.first, "ToPort": self.last}
        return {"IpProtocol": self.protocol, **ports, self.kind: [{_SOURCES[self.kind]: self.source}]}


def everything(kind: str, source: str) -> Passage:
    """Give what lets all through."""
    return Passage(_ANY, -1, -1, kind, source)


def read_passages(shown: Iterable[Shown]) -> frozenset[Passage]:
    """Take apart what EC2 shows of a group, one source each."""
    return frozenset(
        Passage(
            one["IpProtocol"],
            -1 if one["IpProtocol"] == _ANY else one.get("FromPort", -1),
            -1 if one["IpProtocol"] == _ANY else one.get("ToPort", -1),
            kind,
            source[key],
        )
        for one in shown
        for kind, key in _SOURCES.items()
        for source in one.get(kind, ())
    )


def declared_in(network: NetworkSpec, groups: Mapping[str, str]) -> frozenset[Passage]:
    """Give what may come in; an isolated network takes from itself alone.

    Args:
        groups: network to its security group, its own among them.

    Raises:
        AdapterError: a source is neither addresses nor a network that is there.
    """
    if network.isolated:
        _require_no_way_in(network)
        return frozenset({everything("UserIdGroupPairs", groups[network.name])})
    return frozenset(_passage(network, rule, groups) for rule in network.rules)


def declared_out(network: NetworkSpec, groups: Mapping[str, str]) -> frozenset[Passage]:
    """Give what may go out: everything, or from an isolated network to itself alone."""
    if network.isolated:
        return frozenset({everything("UserIdGroupPairs", groups[network.name])})
    return frozenset({everything("IpRanges", EVERYWHERE)})


def shown_rules(passages: Iterable[Passage], names: Mapping[str, str]) -> tuple[Rule, ...]:
    """Say what comes in as a declaration would; what none can say stands there in words, so it is seen.

    Args:
        names: security group to its network.
    """
    rules = [rule for one in sorted(passages) for rule in _rules_of(one, names)]
    return tuple(sorted(rules, key=lambda rule: (rule.protocol, rule.ports, rule.source)))


def is_closed(passages: Iterable[Passage], own: str) -> bool:
    """Whether passages let nothing through but from or to the group itself."""
    return all((one.kind, one.source) == ("UserIdGroupPairs", own) for one in passages)


def _require_no_way_in(network: NetworkSpec) -> None:
    foreign = [rule.source for rule in network.rules if rule.source != network.name]
    if foreign:
        raise AdapterError(
            f"network {network.name} is isolated and declares a way in from {', '.join(foreign)}; nothing "
            "was changed",
            hint="take the rules or `isolated` away in networks.yml",
        )


def _passage(network: NetworkSpec, rule: Rule, groups: Mapping[str, str]) -> Passage:
    first, last = _range(rule)
    cidr = _cidr(rule.source)
    if cidr:
        kind = "Ipv6Ranges" if ":" in cidr else "IpRanges"
        return Passage(rule.protocol, first, last, kind, cidr)
    if rule.source not in groups:
        raise AdapterError(
            f"network {network.name}: its rule takes from {rule.source!r}, which is neither addresses nor a "
            "network that is there; nothing was changed",
            hint="correct `from` in networks.yml, or make that network first",
        )
    return Passage(rule.protocol, first, last, "UserIdGroupPairs", groups[rule.source])


def _range(rule: Rule) -> tuple[int, int]:
    if rule.protocol == "icmp":
        return -1, -1
    if not rule.ports:
        return _ALL_PORTS
    first, _, last = rule.ports.partition("-")
    return int(first), int(last or first)


def _written(protocol: str, first: int, last: int) -> str:
    if protocol == "icmp" or (first, last) == _ALL_PORTS:
        return ""
    return str(first) if first == last else f"{first}-{last}"


def _cidr(source: str) -> str:
    """Give addresses as EC2 writes them; empty for what is none."""
    try:
        return str(ipaddress.ip_network(source, strict=False))
    except ValueError:
        return ""


def _rules_of(one: Passage, names: Mapping[str, str]) -> list[Rule]:
    source = names.get(one.source, one.source)
    if one.protocol == _ANY:
        return [_rule(protocol, "", source) for protocol in _DECLARABLE]
    is_plain = one.protocol != "icmp" or (one.first, one.last) == (-1, -1)
    for protocol in _DECLARABLE:
        if one.protocol == protocol and is_plain:
            return [_rule(protocol, _written(protocol, one.first, one.last), source)]
    return [_rule("icmp", "", f"{source} by protocol {one.protocol} {one.first}:{one.last}")]


def _rule(protocol: Protocol, ports: str, source: str) -> Rule:
    return Rule.model_validate({"protocol": protocol, "ports": ports, "from": source})
