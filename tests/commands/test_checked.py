"""What a drill under the checker must show, and what it says when it does not."""

from datetime import UTC, datetime

import pytest

from automation.commands._checked import CheckedRow, Promotions, Watched, before_fault, find_faults
from automation.commands._controller import Kill
from automation.commands._watch import Databases, Watching
from automation.recovery.overlap import Attempt, Clock, Record, fold_writability, read_record
from automation.recovery.spec import Drill
from tests.recovery.test_overlap import record_of, write

WATCH_S = 10.0
ENOUGH = Watched(tried=480, committed=0)
GOOD = CheckedRow(
    run_id="r",
    verdict="met",
    kills=(),
    kills_wanted=False,
    exit_codes=(0,),
    promotions=Promotions(units=1, requests=1),
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
    after_healing={"client-1": ENOUGH, "app-a": ENOUGH},
    faults_found=(),
)
IN_A_STEP = Kill(after_step="db/promote", delay_s=0.1, under_way=("db/promote",))
DRILL = Drill.model_validate(
    {
        "name": "d",
        "title": "t",
        "plan": "p",
        "mode": "failover",
        "site": "s",
        "faults": [{"fault": "dark-site", "site": "s"}],
    }
)
HANDOVER = [write("pg-a", 0), write("pg-a", 20), write("pg-b", 500), write("pg-b", 520)]


def faults(row: CheckedRow, drill: Drill = DRILL, story: list[Attempt] | None = None) -> tuple[str, ...]:
    seen = fold_writability([read_record(record_of(HANDOVER if story is None else story))])
    return find_faults(row, drill, seen, WATCH_S)


def test_a_drill_in_which_one_node_followed_the_other_holds() -> None:
    assert faults(GOOD) == ()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"promotions": Promotions(units=2, requests=1)}, "promotions"),
        ({"promotions": Promotions(units=1, requests=2)}, "promotions"),
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
    late = IN_A_STEP.model_copy(update={"under_way": ()})
    killed = GOOD.model_copy(update={"kills_wanted": True, "exit_codes": (4,)})
    assert faults(killed.model_copy(update={"kills": (IN_A_STEP, late)})) == ()
    (fault,) = faults(killed.model_copy(update={"kills": (late,)}))
    assert "ended with (4,)" in fault


def test_only_what_was_committed_on_the_old_primary_before_the_fault_counts() -> None:
    watching = Watching(
        session=None,  # type: ignore[arg-type]
        databases=Databases("pg-a", "pg-b", "15/main"),
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
    stopped = DRILL.model_copy(update={"expect": "stopped-before-promotion"})
    change = {"promotions": Promotions(), "commits": {"pg-a": 100, "pg-b": 0}, "handover_ms": None}
    row = GOOD.model_copy(update=change)
    assert faults(row, stopped, [write("pg-a", 0)]) == ()
    blind = row.model_copy(update={"before_fault": {"client-1": 0, "app-a": 40}})
    (fault,) = faults(blind, stopped, [write("pg-a", 0)])
    assert "from client-1 before the fault" in fault


def test_an_overlap_is_said_with_its_writes() -> None:
    both = [write("pg-a", 0), write("pg-b", 10, number=7), write("pg-a", 100), write("pg-b", 110)]
    found = faults(GOOD, story=both)
    assert "both nodes took writes" in found[0]
    assert "client-1's write 7 on pg-b" in found[0]


def test_a_promotion_in_a_drill_that_must_stop_before_it_is_a_fault() -> None:
    stopped = DRILL.model_copy(update={"expect": "stopped-before-promotion"})
    (fault,) = faults(GOOD, stopped, [write("pg-a", 0)])
    assert "promotions" in fault
    nothing = GOOD.model_copy(update={"promotions": Promotions()})
    assert faults(nothing, stopped, [write("pg-a", 0)]) == ()
