"""A city with one region of a simulated AWS: its environment, and the contexts of its steps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from automation.model.environment import Environment, Inventory
from automation.model.records import Context
from automation.model.secrets import SecretRef
from automation.model.servers import NetworkSpec, ServerSpec
from tests.programs.simulators import ACCOUNT, AwsSimulated

SITE, OTHER_SITE = "east", "west"
REGION_OF = {SITE: "us-east-1", OTHER_SITE: "us-west-2"}


def environment_of(aws: AwsSimulated, name: str = "city", **provider: object) -> Environment:
    """Give an environment whose two providers are regions of the simulator."""

    def region(site: str) -> dict[str, object]:
        return {
            "kind": "aws",
            "site": site,
            "region": REGION_OF[site],
            "account": ACCOUNT,
            "login": {"file": "secrets/operator"},
            "endpoint": aws.endpoint,
            "ca": "certificates/ca.crt",
            "availability_zone": f"{REGION_OF[site]}a",
            **provider,
        }

    places = {region: {"site": site, "address": "127.0.0.1"} for site, region in REGION_OF.items()}
    simulator = {"kind": "aws", "name": "localhost", "regions": places, "logins": {}}
    return Environment.model_validate(
        {
            "name": name,
            "folder": aws.state,
            "kind": "lab",
            "inventory": ["hosts.yml"],
            "automation_user": "ops",
            "witness": {"host": "client-1"},
            "dns": {"zone": "city.lab", "key_name": "mainstay", "key": {"file": "secrets/tsig_key"}},
            "providers": {"aws": region(SITE), "aws-west": region(OTHER_SITE)},
            "lab": {
                "id": "city",
                "prefix": "10.94.0.0/16",
                "control_subnet": "10.94.0.0/24",
                "sites": {SITE: "10.94.1.0/24", OTHER_SITE: "10.94.2.0/24"},
                "simulators": {"aws": simulator},
            },
        }
    )


class Step:
    """As much of a step's context as an adapter of a provider needs."""

    def __init__(
        self, aws: AwsSimulated, run: str, step: str, timeout_s: float = 30.0, **provider: object
    ) -> None:
        self.state, self.run_id, self.step_id, self.timeout_s = aws.state, run, step, timeout_s
        self.environment = environment_of(aws, **provider)
        self.inventory = Inventory(servers={})

    def secret(self, ref: SecretRef) -> str:
        return (self.state / str(ref.file)).read_text()


def step_of(aws: AwsSimulated, run: str = "run-1", step: str = "step", **more: Any) -> Context:
    return cast("Context", Step(aws, run, step, **more))


def server(name: str, **more: object) -> ServerSpec:
    said: dict[str, object] = {
        "name": name,
        "provider": "aws",
        "site": SITE,
        "image": "debian-13",
        "size": {"type": "t3.small"},
        "networks": ("web",),
        **more,
    }
    return ServerSpec.model_validate(said)


def network(name: str = "web", **more: object) -> NetworkSpec:
    said: dict[str, object] = {
        "name": name,
        "provider": "aws",
        "site": SITE,
        "cidr": "10.20.1.0/24",
        "part_of": "portal",
        "rules": ({"protocol": "tcp", "ports": "443", "from": "10.0.0.0/8"},),
        **more,
    }
    return NetworkSpec.model_validate(said)


def marked(client: Any, environment: str = "city") -> Mapping[str, set[str]]:
    """Give the ids of all that bears an environment's mark and is not gone, by kind: what EC2 itself says."""
    mine = [{"Name": "tag:mainstay:environment", "Values": [environment]}]
    living = [{"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}]
    pages = client.describe_instances(Filters=mine + living)["Reservations"]
    return {
        "server": {one["InstanceId"] for page in pages for one in page["Instances"]},
        "disk": {one["VolumeId"] for one in client.describe_volumes(Filters=mine)["Volumes"]},
        "snapshot": {
            one["SnapshotId"]
            for one in client.describe_snapshots(Filters=mine, OwnerIds=["self"])["Snapshots"]
        },
        "address": {
            one["NetworkInterfaceId"]
            for one in client.describe_network_interfaces(Filters=mine)["NetworkInterfaces"]
        },
        "vpc": {one["VpcId"] for one in client.describe_vpcs(Filters=mine)["Vpcs"]},
        "subnet": {one["SubnetId"] for one in client.describe_subnets(Filters=mine)["Subnets"]},
        "security-group": {
            one["GroupId"] for one in client.describe_security_groups(Filters=mine)["SecurityGroups"]
        },
        "route-table": {
            one["RouteTableId"] for one in client.describe_route_tables(Filters=mine)["RouteTables"]
        },
    }


def make_login(state: Path) -> None:
    """Make the automation user's key, as an environment has it."""
    (state / "ssh").mkdir(exist_ok=True)
    (state / "ssh/id_ed25519.pub").write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOps mainstay\n")
