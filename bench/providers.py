"""What a plan over very many existing servers costs: round trips, and our own time beside the provider's.

    .venv/bin/python -m bench.providers --servers 2000

So many servers that bear a city's mark are put into a simulated AWS and a simulated vCenter by plain calls,
and declared; two of them are not as declared. Then the plan is made as `provision.plan` makes it: one look at
the provider, decisions, steps. Counted by the simulator are calls by name, by us round trips. Our own time is
CPU time of this process, the simulator's is that of its process in the same seconds: wall time has both, and
whatever else the machine did. Writes bench/results/providers.json.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path

from pyVmomi import vim

from automation.adapters.vsphere.marks import KEY
from automation.model.servers import OWNER, ROLE
from bench.compile import describe_machine
from tests.contracts.providers import City, plan_city
from tests.programs.clouds import cloud_of_aws, cloud_of_vcenter, folder
from tests.programs.simulators import AwsSimulated, simulated_aws
from tests.programs.simulators_vcenter import TEMPLATE, VcenterSimulated, simulated_vcenters

RESULT = Path(__file__).resolve().parent / "results/providers.json"
AT_ONCE = 250  # of one RunInstances
TICKS_S = 100.0  # of /proc/PID/stat


def main() -> None:
    parser = argparse.ArgumentParser(description="Plan over many existing servers of each provider.")
    parser.add_argument("--servers", type=int, default=2_000)
    parser.add_argument("--times", type=int, default=3)
    args = parser.parse_args()
    found = {"machine": describe_machine(), "servers": args.servers}
    with tempfile.TemporaryDirectory() as scratch:
        for kind, opened in (("aws", _aws), ("vsphere", _vsphere)):
            with opened(Path(scratch) / kind, args.servers) as (city, pid):
                found[kind] = [_measure(city, pid) for _ in range(args.times)][-1]
                print(json.dumps({kind: found[kind]}, indent=1), flush=True)
    RESULT.write_text(json.dumps(found, indent=1) + "\n")


def _measure(city: City, pid: int) -> dict[str, object]:
    session, before = city.session(), city.cloud.calls()
    own, theirs, wall = time.process_time(), _cpu_s(pid), time.monotonic()
    wanted = plan_city(session)
    wall_s, own_s, theirs_s = time.monotonic() - wall, time.process_time() - own, _cpu_s(pid) - theirs
    after = city.cloud.calls()
    assert not wanted.unseen, wanted.unseen
    verdicts = [one.verdict for one in wanted.decisions]
    return {
        "decisions": {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))},
        "steps": [step.id for step in wanted.plan.steps],
        "round_trips": sum(wanted.round_trips.values()),
        "calls": {name: n - before.get(name, 0) for name, n in after.items() if n > before.get(name, 0)},
        "wall_s": round(wall_s, 2),
        "our_cpu_s": round(own_s, 2),
        "simulator_cpu_s": round(theirs_s, 2),
        "our_peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_S


def _city(root: Path, make: Callable[[Path], City]) -> City:
    """Make a city with its network, and nothing in it."""
    (root / "city").mkdir()
    city = make(folder(root / "city"))
    with redirect_stderr(StringIO()):
        city.apply()
    return city


def _declare(city: City, servers: int) -> None:
    """Declare what was made, but for two: one is to be larger, one has a tag that lacks."""
    for number in range(servers):
        city.declare(f"{city.name}-{number}")
    city.declare(f"{city.name}-0", size=city.cloud.change.after["size"])
    city.declare(f"{city.name}-1", tags={"team": "web"})


# --- AWS ---------------------------------------------------------------------------------------------


@contextmanager
def _aws(root: Path, servers: int) -> Iterator[tuple[City, int]]:
    root.mkdir()
    with simulated_aws(root) as aws:
        city = _city(root, lambda at: City(cloud_of_aws(aws), at))
        _fill_aws(aws, city, servers)
        _declare(city, servers)
        yield city, aws.process.pid


def _fill_aws(aws: AwsSimulated, city: City, servers: int) -> None:
    ec2, image = aws.client("ec2", read_timeout=300), aws.image()
    subnet = ec2.describe_subnets(Filters=[{"Name": f"tag:{ROLE}", "Values": [city.network]}])["Subnets"][0]
    ids: list[str] = []
    while len(ids) < servers:
        count = min(AT_ONCE, servers - len(ids))
        made = ec2.run_instances(
            ImageId=image,
            MinCount=count,
            MaxCount=count,
            InstanceType="t3.micro",
            SubnetId=subnet["SubnetId"],
            TagSpecifications=[
                {"ResourceType": "instance", "Tags": [{"Key": OWNER, "Value": city.name}]},
            ],
        )
        ids += [one["InstanceId"] for one in made["Instances"]]
        print(f"aws: {len(ids)} of {servers}", flush=True)
    for number, id_ in enumerate(ids):
        name = f"{city.name}-{number}"
        tags = [{"Key": ROLE, "Value": name}, {"Key": "Name", "Value": name}]
        ec2.create_tags(Resources=[id_], Tags=tags)


# --- vSphere -----------------------------------------------------------------------------------------


@contextmanager
def _vsphere(root: Path, servers: int) -> Iterator[tuple[City, int]]:
    root.mkdir()
    with simulated_vcenters(root) as (hall, _):
        city = _city(root, lambda at: City(cloud_of_vcenter(hall), at))
        _fill_vcenter(hall, city, servers)
        _declare(city, servers)
        yield city, hall.process.pid


def _fill_vcenter(hall: VcenterSimulated, city: City, servers: int) -> None:
    with hall.session() as session:
        content = session.RetrieveContent()

        def every(kind: type) -> list[vim.ManagedEntity]:
            return list(content.viewManager.CreateContainerView(content.rootFolder, [kind], True).view)

        template = next(vm for vm in every(vim.VirtualMachine) if vm.name == TEMPLATE)
        pool = every(vim.ClusterComputeResource)[0].resourcePool
        network = next(one for one in every(vim.Network) if one.name == city.network)
        for number in range(servers):
            name = f"{city.name}-{number}"
            spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(pool=pool), powerOn=False, template=False)
            vm = _done(template.Clone(folder=template.parent, name=name, spec=spec))
            _done(vm.Reconfigure(_marked(city, name, vm, network)))
            _done(vm.PowerOn())
            if number % 250 == 249:
                print(f"vsphere: {number + 1} of {servers}", flush=True)


def _marked(city: City, name: str, vm: vim.VirtualMachine, network: vim.Network) -> vim.vm.ConfigSpec:
    mark = {"environment": city.name, "name": name, "site": city.site, "image": TEMPLATE}
    card = next(
        one for one in vm.config.hardware.device if isinstance(one, vim.vm.device.VirtualEthernetCard)
    )
    card.backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(
        deviceName=network.name, network=network
    )
    return vim.vm.ConfigSpec(
        numCPUs=1,
        memoryMB=1024,
        extraConfig=[vim.option.OptionValue(key=KEY, value=json.dumps(mark))],
        deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)],
    )


def _done(task: vim.Task) -> vim.ManagedEntity:
    while (state := task.info.state) not in ("success", "error"):
        pass
    assert state == "success", task.info.error
    return task.info.result


if __name__ == "__main__":
    main()
