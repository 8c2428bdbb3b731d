"""The contract of providers where a lab (nspawn) differs: what it has not, it says; and its own faults."""

import re
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from automation.adapters import nspawn
from automation.commands._adopting import adopt
from automation.commands._provision_views import find_drift, list_servers
from automation.commands._retiring import RetireFlags, retire
from automation.model.actions.lab import DestroyServer, ResizeServer
from automation.model.errors import AdapterError, AutomationError, ConfigError, PreflightError
from automation.model.machine_evidence import ProviderChange
from automation.model.records import StepEnded
from automation.model.servers import Size
from automation.provisioning.compiling import Allowed
from tests.contracts.lab_door import MODES
from tests.contracts.labs import LAB, NET, OTHER, SMALL, LabCity, bound_by_hand, lab_city, life_of, size_of
from tests.contracts.providers import Census
from tests.lab.small import until
from tests.programs.clouds import folder

NOT_OF_A_LAB = {
    "disks": [{"name": "data", "size": "1 GiB"}],
    "networks": ["main"],
    "tags": {"team": "web"},
    "cloud_init": "web.yml.j2",
}


@pytest.fixture
def city(tmp_path: Path) -> Iterator[LabCity]:
    with lab_city(folder(tmp_path)) as made:
        yield made


# --- what a lab has not ------------------------------------------------------------------------------


def test_a_disk_a_network_and_a_tag_are_refused_and_not_passed_over(city: LabCity) -> None:
    city.declare(city.one, **NOT_OF_A_LAB)
    with pytest.raises(ConfigError, match="not as they should be; nothing was touched") as told:
        city.plan()
    for key in NOT_OF_A_LAB:
        assert f"server_{key}: a server of a lab (nspawn) has none of its own" in str(told.value)
    assert told.value.exit_code == 2


def test_there_is_nothing_to_adopt(city: LabCity) -> None:
    city.declare(city.one)
    with pytest.raises(
        PreflightError, match="none that it did not make itself: there is nothing to take over"
    ) as told:
        adopt(city.session(), city.look(), city.one, f"{LAB}-other")
    assert told.value.exit_code == 4


def test_an_image_without_a_recipe_is_refused_before_the_first_step(city: LabCity) -> None:
    city.declare(city.one, image="debian-7")
    with pytest.raises(ConfigError, match="'debian-7': no lab has a recipe for it; nothing was changed"):
        city.plan()


def test_one_that_is_declared_no_more_is_drift(city: LabCity) -> None:
    city.declare(city.one)
    city.apply()
    gone = city.hosts.pop(city.one)
    assert [(row.name, row.declared) for row in find_drift(city.look()).rows] == [(city.one, "not declared")]
    assert city.plan().plan.steps == ()
    assert len(city.census().servers) == 1, gone


# --- what the kernel holds a host to -----------------------------------------------------------------


def test_more_is_given_at_once_and_stays_when_power_is_lost(city: LabCity) -> None:
    city.declare(city.one, size=SMALL)
    city.apply()
    life = life_of(f"{LAB}-{city.one}")
    city.declare(city.one, size={"cpus": 2, "memory": "640 MiB"})
    assert [step.id for step in city.apply_steps()] == [f"change/{city.one}"]
    larger = Size(cpus=2, memory=640 << 20)
    assert size_of(f"{LAB}-{city.one}") == larger
    assert life_of(f"{LAB}-{city.one}") == life, "it was not restarted"
    city.cloud.stop(f"{LAB}-{city.one}")
    city.apply()
    assert size_of(f"{LAB}-{city.one}") == larger


def test_bounds_that_were_changed_by_hand_are_drift_and_are_mended(city: LabCity) -> None:
    city.declare(city.one, size=SMALL)
    city.apply()
    bound_by_hand(f"{LAB}-{city.one}", cpus=1.5, memory_bytes=400 << 20)
    rows = [(row.key, row.declared, row.found) for row in find_drift(city.look()).rows]
    assert rows == [("size:cpus", "1", "no whole number"), ("size:memory", "512 MiB", "400 MiB")]
    city.apply()
    assert find_drift(city.look()).rows == ()
    assert size_of(f"{LAB}-{city.one}") == Size(cpus=1, memory=512 << 20)
    bound_by_hand(f"{LAB}-{city.one}", cpus=2, memory_bytes=600 << 20)
    assert [(one.name, one.verdict) for one in city.plan().waiting] == [(city.one, "restart")]
    assert [step.id for step in city.apply_steps()] == [f"change/{city.one}"]
    assert size_of(f"{LAB}-{city.one}") == Size(cpus=1, memory=600 << 20)
    city.apply(Allowed(restart=frozenset({city.one})))
    assert size_of(f"{LAB}-{city.one}") == Size(cpus=1, memory=512 << 20)


