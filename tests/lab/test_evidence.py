"""Approving, verifying and exporting a run, by what the commands call."""

import dataclasses
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from automation.adapters import keys
from automation.commands import _approvals, _export
from automation.commands._approvals import Answer, approve, describe
from automation.commands._evidence import verify_run
from automation.commands._export import export_run
from automation.commands._session import Session
from automation.engine import admission, approval, seal
from automation.engine.admission import guarded
from automation.engine.approval_words import fill_in, override_request, run_request
from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.finished import Finished
from automation.engine.hooks import Hooks
from automation.engine.journal import read_journal
from automation.engine.run import make_run_folder, resume_run, run_plan
from automation.engine.signers import load_signers
from automation.model.actions import AwaitReady, Promote, StartServer
from automation.model.approvals import ApprovalRule, ApprovalSettings, Request
from automation.model.environment import Inventory, Server, load_environment
from automation.model.errors import AdapterError, ConfigError, PreflightError
from automation.model.plan import Gate, Plan, Step
from automation.model.records import Completed, Outcome, OverrideRecorded, RunSealed
from tests.conftest import ROOT
from tests.engine.people import People

RUN = "20260301-025900-0001"
SERVER = Server(name="pg-b", address="10.77.2.20", site="eoc", provider="nspawn", image="debian-12")


