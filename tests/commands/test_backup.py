"""Commands on backups, typed against stores that are lists: what they do, say, and end with."""

import io
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from invoke import Context as InvokeContext
from invoke import Exit

from automation.commands import _session, backup
from automation.commands._ledger import FILE, FOLDER, note, read_ledger
from automation.commands._rotation import refuse_changed
from automation.commands._session import Session
from automation.engine import dispatch
from automation.engine.context import RunContext
from automation.model.actions import Action, ForgetPoints
from automation.model.actions.restic import Repository
from automation.model.backup_evidence import DoubtCleared, PointTaken, TakeFailed
from automation.model.environment import Inventory, RunRetention, Server, load_environment
from automation.model.errors import PreflightError
from automation.model.plan import Plan, Step
from automation.model.records import Context, Failure, Outcome, RunClosed, StepEnded, StepStarted
from tests.backups.entries import entry, proven
from tests.conftest import ROOT
from tests.fakes.runs import write_run
from tests.fakes.stores import FakeStores

DAY = timedelta(days=1)
BACKUPS = """\
version: 1
tz: America/New_York
stores:
  nas: {type: restic, repository: "sftp:b@nas:/nas", keeper: {host: bk-a, repository: /nas}, site: hall}
  eoc:
    type: restic
    repository: "sftp:b@eoc:/eoc"
    keeper: {host: bk-b, repository: /eoc}
    site: eoc
    copy_of: nas
rule: {copies: 3, media: 1, offsite: 1, immutable: 0}
retention:
  standard: {last: 2, daily: 5, keep_oldest: false}
guards: {min_keep: 2, max_delete: {percent: 50, count: 100}}
scratch: bk-b
resources:
  share:
    source: {kind: files, host: files-a, paths: [/srv/share], must_exist: [/srv/share/.here]}
    rpo: 24 h
    take: {every: 1 day}
    to: [nas, eoc]
    keep: {profile: standard}
    verify: [{level: L3, every: 1 week}]
  plans:
    source: {kind: files, host: files-a, paths: [/srv/plans], must_exist: [/srv/plans/.here]}
    rpo: 24 h
    take: {every: 1 day}
    to: [nas, eoc]
    keep: {profile: standard}
    verify: [{level: L3, every: 1 week}]
"""


class Desk:
    """A person at a desk: an environment of two resources, its stores, and the commands."""

    def __init__(self, session: Session, stores: FakeStores, capsys: pytest.CaptureFixture[str]) -> None:
        self.session, self.stores, self.capsys = session, stores, capsys
        self.out = self.err = ""

    def type(self, name: str, **flags: Any) -> int:
        """Type a command; give its exit code, and keep what it prints."""
        self.capsys.readouterr()
        code = 0
        try:
            getattr(backup, name)(InvokeContext(), env="lab", **flags)
        except Exit as exc:
            code = exc.code
        self.out, self.err = self.capsys.readouterr()
        return code

    def shown(self, name: str, **flags: Any) -> tuple[int, Any]:
        """Type a command; give its exit code and what it prints for programs."""
        code = self.type(name, json=True, **flags)
        assert self.out, self.err
        return code, json.loads(self.out)

    def past(self, days: int, resource: str = "share", store: str = "nas") -> list[str]:
        """Have a point a day in a store, each made by a job, newest first; the newest an hour ago."""
        now = datetime.now(UTC) - timedelta(hours=1)
        names, story = [], []
        for day in range(days):
            at = now - day * DAY
            name = self.stores.add(store, resource, at)
            taken = self.stores_evidence(name, resource, store, at)
            names.append(name)
            story.append(entry(taken, at + timedelta(seconds=5), took=10.0))
        note(self.session.state, story)
        return names

    def stores_evidence(self, name: str, resource: str, store: str, at: datetime) -> Any:
        return PointTaken(
            resource=resource,
            store=store,
            point=name,
            claimed_at=at,
            figures=self.stores.figures,
            seconds=1.0,
        )

    def prove(self, point: str, resource: str = "share", store: str = "nas") -> None:
        note(self.session.state, [proven(point, datetime.now(UTC), store, resource=resource)])

    def let_grace_pass(self) -> None:
        """Everything that was noted was noted nine days earlier than it was, but for what points are."""
        ledger = self.session.state / FOLDER / FILE
        read_ledger(self.session.state)
        shutil.rmtree(self.session.state / "runs", ignore_errors=True)
        lines = [json.loads(line) for line in ledger.read_text().splitlines()]
        for line in lines:
            if line.get("noted", {}).get("kind") in ("points-marked", "policy-accepted"):
                line["at"] = (datetime.fromisoformat(line["at"]) - 9 * DAY).isoformat()
        ledger.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    stores = FakeStores({"nas": "bk-a", "eoc": "bk-b"})
    folder, state = tmp_path / "env", tmp_path / "state"
    folder.mkdir()
    state.mkdir()
    (folder / "backups.yml").write_text(BACKUPS)
    shutil.copy(ROOT / "inventories/lab/services.yml", folder)
    environment = load_environment(ROOT, "lab").model_copy(update={"folder": folder})
    servers = {name: Server(name=name, address="10.0.0.1") for name in ("bk-a", "bk-b", "files-a")}
    inventory = Inventory(servers=servers, digest="1" * 64)

    class Connected:
        def remote(self, host: str) -> Any:
            return stores.remote(host)

        def close(self) -> None:
            pass

    def context(run_id: str) -> RunContext:
        artifacts = state / "runs" / run_id / "artifacts"
        return RunContext(
            run_id, environment, inventory, state, tmp_path, artifacts, Connected(), lambda step, text: None
        )

    session = Session(environment, inventory, state, tmp_path, stores.remote, context)  # type: ignore[arg-type]

    @contextmanager
    def opened(name: str) -> Iterator[Session]:
        yield session

    real = dispatch.perform

    def perform(action: Action, ctx: Context) -> Outcome:
        return stores.perform(action, ctx) or real(action, ctx)  # type: ignore[arg-type]

    monkeypatch.setattr(_session, "open_session", opened)
    monkeypatch.setattr(dispatch, "perform", perform)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return Desk(session, stores, capsys)


