"""Security baselines of an account at the simulated AWS: judged, enforced, taken back; denied is unknown."""

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from automation.adapters.aws.session import forget_sessions
from automation.baseline.controls import Control
from automation.baseline.enforcement import Case, Decided, Wish, decide
from automation.baseline.guards import ASKED, Scene
from automation.baseline.judge import judge
from automation.baseline.settings import Baseline
from automation.baseline.verdicts import Assessment
from automation.commands._baselines import audit
from automation.commands._controls import load_controls
from automation.commands._enforcing import EnforceFlags, enforce, prepare
from automation.commands._undoing import UndoFlags, judge_undone, prepare_undo, undo
from automation.engine import dispatch
from automation.model.actions import Action, CollectAccountFacts, EnforceAccount, UndoAccount
from automation.model.baseline_evidence import CallsMade, FactsCollected
from automation.model.errors import EXIT_PARTIAL, AdapterError
from automation.model.facts import Facts
from automation.model.kept_facts import read_facts
from automation.model.provider_settings import SavedCall, WantedCall
from automation.model.records import Context, Outcome
from tests.contracts.providers import City as CommandCity
from tests.programs.aws_account import BUCKET, DATABASE, EAST, GROUP, TRAIL, WEST, mend, plant, s3
from tests.programs.aws_city import step_of
from tests.programs.clouds import cloud_of_aws, folder
from tests.programs.simulators import ACCOUNT, AwsSimulated

pytestmark = pytest.mark.lab
OURS = {name: one for name, one in load_controls().items() if one.platform == "aws"}
BY_PEOPLE = {"aws.iam.root", "aws.iam.console-mfa", "aws.iam.no-full-admin", "aws.backup.locked-copies"}
ALLOWED = Baseline.model_validate(
    {"profile": "cis-l1", "enforce": [{"controls": ["aws.*"], "groups": ["all"]}]}
)
SHOWN = {"profile", "enforce"}
# Each call that facts are read by, to the controls that cannot be judged without it.
NEEDED: Mapping[str, set[str]] = {
    "iam.GetAccountSummary": {"aws.iam.root"},
    "iam.ListVirtualMFADevices": {"aws.iam.root"},
    "iam.GetAccountPasswordPolicy": {"aws.iam.password-rules"},
    "iam.ListUsers": {"aws.iam.console-mfa", "aws.iam.stale-access"},
    "iam.GetLoginProfile": {"aws.iam.console-mfa", "aws.iam.stale-access"},
    "iam.ListMFADevices": {"aws.iam.console-mfa", "aws.iam.stale-access"},
    "iam.ListAccessKeys": {"aws.iam.console-mfa", "aws.iam.stale-access"},
    "iam.GetAccessKeyLastUsed": {"aws.iam.console-mfa", "aws.iam.stale-access"},
    "iam.GetAccountAuthorizationDetails": {"aws.iam.no-full-admin"},
    "s3control.GetPublicAccessBlock": {"aws.s3.account-public-block"},
    "s3.ListBuckets": {"aws.s3.tls-only"},
    "s3.GetBucketLocation": {"aws.s3.tls-only"},
    "s3.GetBucketPolicy": {"aws.s3.tls-only"},
    "ec2.GetEbsEncryptionByDefault": {"aws.ec2.encrypted-disks"},
    "ec2.DescribeInstances": {"aws.ec2.metadata-sessions"},
    "ec2.DescribeSecurityGroups": {"aws.network.admin-ports"},
    "ec2.DescribeSecurityGroupRules": {"aws.network.admin-ports"},
    "ec2.DescribeImages": {"aws.snapshots.not-public"},
    "ec2.DescribeSnapshots": {"aws.snapshots.not-public", "aws.backup.locked-copies"},
    "ec2.DescribeVpcs": {"aws.logs.networks"},
    "ec2.DescribeFlowLogs": {"aws.logs.networks"},
    "rds.DescribeDBInstances": {"aws.rds.encrypted-private"},
    "rds.DescribeDBSnapshots": {"aws.snapshots.not-public", "aws.backup.locked-copies"},
    "rds.DescribeDBClusterSnapshots": {"aws.snapshots.not-public"},
    "rds.DescribeDBSnapshotAttributes": {"aws.snapshots.not-public"},
    "cloudtrail.DescribeTrails": {"aws.logs.trail", "aws.logs.networks"},
    "cloudtrail.GetTrailStatus": {"aws.logs.trail"},
    "cloudtrail.GetEventSelectors": {"aws.logs.trail"},
    "logs.DescribeLogGroups": {"aws.logs.networks"},
    "s3.GetBucketLifecycleConfiguration": {"aws.logs.networks"},
    "backup.ListBackupVaults": {"aws.backup.locked-copies"},
    "backup.ListRecoveryPointsByBackupVault": {"aws.backup.locked-copies"},
    "backup.ListCopyJobs": {"aws.backup.locked-copies"},
}
REGIONAL = {name for name, one in OURS.items() if '"fact":"all_regions"' in one.model_dump_json()}


