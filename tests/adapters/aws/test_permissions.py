"""The list of permissions is held to the code: what an action can come to call, and nothing else."""

import ast
import json
import re
from collections.abc import Iterator, Set
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from automation.adapters.aws.permissions import needs_of, policy
from automation.adapters.aws.permitted import CALLS
from automation.adapters.aws.permitted_accounts import OF_ACCOUNTS
from automation.model.errors import AdapterError
from automation.model.providers import AwsProvider

PACKAGE = Path(__file__).resolve().parents[3] / "automation/adapters/aws"
HOME = "automation.adapters.aws"
SERVICES = "autoscaling|backup|cloudtrail|cloudwatch|ec2|iam|logs|rds|route53|s3|s3control|service-quotas|sts"
CALL = re.compile(rf"({SERVICES})\.[a-z0-9_]+")
LISTS = {"permissions", "permitted", "permitted_accounts"}
PROVIDER = AwsProvider(kind="aws", site="east", region="us-east-1", account="123456789012")

Name = tuple[str, str]


class Unit(NamedTuple):
    """One function, class or table of a module: the calls it names, and what of the package it refers to."""

    calls: frozenset[str]
    refers: frozenset[Name]


def called_by(start: Name) -> frozenset[str]:
    """Every call that a function can come to, through all it refers to."""
    seen: set[Name] = set()
    left, calls = [start], set[str]()
    while left:
        name = left.pop()
        if name not in seen and name in units():
            seen.add(name)
            calls |= units()[name].calls
            left += units()[name].refers
    return frozenset(calls)


@cache
def units() -> dict[Name, Unit]:
    found = {}
    for path in PACKAGE.glob("*.py"):
        if path.stem not in LISTS:
            tree = ast.parse(path.read_text())
            imports = dict(imported(tree))
            for node in tree.body:
                for name in names_of(node):
                    found[path.stem, name] = unit_of(node, path.stem, imports)
    return found


def imported(tree: ast.Module) -> Iterator[tuple[str, Name]]:
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(HOME):
            inside = (node.module or "").removeprefix(HOME).lstrip(".")
            for alias in node.names:
                yield alias.asname or alias.name, (inside or alias.name, alias.name if inside else "")


def names_of(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [one.id for one in targets if isinstance(one, ast.Name)]


def unit_of(node: ast.stmt, module: str, imports: dict[str, Name]) -> Unit:
    calls, refers = set[str](), set[Name]()
    for one in ast.walk(node):
        if isinstance(one, ast.Constant) and CALL.fullmatch(str(one.value)):
            calls |= whole(str(one.value))
        elif isinstance(one, ast.Name):
            refers.add(imports.get(one.id, (module, one.id)))
        elif isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name):
            home, name = imports.get(one.value.id, ("", ""))
            refers |= {(home, one.attr)} if home and not name else set()
    return Unit(frozenset(calls), frozenset(refers))


def whole(call: str) -> set[str]:
    """A call whose last word is put in when it is made: both directions of a security group."""
    return {f"{call}{way}" for way in ("egress", "ingress")} if call.endswith("_") else {call}


@cache
def door() -> dict[str, frozenset[str]]:
    """What each action of the package can come to call, with what looks after it."""
    found: dict[str, set[str]] = {}
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                start = ((node.module or "").rpartition(".")[2], alias.name)
                found.setdefault(alias.name.removeprefix("verify_"), set()).update(called_by(start))
    found["look"] -= called_by(("looking", "_probes"))  # only asked for: being denied is the answer
    return {name: frozenset(calls) for name, calls in found.items()}


@pytest.mark.parametrize("action", sorted(door()))
def test_the_list_names_exactly_what_an_action_can_call(action: str) -> None:
    expected = tuple(sorted(door()[action]))
    assert CALLS.get(action) == expected, f'permitted.py: "{action}": {expected}'


def test_every_call_has_its_permissions() -> None:
    calls = {call for one in CALLS.values() for call in one}
    assert {call for call in calls if not needs_of(call)} == set()


def statements(*addresses: str, provider: AwsProvider = PROVIDER) -> list[dict[str, object]]:
    told = json.loads(policy(addresses, "city", provider))
    found: list[dict[str, object]] = told["Statement"]
    return found


def allowed(found: list[dict[str, object]]) -> Set[str]:
    return {action for one in found for action in one["Action"]}  # type: ignore[attr-defined]


def test_a_policy_allows_what_its_actions_call_and_nothing_else() -> None:
    assert "ec2:TerminateInstances" not in allowed(statements("aws.create_instance", "aws.stop_instance"))
    assert "ec2:TerminateInstances" in allowed(statements("aws.terminate_instance", "vsphere.create_vm"))


def test_what_changes_or_removes_is_bound_to_our_mark() -> None:
    for one in statements(*(f"aws.{name}" for name in CALLS if name not in {"look", *OF_ACCOUNTS})):
        actions = {str(action) for action in one["Action"]}  # type: ignore[attr-defined]
        if any(re.search(r":(Terminate|Delete|Stop|Detach|Deregister|Revoke)", action) for action in actions):
            assert one["Condition"] == {"StringEquals": {"aws:ResourceTag/mainstay:environment": "city"}}, (
                actions
            )


def test_nothing_is_allowed_without_a_condition_on_region_or_mark() -> None:
    for one in statements(*(f"aws.{name}" for name in CALLS if name != "look")):
        assert one["Condition"], one


def test_what_audits_read_stands_apart_from_what_baselines_change() -> None:
    told = {str(one.get("Sid")): one for one in statements("aws.collect_facts", "aws.enforce_calls")}
    reads, changes = told["MainstayAuditReads"], told["MainstayBaselineChanges"]
    assert all(re.search(r":(Describe|Get|List)", action) for action in allowed([reads]))
    assert not any(re.search(r":(Describe|Get|List)", action) for action in allowed([changes]))
    assert {"iam:DeleteLoginProfile", "s3:PutBucketPolicy"} <= allowed([changes])


def test_a_baseline_marks_nothing_but_the_logs_that_it_makes() -> None:
    before = [one for one in statements() if "ec2:CreateTags" in allowed([one])]
    marking = [one for one in statements("aws.enforce_calls") if "ec2:CreateTags" in allowed([one])]
    ours = {"StringEquals": {"ec2:CreateAction": "CreateFlowLogs"}}
    assert [one["Condition"] for one in marking if one not in before] == [ours]


def test_an_audit_alone_may_change_nothing() -> None:
    of_servers = allowed(statements())
    for action in allowed(statements("aws.collect_facts")) - of_servers:
        assert re.search(r":(Describe|Get|List)", action), action


def test_only_the_declared_profile_is_passed_and_only_to_ec2() -> None:
    provider = PROVIDER.model_copy(update={"instance_profile": "city-server"})
    passed = [
        one
        for one in statements("aws.create_instance", provider=provider)
        if one["Action"] == ["iam:PassRole"]
    ]
    assert [one["Resource"] for one in passed] == [["arn:aws:iam::123456789012:role/city-server"]]
    assert passed[0]["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}


def test_a_policy_for_servers_fits_into_one_of_iam() -> None:
    mine = ("create_instance", "change_instance", "terminate_instance", "create_network", "delete_network")
    text = policy((f"aws.{name}" for name in mine), "city", PROVIDER)
    assert len(re.sub(r"\s", "", text)) < 6144  # letters that IAM counts of a managed policy


def test_an_action_that_no_list_names_is_refused() -> None:
    with pytest.raises(AdapterError, match="fly_to_the_moon"):
        policy(("aws.fly_to_the_moon",), "city", PROVIDER)
