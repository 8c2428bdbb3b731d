"""The pause of a planned move: which failed writes were announced, and which were not."""

from datetime import UTC, datetime, timedelta

import pytest

from automation.recovery.history import History, ProbeRecord
from automation.recovery.pauses import measure_pause

BEGAN = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def probe(seq: int, start_s: float, *, good: bool, took_s: float = 0.05) -> ProbeRecord:
    zero = (BEGAN - EPOCH) // timedelta(microseconds=1) * 1000
    start = zero + round(start_s * 1e9)
    return ProbeRecord(seq, start, start + round(took_s * 1e9), None if good else "refused")


def history(*failed_s: float, took_s: float = 0.05) -> History:
    every = [probe(n, n / 10 - 1, good=True) for n in range(60)]
    bad = [probe(100 + n, at, good=False, took_s=took_s) for n, at in enumerate(failed_s)]
    return History(probes={"payments/pay": (*every, *bad)})


@pytest.mark.parametrize(
    ("failed_s", "took_s", "beyond"),
    [
        ((0.1, 0.2, 1.9), 0.05, 0),
        ((), 0.05, 0),
        ((-0.03,), 0.05, 0),
        ((-0.5,), 0.05, 1),
        ((1.0, 2.01), 0.05, 1),
        ((1.9,), 1.0, 0),
    ],
    ids=["within", "none", "under way when it began", "before", "after", "sent within, answered after"],
)
def test_a_failed_write_outside_of_the_announced_pause_is_counted(
    failed_s: tuple[float, ...], took_s: float, beyond: int
) -> None:
    pause = measure_pause(history(*failed_s, took_s=took_s), {"payments/pay"}, BEGAN, 2.0)
    assert pause is not None
    assert (pause.failed, pause.failed_beyond, pause.tried) == (len(failed_s), beyond, 60 + len(failed_s))


def test_a_pause_lasts_from_the_first_failure_to_the_end_of_the_last() -> None:
    pause = measure_pause(history(0.1, 1.1), {"payments/pay"}, BEGAN, 30.0)
    assert pause is not None
    assert pause.lasted_s == pytest.approx(1.05)


def test_what_nobody_wrote_to_is_not_measured() -> None:
    assert measure_pause(history(0.1), {"other/pay"}, BEGAN, 2.0) is None
    assert measure_pause(History(), set(), BEGAN, 2.0) is None