class City:
    """One account, as its baseline sees it."""

    def __init__(self, aws: AwsSimulated, artifacts: Path) -> None:
        self.aws, self.artifacts = aws, artifacts
        self.names: Mapping[str, str] = plant(aws)

    def step(self, name: str) -> Context:
        ctx = cast("Any", step_of(self.aws, step=name))
        ctx.artifacts = self.artifacts
        return cast("Context", ctx)

    def perform(self, action: Action, step: str) -> Outcome:
        return dispatch.perform(action, self.step(step))

    def facts(self) -> Facts:
        outcome = self.perform(CollectAccountFacts(account=ACCOUNT), "account/facts")
        assert isinstance(outcome.evidence, FactsCollected)
        return read_facts(self.artifacts / outcome.evidence.file)

    def states(self) -> dict[str, str]:
        return {one.control: one.state for one in self.judged(self.facts()).verdicts}

    def judged(self, facts: Facts) -> Assessment:
        return judge(facts, tuple(OURS.values()), "cis-l1", datetime.now(UTC))

    def decided(self) -> Decided:
        facts = self.facts()
        case = Case(facts, self.judged(facts), Scene(automation_user="ops", provider="aws"))
        return decide(case, cast("Mapping[str, Control]", OURS), Wish(ALLOWED, accepted=frozenset(ASKED)))

    def enforce(self, calls: Iterable[WantedCall], step: str = "enforce") -> Outcome:
        return self.perform(EnforceAccount(account=ACCOUNT, calls=tuple(calls)), step)

    def undo(self, saved: Iterable[SavedCall]) -> CallsMade:
        return made(self.perform(UndoAccount(account=ACCOUNT, saved=tuple(saved)), "undo"))


def made(outcome: Outcome) -> CallsMade:
    assert isinstance(outcome.evidence, CallsMade)
    return outcome.evidence


def call(name: str, on: str = "", **arguments: int) -> WantedCall:
    return WantedCall(control="aws.test", risk="R1", call=name, on=on, arguments=arguments)


@pytest.fixture(scope="module", autouse=True)
def sessions() -> None:
    """Begin by sessions that no test of another file has slowed down."""
    forget_sessions()


@pytest.fixture
def city(aws: AwsSimulated, tmp_path: Path) -> Iterator[City]:
    """An account where every control fails."""
    yield City(aws, tmp_path)
    aws.no_faults()


def test_every_control_fails_then_holds_then_is_as_it_was(city: City) -> None:
    before = city.states()
    assert before == dict.fromkeys(OURS, "fail")
    decided = city.decided()
    assert {one.control for one in decided.left_out} == BY_PEOPLE
    changed = made(city.enforce(decided.enforced.calls))
    after = city.states()
    assert {name for name, state in after.items() if state != "pass"} == BY_PEOPLE
    city.aws.forget_calls()
    again = city.enforce(decided.enforced.calls, "again")
    assert (again.changed, made(again).saved) == (False, ())
    assert not [
        one for one in city.aws.calls() if not one.partition(".")[2].startswith(("Get", "List", "Desc"))
    ]
    undone = city.undo(changed.saved)
    assert undone.left == {"switch_off_login ana": "its password is gone with it: a person gives a new one"}
    assert city.states() == before
    assert not city.undo(changed.saved).saved


def test_facts_say_that_they_are_simulated_and_hold_no_secret(city: City) -> None:
    facts = city.facts()
    assert (facts.platform, facts.source, facts.subject) == ("aws", "simulated", ACCOUNT)
    (kept,) = (city.artifacts / "facts").glob("*.json.gz")
    secret = city.aws.login_file().read_text().rpartition("=")[2].strip()
    assert secret not in gzip.decompress(kept.read_bytes()).decode()


