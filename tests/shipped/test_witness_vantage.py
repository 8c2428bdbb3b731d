"""What a run asks of the vantage host, on records written by the test and on real sockets."""

import argparse
import json
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from automation.shipped import vantage

BEAT_NS = 100_000_000
HEADER = {"record": "header", "incarnation": 1, "config": {"beat_ms": 100}}


def line(
    seq: int, verdict: str, *, age_ns: int = -10 * BEAT_NS, probe: str = "pay/write"
) -> dict[str, object]:
    """One finished probe; by default too young to grow stale while a busy machine reads it."""
    wall, mono = time.time_ns() - age_ns, time.monotonic_ns() - age_ns
    return {
        "record": "probe",
        "probe": probe,
        "seq": seq,
        "start_wall_ns": wall,
        "end_wall_ns": wall,
        "start_mono_ns": mono,
        "end_mono_ns": mono,
        "verdict": verdict,
    }


def ask(
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    command: str,
    records: Sequence[dict[str, object]],
    probes: tuple[str, ...] = ("pay/write",),
    within_s: float = 5.0,
) -> tuple[int, dict[str, object]]:
    content = "".join(json.dumps(record) + "\n" for record in [HEADER, *records])
    (folder / "witness.jsonl").write_text(content)
    code = vantage.main(
        [command, "--out", str(folder), "--probes", *probes, "--count", "3", "--timeout", str(within_s)]
    )
    return code, json.loads(capsys.readouterr().out)


def test_three_good_in_a_row_are_seen_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    records = [line(1, "bad"), line(2, "good"), line(3, "good"), line(4, "good")]
    code, answer = ask(capsys, tmp_path, "await-good", records)
    assert (code, answer["met"]) == (0, True)
    assert answer["probes"] == {
        "pay/write": {
            "count": 3,
            "from_wall_ns": records[1]["start_wall_ns"],
            "at_wall_ns": records[3]["end_wall_ns"],
        }
    }


@pytest.mark.parametrize(
    ("command", "verdicts"),
    [
        ("await-good", {1: "good", 2: "good", 3: "bad", 4: "good"}),
        ("await-good", {1: "good", 2: "good", 4: "good", 5: "good"}),
        ("await-good", {1: "good", 2: "good", 3: "good", 4: "bad"}),
        ("await-failed", {1: "bad", 2: "bad", 3: "bad", 4: "good"}),
        ("await-failed", {2: "bad", 3: "bad"}),
        ("await-failed", {}),
    ],
    ids=["interrupted", "one-under-way", "failed-again", "recovered", "too-few", "nothing-yet"],
)
def test_less_than_that_is_not_enough(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, verdicts: dict[int, str]
) -> None:
    code, answer = ask(
        capsys, tmp_path, command, [line(seq, verdict) for seq, verdict in verdicts.items()], within_s=0.05
    )
    assert (code, answer) == (1, {"met": False, "reason": "not within 0.05 s"})


