"""What provisioning would do, from what is there."""

from datetime import UTC, datetime

import pytest

from automation.model.actions.lab import CreateServer, ResizeServer
from automation.model.environment import Environment, Inventory, Server, load_environment
from automation.model.errors import ConfigError
from automation.model.observations import ObservedLab, ObservedServer
from automation.model.servers import ServerSpec, Size
from automation.provisioning.compiling import Allowed
from automation.provisioning.planner import (
    SECRETS,
    make_keys,
    needed_certificates,
    needed_keys,
    needed_logins,
    needed_secrets,
    plan_servers,
)
from tests.conftest import ROOT

NAMES = ("pg-a", "pg-b")
SIMULATORS = ("s3", "aws", "vcenter-hall", "vcenter-eoc")


@pytest.fixture
def lab() -> Environment:
    return load_environment(ROOT, "lab")


def inventory(**change: str) -> Inventory:
    sites = {"pg-a": "city-hall", "pg-b": "eoc"}
    servers = {
        name: Server.model_validate(
            {
                "name": name,
                "address": f"10.77.{n}.20",
                "site": sites[name],
                "provider": "nspawn",
                "image": "debian-12",
            }
            | change
        )
        for n, name in enumerate(NAMES, start=1)
    }
    return Inventory(servers=servers)


def seen(
    running: bool = True, images: tuple[str, ...] = (), keys: tuple[str, ...] = (), **changes: object
) -> ObservedLab:
    servers = {
        name: ObservedServer(name=name, power="on", autostart=True, network="connected").model_copy(
            update=changes if name == "pg-a" else {}
        )
        for name in NAMES
    }
    return ObservedLab(
        running=running, missing_images=images, missing_keys=keys, servers=servers, simulators=SIMULATORS
    )


def steps(lab: Environment, observed: ObservedLab) -> list[str]:
    return [step.id for step in plan_servers(lab, inventory(), observed).plan.steps]


def test_a_lab_that_runs_needs_nothing(lab: Environment) -> None:
    assert steps(lab, seen()) == []


def test_an_empty_machine_needs_everything_in_order(lab: Environment) -> None:
    empty = ObservedLab(running=False, missing_images=("debian-12",), missing_keys=("tsig_key",), servers={})
    plan = plan_servers(lab, inventory(), empty).plan
    assert [step.id for step in plan.steps][:3] == ["keys", "image/debian-12", "lab"]
    assert set(plan.step("create/pg-a").needs) == {"keys", "image/debian-12", "lab"}
    assert plan.step("ready/pg-a").needs == ("create/pg-a",)
    assert set(plan.step("simulator/s3").needs) == {"keys", "image/debian-12", "lab"}


def test_a_dead_host_is_brought_back(lab: Environment) -> None:
    assert steps(lab, seen(power="off")) == ["start/pg-a", "ready/pg-a"]


@pytest.mark.parametrize("fence", [{"network": "blocked"}, {"power": "off", "autostart": False}])
def test_a_fenced_host_is_left_alone_and_said_so(lab: Environment, fence: dict[str, object]) -> None:
    wanted = plan_servers(lab, inventory(), seen(**fence))
    assert wanted.plan.steps == ()
    assert "fenced" in wanted.left_alone["pg-a"]


def test_a_host_does_not_move_to_another_site(lab: Environment) -> None:
    wanted = plan_servers(lab, inventory(), seen(site="eoc"))
    assert wanted.plan.steps == ()
    assert wanted.left_alone["pg-a"].startswith(
        "site: eoc is to be city-hall: no server moves; ./inv provision.retire"
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"address": "10.77.1.9"}, "address: 10.77.1.9 is to be 10.77.1.20"),
        ({"image": "debian-11"}, "image: debian-11 is to be debian-12"),
    ],
    ids=["address", "image"],
)
def test_a_host_that_is_to_be_another_is_replaced_when_a_person_names_it(
    lab: Environment, change: dict[str, object], why: str
) -> None:
    wanted = plan_servers(lab, inventory(), seen(**change))
    assert wanted.plan.steps == ()
    assert [(one.name, one.verdict, one.why) for one in wanted.decisions] == [("pg-a", "replace", why)]
    named = Allowed(replace=frozenset({"pg-a", "pg-b"}))
    plan = plan_servers(lab, inventory(), seen(**change), allowed=named).plan
    assert [step.id for step in plan.steps] == ["stop/pg-a", "delete/pg-a", "create/pg-a", "ready/pg-a"]
    assert plan.step("delete/pg-a").gate
    assert plan.step("create/pg-a").needs == ("delete/pg-a",)


