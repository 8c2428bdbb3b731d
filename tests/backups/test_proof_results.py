"""What a run of proofs showed: bad is told apart from what came to no verdict."""

from datetime import UTC, datetime
from typing import Any

from automation.backups.proof_results import ProofRow, fold_results
from automation.backups.proving import LeftOut, Unit
from automation.engine.journal import GENESIS
from automation.model.backup_evidence import PointProven, PointRestored, ProofFailed, RepositoryChecked
from automation.model.evidence import Evidence
from automation.model.records import Event, Failure, Outcome, StepEnded
from automation.model.recovery_points import Level

AT = datetime(2026, 11, 22, 3, tzinfo=UTC)
SHARE = Unit(
    resource="share", store="nas", level=Level.L3, point="p", steps=("share/nas/prove", "share/nas/clear")
)
DUMP = Unit(
    resource="dump",
    store="nas",
    level=Level.L4,
    point="p",
    steps=("dump/nas/restore", "dump/nas/examine", "dump/nas/remove", "dump/nas/clear"),
)
WHOLE = Unit(resource="", store="nas", level=Level.L2, steps=("nas/read-3",))
PROVEN = PointProven(
    resource="share",
    store="nas",
    point="p",
    level=Level.L3,
    seconds=2.5,
    size_bytes=70,
    found=("9 equal",),
    host="bk",
)
RESTORED = PointRestored(
    resource="dump", store="nas", point="p", host="bk", to="/x", seconds=4.0, size_bytes=900
)
BAD = ProofFailed(resource="share", store="nas", point="p", level=Level.L3, found=("/srv/a differs",))


def good(step: str, evidence: Evidence | None = None) -> StepEnded:
    return StepEnded(
        step=step, status="succeeded", outcome=Outcome(changed=True, summary="", evidence=evidence)
    )


def bad(step: str, evidence: Evidence | None = None, message: str = "no answer") -> StepEnded:
    failure = Failure(error="AdapterError", message=message, evidence=evidence)
    return StepEnded(step=step, status="failed", failure=failure)


def rows(unit: Unit, *ends: StepEnded, **more: Any) -> tuple[ProofRow, ...]:
    events = [
        Event(sequence=number, at=AT, body=end, previous=GENESIS, hash=GENESIS)
        for number, end in enumerate(ends)
    ]
    return fold_results([unit], more.get("left_out", ()), events, more.get("simulated", ()))


def test_what_a_simulated_store_showed_says_so() -> None:
    ends = (good("share/nas/prove", PROVEN), good("share/nas/clear"))
    assert [rows(SHARE, *ends, simulated=stores)[0].source for stores in ((), ("nas",))] == [
        "real",
        "simulated",
    ]


def test_a_point_that_was_found_good_is_proven() -> None:
    (row,) = rows(SHARE, good("share/nas/prove", PROVEN), good("share/nas/clear"))
    assert (row.result, row.seconds, row.size_bytes, row.said) == ("proven", 2.5, 70, ("9 equal",))


def test_a_point_that_was_found_bad_has_failed_whatever_was_removed_after_it() -> None:
    (row,) = rows(SHARE, bad("share/nas/prove", BAD), good("share/nas/clear"))
    assert (row.result, row.said, row.left_behind) == ("failed", ("/srv/a differs",), "")


def test_a_host_that_does_not_answer_proves_nothing_and_finds_nothing_bad() -> None:
    (row,) = rows(SHARE, bad("share/nas/prove"), bad("share/nas/clear", message="no answer either"))
    assert (row.result, row.said, row.left_behind) == ("broken off", ("no answer",), "no answer either")


def test_of_several_failures_the_first_is_the_reason() -> None:
    ends = (bad("dump/nas/restore", message="no room"), bad("dump/nas/examine", message="no such cluster"))
    (row,) = rows(DUMP, *ends, good("dump/nas/remove"), good("dump/nas/clear"))
    assert row.said == ("no room",)


def test_time_and_size_of_a_proof_in_several_steps_are_those_of_its_restore() -> None:
    opened = PROVEN.model_copy(
        update={"resource": "dump", "level": Level.L4, "seconds": 0.0, "size_bytes": 0}
    )
    (row,) = rows(DUMP, good("dump/nas/restore", RESTORED), good("dump/nas/examine", opened))
    assert (row.result, row.seconds, row.size_bytes) == ("proven", 4.0, 900)


def test_a_part_that_was_read_is_told_as_one() -> None:
    read = RepositoryChecked(store="nas", level=Level.L2, part=3, parts=30, seconds=9.0, size_bytes=5)
    (row,) = rows(WHOLE, good("nas/read-3", read))
    assert (row.result, row.subject, row.said) == (
        "proven",
        "the whole repository",
        ("part 3 of 30 can be read",),
    )


def test_what_did_not_begin_and_what_was_left_out_were_not_tried() -> None:
    left = LeftOut(resource="share", store="vault", level=Level.L3, reason="no room")
    found = rows(SHARE, left_out=[left])
    assert [(row.store, row.result) for row in found] == [("nas", "not tried"), ("vault", "not tried")]


def test_the_last_end_of_a_step_counts() -> None:
    (row,) = rows(SHARE, bad("share/nas/prove"), good("share/nas/prove", PROVEN))
    assert row.result == "proven"
