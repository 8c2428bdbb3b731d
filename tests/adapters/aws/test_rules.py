"""What may pass: what is declared becomes what EC2 keeps, and comes back as it was declared."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automation.adapters.aws.rules import (
    declared_in,
    declared_out,
    everything,
    is_closed,
    read_passages,
    shown_rules,
)
from automation.model.errors import AdapterError
from automation.model.servers import NetworkSpec, Rule

GROUPS = {"web": "sg-1", "offices": "sg-2"}
NAMES = {group: name for name, group in GROUPS.items()}


def rule(protocol: str, ports: str, source: str) -> Rule:
    return Rule.model_validate({"protocol": protocol, "ports": ports, "from": source})


def web(*rules: Rule, isolated: bool = False) -> NetworkSpec:
    return NetworkSpec(name="web", provider="aws", site="east", isolated=isolated, rules=rules)


PORTS = st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(lambda two: f"{min(two)}-{max(two)}")
SOURCES = st.sampled_from(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "offices", "web"])
RULES = st.one_of(
    st.builds(rule, st.sampled_from(["tcp", "udp"]), PORTS | st.just("") | st.just("443"), SOURCES),
    st.builds(rule, st.just("icmp"), st.just(""), SOURCES),
)


@settings(max_examples=25)
@given(st.lists(RULES, max_size=8))
def test_what_is_declared_comes_back_from_ec2_as_it_was_declared(rules: list[Rule]) -> None:
    kept = [one.as_shown() for one in declared_in(web(*rules), GROUPS)]
    assert set(shown_rules(read_passages(kept), NAMES)) == set(rules)


def test_ec2_merges_sources_and_they_are_read_one_by_one() -> None:
    shown = {
        "IpProtocol": "tcp",
        "FromPort": 22,
        "ToPort": 22,
        "IpRanges": [{"CidrIp": "10.0.0.0/8"}, {"CidrIp": "192.0.2.0/24"}],
        "UserIdGroupPairs": [{"GroupId": "sg-2", "UserId": "123456789012"}],
    }
    told = [rule("tcp", "22", source) for source in ("10.0.0.0/8", "192.0.2.0/24", "offices")]
    assert shown_rules(read_passages([shown]), NAMES) == tuple(told)


@pytest.mark.parametrize(
    "shown",
    [
        {"IpProtocol": "50", "IpRanges": [{"CidrIp": "10.0.0.0/8"}]},
        {"IpProtocol": "icmp", "FromPort": 8, "ToPort": -1, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]},
        {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "PrefixListIds": [{"PrefixListId": "pl-1"}]},
        {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
    ],
    ids=["another protocol", "one kind of ICMP", "a prefix list", "everything"],
)
def test_what_no_declaration_says_is_shown_as_a_difference(shown: dict[str, object]) -> None:
    assert set(shown_rules(read_passages([shown]), NAMES)) - {rule("icmp", "", "10.0.0.0/8")}


def test_an_isolated_network_passes_nothing_but_its_own() -> None:
    own = {everything("UserIdGroupPairs", "sg-1")}
    assert declared_in(web(isolated=True), GROUPS) == own
    assert declared_out(web(isolated=True), GROUPS) == own
    assert is_closed(own, "sg-1")


def test_what_lets_one_address_out_is_not_closed() -> None:
    assert not is_closed(
        {everything("UserIdGroupPairs", "sg-1"), everything("IpRanges", "10.0.0.1/32")}, "sg-1"
    )


def test_an_isolated_network_with_a_way_in_is_refused() -> None:
    with pytest.raises(AdapterError, match="isolated"):
        declared_in(web(rule("tcp", "443", "10.0.0.0/8"), isolated=True), GROUPS)


def test_a_source_that_is_nothing_is_refused() -> None:
    with pytest.raises(AdapterError, match="'workshop'"):
        declared_in(web(rule("tcp", "443", "workshop")), GROUPS)
