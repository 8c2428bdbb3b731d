"""The roles that `provision.permissions` prints, tried: a whole life with them, and less one privilege."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from automation.adapters.vsphere.permissions import OF_SERVERS, privileges_for
from automation.commands._permissions import permissions_of
from automation.model.actions import ChangeVm, CreateVm, ListVcenter, UndoVcenter
from automation.model.drill_evidence import Listing
from automation.model.errors import AdapterError
from automation.model.machine_evidence import ProviderChange
from tests.programs.test_vsphere_baseline import HALL, OF_PEOPLE, collected, enforced, saved, states, wanted
from tests.programs.vsphere_planted import plant, state_of
from tests.programs.vsphere_rights import (
    USER,
    Done,
    Step,
    grant,
    life,
    limited_sites,
    make_stranger,
    perform,
    without,
)
from tests.programs.vsphere_sites import Sites, spec

pytestmark = pytest.mark.lab
Needs = Mapping[str, tuple[str, ...]]
AREAS = "provisioning,backups,recovery"


class Lived(NamedTuple):
    """What a life was granted, and what the vCenters asked for at each step of it."""

    printed: frozenset[str]
    needs: Needs
    denied: Mapping[str, str]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """A whole life with the printed roles, and nothing else."""
    with limited_sites(tmp_path_factory.mktemp("granted")) as sites:
        roles = json.loads(permissions_of(sites.environment, "vcenter-hall", AREAS))["roles"]
        denied = sites.look("hall", [spec("gis")]).denied
        done, needs = Done(), {}
        for step in life(make_stranger(sites.hall, "stranger")):
            done[step.name] = perform(sites, step, done)
            asked = dict.fromkeys((*sites.hall.needed(), *sites.annex.needed()))
            needs[step.name] = tuple(one for one in asked if one != "System.Read")  # which every role has
            listed_ = set(privileges_for([step.action(done).do]))  # type: ignore[attr-defined]
            assert {*needs[step.name]} <= listed_, step.name
        return Lived(frozenset(one for role in roles for one in role["privileges"]), needs, denied)


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Sites]:
    with limited_sites(tmp_path) as made:
        yield made


def test_a_whole_life_needs_all_that_is_printed_and_no_more(lived: Lived) -> None:
    assert lived.printed == {one for needs in lived.needs.values() for one in needs}
    assert lived.denied == {}


def test_each_privilege_that_is_missing_is_named_and_what_was_half_done_is_finished_later(
    sites: Sites, lived: Lived
) -> None:
    before, tried, told = listed(sites), set[str](), set[str]()
    done = Done()
    for step in life(make_stranger(sites.hall, "stranger")):
        for privilege in (one for one in lived.needs[step.name] if one not in tried):
            tried.add(privilege)
            told |= refused_without(sites, step, done, privilege)
        done[step.name] = perform(sites, step, done)
        told |= servers_of(done[step.name].evidence)
        assert {one.id for one in sites.look("hall").servers if one.owner == "city"} <= told, step.name
    assert tried == lived.printed
    assert listed(sites).items() ^ before.items() == {("hall folder [local] mainstay-kept", "there")}


def refused_without(sites: Sites, step: Step, done: Done, privilege: str) -> set[str]:
    """See that a step is refused for a privilege, and how; give the servers that it told of."""
    vcenter = sites.hall if step.site == "hall" else sites.annex
    with without(vcenter, privilege):
        with pytest.raises(AdapterError) as error:
            perform(sites, step, done)
        view = sites.look(step.site, [spec("new", step.site, networks=["city"])])
    said = str(error.value)
    assert re.search(rf"denies the privilege {privilege} on \w+ \S+ \(.+\) to {USER}; ", said), said
    assert said.endswith("nothing was changed") or "; done before it: " in said, said
    assert "provision.permissions" in str(error.value.hint)
    if privilege in privileges_for(OF_SERVERS):
        assert view.denied.keys() == {privilege}
        assert view.denied[privilege].startswith(f"{USER} does not hold it on ")
    return servers_of(error.value.evidence)


def servers_of(evidence: object) -> set[str]:
    told = evidence.ids.get("server", "") if isinstance(evidence, ProviderChange) else ""
    return {told} - {""}


def listed(sites: Sites) -> dict[str, str]:
    """Everything that both vCenters hold."""
    items: dict[str, str] = {}
    for site in ("hall", "annex"):
        evidence = sites.do(ListVcenter(site=site)).evidence
        assert isinstance(evidence, Listing)
        items |= {f"{site} {name}": state for name, state in evidence.items.items()}
    return items


def test_a_vm_that_was_stopped_for_a_change_that_is_refused_runs_again(sites: Sites) -> None:
    sites.do(CreateVm(host="gis", site="hall", spec=spec("gis")))
    bigger = spec("gis", size={"cpus": 4, "memory": "4 GiB"})
    change = ChangeVm(host="gis", site="hall", spec=bigger, changes=("size",), restart=True)
    with without(sites.hall, "VirtualMachine.Config.CPUCount"), pytest.raises(AdapterError) as error:
        sites.do(change)
    assert "done before it: ShutdownGuest, PowerOnVM_Task" in str(error.value)
    (seen,) = (one for one in sites.look("hall").servers if one.name == "gis")
    assert (seen.power, seen.size.cpus) == ("on", 2)


def test_a_role_on_an_object_counts_instead_of_what_is_handed_down_to_it(sites: Sites) -> None:
    nothing = {"name": "onlooker", "on": "cluster main", "propagate": True, "privileges": []}
    grant(sites.hall, nothing)
    denied = sites.look("hall", [spec("gis")]).denied
    assert denied.keys() == {"Resource.AssignVMToPool", "Host.Config.Network"}
    assert denied["Host.Config.Network"] == f"{USER} does not hold it on cluster main"


def test_a_baseline_needs_all_that_is_printed_for_it_and_no_more(tmp_path: Path) -> None:
    with limited_sites(tmp_path, "baselines") as sites:
        plant(sites.hall)
        was = state_of(sites.hall)
        made = enforced(sites, wanted(collected(sites)), "run-1")
        assert states(collected(sites), "fail") == OF_PEOPLE
        sites.do(UndoVcenter(vcenter=HALL, saved=saved(made)))
        assert state_of(sites.hall) == was
        roles = json.loads(permissions_of(sites.environment, HALL, "baselines"))["roles"]
        printed = {one for role in roles for one in role["privileges"]}
        assert {*sites.hall.needed()} - {"System.Read"} == printed
