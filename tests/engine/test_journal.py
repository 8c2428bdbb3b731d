"""The journal: what was appended is read back, and damage is named."""

from pathlib import Path

import pytest

from automation.engine.journal import Journal, read_journal
from automation.model.errors import AutomationError
from automation.model.records import RunClosed, StepStarted


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "journal.jsonl"
    writer = Journal(path)
    for name in ("one", "two", "three"):
        writer.append(StepStarted(step=name))
    writer.close()
    return path


def test_events_are_read_back_in_order(journal: Path) -> None:
    assert [event.body.step for event in read_journal(journal)] == ["one", "two", "three"]


def test_a_reopened_journal_goes_on_with_the_same_chain(journal: Path) -> None:
    writer = Journal(journal)
    writer.append(RunClosed(status="succeeded"))
    writer.close()
    assert [event.sequence for event in read_journal(journal)] == [0, 1, 2, 3]


@pytest.mark.parametrize("line", [1, 2, 3])
def test_a_changed_line_is_named(journal: Path, line: int) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[line - 1] = lines[line - 1].replace(b'"step":"', b'"step":"x')
    journal.write_bytes(b"".join(lines))
    with pytest.raises(AutomationError, match=f"damaged at line {line}"):
        list(read_journal(journal))


def test_a_removed_line_is_named(journal: Path) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + lines[2])
    with pytest.raises(AutomationError, match="damaged at line 2"):
        list(read_journal(journal))


def test_a_torn_last_line_is_named(journal: Path) -> None:
    journal.write_bytes(journal.read_bytes()[:-10])
    with pytest.raises(AutomationError, match="damaged at line 3"):
        list(read_journal(journal))


def test_every_line_is_on_the_disk_before_append_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    monkeypatch.setattr("os.fdatasync", lambda fd: synced.append((tmp_path / "j").read_bytes().count(b"\n")))
    writer = Journal(tmp_path / "j")
    writer.append(StepStarted(step="one"))
    writer.append(StepStarted(step="two"))
    assert synced == [1, 2]


def test_a_full_disk_stops_before_the_next_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(fd: int) -> None:
        raise OSError(28, "No space left on device")

    writer = Journal(tmp_path / "j")
    monkeypatch.setattr("os.fdatasync", no_space)
    with pytest.raises(AutomationError, match="no further effect was started"):
        writer.append(StepStarted(step="one"))
