"""Sealed evidence: any byte that changes, goes or comes is found, and so is an end that was cut off."""

import hashlib
import json
import random
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from automation.engine import seal
from automation.engine.journal import Journal, event_hash
from automation.engine.seal import Left, check_run, leave_head, parse_heads, read_chain, read_heads
from automation.model.actions import AwaitReady
from automation.model.errors import AdapterError, ConfigError
from automation.model.plan import PLAN_FORMAT, Plan, Step, plan_digest
from automation.model.records import (
    ApprovalRecorded,
    Completed,
    Event,
    Failure,
    Outcome,
    RunClosed,
    RunOpened,
    RunResumed,
    RunSealed,
    StepEnded,
    StepStarted,
)

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
RUN = "20260301-025900-0001"
STEPS = tuple(f"service-{number}/promote" for number in range(13))


def clock() -> Callable[[], datetime]:
    moments = iter(range(10_000))
    return lambda: NOW + timedelta(milliseconds=137 * next(moments))


def plan() -> Plan:
    steps = (Step(id=name, run=AwaitReady(host="pg-b"), why="up is what answers") for name in STEPS)
    return Plan(name="city", environment="lab", mode="exercise", steps=tuple(steps))


def opening() -> RunOpened:
    return RunOpened(
        run_id=RUN,
        plan_format=PLAN_FORMAT,
        plan_name="city",
        plan_digest=plan().digest,
        environment="lab",
        mode="exercise",
        actor="asker",
        node="control-a",
        version="1",
    )


def write(journal: Journal, names: tuple[str, ...]) -> None:
    for name in names:
        journal.append(StepStarted(step=name))
        if name.startswith("service-7"):
            failure = Failure(error="AdapterError", message="größer als gedacht: \"5\" > '4'\n", known=True)
            journal.append(StepEnded(step=name, status="failed", failure=failure))
        else:
            outcome = Outcome(changed=True, summary=f"{name} done, 3.50 s, path C:\\x")
            journal.append(StepEnded(step=name, status="succeeded", outcome=outcome))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("control_node", "another"):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Path:
    """A run of 30 lines that was sealed, with a plan and an artifact."""
    folder = tmp_path_factory.mktemp("runs") / RUN
    (folder / "artifacts").mkdir(parents=True)
    (folder / "plan.json").write_text(plan().model_dump_json(indent=1))
    (folder / "artifacts/witness.jsonl").write_text('{"good": true}\n')
    journal = Journal(folder / "journal.jsonl", clock=clock())
    journal.append(opening())
    write(journal, STEPS)
    closed = journal.append(RunClosed(status="paused"))
    journal.append(seal.seal(folder, closed.hash, key=keys / "control_node", now=NOW))
    journal.close()
    assert len((folder / "journal.jsonl").read_bytes().splitlines()) == 29
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / RUN))


def found(run: Path, keys: Path, *heads: Left) -> list[str]:
    return [str(one) for one in check_run(run, public_key=keys / "control_node.pub", heads=heads)]


def journal_of(run: Path) -> bytes:
    return (run / "journal.jsonl").read_bytes()


def test_an_untouched_run_has_no_findings(run: Path, keys: Path) -> None:
    assert found(run, keys) == []


# --- every byte -------------------------------------------------------------------------------------


