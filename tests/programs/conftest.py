"""Fixtures of tests with real programs: simulators that run once a session and are reset for each test."""

from collections.abc import Iterator

import pytest

from tests.contracts.providers import Cloud
from tests.programs.clouds import cloud_of_aws, cloud_of_vcenter
from tests.programs.simulators import AwsSimulated, simulated_aws
from tests.programs.simulators_vcenter import VcenterSimulated, simulated_vcenters


@pytest.fixture(scope="session")
def running_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsSimulated]:
    """A simulated AWS that runs for the whole session."""
    with simulated_aws(tmp_path_factory.mktemp("aws")) as aws:
        yield aws


@pytest.fixture
def aws(running_aws: AwsSimulated) -> AwsSimulated:
    """The simulated AWS, as it was when it started."""
    running_aws.reset()
    return running_aws


@pytest.fixture(scope="session")
def running_vcenters(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[VcenterSimulated, VcenterSimulated]]:
    """Two simulated vCenters, `hall` and `annex`, that run for the whole session."""
    with simulated_vcenters(tmp_path_factory.mktemp("vcenters")) as vcenters:
        yield vcenters


@pytest.fixture
def vcenters(
    running_vcenters: tuple[VcenterSimulated, VcenterSimulated],
) -> tuple[VcenterSimulated, VcenterSimulated]:
    """The two vCenters without faults and counts; machines of other tests stay."""
    for one in running_vcenters:
        one.reset()
    return running_vcenters


@pytest.fixture(params=["aws", "vsphere"])
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    """Each provider in turn, with nothing left of another test's city but its name."""
    if request.param == "aws":
        aws: AwsSimulated = request.getfixturevalue("aws")
        found = cloud_of_aws(aws)
    else:
        hall: VcenterSimulated = request.getfixturevalue("vcenters")[0]
        found = cloud_of_vcenter(hall)
    yield found
    found.no_faults()
