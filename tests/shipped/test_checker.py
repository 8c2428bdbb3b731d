"""The checker's own rules; how it writes to real servers is shown by the lab suite."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from automation.adapters.checker import BEAT_MS, CONNECTIONS, LANES
from automation.shipped import checker
from automation.shipped.checker import Ledger, became, header

CONFIG = {
    "watch": "w",
    "writer": "app-a",
    "beat_ms": 20,
    "lanes": 16,
    "user": "u",
    "password": "let-me-in",
    "database": "d",
    "targets": [{"node": "pg-a", "address": "192.0.2.1", "port": 5432}],
}


@pytest.mark.parametrize(
    ("code", "sent", "outcome"),
    [
        ("25006", True, "refused"),
        ("57P03", False, "refused"),
        ("28P01", False, "refused"),
        (None, False, "failed"),
        (None, True, "in_doubt"),
        ("57P01", True, "in_doubt"),
    ],
    ids=[
        "a standby says that it is read-only",
        "a server that starts up takes no connection",
        "a wrong password",
        "no connection was made",
        "the connection broke after the write was sent",
        "a server that is told to end may have committed",
    ],
)
def test_what_became_of_a_write_that_ended_with_an_error(code: str | None, sent: bool, outcome: str) -> None:
    assert became(code, sent) == outcome


def lines(folder: Path) -> list[str]:
    return (folder / checker.FILE).read_text().splitlines()


def test_a_second_start_counts_itself_and_mends_a_line_that_was_cut_off(tmp_path: Path) -> None:
    first = Ledger(str(tmp_path))
    first.write(header(CONFIG, first.incarnation))
    os.write(first._fd, b'{"record":"wri')
    os.close(first._fd)
    second = Ledger(str(tmp_path))
    second.write(header(CONFIG, second.incarnation))
    assert second.incarnation == 2
    assert [json.loads(line)["incarnation"] for line in (lines(tmp_path)[0], lines(tmp_path)[2])] == [1, 2]


def test_two_checkers_never_share_a_record(tmp_path: Path) -> None:
    first = Ledger(str(tmp_path))
    with pytest.raises(BlockingIOError):
        Ledger(str(tmp_path))
    first.close()


def test_the_record_holds_no_password(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    ledger.write(header(CONFIG, ledger.incarnation))
    assert CONFIG["password"] not in "".join(lines(tmp_path))


def test_a_disk_that_is_full_is_noticed() -> None:
    ledger = Ledger.__new__(Ledger)
    ledger._fd, ledger.broken = os.open("/dev/full", os.O_WRONLY), None
    ledger.write({"record": "end"})
    assert ledger.broken is not None


def test_no_beat_waits_for_a_hanging_node_and_none_is_refused_for_want_of_connections() -> None:
    assert BEAT_MS * LANES >= 6 * 20 * 2, "a new connection over the WAN takes six round trips of 20 ms"
    assert 3 * LANES <= CONNECTIONS


def test_faulty_words_end_with_exit_code_2(tmp_path: Path) -> None:
    program = str(Path(checker.__file__))
    for words in ([], [str(tmp_path / "missing.json")]):
        done = subprocess.run([sys.executable, "-I", program, *words], capture_output=True, check=False)
        assert done.returncode == 2
