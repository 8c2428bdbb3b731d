"""EC2's two checks of an instance, read as a verdict on its image."""

import pytest

from automation.adapters.aws.proofs import read_status


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
