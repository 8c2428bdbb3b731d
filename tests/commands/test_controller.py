"""Reading how far a run had come when its controller was killed."""

import json
from pathlib import Path

from automation.commands._controller import steps


def line(kind: str, step: str = "") -> str:
    return json.dumps({"body": {"kind": kind, **({"step": step} if step else {})}}) + "\n"


def test_a_journal_that_was_cut_off_still_says_what_was_under_way(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    told = [line("run-opened"), line("step-started", "a"), line("step-ended", "a"), line("step-started", "b")]
    journal.write_text("".join(told) + '{"body":{"kind":"step-en')
    started, ended = steps(journal)
    assert started - ended == {"b"}


def test_a_run_without_a_journal_has_come_nowhere(tmp_path: Path) -> None:
    assert steps(tmp_path / "journal.jsonl") == (set(), set())
