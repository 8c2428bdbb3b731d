"""What a scenario under the checker must show, and what is said when it does not."""

import json
from datetime import UTC, datetime

import pytest

from automation.commands._checked import (
    CheckedRow,
    Once,
    Watched,
    before_fault,
    count_once,
    find_faults,
    list_starts,
)
from automation.commands._controller import Kill
from automation.commands._scenarios import Scenario
from automation.commands._watch import Databases, Watching
from automation.model.records import Completed
from automation.recovery.overlap import Attempt, Clock, Record, fold_writability, read_record
from tests.recovery.test_overlap import record_of, write

WATCH_S = 10.0
ENOUGH = Watched(tried=480, committed=0)
GOOD = CheckedRow(
    run_id="r",
    verdict="met",
    kills=(),
    kills_wanted=False,
    exit_codes=(0,),
    unit_starts=("mainstay-r-db-promote 1",),
    once=Once(promotions=1, requests=1),
    old_primary="pg-a",
    standby="pg-b",
    periods={"pg-a": 1, "pg-b": 1},
    commits={"pg-a": 100, "pg-b": 100},
    before_fault={"client-1": 40, "app-a": 40},
    handover_ms=900.0,
    overlaps=0,
    returns=0,
    in_doubt=3,
    resolution_ms=300.0,
    usual_resolution_ms=100.0,
    one_clock=True,
    left_off=("pg-a",),
    watched_after_healing_s=WATCH_S,
    after_healing={"client-1": ENOUGH, "app-a": ENOUGH},
    faults_found=(),
)
IN_A_STEP = Kill(after_step="db/promote", delay_s=0.1, under_way=("db/promote",))
LATE = IN_A_STEP.model_copy(update={"under_way": (), "in_run": False})
DRILL = Scenario(name="site-loss", kind="drill", expect="handover")
DARK = Scenario(name="dark-site", kind="drill", expect="no-promotion")
SERVED = Watched(tried=480, committed=470)
STOPPED = GOOD.model_copy(
    update={
        "once": Once(),
        "commits": {"pg-a": 100, "pg-b": 0},
        "handover_ms": None,
        "left_off": (),
        "after_healing": {"client-1": SERVED, "app-a": SERVED},
    }
)
ALONE = [write("pg-a", 0), write("pg-a", 20)]
HANDOVER = [write("pg-a", 0), write("pg-a", 20), write("pg-b", 500), write("pg-b", 520)]


def faults(
    row: CheckedRow, scenario: Scenario = DRILL, story: list[Attempt] | None = None
) -> tuple[str, ...]:
    seen = fold_writability([read_record(record_of(HANDOVER if story is None else story))])
    return find_faults(row, scenario, seen)


