"""An instance counts as gone when nothing that may run could be it, looked at twice."""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from automation.adapters.aws.absent import absent
from automation.model.actions import FenceInstance
from automation.model.environment import Inventory, Server
from automation.model.errors import AdapterError
from automation.model.evidence import ServerState

ADDRESS = "10.77.5.71"
FENCE = FenceInstance(host="web-e2", site="aws-east", absent_is_off=True)
MARKS = {"Name": "web-e2", "mainstay:environment": "city", "mainstay:name": "web-e2", "mainstay:run": "r"}
OTHER = {"Name": "web-e1", "mainstay:environment": "city", "mainstay:name": "web-e1", "mainstay:run": "r"}


def instance(tags: dict[str, str], state: str = "running", address: str = ADDRESS) -> dict[str, Any]:
    return {
        "InstanceId": "i-1",
        "State": {"Name": state},
        "PrivateIpAddress": address,
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
    }


class Ec2:
    """One region that shows its instances by EC2's filters; `later` is there once things have settled."""

    environment, source = "city", "simulated"
    provider = SimpleNamespace(region="us-east-1", site="aws-east")

    def __init__(self, *shown: dict[str, Any], later: Sequence[dict[str, Any]] = ()) -> None:
        self.shown, self.later = list(shown), list(later)

    def require_account(self) -> None:
        """It is the declared one."""

    def settled(self) -> Iterator[None]:
        yield
        self.shown += self.later
        yield

    def pages(self, call: str, key: str, what: str, **more: Any) -> Iterator[dict[str, Any]]:
        yield {"Instances": [one for one in self.shown if all(passes(one, by) for by in more["Filters"])]}


def passes(one: dict[str, Any], by: dict[str, Any]) -> bool:
    tags = {tag["Key"]: tag["Value"] for tag in one["Tags"]}
    fields = {
        "instance-state-name": one["State"]["Name"],
        "private-ip-address": one["PrivateIpAddress"],
    }
    name = by["Name"]
    return (tags.get(name[4:]) if name.startswith("tag:") else fields[name]) in by["Values"]


def look(region: Any, *, address: str = ADDRESS) -> object:
    named = {
        name: Server(name=name, address=address, site="aws-east", provider="aws")
        for name in ("web-e1", "web-e2")
    }
    ctx: Any = SimpleNamespace(timeout_s=100.0, inventory=Inventory(servers=named))
    return absent(region, FENCE, ctx)


def power(outcome: Any) -> str:
    assert isinstance(outcome.evidence, ServerState)
    return outcome.evidence.power


def without(*keys: str, **more: str) -> dict[str, str]:
    return {key: value for key, value in {**MARKS, **more}.items() if key not in keys}


@pytest.mark.parametrize(
    "tags",
    [
        without("mainstay:name"),
        MARKS | {"mainstay:name": "web-e2-old"},
        MARKS | {"mainstay:name": "web-e2-old", "Name": "web-e2-old"},
        MARKS | {"mainstay:name": "web-e1"},
        MARKS | {"mainstay:environment": "citty"},
        without("mainstay:environment"),
        {},
    ],
    ids=[
        "no role",
        "other role",
        "other role and name",
        "role of another",
        "other owner",
        "no owner",
        "none",
    ],
)
@pytest.mark.parametrize("state", ["pending", "running", "stopping", "stopped"])
def test_what_may_be_the_server_is_refused_whatever_its_tags(tags: dict[str, str], state: str) -> None:
    with pytest.raises(AdapterError, match="it is not fenced; nothing was changed"):
        look(Ec2(instance(tags, state)))


def test_the_mark_alone_is_enough_to_be_refused() -> None:
    stray = instance(without("Name", "mainstay:environment"), address="10.99.0.1")
    with pytest.raises(AdapterError, match="i-1 has its name or address at us-east-1, and nobody's mark"):
        look(Ec2(stray))


def test_one_that_shows_late_is_not_taken_for_gone() -> None:
    assert look(Ec2(later=[instance(MARKS)])) is None
    with pytest.raises(AdapterError, match="it is not fenced"):
        look(Ec2(later=[instance(without("mainstay:name"))]))


def test_one_that_is_ending_is_gone_once_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    ending = instance(MARKS, "shutting-down")
    monkeypatch.setattr(
        "automation.adapters.aws.instances.by_id", lambda *looked: ending | {"State": {"Name": "terminated"}}
    )
    assert power(look(Ec2(ending))) == "absent"


def test_one_that_never_ends_is_not_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 50))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    ending = instance(MARKS, "shutting-down")
    monkeypatch.setattr("automation.adapters.aws.instances.by_id", lambda *looked: ending)
    with pytest.raises(AdapterError, match="is shutting-down, not terminated yet"):
        look(Ec2(ending))


def test_nothing_and_another_server_of_ours_are_no_server() -> None:
    assert power(look(Ec2())) == "absent"
    assert power(look(Ec2(instance(OTHER)))) == "absent"
