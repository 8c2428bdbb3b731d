"""One contract for every provider of servers, held against what runs: AWS, a vCenter, a lab (nspawn).

What has no meaning for a lab (disks, tags, strangers) is asked of the others alone, and its refusal in the
lab stands in test_lab_contract.py.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from automation.commands._adopting import adopt
from automation.commands._provision_views import find_drift, list_servers, refuse_drift, with_kept
from automation.commands._retiring import RetireFlags, retire
from automation.model.errors import NotMet, PreflightError, StepFailed
from automation.provisioning.compiling import Allowed
from automation.provisioning.decisions import decide
from tests.contracts.labs import lab_city
from tests.contracts.providers import City, Cloud
from tests.programs.clouds import cloud_of_aws, cloud_of_vcenter, folder

DATA = {"name": "data", "size": "10 GiB"}
SERVICES = """
sites:
  here: {title: Here, dns_server: NAME}
services:
  web:
    title: Web
    owner: web-team
    tier: 1
    rto: 1 h
    rpo: 1 h
    primary: here
    recovery: here
    stands_on: {here: [NAME]}
    strategy:
      kind: vendor
      vendor: us
      accepted_risk: nobody is told that this is so
      accepted_by: web-team
      review_by: 2099-01-01
"""


@pytest.fixture
def rented(cloud: Cloud, tmp_path: Path) -> City:
    """A city at AWS, or on vSphere."""
    return City(cloud, folder(tmp_path))


@pytest.fixture(params=["aws", "vsphere", "nspawn"])
def city(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[City]:
    """A city at each provider, the lab's own among them."""
    if request.param == "nspawn":
        with lab_city(folder(tmp_path)) as made:
            yield made
        return
    cloud = (
        cloud_of_aws(request.getfixturevalue("aws"))
        if request.param == "aws"
        else cloud_of_vcenter(request.getfixturevalue("vcenters")[0])
    )
    yield City(cloud, folder(tmp_path))
    cloud.no_faults()


def verdicts(city: City) -> dict[str, str]:
    around = city.look()
    return {one.name: one.verdict for one in decide(around.declared, around.seen.views)}


def test_a_second_apply_changes_nothing_and_the_journal_names_all_that_is_there(city: City) -> None:
    city.declare(city.one)
    city.declare(city.two)
    names = (*city.networks, city.one, city.two)
    assert verdicts(city) == dict.fromkeys(names, "create")
    city.apply()
    assert city.recorded() == city.census()
    assert (len(city.census().servers), city.census().networks) == (2, len(city.networks))
    assert city.plan().plan.steps == ()
    assert verdicts(city) == dict.fromkeys(names, "nothing")
    assert find_drift(city.look()).rows == ()
    assert {one.owner for one in list_servers(city.look(), every=True).servers if one.name in names} == {
        city.name
    }


def test_a_server_has_the_disks_and_tags_that_it_is_declared_with(rented: City) -> None:
    rented.declare(rented.one, disks=[DATA], tags={"team": "web"})
    rented.apply()
    assert rented.recorded() == rented.census()
    assert rented.plan().plan.steps == ()
    assert find_drift(rented.look()).rows == ()


def test_a_change_is_made_in_place_or_waits_for_a_person_who_names_the_server(city: City) -> None:
    change = city.cloud.change
    city.declare(city.one, **change.before)
    city.apply()
    before = city.census()
    city.declare(city.one, **change.after)
    planned = city.plan()
    assert verdicts(city)[city.one] == "restart"
    assert [step.id for step in planned.plan.steps] == [f"change/{city.one}"]
    assert [one.name for one in planned.waiting] == [city.one]
    city.apply()
    left = find_drift(city.look()).rows
    assert {row.key for row in left} == change.restarting, "the rest was done without a restart"
    city.apply(Allowed(restart=frozenset({city.one})))
    assert find_drift(city.look()).rows == ()
    assert city.plan().plan.steps == ()
    after = city.census()
    assert (after.servers, after.disks) == (before.servers, before.disks + change.more_disks())
    assert city.cloud.size_of(after.servers[0]) == change.size()
    assert city.recorded() == after


def test_what_was_changed_behind_our_back_is_drift_and_is_mended(city: City) -> None:
    city.declare(city.one)
    city.apply()
    city.cloud.stop(city.census().servers[0])
    shown = find_drift(city.look())
    assert [(row.name, row.key, row.found) for row in shown.rows] == [(city.one, "power", "off")]
    with pytest.raises(NotMet, match=f"1 of {1 + len(city.networks)} are not as declared"):
        refuse_drift(shown)
    city.apply()
    assert find_drift(city.look()).rows == ()


def test_a_stranger_is_left_alone_until_it_is_adopted_by_its_id(rented: City) -> None:
    name = f"{rented.name}-old"
    id_ = rented.cloud.make_stranger(name, "")
    rented.declare(name)
    planned = rented.plan()
    assert verdicts(rented)[name] == "adopt"
    assert [step.id for step in planned.plan.steps] == [f"network/{rented.network}"]
    rented.apply()
    assert rented.census().servers == ()
    rented.declare(name, disks=[DATA])
    told = adopt(rented.session(), rented.look(), name, id_)
    assert any(one.startswith("disks:data: none is to be") for one in told), told
    assert rented.census().servers == (id_,)
    assert verdicts(rented)[name] != "create", "it is not made a second time"


def test_what_is_another_environments_is_never_touched(rented: City) -> None:
    name = f"{rented.name}-theirs"
    id_ = rented.cloud.make_stranger(name, "elsewhere")
    rented.declare(name)
    assert verdicts(rented)[name] == "foreign"
    rented.apply()
    assert rented.census().servers == ()
    with pytest.raises(PreflightError, match="of elsewhere"):
        adopt(rented.session(), rented.look(), name, id_)


