"""Reading the witness's record back, also one that was cut off or written across a clock change."""

import json

from automation.recovery.history import ProbeRecord, WriteRecord, read_history

HEADER = {
    "record": "header",
    "incarnation": 1,
    "host": "client-1",
    "clock": {"wall_ns": 1_000_000, "mono_ns": 400_000},
    "resolver": {"/etc/resolv.conf": "nameserver 10.77.2.10\n"},
    "config": {"beat_ms": 100, "timeout_ms": 2000},
}


def probe(seq: int, **more: object) -> dict[str, object]:
    record = {"record": "probe", "probe": "pay/write", "seq": seq, "error": None, "address": "10.77.1.30"}
    times = {"start_wall_ns": 7, "end_wall_ns": 7, "start_mono_ns": 500_000, "end_mono_ns": 600_000}
    return {**record, **times, **more}


def lines(*records: dict[str, object]) -> list[str]:
    return [json.dumps(record) for record in records]


def test_times_advance_with_the_monotonic_clock_from_the_header() -> None:
    history = read_history(lines(HEADER, probe(1)))
    assert history.probes["pay/write"] == (ProbeRecord(1, 1_100_000, 1_200_000, None, "10.77.1.30"),)


def test_the_offset_brings_them_to_the_clock_of_the_control_node() -> None:
    history = read_history(lines(HEADER, probe(1)), offset_s=0.0001, uncertainty_s=0.5)
    assert history.probes["pay/write"][0].start_ns == 1_000_000
    assert (history.offset_s, history.uncertainty_s) == (0.0001, 0.5)


def test_each_start_of_the_witness_has_its_own_origin() -> None:
    again = {**HEADER, "clock": {"wall_ns": 9_000_000, "mono_ns": 500_000}}
    history = read_history(lines(HEADER, probe(1), again, probe(2)))
    assert [one.start_ns for one in history.probes["pay/write"]] == [1_100_000, 9_000_000]
    assert history.starts == 2


def test_probes_are_given_in_order_of_their_numbers() -> None:
    history = read_history(lines(HEADER, probe(3), probe(1), probe(2)))
    assert [one.seq for one in history.probes["pay/write"]] == [1, 2, 3]


def test_a_write_that_was_sent_and_never_answered_for_is_in_doubt() -> None:
    sending = {"record": "sending", "probe": "pay/write", "seq": 2, "reference": "r/2", "wall_ns": 5_000}
    answered = [{**sending, "reference": "r/1"}, probe(1, reference="r/1", write="acknowledged")]
    history = read_history(lines(HEADER, *answered, sending))
    assert history.writes["pay/write"] == {
        "r/1": WriteRecord("acknowledged", 1_200_000, 1_100_000),
        "r/2": WriteRecord("in_doubt", 5_000, 5_000),
    }


def test_a_note_of_sending_never_undoes_a_result() -> None:
    sending = {"record": "sending", "probe": "pay/write", "seq": 1, "reference": "r/1", "wall_ns": 5_000}
    history = read_history(lines(HEADER, probe(1, reference="r/1", write="refused", error="x"), sending))
    assert history.writes["pay/write"]["r/1"].fate == "refused"


def test_a_line_that_was_cut_off_is_passed_over() -> None:
    cut = [*lines(HEADER, probe(1)), '{"record":"probe","pro', "", "[1]"]
    assert len(read_history(cut).probes["pay/write"]) == 1


def test_missed_beats_and_the_orderly_end_are_known() -> None:
    history = read_history(lines(HEADER, {"record": "missed", "probe": "p", "beats": 3}, {"record": "end"}))
    assert (history.missed_beats, history.ended_in_order, history.beat_s) == (3, True, 0.1)


def test_nothing_at_all_is_an_empty_history() -> None:
    assert read_history([]).probes == {}
