"""How often the simulated AWS tells a replica's lag: a setting, so that an exercise need not wait minutes."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lab.checkout import until
from tests.programs.simulators import REGIONS, AwsSimulated, simulated_aws

pytestmark = pytest.mark.lab
SOURCE, REPLICA = f"{REGIONS[0]}/portal-db", f"{REGIONS[1]}/portal-db-west"


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[AwsSimulated]:
    """One that tells a lag every second."""
    with simulated_aws(tmp_path, databases={SOURCE: "", REPLICA: SOURCE}, lag_told_s=1) as aws:
        yield aws


def told(aws: AwsSimulated) -> list[dict[str, Any]]:
    """Ask as it is asked of AWS: by the minute."""
    now = datetime.now(UTC)
    answer = aws.client("cloudwatch", REGIONS[1]).get_metric_statistics(
        Namespace="AWS/RDS",
        MetricName="ReplicaLag",
        Dimensions=[{"Name": "DBInstanceIdentifier", "Value": "portal-db-west"}],
        StartTime=now - timedelta(minutes=10),
        EndTime=now + timedelta(minutes=1),
        Period=60,
        Statistics=["Maximum"],
    )
    return sorted(answer["Datapoints"], key=lambda one: one["Timestamp"])


def test_a_lag_is_told_anew_within_the_time_of_its_setting(hasty: AwsSimulated) -> None:
    asked_at = datetime.now(UTC)
    until(lambda: bool(told(hasty)) and told(hasty)[-1]["Timestamp"] > asked_at, "a newer lag is told")
    points = told(hasty)
    assert len(points) >= 2
    assert {one["Maximum"] for one in points} == {0.0}
    apart = points[-1]["Timestamp"] - points[0]["Timestamp"]
    assert apart < timedelta(minutes=1)