SIZES = {
    "more processors": ({"cpus": 1}, {"cpus": 2}, "change", {"cpus": 2}, {"cpus": 2}),
    "fewer processors": ({"cpus": 4}, {"cpus": 2}, "change", {"cpus": 2}, {"cpus": 2}),
    "a first bound on processors": ({}, {"cpus": 2}, "change", {"cpus": 2}, {"cpus": 2}),
    "more memory": ({"memory": 256}, {"memory": 512}, "change", {"memory": 512}, {"memory": 512}),
    "less memory": ({"memory": 512}, {"memory": 256}, "restart", {}, {"memory": 256}),
    "a first bound on memory": ({}, {"memory": 256}, "restart", {}, {"memory": 256}),
    "some of each": (
        {"cpus": 1, "memory": 512},
        {"cpus": 2, "memory": 256},
        "restart",
        {"cpus": 2},
        {"cpus": 2, "memory": 256},
    ),
    "as it is": ({"cpus": 1}, {"cpus": 1}, "", {}, {}),
    "what is declared no more": ({"cpus": 1, "memory": 512}, {}, "", {}, {}),
}


@pytest.mark.parametrize(("found", "declared", "verdict", "alone", "named"), SIZES.values(), ids=SIZES)
def test_a_host_is_bounded_in_place_as_far_as_that_takes_no_memory_from_it(
    lab: Environment,
    found: dict[str, int],
    declared: dict[str, int],
    verdict: str,
    alone: dict[str, int],
    named: dict[str, int],
) -> None:
    sized = with_size(inventory(), size(**declared))
    planned = plan_servers(lab, sized, seen(size=size(**found)))
    assert [one.verdict for one in planned.decisions] == ([verdict] if verdict else [])
    assert [step.run for step in planned.plan.steps] == ([resize(alone)] if alone else [])
    assert all(f"size:{key}: " in step.why for step in planned.plan.steps for key in alone)
    assert all("size:memory" not in step.why for step in planned.plan.steps if "memory" not in alone)
    allowed = Allowed(restart=frozenset(NAMES))
    steps = plan_servers(lab, sized, seen(size=size(**found)), allowed=allowed).plan.steps
    restart = verdict == "restart"
    assert [step.run for step in steps][:1] == ([resize(named, restart=restart)] if named else [])
    assert [step.id for step in steps][1:] == (["ready/pg-a"] if restart else [])


def test_a_host_that_is_off_is_bounded_before_it_is_started(lab: Environment) -> None:
    sized = with_size(inventory(), size(cpus=1, memory=256))
    plan = plan_servers(lab, sized, seen(power="off", size=size(memory=512))).plan
    assert [step.id for step in plan.steps] == ["change/pg-a", "start/pg-a", "ready/pg-a"]
    assert plan.step("change/pg-a").run == resize({"cpus": 1, "memory": 256})
    assert plan.step("start/pg-a").needs == ("change/pg-a",)


@pytest.mark.parametrize("named", [False, True])
def test_a_host_that_boots_with_its_lab_is_bounded_after_that(lab: Environment, named: bool) -> None:
    sized = with_size(inventory(), size(cpus=2, memory=256))
    ended = seen(running=False, power="off", size=size(cpus=1, memory=512))
    planned = plan_servers(lab, sized, ended, allowed=Allowed(restart=frozenset({"pg-a"} if named else ())))
    own = [step for step in planned.plan.steps if getattr(step.run, "host", "") == "pg-a"]
    assert [step.id for step in own] == ["start/pg-a", "change/pg-a", "ready/pg-a"]
    whole, half = {"cpus": 2, "memory": 256}, {"cpus": 2}
    assert own[1].run == resize(whole if named else half, restart=named)
    assert [one.verdict for one in planned.decisions] == ["restart"]


def test_a_new_host_is_made_with_its_bounds(lab: Environment) -> None:
    sized = with_size(inventory(), size(cpus=1, memory=256))
    empty = seen().model_copy(update={"servers": {}})
    made = plan_servers(lab, sized, empty).plan.step("create/pg-a").run
    assert isinstance(made, CreateServer)
    assert made.size == size(cpus=1, memory=256)


def test_a_host_whose_site_is_cut_off_is_bounded_and_not_awaited(lab: Environment) -> None:
    sized = with_size(inventory(), size(memory=256))
    cut = seen(size=size(memory=512)).model_copy(update={"cut_sites": ("city-hall",)})
    plan = plan_servers(lab, sized, cut, allowed=Allowed(restart=frozenset({"pg-a"}))).plan
    assert [step.id for step in plan.steps] == ["change/pg-a"]


def size(*, cpus: int = 0, memory: int = 0) -> Size:
    return Size(cpus=cpus, memory=memory << 20)


def resize(bounds: dict[str, int], *, restart: bool = False) -> ResizeServer:
    return ResizeServer(host="pg-a", size=size(**bounds), restart=restart)


def with_size(known: Inventory, wanted: Size) -> Inventory:
    """Declare a size of pg-a."""
    spec = ServerSpec(name="pg-a", provider="nspawn", site="city-hall", image="debian-12", size=wanted)
    return known.model_copy(update={"specs": {"pg-a": spec}})


def test_a_host_that_is_being_retired_is_not_started(lab: Environment) -> None:
    since = datetime(2026, 11, 1, tzinfo=UTC)
    wanted = plan_servers(lab, inventory(), seen(power="off", autostart=False), {"pg-a": since})
    assert wanted.plan.steps == ()
    assert wanted.left_alone == {"pg-a": "is being retired since 2026-11-01"}