def rows(shown: Any, resource: str = "share") -> dict[str, Any]:
    return {row["store"]: row for row in shown["rows"] if row["resource"] == resource}


# --- taking ---------------------------------------------------------------------------------------


def test_what_is_due_is_taken_and_copied_and_then_nothing_is_due(desk: Desk) -> None:
    code, shown = desk.shown("run_", due=True)
    assert code == 0
    steps = {f"{name}/{what}" for name in ("share", "plans") for what in ("take-nas", "copy-eoc")}
    assert {row["step"] for row in shown["rows"]} == steps
    assert len(desk.stores.ids("nas")) == len(desk.stores.ids("eoc")) == 1
    code, shown = desk.shown("run_", due=True)
    assert (code, shown["rows"]) == (0, [])
    assert {one["resource"] for one in shown["left_out"]} == {"share", "plans"}


def test_a_missing_source_stops_no_other_resource_and_is_told(desk: Desk) -> None:
    desk.stores.missing.add("/srv/share/.here")
    code = desk.type("run_")
    assert code == 5
    assert "missing source /srv/share/.here" in desk.err
    assert desk.stores.ids("nas") == set()
    assert len(desk.stores.ids("nas", "plans")) == 1
    assert desk.type("run_", resource="plans") == 0


def test_a_point_of_ours_is_seen_as_ours_in_every_store(desk: Desk) -> None:
    desk.type("run_")
    code, shown = desk.shown("list_")
    assert code == 0
    assert {(one["resource"], one["store"]) for one in shown["points"]} == {
        ("share", "nas"),
        ("share", "eoc"),
        ("plans", "nas"),
        ("plans", "eoc"),
    }
    assert all(one["point"]["observed_at"] == one["point"]["claimed_at"] for one in shown["points"])


# --- rotating ---------------------------------------------------------------------------------------


def test_a_rotation_shows_marks_waits_and_then_deletes_what_it_showed(desk: Desk) -> None:
    names = desk.past(8)
    desk.prove(names[0])
    assert desk.type("rotate", resource="share", store="nas") == 0
    assert "new policy" in desk.out
    assert desk.type("rotate", resource="share", store="nas") == 0
    assert len(desk.stores.ids("nas")) == 8
    desk.let_grace_pass()
    code, shown = desk.shown("plan_", resource="share", store="nas")
    assert (code, shown["deletes"]) == (0, 3)
    assert desk.type("rotate", resource="share", store="nas") == 0
    assert desk.stores.ids("nas") == set(names[:5])
    assert desk.type("rotate", resource="share", store="nas") == 0
    assert "nothing to delete" in desk.out


