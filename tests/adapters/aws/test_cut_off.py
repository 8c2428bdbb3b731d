"""What a block holds is told by a port's own groups: its tag comes and goes later than they do."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from automation.adapters.aws import creating, guarding
from automation.model.actions import CreateInstance, ReleaseInstance
from automation.model.errors import AdapterError
from automation.model.servers import ServerSpec

SPEC = ServerSpec.model_validate(
    {"name": "web-e1", "provider": "aws", "site": "aws-east", "size": {"type": "t3.small"}}
)
LAUNCH = CreateInstance(host="web-e1", site="aws-east", spec=SPEC)
RELEASE = ReleaseInstance(host="web-e1", site="aws-east")
CTX: Any = SimpleNamespace(timeout_s=100.0, run_id="r", step_id="s")
OWN, FENCED = "portal-east", "mainstay:city:fenced"


class Ec2:
    """One region that shows a port's groups and tags as it is told to, look by look; the last stays."""

    environment, source = "city", "simulated"
    provider = SimpleNamespace(region="us-east-1", site="aws-east")

    def __init__(self, groups: tuple[str, ...], tags: tuple[str, ...]) -> None:
        self.groups, self.tags, self.changes = list(groups), list(tags), list[str]()

    def settled(self) -> Iterator[None]:
        yield from [None] * 3

    def pages(self, call: str, key: str, what: str, **more: object) -> Iterator[dict[str, Any]]:
        name = _next(self.groups)
        port = {"NetworkInterfaceId": "eni-1", "Groups": [{"GroupId": f"sg-{name}", "GroupName": name}]}
        state = {"State": {"Name": "running"}, "Tags": [{"Key": "mainstay:run", "Value": "r"}]}
        ports = [port | {"Attachment": {"DeviceIndex": 0}}]
        yield {"Instances": [{"InstanceId": "i-1", "NetworkInterfaces": ports, **state}]}

    def read(self, call: str, what: str, **more: object) -> dict[str, Any]:
        kept = _next(self.tags)
        return {"Tags": [{"Value": kept}] if kept else []}

    def change(self, call: str, what: str, **more: Any) -> dict[str, Any]:
        self.changes.append(f"{call.removeprefix('ec2.')} {more.get('Groups', '')}".strip())
        return {}


def _next(looks: list[str]) -> str:
    return looks.pop(0) if len(looks) > 1 else looks[0]


def at(region: Ec2, monkeypatch: pytest.MonkeyPatch) -> Ec2:
    for module in (creating, guarding):
        monkeypatch.setattr(module, "region_of", lambda ctx, site: region)
    return region


@pytest.mark.parametrize(
    ("groups", "tags"),
    [((OWN,), ("sg-own",)), ((FENCED, FENCED, OWN), ("",))],
    ids=["tag shown too long", "group shown too long"],
)
def test_one_that_was_released_a_moment_ago_is_launched(
    groups: tuple[str, ...], tags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    at(Ec2(groups, tags), monkeypatch)
    assert "running" in creating.create_instance(LAUNCH, CTX).summary


@pytest.mark.parametrize("tag", ["", "sg-own"], ids=["its tag not shown", "its tag shown"])
def test_one_that_stays_cut_off_is_not_launched(tag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    region = at(Ec2((FENCED,), (tag,)), monkeypatch)
    with pytest.raises(AdapterError, match="cut off by a fence of ours; nothing was changed"):
        creating.create_instance(LAUNCH, CTX)
    assert region.changes == []


def test_what_a_block_took_a_moment_ago_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    region = at(Ec2((FENCED, OWN), ("", "", "sg-own")), monkeypatch)
    assert guarding.release_instance(RELEASE, CTX).changed
    assert region.changes == ["modify_network_interface_attribute ['sg-own']", "delete_tags"]


def test_one_that_was_given_back_a_moment_ago_is_not_called_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    region = at(Ec2((FENCED, OWN), ("",)), monkeypatch)
    assert not guarding.release_instance(RELEASE, CTX).changed
    assert region.changes == []


def test_one_whose_groups_nobody_knows_is_not_called_released(monkeypatch: pytest.MonkeyPatch) -> None:
    region = at(Ec2((FENCED,), ("",)), monkeypatch)
    with pytest.raises(AdapterError, match="says which groups it had; nothing was changed"):
        guarding.release_instance(RELEASE, CTX)
    assert region.changes == []