class Witness:
    """The witness host is this machine, its folder the test's; lost when the test says so."""

    lost = False

    def remote(self, host: str) -> "Witness":
        if self.lost:
            raise AdapterError(f"{host} does not answer")
        return self

    def run(self, argv: list[str], stdin: str | None = None, timeout_s: float = 30.0) -> Completed:
        words = argv[2:] if argv[0] == "sudo" else argv
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return Completed(exit_code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def _keys(tmp_path_factory: pytest.TempPathFactory) -> People:
    return People(tmp_path_factory.mktemp("signers"))


@pytest.fixture
def people(_keys: People, monkeypatch: pytest.MonkeyPatch) -> People:
    _keys.write()
    (_keys.folder / "revoked_signers").unlink(missing_ok=True)
    trusting = partial(load_signers, trusted_uid=os.getuid())
    for module in (approval, _approvals, _export):
        monkeypatch.setattr(module, "load_signers", trusting)
    return _keys


@pytest.fixture
def witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Witness:
    monkeypatch.setattr(seal, "HEADS", str(tmp_path / "heads"))
    return Witness()


@pytest.fixture
def session(tmp_path: Path, people: People, witness: Witness) -> Session:
    settings = ApprovalSettings(allowed_signers=people.path)
    environment = load_environment(ROOT, "lab").model_copy(update={"approvals": settings})
    inventory, state = Inventory(servers={"pg-b": SERVER}, digest="1" * 64), tmp_path / "state"
    keys.make_control_node(state)

    def context(run_id: str) -> RunContext:
        return RunContext(
            run_id=run_id,
            environment=environment,
            inventory=inventory,
            state=state,
            images=tmp_path,
            artifacts=state / "runs" / run_id / "artifacts",
            connections=witness,  # type: ignore[arg-type]
            progress=lambda step, text: None,
        )

    return Session(environment, inventory, state, tmp_path, witness.remote, context)  # type: ignore[arg-type]


PROMOTE = Promote(host="pg-b", cluster="15/main", expect_system_identifier="7", expect_timeline=1)


def plan_of(gate: Gate | None = None, roles: tuple[str, ...] = ("dr-coordinator",)) -> Plan:
    step = Step(id="ready/pg-b", run=AwaitReady(host="pg-b"), why="up is what answers", gate=gate)
    rule = ApprovalRule(roles=roles) if roles else None
    return Plan(name="city", environment="lab", mode="failover", steps=(step,), approvals=rule)


def no_overrides(plan: Plan, run_id: str, requester: str) -> tuple[Request, ...]:
    return ()


def work() -> Work:
    def perform(step: Step, ctx: RunContext) -> Outcome:
        (ctx.artifacts / "pg-b.txt").write_text("pg-b answers at 10.77.2.20 for mira, account 4711-0815\n")
        return Outcome(changed=False, summary="pg-b (10.77.2.20) answers")

    return Work(perform=perform)


def start(
    session: Session, plan: Plan, overrides: Callable[..., tuple[Request, ...]] = no_overrides
) -> Finished:
    make_run_folder(session.state, RUN)
    ctx = session.context(RUN)
    return run_plan(plan, ctx, actor="asker", hooks=guarded(Hooks(), ctx, overrides), work=work())


def resume(session: Session, overrides: Callable[..., tuple[Request, ...]] = no_overrides) -> Finished:
    ctx = session.context(RUN)
    return resume_run(ctx, actor="asker", hooks=guarded(Hooks(), ctx, overrides), work=work())


def yes() -> bool:
    return True


@pytest.fixture
def done(session: Session, people: People) -> Session:
    """A run that asked, was approved, and succeeded."""
    with pytest.raises(PreflightError, match="is not approved; nothing was changed"):
        start(session, plan_of())
    approve(session, Answer(RUN, people.folder / "coordinator"), confirm=yes)
    assert resume(session).closed.status == "succeeded"
    return session


# --- approving ------------------------------------------------------------------------------------------


def test_a_run_waits_for_its_approval_and_goes_on_with_it(done: Session) -> None:
    kinds = [event.body.kind for event in read_journal(done.state / "runs" / RUN / "journal.jsonl")]
    assert kinds == [
        *("run-opened", "run-closed", "run-sealed", "run-resumed", "approval-recorded"),
        *("step-started", "step-ended", "run-closed", "run-sealed"),
    ]


def test_the_approver_reads_in_words_what_is_signed(
    session: Session, people: People, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PreflightError):
        start(session, plan_of())
    approve(session, Answer(RUN, people.folder / "coordinator", valid="30 min"), confirm=yes)
    said = capsys.readouterr().err
    for words in (
        "asker asks you, as dr-coordinator",
        f"run {RUN} of plan city, mode failover",
        "1 steps: 1 read",
    ):
        assert words in said


def test_what_cannot_be_taken_back_is_said_before_it_is_signed() -> None:
    steps = (
        Step(id="db/promote", run=PROMOTE, why="pg-b becomes the primary"),
        *(Step(id=f"start/{n}", run=StartServer(host="app-b"), why="start") for n in range(30)),
    )
    plan = plan_of().model_copy(update={"steps": steps})
    request = run_request(plan, RUN, "asker")
    assert request is not None
    words = fill_in(
        request,
        role="dr-coordinator",
        inventory_digest="1" * 64,
        signers_digest="2" * 64,
        expires_at=datetime.now(UTC),
        reason=None,
    )
    said = list(describe(plan, request, words))
    assert "    db/promote (postgresql.promote): pg-b becomes the primary; CANNOT BE TAKEN BACK" in said
    assert any("and 30 more that change something" in line for line in said)


def test_who_says_no_signs_nothing(session: Session, people: People) -> None:
    with pytest.raises(PreflightError):
        start(session, plan_of())
    with pytest.raises(PreflightError, match="was not approved; nothing was signed"):
        approve(session, Answer(RUN, people.folder / "coordinator"), confirm=lambda: False)
    with pytest.raises(PreflightError, match="is not approved"):
        resume(session)


def test_without_a_terminal_nobody_is_asked(session: Session, people: People) -> None:
    with pytest.raises(PreflightError):
        start(session, plan_of())
    with pytest.raises(PreflightError, match="given at a terminal, and this is none"):
        approve(session, Answer(RUN, people.folder / "coordinator"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("asker", "asker asked for this run and may not approve it"),
        ("dba", "dba has not the role dr-coordinator"),
        ("stranger", "is not in"),
    ],
)
def test_a_signature_that_would_not_count_is_refused_at_once(
    name: str, reason: str, session: Session, people: People
) -> None:
    with pytest.raises(PreflightError):
        start(session, plan_of())
    with pytest.raises(PreflightError, match=reason):
        approve(session, Answer(RUN, people.folder / name), confirm=yes)
    assert not list((session.state / "runs" / RUN / "approvals").glob("*.sig"))


def test_a_plan_that_was_edited_since_is_not_signed(session: Session, people: People) -> None:
    with pytest.raises(PreflightError):
        start(session, plan_of())
    path = session.state / "runs" / RUN / "plan.json"
    path.write_text(path.read_text().replace("up is what answers", "another reason"))
    with pytest.raises(PreflightError, match=r"plan\.json of run .* was changed since it asked"):
        approve(session, Answer(RUN, people.folder / "coordinator"), confirm=yes)


def test_an_inventory_edited_after_the_approval_stops_the_run(session: Session, people: People) -> None:
    with pytest.raises(PreflightError):
        start(session, plan_of())
    approve(session, Answer(RUN, people.folder / "coordinator"), confirm=yes)
    edited = session.inventory.model_copy(update={"digest": "2" * 64})
    other = dataclasses.replace(
        session, context=lambda run_id: dataclasses.replace(session.context(run_id), inventory=edited)
    )
    with pytest.raises(PreflightError, match=r"the inventory or environment\.yml is not as it was"):
        resume(other)


def test_a_run_that_asks_nobody_cannot_be_approved(session: Session, people: People) -> None:
    assert start(session, plan_of(roles=())).closed.status == "succeeded"
    with pytest.raises(PreflightError, match="waits for no approval"):
        approve(session, Answer(RUN, people.folder / "coordinator"), confirm=yes)


def test_a_gate_can_be_answered_with_a_signature(session: Session, people: People) -> None:
    plan = plan_of(gate=Gate(role="database-owner", ask="is the old primary off?"), roles=())
    assert start(session, plan).closed.status == "paused"
    approve(session, Answer(RUN, people.folder / "dba", step="ready/pg-b"), confirm=yes)
    assert resume(session).closed.status == "succeeded"
    (answer,) = [
        event.body
        for event in read_journal(session.state / "runs" / RUN / "journal.jsonl")
        if event.body.kind == "gate-answered"
    ]
    assert (answer.by, answer.roles) == ("dba", ("database-owner",))


def lag_over(plan: Plan, run_id: str, requester: str) -> tuple[Request, ...]:
    rule = ApprovalRule(roles=("dr-coordinator", "database-owner"))
    lag = {"step": "ready/pg-b", "observed": "41 s behind", "rule": rule, "question": "lag over RPO"}
    return (override_request(plan, run_id, requester, **lag),)  # type: ignore[arg-type]


@pytest.fixture
def overridden(session: Session, people: People) -> Session:
    """A run that went on because two people accepted the lag."""
    with pytest.raises(PreflightError, match="2 different people"):
        start(session, plan_of(roles=()), lag_over)
    for person, role in (("coordinator", "dr-coordinator"), ("dba", "database-owner")):
        answer = Answer(RUN, people.folder / person, role=role, step="ready/pg-b", reason="the primary burns")
        approve(session, answer, confirm=yes)
    assert resume(session, lag_over).closed.status == "succeeded"
    return session


def test_an_override_needs_two_people_and_stands_in_the_journal(session: Session, people: People) -> None:
    with pytest.raises(PreflightError, match="2 different people"):
        start(session, plan_of(roles=()), lag_over)
    wanted = {"step": "ready/pg-b", "reason": "the primary burns"}
    first = Answer(RUN, people.folder / "coordinator", role="dr-coordinator", **wanted)
    with pytest.raises(ConfigError, match="--reason is missing"):
        approve(session, first._replace(reason=""), confirm=yes)
    approve(session, first, confirm=yes)
    with pytest.raises(PreflightError, match="missing: database-owner"):
        resume(session, lag_over)
    approve(session, Answer(RUN, people.folder / "dba", role="database-owner", **wanted), confirm=yes)
    assert resume(session, lag_over).closed.status == "succeeded"
    journal = list(read_journal(session.state / "runs" / RUN / "journal.jsonl"))
    (record,) = [event.body for event in journal if event.body.kind == "override-recorded"]
    assert (record.principals, record.observed) == (("coordinator", "dba"), "41 s behind")
    assert verify_run(session, RUN).whole


# --- verifying --------------------------------------------------------------------------------------------


def test_a_whole_run_agrees_with_the_witness(done: Session) -> None:
    found = verify_run(done, RUN)
    assert (found.whole, found.sealed, found.witness, found.exit_code) == (True, True, "agrees", 0)


@pytest.mark.parametrize("index", [2, 7], ids=["at-the-seal-before-the-resume", "before-the-last-seal"])
def test_a_copy_that_ends_before_the_last_seal_does_not_agree(done: Session, index: int) -> None:
    copy = Path(seal.HEADS) / RUN
    events = list(read_journal(done.state / "runs" / RUN / "journal.jsonl"))
    last = events[index]
    copy.write_text(f"2026-03-01T03:00:00+00:00 {last.sequence + 1} {last.hash}\n")
    found = verify_run(done, RUN)
    assert (found.whole, found.witness, found.exit_code) == (True, "behind", 3)
    assert f"it covers {last.sequence + 1} of {len(events)} events" in found.lines[-2]


def test_a_copy_cannot_agree_with_a_journal_that_breaks_before_its_end(done: Session) -> None:
    path = done.state / "runs" / RUN / "journal.jsonl"
    path.write_text(path.read_text().replace("answers", "ANSWERS", 1))
    assert verify_run(done, RUN).witness == "differs"


def test_a_lost_witness_is_said_and_is_no_damage(done: Session, witness: Witness) -> None:
    witness.lost = True
    found = verify_run(done, RUN)
    assert (found.whole, found.witness, found.exit_code) == (True, "not-reached", 3)
    assert "does not answer" in found.lines[-2]


def test_a_lost_witness_does_not_hold_up_a_run(session: Session, witness: Witness) -> None:
    witness.lost = True
    assert start(session, plan_of(roles=())).closed.status == "succeeded"
    assert (session.state / "runs" / RUN / "journal.jsonl").read_text().count("run-sealed") == 1


def test_heads_are_left_while_a_run_lasts(session: Session) -> None:
    make_run_folder(session.state, RUN)
    ctx = session.context(RUN)
    hooks = guarded(Hooks(heartbeat_s=0.02), ctx, no_overrides)
    copy = Path(seal.HEADS) / RUN

    def perform(step: Step, ctx: RunContext) -> Outcome:
        deadline = time.monotonic() + 20
        while not copy.is_file() and time.monotonic() < deadline:
            time.sleep(0.01)
        return Outcome(changed=False, summary="a head was left" if copy.is_file() else "none was left")

    run_plan(plan_of(roles=()), ctx, actor="asker", hooks=hooks, work=Work(perform=perform))
    assert "a head was left" in (session.state / "runs" / RUN / "journal.jsonl").read_text()
    found = verify_run(session, RUN)
    assert (found.witness, found.witness_heads > 1) == ("agrees", True)


def test_a_witness_that_hangs_does_not_hold_up_a_run(
    session: Session, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = threading.Event()
    monkeypatch.setattr(admission, "LAST_HEAD_S", 0.05)
    monkeypatch.setattr(Witness, "run", lambda *words, **more: never.wait())
    assert start(session, plan_of(roles=())).closed.status == "succeeded"
    assert not never.is_set()


def test_a_changed_line_is_named(done: Session) -> None:
    path = done.state / "runs" / RUN / "journal.jsonl"
    path.write_text(path.read_text().replace("answers", "ANSWERS", 1))
    found = verify_run(done, RUN)
    assert found.exit_code == 6
    assert found.findings[0].startswith("line 7: ")


def test_a_journal_cut_at_a_line_end_is_found_with_and_without_the_witness(
    done: Session, witness: Witness
) -> None:
    path = done.state / "runs" / RUN / "journal.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert verify_run(done, RUN).witness == "differs"
    witness.lost = True
    assert (
        verify_run(done, RUN)
        .findings[0]
        .startswith("line 8: no seal follows: the run is closed but not sealed")
    )


def test_an_approval_edited_afterwards_is_found(done: Session) -> None:
    (path,) = (p for p in (done.state / "runs" / RUN / "approvals").glob("*.json") if "request" not in p.name)
    path.write_text(path.read_text().replace("asker", "other"))
    assert (
        f"line 5: {path.name} is missing or not the approval that was used" in verify_run(done, RUN).findings
    )


@pytest.mark.parametrize("person", [0, 1])
def test_an_override_edited_or_lost_afterwards_is_found(overridden: Session, person: int) -> None:
    folder = overridden.state / "runs" / RUN
    assert verify_run(overridden, RUN).whole
    journal = list(read_journal(folder / "journal.jsonl"))
    (record,) = [event for event in journal if isinstance(event.body, OverrideRecorded)]
    path = folder / "approvals" / f"{record.body.nonces[person]}.json"  # type: ignore[union-attr]
    wanted = f"line {record.sequence + 1}: {path.name} is missing or not the approval that was used"
    path.write_text(path.read_text().replace("41 s", "1 s"))
    assert wanted in verify_run(overridden, RUN).findings
    path.unlink()
    assert wanted in verify_run(overridden, RUN).findings


# --- exporting ----------------------------------------------------------------------------------------------


def unpacked(archive: Path, into: Path) -> Path:
    into.mkdir()
    subprocess.run(["tar", "-xzf", str(archive), "-C", str(into)], check=True)
    return into / RUN


def sh(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=False)


def test_every_command_of_the_exported_readme_works_by_hand(done: Session, tmp_path: Path) -> None:
    export_run(done, RUN, tmp_path / "run.tar.gz", redact=False)
    folder = unpacked(tmp_path / "run.tar.gz", tmp_path / "there")
    commands = [
        line.strip() for line in (folder / "README.txt").read_text().splitlines() if line.startswith("     ")
    ]
    assert len(commands) == 6
    answers = []
    for command in commands:
        answer = sh(command, folder)
        assert answer.returncode == 0, (command, answer.stderr)
        answers.append(answer.stdout)
    sealed = json.loads((folder / "seal.json").read_text())
    assert answers[1].startswith('Good "mainstay-seal" signature for control-node')
    assert answers[2].split()[0] == sealed["journal"]
    assert answers[4].startswith('Good "mainstay-approval" signature for coordinator')
    (words,) = [json.loads(p.read_text()) for p in folder.glob("approvals/*.json") if "request" not in p.name]
    assert answers[5].split()[0] == words["signers_digest"]


def test_the_safety_model_shows_the_same_commands(done: Session, tmp_path: Path) -> None:
    export_run(done, RUN, tmp_path / "run.tar.gz", redact=False)
    folder = unpacked(tmp_path / "run.tar.gz", tmp_path / "there")
    shown = (ROOT / "docs/safety-model.md").read_text()
    (nonce,) = [p.stem for p in folder.glob("approvals/*.json") if "request" not in p.name]
    for line in (folder / "README.txt").read_text().splitlines():
        if "ssh-keygen" in line and line.startswith("     "):
            assert line.strip().replace(nonce, "NONCE").replace("coordinator", "PERSON") in shown


def test_an_edit_in_the_archive_is_found_by_hand(done: Session, tmp_path: Path) -> None:
    export_run(done, RUN, tmp_path / "run.tar.gz", redact=False)
    folder = unpacked(tmp_path / "run.tar.gz", tmp_path / "there")
    with (folder / "artifacts/pg-b.txt").open("a") as file:
        file.write("one more line\n")
    assert sh("sha256sum -c SHA256SUMS", folder).returncode == 1


def test_two_exports_are_the_same_bytes(done: Session, tmp_path: Path) -> None:
    for name in ("one.tar.gz", "two.tar.gz"):
        export_run(done, RUN, tmp_path / name, redact=False)
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


def test_an_archive_is_never_written_over(done: Session, tmp_path: Path) -> None:
    (tmp_path / "run.tar.gz").write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        export_run(done, RUN, tmp_path / "run.tar.gz", redact=False)


def test_a_redacted_copy_names_nobody_and_no_place(done: Session, tmp_path: Path) -> None:
    names = export_run(done, RUN, tmp_path / "run.tar.gz", redact=True)
    folder = unpacked(tmp_path / "run.tar.gz", tmp_path / "there")
    everything = "\n".join([*names, *(p.read_text() for p in folder.rglob("*") if p.is_file())])
    for known in ("pg-b", "10.77.2.20", "asker", "coordinator ", "ssh-ed25519", "BEGIN SSH"):
        assert known not in everything, known
    assert "This is a REDACTED copy" in everything
    assert not any(name.endswith((".sig", "signers")) for name in names)


def test_a_redacted_copy_says_which_original_it_is_of(done: Session, tmp_path: Path) -> None:
    export_run(done, RUN, tmp_path / "run.tar.gz", redact=True)
    folder = unpacked(tmp_path / "run.tar.gz", tmp_path / "there")
    last = list(read_journal(done.state / "runs" / RUN / "journal.jsonl"))[-1]
    assert isinstance(last.body, RunSealed)
    assert last.hash in (folder / "README.txt").read_text()
    lines = (folder / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["body"]["kind"] for line in lines][-1] == "run-sealed"
    assert "digest-" in lines[-1]


def test_a_file_that_is_no_text_is_left_out_of_a_redacted_copy(done: Session, tmp_path: Path) -> None:
    (done.state / "runs" / RUN / "artifacts/core.bin").write_bytes(b"\xff\xfepg-b")
    names = export_run(done, RUN, tmp_path / "run.tar.gz", redact=True)
    folder = unpacked(tmp_path / "run.tar.gz", tmp_path / "there")
    assert "artifacts/core.bin" not in names
    assert "artifacts/core.bin" in (folder / "README.txt").read_text()


def test_the_moment_of_a_seal_is_now(done: Session) -> None:
    last = list(read_journal(done.state / "runs" / RUN / "journal.jsonl"))[-1]
    assert isinstance(last.body, RunSealed)
    sealed_at = datetime.fromisoformat(json.loads(last.body.signed)["sealed_at"])
    assert abs((datetime.now(UTC) - sealed_at).total_seconds()) < 60