@pytest.mark.parametrize("name", ["plan_", "rotate"])
def test_a_store_that_is_none_is_no_store_with_nothing_to_delete(desk: Desk, name: str) -> None:
    assert desk.type(name, store="naz") == 2
    assert "--store nas, eoc" in desk.err


def test_a_plan_changes_nothing(desk: Desk) -> None:
    desk.prove(desk.past(8)[0])
    for _ in range(2):
        code, shown = desk.shown("plan_", resource="share", store="nas")
        assert code == 0
        assert rows(shown)["nas"]["new_policy"]
    assert not (desk.session.state / "runs").exists()


def test_every_point_has_its_fate_and_a_reason(desk: Desk) -> None:
    names = desk.past(8)
    desk.prove(names[7])
    _, shown = desk.shown("plan_", resource="share", store="nas")
    points = {one["point"]: one for one in rows(shown)["nas"]["points"]}
    assert points.keys() == set(names)
    assert all(one["why"] for one in points.values())
    assert desk.type("plan_", resource="share", store="nas", points=True) == 0
    assert all(name[:12] in desk.out for name in names)


def test_what_is_frozen_ends_with_6_and_stops_no_other(desk: Desk) -> None:
    share, plans = desk.past(8), desk.past(8, "plans")
    desk.prove(share[0])
    desk.prove(plans[0], "plans")
    desk.type("rotate", store="nas")
    desk.let_grace_pass()
    desk.stores.missing.add("/srv/share/.here")
    desk.type("run_", resource="share")
    assert desk.type("rotate", store="nas") == 6
    assert "rotation is frozen: share: freeze_if_doubted: take failed: missing source" in desk.err
    assert desk.stores.ids("nas") == set(share)
    assert desk.stores.ids("nas", "plans") == set(plans[:5])


def test_a_store_that_does_not_answer_is_unknown_and_ends_with_3(desk: Desk) -> None:
    desk.prove(desk.past(8)[0])
    desk.stores.silent.add("nas")
    code, shown = desk.shown("plan_", resource="share", store="nas")
    assert code == 3
    assert "does not answer" in rows(shown)["nas"]["problem"]
    assert rows(shown)["nas"]["kept"] == 0
    assert desk.type("rotate", resource="share", store="nas") == 3
    assert read_ledger(desk.session.state).missed == {}
    assert desk.type("list_", resource="share") == 3


def test_points_that_somebody_deleted_freeze_it_until_a_person_clears_them(desk: Desk) -> None:
    names = desk.past(8)
    desk.prove(names[0])
    desk.type("rotate", resource="share", store="nas")
    desk.let_grace_pass()
    del desk.stores.lists["nas"][3]
    assert desk.type("rotate", resource="share", store="nas") == 6
    assert "points gone" in desk.err
    assert len(desk.stores.ids("nas")) == 7
    assert desk.type("clear", resource="share") == 0
    assert "that no rotation deleted" in desk.out
    assert desk.type("rotate", resource="share", store="nas") == 6
    assert desk.type("clear", resource="share", reason="our own hand, by mistake") == 0
    assert desk.type("rotate", resource="share", store="nas") == 0
    assert len(desk.stores.ids("nas")) == 5