def test_a_drill_in_which_one_node_followed_the_other_holds() -> None:
    assert faults(GOOD) == ()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"once": Once(promotions=2, requests=1)}, "was done: promotions=2"),
        ({"once": Once(promotions=1, requests=2)}, "requests=2"),
        ({"once": Once(promotions=1, requests=1, copies=1)}, "copies=1"),
        ({"left_off": ()}, "left off by their fences: none"),
        (
            {"after_healing": {"client-1": Watched(tried=100, committed=0)}},
            "not enough was tried from client-1",
        ),
        ({"after_healing": {"app-a": Watched(tried=480, committed=1)}}, "took writes from app-a"),
        ({"one_clock": False}, "one clock"),
        ({"before_fault": {"client-1": 40, "app-a": 0}}, "from app-a before the fault"),
        ({"commits": {"pg-a": 100, "pg-b": 0}}, "no handover"),
        ({"commits": {"pg-a": 0, "pg-b": 100}}, "no handover"),
        ({"handover_ms": None}, "no handover"),
        ({"exit_codes": (5, 8)}, "ended with (5, 8)"),
        ({"exit_codes": ()}, "ended with nothing"),
        ({"exit_codes": (4,)}, "ended with (4,)"),
        ({"exit_codes": (4,), "kills": (IN_A_STEP,), "kills_wanted": True}, "ended with (4,)"),
        ({"kills_wanted": True}, "not killed"),
        ({"kills_wanted": True, "kills": (LATE,)}, "not killed"),
        ({"verdict": "failed"}, "verdict is failed"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_whatever_must_not_be_is_said(change: dict[str, object], word: str) -> None:
    (fault,) = faults(GOOD.model_copy(update=change))
    assert word in fault


@pytest.mark.parametrize("codes", [(0,), (5, 0)], ids=str)
def test_a_drill_that_was_killed_and_came_to_its_end_holds(codes: tuple[int, ...]) -> None:
    change = {"kills": (IN_A_STEP,), "kills_wanted": True, "exit_codes": codes}
    assert faults(GOOD.model_copy(update=change)) == ()


def test_a_kill_after_the_end_of_the_run_counts_only_beside_one_that_hit() -> None:
    killed = GOOD.model_copy(update={"kills_wanted": True, "exit_codes": (4,)})
    both = killed.model_copy(update={"kills": (IN_A_STEP, LATE)})
    assert (faults(both), both.missed) == ((), False)
    late = killed.model_copy(update={"kills": (LATE,)})
    assert late.missed
    assert any("ended with (4,)" in fault for fault in faults(late))


def test_only_what_was_committed_on_the_old_primary_before_the_fault_counts() -> None:
    watching = Watching(
        session=None,  # type: ignore[arg-type]
        databases=Databases("pg-a", "pg-b", "15/main", "payments-db", "city-hall"),
        hosts=("client-1", "app-a"),
        watch=None,  # type: ignore[arg-type]
        password="",
    )
    story = [
        write("pg-a", 0),
        write("pg-a", 20, 5, "refused"),
        write("pg-a", 40),
        write("pg-a", 98),
        write("pg-b", 60),
    ]
    clock = Clock(namespace="n", wall_minus_mono_ns=1_000_000_000_000)
    record = Record(attempts=tuple(story), clocks=(clock,), missed_beats=0)
    fault_at = datetime.fromtimestamp(1000.1, UTC)
    assert before_fault([record], watching, fault_at) == {"client-1": 2, "app-a": 0}
    assert before_fault([record], watching, None) == {"client-1": 0, "app-a": 0}


def test_a_stopped_drill_that_nobody_saw_begin_does_not_hold() -> None:
    assert faults(STOPPED, DARK, ALONE) == ()
    blind = STOPPED.model_copy(update={"before_fault": {"client-1": 0, "app-a": 40}})
    (fault,) = faults(blind, DARK, ALONE)
    assert "from client-1 before the fault" in fault


def test_a_stopped_drill_whose_primary_nobody_can_write_to_afterwards_does_not_hold() -> None:
    shut = STOPPED.model_copy(update={"after_healing": {"client-1": SERVED, "app-a": ENOUGH}})
    (fault,) = faults(shut, DARK, ALONE)
    assert "nobody at app-a could write" in fault


def test_a_stopped_drill_that_was_not_killed_though_it_was_to_be_does_not_hold() -> None:
    unkilled = STOPPED.model_copy(update={"kills_wanted": True})
    assert faults(unkilled, DARK, ALONE) == ("the controller was not killed",)


def test_a_failover_that_stops_ends_with_the_code_of_a_stop() -> None:
    failover = Scenario(name="failover-dark-site", kind="failover", expect="no-promotion")
    stopped = STOPPED.model_copy(update={"verdict": "not promoted", "exit_codes": (5, 5)})
    assert faults(stopped, failover, ALONE) == ()
    (fault,) = faults(stopped.model_copy(update={"exit_codes": (0,)}), failover, ALONE)
    assert "ended with (0,)" in fault


def test_after_an_exchange_both_run_and_one_takes_writes() -> None:
    exchange = Scenario(name="planned-migration", kind="migration", expect="exchange")
    exchanged = GOOD.model_copy(update={"verdict": "recovered", "left_off": ()})
    assert faults(exchanged, exchange) == ()
    (fault,) = faults(exchanged.model_copy(update={"left_off": ("pg-a",)}), exchange)
    assert "left off by their fences: ('pg-a',), expected: none" in fault
    entered = {"client-1": ENOUGH, "app-a": SERVED}
    (fault,) = faults(exchanged.model_copy(update={"after_healing": entered}), exchange)
    assert "the old primary took writes from app-a" in fault


def test_a_copy_must_happen_once_and_its_host_take_no_write() -> None:
    copy = Scenario(name="standby-copy", kind="copy", expect="copy")
    copied = STOPPED.model_copy(update={"verdict": "copied", "once": Once(copies=1)})
    assert faults(copied, copy, ALONE) == ()
    twice = copied.model_copy(update={"once": Once(copies=2), "commits": {"pg-a": 100, "pg-b": 3}})
    written, again = faults(twice, copy, ALONE)
    assert "the standby took 3 writes" in written
    assert "copies=2" in again


def test_an_overlap_is_said_with_its_writes() -> None:
    both = [write("pg-a", 0), write("pg-b", 10, number=7), write("pg-a", 100), write("pg-b", 110)]
    found = faults(GOOD, story=both)
    assert "both nodes took writes" in found[0]
    assert "client-1's write 7 on pg-b" in found[0]


def test_a_promotion_in_a_drill_that_must_stop_before_it_is_a_fault() -> None:
    (fault,) = faults(STOPPED.model_copy(update={"once": Once(promotions=1)}), DARK, ALONE)
    assert "promotions=1" in fault


class Host:
    """A host whose systemd has logged the starts of units, and PostgreSQL requests to be promoted."""

    def __init__(self, starts: list[tuple[str, str]], requests: int) -> None:
        self._starts = [json.dumps({"UNIT": unit, "INVOCATION_ID": told}) for unit, told in starts]
        self._requests = requests

    def run(self, argv: list[str], **_: object) -> Completed:
        said = "\n".join(self._starts) if "journalctl" in argv else f"{self._requests}\n"
        return Completed(exit_code=0, stdout=said, stderr="")


@pytest.mark.parametrize(
    ("starts", "expected"),
    [
        ([("mainstay-r-db-promote.service", "1")], (1, 0)),
        ([("mainstay-r-db-promote.service", "1"), ("mainstay-r-db-promote.service", "2")], (2, 0)),
        ([("mainstay-r-db-promote.service", "1"), ("mainstay-r-db-promote:2.service", "2")], (2, 0)),
        ([("mainstay-r-db-clone.service", "1"), ("mainstay-other-db-clone.service", "2")], (0, 1)),
        ([("mainstay-r-db-start.service", "1"), ("ssh.service", "2")], (0, 0)),
    ],
    ids=["one", "started twice", "a second attempt", "another run's", "other work"],
)
def test_units_are_counted_by_what_systemd_started(
    starts: list[tuple[str, str]], expected: tuple[int, int]
) -> None:
    host = Host(starts, 1)
    seen = count_once(list_starts(host, "r"), host)  # type: ignore[arg-type]
    assert (seen.promotions, seen.copies, seen.requests) == (*expected, 1)
