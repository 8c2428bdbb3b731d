"""What documents of policies, logs and points come to: pure readings, against what AWS may tell."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest
from pydantic import JsonValue

from automation.adapters.aws.account import Account
from automation.adapters.aws.enforcing import KINDS
from automation.adapters.aws.facts_backup import Copied, Kept, protected
from automation.adapters.aws.facts_iam import policies
from automation.adapters.aws.facts_logs import is_logged, trail_facts, writes_all
from automation.adapters.aws.policies import allows_everything, is_tls_only, with_tls_only
from automation.commands._controls import load_controls
from automation.model.errors import AdapterError
from automation.model.provider_settings import WantedCall

NOW = datetime(2026, 11, 22, tzinfo=UTC)
CLEAR = {"Bool": {"aws:SecureTransport": "false"}}


def allow(**more: JsonValue) -> JsonValue:
    return {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", **more}]}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param(allow(), True, id="everything"),
        pytest.param(
            {"Statement": {"Effect": "Allow", "Action": ["*:*"], "Resource": ["*"]}}, True, id="no list"
        ),
        pytest.param(
            allow(Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}}), True, id="on a condition"
        ),
        pytest.param(allow(Effect="Deny"), False, id="denied"),
        pytest.param(allow(Action="s3:*"), False, id="one service"),
        pytest.param(allow(Resource="arn:aws:s3:::plans"), False, id="one thing"),
        pytest.param(
            {"Statement": [{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}]},
            True,
            id="all but some",
        ),
        pytest.param(
            {"Statement": [{"Effect": "Allow", "NotAction": "s3:Get*", "Resource": "arn:aws:s3:::plans"}]},
            False,
            id="all but some on one thing",
        ),
        pytest.param(
            {"Statement": [{"Effect": "Deny", "NotAction": "iam:*", "Resource": "*"}]},
            False,
            id="all but some denied",
        ),
        pytest.param(
            {"Statement": [{"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::plans"}]},
            True,
            id="on all but one thing",
        ),
        pytest.param({"Statement": []}, False, id="nothing"),
        pytest.param({"Statement": 7}, None, id="no statements"),
        pytest.param({"Statement": ["*"]}, None, id="a statement that is none"),
        pytest.param({}, None, id="an empty document"),
        pytest.param(None, None, id="no document"),
        pytest.param("*", None, id="no mapping"),
    ],
)
def test_a_policy_that_allows_everything_is_seen(document: JsonValue, expected: bool | None) -> None:
    assert allows_everything(document) is expected


def test_one_policy_that_nobody_can_read_leaves_all_of_them_unknown() -> None:
    page = {
        "UserDetailList": [
            {"UserName": "ana", "UserPolicyList": [{"PolicyName": "p", "PolicyDocument": "?"}]}
        ]
    }
    account = cast(Account, SimpleNamespace(id="1", home=SimpleNamespace(read=lambda *_, **_more: page)))
    with pytest.raises(AdapterError, match="policy ana/p is of a form that is not known"):
        policies(account)


def deny(**more: JsonValue) -> JsonValue:
    both: list[JsonValue] = ["arn:aws:s3:::plans", "arn:aws:s3:::plans/*"]
    told: dict[str, JsonValue] = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": both}
    return {"Statement": [{**told, "Condition": dict(CLEAR), **more}]}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param(deny(), True, id="as AWS advises"),
        pytest.param(deny(Principal={"AWS": "*"}, Resource="*"), True, id="in other words"),
        pytest.param(deny(Effect="Allow"), False, id="allowed"),
        pytest.param(deny(Principal={"AWS": "arn:aws:iam::123456789012:root"}), False, id="one account"),
        pytest.param(deny(Action="s3:GetObject"), False, id="one action"),
        pytest.param(deny(Resource=["arn:aws:s3:::plans/*"]), False, id="not the bucket itself"),
        pytest.param(
            deny(Resource=["arn:aws:s3:::others", "arn:aws:s3:::others/*"]), False, id="another bucket"
        ),
        pytest.param(deny(Condition={"Bool": {"aws:SecureTransport": "true"}}), False, id="the other way"),
        pytest.param(
            deny(Condition={**CLEAR, "StringEquals": {"aws:PrincipalOrgID": "o-1"}}),
            False,
            id="one more condition",
        ),
        pytest.param(deny(Condition=None), False, id="no condition: nobody at all gets in"),
        pytest.param(None, False, id="no policy"),
    ],
)
def test_only_a_policy_that_denies_clear_text_to_all_is_tls_only(document: JsonValue, expected: bool) -> None:
    assert is_tls_only(document, "plans") is expected


def test_what_is_added_to_a_policy_makes_it_tls_only_and_nothing_is_lost() -> None:
    own = allow(Sid="own", Principal={"AWS": "123456789012"}, Action="s3:GetObject")
    added = with_tls_only(own, "arn:aws:s3:::plans")
    assert is_tls_only(dict(added), "plans")
    assert isinstance(own, dict)
    assert isinstance(own["Statement"], list)
    assert isinstance(added["Statement"], list)
    assert added["Statement"][:-1] == own["Statement"]


def flow(**more: str) -> dict[str, str]:
    return {"ResourceId": "vpc-1", "FlowLogStatus": "ACTIVE", "TrafficType": "ALL", **more}


@pytest.mark.parametrize(
    ("logs", "expected"),
    [
        pytest.param([flow()], True, id="all of it"),
        pytest.param([flow(TrafficType="ACCEPT"), flow(TrafficType="REJECT")], True, id="in two halves"),
        pytest.param([flow(TrafficType="REJECT")], False, id="half of it"),
        pytest.param([flow(DeliverLogsStatus="FAILED")], False, id="that do not arrive"),
        pytest.param([flow(ResourceId="vpc-2")], False, id="of another network"),
        pytest.param([], False, id="none"),
    ],
)
def test_a_network_is_logged_when_all_its_traffic_arrives(logs: list[dict[str, str]], expected: bool) -> None:
    assert is_logged("vpc-1", logs) is expected


@pytest.mark.parametrize(
    ("protocol", "ports", "revoked"),
    [
        pytest.param("tcp", (22, 22), True, id="SSH"),
        pytest.param("6", (3000, 4000), True, id="remote desktops, in a range and by number"),
        pytest.param("tcp", (5986, 5986), True, id="WinRM"),
        pytest.param("-1", (-1, -1), True, id="everything"),
        pytest.param("tcp", (-1, -1), True, id="every port"),
        pytest.param("tcp", (443, 443), False, id="another port meanwhile"),
        pytest.param("udp", (22, 22), False, id="another protocol meanwhile"),
        pytest.param("50", (-1, -1), False, id="ESP"),
    ],
)
def test_a_rule_is_revoked_only_while_it_lets_administrators_in_from_everywhere(
    protocol: str, ports: tuple[int, int], revoked: bool
) -> None:
    state: dict[str, JsonValue] = {"open": True, "egress": False, "IpProtocol": protocol}
    state |= {"FromPort": ports[0], "ToPort": ports[1]}
    call = WantedCall(control="aws.network.admin-ports", risk="R2", call="revoke_rule", on="sgr-1")
    want = KINDS["revoke_rule"].want
    assert (want(state, call) is None) is revoked
    assert want({**state, "open": False}, call) is not None


MANAGED = {"Field": "eventCategory", "Equals": ["Management"]}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param({"EventSelectors": [{"IncludeManagementEvents": True}]}, True, id="as usual"),
        pytest.param(
            {"EventSelectors": [{"IncludeManagementEvents": True, "ReadWriteType": "WriteOnly"}]},
            False,
            id="writes",
        ),
        pytest.param({"EventSelectors": [{"IncludeManagementEvents": False}]}, False, id="data alone"),
        pytest.param({"AdvancedEventSelectors": [{"FieldSelectors": [MANAGED]}]}, True, id="advanced"),
        pytest.param(
            {
                "AdvancedEventSelectors": [
                    {"FieldSelectors": [MANAGED, {"Field": "readOnly", "Equals": ["false"]}]}
                ]
            },
            False,
            id="advanced, writes",
        ),
        pytest.param({}, False, id="nothing"),
    ],
)
def test_a_trail_counts_when_it_writes_down_all_that_is_managed(
    asked: dict[str, object], expected: bool
) -> None:
    assert writes_all(asked) is expected


@pytest.mark.parametrize(("error", "delivered"), [("", True), ("NoSuchBucket", False)])
def test_a_trail_that_writes_where_nothing_arrives_is_said_so(error: str, delivered: bool) -> None:
    """S3's answer stands in the status, and the trail still says that it is logging."""
    answers = {
        "cloudtrail.get_trail_status": {
            "IsLogging": True,
            **({"LatestDeliveryError": error} if error else {}),
        },
        "cloudtrail.get_event_selectors": {"EventSelectors": [{"IncludeManagementEvents": True}]},
    }
    region = SimpleNamespace(read=lambda call, *_, **_more: answers[call])
    account = cast(Account, SimpleNamespace(region=lambda _: region))
    (trail,) = trail_facts(account, [{"TrailARN": "arn:main", "HomeRegion": "us-east-1"}])
    assert isinstance(trail, dict)
    assert (trail["logging"], trail["delivered"]) == (True, delivered)


