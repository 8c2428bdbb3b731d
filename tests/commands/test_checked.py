"""What a drill under the checker must show, and what it says when it does not."""

import pytest

from automation.commands._checked import CheckedRow, Promotions, Watched, find_faults
from automation.recovery.overlap import Attempt, fold_writability, read_record
from automation.recovery.spec import Drill
from tests.recovery.test_overlap import record_of, write

WATCH_S = 10.0
ENOUGH = Watched(tried=480, committed=0)
GOOD = CheckedRow(
    run_id="r",
    verdict="met",
    kills=(),
    exit_codes=(0,),
    promotions=Promotions(units=1, requests=1),
    periods={"pg-a": 1, "pg-b": 1},
    commits={"pg-a": 100, "pg-b": 100},
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
        ({"verdict": "failed"}, "verdict is failed"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_whatever_must_not_be_is_said(change: dict[str, object], word: str) -> None:
    (fault,) = faults(GOOD.model_copy(update=change))
    assert word in fault


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