def test_a_host_without_bounds_is_bounded_at_a_restart_alone(city: LabCity) -> None:
    city.declare(city.one)
    city.apply()
    city.declare(city.one, size={"memory": "256 MiB"})
    assert city.plan().plan.steps == ()
    context = city.session().context("20261122-000000-aaaa")
    bounded = ResizeServer(host=city.one, size=Size(memory=256 << 20))
    with pytest.raises(AdapterError, match="until it is restarted; nothing was changed"):
        nspawn.resize_server(bounded, context)
    life = life_of(f"{LAB}-{city.one}")
    city.apply(Allowed(restart=frozenset({city.one})))
    assert size_of(f"{LAB}-{city.one}") == Size(memory=256 << 20)
    assert life_of(f"{LAB}-{city.one}") != life
    assert "Trying to halt container" in city.console(city.one), "it was asked to shut down, not cut off"
    life = life_of(f"{LAB}-{city.one}")
    again = nspawn.resize_server(bounded.model_copy(update={"restart": True}), context)
    assert not again.changed, "a second time changes nothing"
    assert life_of(f"{LAB}-{city.one}") == life
    city.cloud.stop(f"{LAB}-{city.one}")
    city.declare(city.one, size={"memory": "200 MiB", "cpus": 1})
    assert [step.id for step in city.apply_steps()] == [
        *(f"{verb}/{city.one}" for verb in ("change", "start", "ready"))
    ]
    assert size_of(f"{LAB}-{city.one}") == Size(cpus=1, memory=200 << 20)


def test_a_change_whose_controller_was_killed_is_found_done_by_the_next(city: LabCity) -> None:
    city.declare(city.one, size=SMALL)
    city.apply()
    city.declare(city.one, size=OTHER)
    plan = city.plan(Allowed(restart=frozenset({city.one}))).plan
    city.cloud.faults({"request": "resize_server", "mode": "applied-then-hang"})
    controller = get_context("fork").Process(target=city.session().run, args=(plan,))
    controller.start()
    until(lambda: city.cloud.calls().get("resize_server"), "the supervisor was asked")
    controller.kill()
    controller.join()
    run = city.runs()[-1]
    ended = [event.body.step for event in city.events() if isinstance(event.body, StepEnded)]
    assert f"change/{city.one}" not in ended
    city.session().resume(run).raise_for_status()
    assert size_of(f"{LAB}-{city.one}") == Size.model_validate(OTHER)
    assert find_drift(city.look()).rows == ()
    assert city.recorded() == city.census()
    assert city.console(city.one).count("Trying to halt container") == 1, "it was restarted once"


# --- whose a host is ---------------------------------------------------------------------------------


def test_a_lab_of_another_id_refuses_everything(city: LabCity) -> None:
    city.declare(city.one)
    city.apply()
    session = city.session()
    theirs = session.environment.model_copy(
        update={"lab": session.environment.require_lab().model_copy(update={"id": "other9"})}
    )
    context = replace(session.context("20261122-000000-aaaa"), environment=theirs)
    action = DestroyServer(host=city.one, site=city.site, address=f"{NET}.1.10")
    with pytest.raises(AdapterError, match=LAB):
        nspawn.destroy_server(action, context)
    assert len(city.census().servers) == 1


def test_a_host_is_removed_only_when_it_is_the_one_that_was_seen_and_is_kept_off(city: LabCity) -> None:
    city.declare(city.one)
    city.apply()
    context = city.session().context("20261122-000000-aaaa")
    seen = DestroyServer(host=city.one, site=city.site, address=f"{NET}.1.10")
    with pytest.raises(AdapterError, match=re.escape(f"expected {NET}.1.77")):
        nspawn.destroy_server(seen.model_copy(update={"address": f"{NET}.1.77"}), context)
    with pytest.raises(AdapterError, match="is not kept off: it stays"):
        nspawn.destroy_server(seen, context)
    assert len(city.census().servers) == 1
    assert find_drift(city.look()).rows == ()


