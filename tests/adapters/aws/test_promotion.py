"""A promotion that RDS shows late: it is waited for, never begun twice and never taken for not done."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from automation.adapters.aws import databases
from automation.model.actions import PromoteReplica
from automation.model.errors import AdapterError

ACTION = PromoteReplica(site="aws-west", database="portal-db-west", expect_source="portal-db")
CTX: Any = SimpleNamespace(timeout_s=100.0, run_id="r", step_id="promote")
REPLICA = ("available", "portal-db")
OWN = ("available", "")


class Rds:
    """One region that shows a replica as it is told to, look by look; the last look stays."""

    environment, source, clock_skew_s = "city", "simulated", 0.0
    provider = SimpleNamespace(region="us-west-2", site="aws-west")

    def __init__(
        self, *looks: tuple[str, str], refuses: AdapterError | None = None, settles: int = 3
    ) -> None:
        self.looks, self.refuses, self.settles = list(looks), refuses, settles
        self.promotions: list[tuple[str, str]] = []

    def read(self, call: str, what: str, **parameters: object) -> dict[str, Any]:
        if call != "rds.describe_db_instances":
            raise AdapterError("the lag may not be read")
        status, of = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        shown = {"DBInstanceIdentifier": "portal-db-west", "DBInstanceStatus": status}
        return {"DBInstances": [{**shown, "ReadReplicaSourceDBInstanceIdentifier": of}]}

    def change(self, call: str, what: str, **parameters: object) -> dict[str, Any]:
        self.promotions.append(self.looks[0])
        if self.refuses is not None:
            raise self.refuses
        return {}

    def settled(self) -> Iterator[None]:
        yield from [None] * self.settles


@pytest.fixture
def rds(monkeypatch: pytest.MonkeyPatch) -> Callable[[Rds], Rds]:
    def use(one: Rds) -> Rds:
        monkeypatch.setattr(databases, "region_of", lambda ctx, site: one)
        return one

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return use


@pytest.mark.parametrize(
    "looks",
    [(REPLICA, REPLICA, OWN), (("modifying", "portal-db"), ("rebooting", "portal-db"), OWN), (OWN,)],
    ids=["shown late", "on its way", "shown"],
)
def test_a_promotion_that_was_taken_is_found_done(
    looks: tuple[tuple[str, str], ...], rds: Callable[[Rds], Rds]
) -> None:
    region = rds(Rds(*looks))
    assert databases.verify_promote_replica(ACTION, CTX).state == "done"
    assert region.promotions == []


def test_a_replica_that_stays_one_is_not_promoted_yet(rds: Callable[[Rds], Rds]) -> None:
    rds(Rds(("modifying", "portal-db"), REPLICA))
    assert databases.verify_promote_replica(ACTION, CTX).state == "not_done"


def test_a_replica_that_is_backed_up_is_promoted_when_that_is_over(rds: Callable[[Rds], Rds]) -> None:
    region = rds(Rds(("backing-up", "portal-db"), ("backing-up", "portal-db"), REPLICA, OWN))
    assert databases.promote_replica(ACTION, CTX).changed
    assert region.promotions == [OWN]  # what the next look shows


def test_a_promotion_that_is_refused_is_not_waited_for(rds: Callable[[Rds], Rds]) -> None:
    busy = ("backing-up", "portal-db")
    region = rds(Rds(REPLICA, REPLICA, busy, refuses=AdapterError("not in available state")))
    with pytest.raises(AdapterError, match="not in available state"):
        databases.promote_replica(ACTION, CTX)
    assert len(region.promotions) == 1


def test_a_lost_answer_is_looked_into_until_it_must_show(rds: Callable[[Rds], Rds]) -> None:
    lost = AdapterError("no answer", unknown=True)
    region = rds(Rds(REPLICA, REPLICA, REPLICA, REPLICA, OWN, refuses=lost))
    assert databases.promote_replica(ACTION, CTX).changed
    assert len(region.promotions) == 1
