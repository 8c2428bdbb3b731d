"""What is seen of vCenters and regions before a failover is planned: who answers, and who is not there."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from automation.adapters import aws
from automation.commands._replicas import look_at_clouds
from automation.model.errors import AdapterError
from tests.recovery.cloud_city import make_cloud_city, make_pilot

CITY = make_cloud_city("portal")


def seen(monkeypatch: pytest.MonkeyPatch, *servers: tuple[str, str], silent: bool = False) -> Any:
    def look(*asked: object) -> object:
        if silent:
            raise AdapterError("it does not answer")
        return SimpleNamespace(servers=[SimpleNamespace(name=name, owner=owner) for name, owner in servers])

    monkeypatch.setattr(aws, "look", look)
    monkeypatch.setattr(aws, "look_at_pilot", lambda *asked: make_pilot())
    monkeypatch.setattr("automation.commands._replicas.load_networks", lambda environment: {})
    session: Any = SimpleNamespace(
        environment=CITY.environment, inventory=CITY.inventory, state=Path(), say=lambda text: None
    )
    portal = {"portal": CITY.catalog.services["portal"]}
    return look_at_clouds(session, portal, primaries=True)


def test_an_instance_is_gone_where_the_region_answers_and_does_not_show_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cloud = seen(monkeypatch, ("web-e1", "lab"), ("web-e2", "another"))
    assert (cloud.silent, cloud.absent) == ((), ("web-e2",))


def test_nothing_is_gone_because_a_region_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = seen(monkeypatch, silent=True)
    assert (cloud.silent, cloud.absent) == (("aws-east",), ())