def test_commands_plan_enforce_and_undo_an_account_by_runs_of_their_own(
    aws: AwsSimulated, tmp_path: Path
) -> None:
    plant(aws)
    session = CommandCity(cloud_of_aws(aws), folder(tmp_path)).session()
    (session.environment.folder / "baseline.yml").write_text(json.dumps(ALLOWED.model_dump(include=SHOWN)))
    flags = EnforceFlags(limit=ACCOUNT, accept_guard=",".join(ASKED))
    prepared = prepare(session, flags)
    assert prepared.shown.locks_out == (ACCOUNT,)
    ended = enforce(session, prepared, flags, ask=lambda: True)
    assert (ended.finished.closed.status, ended.result.unmet, ended.result.worse) == ("succeeded", (), ())
    undoing = prepare_undo(session, UndoFlags(change=ended.result.run))
    undone = undo(session, undoing, UndoFlags(change=ended.result.run), ask=lambda: True)
    assert judge_undone(undone) == EXIT_PARTIAL  # a password is not given back
    (assessment,) = audit(session, ACCOUNT, "").assessments
    assert {one.state for one in assessment.verdicts} == {"fail"}


# --- what is denied ----------------------------------------------------------------------------------


@pytest.fixture
def good(city: City) -> City:
    """An account where every control holds."""
    city.enforce(city.decided().enforced.calls)
    mend(city.aws)
    assert city.states() == dict.fromkeys(OURS, "pass")
    return city


def rounds() -> list[list[str]]:
    """Put calls together of which no two are needed by the same control: each is seen as if alone."""
    found: list[list[str]] = []
    for name, controls in NEEDED.items():
        fits = (one for one in found if not controls & {held for other in one for held in NEEDED[other]})
        one = next(fits, [])
        found += [] if one else [one]
        one.append(name)
    return found


def test_what_is_denied_leaves_unknown_exactly_what_needs_it(good: City) -> None:
    for some in rounds():
        for name in some:
            service, _, action = name.partition(".")
            good.aws.faults({"mode": "denied", "service": service, "action": action, "times": None})
        needing = {control for name in some for control in NEEDED[name]}
        assert good.states() == {name: "unknown" if name in needing else "pass" for name in OURS}, some
        good.aws.no_faults()


def test_every_call_that_facts_need_stands_in_the_table_of_what_is_denied(good: City) -> None:
    good.aws.forget_calls()
    good.facts()
    only_guards_ask = {"s3.GetBucketAcl", "s3.GetBucketPolicyStatus", "s3.GetBucketWebsite"}
    whole = {"ec2.DescribeRegions", "sts.GetCallerIdentity"}  # without them there are no facts at all
    assert set(good.aws.calls()) - only_guards_ask - whole == set(NEEDED)


def test_a_region_that_does_not_answer_is_named_and_no_control_of_regions_passes(good: City) -> None:
    good.aws.faults({"mode": "denied", "region": WEST, "times": None})
    facts = good.facts()
    states = {one.control: one.state for one in good.judged(facts).verdicts}
    assert WEST in facts.unknown["all_regions"]
    assert {name for name, state in states.items() if state == "unknown"} == REGIONAL


def test_what_fails_in_one_region_is_told_though_another_does_not_answer(city: City) -> None:
    city.aws.faults({"mode": "denied", "region": WEST, "times": None})
    states = city.states()
    assert states["aws.network.admin-ports"] == states["aws.rds.encrypted-private"] == "fail"


def test_one_bucket_that_may_not_be_read_costs_no_other(good: City) -> None:
    s3(good.aws).create_bucket(Bucket="plans")
    good.aws.faults({"mode": "denied", "service": "s3", "action": "GetBucketPolicy", "times": 1})
    facts = good.facts()
    (verdict,) = (one for one in good.judged(facts).verdicts if one.control == "aws.s3.tls-only")
    assert verdict.state == "fail"
    assert "GetBucketPolicy" in facts.unknown["all_buckets"]


def test_a_policy_that_nobody_can_read_is_no_pass(good: City) -> None:
    s3(good.aws).put_bucket_policy(Bucket=BUCKET, Policy='{"Statement": 7}')
    assert good.states()["aws.s3.tls-only"] == "fail"
    good.aws.plant(root={"AccountMFAEnabled": None})
    assert good.states()["aws.iam.root"] == "unknown"


def test_an_account_whose_regions_cannot_be_listed_gives_no_facts(city: City) -> None:
    city.aws.faults({"mode": "denied", "service": "ec2", "action": "DescribeRegions", "times": None})
    with pytest.raises(AdapterError, match="regions of account"):
        city.facts()


# --- what is changed ---------------------------------------------------------------------------------


