"""Planned moves of VMs: off, replicated, registered, on; and the way home after a failover."""

import pytest

from automation.model.actions import (
    AwaitReplicas,
    PowerOnVm,
    RegisterReplica,
    ShutDownVm,
    SwapAddress,
    UnregisterVm,
)
from automation.model.catalog import Service
from automation.model.plan import Plan
from automation.recovery.failback import compile_failback
from automation.recovery.lint_steps import lint_steps, refuse_unsafe
from automation.recovery.migration import compile_migration
from automation.recovery.spec import Switch
from automation.recovery.turning import turn
from tests.recovery.cloud_city import GIS, PLAN, make_cloud_city

VMS = [f"{vm}" for vm in GIS.all_vms]


def switch(site: str) -> Switch:
    return Switch(name="m", title="m", plan="city", site=site, pause_s=30)


def moved(*, home: bool = False, fenced: tuple[str, ...] = ()) -> Plan:
    city = make_cloud_city("gis")
    services: dict[str, Service] = dict(city.catalog.services)
    if home:
        services = {name: turn(service) for name, service in services.items()}
        return compile_failback(switch("city-hall"), PLAN, city, services, fenced)
    return compile_migration(switch("city-hall"), PLAN, city, services)


@pytest.mark.parametrize("home", [False, True], ids=["migration", "failback"])
def test_nothing_is_registered_before_all_is_off_cut_off_and_replicated(home: bool) -> None:
    plan = moved(home=home)
    first = {f"gis/stop-{vm}" for vm in VMS} | {f"gis/fence-network-{vm}" for vm in VMS}
    for vm in VMS:
        assert first | {"gis/replicated"} <= plan.stands_on(f"gis/register-{vm}")
    assert [one for one in lint_steps(plan, lab=True) if one.severity == "error"] == []
    refuse_unsafe(plan, lab=True)


def test_groups_are_shut_down_in_the_opposite_order_of_their_start() -> None:
    plan = moved()
    assert {"gis/stop-gis-app-a", "gis/stop-gis-tiles-a"} <= plan.stands_on("gis/stop-gis-db-a")
    assert "gis/power-on-gis-db-a" in plan.stands_on("gis/power-on-gis-app-a")


def test_files_are_compared_with_those_of_the_site_where_the_vms_ran() -> None:
    there, back = moved().step("gis/replicated").run, moved(home=True).step("gis/replicated").run
    assert isinstance(there, AwaitReplicas)
    assert isinstance(back, AwaitReplicas)
    assert (there.site, there.source) == ("eoc", "city-hall")
    assert (back.site, back.source) == ("city-hall", "eoc")


def test_what_is_before_the_first_power_on_can_be_taken_back_and_nothing_after_it() -> None:
    plan = moved()
    for step in plan.steps:
        if isinstance(step.run, ShutDownVm | RegisterReplica):
            assert step.undo is not None, step.id
        if isinstance(step.run, PowerOnVm | SwapAddress):
            assert step.undo is None, step.id


def test_the_old_vms_leave_their_vcenter_once_clients_are_served() -> None:
    plan = moved()
    for vm in VMS:
        step = plan.step(f"gis/leave-{vm}")
        assert isinstance(step.run, UnregisterVm)
        assert step.run.site == "city-hall"
        assert "clients-good" in plan.stands_on(step.id)


def test_what_was_fenced_at_home_is_off_and_out_of_the_way_before_the_pause() -> None:
    plan = moved(home=True)
    for vm in VMS:
        assert {f"gis/home-off-{vm}", f"gis/home-out-{vm}"} <= plan.stands_on(f"gis/stop-{vm}")
        run = plan.step(f"gis/home-out-{vm}").run
        assert isinstance(run, UnregisterVm)
        assert run.site == "city-hall"
