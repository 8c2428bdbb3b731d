"""The plan of an enforcement, carried out by the engine: waves, what stops it, and its undoing."""

from collections.abc import Mapping

import pytest

from automation.baseline.enforcement import Enforced
from automation.baseline.planner import Beside, Enforcing, Subjects, Undoing, Watch, plan_audit, plan_undo
from automation.baseline.planner import plan_enforcement as make_plan
from automation.baseline.settings import Baseline
from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.executor import execute
from automation.engine.journal import Journal
from automation.model.actions import (
    EnforceSettings,
    ExpectFacts,
    Probe,
    UndoAccount,
    UndoSettings,
)
from automation.model.errors import AdapterError, NotMet
from automation.model.host_settings import FileMode, Risk, SshdSetting, WantedSetting
from automation.model.plan import Plan, Step
from automation.model.provider_settings import SavedCall, WantedCall
from automation.model.records import Outcome, RunClosed
from tests.engine.conftest import context as context  # a context that reaches nothing

SETTINGS = Baseline.model_validate({"profile": "standard", "switch": "45 s", "walk": "7 s"})
PROBE = Probe(id="pay/web", kind="http", name="pay.city.lab", port=80)
WATCH = Watch("client-1", (PROBE,), 0.1, 1.0, 10)
CALL = WantedCall(control="aws.iam.password-rules", risk="R1", call="set_password_rules")
DONE = Outcome(changed=True, summary="done")
CHANGE = "20261122-120000-abcd"


def on(host: str, risk: Risk = "R2", fact: str = "sshd.effective.maxauthtries") -> Enforced:
    setting = SshdSetting(kind="sshd", keyword="MaxAuthTries", value=4)
    wanted = WantedSetting(control="lin.ssh.auth-tries", risk=risk, setting=setting)
    return Enforced(subject=host, platform="linux", settings=(wanted,), expected={fact: "10"})


def plan_enforcement(*waves: tuple[str, ...], watch: Watch | None = WATCH) -> Plan:
    every = {host: on(host) for wave in waves for host in wave}
    return make_plan("lab", Enforcing(every, waves, watch), SETTINGS)


class World:
    """Performs steps, notes them, and fails those it is told to."""

    def __init__(self, ctx: RunContext, failures: Mapping[str, Exception]) -> None:
        self.ctx, self.failures = ctx, failures
        self.done: list[str] = []

    def __call__(self, step: Step, ctx: RunContext) -> Outcome:
        if step.id in self.failures:
            raise self.failures[step.id]
        self.done.append(step.id)
        return DONE

    def run(self, plan: Plan) -> RunClosed:
        journal = Journal(self.ctx.state / "journal.jsonl")
        closed = execute(plan, self.ctx, journal, work=Work(perform=self))
        journal.close()
        return closed


def carried_out(context: RunContext, plan: Plan, **failures: Exception) -> tuple[str, list[str]]:
    told = {name.replace("__", "/").replace("_", "-"): error for name, error in failures.items()}
    assert told.keys() <= plan.by_id.keys()
    world = World(context, told)
    return world.run(plan).status, world.done


TWO_WAVES = (("pg-b", "web"), ("pg-a",))


def test_a_wave_begins_when_services_are_well_after_that_before_it(context: RunContext) -> None:
    status, done = carried_out(context, plan_enforcement(*TWO_WAVES))
    assert status == "succeeded"
    place = {step: number for number, step in enumerate(done)}
    assert place["watch/start"] < place["wave-1/well"] < place["pg-b/expect"]
    for host in ("pg-b", "web"):
        assert place["wave-1/well"] < place[f"{host}/expect"] < place[f"{host}/enforce"]
        assert place[f"{host}/enforce"] < place[f"{host}/facts"] < place["wave-2/well"]
    assert place["wave-2/well"] < place["pg-a/expect"] < place["pg-a/facts"] < place["all/well"]
    assert done[-1] == "watch/collect"


def test_a_host_that_moved_is_not_changed_and_no_later_wave_begins(context: RunContext) -> None:
    status, done = carried_out(
        context, plan_enforcement(*TWO_WAVES), pg_b__expect=AdapterError("it moved; nothing was changed")
    )
    assert status == "paused"
    assert "pg-b/enforce" not in done
    assert {"web/enforce", "web/facts"} <= set(done)
    assert not {"wave-2/well", "pg-a/expect", "pg-a/enforce"} & set(done)


@pytest.mark.parametrize("watch", [WATCH, None], ids=["watched", "unwatched"])
def test_a_change_that_fails_stops_all_that_comes(context: RunContext, watch: Watch | None) -> None:
    plan = plan_enforcement(("pg-b",), ("pg-a",), watch=watch)
    status, done = carried_out(context, plan, pg_b__enforce=AdapterError("it took it back by itself"))
    assert status == "halted"
    assert not {"pg-a/expect", "pg-a/enforce"} & set(done)


@pytest.mark.parametrize("when", ["wave_1", "wave_2"])
def test_no_host_is_changed_while_a_service_is_not_well(context: RunContext, when: str) -> None:
    plan = plan_enforcement(("pg-b",), ("pg-a",))
    status, done = carried_out(context, plan, **{f"{when}__well": NotMet("pay is not well")})
    assert status == "halted"
    assert ("pg-b/enforce" in done) == (when == "wave_2")
    assert "pg-a/enforce" not in done


