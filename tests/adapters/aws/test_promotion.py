"""A promotion that RDS shows late: it is waited for, never begun twice and never taken for not done."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from automation.adapters.aws import databases
from automation.adapters.aws.faults import in_words, read_refusal
from automation.model.actions import PromoteReplica
from automation.model.errors import AdapterError

ACTION = PromoteReplica(site="aws-west", database="portal-db-west", expect_source="portal-db")
CTX: Any = SimpleNamespace(timeout_s=100.0, run_id="r", step_id="promote")
REPLICA = ("available", "portal-db")
OWN = ("available", "")


class Rds:
    """One region that shows a replica as it is told to, look by look; the last look stays.

    A look is a state, with what RDS says of its replication behind a space, and the source.
    """

    environment, source, clock_skew_s = "city", "simulated", 0.0
    provider = SimpleNamespace(region="us-west-2", site="aws-west")

    def __init__(
        self,
        *looks: tuple[str, str],
        refuses: AdapterError | None = None,
        dark: AdapterError | None = None,
        settles: int = 3,
    ) -> None:
        self.looks, self.refuses, self.settles = list(looks), refuses, settles
        self.dark = dark  # what every look is answered once it was asked to promote
        self.promotions: list[tuple[str, str]] = []

    def require_account(self) -> None:
        """It is the declared one."""

    def read(self, call: str, what: str, **parameters: object) -> dict[str, Any]:
        if call != "rds.describe_db_instances":
            raise AdapterError("the lag may not be read")
        if self.promotions and self.dark is not None:
            raise self.dark
        status, of = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        status, _, infos = status.partition(" ")
        shown = {"DBInstanceIdentifier": "portal-db-west", "DBInstanceStatus": status}
        if infos:
            shown["StatusInfos"] = [{"StatusType": "read replication", "Status": infos}]  # type: ignore[assignment]
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


@pytest.mark.parametrize(
    "state", ["backing-up replicating", "failed", "incompatible-network", "storage-full"]
)
def test_one_that_is_surely_not_on_its_way_is_not_waited_for(
    state: str, rds: Callable[[Rds], Rds], monkeypatch: pytest.MonkeyPatch
) -> None:
    rds(Rds((state, "portal-db")))
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("it waits"))
    assert databases.verify_promote_replica(ACTION, CTX).state == "not_done"


def test_one_that_is_backed_up_as_it_is_promoted_is_waited_for(rds: Callable[[Rds], Rds]) -> None:
    rds(Rds(("modifying", "portal-db"), ("backing-up terminated", "portal-db"), OWN))
    assert databases.verify_promote_replica(ACTION, CTX).state == "done"


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
    region = rds(Rds(REPLICA, REPLICA, REPLICA, OWN, refuses=lost))
    assert databases.promote_replica(ACTION, CTX).changed
    assert len(region.promotions) == 1


# --- what is said of it when it goes wrong ---------------------------------------------------------


def refused(code: str, *, changing: bool = False) -> AdapterError:
    """Give an answer of AWS as the adapter's door raises it."""
    cause = ClientError({"Error": {"Code": code, "Message": code}}, "AnyCall")
    error = in_words(read_refusal(cause), "it could not be done", "city", changing=changing)
    error.__cause__ = cause
    return error


def failure(region: Rds, ctx: Any = CTX) -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        databases.promote_replica(ACTION, ctx)
    return caught.value


@pytest.mark.parametrize("code", ["ExpiredToken", "AccessDenied", "SomethingElse", "InternalError"])
@pytest.mark.parametrize("answer", ["taken", "lost", "refused for its state"])
def test_once_asked_for_it_is_never_called_surely_failed(
    code: str, answer: str, rds: Callable[[Rds], Rds]
) -> None:
    refuses = {"taken": None, "lost": "InternalError", "refused for its state": "InvalidDBInstanceState"}
    named = refuses[answer]
    region = Rds(REPLICA, refuses=named and refused(named, changing=True), dark=refused(code))
    said = failure(rds(region))
    assert (len(region.promotions), said.unknown, said.transient) == (1, True, False)
    assert "was asked to promote, and whether it is by now is not known" in str(said)
    assert "nothing was changed" not in str(said)


def test_a_promoted_database_that_is_not_shown_for_a_moment_is_in_doubt(rds: Callable[[Rds], Rds]) -> None:
    assert failure(rds(Rds(REPLICA, dark=AdapterError("is not there; nothing was changed")))).unknown


def test_one_that_breaks_after_it_was_asked_is_in_doubt(rds: Callable[[Rds], Rds]) -> None:
    assert failure(rds(Rds(REPLICA, REPLICA, ("incompatible-network", "portal-db")))).unknown


def out_of_reach() -> AdapterError:
    cause = EndpointConnectionError(endpoint_url="rds")
    error = in_words(read_refusal(cause), "it could not be promoted", "city", changing=True)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "made", [out_of_reach, lambda: refused("ExpiredToken"), lambda: refused("Throttling")]
)
def test_a_call_that_was_never_judged_changed_nothing_even_where_nobody_can_look(
    made: Callable[[], AdapterError], rds: Callable[[Rds], Rds]
) -> None:
    said = failure(rds(Rds(REPLICA, refuses=made(), dark=made())))
    assert (said.unknown, said.transient) == (False, False)
    assert "nothing was changed" in str(said)


@pytest.mark.parametrize("state", ["backing-up", "modifying"])
def test_one_that_is_not_ready_in_time_was_not_asked(state: str, rds: Callable[[Rds], Rds]) -> None:
    region = rds(Rds((state, "portal-db")))
    said = failure(region, SimpleNamespace(timeout_s=0.0, run_id="r", step_id="promote"))
    assert (region.promotions, said.unknown, said.transient) == ([], False, False)
    assert f"is {state}" in str(said)
    assert "was not asked to promote: nothing was changed" in str(said)


def test_a_look_that_fails_before_it_was_asked_changed_nothing(rds: Callable[[Rds], Rds]) -> None:
    region = Rds(REPLICA)
    region.read = lambda *args, **more: (_ for _ in ()).throw(refused("InternalError"))  # type: ignore[method-assign]
    said = failure(rds(region))
    assert (region.promotions, said.unknown, said.transient) == ([], False, False)
    assert str(said).count("nothing was changed") == 1


@pytest.mark.parametrize("state", ["failed", "incompatible-parameters", "storage-full"])
def test_of_any_other_state_rds_judges(state: str, rds: Callable[[Rds], Rds]) -> None:
    region = rds(Rds((state, "portal-db"), refuses=refused("InvalidDBInstanceState", changing=True)))
    said = failure(region)
    assert (len(region.promotions), said.unknown, said.transient) == (1, False, False)


def test_one_whose_disks_are_rearranged_for_hours_is_promoted_and_serves(rds: Callable[[Rds], Rds]) -> None:
    busy, own = ("storage-optimization", "portal-db"), ("storage-optimization", "")
    region = rds(Rds(busy, busy, own))
    assert databases.promote_replica(ACTION, CTX).changed
    assert databases.verify_promote_replica(ACTION, CTX).state == "done"
    assert len(region.promotions) == 1


def test_a_move_waits_for_it_no_longer_than_was_told(
    rds: Callable[[Rds], Rds], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10_000, 100))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    rds(Rds(("backing-up", "portal-db")))
    short = ACTION.model_copy(update={"ready_within_s": 300.0})
    with pytest.raises(AdapterError, match="was not asked to promote"):
        databases.promote_replica(short, SimpleNamespace(timeout_s=9000.0, run_id="r", step_id="promote"))
    assert next(clock) < 1000
