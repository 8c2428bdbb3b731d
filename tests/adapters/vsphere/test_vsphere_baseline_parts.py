"""The pure parts of baselines of vCenters: what is made of properties, what is not told, what is wanted."""

from collections.abc import Mapping
from datetime import date
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pyVmomi import VmomiSupport, vim

from automation.adapters.vsphere import closing, enforcing, facts, hosts
from automation.adapters.vsphere.calls import CALLS
from automation.adapters.vsphere.enforcing import Wish
from automation.adapters.vsphere.host_settings import State, end_within, lock_out
from automation.adapters.vsphere.reading import Seen
from automation.adapters.vsphere.security_policies import (
    distributed_place,
    lets_by_name,
    standard_places,
)
from automation.commands._controls import load_controls
from automation.model.errors import AdapterError

CONTROLS = [one for one in load_controls().values() if one.platform == "vsphere"]
LONG = VmomiSupport.vmodlTypes["long"]
DENIED = vim.fault.NoPermission(privilegeId="System.Read")


def host(values: Mapping[str, Any], missing: Mapping[str, Any] | None = None) -> Seen:
    told = {"name": "esx1", hosts.STATE: "connected", **values}
    return Seen(vim.HostSystem("host-1"), told, missing or {})


def service(key: str, *, running: bool, policy: str) -> Any:
    return SimpleNamespace(key=key, running=running, policy=policy)


SHELLS = {
    hosts.SERVICES: [
        service("TSM-SSH", running=True, policy="on"),
        service("TSM", running=False, policy="off"),
    ],
    hosts.option(hosts.SHELL_TIMEOUT): vim.option.OptionValue(key="x", value=LONG(0)),
    hosts.option(hosts.IDLE_TIMEOUT): None,
}


# --- facts ----------------------------------------------------------------------------------------


def test_shells_are_told_by_their_services_and_options() -> None:
    assert hosts.shells(host(SHELLS)) == {
        "name": "esx1",
        "ssh": {"running": True, "policy": "on"},
        "shell": {"running": False, "policy": "off"},
        "timeout_s": 0,
        "idle_timeout_s": None,
    }


def test_services_that_were_not_given_are_no_services_that_are_off() -> None:
    with pytest.raises(hosts.NotTold):
        hosts.shells(host({}))


@pytest.mark.parametrize("key", ["TSM-SSH", "TSM"])
def test_a_shell_that_a_host_does_not_name_is_not_known_to_be_off(key: str) -> None:
    named = [one for one in SHELLS[hosts.SERVICES] if one.key != key]
    with pytest.raises(hosts.NotTold, match=f"service {key} is not among"):
        hosts.shells(host({**SHELLS, hosts.SERVICES: named}))


@pytest.mark.parametrize("section", hosts.NEEDED)
def test_a_property_that_is_denied_makes_its_own_sections_unknown_and_no_other(section: str) -> None:
    path = hosts.NEEDED[section][-1]
    blind = host(SHELLS, {path: DENIED})
    with pytest.raises(hosts.NotTold, match=r"denies the privilege System\.Read"):
        hosts.require_told(blind, section)
    for other, needed in hosts.NEEDED.items():
        if path not in needed:
            hosts.require_told(blind, other)


def test_one_section_that_fails_leaves_the_others() -> None:
    found = facts.Sections()

    def denied() -> None:
        raise DENIED

    found.add("lockdown", denied)
    found.add("all_hosts", lambda: True)
    assert found.known == {"all_hosts": True}
    assert "denies the privilege" in found.unknown["lockdown"]


def test_log_targets_are_taken_apart() -> None:
    told = hosts.logs(host({hosts.option(hosts.LOG_TARGETS): "ssl://a:1514, udp://b:514,"}))
    assert told["targets"] == ["ssl://a:1514", "udp://b:514"]
    assert hosts.logs(host({}))["targets"] == []


def test_a_host_that_does_not_say_how_it_booted_is_not_known() -> None:
    with pytest.raises(hosts.NotTold, match=r"8\.0 U3"):
        hosts.trusted_boot(host({}))
    assert hosts.trusted_boot(host({hosts.SECURE_BOOT: False}))["secure_boot"] is False


def test_an_older_vcenter_is_not_asked_for_what_it_does_not_know() -> None:
    assert hosts.SECURE_BOOT in hosts.paths(secure_boot=True)
    assert hosts.SECURE_BOOT not in hosts.paths(secure_boot=False)


