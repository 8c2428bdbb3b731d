"""The simulated clouds that the contract of providers is held to."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyVmomi import vim

from automation.adapters.vsphere.marks import KEY
from automation.adapters.vsphere.removing import KEPT
from automation.model.servers import OWNER, Size
from tests.contracts.providers import Census, Cloud, change_of_cloud
from tests.programs.simulators import ACCOUNT, REGIONS, AwsSimulated
from tests.programs.simulators_vcenter import TEMPLATE, VcenterSimulated

LIVING = ("pending", "running", "stopping", "stopped", "shutting-down")


def cloud_of_aws(aws: AwsSimulated) -> Cloud:
    """Give the simulated AWS as a provider."""

    def owned(environment: str) -> list[dict[str, object]]:
        return [{"Name": f"tag:{OWNER}", "Values": [environment]}]

    def census(environment: str) -> Census:
        ec2 = aws.client("ec2")
        living = [*owned(environment), {"Name": "instance-state-name", "Values": list(LIVING)}]
        servers = [
            one["InstanceId"]
            for page in ec2.get_paginator("describe_instances").paginate(Filters=living)
            for reservation in page["Reservations"]
            for one in reservation["Instances"]
        ]
        disks = sum(
            any(one.get("InstanceId") in servers for one in volume.get("Attachments", ()))
            or any(tag["Key"] == OWNER and tag["Value"] == environment for tag in volume.get("Tags", ()))
            for page in ec2.get_paginator("describe_volumes").paginate()
            for volume in page["Volumes"]
        )
        subnets = ec2.describe_subnets(Filters=owned(environment))["Subnets"]
        pages = ec2.get_paginator("describe_snapshots").paginate(
            OwnerIds=["self"], Filters=owned(environment)
        )
        snapshots = sum(len(page["Snapshots"]) for page in pages)
        return Census(tuple(sorted(servers)), disks, len(subnets), snapshots)

    def make_stranger(name: str, owner: str) -> str:
        tags = [{"Key": "Name", "Value": name}, *([{"Key": OWNER, "Value": owner}] if owner else [])]
        if owner:
            tags.append({"Key": "mainstay:name", "Value": name})
        made = aws.client("ec2").run_instances(
            ImageId=aws.image(),
            MinCount=1,
            MaxCount=1,
            InstanceType="t3.micro",
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
        id_ = str(made["Instances"][0]["InstanceId"])
        aws.client("ec2").get_waiter("instance_running").wait(
            InstanceIds=[id_], WaiterConfig={"Delay": 1, "MaxAttempts": 20}
        )
        return id_

    def stop(id_: str) -> None:
        aws.client("ec2").stop_instances(InstanceIds=[id_])
        aws.client("ec2").get_waiter("instance_stopped").wait(
            InstanceIds=[id_], WaiterConfig={"Delay": 1, "MaxAttempts": 20}
        )

    def size_of(id_: str) -> Size:
        (told,) = aws.client("ec2").describe_instances(InstanceIds=[id_])["Reservations"]
        return Size(type=told["Instances"][0]["InstanceType"])

    return Cloud(
        kind="aws",
        provider={
            "kind": "aws",
            "region": REGIONS[0],
            "account": ACCOUNT,
            "endpoint": aws.endpoint,
            "ca": "certificates/cloud-ca.crt",
            "login": {"file": "secrets/cloud"},
            "limits": {"at_once": 8, "servers": 5000},
        },
        simulator={
            "kind": "aws",
            "name": "localhost",
            "regions": {REGIONS[0]: {"site": "here", "address": "localhost"}},
            "logins": {"operator": "secrets/cloud"},
        },
        keys={"certificates/cloud-ca.crt": aws.ca, "secrets/cloud": aws.login_file()},
        network={
            "cidr": "10.20.0.0/20",
            "part_of": "main",
            "rules": [{"protocol": "tcp", "ports": "443", "from": "10.0.0.0/8"}],
        },
        size="t3.micro",
        change=change_of_cloud("t3.large", "size:type"),
        size_of=size_of,
        identity_of=str,
        image="debian-13",
        census=census,
        make_stranger=make_stranger,
        stop=stop,
        faults=aws.faults,
        no_faults=aws.no_faults,
        calls=aws.calls,
    )


# --- vCenter -----------------------------------------------------------------------------------------


def cloud_of_vcenter(vcenter: VcenterSimulated) -> Cloud:
    """Give a simulated vCenter as a provider."""

    def census(environment: str) -> Census:
        with _vms(vcenter) as (content, vms):
            of_template = sum(map(len, (_disks(vm) for vm in vms if vm.name == TEMPLATE)))
            ours = [vm for vm in vms if _mark(vm).get("environment") == environment]
            disks = sum(len(_disks(vm)) - of_template for vm in ours)
            fields = {one.key for one in content.customFieldsManager.field if one.name == OWNER}
            view = content.viewManager.CreateContainerView(content.rootFolder, [vim.Network], True)
            marked = (
                one
                for one in view.view
                if any(value.key in fields and value.value == environment for value in one.customValue)
            )
            files = vcenter.folder.rglob(f"{KEPT}/{environment}-*/*.vmdk")
            kept = [path for path in files if not path.name.endswith("-flat.vmdk")]
            return Census(tuple(sorted(vm._moId for vm in ours)), disks, len(list(marked)), len(kept))

    def make_stranger(name: str, owner: str) -> str:
        with _vms(vcenter) as (content, vms):
            template = next(vm for vm in vms if vm.name == TEMPLATE)
            kinds = [vim.ClusterComputeResource]
            pool = (
                content.viewManager.CreateContainerView(content.rootFolder, kinds, True).view[0].resourcePool
            )
            spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(pool=pool), powerOn=False, template=False)
            made = _done(template.Clone(folder=template.parent, name=name, spec=spec))
            if owner:
                mark = vim.option.OptionValue(
                    key=KEY, value=json.dumps({"environment": owner, "name": name, "site": "here"})
                )
                _done(made.Reconfigure(vim.vm.ConfigSpec(extraConfig=[mark])))
            return str(made._moId)

    def stop(id_: str) -> None:
        with _vms(vcenter) as (_, vms):
            _done(next(vm for vm in vms if vm._moId == id_).PowerOff())

    def size_of(id_: str) -> Size:
        with _vms(vcenter) as (_, vms):
            hardware = next(vm for vm in vms if vm._moId == id_).config.hardware
            return Size(cpus=hardware.numCPU, memory=hardware.memoryMB << 20)

    return Cloud(
        kind="vsphere",
        provider={
            "kind": "vsphere",
            "address": "localhost",
            "port": vcenter.port,
            "ca": "certificates/cloud-ca.crt",
            "login": {"file": "secrets/cloud"},
            "datacenter": vcenter.name,
            "cluster": "main",
            "datastore": "local",
            "limits": {"at_once": 8, "servers": 5000},
        },
        simulator={
            "kind": "vcenter",
            "site": "here",
            "address": "localhost",
            "name": "localhost",
            "logins": {"operator": "secrets/cloud"},
        },
        keys={"certificates/cloud-ca.crt": vcenter.ca, "secrets/cloud": vcenter.login},
        network={"cidr": "10.30.0.0/24", "part_of": "vSwitch0", "vlan": 30},
        size={"cpus": 1, "memory": "1 GiB"},
        change=change_of_cloud({"cpus": 2, "memory": "2 GiB"}, "size:cpus", "size:memory"),
        size_of=size_of,
        identity_of=str,
        image=TEMPLATE,
        census=census,
        make_stranger=make_stranger,
        stop=stop,
        faults=vcenter.faults,
        no_faults=vcenter.no_faults,
        calls=vcenter.calls,
    )


@contextmanager
def _vms(vcenter: VcenterSimulated) -> Iterator[tuple[vim.ServiceInstanceContent, list[vim.VirtualMachine]]]:
    with vcenter.session() as session:
        content = session.RetrieveContent()
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
        yield content, list(view.view)


def _done(task: vim.Task) -> vim.ManagedEntity:
    """Wait for a task; it asks for the state alone, which a simulated task tells rightly."""
    while (state := task.info.state) not in ("success", "error"):
        pass
    assert state == "success", task.info.error
    return task.info.result


def _disks(vm: vim.VirtualMachine) -> list[vim.vm.device.VirtualDisk]:
    return [one for one in vm.config.hardware.device if isinstance(one, vim.vm.device.VirtualDisk)]


def _mark(vm: vim.VirtualMachine) -> dict[str, object]:
    texts = [one.value for one in vm.config.extraConfig if one.key == KEY]
    return dict(json.loads(texts[0])) if texts and texts[0] else {}


def folder(root: Path) -> Path:
    """Give the cities of a test a folder of their own."""
    (root / "inventories").mkdir(exist_ok=True)
    return root