def test_what_a_look_that_lasts_finds_gone_is_not_cleared_by_a_word_said_meanwhile(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.prove(desk.past(8)[0])
    desk.type("list_")
    del desk.stores.lists["nas"][3]
    answer = desk.stores.answer

    def slow(*words: Any) -> Any:
        word = DoubtCleared(resource="share", store="", doubts=("x",), reason="another matter", by="ana")
        note(desk.session.state, [entry(word, datetime.now(UTC))])
        return answer(*words)

    monkeypatch.setattr(desk.stores, "answer", slow)
    desk.type("list_")
    monkeypatch.setattr(desk.stores, "answer", answer)
    desk.type("clear", resource="share")
    assert "points gone" in desk.out


def test_clearing_a_store_shows_what_it_clears_and_minds_no_store_that_is_no_more(desk: Desk) -> None:
    desk.past(8)
    for store in ("", "nas-of-old"):
        failed = TakeFailed(resource="share", store=store, faults=("pg_dump: cut off",))
        note(desk.session.state, [entry(failed, datetime.now(UTC))])
    assert desk.type("clear", store="nas") == 0
    assert "pg_dump" not in desk.out
    del desk.stores.lists["nas"][3]
    assert desk.type("clear", store="nas") == 0
    assert "points gone" in desk.out
    assert desk.type("clear", resource="share") == 0
    assert "pg_dump" in desk.out


def test_what_a_run_says_of_backups_is_taken_in_before_its_folder_is_let_go(desk: Desk) -> None:
    seen = TakeFailed(resource="share", store="nas", faults=("missing source /srv/share",))
    failure = Failure(error="AdapterError", message="missing source", evidence=seen)
    for run in ("20261101-010000-aaaa", "20261102-010000-bbbb"):
        end = StepEnded(step="share/take-nas", status="failed", failure=failure)
        write_run(
            desk.session.state, run, StepStarted(step="share/take-nas"), end, RunClosed(status="aborted")
        )
    little = desk.session.environment.model_copy(update={"runs": RunRetention(cap_gib=1e-9)})
    replace(desk.session, environment=little).make_room()
    assert [path.name for path in (desk.session.state / "runs").iterdir()] == ["20261102-010000-bbbb"]
    assert len(read_ledger(desk.session.state).failed_takes["share"]) == 2


def test_what_was_decided_is_decided_again_under_the_locks(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = desk.past(8)
    desk.prove(names[0])
    desk.type("rotate", resource="share", store="nas")
    desk.let_grace_pass()
    run = Session.run

    def late(self: Session, *args: Any, **more: Any) -> Any:
        desk.stores.add("nas", "share", datetime.now(UTC))  # somebody saved meanwhile
        return run(self, *args, **more)

    monkeypatch.setattr(Session, "run", late)
    assert desk.type("rotate", resource="share", store="nas") == 4
    assert "not what it was a moment ago" in desk.err
    assert set(names) < desk.stores.ids("nas")


def test_what_ends_its_time_of_grace_meanwhile_waits_for_the_next_rotation() -> None:
    def plan(going: tuple[str, ...], stay: tuple[str, ...]) -> Plan:
        of = Repository(store="nas", url="/nas")
        act = ForgetPoints(host="bk-a", resource="share", of=of, points=going, stay=stay)
        step = Step(id="share/nas/delete", run=act, why="expired")
        return Plan(name="backup-rotate", environment="lab", mode="apply", steps=(step,))

    refuse_changed(plan(("a",), ("b", "c")), plan(("a", "b"), ("c",)))
    for now in (plan(("b",), ("a", "c")), plan(("a",), ("b",)), plan(("a",), ("b", "c", "d"))):
        with pytest.raises(PreflightError):
            refuse_changed(plan(("a",), ("b", "c")), now)


def test_a_rotation_that_was_cut_off_after_its_deletion_leaves_nothing_missed(desk: Desk) -> None:
    names = desk.past(8)
    desk.prove(names[0])
    desk.type("rotate", resource="share", store="nas")
    of = Repository(store="nas", url="/nas")
    act = ForgetPoints(host="bk-a", resource="share", of=of, points=tuple(names[6:]), stay=tuple(names[:6]))
    step = Step(id="share/nas/delete", run=act, why="expired")
    plan = Plan(name="backup-rotate", environment="lab", mode="apply", steps=(step,))
    write_run(desk.session.state, "20261122-030000-dead", StepStarted(step=step.id), plan=plan)
    desk.stores.lists["nas"] = [one for one in desk.stores.lists["nas"] if one.id not in names[6:]]
    assert desk.type("rotate", resource="share", store="nas") == 0
    assert "20261122-030000-dead was cut off" in desk.err
    assert read_ledger(desk.session.state).missed == {}


# --- explaining and foretelling ---------------------------------------------------------------------


def test_a_point_is_explained_by_the_beginning_of_its_id(desk: Desk) -> None:
    names = desk.past(8)
    desk.prove(names[1])
    assert desk.type("explain", point=names[1][:10]) == 0
    assert "daily 2 of 5" in desk.out
    assert "kept until about" in desk.out
    assert "L3" in desk.out
    assert desk.type("explain", point=names[6][:10]) == 0
    assert "held by policy_change" in desk.out
    assert desk.type("explain", point="") == 2
    assert desk.type("explain", point="zz") == 2


def test_the_future_and_an_old_rule_are_told(desk: Desk) -> None:
    desk.past(8)
    code, shown = desk.shown("simulate", resource="share", days=10, like="restic-0.14", keep="last=1,daily=3")
    assert code == 0
    assert shown["old"].startswith("restic-0.14: your old rule kept 3, this one keeps 5: 2 more, ")
    assert len(shown["only_new"]) == 2
    assert len(shown["days"]) == 10
    assert all(day["kept"] == 5 for day in shown["days"])
    assert desk.type("simulate", resource="share", like="tar") == 2
    assert desk.type("simulate", resource="share", days=10) == 0


# --- standing ---------------------------------------------------------------------------------------


def standing(desk: Desk) -> tuple[int, dict[str, Any]]:
    code, shown = desk.shown("status", resource="share")
    return code, shown["resources"][0]


def test_status_is_red_until_a_proof_is_there_in_every_store(desk: Desk) -> None:
    desk.type("run_", resource="share")
    code, row = standing(desk)
    assert (code, row["state"]) == (6, "red")
    assert row["wrong"] == ["L3 was never proven in nas, eoc"]
    for store in ("nas", "eoc"):
        desk.prove(next(iter(desk.stores.ids(store))), store=store)
    code, row = standing(desk)
    assert (code, row["state"], row["wrong"]) == (0, "good", [])
    assert row["rto_sample_s"] == 9.0
    assert row["rpo_achieved_s"] < 60


def test_status_is_red_when_the_proof_is_old_though_every_job_succeeds(desk: Desk) -> None:
    desk.type("run_", resource="share")
    long_ago = datetime.now(UTC) - 30 * DAY
    for store in ("nas", "eoc"):
        (point,) = desk.stores.ids(store)
        note(desk.session.state, [proven(point, long_ago, store)])
    code, row = standing(desk)
    assert code == 6
    assert any("and is due every 1 week" in line for line in row["wrong"])


def test_a_copy_that_lacks_the_newest_point_is_none(desk: Desk) -> None:
    names = desk.past(3)
    desk.prove(names[0])
    code, row = standing(desk)
    assert code == 6
    assert "the newest point has 2 of 3 copies, 0 of 1 offsite" in row["wrong"]
    assert "eoc has no good point" in row["wrong"]


def test_a_store_that_does_not_answer_is_told_as_unknown(desk: Desk) -> None:
    desk.type("run_", resource="share")
    for store in ("nas", "eoc"):
        desk.prove(next(iter(desk.stores.ids(store))), store=store)
    desk.stores.silent.add("eoc")
    _, row = standing(desk)
    assert any("eoc cannot be looked at" in line for line in row["unknown"])
    assert not any("eoc has no" in line for line in row["wrong"])


def test_points_of_resources_that_the_policy_does_not_know_are_told_and_left_alone(desk: Desk) -> None:
    desk.past(3)
    desk.stores.add("nas", "somebody", datetime.now(UTC))
    _, shown = desk.shown("status", resource="share")
    assert any("1 points of somebody" in line for line in shown["strangers"])


def test_what_was_there_before_the_first_look_is_believed(desk: Desk) -> None:
    old = datetime.now(UTC) - 400 * DAY
    name = desk.stores.add("nas", "share", old)
    _, shown = desk.shown("list_", resource="share")
    assert [one["point"]["id"] for one in shown["points"]] == [name]
    forged = desk.stores.add("nas", "share", old - DAY)
    _, shown = desk.shown("list_", resource="share")
    seen = {one["point"]["id"]: one["point"]["observed_at"] for one in shown["points"]}
    assert datetime.fromisoformat(seen[name]) == old
    assert datetime.fromisoformat(seen[forged]) > datetime.now(UTC) - timedelta(minutes=5)


def test_without_a_terminal_nothing_that_is_printed_is_cut_off(desk: Desk) -> None:
    names = desk.past(3)
    desk.type("list_")
    assert all(name[:12] in desk.out for name in names)
    desk.type("status")
    assert "share: L3 was never proven in nas, eoc" in desk.out
    assert "plans: there is no good point" in desk.out