def test_what_was_changed_before_a_call_failed_stands_in_the_evidence(city: City) -> None:
    city.aws.faults({"mode": "denied", "service": "s3", "action": "PutBucketPolicy", "times": None})
    calls = [call("encrypt_new_disks", EAST), call("deny_without_tls", BUCKET), call("start_trail", TRAIL)]
    with pytest.raises(AdapterError, match="policy of bucket photos could not be set") as failed:
        city.enforce(calls)
    assert isinstance(failed.value.evidence, CallsMade)
    assert [one.call for one in failed.value.evidence.saved] == ["encrypt_new_disks", "start_trail"]


@pytest.mark.parametrize("loss", ["applied-then-500", "applied-then-drop"])
def test_a_change_whose_answer_was_lost_is_known_and_can_be_undone(city: City, loss: str) -> None:
    lost = ("ec2.RevokeSecurityGroupIngress", "logs.PutRetentionPolicy", "iam.UpdateAccessKey")
    for service, _, action in (one.partition(".") for one in lost):
        city.aws.faults({"mode": loss, "service": service, "action": action, "times": 1})
    names = {"revoke_rule", "keep_logs", "switch_off_access_key"}
    before = city.states()
    evidence = made(city.enforce(one for one in city.decided().enforced.calls if one.call in names))
    assert {one.call for one in evidence.saved} == names
    assert {one.call for one in city.undo(evidence.saved).saved} == names
    assert city.states() == before


def test_a_change_of_which_nobody_knows_whether_it_was_made_stands_in_the_evidence(city: City) -> None:
    city.aws.faults(
        {"mode": "applied-then-500", "service": "logs", "action": "PutRetentionPolicy", "times": None},
        {"mode": "500", "service": "logs", "action": "DescribeLogGroups", "after": 1, "times": None},
    )
    with pytest.raises(AdapterError, match="not known") as failed:
        city.enforce([call("keep_logs", GROUP, days=365)])
    assert failed.value.unknown
    assert isinstance(failed.value.evidence, CallsMade)
    city.aws.no_faults()
    assert [one.after for one in city.undo(failed.value.evidence.saved).saved] == [{"days": 30}]


def test_a_step_whose_controller_died_remembers_what_was_before(city: City) -> None:
    action = EnforceAccount(
        account=ACCOUNT, calls=(call("start_trail", TRAIL), call("encrypt_new_disks", EAST))
    )
    city.perform(action.model_copy(update={"calls": action.calls[:1]}), "enforce")
    verified = dispatch.verify(action, city.step("enforce"))
    assert verified.state == "not_done"
    evidence = made(city.perform(action, "enforce"))
    assert [one.before for one in evidence.saved] == [{"logging": False}, {"encrypts": False}]
    done = dispatch.verify(action, city.step("enforce"))
    assert done.outcome is not None
    assert made(done.outcome).saved == evidence.saved


def test_undo_leaves_alone_what_somebody_changed_since(city: City) -> None:
    evidence = made(city.enforce([call("keep_logs", GROUP, days=365), call("encrypt_new_disks", EAST)]))
    city.aws.client("logs").put_retention_policy(logGroupName="trail", retentionInDays=731)
    undone = city.undo(evidence.saved)
    assert [one.call for one in undone.saved] == ["encrypt_new_disks"]
    assert undone.left == {f"keep_logs {GROUP}": 'somebody changed it since: it is {"days": 731}'}


def test_a_policy_keeps_what_it_has_and_gets_one_statement(city: City) -> None:
    own = {"Version": "2012-10-17", "Statement": [{"Sid": "own", "Effect": "Deny", "Principal": "*"}]}
    s3(city.aws).put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(own))
    evidence = made(city.enforce([call("deny_without_tls", BUCKET)]))
    policy = json.loads(s3(city.aws).get_bucket_policy(Bucket=BUCKET)["Policy"])
    assert [one["Sid"] for one in policy["Statement"]] == ["own", "MainstayTlsOnly"]
    city.undo(evidence.saved)
    assert json.loads(s3(city.aws).get_bucket_policy(Bucket=BUCKET)["Policy"]) == own


def test_only_the_offending_rule_is_revoked_and_comes_back_as_it_was(city: City) -> None:
    def rules() -> list[tuple[object, ...]]:
        asked = [{"Name": "group-id", "Values": [city.names["group"]]}]
        shown = city.aws.client("ec2").describe_security_group_rules(Filters=asked)["SecurityGroupRules"]
        return sorted(
            (one["FromPort"], one["CidrIpv4"], one.get("Description", ""))
            for one in shown
            if not one["IsEgress"]
        )

    before = rules()
    calls = [one for one in city.decided().enforced.calls if one.call == "revoke_rule"]
    evidence = made(city.enforce(calls))
    assert [port for port, *_ in rules()] == [443]
    city.undo(evidence.saved)
    assert rules() == before


