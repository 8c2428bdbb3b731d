"""What the controller makes of a host that takes changes back: whatever happens, it says how the host is."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from automation.adapters import ansible
from automation.adapters.ansible import enforcing
from automation.model.actions import EnforceSettings, UndoSettings
from automation.model.baseline_evidence import SettingsEnforced, SettingsUndone
from automation.model.environment import Inventory, Server
from automation.model.errors import AdapterError, OutcomeUnknown
from automation.model.host_settings import WantedSetting
from automation.model.records import Completed, Outcome
from tests.fakes.changes import ChangedHost, FakeLog

RUN = "20260301-025900-0001"
SWITCH_S = 60.0
SEEN = {"control": "lin.ssh.a", "what": "sshd PermitRootLogin", "before": "yes", "after": "no"}
ARMED = {"changed": True, "armed": True, "settings": [{**SEEN, "changed": True}]}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> ChangedHost:
    host = ChangedHost()
    clock = SimpleNamespace(monotonic=lambda: host.now_s, sleep=host.sleep)
    monkeypatch.setattr(enforcing, "time", clock)
    return host


@pytest.fixture
def ctx(host: ChangedHost) -> Any:
    return SimpleNamespace(
        run_id=RUN,
        environment=SimpleNamespace(name="city", automation_user="ops"),
        inventory=Inventory(servers={"web": Server(name="web", address="10.0.0.1")}),
        timeout_s=600.0,
        remote=lambda name: host,
        fresh=lambda name: host.fresh(),
        say=lambda text: None,
        unit_state=lambda name: "absent",
    )


@pytest.fixture
def playing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], FakeLog]], list[Any]]:
    """Let a test say what the playbook does; gives what it was given."""

    def begin(act: Callable[[], FakeLog]) -> list[Any]:
        given: list[Any] = []

        def play(action: Any, ctx: Any, timeout_s: float, module: Any) -> FakeLog:
            given.append((action, timeout_s, module))
            return act()

        monkeypatch.setattr(enforcing, "play", play)
        return given

    return begin


def wanted(risk: str = "R2") -> WantedSetting:
    setting = {"kind": "sshd", "keyword": "PermitRootLogin", "value": "no"}
    return WantedSetting.model_validate({"control": "lin.ssh.a", "risk": risk, "setting": setting})


def enforce(ctx: Any, *, risk: str = "R2", switch_s: float = SWITCH_S) -> Outcome:
    action = EnforceSettings(host="web", settings=(wanted(risk),), switch_s=switch_s)
    return ansible.enforce_settings(action, ctx)


def verify(ctx: Any) -> Any:
    return ansible.verify_enforce_settings(EnforceSettings(host="web", settings=(wanted(),)), ctx)


def evidence(failure: AdapterError) -> SettingsEnforced:
    assert isinstance(failure.evidence, SettingsEnforced)
    return failure.evidence


# --- refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("risk", "switch_s", "timeout_s", "words"),
    [
        ("R2", 0.0, 600.0, "may lock people out and has no switch"),
        ("R3", 60.0, 600.0, "is of R3, which no program changes"),
        ("R4", 60.0, 600.0, "is of R4, which no program changes"),
        ("R1", 60.0, 90.0, "a step of 90 s leaves no time for a switch of 60 s"),
    ],
)
def test_what_must_not_be_changed_is_refused_before_anything_is_asked(
    risk: str, switch_s: float, timeout_s: float, words: str, ctx: Any, host: ChangedHost
) -> None:
    ctx.timeout_s = timeout_s
    with pytest.raises(AdapterError, match=words) as told:
        enforce(ctx, risk=risk, switch_s=switch_s)
    assert "nothing was changed" in str(told.value)
    assert (host.asked, host.logins) == ([], [])


# --- kept -------------------------------------------------------------------------------------------


def test_a_change_is_confirmed_over_a_login_that_is_made_after_it(
    ctx: Any, host: ChangedHost, playing: Any
) -> None:
    def act() -> FakeLog:
        assert host.logins == []
        host.change(RUN, SWITCH_S)
        return FakeLog(ARMED)

    given = playing(act)
    seen = enforce(ctx)
    assert host.logins
    assert host.markers[RUN]["state"] == "confirmed"
    assert isinstance(seen.evidence, SettingsEnforced)
    assert (seen.changed, seen.evidence.switch, seen.evidence.change) == (True, "confirmed", RUN)
    ((playbook, timeout_s, module),) = given
    assert (playbook.limit, timeout_s < ctx.timeout_s - SWITCH_S) == ("web", True)
    assert module.variables["login"] == {"user": "ops", "address": "10.0.0.9"}
    assert module.variables["change"] == RUN


def test_what_cannot_lock_people_out_needs_no_login(ctx: Any, host: ChangedHost, playing: Any) -> None:
    playing(lambda: FakeLog({"changed": False, "armed": False, "settings": []}))
    seen = enforce(ctx, risk="R1", switch_s=0.0)
    assert isinstance(seen.evidence, SettingsEnforced)
    assert (seen.changed, seen.evidence.switch, host.logins) == (False, "none", [])


def test_a_host_that_is_away_for_a_moment_is_asked_again(ctx: Any, host: ChangedHost, playing: Any) -> None:
    def act() -> FakeLog:
        host.change(RUN, SWITCH_S, away_until_s=host.now_s + 8)
        return FakeLog(ARMED)

    playing(act)
    assert enforce(ctx).changed
    assert len(host.logins) > 1


# --- taken back -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("locks", "words"),
    [({"lets_in": False}, "cannot log in to web"), ({"lets_sudo": False}, "a password is required")],
    ids=["no-login", "no-sudo"],
)
def test_a_lock_out_ends_in_a_revert_that_is_waited_for_and_told(
    locks: dict[str, bool], words: str, ctx: Any, host: ChangedHost, playing: Any
) -> None:
    def act() -> FakeLog:
        host.change(RUN, SWITCH_S, **locks)
        return FakeLog(ARMED)

    playing(act)
    began_s = host.now_s
    with pytest.raises(AdapterError, match=words) as told:
        enforce(ctx)
    assert "took change 20260301-025900-0001 back by itself" in str(told.value)
    assert "nobody confirmed it in time" in str(told.value)
    assert evidence(told.value).switch == "reverted"
    assert [one.control for one in evidence(told.value).settings] == ["lin.ssh.a"]
    assert SWITCH_S <= host.now_s - began_s < SWITCH_S + 10
    assert "confirmed" not in host.markers[RUN].values()


def test_a_host_that_never_comes_back_is_an_unknown_end_after_a_bounded_time(
    ctx: Any, host: ChangedHost, playing: Any
) -> None:
    def act() -> FakeLog:
        host.change(RUN, SWITCH_S, away_until_s=host.now_s + 10**6)
        return FakeLog(ARMED)

    playing(act)
    began_s = host.now_s
    with pytest.raises(OutcomeUnknown, match="cannot be asked") as told:
        enforce(ctx)
    assert host.now_s - began_s < SWITCH_S + enforcing.GRACE_S + 10
    assert told.value.hint is not None
    assert f"/var/lib/mainstay-changes/{RUN}/revert.py" in told.value.hint


def test_a_host_that_answers_and_keeps_what_it_should_take_back_is_not_said_to_be_away(
    ctx: Any, host: ChangedHost, playing: Any
) -> None:
    host.markers[RUN] = {"state": "armed"}  # its timer is gone
    with pytest.raises(OutcomeUnknown, match=r"web answers, and has not taken change .* back") as told:
        enforce(ctx)
    assert "cannot be asked" not in str(told.value)
    assert str(told.value.hint).endswith("revert.py revert")


def test_without_a_switch_nobody_is_told_that_the_host_takes_it_back(
    ctx: Any, host: ChangedHost, playing: Any
) -> None:
    said: list[str] = []
    ctx.say = said.append

    def act() -> FakeLog:
        host.away_until_s = host.now_s + 10**6
        return FakeLog({"changed": True}, LOST)

    playing(act)
    with pytest.raises(OutcomeUnknown, match=r"cannot be asked how far change .* came") as told:
        enforce(ctx, risk="R1", switch_s=0.0)
    assert "should have taken" not in str(told.value)
    assert "take its change back" not in " ".join(said)
    assert str(told.value.hint).endswith("revert.py undo")


# --- a playbook that failed -------------------------------------------------------------------------

REFUSED = AdapterError("playbooks/baseline.yml failed; nothing was changed\n  web: sshd -T says no")
LOST = AdapterError("playbooks/baseline.yml failed\n  web is unreachable", transient=True)


def test_what_the_host_refused_before_it_changed_anything_is_told_as_it_is(
    ctx: Any, host: ChangedHost, playing: Any
) -> None:
    playing(lambda: FakeLog(None, REFUSED))
    with pytest.raises(AdapterError) as told:
        enforce(ctx)
    assert told.value is REFUSED


def test_what_the_host_took_back_at_once_is_told_with_its_reason(
    ctx: Any, host: ChangedHost, playing: Any
) -> None:
    def act() -> FakeLog:
        host.change(RUN, SWITCH_S)
        host.revert(RUN, "sshd -T lets ops in no more")
        return FakeLog(None, REFUSED)

    playing(act)
    with pytest.raises(AdapterError, match="sshd -T says no") as told:
        enforce(ctx)
    assert "lets ops in no more" in evidence(told.value).why
    assert host.now_s < 1010


def test_what_a_revert_could_not_put_back_is_told(ctx: Any, host: ChangedHost, playing: Any) -> None:
    def act() -> FakeLog:
        host.markers[RUN] = {"state": "reverted", "failed": {"/etc/motd": "OSError: no space"}}
        return FakeLog(None, REFUSED)

    playing(act)
    with pytest.raises(AdapterError, match="not put back: /etc/motd: OSError: no space") as told:
        enforce(ctx)
    assert "as it was before" not in str(told.value)


def test_a_host_that_cannot_take_all_of_it_back_is_not_waited_for_for_ever(
    ctx: Any, host: ChangedHost, playing: Any
) -> None:
    stuck = {"state": "armed", "why": "nobody confirmed it in time", "failed": {"/etc/motd": "no space"}}

    def act() -> FakeLog:
        host.markers[RUN] = stuck
        return FakeLog(None, REFUSED)

    playing(act)
    began_s = host.now_s
    with pytest.raises(AdapterError, match=r"could not take all of .* not put back: /etc/motd: no space"):
        enforce(ctx)
    assert host.now_s - began_s < SWITCH_S + enforcing.GRACE_S + 10
    with pytest.raises(AdapterError, match="could not take all of"):
        enforce(ctx)  # and so it is for whoever comes later
    assert "not put back: /etc/motd" in verify(ctx).why


@pytest.mark.parametrize("state", ["armed", "reverted"])
def test_what_is_half_back_is_kept_as_evidence_and_not_enforced_again(
    state: str, ctx: Any, host: ChangedHost, playing: Any
) -> None:
    playing(lambda: pytest.fail("nothing may be changed again"))
    host.markers[RUN] = {"state": state, "why": "late", "failed": {"/etc/motd": "no space"}}
    with pytest.raises(AdapterError, match=r"not put back: /etc/motd: no space") as told:
        enforce(ctx)
    assert (evidence(told.value).switch, evidence(told.value).failed) == (
        "reverted",
        {"/etc/motd": "no space"},
    )
    assert f"./inv baseline.undo --env city --change {RUN}" in str(told.value.hint)


def test_what_was_half_put_back_is_undone_when_somebody_asks_for_it(ctx: Any, host: ChangedHost) -> None:
    told = json.dumps({"state": "undone", "restored": ["/etc/motd"]})
    ctx.run_unit = lambda name, argv: Completed(exit_code=0, stdout=told, stderr="")
    host.markers[RUN] = {"state": "armed", "failed": {"/etc/motd": "no space"}}
    assert undo(ctx).changed


def test_a_connection_that_is_lost_in_the_middle_is_waited_out(
    ctx: Any, host: ChangedHost, playing: Any
) -> None:
    def act() -> FakeLog:
        host.change(RUN, SWITCH_S, lets_in=False)
        return FakeLog(None, LOST)

    playing(act)
    with pytest.raises(AdapterError, match=r"back by itself: .*unreachable"):
        enforce(ctx)
    assert host.asked[1:] == ["state"], "a change whose playbook failed must never be confirmed"


def test_a_change_without_a_switch_that_nobody_saw_end_is_not_known(
    ctx: Any, host: ChangedHost, playing: Any
) -> None:
    def act() -> FakeLog:
        host.markers[RUN] = {"state": "none"}
        return FakeLog(None, LOST)

    playing(act)
    with pytest.raises(OutcomeUnknown, match="was begun and nobody saw it end") as told:
        enforce(ctx, risk="R1", switch_s=0.0)
    assert f"./inv baseline.undo --env city --change {RUN}" in str(told.value.hint)


def test_an_answer_that_was_lost_on_the_way_does_not_undo_what_was_kept(
    ctx: Any, host: ChangedHost, playing: Any
) -> None:
    def act() -> FakeLog:
        host.markers[RUN] = {"state": "kept", "settings": ARMED["settings"]}
        return FakeLog(None, LOST)

    playing(act)
    seen = enforce(ctx, risk="R1", switch_s=0.0)
    assert isinstance(seen.evidence, SettingsEnforced)
    assert (seen.changed, seen.evidence.switch, len(seen.evidence.settings)) == (True, "none", 1)


# --- a controller that died -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "progress"),
    [
        ("confirmed", "done"),
        ("kept", "done"),
        ("armed", "in_progress"),
        ("reverted", "not_done"),
        ("undone", "unknown"),
        ("none", "not_done"),
        ("absent", "not_done"),
    ],
)
def test_the_marker_says_how_far_a_dead_controller_came(
    state: str, progress: str, ctx: Any, host: ChangedHost
) -> None:
    host.markers[RUN] = {"state": state, "settings": ARMED["settings"]}
    found = verify(ctx)
    assert found.state == progress
    if progress == "done":
        assert found.outcome.evidence.settings[0].control == "lin.ssh.a"


def test_a_host_that_does_not_answer_is_not_known(ctx: Any, host: ChangedHost) -> None:
    host.lets_in = False
    assert verify(ctx).state == "unknown"


@pytest.mark.parametrize(
    "said", ["", "[]", '{"state": "fine"}', '{"state": "kept", "settings": 3}', "[" * 10**5]
)
def test_garbage_is_no_marker(said: str, ctx: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Completed(exit_code=0, stdout=said, stderr="")
    monkeypatch.setattr(ChangedHost, "_answer", lambda *_: answer)
    found = verify(ctx)
    assert (found.state, "cannot be read" in found.why) == ("unknown", True)


def test_done_again_while_armed_it_waits_for_the_revert_and_changes_nothing(
    ctx: Any, host: ChangedHost, playing: Any
) -> None:
    given = playing(lambda: pytest.fail("nothing may be changed again"))
    host.change(RUN, SWITCH_S)
    with pytest.raises(AdapterError, match="the one who made it is gone"):
        enforce(ctx)
    assert given == []
    assert verify(ctx).state == "not_done"


def test_done_again_while_armed_it_believes_whoever_confirms_it_meanwhile(
    ctx: Any, host: ChangedHost, playing: Any
) -> None:
    playing(lambda: pytest.fail("nothing may be changed again"))
    host.change(RUN, SWITCH_S)
    naps = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        host.sleep(seconds)
        host.markers[RUN]["state"] = "confirmed"

    enforcing.time.sleep = sleep  # type: ignore[assignment]
    assert enforce(ctx).changed
    assert naps


def test_done_again_when_it_was_kept_it_changes_nothing(ctx: Any, host: ChangedHost, playing: Any) -> None:
    playing(lambda: pytest.fail("nothing may be changed again"))
    host.markers[RUN] = {"state": "confirmed", "settings": ARMED["settings"]}
    assert enforce(ctx).changed
    host.markers[RUN] = {"state": "undone"}
    with pytest.raises(AdapterError, match="was undone by somebody; nothing was changed"):
        enforce(ctx)


# --- undone -----------------------------------------------------------------------------------------


def undo(ctx: Any, *edited: str) -> Outcome:
    return ansible.undo_settings(UndoSettings(host="web", change=RUN, edited=edited), ctx)


def test_an_undo_says_what_it_put_back_and_what_it_left(ctx: Any, host: ChangedHost) -> None:
    units = []

    def run_unit(name: str, argv: list[str]) -> Completed:
        units.append(argv)
        told = '{"state": "undone", "restored": ["/etc/motd"], "left": {"/etc/issue": "edited since"}}'
        return Completed(exit_code=0, stdout=told, stderr="")

    ctx.run_unit = run_unit
    host.markers[RUN] = {"state": "confirmed"}
    seen = undo(ctx, "/etc/hosts", "/etc/fstab")
    assert isinstance(seen.evidence, SettingsUndone)
    assert (seen.changed, seen.evidence.restored) == (True, ("/etc/motd",))
    assert seen.evidence.left == {"/etc/issue": "edited since"}
    assert units[0][-5:] == ["undo", "--edited", "/etc/hosts", "--edited", "/etc/fstab"]
    assert host.logins, "nobody logged in anew afterwards"


@pytest.mark.parametrize(("state", "words"), [("absent", "is not known"), ("armed", "is not confirmed yet")])
def test_what_is_not_settled_is_not_undone(state: str, words: str, ctx: Any, host: ChangedHost) -> None:
    host.markers[RUN] = {"state": state}
    with pytest.raises(AdapterError, match=f"{words}; nothing was changed"):
        undo(ctx)


def test_what_an_undo_could_not_put_back_is_a_failure(ctx: Any, host: ChangedHost) -> None:
    told = json.dumps({"state": "undone", "failed": {"/etc/motd": "OSError: no space"}})
    ctx.run_unit = lambda name, argv: Completed(exit_code=1, stdout=told, stderr="")
    host.markers[RUN] = {"state": "confirmed"}
    with pytest.raises(AdapterError, match="not put back: /etc/motd: OSError: no space"):
        undo(ctx)


def test_an_undo_after_which_nobody_gets_in_says_so(ctx: Any, host: ChangedHost) -> None:
    def run_unit(name: str, argv: list[str]) -> Completed:
        host.lets_in = False
        return Completed(exit_code=0, stdout='{"state": "undone", "restored": ["/etc/motd"]}', stderr="")

    ctx.run_unit = run_unit
    host.markers[RUN] = {"state": "confirmed"}
    with pytest.raises(AdapterError, match="is undone, and now cannot log in to web") as told:
        undo(ctx)
    assert isinstance(told.value.evidence, SettingsUndone)
    assert told.value.evidence.restored == ("/etc/motd",)


@pytest.mark.parametrize("state", ["reverted", "undone"])
def test_what_is_back_already_is_left_as_it_is(state: str, ctx: Any, host: ChangedHost) -> None:
    host.markers[RUN] = {"state": state}
    assert not undo(ctx).changed


@pytest.mark.parametrize(
    ("marker", "edited"),
    [({"state": "undone"}, ["/etc/motd"]), ({"state": "undone", "failed": {"/etc/motd": "no space"}}, [])],
    ids=["for-what-was-left", "for-what-failed"],
)
def test_an_undo_can_be_asked_for_once_more(
    marker: dict[str, Any], edited: list[str], ctx: Any, host: ChangedHost
) -> None:
    told = json.dumps({"state": "undone", "restored": ["/etc/motd"]})
    ctx.run_unit = lambda name, argv: Completed(exit_code=0, stdout=told, stderr="")
    host.markers[RUN] = marker
    assert undo(ctx, *edited).changed


@pytest.mark.parametrize(
    ("state", "unit", "progress"),
    [
        ("undone", "absent", "done"),
        ("undone", "ended", "in_progress"),
        ("confirmed", "running", "in_progress"),
        ("confirmed", "lost", "unknown"),
        ("confirmed", "absent", "not_done"),
    ],
)
def test_how_far_an_undo_came(state: str, unit: str, progress: str, ctx: Any, host: ChangedHost) -> None:
    host.markers[RUN] = {"state": state}
    ctx.unit_state = lambda name: unit
    found = ansible.verify_undo_settings(UndoSettings(host="web", change=RUN), ctx)
    assert found.state == progress
