"""Baselines of vCenters: what is planted is found, changed, put back; what is denied is not known."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
import yaml
from pyVim.task import WaitForTask

from automation.adapters.vsphere import sessions
from automation.baseline.enforcement import Case, Wish, decide
from automation.baseline.guards import ASKED, Scene
from automation.baseline.judge import judge
from automation.baseline.settings import Baseline
from automation.baseline.verdicts import Assessment, Verdict
from automation.commands._controls import load_controls
from automation.commands._enforcing import EnforceFlags, enforce, judge_result, prepare
from automation.commands._session import Session
from automation.commands._undoing import UndoFlags, judge_undone, prepare_undo, undo
from automation.engine.context import Connections, RunContext
from automation.model.actions import (
    ChangePortGroup,
    CollectVcenterFacts,
    CreatePortGroup,
    EnforceVcenter,
    UndoVcenter,
)
from automation.model.baseline_evidence import CallsMade, FactsCollected
from automation.model.environment import Inventory
from automation.model.errors import EXIT_PARTIAL, AdapterError
from automation.model.facts import Facts
from automation.model.kept_facts import read_facts
from automation.model.provider_settings import SavedCall, WantedCall
from automation.model.records import Outcome, Remote
from automation.model.servers import NetworkSpec
from tests.programs.vsphere_planted import KEEP, hosts_of, plant, set_options, set_policy, state_of
from tests.programs.vsphere_sites import Sites, two_sites

pytestmark = pytest.mark.lab
CONTROLS = {name: one for name, one in load_controls().items() if one.platform == "vsphere"}
HALL = "vcenter-hall"
FAILING = {
    "vsp.hosts.lockdown",
    "vsp.hosts.shells",
    "vsp.hosts.logs",
    "vsp.hosts.clock",
    "vsp.hosts.trusted-boot",
    "vsp.accounts.lockout",
    "vsp.network.port-groups",
}
NOT_KNOWN = {"vsp.network.tls-profile", "vsp.vcenter.updates", "vsp.vcenter.backup"}
OF_PEOPLE = {"vsp.hosts.trusted-boot"}
PROFILE = "cis-l1"
NETWORK = NetworkSpec(name="records", provider="vsphere", site="hall", vlan=11)
BASELINE = f"profile: {PROFILE}\nenforce: [{{controls: [vsp.*], groups: [{HALL}]}}]\n"
SETTINGS = Baseline.model_validate(yaml.safe_load(BASELINE))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    annex = {"esxi": "7.0.3", "secure_boot": False}
    with two_sites(tmp_path_factory.mktemp("sites"), annex=annex) as sites:
        yield sites


@pytest.fixture
def sites(running: Sites) -> Sites:
    running.reset()
    plant(running.hall)
    running.reset()
    return running


@pytest.fixture
def run(request: pytest.FixtureRequest) -> str:
    """Each test is a run of its own."""
    return str(request.node.name).partition("[")[0].replace("_", "-")


def collected(sites: Sites, vcenter: str = HALL) -> Facts:
    ctx = sites.context()
    evidence = sites.do(CollectVcenterFacts(vcenter=vcenter), ctx).evidence
    assert isinstance(evidence, FactsCollected)
    return read_facts(ctx.artifacts / evidence.file)


def judged(facts: Facts) -> Assessment:
    return judge(facts, list(CONTROLS.values()), PROFILE, facts.collected_at)


def verdicts(facts: Facts) -> dict[str, Verdict]:
    return {one.control: one for one in judged(facts).verdicts}


def states(facts: Facts, state: str) -> set[str]:
    return {name for name, one in verdicts(facts).items() if one.state == state}


def wanted(facts: Facts, *controls: str) -> EnforceVcenter:
    """What baseline.enforce would ask for, were every question of its guards answered with yes."""
    case = Case(facts, judged(facts), Scene("mainstay"))
    decided = decide(case, CONTROLS, Wish(SETTINGS, controls, frozenset(ASKED)))
    return EnforceVcenter(vcenter=HALL, calls=decided.enforced.calls)


def enforced(sites: Sites, action: EnforceVcenter, run: str) -> Outcome:
    return sites.do(action, sites.context("enforce", run=run))


def saved(outcome: Outcome) -> tuple[SavedCall, ...]:
    assert isinstance(outcome.evidence, CallsMade)
    return outcome.evidence.saved


def refused(sites: Sites, action: EnforceVcenter | UndoVcenter, run: str) -> AdapterError:
    with pytest.raises(AdapterError) as told:
        sites.do(action, sites.context("enforce", run=run))
    return told.value


def test_what_is_planted_fails_and_every_control_has_a_verdict(sites: Sites) -> None:
    facts = collected(sites)
    assert (facts.subject, facts.platform, facts.source) == (HALL, "vsphere", "simulated")
    assert states(facts, "fail") == FAILING
    assert states(facts, "unknown") == NOT_KNOWN
    assert len(verdicts(facts)) == len(CONTROLS) == 10
    assert all(verdicts(facts)[name].reason for name in FAILING | NOT_KNOWN)


def test_facts_cost_two_round_trips_and_one_a_host(sites: Sites) -> None:
    collected(sites)
    calls = sites.hall.calls()
    assert (calls["RetrievePropertiesEx"], calls["QueryLockdownExceptions"]) == (2, 2)


def test_a_vcenter_is_asked_in_the_newest_words_that_it_knows(sites: Sites) -> None:
    collected(sites)
    assert "vim.version.v8_0_3_0" in {one._stub.version for one in sessions._KEPT.values()}


def test_where_nobody_can_log_in_there_are_no_facts(sites: Sites) -> None:
    (sites.state / "secrets/wrong").write_text("VSPHERE_USER=nobody\nVSPHERE_PASSWORD=no\n")
    ctx = sites.context(environment=sites.declare(login={"file": "secrets/wrong"}))
    with pytest.raises(AdapterError, match="refuses the user or the password; nothing was changed"):
        sites.do(CollectVcenterFacts(vcenter=HALL), ctx)


def test_a_release_that_nobody_supports_and_an_unsigned_boot_fail(sites: Sites) -> None:
    annex = collected(sites, "vcenter-annex")
    assert {"vsp.vcenter.updates", "vsp.hosts.trusted-boot"} <= states(annex, "fail")
    assert "main-esx1" in verdicts(annex)["vsp.vcenter.updates"].reason
    with hosts_of(sites.hall) as hosts:
        for host in hosts:
            set_options(host, {"VMkernel.Boot.execInstalledOnly": True})
    assert verdicts(collected(sites))["vsp.hosts.trusted-boot"].state == "pass"


def test_what_is_enforced_passes_and_a_second_time_changes_nothing(sites: Sites, run: str) -> None:
    action = wanted(collected(sites))
    assert enforced(sites, action, run).changed
    after = collected(sites)
    assert states(after, "pass") == FAILING - OF_PEOPLE - {"vsp.accounts.lockout"}
    lockout = verdicts(after)["vsp.accounts.lockout"]
    assert (lockout.state, "single sign-on" in lockout.reason) == ("unknown", True)
    assert states(after, "fail") == OF_PEOPLE
    before = sites.hall.calls()
    again = enforced(sites, action, f"{run}-again")
    assert (again.changed, saved(again)) == (False, ())
    assert _changes(sites.hall.calls()) == _changes(before)


def test_only_what_is_wrong_is_changed(sites: Sites, run: str) -> None:
    was = state_of(sites.hall)
    enforced(sites, wanted(collected(sites)), run)
    now: Any = state_of(sites.hall)
    assert now["main-esx1"]["options"]["UserVars.ESXiShellInteractiveTimeOut"] == 300
    assert now["main-esx1"]["options"]["Syslog.global.logHost"] == "ssl://logs.city.lab:1514"
    assert now["main-esx1"]["security"]["VM Network"] == (None, False, False)  # its switch forbids the first
    assert now["main-esx1"]["security"]["city"] == (False, False, False)
    assert now["police"] == (False, False, False)
    assert was != now


def test_undo_puts_everything_back(sites: Sites, run: str) -> None:
    was = state_of(sites.hall)
    made = saved(enforced(sites, wanted(collected(sites)), run))
    undo = UndoVcenter(vcenter=HALL, saved=made)
    assert sites.verify(undo).state == "not_done"
    undone = sites.do(undo)
    assert (undone.changed, state_of(sites.hall)) == (True, was)
    assert sites.verify(undo).state == "done"
    again = sites.do(undo)
    assert (again.changed, state_of(sites.hall)) == (False, was)


def test_undo_leaves_what_somebody_changed_since_and_what_is_gone(sites: Sites, run: str) -> None:
    action = wanted(collected(sites), "vsp.network.port-groups", "vsp.accounts.lockout")
    made = saved(enforced(sites, action, run))
    with hosts_of(sites.hall) as hosts:
        set_policy(hosts[0], "city", promiscuous=True)
        gone = made[0].model_copy(update={"call": "stop_shells", "on": "esx-that-was"})
    undone = sites.do(UndoVcenter(vcenter=HALL, saved=(*made, gone)))
    assert isinstance(undone.evidence, CallsMade)
    assert set(undone.evidence.left) == {"close_port_group city", "stop_shells esx-that-was"}
    assert "changed since" in undone.evidence.left["close_port_group city"]
    now: Any = state_of(sites.hall)
    assert now["main-esx1"]["security"]["city"] == (True, None, None)
    assert now["main-esx2"]["security"]["city"] == (False, False, False)
    assert now["main-esx1"]["options"]["Security.AccountLockFailures"] == 10


@pytest.mark.parametrize(
    ("method", "blind"),
    [("QueryLockdownExceptions", {"vsp.hosts.lockdown"}), ("RetrievePropertiesEx", set(CONTROLS))],
)
def test_what_is_denied_is_not_known_and_nothing_else(sites: Sites, method: str, blind: set[str]) -> None:
    sites.hall.faults({"method": method, "mode": "fault", "fault": "NoPermission", "times": 9})
    facts = collected(sites)
    assert states(facts, "unknown") == NOT_KNOWN | blind
    assert states(facts, "fail") == FAILING - blind
    for name in blind - NOT_KNOWN:
        assert "denies the privilege" in verdicts(facts)[name].reason


def test_a_host_that_is_away_is_named_and_nothing_passes_without_it(sites: Sites, run: str) -> None:
    enforced(sites, wanted(collected(sites)), run)
    with hosts_of(sites.hall) as hosts:
        WaitForTask(hosts[1].DisconnectHost_Task())
    facts = collected(sites)
    assert (states(facts, "pass"), "all_hosts" in facts.unknown) == (set(), True)
    assert "main-esx2 is disconnected" in verdicts(facts)["vsp.hosts.shells"].reason
    assert states(facts, "fail") == OF_PEOPLE
    call = WantedCall(control="vsp.hosts.shells", risk="R1", call="stop_shells", on="main-esx2")
    assert "disconnected" in str(refused(sites, EnforceVcenter(vcenter=HALL, calls=(call,)), f"{run}-2"))


def test_a_call_that_is_denied_says_what_was_changed_before_it(sites: Sites, run: str) -> None:
    was = state_of(sites.hall)
    action = wanted(collected(sites), "vsp.hosts.shells")
    sites.hall.faults({"method": "UpdateOptions", "mode": "fault", "fault": "NoPermission", "times": 9})
    error = refused(sites, action, run)
    assert "done before it: UpdateServicePolicy, StopService" in str(error)
    assert isinstance(error.evidence, CallsMade)
    made = error.evidence.saved
    assert [(one.call, one.on) for one in made] == [
        ("stop_shells", "main-esx1"),
        ("stop_shells", "main-esx2"),
    ]
    sites.do(UndoVcenter(vcenter=HALL, saved=made))
    assert state_of(sites.hall) == was


def test_a_call_that_fails_half_way_is_put_back_too(sites: Sites, run: str) -> None:
    was = state_of(sites.hall)
    action = wanted(collected(sites), "vsp.hosts.shells")
    sites.hall.faults({"method": "StopService", "mode": "fault", "fault": "HostConfigFault", "times": 9})
    error = refused(sites, action, run)
    assert isinstance(error.evidence, CallsMade)
    (half,) = error.evidence.saved
    assert half.after == {
        "ssh": {"running": True, "policy": "off"},
        "shell": {"running": False, "policy": "off"},
    }
    sites.do(UndoVcenter(vcenter=HALL, saved=(half,)))
    assert state_of(sites.hall) == was


def test_a_run_that_was_killed_knows_what_was_before_when_it_goes_on(sites: Sites, run: str) -> None:
    was = state_of(sites.hall)
    action = wanted(collected(sites))
    ctx = sites.context("enforce", run=run)
    assert sites.verify(action, ctx).state == "not_done"
    sites.hall.faults({"method": "UpdateOptions", "mode": "fault", "fault": "NoPermission", "times": 1})
    refused(sites, action, run)  # its evidence dies with it
    assert sites.verify(action, ctx).state == "not_done"
    made = saved(enforced(sites, action, run))
    seen = sites.verify(action, ctx)
    assert seen.outcome is not None
    assert set(map(repr, saved(seen.outcome))) == set(map(repr, made))
    sites.do(UndoVcenter(vcenter=HALL, saved=made))
    assert state_of(sites.hall) == was


@pytest.mark.parametrize("mode", ["drop", "applied-then-drop", "not-authenticated"])
def test_an_answer_that_is_lost_costs_nothing(sites: Sites, run: str, mode: str) -> None:
    action = wanted(collected(sites))
    sites.hall.faults(
        *({"method": method, "mode": mode} for method in ("StopService", "UpdateOptions", "UpdatePortGroup"))
    )
    assert enforced(sites, action, f"{run}-{mode}").changed
    assert states(collected(sites), "fail") == OF_PEOPLE


def test_a_host_is_not_locked_down_when_those_who_repair_it_would_be_locked_out(
    sites: Sites, run: str
) -> None:
    with hosts_of(sites.hall) as hosts:
        hosts[1].configManager.hostAccessManager.UpdateLockdownExceptions(["mainstay"])
    was = state_of(sites.hall)
    error = refused(sites, call_at("main-esx2", "lock_host_down"), run)
    assert "break-glass would lose their rights" in str(error)
    assert "left as it is" in str(error)
    assert state_of(sites.hall) == was


def test_a_vcenter_that_begins_anew_is_as_it_was_left(sites: Sites, run: str) -> None:
    enforced(sites, wanted(collected(sites)), run)
    sites.hall.restart()
    assert states(collected(sites), "fail") == OF_PEOPLE


def test_a_vlan_that_is_changed_leaves_a_port_group_closed(sites: Sites, run: str) -> None:
    sites.do(CreatePortGroup(network=NETWORK))
    enforced(sites, wanted(collected(sites), "vsp.network.port-groups"), run)
    vlan = NETWORK.model_copy(update={"vlan": 12})
    sites.do(ChangePortGroup(network=vlan, changes=("vlan",)))
    now: Any = state_of(sites.hall)
    assert now["main-esx1"]["security"]["records"] == (None, False, False)


class Unreachable:
    """Connections to hosts, of which there is none."""

    def remote(self, host: str) -> Remote:
        raise AdapterError(f"{host} does not answer")


def session_of(sites: Sites) -> Session:
    (sites.state / "baseline.yml").write_text(BASELINE)
    nobody, inventory = Unreachable(), Inventory(servers={}, digest="1" * 64)

    def context(run_id: str) -> RunContext:
        artifacts = sites.state / "runs" / run_id / "artifacts"
        told = sites.environment, inventory, sites.state, sites.state, artifacts
        return RunContext(run_id, *told, cast("Connections", nobody), lambda *_: None)

    told = sites.environment, inventory, sites.state, sites.state
    return Session(*told, nobody.remote, context, lambda _: None)


def test_the_commands_plan_enforce_and_undo_a_vcenter(sites: Sites) -> None:
    was, session = state_of(sites.hall), session_of(sites)
    bare = prepare(session, EnforceFlags(limit=HALL))
    asked = {guard for one in bare.shown.left_out for guard in one.guards}
    assert {one.control for one in bare.shown.left_out} >= FAILING - OF_PEOPLE
    assert (bare.plan.steps, state_of(sites.hall)) == ((), was)
    flags = EnforceFlags(limit=HALL, accept_guard=",".join(asked))
    prepared = prepare(session, flags)
    assert prepared.shown.locks_out == (HALL,)
    ended = enforce(session, prepared, flags, ask=lambda: True)
    assert (ended.finished.closed.status, ended.result.unmet, ended.result.worse) == ("succeeded", (), ())
    assert [one.control for one in ended.result.lost] == ["vsp.accounts.lockout"]  # hosts' part holds
    assert ended.result.changed == len(prepared.shown.enforced[0].calls)
    assert judge_result(session, prepared, ended.result) == EXIT_PARTIAL  # secure boot is people's
    undoing = UndoFlags(ended.result.run)
    undone = undo(session, prepare_undo(session, undoing), undoing, ask=lambda: True)
    assert (judge_undone(undone), state_of(sites.hall)) == (0, was)


def call_at(host: str, call: str, **more: Any) -> EnforceVcenter:
    told = {"control": "vsp.hosts.lockdown", "risk": "R2", "arguments": {"exceptions": KEEP}, **more}
    return EnforceVcenter(vcenter=HALL, calls=(WantedCall(call=call, on=host, **told),))


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (call_at("main-esx1", "lock_host_down", risk="R4"), "which people do"),
        (call_at("main-esx1", "lock_host_down", risk="R3"), "which people do"),
        (call_at("main-esx1", "lock_host_down", arguments={}), "nobody is named"),
        (call_at("main-esx9", "lock_host_down"), "no host"),
        (call_at("main-esx1", "set_host_lockout"), "no number"),
        (call_at("main-esx1", "destroy_everything"), "no call"),
        (call_at("nowhere", "close_port_group"), "nothing that is connected has it"),
        (
            call_at("main-esx1", "stop_shells").model_copy(update={"vcenter": "vcenter-moon"}),
            "names no vCenter",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_must_not_be_done_is_refused_before_the_first_change(
    sites: Sites, run: str, action: EnforceVcenter, words: str
) -> None:
    was = state_of(sites.hall)
    first = call_at("main-esx1", "stop_shells").calls
    both = action.model_copy(update={"calls": (*first, *action.calls)})
    assert words in str(refused(sites, both, run))
    assert state_of(sites.hall) == was


def test_strict_lockdown_is_left_to_people(sites: Sites, run: str) -> None:
    with hosts_of(sites.hall) as hosts:
        hosts[0].configManager.hostAccessManager.ChangeLockdownMode("lockdownStrict")
    action = call_at("main-esx1", "lock_host_down")
    assert not enforced(sites, action, run).changed
    strict = SavedCall(
        control="x",
        call="lock_host_down",
        on="main-esx2",
        before={"mode": "strict"},
        after={"mode": "disabled"},
    )
    assert "set by people alone" in str(refused(sites, UndoVcenter(vcenter=HALL, saved=(strict,)), run))


def _changes(calls: dict[str, int]) -> Sequence[tuple[str, int]]:
    words = ("Update", "Change", "Start", "Stop", "Reconfig")
    return sorted((name, times) for name, times in calls.items() if name.startswith(words))