@pytest.mark.parametrize(
    ("version", "today", "supported"),
    [
        ("8.0.3", date(2027, 10, 11), True),
        ("8.0.3", date(2027, 10, 12), False),
        ("7.0.3", date(2026, 11, 22), False),
    ],
)
def test_a_release_is_supported_until_its_day(version: str, today: date, supported: bool) -> None:
    told = facts.supported("vcenter", "8.0.3", [host({hosts.VERSION: version})], today)
    assert {"name": "esx1", "supported": supported} in told  # type: ignore[operator]


@pytest.mark.parametrize("version", ["9.9.1", "", "x"])
def test_a_release_whose_end_is_not_known_here_is_not_known(version: str) -> None:
    with pytest.raises(hosts.NotTold, match="is not known here"):
        facts.supported("vcenter", version, [], date(2026, 11, 22))


def test_every_section_that_a_control_asks_for_is_collected_or_said_not_to_be() -> None:
    told = {*hosts.NEEDED, *facts.NOT_ASKED, "hosts", "all_hosts"}
    asked = {
        section
        for one in CONTROLS
        if one.fixtures
        for sections in (*one.fixtures.passes, *one.fixtures.fails)
        for section in sections
    }
    assert asked <= told


# --- port groups ----------------------------------------------------------------------------------


def standard(switch: Any, *groups: tuple[str, Any]) -> Seen:
    security = vim.host.NetworkPolicy.SecurityPolicy
    policy = vim.host.NetworkPolicy(security=security(**switch))
    made = [
        SimpleNamespace(
            spec=SimpleNamespace(
                name=name,
                vswitchName="vSwitch0",
                policy=vim.host.NetworkPolicy(security=security(**own) if own is not None else None),
            )
        )
        for name, own in groups
    ]
    switches = [SimpleNamespace(name="vSwitch0", spec=SimpleNamespace(policy=policy))]
    return host({hosts.GROUPS: made, hosts.SWITCHES: switches})


OPEN = {"allowPromiscuous": True, "macChanges": True, "forgedTransmits": True}
SHUT = dict.fromkeys(OPEN, False)
SHUT_AT_ALL = {"promiscuous": False, "mac_changes": False, "forged": False, "inherited": False}
OPEN_AT_ALL = {"promiscuous": True, "mac_changes": True, "forged": True}


def test_what_a_port_group_leaves_open_its_switch_decides() -> None:
    seen = standard(SHUT, ("a", None), ("b", {"macChanges": True}))
    assert lets_by_name(standard_places(seen)) == {
        "a": {"promiscuous": False, "mac_changes": False, "forged": False},
        "b": {"promiscuous": False, "mac_changes": True, "forged": False},
    }


def test_one_host_that_lets_is_enough_and_what_nobody_says_is_not_known() -> None:
    places = [
        *standard_places(standard(SHUT, ("a", None), ("b", None))),
        *standard_places(standard({}, ("a", {"macChanges": True, "forgedTransmits": False}))),
    ]
    assert lets_by_name(places)["a"] == {"promiscuous": None, "mac_changes": True, "forged": False}


def distributed(setting: Any, *, uplink: bool = False) -> Seen:
    told = {"name": "d", "config.defaultPortConfig": setting, "config.uplink": uplink}
    return Seen(vim.dvs.DistributedVirtualPortgroup("dvportgroup-1"), told)


def test_distributed_port_groups_are_read_in_both_forms_and_ways_out_are_none() -> None:
    kinds = vim.dvs.VmwareDistributedVirtualSwitch
    new = kinds.VmwarePortConfigPolicy(macManagementPolicy=kinds.MacManagementPolicy(**OPEN))
    older = {name: vim.BoolPolicy(value=value) for name, value in SHUT.items()}
    old = kinds.VmwarePortConfigPolicy(securityPolicy=kinds.SecurityPolicy(**older))
    found = [
        distributed_place(distributed(setting)) for setting in (new, old, kinds.VmwarePortConfigPolicy())
    ]
    assert [set(one.effective.values()) for one in found if one] == [{True}, {False}, {None}]
    assert distributed_place(distributed(new, uplink=True)) is None