def test_a_removal_that_was_cut_short_is_ended_by_the_next_and_its_disk_is_found(city: LabCity) -> None:
    city.declare(city.one)
    city.apply()
    retire(city.session(), city.look(), RetireFlags(host=city.one, unsaved=True))
    kept = city.state / "lab/kept/20261121-000000-aaaa"
    kept.mkdir(parents=True)
    (city.state / "lab/hosts" / city.one / "upper").rename(kept / city.one)
    context = city.session().context("20261122-000000-bbbb")
    gone = DestroyServer(host=city.one, site=city.site, address=f"{NET}.1.10")
    evidence = nspawn.destroy_server(gone, context).evidence
    assert isinstance(evidence, ProviderChange)
    assert evidence.ids["snapshot:system"] == f"{city.one}/20261121-000000-aaaa"
    assert city.census() == Census((), 0, 0, 1)
    assert not nspawn.destroy_server(gone, context).changed


# --- each fault at each call -------------------------------------------------------------------------

ACTS = ("make", "change", "start", "stop", "delete")
HELD_TO = {"make": SMALL, "change": OTHER, "start": OTHER}
TRIES = 8
LIVES = 2


def test_each_call_of_a_life_may_be_lost_and_the_journals_say_all_that_is_there(city: LabCity) -> None:
    calls = {act: _calls_of(city, act) for act in ACTS}
    changing = {"create_server", "resize_server", "start_server", "power_off_server", "remove_server"}
    assert changing <= {call for made in calls.values() for call in made}
    for number in range(LIVES):
        host = f"{city.name}-{number}"
        for act in ACTS:
            lost = calls[act][number::LIVES]
            _prepare(city, host, act)
            # Lost once before the supervisor hears of it; and when it is tried again, after it was done.
            city.cloud.faults(*({"request": call, "mode": mode} for call in lost for mode in MODES))
            _do(city, host, act)
            assert city.door.waiting() == 0, f"{act}: {lost} was not met twice"
            assert city.recorded() == city.census(), f"{act}: after {lost}"
            assert bool(city.census().servers) == (act != "delete")
            if act in HELD_TO:
                assert size_of(f"{LAB}-{host}") == Size.model_validate(HELD_TO[act]), f"{act}: after {lost}"


def _calls_of(city: LabCity, act: str) -> list[str]:
    """Do an act without faults; give the calls that it makes, each once."""
    host, before = f"{city.name}-first", city.cloud.calls()
    _prepare(city, host, act)
    _do(city, host, act)
    return sorted(call for call, number in city.cloud.calls().items() if number > before.get(call, 0))


def _prepare(city: LabCity, host: str, act: str) -> None:
    if act == "make":
        city.hosts.clear()
        city.declare(host, size=SMALL)
    elif act == "change":
        city.declare(host, size=OTHER)
    elif act == "start":
        city.cloud.stop(city.census().servers[0])


def _do(city: LabCity, host: str, act: str) -> None:
    """Do what a person would, until nothing is left of an act."""
    for _ in range(TRIES):
        try:
            if _try(city, host, act):
                return
        except AutomationError:
            _resume(city, host)
    raise AssertionError(f"{act} of {host} did not end in {TRIES} tries")


def _try(city: LabCity, host: str, act: str) -> bool:
    if act in HELD_TO:
        wanted = city.plan(Allowed(restart=frozenset({host})))
        if wanted.plan.steps:
            city.run_patiently(wanted.plan)
        return not wanted.plan.steps
    around = city.look()
    is_there = any(one.name == host for one in list_servers(around, every=False).servers)
    if host in around.past.leaves if act == "stop" else not is_there:
        return True
    retire(city.session(), around, RetireFlags(host=host, unsaved=True, grace_days=0))
    return False


def _resume(city: LabCity, host: str) -> None:
    """Go on with the last run, and say yes where it asks."""
    run = city.runs()[-1]
    asked = f'"id": "delete/{host}"' in (city.state / "runs" / run / "plan.json").read_text()
    for _ in range(TRIES):
        try:
            done = city.say_yes(run, f"delete/{host}") if asked else city.session().resume(run)
        except PreflightError:
            return  # nothing is left of it to resume
        if done.closed.status == "succeeded":
            return
        asked = False