@pytest.fixture
def content(made: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The journal; a line that was read once at its place is not read again for every changed byte."""
    monkeypatch.setattr(seal, "_read_line", lru_cache(maxsize=None)(seal._read_line))
    return journal_of(made)


def first_bad(content: bytes) -> int | None:
    bad = read_chain(content)[1]
    return bad.line if bad else None


def line_of(content: bytes, offset: int) -> int:
    return content.count(b"\n", 0, offset) + 1


def test_every_changed_byte_is_found_in_its_line(content: bytes) -> None:
    chosen = random.Random(3)
    for offset, byte in enumerate(content):
        changed = content[:offset] + bytes([byte ^ 1 << chosen.randrange(8)]) + content[offset + 1 :]
        assert first_bad(changed) == line_of(content, offset), f"byte {offset}"


def test_every_letter_in_the_other_case_is_found(content: bytes) -> None:
    """The smallest change there is: T and t, or E and e, may mean the same to a reader of JSON."""
    for offset, byte in enumerate(content):
        if chr(byte).isalpha():
            changed = content[:offset] + bytes([byte ^ 0x20]) + content[offset + 1 :]
            assert first_bad(changed) == line_of(content, offset), f"byte {offset}"


def test_every_removed_byte_is_found_in_its_line(content: bytes) -> None:
    for offset in range(len(content)):
        removed = content[:offset] + content[offset + 1 :]
        assert first_bad(removed) == line_of(content, offset), f"byte {offset}"


@pytest.mark.parametrize("extra", [b" ", b"\n"], ids=["space", "line end"])
def test_every_inserted_byte_is_found_in_its_line(content: bytes, extra: bytes) -> None:
    for offset in range(len(content) + 1):
        inserted = content[:offset] + extra + content[offset:]
        if inserted != content:
            assert first_bad(inserted) in (line_of(content, offset), line_of(content, offset) + 1), offset


def test_every_end_that_was_cut_off_in_a_line_is_found(content: bytes) -> None:
    for offset in range(len(content)):
        if offset and content[offset - 1] != ord("\n"):
            assert first_bad(content[:offset]) == line_of(content, offset), f"byte {offset}"


def test_every_end_that_was_cut_off_between_lines_is_found(run: Path, keys: Path) -> None:
    lines = journal_of(run).splitlines(keepends=True)
    for count in range(len(lines)):
        (run / "journal.jsonl").write_bytes(b"".join(lines[:count]))
        assert any(f"line {max(count, 1)}: " in one for one in found(run, keys)), count


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_other_edit_is_found(made: Path, tmp_path: Path, keys: Path, data: st.DataObject) -> None:
    """Lines moved, doubled, left out; stretches replaced: whatever differs is found."""
    content = journal_of(made)
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    pieces = st.binary(max_size=40) | st.sampled_from(content.splitlines(keepends=True))
    edited = content[:start] + data.draw(pieces) + content[end:]
    run = tmp_path / "edited" / RUN
    shutil.copytree(made, run, dirs_exist_ok=True)
    (run / "journal.jsonl").write_bytes(edited)
    assert bool(found(run, keys)) == (edited != content)


# --- a chain that was written anew -------------------------------------------------------------------


def rewritten(run: Path, keys: Path, key: str) -> None:
    """Somebody with the run's folder, but not the control node's key, writes another story."""
    (run / "journal.jsonl").unlink()
    journal = Journal(run / "journal.jsonl", clock=clock())
    journal.append(opening())
    write(journal, STEPS[:12])
    closed = journal.append(RunClosed(status="succeeded"))
    journal.append(seal.seal(run, closed.hash, key=keys / key, now=NOW))
    journal.close()


def test_a_chain_that_another_key_sealed_is_found(run: Path, keys: Path) -> None:
    rewritten(run, keys, "another")
    assert found(run, keys) == ["line 27: sealed with a key that is not this control node's"]


def test_a_seal_whose_signature_is_another_keys_is_found(run: Path, keys: Path) -> None:
    body = read_chain(journal_of(run))[0][-1].body
    assert isinstance(body, RunSealed)
    place, key = (RUN, 28, body.head), (keys / "control_node.pub").read_text().strip()[:-1]
    forged = seal.sign_text(body.signed, keys / "another", "mainstay-seal")
    public = " ".join(key.split()[:2])
    assert seal._bad_seal(body, place, public) is None
    assert "is not in" in str(seal._bad_seal(body.model_copy(update={"signature": forged}), place, public))
    moved = seal._bad_seal(body, (RUN, 27, body.head), public)
    assert moved == "the seal is of another run or another place"


def test_a_chain_written_anew_with_the_right_key_is_found_by_the_witness(run: Path, keys: Path) -> None:
    left = Left("2026-03-01T03:01:00+00:00", 20, read_chain(journal_of(run))[0][19].hash)
    journal = Journal(run / "other", clock=lambda: NOW)
    journal.append(opening())
    write(journal, STEPS)
    closed = journal.append(RunClosed(status="succeeded"))
    (run / "other").rename(run / "journal.jsonl")
    journal.append(seal.seal(run, closed.hash, key=keys / "control_node", now=NOW))
    journal.close()
    assert found(run, keys) == []
    assert found(run, keys, left) == [
        "line 20: not the line that the witness saw at 2026-03-01T03:01:00+00:00"
    ]


def resumed(run: Path, keys: Path) -> None:
    journal = Journal(run / "journal.jsonl", clock=clock())
    journal.append(RunResumed(actor="asker", node="control-a", version="1"))
    closed = journal.append(RunClosed(status="succeeded"))
    journal.append(seal.seal(run, closed.hash, key=keys / "control_node", now=NOW))
    journal.close()


def test_a_resumed_run_has_a_seal_for_each_of_its_ends(run: Path, keys: Path) -> None:
    resumed(run, keys)
    assert found(run, keys) == []


def test_a_run_cut_off_at_an_earlier_seal_is_found_by_the_witness(run: Path, keys: Path) -> None:
    """The one truncation that leaves a whole journal behind: the end of a run before it was resumed."""
    before = journal_of(run)
    resumed(run, keys)
    events = read_chain(journal_of(run))[0]
    left = Left("2026-03-01T03:01:00+00:00", len(events), events[-1].hash)
    (run / "journal.jsonl").write_bytes(before)
    assert found(run, keys) == []
    assert found(run, keys, left) == [
        "line 30: the journal's end was cut off: the witness saw 32 lines at 2026-03-01T03:01:00+00:00"
    ]


def test_lines_after_the_seal_without_a_resume_are_found(run: Path, keys: Path) -> None:
    journal = Journal(run / "journal.jsonl", clock=clock())
    write(journal, STEPS[:1])
    journal.close()
    assert found(run, keys)[0] == "line 30: stands after the seal, and no resume comes before it"


# --- files ------------------------------------------------------------------------------------------


def other_plan(run: Path) -> None:
    changed = plan().model_copy(update={"mode": "failover"})
    (run / "plan.json").write_text(changed.model_dump_json())


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (
            lambda run: (run / "artifacts/witness.jsonl").write_text("{}"),
            "artifacts/witness.jsonl was changed",
        ),
        (lambda run: (run / "artifacts/witness.jsonl").unlink(), "artifacts/witness.jsonl is missing"),
        (lambda run: (run / "artifacts/new.txt").write_text("x"), "artifacts/new.txt was not there"),
        (lambda run: (run / "plan.json").unlink(), "plan.json is missing"),
        (lambda run: (run / "plan.json").write_text("{"), "plan.json is missing or no plan"),
        (lambda run: (run / "plan.json").write_text("{}"), "plan.json is not the plan that was run"),
        (other_plan, "plan.json is not the plan that was run"),
    ],
    ids=["changed", "removed", "added", "no plan file", "no plan", "an empty plan", "another plan"],
)
def test_a_file_that_is_not_as_it_was_sealed_is_found(
    change: Callable[[Path], object], finding: str, run: Path, keys: Path
) -> None:
    change(run)
    assert any(one.startswith(finding) for one in found(run, keys)), found(run, keys)


def test_a_report_and_a_later_approval_are_no_part_of_what_was_sealed(run: Path, keys: Path) -> None:
    (run / "report.html").write_text("a fold of the journal")
    (run / "approvals").mkdir()
    (run / "approvals/request-run.json").write_text("{}")
    assert found(run, keys) == []


NONCE = "4f" * 16


@pytest.fixture
def approved(run: Path, keys: Path) -> Path:
    """The run, gone on with under an approval, and sealed again; a second approval was never used."""
    (run / "approvals").mkdir()
    for nonce in (NONCE, "5e" * 16):
        (run / f"approvals/{nonce}.json").write_text("what was agreed to")
        (run / f"approvals/{nonce}.json.sig").write_text(f"signature of {nonce}")
    digest = hashlib.sha256(b"what was agreed to").hexdigest()
    record = ApprovalRecorded(
        principal="mira", roles=("coordinator",), nonce=NONCE, approval_digest=digest, expires_at=NOW
    )
    journal = Journal(run / "journal.jsonl", clock=clock())
    journal.append(RunResumed(actor="asker", node="control-a", version="1"))
    journal.append(record)
    closed = journal.append(RunClosed(status="succeeded"))
    journal.append(seal.seal(run, closed.hash, key=keys / "control_node", now=NOW))
    journal.close()
    return run


@pytest.mark.parametrize("change", ["changed", "lost"])
def test_a_signature_beside_an_approval_that_was_used_is_sealed(
    change: str, approved: Path, keys: Path
) -> None:
    assert found(approved, keys) == []
    signature = approved / f"approvals/{NONCE}.json.sig"
    signature.unlink() if change == "lost" else signature.write_text("another one")
    how = "is missing" if change == "lost" else "was changed after the run was sealed"
    assert found(approved, keys) == [f"approvals/{NONCE}.json.sig {how}"]


def test_an_approval_that_was_not_used_may_still_change(approved: Path, keys: Path) -> None:
    (approved / f"approvals/{'5e' * 16}.json.sig").unlink()
    assert found(approved, keys) == []


def test_a_run_sealed_before_signatures_were_holds_still(
    approved: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "_signatures", lambda folder, journal: {})
    journal = Journal(approved / "journal.jsonl", clock=clock())
    journal.append(RunResumed(actor="asker", node="control-a", version="1"))
    closed = journal.append(RunClosed(status="succeeded"))
    journal.append(seal.seal(approved, closed.hash, key=keys / "control_node", now=NOW))
    journal.close()
    assert found(approved, keys) == []


def test_a_journal_of_a_version_that_knew_less_fields_holds_still(run: Path, keys: Path) -> None:
    """A field that came later, such as the torn bytes of a resume, is in none of its lines."""
    events = read_chain(journal_of(run))[0]
    body = RunResumed(kind="run-resumed", actor="a", node="b", version="0")
    number, previous = len(events), events[-1].hash
    digest = event_hash(number, NOW, body, previous, as_read=True)
    event = Event(sequence=number, at=NOW, body=body, previous=previous, hash=digest)
    with (run / "journal.jsonl").open("a") as journal:
        journal.write(event.model_dump_json(exclude_unset=True) + "\n")
    assert b"torn_bytes" not in journal_of(run)
    events, bad = read_chain(journal_of(run))
    assert (len(events), bad) == (number + 1, None)
    changed = journal_of(run).replace(b'"version":"0"', b'"version":"0","torn_bytes":0')
    assert str(read_chain(changed)[1]) == f"line {number + 1}: content does not match its hash"


def test_a_plan_of_a_version_that_knew_less_fields_holds_still(run: Path, keys: Path) -> None:
    words = json.loads((run / "plan.json").read_text())
    del words["approvals"]
    assert plan_digest(words) != plan().digest
    (run / "plan.json").write_text(json.dumps(words))
    folder = run.with_name("older")
    (folder / "runs").mkdir(parents=True)
    older = folder / "runs" / RUN
    shutil.copytree(run, older)
    (older / "journal.jsonl").unlink()
    journal = Journal(older / "journal.jsonl", clock=clock())
    journal.append(opening().model_copy(update={"plan_digest": plan_digest(words)}))
    journal.close()
    assert not [one for one in found(older, keys) if "plan.json" in one]


def test_a_run_of_another_name_is_found(run: Path, keys: Path) -> None:
    other = run.rename(run.with_name("20260301-025900-0002"))
    assert found(other, keys)[0] == f"line 1: this is the journal of run {RUN}"


def test_a_missing_key_is_said_and_not_passed_over(run: Path, keys: Path) -> None:
    findings = check_run(run, public_key=keys / "none.pub")
    assert [str(one) for one in findings] == ["there is no none.pub to check the seal with"]


def test_sealing_without_a_key_is_refused(run: Path, keys: Path) -> None:
    with pytest.raises(ConfigError, match="there is no key"):
        seal.seal(run, "0" * 64, key=keys / "none", now=NOW)


# --- the witness's copy --------------------------------------------------------------------------------


class Here:
    """The witness host is this machine, its folder the test's; sudo is left out."""

    def run(self, argv: list[str], stdin: str | None = None, timeout_s: float = 30.0) -> Completed:
        words = argv[2:] if argv[0] == "sudo" else argv
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return Completed(exit_code=done.returncode, stdout=done.stdout, stderr=done.stderr)


@pytest.fixture
def witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.setattr(seal, "HEADS", str(tmp_path / "heads"))
    return Here()


def test_heads_are_appended_and_read_back(witness: Here) -> None:
    assert read_heads(witness, RUN) == ()  # type: ignore[arg-type]
    leave_head(witness, RUN, 3, "a" * 64)  # type: ignore[arg-type]
    leave_head(witness, RUN, 9, "b" * 64)  # type: ignore[arg-type]
    left = read_heads(witness, RUN)  # type: ignore[arg-type]
    assert [(one.events, one.hash) for one in left] == [(3, "a" * 64), (9, "b" * 64)]


def test_a_witness_that_takes_nothing_is_an_adapter_error(witness: Here, tmp_path: Path) -> None:
    (tmp_path / "heads").write_text("a file where the folder should be")
    with pytest.raises(AdapterError, match="took no copy"):
        leave_head(witness, RUN, 3, "a" * 64)  # type: ignore[arg-type]


def test_a_copy_that_is_no_list_of_heads_is_refused() -> None:
    with pytest.raises(AdapterError, match="not a list of heads"):
        parse_heads("2026-03-01 three aaaa\n")
