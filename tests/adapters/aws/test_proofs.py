"""EC2's two checks of an instance, read as a verdict on its image."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from automation.adapters.aws import proofs
from automation.adapters.aws.proofs import read_end, read_status
from automation.model.actions import ProveImage
from automation.model.errors import AdapterError


@pytest.mark.parametrize(
    ("system", "guest", "good"),
    [
        ("ok", "ok", True),
        ("ok", "impaired", False),
        ("ok", "initializing", None),
        ("ok", "insufficient-data", None),
        ("impaired", "impaired", None),
        ("initializing", "ok", None),
    ],
)
def test_only_a_guest_on_a_machine_that_is_well_is_a_verdict_on_its_image(
    system: str, guest: str, good: bool | None
) -> None:
    shown = {
        "InstanceId": "i-1",
        "SystemStatus": {"Status": system},
        "InstanceStatus": {"Status": guest},
    }
    looked = read_status("web-1-test", shown)
    assert looked.good is good
    assert looked.says == f"web-1-test (i-1): EC2's checks say system {system}, instance {guest}"


def test_an_instance_that_does_not_run_is_no_verdict() -> None:
    assert read_status("web-1-test", {}).good is None


@pytest.mark.parametrize(
    ("code", "good"),
    [
        ("Client.InvalidSnapshot.NotFound", False),
        ("Server.InsufficientInstanceCapacity", None),
        ("Client.VolumeLimitExceeded", None),
        ("Client.UserInitiatedShutdown", None),
        ("Server.InternalError", None),
    ],
)
def test_an_end_at_launch_is_a_verdict_only_where_the_image_is_its_reason(
    code: str, good: bool | None
) -> None:
    shown = {"InstanceId": "i-1", "StateReason": {"Code": code, "Message": f"{code}: so"}}
    looked = read_end("web-1-test", shown)
    assert looked == (good, f"web-1-test (i-1): EC2 ended it: {code}: so")


IMAGE = ProveImage(site="west", resource="images", store="west", image="ami-1", servers=("web-1-test",))


def region_with(code: str, run: str) -> Any:
    """Give a region whose one server of that name is terminated."""
    tags = [{"Key": "mainstay:run", "Value": run}]
    ended = {
        "InstanceId": "i-1",
        "State": {"Name": "terminated"},
        "Tags": tags,
        "StateReason": {"Code": code},
    }

    def pages(call: str, key: str, what: str, **parameters: Any) -> Iterator[dict[str, object]]:
        asks_for_living = any(one["Name"] == "instance-state-name" for one in parameters["Filters"])
        yield {"Instances": [] if asks_for_living else [ended]}

    return SimpleNamespace(environment="city", pages=pages)


def test_a_server_that_its_image_let_not_start_makes_the_image_a_bad_one() -> None:
    region = region_with("Client.InvalidSnapshot.NotFound", run="run-1")
    assert proofs._await_server(region, IMAGE, "web-1-test", ("run-1", 0.0)).good is False


@pytest.mark.parametrize(
    ("code", "run"),
    [("Server.InsufficientInstanceCapacity", "run-1"), ("Client.InvalidSnapshot.NotFound", "another")],
    ids=["no room", "another run's"],
)
def test_a_server_that_did_not_start_for_another_reason_proves_nothing(code: str, run: str) -> None:
    with pytest.raises(AdapterError, match="nothing is proven"):
        proofs._await_server(region_with(code, run), IMAGE, "web-1-test", ("run-1", 0.0))
