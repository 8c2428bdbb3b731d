"""The bench beside lynis: what it reads of a scan, what it leaves on a host, how both times are shown."""

from collections.abc import Sequence

import pytest

from automation.model.errors import AutomationError
from automation.model.records import Completed
from bench.hardening import FOLDER, PACKED, Ours, Row, Scan, read_report, scan, table

REPORT = """\
lynis_version=3.0.8
warning[]=MAIL-8818|Found some information disclosure in SMTP banner|-|-|
suggestion[]=AUTH-9230|Configure password hashing rounds in /etc/login.defs|-|-|
suggestion[]=AUTH-9328|Default umask in /etc/login.defs could be more strict like 027|-|-|
hardening_index=59
lynis_tests_done=235
finish=true
"""
SCAN = Scan(tests=235, passed=84, warnings=1, suggestions=2, index=59)


class Host:
    """Answers as a host does; `breaks` is a word at which a command fails."""

    def __init__(self, breaks: str = "") -> None:
        self.breaks = breaks
        self.asked: list[str] = []
        self.files: set[str] = set()

    def run(self, argv: Sequence[str], stdin: str | None = None, timeout_s: float = 30.0) -> Completed:
        self.asked.append(" ".join(argv))
        failed = bool(self.breaks) and self.breaks in argv
        said = "84\n" if "grep" in argv else REPORT if "cat" in argv else ""
        return Completed(exit_code=int(failed), stdout=said, stderr="no room" if failed else "")

    def put(self, path: str, content: bytes, mode: int = 0o600) -> None:
        self.files.add(path)

    def get(self, path: str) -> bytes:
        raise AssertionError(path)


def test_a_scan_is_counted() -> None:
    assert read_report(REPORT, 84) == SCAN


@pytest.mark.parametrize("lost", ["finish=true\n", "hardening_index=59\n", "lynis_tests_done=235\n"])
def test_a_scan_that_did_not_end_is_no_result(lost: str) -> None:
    with pytest.raises(AutomationError, match="did not come to its end"):
        read_report(REPORT.replace(lost, ""), 84)


@pytest.mark.parametrize("breaks", ["", "tar", "./lynis", "grep"])
def test_nothing_is_left_on_a_host_whatever_happens(breaks: str) -> None:
    host = Host(breaks)
    if breaks:
        with pytest.raises(AutomationError, match=r"ended with 1: no room"):
            scan(host, b"x")
    else:
        assert scan(host, b"x") == SCAN
    assert PACKED in host.files
    assert host.asked[-1] == f"sudo -n rm -rf {FOLDER} {PACKED}"


def test_both_times_stand_beside_each_other_and_only_what_was_seen_twice_is_summed() -> None:
    before = {
        "pg-a": Row(SCAN, Ours(passed=40, failed=9, unknown=3)),
        "pg-b": Row(SCAN, Ours(passed=41, failed=8, unknown=3)),
    }
    after = {"pg-a": [[235, 90, 0, 1, 64], [49, 0, 3]]}  # as JSON has it
    lines = [" ".join(line.split()) for line in table(before, after).splitlines()]
    assert lines[1] == "pg-a 235 -> 235 84 -> 90 1 -> 0 2 -> 1 59 -> 64 40 -> 49 9 -> 0 3 -> 3"
    assert lines[2] == "pg-b 235 84 1 2 59 41 8 3"
    assert lines[3] == lines[1].replace("pg-a", "all")
    assert len(table(before, {}).splitlines()) == 4
