"""For which actions `provision.permissions` asks, area by area."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import pytest

from automation.adapters.aws.permissions import policy
from automation.adapters.vsphere.permissions import OF_SERVERS
from automation.commands._permissions import AREAS, addresses_of, is_too_long
from automation.model.actions import Action
from automation.model.providers import AwsProvider

PACKAGE = Path(__file__).resolve().parents[2] / "automation"
FOLDERS = {
    "provisioning": "provisioning",
    "backups": "backups",
    "baselines": "baseline",
    "recovery": "recovery",
}
CLASSES = {cls.__name__: str(cls.model_fields["do"].default) for cls in get_args(get_args(Action)[0])}


def addresses(kind: str, *areas: str) -> set[str]:
    return {*addresses_of(cast("Any", SimpleNamespace(kind=kind)), areas)}


def made_in(folder: str) -> set[str]:
    """The actions that an area's plans make: `FenceVm(`."""
    text = "\n".join(path.read_text() for path in (PACKAGE / folder).rglob("*.py"))
    return {CLASSES[name] for name in re.findall(r"\b([A-Z][A-Za-z]+)\(", text) if name in CLASSES}


@pytest.mark.parametrize("area", AREAS)
@pytest.mark.parametrize("kind", ["aws", "vsphere"])
def test_every_action_that_plans_of_an_area_make_is_permitted_for_it(area: str, kind: str) -> None:
    ours = {one for one in made_in(FOLDERS[area]) if one.startswith(f"{kind}.")}
    assert ours <= addresses(kind, area)


@pytest.mark.parametrize("kind", ["aws", "vsphere"])
def test_all_areas_together_permit_every_action(kind: str) -> None:
    assert addresses(kind, *AREAS) == {one for one in CLASSES.values() if one.startswith(f"{kind}.")}


def test_preflight_asks_for_what_plans_of_servers_do() -> None:
    others = {"vsphere.fence_vm", "vsphere.learn_host_key"}  # of recovery; of no privilege
    assert OF_SERVERS | others == addresses("vsphere", "provisioning")


@pytest.mark.parametrize("area", AREAS)
def test_the_policy_of_an_area_is_one_that_aws_takes(area: str) -> None:
    region = {"kind": "aws", "site": "east", "region": "us-gov-west-1", "account": "123456789012"}
    provider = AwsProvider.model_validate(region)
    assert not is_too_long(policy(addresses_of(provider, (area,)), "a-long-environment", provider))
    assert is_too_long(policy(addresses_of(provider, tuple(AREAS)), "city", provider))