def test_order_of_writing_does_not_matter(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _ = ask(capsys, tmp_path, "await-failed", [line(seq, "bad") for seq in (7, 5, 6)])
    assert code == 0


def test_good_probes_from_before_the_loss_are_old_news(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    records = [line(seq, "good", age_ns=4 * BEAT_NS) for seq in (1, 2, 3)]
    code, _ = ask(capsys, tmp_path, "await-good", records, within_s=0.05)
    assert code == 1


@pytest.mark.parametrize(("command", "code"), [("await-good", 1), ("await-failed", 0)])
def test_good_means_all_probes_and_failed_means_any(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, code: int
) -> None:
    wanted = "good" if command == "await-good" else "bad"
    other = "bad" if command == "await-good" else "good"
    records = [line(seq, wanted) for seq in (1, 2, 3)]
    records += [line(seq, other, probe="pay/health") for seq in (1, 2, 3)]
    within_s = 5 if code == 0 else 0.05
    assert ask(capsys, tmp_path, command, records, ("pay/write", "pay/health"), within_s)[0] == code


def test_a_witness_that_ended_is_told_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, answer = ask(capsys, tmp_path, "await-good", [line(1, "good"), {"record": "end"}])
    assert (code, answer["reason"]) == (1, "the witness has ended")


def test_it_follows_what_is_written_later_even_in_pieces(tmp_path: Path) -> None:
    record = tmp_path / "witness.jsonl"
    record.write_text(json.dumps(HEADER) + "\n" + json.dumps(line(1, "good"))[:20])
    command = [
        "await-good",
        "--out",
        str(tmp_path),
        "--probes",
        "pay/write",
        "--count",
        "2",
        "--timeout",
        "5",
    ]
    waiting = subprocess.Popen(
        [sys.executable, "-IS", vantage.__file__, *command], stdout=subprocess.PIPE, text=True
    )
    with record.open("a") as file:
        file.write(json.dumps(line(1, "good"))[20:] + "\n")
        seq = 1
        while waiting.poll() is None:
            seq += 1
            file.write(json.dumps(line(seq, "good")) + "\n")
            file.flush()
            time.sleep(0.02)
    answer, _ = waiting.communicate()
    assert (waiting.returncode, json.loads(answer)["met"]) == (0, True)


def refused(capsys: pytest.CaptureFixture[str], port: int, *more: str) -> tuple[int, dict[str, object]]:
    code = vantage.main(
        ["refused", "--address", "127.0.0.1", "--port", str(port), "--timeout-ms", "80", *more]
    )
    return code, json.loads(capsys.readouterr().out)


def test_a_closed_port_is_refused_while_another_answers(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed, socket.create_server(("127.0.0.1", 0)) as control:
        port, control_port = closed.getsockname()[1], control.getsockname()[1]
        closed.close()
        code, answer = refused(capsys, port, "--reachable", f"127.0.0.1:{control_port}")
    assert (code, answer["refused"], answer["how"]) == (0, True, "connect_refused")
    assert [control["how"] for control in answer["controls"]] == ["connected"]  # type: ignore[attr-defined]


def test_a_server_that_lets_nobody_in_is_refused_by_timeout(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()):
            code, answer = refused(capsys, full.getsockname()[1])
    assert (code, answer["how"]) == (0, "connect_timeout")


@pytest.mark.parametrize(
    ("age_ns", "error", "how"),
    [
        (-1_000_000_000, "unreachable", "connect_timeout,unreachable"),
        (1_000_000_000, "unreachable", "connect_timeout"),
        (-1_000_000_000, "connect_timeout", "connect_timeout"),
    ],
    ids=["told no meanwhile", "told no before", "not told either"],
)
def test_what_the_witness_is_told_meanwhile_counts_when_the_vantage_hears_silence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, age_ns: int, error: str, how: str
) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        header = {
            "record": "header",
            "config": {"beat_ms": 100, "probes": [{"id": "pay/write", "port": port}]},
        }
        told = {**line(1, "bad", age_ns=age_ns), "address": "127.0.0.1", "error": error}
        (tmp_path / "witness.jsonl").write_text(json.dumps(header) + "\n" + json.dumps(told) + "\n")
        with socket.create_connection(full.getsockname()):
            code, answer = refused(capsys, port, "--out", str(tmp_path), "--overhear-s", "0.1")
    assert (code, answer["how"]) == (0, how)


def test_one_connection_made_disproves_the_fence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as alive:
        code, answer = refused(capsys, alive.getsockname()[1])
    assert (code, answer["refused"]) == (1, False)


def test_a_connection_that_could_not_be_tried_proves_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = vantage.main(["refused", "--address", "x" * 64 + ".city", "--port", "5432"])
    assert (code, json.loads(capsys.readouterr().out)["refused"]) == (2, False)


def test_the_tail_of_a_long_record_is_enough(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    records = [line(seq, "bad") for seq in range(1, 2000)] + [line(seq, "good") for seq in range(2000, 2003)]
    assert ask(capsys, tmp_path, "await-good", records)[0] == 0


def test_wrong_usage_exits_2() -> None:
    with pytest.raises(SystemExit) as ended:
        vantage.parser().parse_args(["await-good", "--out", "/nowhere"])
    assert ended.value.code == 2
    assert isinstance(vantage.parser(), argparse.ArgumentParser)