@pytest.mark.parametrize("watch", [WATCH, None], ids=["watched", "unwatched"])
def test_a_host_that_answers_no_more_after_its_change_stops_all_that_comes(
    context: RunContext, watch: Watch | None
) -> None:
    plan = plan_enforcement(("pg-b",), ("pg-a",), watch=watch)
    status, done = carried_out(context, plan, pg_b__facts=AdapterError("no answer"))
    assert (status, "pg-a/enforce" in done) == ("halted", False)


def test_a_switch_is_armed_where_people_could_be_locked_out_and_nowhere_else() -> None:
    every = {"pg-a": on("pg-a"), "pg-b": on("pg-b", risk="R1"), "app-a": on("app-a", risk="R1")}
    harmless = WantedSetting(
        control="lin.files.etc", risk="R1", setting=FileMode(kind="file-mode", path="/etc/fstab", mode="0600")
    )
    every["pg-b"] = every["pg-b"].model_copy(update={"settings": (harmless,)})
    plan = make_plan("lab", Enforcing(every, (("pg-a",), ("pg-b",), ("app-a",)), None), SETTINGS)
    runs = {step.run.host: step.run for step in plan.steps if isinstance(step.run, EnforceSettings)}
    # The setting of sshd on app-a, too, whose risk is said to be small: the host would refuse it without one.
    assert {host: run.switch_s for host, run in runs.items()} == {"pg-a": 45.0, "pg-b": 0.0, "app-a": 45.0}
    limits = {step.id: step.timeout_s for step in plan.steps}
    assert limits["pg-a/enforce"] >= limits["pg-b/enforce"] + 2 * 45


def test_disks_are_walked_again_only_where_a_plan_stands_on_the_walk() -> None:
    every = {"pg-a": on("pg-a"), "pg-b": on("pg-b", fact="tree.world_writable")}
    plan = make_plan("lab", Enforcing(every, (("pg-a",), ("pg-b",)), None), SETTINGS)
    walks = {step.run.host: step.run.walk_s for step in plan.steps if isinstance(step.run, ExpectFacts)}
    assert walks["pg-a"] < 1
    assert walks["pg-b"] == 7


def test_what_a_person_answered_for_stands_in_what_is_approved() -> None:
    said = on("pg-a").model_copy(update={"accepted": ("not_break_glass",)})
    plain = plan_enforcement(("pg-a",), watch=None)
    plan = make_plan("lab", Enforcing({"pg-a": said}, (("pg-a",),), None), SETTINGS)
    assert "not_break_glass" in plan.step("pg-a/enforce").why
    assert plan.digest != plain.digest


def test_accounts_and_vcenters_are_changed_and_read_again() -> None:
    account = Enforced(subject="123456789012", platform="aws", calls=(CALL,))
    vcenter = Enforced(subject="hall", platform="vsphere", calls=(CALL,))
    every = {one.subject: one for one in (account, vcenter)}
    beside = {"hall": Beside(servers=("gis-app-a",))}
    plan = make_plan("lab", Enforcing(every, tuple((name,) for name in every), None, beside), SETTINGS)
    did = [step.run.do for step in plan.steps]
    assert did == ["aws.enforce_calls", "aws.collect_facts", "vsphere.enforce_calls", "vsphere.collect_facts"]
    assert getattr(plan.step("hall/enforce").run, "servers_there", ()) == ("gis-app-a",)
    assert plan.step("hall/enforce").after == ("123456789012/enforce", "123456789012/facts")


def test_an_undoing_goes_backwards_one_by_one_and_looks_afterwards(context: RunContext) -> None:
    saved = (SavedCall(control="c", call="one"), SavedCall(control="c", call="two"))
    undoing = Undoing(("pg-b", "pg-a"), {"123456789012": saved})
    plan = plan_undo("lab", CHANGE, undoing, ("/etc/motd",), 7.0)
    status, done = carried_out(context, plan)
    undone = [step for step in done if step.endswith("/undo")]
    assert (status, undone) == ("succeeded", ["123456789012/undo", "pg-a/undo", "pg-b/undo"])
    account, host = plan.step("123456789012/undo").run, plan.step("pg-a/undo").run
    assert isinstance(account, UndoAccount)
    assert account.saved == saved  # the adapter begins with the last
    assert isinstance(host, UndoSettings)
    assert (host.change, host.edited) == (CHANGE, ("/etc/motd",))
    assert {step for step in done if step.endswith("/facts")} == {
        "123456789012/facts",
        "pg-a/facts",
        "pg-b/facts",
    }


def test_an_undoing_that_fails_begins_no_other(context: RunContext) -> None:
    plan = plan_undo("lab", CHANGE, Undoing(("pg-b", "pg-a")), (), 7.0)
    status, done = carried_out(context, plan, pg_a__undo=AdapterError("it does not answer"))
    assert (status, "pg-b/undo" in done) == ("halted", False)


def test_an_audit_reads_hosts_accounts_and_vcenters(context: RunContext) -> None:
    plan = plan_audit("lab", Subjects(("pg-a",), ("123456789012",), ("hall",)), 7.0)
    status, done = carried_out(context, plan, pg_a__facts=AdapterError("no answer"))
    assert (status, sorted(done)) == ("succeeded", ["123456789012/facts", "hall/facts"])