def test_a_host_of_a_site_without_power_is_left_alone(lab: Environment) -> None:
    dark = seen(power="off").model_copy(update={"failed_sites": ("city-hall",)})
    wanted = plan_servers(lab, inventory(), dark)
    assert wanted.plan.steps == ()
    assert "no power" in wanted.left_alone["pg-a"]


def test_a_dead_supervisor_is_started_again_with_its_hosts(lab: Environment) -> None:
    simulators = [f"simulator/{name}" for name in SIMULATORS]
    hosts = ["start/pg-a", "ready/pg-a", "start/pg-b", "ready/pg-b"]
    assert steps(lab, seen(running=False)) == ["lab", *simulators, *hosts]


@pytest.mark.parametrize(
    ("simulator", "lost", "waits"),
    [
        ("s3", {}, False),
        ("s3", {"failed_sites": ("cloud",)}, True),
        ("s3", {"cut_sites": ("cloud",)}, True),
        ("vcenter-hall", {"cut_sites": ("city-hall",)}, False),
        ("vcenter-hall", {"dark_sites": ("city-hall",)}, True),
        ("vcenter-hall", {"failed_sites": ("city-hall",)}, True),
        ("aws", {"failed_sites": ("aws-east",)}, False),
        ("aws", {"failed_sites": ("aws-east",), "dark_sites": ("aws-west",)}, True),
    ],
)
def test_a_simulator_that_ended_waits_until_somebody_can_reach_it(
    lab: Environment, simulator: str, lost: dict[str, object], waits: bool
) -> None:
    others = tuple(name for name in SIMULATORS if name != simulator)
    ended = seen().model_copy(update={"simulators": others, **lost})
    assert (f"simulator/{simulator}" in steps(lab, ended)) is not waits


def test_the_keys_of_a_lab_without_simulators_are_few(lab: Environment) -> None:
    small = lab.model_copy(update={"lab": lab.require_lab().model_copy(update={"simulators": {}})})
    assert needed_keys(small) == needed_secrets(small) == SECRETS
    assert (needed_logins(small), needed_certificates(small)) == ((), {})


def test_the_roles_get_no_login_of_a_cloud(lab: Environment) -> None:
    clouds = {"aws_operator", "vcenter_hall", "vcenter_eoc"}
    roles = {*needed_secrets(lab), *needed_logins(lab)}
    assert needed_logins(lab) == ("vault_writer", "vault_owner")
    assert set(needed_keys(lab)) - roles == clouds
    made = make_keys(lab, needed_keys(lab))
    assert set(made.vcenter_logins) == {"vcenter_hall", "vcenter_eoc"}
    assert "aws_operator" in made.logins


def test_the_certificate_of_a_cloud_is_for_every_address_that_it_answers_at(lab: Environment) -> None:
    certificates = needed_certificates(lab)
    assert certificates["s3"] == ("s3.city.lab", "10.77.4.10")
    assert certificates["aws"] == ("aws.city.lab", "10.77.0.81", "10.77.0.82")


@pytest.mark.parametrize("change", [{"provider": "vmware"}, {"site": "moon"}])
def test_a_server_the_lab_cannot_carry_is_refused(lab: Environment, change: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change.values()))):
        plan_servers(lab, inventory(**change), seen())


@pytest.mark.parametrize("running", [True, False])
def test_a_host_at_a_site_whose_management_is_silent_is_left_alone(lab: Environment, running: bool) -> None:
    dark = seen(running=running, power="off").model_copy(update={"dark_sites": ("city-hall",)})
    wanted = plan_servers(lab, inventory(), dark)
    assert list(wanted.left_alone) == ["pg-a"]
    assert "the management of site city-hall is silent" in wanted.left_alone["pg-a"]
    assert "start/pg-a" not in [step.id for step in wanted.plan.steps]
    assert plan_servers(lab, inventory(), dark.model_copy(update={"servers": {}})).left_alone == {
        "pg-a": wanted.left_alone["pg-a"]
    }, "nor can one be made there"


def test_a_host_at_a_site_that_is_cut_off_is_started_and_not_waited_for(lab: Environment) -> None:
    cut = seen(running=False).model_copy(update={"cut_sites": ("city-hall",)})
    wanted = plan_servers(lab, inventory(), cut)
    simulators = [f"simulator/{name}" for name in SIMULATORS]
    begun = ["lab", *simulators, "start/pg-a", "start/pg-b", "ready/pg-b"]
    assert [step.id for step in wanted.plan.steps] == begun
    assert wanted.left_alone == {"pg-a": "site city-hall is cut off: it is started and cannot be seen"}


def test_a_server_on_demand_is_left_to_the_drill_that_makes_it(lab: Environment) -> None:
    own = Server(name="drill-b", address="10.77.2.50", site="eoc", provider="nspawn", on_demand=True)
    servers = {**inventory().servers, "drill-b": own}
    made = plan_servers(
        lab,
        Inventory(servers=servers),
        ObservedLab(running=True, missing_images=(), missing_keys=(), servers={}),
    )
    assert [step.id for step in made.plan.steps if "drill-b" in step.id] == []
    assert made.left_alone == {}