def test_a_distributed_port_group_that_followed_its_switch_follows_it_again_when_that_is_undone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kinds = vim.dvs.VmwareDistributedVirtualSwitch
    shown = distributed(
        kinds.VmwarePortConfigPolicy(macManagementPolicy=kinds.MacManagementPolicy(inherited=True, **OPEN))
    )

    def written(_vcenter: Any, _what: str, begin: Any, **_more: Any) -> None:
        begin(None)

    def reconfigured(spec: Any) -> None:
        shown.values["config.defaultPortConfig"] = spec.defaultPortConfig  # type: ignore[index]

    monkeypatch.setattr(closing, "run_task", written)
    monkeypatch.setattr(closing, "read_objects", lambda *_: [])
    monkeypatch.setattr(closing, "read_places", lambda *_: [distributed_place(shown)])
    group = vim.dvs.DistributedVirtualPortgroup("dvportgroup-1")
    monkeypatch.setattr(type(group), "ReconfigureDVPortgroup_Task", lambda _self, spec: reconfigured(spec))
    ours = closing.PortGroup(cast(Any, None), "d", [])
    before = ours.read()
    wanted = ours.wanted(before, {})
    ours.put(before, wanted)
    closed = ours.read()
    assert closed == wanted == {"distributed dvportgroup-1": SHUT_AT_ALL}
    ours.put(closed, before)
    assert ours.read() == before == {"distributed dvportgroup-1": {**OPEN_AT_ALL, "inherited": True}}


# --- what is wanted -------------------------------------------------------------------------------


def test_every_call_of_a_control_is_known_here() -> None:
    named = {call.call for one in CONTROLS if one.remedy for call in one.remedy.calls}
    assert named == CALLS


@pytest.mark.parametrize(
    ("now", "then"), [((0, 3600), (600, 600)), ((300, 600), (300, 600)), ((1, 601), (1, 600))]
)
def test_a_shell_that_never_ends_ends_and_one_that_ends_sooner_stays(
    now: tuple[int, int], then: tuple[int, int]
) -> None:
    state: State = {"timeout_s": now[0], "idle_timeout_s": now[1]}
    assert tuple(end_within(state, {"seconds": 600}).values()) == then


@pytest.mark.parametrize(
    ("now", "then"),
    [((0, 0), (5, 0)), ((10, 60), (5, 900)), ((3, 900), (3, 900)), ((5, 0), (5, 0)), ((1, 3600), (1, 3600))],
)
def test_a_lockout_is_made_stricter_and_never_laxer(now: tuple[int, int], then: tuple[int, int]) -> None:
    state: State = {"tries": now[0], "unlock_s": now[1]}
    assert tuple(lock_out(state, {"tries": 5, "unlock_s": 900}).values()) == then


def test_an_option_that_is_no_number_is_left_alone() -> None:
    with pytest.raises(AdapterError, match="no number"):
        lock_out({"tries": "many", "unlock_s": 900}, {"tries": 5, "unlock_s": 900})


# --- bringing it about ----------------------------------------------------------------------------


class Dial:
    """A setting that shows what it is told, some looks later."""

    def __init__(self, *shown: State) -> None:
        self.shown, self.told = list(shown), []  # type: ignore[var-annotated]

    def read(self) -> State:
        return self.shown.pop(0) if len(self.shown) > 1 else self.shown[0]

    def wanted(self, now: State, arguments: Mapping[str, Any]) -> State:
        return {"at": 5}

    def put(self, now: State, wanted: State) -> None:
        self.told.append((now, wanted))


def bring(*shown: State) -> Dial:
    dial = Dial(*shown)
    vcenter: Any = SimpleNamespace(settled=lambda: None)
    wish = Wish("c", "turn", "esx1", dial, before={"at": 9}, wanted={"at": 5}, seen={"at": 9})
    enforcing._bring(vcenter, wish)
    return dial


def test_what_is_wrong_is_set_once_and_awaited_until_it_shows() -> None:
    assert bring({"at": 9}, {"at": 9}, {"at": 9}, {"at": 5}).told == [({"at": 9}, {"at": 5})]


def test_what_became_so_meanwhile_is_not_touched() -> None:
    assert bring({"at": 5}).told == []


def test_what_somebody_made_stricter_meanwhile_is_left() -> None:
    with pytest.raises(AdapterError, match="left as it is"):
        bring({"at": 3})