def test_a_server_is_retired_in_two_steps_and_only_when_nothing_needs_it(city: City) -> None:
    city.declare(city.one)
    city.apply()
    flags = RetireFlags(host=city.one, unsaved=True)
    (city.folder / "services.yml").write_text(SERVICES.replace("NAME", city.one))
    with pytest.raises(PreflightError, match="web stands on"):
        retire(city.session(), city.look(), flags)
    (city.folder / "services.yml").unlink()
    with pytest.raises(PreflightError, match="is saved"):
        retire(city.session(), city.look(), flags._replace(unsaved=False))
    retire(city.session(), city.look(), flags)
    assert verdicts(city)[city.one] == "retiring", "apply does not start it again"
    assert city.plan().plan.steps == ()
    with pytest.raises(PreflightError, match="may be deleted from"):
        retire(city.session(), city.look(), flags)
    assert len(city.census().servers) == 1


def test_what_is_retired_can_be_taken_back_or_deleted_once_a_person_says_yes(city: City) -> None:
    city.declare(city.one)
    city.apply()
    flags = RetireFlags(host=city.one, unsaved=True, grace_days=0)
    retire(city.session(), city.look(), flags)
    retire(city.session(), city.look(), flags._replace(back=True))
    assert verdicts(city)[city.one] == "nothing"
    retire(city.session(), city.look(), flags)
    with pytest.raises(StepFailed):
        retire(city.session(), city.look(), flags)
    assert len(city.census().servers) == 1, "nobody has said yes"
    city.say_yes(city.runs()[-1], f"delete/{city.one}").raise_for_status()
    left = city.census()
    assert (left.servers, left.disks) == ((), 0)
    assert left.snapshots >= 1
    assert city.recorded() == left
    if city.cloud.kind != "nspawn":  # what a lab keeps stands in its state folder
        around = city.look()
        shown = with_kept(city.session(), around, list_servers(around, every=False))
        assert [one.server for one in (*shown.kept, *shown.kept_disks)] == [city.one] * left.snapshots
        assert not shown.unseen
    assert city.plan().plan.step(f"create/{city.one}"), "it is declared still"
    city.apply()
    assert verdicts(city)[city.one] == "nothing", "what was retired is not held against what is new"


def test_a_server_is_replaced_only_when_a_person_names_it_and_says_yes(city: City) -> None:
    city.declare(city.one, **city.cloud.change.before)
    city.apply()
    before = city.census()
    identity = city.cloud.identity_of(before.servers[0])
    city.declare(city.one, **{**city.cloud.change.before, **city.cloud.change.replacing})
    assert verdicts(city)[city.one] == "replace"
    assert [one.name for one in city.plan().waiting] == [city.one]
    assert city.apply() is None
    finished = city.session().run(city.plan(Allowed(replace=frozenset({city.one}))).plan)
    assert finished.closed.gates == (f"delete/{city.one}",)
    assert city.census() == before
    city.say_yes(finished.folder.name, f"delete/{city.one}").raise_for_status()
    after = city.census()
    assert len(after.servers) == 1
    assert city.cloud.identity_of(after.servers[0]) != identity
    assert city.recorded() == after
    assert verdicts(city)[city.one] == "nothing"


def test_what_stands_against_a_plan_is_told_before_its_first_step(rented: City) -> None:
    rented.declare(rented.one, image="no-such-image")
    found = rented.plan().obstacles
    assert [str(one) for one in found] == [
        f"{rented.cloud.kind} at here: there is no image no-such-image, of which {rented.one} would be made"
    ]


# --- faults ------------------------------------------------------------------------------------------

CREATING = {
    "aws": ("RunInstances", "CreateSubnet", "CreateSecurityGroup", "DescribeInstances"),
    "vsphere": ("CloneVM_Task", "ReconfigVM_Task", "AddPortGroup", "RetrievePropertiesEx"),
}


def order_of_aws(call: str, mode: str) -> dict[str, object]:
    return {"service": "ec2", "action": call, "mode": mode}


def order_of_vcenter(call: str, mode: str) -> dict[str, object]:
    return {"method": call, "mode": mode, "times": 1}


ORDERS: dict[str, tuple[Callable[[str, str], dict[str, object]], tuple[str, ...]]] = {
    "aws": (order_of_aws, ("throttle", "503", "drop", "applied-then-500", "applied-then-drop")),
    "vsphere": (order_of_vcenter, ("503", "not-authenticated", "drop", "applied-then-drop")),
}


@pytest.mark.parametrize("place", range(4))
def test_a_fault_at_a_call_makes_no_second_server_and_leaves_none_unaccounted(
    rented: City, place: int
) -> None:
    order, modes = ORDERS[rented.cloud.kind]
    call = CREATING[rented.cloud.kind][place]
    rented.cloud.faults(*(order(call, mode) for mode in modes))
    rented.declare(rented.one, disks=[DATA])
    rented.apply_patiently()
    rented.cloud.no_faults()
    assert len(rented.census().servers) == 1
    assert rented.recorded() == rented.census()


def test_the_journal_says_of_each_change_that_it_was_simulated(rented: City) -> None:
    rented.declare(rented.one)
    began = datetime.now(UTC)
    rented.apply()
    told = [event.body.outcome.evidence for event in rented.events() if getattr(event.body, "outcome", None)]
    sources = [one.source for one in told if getattr(one, "kind", "") == "provider-change"]
    assert sources
    assert set(sources) == {"simulated"}
    assert all(event.at >= began for event in rented.events())
