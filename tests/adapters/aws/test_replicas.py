"""What a replica takes of the database that it replaces: its groups and its parameters."""

import pytest

from automation.adapters.aws.replicas import lacking_parameters, own_groups


def database(groups: str, version: str = "16.4", *, engine: str = "postgres") -> dict[str, object]:
    named = [{"DBParameterGroupName": groups, "ParameterApplyStatus": "in-sync"}]
    return {"Engine": engine, "EngineVersion": version, "DBParameterGroups": named}


@pytest.mark.parametrize(
    ("like", "wanted"),
    [
        (database("city-portal"), "city-portal"),
        (database("city-portal", "16.2"), "city-portal"),
        (database("city-portal", "15.8"), ""),
        (database("city-portal", engine="mysql"), ""),
        (database("default.postgres16"), ""),
        ({}, ""),
    ],
    ids=["own", "older patch", "older release", "other engine", "the default", "not told"],
)
def test_a_replica_takes_the_citys_own_parameters_of_the_same_release(
    like: dict[str, object], wanted: str
) -> None:
    assert lacking_parameters(database("default.postgres16"), like) == wanted


def test_parameters_that_it_has_are_not_given_again() -> None:
    assert lacking_parameters(database("city-portal"), database("city-portal")) == ""


@pytest.mark.parametrize(
    ("kept", "expected"),
    [("sg-2/sg-1", ["sg-1", "sg-2"]), ("", ["sg-fence"])],
    ids=["blocked", "not blocked"],
)
def test_a_replica_takes_the_groups_from_before_the_block(kept: str, expected: list[str]) -> None:
    tags = [{"Key": "mainstay:groups", "Value": kept}] if kept else []
    like = {"TagList": tags, "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-fence"}]}
    assert own_groups(like) == expected
