"""Enforcing by its commands: shown, agreed to, changed in waves, judged again, told, undone."""

import copy
import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from invoke import Context

from automation.adapters import keys
from automation.baseline.controls import Control
from automation.baseline.enforcement import Case, Wish, decide
from automation.baseline.guards import Scene
from automation.baseline.judge import judge
from automation.baseline.planner import ENFORCE, UNDO
from automation.baseline.settings import Baseline
from automation.baseline.waves import plan_waves
from automation.commands import _baselines, _enforcing, _session, _waivers, baseline
from automation.commands._controls import load_controls
from automation.commands._enforced import list_fights
from automation.commands._enforcing import (
    Ended,
    EnforceFlags,
    Planned,
    Prepared,
    Wave,
    enforce,
    judge_result,
    prepare,
)
from automation.commands._enforcing_waves import affected, city_of
from automation.commands._render_enforcing import print_planned, print_result, print_undoable, print_undone
from automation.commands._session import Session
from automation.commands._undoing import UndoFlags, judge_undone, prepare_undo, undo
from automation.engine import admission, dispatch
from automation.engine.journal import Journal, read_journal
from automation.model.approvals import ApprovalRule
from automation.model.baseline_evidence import SettingSeen, SettingsEnforced, SettingsUndone
from automation.model.environment import Inventory, Server
from automation.model.errors import AdapterError, ConfigError, NotMet, PreflightError, StepFailed
from automation.model.evidence import Evidence
from automation.model.plan import Plan
from automation.model.records import Body, Outcome, StepEnded
from tests.commands.enforced_city import BASELINE, HOSTS, START, City, open_city
from tests.commands.test_render import Terminal
from tests.on_premises import load_on_premises

FLAGS = EnforceFlags(control="lin.ssh.auth-tries,lin.accounts.umask")
R0_ALONE = EnforceFlags(control="lin.accounts.umask", yes=True)


def unsealed(*_: object, **__: object) -> Body:
    """Leave a run unsealed: seals are other tests' matter, and ssh-keygen's time."""
    raise AdapterError("nobody seals here")


@pytest.fixture(scope="module")
def controls() -> dict[str, Control]:
    """A few of them, read once."""
    return {name: one for name, one in load_controls().items() if name.startswith(("lin.ssh", "lin.acc"))}


@pytest.fixture
def city(monkeypatch: pytest.MonkeyPatch, controls: dict[str, Control]) -> City:
    city = City()
    monkeypatch.setattr(dispatch, "perform", city.perform)
    for call in ("fsync", "fdatasync"):  # no power is lost here
        monkeypatch.setattr(os, call, lambda descriptor: None)
    monkeypatch.setattr(keys, "make_control_node", lambda state: None)
    monkeypatch.setattr(admission, "seal", unsealed)
    for module in (_baselines, _enforcing):
        monkeypatch.setattr(module, "load_controls", lambda: controls)
    return city


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return open_city(tmp_path)


def yes() -> bool:
    return True


def enforced(session: Session, flags: EnforceFlags = FLAGS) -> tuple[Prepared, Ended]:
    prepared = prepare(session, flags)
    return prepared, enforce(session, prepared, flags, ask=yes)