def test_a_rule_that_somebody_closed_meanwhile_is_left_alone(city: City) -> None:
    calls = [one for one in city.decided().enforced.calls if one.call == "revoke_rule"]
    ec2 = city.aws.client("ec2")
    closed = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIpv4": "10.0.0.0/8"}
    ec2.modify_security_group_rules(
        GroupId=city.names["group"],
        SecurityGroupRules=[{"SecurityGroupRuleId": calls[0].on, "SecurityGroupRule": closed}],
    )
    assert not city.enforce(calls).changed


def test_rules_of_declared_networks_are_not_revoked(city: City) -> None:
    tag = {"Key": "mainstay:environment", "Value": "city"}
    city.aws.client("ec2").create_tags(Resources=[city.names["group"]], Tags=[tag])
    calls = [one for one in city.decided().enforced.calls if one.call == "revoke_rule"]
    with pytest.raises(AdapterError, match="environment city declares"):
        city.enforce(calls)


def test_a_key_that_was_used_since_is_left_alone(city: City) -> None:
    city.aws.plant(keys={city.names["key"]: 2})
    with pytest.raises(AdapterError, match="used 2 days ago"):
        city.enforce([call("switch_off_access_key", city.names["key"], unused_days=45)])


def test_our_own_key_is_never_switched_off(city: City) -> None:
    user = city.aws.client("iam").create_user(UserName="mainstay")["User"]["UserName"]
    key = city.aws.client("iam").create_access_key(UserName=user)["AccessKey"]
    city.aws.plant(keys={key["AccessKeyId"]: 90})
    login = f"AWS_ACCESS_KEY_ID={key['AccessKeyId']}\nAWS_SECRET_ACCESS_KEY={key['SecretAccessKey']}\n"
    ours = cast("Any", city.step("enforce"))
    ours.secret = lambda _ref: login
    action = EnforceAccount(
        account=ACCOUNT, calls=(call("switch_off_access_key", key["AccessKeyId"], unused_days=45),)
    )
    with pytest.raises(AdapterError, match="what we log in by"):
        dispatch.perform(action, ours)


def test_buckets_are_not_blocked_while_one_is_a_website(city: City) -> None:
    page = {"IndexDocument": {"Suffix": "index.html"}}
    s3(city.aws).put_bucket_website(Bucket=BUCKET, WebsiteConfiguration=page)
    with pytest.raises(AdapterError, match="photos is public or a website"):
        city.enforce([call("block_public_buckets")])


def test_rules_of_passwords_only_become_stricter(city: City) -> None:
    iam = city.aws.client("iam")
    iam.update_account_password_policy(MinimumPasswordLength=20, RequireSymbols=True, MaxPasswordAge=90)
    city.enforce([call("set_password_rules", minimum_length=14, remembered=24)])
    now = iam.get_account_password_policy()["PasswordPolicy"]
    assert (now["MinimumPasswordLength"], now["PasswordReusePrevention"]) == (20, 24)
    assert (now["RequireSymbols"], now["MaxPasswordAge"]) == (True, 90)


def test_accounts_that_a_snapshot_is_shared_with_keep_it(city: City) -> None:
    arn = DATABASE.replace(":db:portal", ":snapshot:given-away")
    city.enforce([call("make_snapshot_private", arn)])
    shown = city.aws.client("rds").describe_db_snapshot_attributes(DBSnapshotIdentifier="given-away")
    (restore,) = shown["DBSnapshotAttributesResult"]["DBSnapshotAttributes"]
    assert restore["AttributeValues"] == ["210987654321"]


def test_a_network_is_not_logged_where_no_other_is(city: City) -> None:
    ec2 = city.aws.client("ec2")
    ids = [one["FlowLogId"] for one in ec2.describe_flow_logs()["FlowLogs"]]
    ec2.delete_flow_logs(FlowLogIds=ids)
    with pytest.raises(AdapterError, match="no other network"):
        city.enforce([call("log_network", city.names["quiet"])])


def test_a_login_of_another_account_gives_no_facts(city: City) -> None:
    with pytest.raises(Exception, match="names no provider of AWS account 210987654321"):
        city.perform(CollectAccountFacts(account="210987654321"), "account/facts")
