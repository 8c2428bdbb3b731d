"""The contract of providers where a lab (nspawn) differs: what it has not, it says; and its own faults."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from automation.adapters import nspawn
from automation.commands._adopting import adopt
from automation.commands._provision_views import find_drift, list_servers
from automation.commands._retiring import RetireFlags, retire
from automation.model.actions.lab import DestroyServer
from automation.model.errors import AdapterError, AutomationError, ConfigError, PreflightError
from automation.model.machine_evidence import ProviderChange
from automation.provisioning.compiling import Allowed
from tests.contracts.lab_door import MODES
from tests.contracts.labs import LAB, NET, LabCity, lab_city
from tests.contracts.providers import Census
from tests.programs.clouds import folder

SIZES = {
    "size": {"cpus": 2, "memory": "1 GiB"},
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


def test_a_size_a_disk_a_network_and_a_tag_are_refused_and_not_passed_over(city: LabCity) -> None:
    city.declare(city.one, **SIZES)
    with pytest.raises(ConfigError, match="not as they should be; nothing was touched") as told:
        city.plan()
    for key in SIZES:
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


def test_one_that_is_declared_anew_elsewhere_is_drift_and_stays_until_it_is_retired(city: LabCity) -> None:
    city.declare(city.one)
    city.apply()
    city.hosts[city.one]["server_address"] = f"{NET}.1.99"
    assert [(row.key, row.declared) for row in find_drift(city.look()).rows] == [("address", f"{NET}.1.99")]
    planned = city.plan()
    assert planned.plan.steps == ()
    assert "a server of a lab is not changed; ./inv provision.retire" in planned.left_alone[city.one]
    with pytest.raises(ConfigError, match="neither changed nor replaced in place"):
        city.plan(Allowed(replace=frozenset({city.one})))


def test_one_that_is_declared_no_more_is_drift(city: LabCity) -> None:
    city.declare(city.one)
    city.apply()
    gone = city.hosts.pop(city.one)
    assert [(row.name, row.declared) for row in find_drift(city.look()).rows] == [(city.one, "not declared")]
    assert city.plan().plan.steps == ()
    assert len(city.census().servers) == 1, gone


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

ACTS = ("make", "start", "stop", "delete")
TRIES = 8
LIVES = 2


def test_each_call_of_a_life_may_be_lost_and_the_journals_say_all_that_is_there(city: LabCity) -> None:
    calls = {act: _calls_of(city, act) for act in ACTS}
    changing = {"create_server", "start_server", "power_off_server", "remove_server"}
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


def _calls_of(city: LabCity, act: str) -> list[str]:
    """Do an act without faults; give the calls that it makes, each once."""
    host, before = f"{city.name}-first", city.cloud.calls()
    _prepare(city, host, act)
    _do(city, host, act)
    return sorted(call for call, number in city.cloud.calls().items() if number > before.get(call, 0))


def _prepare(city: LabCity, host: str, act: str) -> None:
    if act == "make":
        city.hosts.clear()
        city.declare(host)
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
    if act in ("make", "start"):
        wanted = city.plan()
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