def test_a_plan_shows_what_would_change_and_changes_nothing(
    city: City, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = prepare(session, FLAGS)
    print_planned(prepared.shown)
    shown = capsys.readouterr().out
    assert "app-b, app-a" in shown
    assert "sshd MaxAuthTries: 10 -> 4" in shown
    assert "/etc/login.defs UMASK: 022 -> 027" in shown
    assert "R2 lin.ssh.auth-tries (may lock people out)" in shown
    assert "wave 1: app-b" in shown
    assert "wave 2: app-a" in shown
    assert city.now == dict.fromkeys(HOSTS, START)
    assert set(city.did) == {f"collector.collect {host}" for host in HOSTS}
    assert judge_result(session, prepared, None) == 0


@pytest.fixture(scope="module")
def everything() -> Planned:
    """What an enforcement of everything would change and leave out on two hosts that fail much."""
    city = City()
    settings = Baseline.model_validate(
        {"profile": "cis-l1", "enforce": [{"controls": ["*"], "groups": ["all"]}]}
    )
    every = load_controls()
    decided = []
    for host in HOSTS:
        facts = city.facts(host)
        assessment = judge(facts, tuple(every.values()), "cis-l1", facts.collected_at)
        decided.append(decide(Case(facts, assessment, Scene("ops", "")), every, Wish(settings)))
    return Planned(
        audit="20261122-120000-abcd",
        digest="d",
        enforced=tuple(one.enforced for one in decided),
        waves=(Wave(number=1, subjects=HOSTS),),
        left_out=tuple(left for one in decided for left in one.left_out),
        not_collected={"db-1": "no answer in 10 s; " * 8},
        fights=(),
        watched_by=("payments/list",),
    )


@pytest.mark.parametrize("columns", [80, 120])
def test_a_plan_fits_the_terminal(everything: Planned, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "stdout", terminal)
    print_planned(everything)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()
    assert max(map(len, lines)) <= columns
    said = " ".join(" ".join(lines).split())
    assert "--accept-guard console_or_second_admin" in said
    assert "left out: not known; why is told by" in said
    assert "db-1: NO FACTS" in said


def test_what_was_changed_holds_afterwards_and_a_second_time_nothing_is_to_be_done(
    city: City, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared, ended = enforced(session)
    for host in HOSTS:
        assert city.now[host]["sshd"]["effective"]["maxauthtries"] == "4"
        assert city.now[host]["login_defs"]["UMASK"] == "027"
    changes = [did for did in city.did if did.startswith("ansible.")]
    assert changes == ["ansible.enforce_settings app-b", "ansible.enforce_settings app-a"]
    assert ended.finished.closed.status == "succeeded"
    assert judge_result(session, prepared, ended.result) == 0
    print_result(ended.result, "lab")
    shown = " ".join(capsys.readouterr().out.split())
    assert "app-b, app-a UMASK: 022 -> 027 (lin.accounts.umask)" in shown
    assert "maxauthtries: 10 -> 4" in shown
    assert (
        f"6 settings are another way than before; ./inv baseline.undo --env lab --change {ended.result.run}"
        in shown
    )
    assert prepare(session, FLAGS).shown.enforced == ()


def test_yes_is_no_answer_where_people_could_be_locked_out(city: City, session: Session) -> None:
    flags = FLAGS._replace(yes=True)
    with pytest.raises(ConfigError, match="--yes answers no question where a change may lock people out"):
        enforce(session, prepare(session, flags), flags, ask=yes)
    assert city.now == dict.fromkeys(HOSTS, START)
    _, ended = enforced(session, R0_ALONE)
    assert ended.result.changed == 4


@pytest.mark.parametrize("ask", [None, lambda: False], ids=["nobody there", "no"])
def test_without_a_yes_nothing_is_changed(
    city: City, session: Session, ask: Callable[[], bool] | None
) -> None:
    with pytest.raises(PreflightError, match="nothing was changed"):
        enforce(session, prepare(session, FLAGS), FLAGS, ask=ask)
    assert city.now == dict.fromkeys(HOSTS, START)


def test_where_people_must_sign_nothing_is_changed_before_they_have(city: City, tmp_path: Path) -> None:
    session = open_city(tmp_path, BASELINE + "approvals: {roles: [security-officer]}\n")
    with pytest.raises(PreflightError, match="nothing was changed"):
        enforced(session)
    assert prepare(session, FLAGS).plan.approvals == ApprovalRule(roles=("security-officer",))
    assert city.now == dict.fromkeys(HOSTS, START)


WAIVER = """\
waivers:
  - id: umask-of-app-a
    control: lin.accounts.umask
    subjects: [app-a]
    reason: the vendor's installer needs it
    compensated_by: nobody else logs in there
    observed: {login_defs.UMASK: "022"}
    requested_by: database-owner
    approved_by: security-officer
    starts: %s
    expires: %s
"""


def test_what_is_waived_while_people_think_about_it_is_not_changed(
    city: City, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, today = prepare(session, FLAGS), datetime.now(UTC)
    days = (f"{today + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}" for days in (-1, 20))
    (session.environment.folder / "waivers.yml").write_text(WAIVER % tuple(days))
    monkeypatch.setattr(_waivers, "refusals", lambda *_: {})
    with pytest.raises(
        PreflightError, match=r"waived since .* lin\.accounts\.umask on app-a by umask-of-app-a"
    ):
        enforce(session, prepared, FLAGS, ask=yes)
    assert city.now == dict.fromkeys(HOSTS, START)
    assert enforced(session)[1].result.changed == 4


def test_a_host_that_somebody_changed_meanwhile_is_left_alone(city: City, session: Session) -> None:
    city.moves = {"app-b"}
    _, ended = enforced(session)
    assert not any(did.startswith("ansible.") for did in city.did)
    with pytest.raises(StepFailed, match="app-b is not what its plan was made from"):
        ended.finished.raise_for_status()


def test_a_host_that_takes_its_change_back_stops_the_rest_and_is_told(
    city: City, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    city.reverts = {"app-b"}
    _, ended = enforced(session)
    assert city.now == dict.fromkeys(HOSTS, START)
    print_result(ended.result, "lab")
    shown = capsys.readouterr().out
    assert "app-b: TAKEN BACK by the host itself: no fresh login" in shown
    assert "nothing is another way than before" in shown
    with pytest.raises(StepFailed, match=r"took change .* back by itself"):
        ended.finished.raise_for_status()


def test_no_host_is_changed_while_a_service_is_not_well(city: City, session: Session) -> None:
    city.unwell = True
    _, ended = enforced(session)
    assert city.now == dict.fromkeys(HOSTS, START)
    with pytest.raises(NotMet, match="payments/list is not well"):
        ended.finished.raise_for_status()


@pytest.mark.parametrize(
    ("servers", "services"),
    [
        (("pg-b",), {"payments-db", "payments"}),
        (("app-a",), {"payments"}),
        (("client-1",), set()),
        (("dns-a",), {"payments-db", "payments"}),
    ],
    ids=["under both", "under one", "under none", "its names"],
)
def test_what_stands_on_a_changed_host_is_watched(servers: tuple[str, ...], services: set[str]) -> None:
    assert set(affected(load_on_premises(), servers)) & {"payments-db", "payments"} == services


@pytest.mark.parametrize("more", [("primary", "standby"), ("east", "west")], ids=["of one", "of two"])
def test_a_pair_stands_in_for_each_other_whatever_smaller_groups_it_is_in(
    session: Session, more: tuple[str, str]
) -> None:
    others = ("map-a", "map-b", "map-c") if more[0] == "east" else ()
    groups = {"db-a": ("db", more[0]), "db-b": ("db", more[1]), "db-c": ("db",)}
    groups |= dict(zip(others, ((more[0],), (more[1],), ()), strict=False))
    servers = {
        host: Server(
            name=host, address="192.0.2.1", provider="nspawn", site="eoc", groups=groups.get(host, ())
        )
        for host in (*groups, "left")
    }
    city = city_of(replace(session, inventory=Inventory(servers=servers)), Baseline(profile="standard"))
    waves = plan_waves(servers, city)
    assert not any(len({"db-a", "db-b", "db-c"} & set(wave)) > 1 for wave in waves)


def test_what_does_not_take_effect_is_not_met(city: City, session: Session) -> None:
    city.deaf = {"app-a"}
    prepared, ended = enforced(session)
    assert {(one.subject, one.control) for one in ended.result.unmet} == {
        ("app-a", "lin.ssh.auth-tries"),
        ("app-a", "lin.accounts.umask"),
    }
    with pytest.raises(NotMet, match="does not hold on app-a") as met:
        judge_result(session, prepared, ended.result)
    assert f"baseline.undo --env lab --change {ended.result.run}" in str(met.value.hint)


def test_what_turned_worse_is_not_met_whatever_was_enforced(city: City, session: Session) -> None:
    city.spoils = True
    prepared, ended = enforced(session, R0_ALONE)
    assert {one.control for one in ended.result.worse} == {"lin.ssh.grace-time"}
    with pytest.raises(NotMet, match=r"lin\.ssh\.grace-time held on app-[ab] and fails now"):
        judge_result(session, prepared, ended.result)


def test_an_undoing_puts_everything_back(
    city: City, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    _, ended = enforced(session)
    flags = UndoFlags(change=ended.result.run)
    prepared = prepare_undo(session, flags)
    print_undoable(prepared.shown)
    assert "maxauthtries: 4 -> 10" in capsys.readouterr().out
    with pytest.raises(PreflightError, match="nothing was changed"):
        undo(session, prepared, flags, ask=lambda: False)
    undone = undo(session, prepared, flags, ask=yes)
    assert city.now == dict.fromkeys(HOSTS, START)
    assert [did for did in city.did if "undo" in did] == [
        "ansible.undo_settings app-a",
        "ansible.undo_settings app-b",
    ]
    print_undone(undone)
    assert "app-a, app-b: put back: /etc/login.defs" in capsys.readouterr().out
    assert judge_undone(undone) == 0


def test_one_host_alone_can_be_undone(city: City, session: Session) -> None:
    _, ended = enforced(session)
    changed = copy.deepcopy(city.now["app-b"])
    flags = UndoFlags(change=ended.result.run, limit="app-a", yes=True)
    undo(session, prepare_undo(session, flags), flags, ask=None)
    assert city.now == {"app-a": START, "app-b": changed}


def test_a_run_that_changed_nothing_has_nothing_to_undo(city: City, session: Session) -> None:
    city.reverts = {"app-b"}
    _, ended = enforced(session)
    with pytest.raises(PreflightError, match="changed nothing that is to be undone"):
        prepare_undo(session, UndoFlags(change=ended.result.run))
    audit = prepare(session, FLAGS).shown.audit
    with pytest.raises(ConfigError, match=r"is no baseline\.enforce but baseline-audit"):
        prepare_undo(session, UndoFlags(change=audit))


def test_what_a_host_could_not_put_back_itself_can_be_undone(
    city: City, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    city.reverts = city.stuck = {"app-b"}
    _, ended = enforced(session)
    print_result(ended.result, "lab")
    shown = " ".join(capsys.readouterr().out.split())
    assert "app-b: NOT PUT BACK: /etc/login.defs: no space" in shown
    assert f"baseline.undo --env lab --change {ended.result.run}" in shown
    assert "nothing is another way" not in shown
    flags = UndoFlags(change=ended.result.run, yes=True)
    prepared = prepare_undo(session, flags)
    assert prepared.shown.subjects == {"app-b": ("/etc/login.defs: not put back: no space",)}
    undo(session, prepared, flags, ask=None)
    assert city.now == dict.fromkeys(HOSTS, START)


UMASK = "lin.accounts.umask"


def leave_runs(session: Session, *days_ago: int, undone: bool = False, reverted: bool = False) -> None:
    """Leave the journals of enforcements that changed the umask of app-a."""
    for days in days_ago:
        at = datetime.now(UTC) - timedelta(days=days)
        run = f"{at:%Y%m%d-%H%M%S}-{days:04}"
        seen = SettingSeen(control=UMASK, what="UMASK", before="022", after="027", changed=True)
        switch = "reverted" if reverted else "none"
        told = SettingsEnforced(host="app-a", change=run, settings=(seen,), switch=switch)
        leave(session, run, at, ENFORCE, told)
        if undone:
            leave(session, f"{run}u", at, UNDO, SettingsUndone(host="app-a", change=run))


def leave(session: Session, run: str, at: datetime, plan: str, told: Evidence) -> None:
    folder = session.state / "runs" / run
    folder.mkdir(parents=True)
    empty = Plan(name=plan, environment="lab", mode="apply", steps=())
    (folder / "plan.json").write_text(json.dumps(empty.model_dump(mode="json"), indent=1))
    journal = Journal(folder / "journal.jsonl", clock=lambda: at)
    outcome = Outcome(changed=True, summary="changed", evidence=told)
    journal.append(StepEnded(step="app-a/enforce", status="succeeded", outcome=outcome))
    journal.close()


def test_what_is_changed_back_again_and_again_is_told_and_left_alone(city: City, session: Session) -> None:
    leave_runs(session, 1, 2, 3)
    prepared = prepare(session, R0_ALONE)
    assert [one.subject for one in prepared.shown.enforced] == ["app-b"]
    (left,) = [one for one in prepared.shown.left_out if one.subject == "app-a"]
    assert "changed 3 times within 7 days" in left.why
    with pytest.raises(NotMet, match=r"lin\.accounts\.umask on app-a: changed 3 times"):
        judge_result(session, prepared, None)
    accepted = prepare(session, R0_ALONE._replace(accept_guard="not_fought_over"))
    assert {one.subject: one.accepted for one in accepted.shown.enforced} == {
        "app-a": ("not_fought_over",),
        "app-b": (),
    }
    assert judge_result(session, accepted, None) == 0


def test_what_was_fought_over_and_holds_now_is_well(city: City, session: Session) -> None:
    leave_runs(session, 1, 2, 3)
    city.now["app-a"]["login_defs"]["UMASK"] = "027"
    assert judge_result(session, prepare(session, R0_ALONE), None) == 0


@pytest.mark.parametrize(
    ("days", "more"),
    [((1, 2), {}), ((1, 2, 8), {}), ((1, 2, 3), {"undone": True}), ((1, 2, 3), {"reverted": True})],
    ids=["twice", "long ago", "we undid it", "the host took it back"],
)
def test_what_is_no_fight_is_not_told(session: Session, days: tuple[int, ...], more: Any) -> None:
    leave_runs(session, *days, **more)
    assert list_fights(session.state, datetime.now(UTC)) == ()


def test_a_change_is_found_again_by_its_journal(city: City, session: Session) -> None:
    enforced(session, R0_ALONE)
    leave_runs(session, 1, 2)
    assert [(one.control, one.host) for one in list_fights(session.state, datetime.now(UTC))] == [
        (UMASK, "app-a")
    ]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (EnforceFlags(control="lin.sshd.*"), "--control lin.sshd.\\* is no control"),
        (EnforceFlags(accept_guard="trust_me"), "--accept-guard trust_me is no guard"),
        (EnforceFlags(limit="nobody", profile="nist"), "--profile nist is none"),
    ],
)
def test_flags_that_mean_nothing_are_refused_before_a_host_is_asked(
    city: City, session: Session, flags: EnforceFlags, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        prepare(session, flags)
    assert city.did == []


def test_what_is_printed_for_programs_names_every_setting(city: City, session: Session) -> None:
    told = json.loads(prepare(session, FLAGS).shown.model_dump_json())
    assert [wave["subjects"] for wave in told["waves"]] == [["app-b"], ["app-a"]]
    controls = {one["control"] for one in told["enforced"][0]["settings"]}
    assert controls == {"lin.ssh.auth-tries", "lin.accounts.umask"}


def test_the_journal_says_what_was_changed_on_whom(city: City, session: Session) -> None:
    _, ended = enforced(session)
    kinds = [event.body.kind for event in read_journal(ended.finished.folder / "journal.jsonl")]
    assert kinds[-1] == "run-closed"
    assert {one.host for one in ended.result.settings} == set(HOSTS)


def test_commands_show_before_they_ask_and_print_nothing_but_json_to_programs(
    city: City, session: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_session, "open_session", lambda env: nullcontext(session))
    monkeypatch.setattr(_enforcing, "ask_yes", yes)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    assert baseline.enforce.body(Context(), "lab", control=FLAGS.control, json=True) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert "sshd MaxAuthTries: 10 -> 4" in said.err
    assert baseline.enforce.body(Context(), "lab", control=FLAGS.control) == 0
    assert "nothing is to be changed" in capsys.readouterr().out
    assert baseline.undo.body(Context(), "lab", change=result["run"], json=True) == 0
    said = capsys.readouterr()
    assert {one["host"] for one in json.loads(said.out)["settings"]} == set(HOSTS)
    assert "maxauthtries: 4 -> 10" in said.err
    assert city.now == dict.fromkeys(HOSTS, START)
    assert baseline.plan_.body(Context(), "lab", control=FLAGS.control, json=True) == 0
    assert len(json.loads(capsys.readouterr().out)["enforced"]) == 2
