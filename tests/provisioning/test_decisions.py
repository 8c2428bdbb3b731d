"""What becomes of servers and networks: nothing is lost, restarted or made twice without a person's word."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automation.model.servers import (
    Disk,
    FoundDisk,
    FoundNetwork,
    FoundServer,
    NetworkSpec,
    ProviderView,
    Rule,
    ServerSpec,
    Size,
)
from automation.provisioning.compiling import Allowed, compile_steps
from automation.provisioning.decisions import Decision, Declared, Verdict, decide

GIB = 2**30
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SPEC = ServerSpec(
    name="web-1",
    provider="aws",
    site="east",
    image="debian-12",
    size=Size(type="t3.small"),
    disks=(Disk(name="data", size_bytes=10 * GIB),),
    networks=("app",),
    tags={"team": "web"},
)
APP = NetworkSpec(name="app", provider="aws", site="east", cidr="10.1.0.0/24", part_of="main")
FOUND = FoundServer(
    name="web-1",
    id="i-1",
    provider="aws",
    site="east",
    owner="city",
    power="on",
    image="debian-12",
    image_id="ami-1",
    size=Size(type="t3.small"),
    disks=(
        FoundDisk(id="vol-0", name="", size_bytes=8 * GIB),
        FoundDisk(id="vol-1", name="data", size_bytes=10 * GIB),
    ),
    networks=("app",),
    addresses=("10.1.0.5",),
    tags={"team": "web", "cost": "7"},
)
FOUND_APP = FoundNetwork(
    name="app", id="subnet-1", provider="aws", site="east", owner="city", cidr="10.1.0.0/24", part_of="main"
)
IMAGES = {"debian-12": "ami-1", "debian-13": "ami-2"}


def view(*servers: FoundServer, networks: tuple[FoundNetwork, ...] = (FOUND_APP,)) -> ProviderView:
    return ProviderView(
        provider="aws", site="east", at=NOW, servers=servers, networks=networks, images=IMAGES
    )


def declared(*specs: ServerSpec, **known: object) -> Declared:
    return Declared(  # type: ignore[arg-type]
        environment="city", servers={spec.name: spec for spec in specs}, **{"networks": {"app": APP}, **known}
    )


def of_server(found: FoundServer | None, spec: ServerSpec = SPEC, **known: object) -> Decision:
    seen = view(*([found] if found else []))
    return next(one for one in decide(declared(spec, **known), [seen]) if one.what == "server")


def steps(decisions: tuple[Decision, ...], said: Declared, allowed: Allowed = Allowed()) -> list[str]:  # noqa: B008
    return [step.id for step in compile_steps(said, decisions, allowed)]


CHANGED: Mapping[str, tuple[Mapping[str, object], Mapping[str, object], Verdict]] = {
    "as declared": ({}, {}, "nothing"),
    "a tag": ({}, {"tags": {}}, "change"),
    "a tag that others gave": ({"tags": {}}, {}, "nothing"),
    "a disk that lacks": ({}, {"disks": ()}, "change"),
    "a disk that is small": ({"disks": (Disk(name="data", size_bytes=20 * GIB),)}, {}, "change"),
    "a disk that is too large": ({"disks": (Disk(name="data", size_bytes=5 * GIB),)}, {}, "replace"),
    "a disk that is not declared": ({"disks": ()}, {}, "nothing"),
    "its size": ({"size": Size(type="t3.large")}, {}, "restart"),
    "its image": ({"image": "debian-13"}, {}, "replace"),
    "its network": ({"networks": ("other",)}, {}, "replace"),
    "its address": ({"address": "10.1.0.9"}, {}, "replace"),
    "its address, as it is": ({"address": "10.1.0.5"}, {}, "nothing"),
    "switched off": ({}, {"power": "off"}, "start"),
    "off, and of another size": ({"size": Size(type="t3.large")}, {"power": "off"}, "start"),
    "nobody's": ({}, {"owner": ""}, "adopt"),
    "another's": ({}, {"owner": "elsewhere"}, "foreign"),
}


@pytest.mark.parametrize(("said", "is_", "verdict"), CHANGED.values(), ids=CHANGED.keys())
def test_what_differs_decides(said: Mapping[str, object], is_: Mapping[str, object], verdict: str) -> None:
    decision = of_server(FOUND.model_copy(update=is_), SPEC.model_copy(update=said))
    assert decision.verdict == verdict
    assert decision.why


def test_a_disk_that_is_not_declared_is_shown_and_stays() -> None:
    decision = of_server(FOUND, SPEC.model_copy(update={"disks": ()}))
    assert [(one.key, one.reach) for one in decision.differences] == [("disks:data", "none")]


def test_a_vm_changes_its_port_group_without_being_made_anew() -> None:
    spec = SPEC.model_copy(update={"provider": "vsphere", "networks": ("other",)})
    found = FOUND.model_copy(update={"provider": "vsphere"})
    seen = view(found).model_copy(update={"provider": "vsphere"})
    decision = next(one for one in decide(declared(spec), [seen]) if one.what == "server")
    assert (decision.verdict, decision.changes("change")) == ("change", ("networks",))


def test_two_of_one_name_are_left_to_a_person() -> None:
    twin = FOUND.model_copy(update={"id": "i-2"})
    decision = decide(declared(SPEC), [view(FOUND, twin)])[-1]
    assert decision.verdict == "foreign"
    assert "i-1, i-2" in decision.why


def test_what_is_ours_and_not_declared_is_told_and_left() -> None:
    said = declared()
    (app, left) = decide(said, [view(FOUND)])
    assert (app.verdict, left.verdict, left.name) == ("nothing", "undeclared", "web-1")
    assert steps((app, left), said) == []


def test_what_a_drill_makes_is_no_stranger() -> None:
    (_, left) = decide(declared(on_demand=frozenset({"web-1"})), [view(FOUND)])
    assert left.verdict == "on-demand"


@pytest.mark.parametrize(
    ("known", "verdict"),
    [
        ({"fenced": {("web-1", "east"): "20261122-1"}}, "fenced"),
        ({"fenced": {("web-1", "west"): "20261122-1"}}, "start"),
        ({"retiring": {"web-1": NOW}}, "retiring"),
    ],
    ids=["fenced here", "fenced at the other site", "being retired"],
)
def test_a_server_that_is_held_off_is_not_started(known: dict[str, object], verdict: str) -> None:
    decision = of_server(FOUND.model_copy(update={"power": "off"}), **known)
    assert decision.verdict == verdict


def test_a_server_whose_provider_did_not_answer_is_not_planned_for() -> None:
    said = declared(SPEC)
    decisions = decide(said, [])
    assert [one.verdict for one in decisions] == ["unseen"]
    assert steps(decisions, said) == []


def test_a_server_whose_key_is_not_known_is_trusted_by_its_providers_channel_alone() -> None:
    said = declared(SPEC, trusted=frozenset())
    decisions = decide(said, [view(FOUND)])
    assert [one.verdict for one in decisions] == ["nothing", "trust"]
    plan = compile_steps(said, decisions, Allowed())
    assert [step.id for step in plan] == ["key/web-1", "ready/web-1"]
    assert plan[0].run.do == "aws.learn_host_key"


# --- steps -------------------------------------------------------------------------------------------


def test_networks_come_before_the_servers_in_them() -> None:
    said = declared(SPEC)
    made = compile_steps(said, decide(said, [view(networks=())]), Allowed())
    assert [(step.id, step.needs) for step in made] == [
        ("network/app", ()),
        ("create/web-1", ("network/app",)),
        ("key/web-1", ("create/web-1",)),
        ("ready/web-1", ("key/web-1",)),
    ]


def test_networks_that_name_each_other_are_made_first_and_get_their_rules_then() -> None:
    rule = {"protocol": "tcp", "ports": "5432"}
    web = APP.model_copy(update={"name": "web", "rules": (Rule.model_validate({**rule, "from": "db"}),)})
    db = APP.model_copy(update={"name": "db", "rules": (Rule.model_validate({**rule, "from": "web"}),)})
    said = declared(networks={"web": web, "db": db})
    made = {step.id: step for step in compile_steps(said, decide(said, [view(networks=())]), Allowed())}
    assert set(made) == {"network/web", "rules/web", "network/db", "rules/db"}
    assert set(made["rules/web"].needs) == {"network/web", "network/db"}
    assert made["network/web"].run.model_dump()["network"]["rules"] == ()


def test_what_needs_a_restart_waits_for_its_name_and_the_rest_is_done() -> None:
    spec = SPEC.model_copy(update={"size": Size(type="t3.large"), "tags": {"team": "sea"}})
    said = declared(spec, trusted=frozenset({"web-1"}))
    decisions = decide(said, [view(FOUND)])
    (change,) = compile_steps(said, decisions, Allowed())
    assert (change.run.model_dump()["changes"], change.run.model_dump()["restart"]) == (("tags",), False)
    allowed = Allowed(restart=frozenset({"web-1"}))
    (change, ready) = compile_steps(said, decisions, allowed)
    assert (change.run.model_dump()["changes"], change.run.model_dump()["restart"]) == (
        ("size", "tags"),
        True,
    )
    assert ready.id == "ready/web-1"


def test_a_server_is_made_anew_only_by_its_name_and_after_a_persons_yes() -> None:
    said = declared(SPEC.model_copy(update={"image": "debian-13"}), trusted=frozenset({"web-1"}))
    decisions = decide(said, [view(FOUND)])
    assert steps(decisions, said) == []
    made = compile_steps(said, decisions, Allowed(replace=frozenset({"web-1"})))
    assert [step.id for step in made] == [
        "stop/web-1", "delete/web-1", "create/web-1", "key/web-1", "ready/web-1",
    ]  # fmt: skip
    delete = made[1]
    assert delete.gate is not None
    assert (delete.run.model_dump()["id"], delete.run.model_dump()["keep_snapshot"]) == ("i-1", True)


def test_a_limit_leaves_all_other_servers_and_their_networks_out() -> None:
    other = NetworkSpec(name="other", provider="aws", site="east", cidr="10.2.0.0/24", part_of="main")
    second = SPEC.model_copy(update={"name": "web-2", "networks": ("other",)})
    said = declared(SPEC, second, networks={"app": APP, "other": other}, reachable=lambda spec: False)
    decisions = decide(said, [view(networks=())])
    assert steps(decisions, said, Allowed(only=frozenset({"web-2"}))) == ["network/other", "create/web-2"]


# --- for every city ----------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c", "d"])


@st.composite
def cities(draw: st.DrawFn) -> tuple[Declared, ProviderView]:
    specs = [
        SPEC.model_copy(
            update={
                "name": name,
                "size": Size(type=draw(st.sampled_from(["t3.small", "t3.large"]))),
                "image": draw(st.sampled_from(["debian-12", "debian-13"])),
                "disks": draw(st.sampled_from([(), SPEC.disks])),
            }
        )
        for name in draw(st.sets(NAMES))
    ]
    found = [
        FOUND.model_copy(
            update={
                "name": draw(NAMES),
                "id": f"i-{number}",
                "owner": draw(st.sampled_from(["city", "", "elsewhere"])),
                "power": draw(st.sampled_from(["on", "off", "changing"])),
            }
        )
        for number in range(draw(st.integers(0, 5)))
    ]
    networks = draw(st.sampled_from([(), (FOUND_APP,)]))
    known = {"trusted": frozenset(draw(st.sets(NAMES))), "on_demand": frozenset(draw(st.sets(NAMES)))}
    return declared(*specs, **known), view(*found, networks=networks)


@settings(max_examples=60, deadline=None)
@given(cities())
def test_each_declared_server_is_decided_on_once_and_only_what_is_ours_is_acted_on(
    city: tuple[Declared, ProviderView],
) -> None:
    said, seen = city
    decisions = decide(said, [seen])
    servers = [one for one in decisions if one.what == "server"]
    names = [one.name for one in servers if one.verdict not in ("undeclared", "on-demand")]
    assert sorted(names) == sorted(said.servers)
    ours = {one.id for one in seen.servers if one.owner == "city"}
    everything = Allowed(frozenset("abcd"), frozenset("abcd"))
    for one in servers:
        if everything.takes(one):
            assert one.id in ours | {""}
    for step in compile_steps(said, decisions, everything):
        if step.id.startswith("create/"):
            assert not any(
                one.name == step.id.removeprefix("create/") and one.owner == "city" for one in seen.servers
            ) or any(
                other.id == step.id.replace("create", "delete")
                for other in compile_steps(said, decisions, everything)
            )


@settings(max_examples=60, deadline=None)
@given(cities())
def test_a_plan_that_nobody_added_a_word_to_destroys_and_restarts_nothing(
    city: tuple[Declared, ProviderView],
) -> None:
    said, seen = city
    off = {one.name for one in seen.servers if one.power == "off"}
    for step in compile_steps(said, decide(said, [seen]), Allowed()):
        assert step.run.effect != "destroy"
        assert not step.run.do.endswith(("stop_instance", "terminate_instance"))
        assert not getattr(step.run, "restart", False) or step.id.removeprefix("change/") in off
