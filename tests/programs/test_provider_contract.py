"""One contract for every provider of servers, held against what runs: simulated AWS, simulated vCenter."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from automation.commands._adopting import adopt
from automation.commands._provision_views import find_drift, refuse_drift
from automation.commands._retiring import RetireFlags, retire
from automation.model.errors import NotMet, PreflightError, StepFailed
from automation.provisioning.compiling import Allowed
from tests.contracts.providers import City, Cloud
from tests.programs.clouds import folder

pytestmark = pytest.mark.xdist_group("providers")
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
def city(cloud: Cloud, tmp_path: Path) -> City:
    return City(cloud, folder(tmp_path))


def verdicts(city: City) -> dict[str, str]:
    return {one.name: one.verdict for one in city.plan().decisions}


def test_a_second_apply_changes_nothing_and_the_journal_names_all_that_is_there(city: City) -> None:
    city.declare(city.one, disks=[DATA], tags={"team": "web"})
    city.declare(city.two)
    assert verdicts(city) == {city.network: "create", city.one: "create", city.two: "create"}
    city.apply()
    assert city.recorded() == city.census()
    assert (len(city.census().servers), city.census().networks) == (2, 1)
    assert city.plan().plan.steps == ()
    assert city.plan().decisions
    assert verdicts(city) == {city.network: "nothing", city.one: "nothing", city.two: "nothing"}
    assert find_drift(city.look()).rows == ()


def test_a_change_is_made_in_place_or_waits_for_a_person_who_names_the_server(city: City) -> None:
    city.declare(city.one, disks=[DATA], tags={"team": "web"})
    city.apply()
    before = city.census()
    larger = [{**DATA, "size": "12 GiB"}, {"name": "more", "size": "1 GiB"}]
    city.declare(city.one, disks=larger, tags={"team": "sea"}, size=city.cloud.larger)
    planned = city.plan()
    assert verdicts(city)[city.one] == "restart"
    assert [step.id for step in planned.plan.steps] == [f"change/{city.one}"]
    assert [one.name for one in planned.waiting] == [city.one]
    city.apply()
    left = find_drift(city.look()).rows
    assert {row.key.partition(":")[0] for row in left} == {"size"}, "the rest was done without a restart"
    city.apply(Allowed(restart=frozenset({city.one})))
    assert find_drift(city.look()).rows == ()
    after = city.census()
    assert (after.servers, after.disks) == (before.servers, before.disks + 1)
    assert city.recorded() == after


def test_what_was_changed_behind_our_back_is_drift_and_is_mended(city: City) -> None:
    city.declare(city.one)
    city.apply()
    city.cloud.stop(city.census().servers[0])
    shown = find_drift(city.look())
    assert [(row.name, row.key, row.found) for row in shown.rows] == [(city.one, "power", "off")]
    with pytest.raises(NotMet, match="1 of 2 are not as declared"):
        refuse_drift(shown)
    city.apply()
    assert find_drift(city.look()).rows == ()


def test_a_stranger_is_left_alone_until_it_is_adopted_by_its_id(city: City) -> None:
    name = f"{city.name}-old"
    id_ = city.cloud.make_stranger(name, "")
    city.declare(name)
    planned = city.plan()
    assert verdicts(city)[name] == "adopt"
    assert [step.id for step in planned.plan.steps] == [f"network/{city.network}"]
    city.apply()
    assert city.census().servers == ()
    adopt(city.session(), city.look(), name, id_)
    assert city.census().servers == (id_,)
    assert verdicts(city)[name] != "create", "it is not made a second time"


def test_what_is_another_environments_is_never_touched(city: City) -> None:
    name = f"{city.name}-theirs"
    id_ = city.cloud.make_stranger(name, "elsewhere")
    city.declare(name)
    assert verdicts(city)[name] == "foreign"
    city.apply()
    assert city.census().servers == ()
    with pytest.raises(PreflightError, match="of elsewhere"):
        adopt(city.session(), city.look(), name, id_)


def test_a_server_is_retired_in_two_steps_and_only_when_nothing_needs_it(city: City) -> None:
    city.declare(city.one, disks=[DATA])
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
    assert city.plan().plan.step(f"create/{city.one}"), "it is declared still"


def test_a_server_is_replaced_only_when_a_person_names_it_and_says_yes(city: City) -> None:
    city.declare(city.one, disks=[DATA])
    city.apply()
    before = city.census()
    city.declare(city.one, disks=[{**DATA, "size": "2 GiB"}])
    assert verdicts(city)[city.one] == "replace"
    assert city.apply() is None
    finished = city.session().run(city.plan(Allowed(replace=frozenset({city.one}))).plan)
    assert finished.closed.gates == (f"delete/{city.one}",)
    assert city.census() == before
    city.say_yes(finished.folder.name, f"delete/{city.one}").raise_for_status()
    after = city.census()
    assert len(after.servers) == 1
    assert set(after.servers).isdisjoint(before.servers)
    assert city.recorded() == after


def test_what_stands_against_a_plan_is_told_before_its_first_step(city: City) -> None:
    city.declare(city.one, image="no-such-image")
    found = city.plan().obstacles
    assert [str(one) for one in found] == [
        f"{city.cloud.kind} at here: there is no image no-such-image, of which {city.one} would be made"
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
def test_a_fault_at_a_call_makes_no_second_server_and_leaves_none_unaccounted(city: City, place: int) -> None:
    order, modes = ORDERS[city.cloud.kind]
    call = CREATING[city.cloud.kind][place]
    city.cloud.faults(*(order(call, mode) for mode in modes))
    city.declare(city.one, disks=[DATA])
    city.apply_patiently()
    city.cloud.no_faults()
    assert len(city.census().servers) == 1
    assert city.recorded() == city.census()


def test_the_journal_says_of_each_change_that_it_was_simulated(city: City) -> None:
    city.declare(city.one)
    began = datetime.now(UTC)
    city.apply()
    told = [event.body.outcome.evidence for event in city.events() if getattr(event.body, "outcome", None)]
    sources = [one.source for one in told if getattr(one, "kind", "") == "provider-change"]
    assert sources
    assert set(sources) == {"simulated"}
    assert all(event.at >= began for event in city.events())