def kept(point: str, days_ago: int, region: str = "us-east-1", *, locked: bool = False) -> Kept:
    return Kept("portal", point, NOW - timedelta(days=days_ago), region, locked)


@pytest.mark.parametrize(
    ("points", "locked", "elsewhere"),
    [
        pytest.param(
            [kept("new", 0), kept("old", 1, locked=True)], False, False, id="only an old one is locked"
        ),
        pytest.param([kept("new", 0, locked=True), kept("new", 0)], False, False, id="one of two parts"),
        pytest.param([kept("new", 0), kept("new", 0, "us-west-2", locked=True)], True, True, id="its copy"),
        pytest.param([kept("new", 0, locked=True), Copied("portal")], True, True, id="in another account"),
    ],
)
def test_a_lock_counts_for_the_newest_point(
    points: list[Kept | Copied], locked: bool, elsewhere: bool
) -> None:
    assert protected(points) == [{"name": "portal", "locked": locked, "copied_elsewhere": elsewhere}]


def test_a_point_in_the_region_of_what_it_is_of_lies_nowhere_else() -> None:
    arn = "arn:aws:rds:us-east-1:123456789012:db:portal"
    (home,) = protected([Kept(arn, "p", NOW, "us-east-1", False)])
    (away,) = protected([Kept(arn, "p", NOW, "us-west-2", False)])
    assert isinstance(home, dict)
    assert isinstance(away, dict)
    assert (home["copied_elsewhere"], away["copied_elsewhere"]) == (False, True)


def test_every_call_that_controls_name_is_one_that_can_be_made() -> None:
    remedies = [one.remedy for one in load_controls().values() if one.platform == "aws" and one.remedy]
    assert {call.call for one in remedies for call in one.calls} == set(KINDS)
