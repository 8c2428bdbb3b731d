"""The simulated vCenter, asked by pyVmomi: what govmomi's simulator leaves out, and the faults we order."""

import json
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import VmomiSupport, vim, vmodl

from automation.adapters.nspawn.vcenter_program import SOURCE, find_go, wanted_go
from tests.programs.simulators_vcenter import (
    PASSWORD,
    REPLICATED,
    TEMPLATE,
    USER,
    VcenterSimulated,
    simulated_vcenters,
)

pytestmark = pytest.mark.lab
Vcenters = tuple[VcenterSimulated, VcenterSimulated]
Option = vim.option.OptionValue
LONG = VmomiSupport.vmodlTypes["long"]
PATIENCE_S = 30.0


@pytest.fixture
def hall(vcenters: Vcenters) -> Iterator["Center"]:
    with vcenters[0].session() as instance:
        yield Center(instance)


@pytest.fixture
def annex(vcenters: Vcenters) -> Iterator["Center"]:
    with vcenters[1].session() as instance:
        yield Center(instance)


class Center:
    """A session at a vCenter that has one datacenter with one cluster."""

    def __init__(self, instance: Any) -> None:
        self.content = instance.RetrieveContent()
        self.datacenter = self.content.rootFolder.childEntity[0]
        self.cluster = self.datacenter.hostFolder.childEntity[0]
        self.folder = self.datacenter.vmFolder

    def named(self, name: str) -> Any:
        return next(one for one in self.folder.childEntity if one.name == name)

    def datastore(self, name: str) -> Any:
        return next(one for one in self.datacenter.datastore if one.name == name)

    def clone(self, name: str, *, on: bool = False, datastore: str = "local", **config: Any) -> Any:
        where = vim.vm.RelocateSpec(pool=self.cluster.resourcePool, datastore=self.datastore(datastore))
        spec = vim.vm.CloneSpec(location=where, powerOn=on, config=vim.vm.ConfigSpec(**config))
        return done(self.named(TEMPLATE).CloneVM_Task(self.folder, name, spec))

    def register(self, path: str, name: str) -> Any:
        pool = self.cluster.resourcePool
        return done(self.folder.RegisterVM_Task(path=path, name=name, asTemplate=False, pool=pool))


def done(task: Any) -> Any:
    """Wait for a task, and give its result or raise its fault."""
    deadline = time.monotonic() + PATIENCE_S
    while task.info.state in ("queued", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    if task.info.state == "error":
        raise task.info.error
    return task.info.result


def devices(vm: Any, kind: Any) -> list[Any]:
    return [one for one in vm.config.hardware.device if isinstance(one, kind)]


def options(vm: Any) -> dict[str, Any]:
    return {one.key: one.value for one in vm.config.extraConfig}


def edited(device: Any, operation: str = "edit") -> Any:
    return vim.vm.ConfigSpec(
        deviceChange=[vim.vm.device.VirtualDeviceSpec(operation=operation, device=device)]
    )


def test_its_source_is_formatted_and_go_vet_finds_nothing() -> None:
    go = find_go(wanted_go())
    if go is None:
        pytest.skip("this machine has no Go of its own")
    for argv in (["gofmt", "-l", "."], [go, "vet", "."]):
        found = subprocess.run(argv, cwd=SOURCE, capture_output=True, text=True, check=False)
        assert (found.stdout, found.returncode) == ("", 0), found.stderr


# --- who is let in --------------------------------------------------------------------------------


def test_no_two_vcenters_are_the_same(hall: Center, annex: Center) -> None:
    assert hall.content.about.instanceUuid != annex.content.about.instanceUuid


def test_only_its_login_is_let_in(vcenters: Vcenters) -> None:
    trust = ssl.create_default_context(cafile=str(vcenters[0].ca))
    with pytest.raises(vim.fault.InvalidLogin):
        SmartConnect(host="localhost", port=vcenters[0].port, user=USER, pwd="guessed", sslContext=trust)


def test_its_certificate_is_of_its_own_authority(vcenters: Vcenters) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        SmartConnect(
            host="localhost",
            port=vcenters[0].port,
            user=USER,
            pwd=PASSWORD,
            sslContext=ssl.create_default_context(),
        )


def test_a_stranger_reads_nothing(vcenters: Vcenters) -> None:
    with vcenters[0].session() as instance:
        folder = instance.content.rootFolder
        Disconnect(instance)
        with pytest.raises(vim.fault.NotAuthenticated):
            print(folder.name)


def test_sessions_are_counted_until_they_log_out(vcenters: Vcenters) -> None:
    before = vcenters[0].sessions()
    with vcenters[0].session():
        assert vcenters[0].sessions() == before + 1
    assert vcenters[0].sessions() == before


# --- machines -------------------------------------------------------------------------------------


def test_a_clone_is_all_that_its_spec_says(hall: Center) -> None:
    mark = Option(key="mainstay.mark", value='{"name": "a|b"}')
    vm = hall.clone("whole", on=True, numCPUs=4, memoryMB=2048, annotation="two\nlines", extraConfig=[mark])
    assert (vm.config.hardware.numCPU, vm.config.hardware.memoryMB) == (4, 2048)
    assert (vm.config.annotation, options(vm)["mainstay.mark"]) == ("two\nlines", '{"name": "a|b"}')
    assert vm.runtime.powerState == "poweredOn"


def test_a_guest_that_booted_tells_its_address_tools_and_host_key(hall: Center) -> None:
    told = "instance-id: x\nnetwork:\n  ethernets: {any: {addresses: [10.20.1.9/24]}}"
    vm = hall.clone("guest", extraConfig=[Option(key="guestinfo.metadata", value=told)])
    assert not vm.guest.ipAddress
    done(vm.PowerOnVM_Task())
    assert (vm.guest.ipAddress, vm.guest.toolsRunningStatus) == ("10.20.1.9", "guestToolsRunning")
    assert vm.guestHeartbeatStatus == "green"
    key = options(vm)["guestinfo.mainstay.ssh_host_key"]
    assert key.startswith("ssh-ed25519 ")
    vm.ShutdownGuest()
    wait_for(lambda: vm.runtime.powerState == "poweredOff")
    assert (vm.guest.ipAddress or "", vm.guest.toolsRunningStatus) == ("", "guestToolsNotRunning")
    done(vm.PowerOnVM_Task())
    assert options(vm)["guestinfo.mainstay.ssh_host_key"] == key  # its disk keeps it


def wait_for(holds: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_name_is_taken_once_however_many_ask(hall: Center) -> None:
    def ask(_: int) -> bool:
        try:
            hall.clone("wanted")
        except vim.fault.DuplicateName:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(ask, range(4))) == 1
    files = vim.vm.FileInfo(vmPathName="[local]")
    with pytest.raises(vim.fault.DuplicateName):
        done(
            hall.folder.CreateVM_Task(
                vim.vm.ConfigSpec(name="wanted", files=files), hall.cluster.resourcePool
            )
        )


def test_a_template_can_be_read_while_it_is_cloned(vcenters: Vcenters, hall: Center) -> None:
    vcenters[0].faults({"method": "CloneVM_Task", "mode": "slow-task", "seconds": 0.5})
    where = vim.vm.RelocateSpec(pool=hall.cluster.resourcePool)
    template = hall.named(TEMPLATE)
    task = template.CloneVM_Task(hall.folder, "slowly", vim.vm.CloneSpec(location=where, powerOn=False))
    assert template.config.template
    assert task.info.state == "running"
    assert task.info.entity == template
    assert task in template.recentTask
    done(task)


def test_hardware_is_not_changed_under_a_running_guest(hall: Center) -> None:
    vm = hall.clone("running", on=True)
    with pytest.raises(vim.fault.CpuHotPlugNotSupported):
        done(vm.ReconfigVM_Task(vim.vm.ConfigSpec(numCPUs=8)))
    with pytest.raises(vim.fault.ConcurrentAccess):
        done(vm.ReconfigVM_Task(vim.vm.ConfigSpec(changeVersion="of another time", annotation="x")))
    assert vm.config.hardware.numCPU == 1


def test_a_port_in_no_network_is_refused_and_the_vcenter_lives(hall: Center) -> None:
    backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName="no such")
    vm = hall.clone("unplugged")
    card = vim.vm.device.VirtualVmxnet3(key=-1, backing=backing)
    with pytest.raises(vim.fault.InvalidDeviceBacking):
        done(vm.ReconfigVM_Task(edited(card, "add")))
    assert len(devices(vm, vim.vm.device.VirtualEthernetCard)) == 1


def test_what_is_unset_reads_as_none(hall: Center) -> None:
    assert hall.clone("bare").snapshot is None


def test_a_destroyed_machine_leaves_its_name_and_the_disks_that_were_detached(
    vcenters: Vcenters, hall: Center
) -> None:
    vm = hall.clone("mortal")
    disk = devices(vm, vim.vm.device.VirtualDisk)[0]
    more = vim.vm.device.VirtualDisk(
        key=-1, controllerKey=disk.controllerKey, unitNumber=1, capacityInKB=2**20
    )
    more.backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName="", diskMode="persistent")
    adding = vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=more)
    done(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[adding])))
    second = devices(vm, vim.vm.device.VirtualDisk)[1]
    file = second.backing.fileName.removeprefix("[local] ")
    done(vm.ReconfigVM_Task(edited(second, "remove")))
    done(vm.Destroy_Task())
    kept = vcenters[0].folder / "datastores/local" / file
    assert kept.exists()
    assert not [one for one in kept.parent.iterdir() if one.suffix == ".vmx"]
    hall.clone("mortal")


# --- snapshots ------------------------------------------------------------------------------------


def test_disks_that_stayed_behind_are_consolidated(vcenters: Vcenters, hall: Center) -> None:
    vcenters[0].faults({"method": "RemoveSnapshot_Task", "mode": "deltas-stay"})
    vm = hall.clone("guarded")
    taken = done(vm.CreateSnapshot_Task(name="before", memory=False, quiesce=False))
    assert not vm.runtime.consolidationNeeded
    done(taken.RemoveSnapshot_Task(removeChildren=False))
    assert vm.runtime.consolidationNeeded
    done(vm.ConsolidateVMDisks_Task())
    assert not vm.runtime.consolidationNeeded
    assert vm.snapshot is None


# --- a replicated datastore -----------------------------------------------------------------------


def test_a_machine_is_registered_elsewhere_with_its_hardware(hall: Center, annex: Center) -> None:
    mark = Option(key="mainstay.mark", value='{"name": "gis"}')
    vm = hall.clone("gis", datastore=REPLICATED, numCPUs=3, memoryMB=3072, extraConfig=[mark])
    identity = (vm.config.instanceUuid, vm.config.uuid)
    before = devices(vm, vim.vm.device.VirtualDisk)
    copy = annex.register(vm.config.files.vmPathName, "gis")
    after = devices(copy, vim.vm.device.VirtualDisk)
    assert (copy.config.hardware.numCPU, copy.config.hardware.memoryMB) == (3, 3072)
    assert [(one.backing.fileName, one.backing.uuid, one.capacityInKB) for one in after] == [
        (one.backing.fileName, one.backing.uuid, one.capacityInKB) for one in before
    ]
    assert (copy.config.instanceUuid, copy.config.uuid) == identity
    assert options(copy)["mainstay.mark"] == '{"name": "gis"}'
    done(copy.PowerOnVM_Task())
    with pytest.raises(vim.fault.AlreadyExists):
        annex.register(vm.config.files.vmPathName, "gis again")


def test_a_machine_is_registered_under_another_name(hall: Center, annex: Center) -> None:
    vm = hall.clone("source", datastore=REPLICATED)
    assert annex.register(vm.config.files.vmPathName, "source-test").name == "source-test"


def test_a_copy_of_a_machine_has_disks_and_an_identity_of_its_own(hall: Center) -> None:
    vm = hall.clone("original", datastore=REPLICATED)
    files, disks = hall.content.fileManager, hall.content.virtualDiskManager
    where = {"sourceDatacenter": hall.datacenter, "destinationDatacenter": hall.datacenter}
    files.MakeDirectory(f"[{REPLICATED}] copy", hall.datacenter)
    for name in ("original.vmx", "original.nvram"):
        old, new = f"[{REPLICATED}] original/{name}", f"[{REPLICATED}] copy/{name}"
        done(files.CopyDatastoreFile_Task(sourceName=old, destinationName=new, **where))
    old, new = (f"[{REPLICATED}] {folder}/original.vmdk" for folder in ("original", "copy"))
    done(
        disks.CopyVirtualDisk_Task(
            sourceName=old, sourceDatacenter=hall.datacenter, destName=new, force=False
        )
    )
    copy = hall.register(f"[{REPLICATED}] copy/original.vmx", "copy")
    assert devices(copy, vim.vm.device.VirtualDisk)[0].backing.fileName == new
    assert copy.config.instanceUuid != vm.config.instanceUuid
    done(copy.Destroy_Task())
    assert devices(vm, vim.vm.device.VirtualDisk)[0].backing.fileName == old


def test_a_port_whose_network_is_missing_there_is_given_another(hall: Center, annex: Center) -> None:
    port_group(hall, "only-hall")
    vm = hall.clone("mapped", datastore=REPLICATED)
    card = devices(vm, vim.vm.device.VirtualEthernetCard)[0]
    card.backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName="only-hall")
    done(vm.ReconfigVM_Task(edited(card)))
    copy = annex.register(vm.config.files.vmPathName, "mapped")
    card = devices(copy, vim.vm.device.VirtualEthernetCard)[0]
    assert (card.backing.deviceName, card.backing.network) == ("only-hall", None)
    card.backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName="city")
    done(copy.ReconfigVM_Task(edited(card)))
    card = devices(copy, vim.vm.device.VirtualEthernetCard)[0]
    assert card.backing.network.name == "city"


# --- hosts ----------------------------------------------------------------------------------------


def port_group(center: Center, name: str, vlan: int = 0) -> Any:
    spec = vim.host.PortGroup.Specification(
        name=name, vlanId=vlan, vswitchName="vSwitch0", policy=vim.host.NetworkPolicy()
    )
    for host in center.cluster.host:
        host.configManager.networkSystem.AddPortGroup(portgrp=spec)
    return spec


def vlans(center: Center, name: str) -> list[int]:
    groups = [one for host in center.cluster.host for one in host.config.network.portgroup]
    return [one.spec.vlanId for one in groups if one.spec.name == name]


def test_a_port_group_is_made_changed_and_removed_on_every_host(hall: Center) -> None:
    spec = port_group(hall, "plan", vlan=10)
    network = next(one for one in hall.datacenter.network if one.name == "plan")
    assert list(network.host) == list(hall.cluster.host)
    assert vlans(hall, "plan") == [10, 10]
    spec.vlanId = 20
    for host in hall.cluster.host:
        host.configManager.networkSystem.UpdatePortGroup(pgName="plan", portgrp=spec)
    assert vlans(hall, "plan") == [20, 20]
    for host in hall.cluster.host:
        assert "plan" in [one.name for one in hall.datacenter.network]
        host.configManager.networkSystem.RemovePortGroup(pgName="plan")
    assert vlans(hall, "plan") == []
    assert "plan" not in [one.name for one in hall.datacenter.network]


def test_a_port_group_in_use_stays(hall: Center) -> None:
    port_group(hall, "used")
    vm = hall.clone("user")
    card = devices(vm, vim.vm.device.VirtualEthernetCard)[0]
    card.backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName="used")
    done(vm.ReconfigVM_Task(edited(card)))
    with pytest.raises(vim.fault.ResourceInUse):
        vm.runtime.host.configManager.networkSystem.RemovePortGroup(pgName="used")


def test_services_and_clocks_are_each_hosts_own(hall: Center) -> None:
    first, second = hall.cluster.host
    services = first.configManager.serviceSystem
    services.StartService(id="TSM-SSH")
    services.UpdateServicePolicy(id="TSM-SSH", policy="on")
    clock = vim.host.DateTimeConfig(ntpConfig=vim.host.NtpConfig(server=["10.20.0.1"]))
    first.configManager.dateTimeSystem.UpdateDateTimeConfig(config=clock)
    options_, timeout = first.configManager.advancedOption, "UserVars.ESXiShellTimeOut"
    with pytest.raises(vmodl.fault.InvalidArgument):
        options_.UpdateOptions([Option(key=timeout, value=900)])  # as ESXi: an int is no long
    with pytest.raises(vim.fault.InvalidName):
        options_.UpdateOptions([Option(key="UserVars.NoSuchThing", value=LONG(900))])
    options_.UpdateOptions([Option(key=timeout, value=LONG(900))])

    def seen(host: Any) -> tuple[Any, ...]:
        ssh = next(one for one in host.config.service.service if one.key == "TSM-SSH")
        managed = host.configManager
        same = next(one for one in managed.serviceSystem.serviceInfo.service if one.key == "TSM-SSH")
        assert (same.running, same.policy) == (ssh.running, ssh.policy)
        time_out = managed.advancedOption.QueryOptions("UserVars.ESXiShellTimeOut")[0].value
        return ssh.running, ssh.policy, list(host.config.dateTimeInfo.ntpConfig.server), time_out

    assert seen(first) == (True, "on", ["10.20.0.1"], 900)
    assert seen(second) == (False, "off", [], 0)


def test_a_machine_starts_with_its_host_until_it_is_taken_from_the_list(hall: Center) -> None:
    vm = hall.clone("early")
    manager = vm.runtime.host.configManager.autoStartManager

    def told(order: int, action: str) -> Any:
        info = vim.host.AutoStartManager.AutoPowerInfo(
            key=vm,
            startOrder=order,
            startDelay=-1,
            waitForHeartbeat="systemDefault",
            startAction=action,
            stopDelay=-1,
            stopAction="systemDefault",
        )
        return vim.host.AutoStartManager.Config(powerInfo=[info])

    manager.ReconfigureAutostart(told(1, "powerOn"))
    assert [one.key for one in vm.runtime.host.config.autoStart.powerInfo] == [vm]
    manager.ReconfigureAutostart(told(-1, "none"))
    assert vm not in [one.key for one in manager.config.powerInfo]


# --- faults that are ordered ----------------------------------------------------------------------


def test_a_dropped_call_was_not_made(vcenters: Vcenters, hall: Center) -> None:
    hall.content.sessionManager._stub.DropConnections()
    vcenters[0].faults({"method": "CreateFolder", "mode": "drop"})
    with pytest.raises((HTTPException, OSError)):
        hall.folder.CreateFolder("dropped")
    assert "dropped" not in [one.name for one in hall.folder.childEntity]


def test_a_call_whose_answer_is_lost_was_made(vcenters: Vcenters, hall: Center) -> None:
    vcenters[0].faults({"method": "CreateFolder", "mode": "applied-then-drop"})
    with pytest.raises((HTTPException, OSError)):
        hall.folder.CreateFolder("answered-by-none")
    assert "answered-by-none" in [one.name for one in hall.folder.childEntity]


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ({"mode": "not-authenticated"}, vim.fault.NotAuthenticated),
        ({"mode": "fault", "fault": "NoPermission"}, vim.fault.NoPermission),
        ({"mode": "fault", "fault": "HostCommunication"}, vmodl.fault.HostCommunication),
        ({"mode": "503"}, HTTPException),
    ],
    ids=lambda value: str(value.get("fault", value["mode"])) if isinstance(value, dict) else "",
)
def test_a_fault_comes_as_often_as_it_is_ordered(
    vcenters: Vcenters, hall: Center, rule: dict[str, object], fault: type[Exception]
) -> None:
    vcenters[0].faults({"method": "CurrentTime", "times": 2, **rule})
    instance = vim.ServiceInstance("ServiceInstance", hall.folder._stub)
    for _ in range(2):
        with pytest.raises(fault):
            instance.CurrentTime()
    assert instance.CurrentTime()
    assert vcenters[0].calls()["CurrentTime"] == 3


def test_a_task_fails_as_ordered(vcenters: Vcenters, hall: Center) -> None:
    vcenters[0].faults({"method": "CloneVM_Task", "mode": "failed-task", "fault": "NoDiskSpace"})
    with pytest.raises(vim.fault.NoDiskSpace):
        hall.clone("no-space")
    assert "no-space" not in [one.name for one in hall.folder.childEntity]


# --- lives of its own -----------------------------------------------------------------------------


class Lab:
    """The lab's supervisor, as far as a simulator speaks with it: what it was asked, what it answers."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.refuses = False

    def answer(self, line: bytes) -> dict[str, object]:
        self.asked.append(json.loads(line))
        if self.refuses:
            return {"ok": False, "error": "the site has no power", "hint": None}
        return {"ok": True, "result": {"host": "gis-1", "host_key": "ssh-ed25519 AAAA"}}


@contextmanager
def lab_at(socket: Path) -> Iterator[Lab]:
    lab = Lab()

    class Connection(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                self.wfile.write(json.dumps(lab.answer(line)).encode() + b"\n")

    with socketserver.ThreadingUnixStreamServer(str(socket), Connection) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield lab
        server.shutdown()


def test_a_machine_powers_the_labs_host(tmp_path: Path) -> None:
    host = {"host": "gis-1", "address": "10.20.1.50", "site": "hall"}
    told = {"powers": {"gis": host}, "supervisor": str(tmp_path / "ctl.sock"), "lab_id": "city"}
    told |= {"simulator": "vcenter-hall"}
    with (
        lab_at(tmp_path / "ctl.sock") as lab,
        simulated_vcenters(tmp_path, hall=told) as (hall, _),
        hall.session() as instance,
    ):
        center = Center(instance)
        vm = center.clone("gis")
        lab.refuses = True
        with pytest.raises(vim.fault.GenericVmConfigFault, match="no power"):
            done(vm.PowerOnVM_Task())
        assert vm.runtime.powerState == "poweredOff"
        lab.refuses, lab.asked = False, []
        done(vm.PowerOnVM_Task())
        assert (vm.guest.ipAddress, options(vm)["guestinfo.mainstay.ssh_host_key"]) == (
            "10.20.1.50",
            "ssh-ed25519 AAAA",
        )
        vm.ShutdownGuest()
        wait_for(lambda: vm.runtime.powerState == "poweredOff")
        card = devices(vm, vim.vm.device.VirtualEthernetCard)[0]
        card.connectable.startConnected = False
        done(vm.ReconfigVM_Task(edited(card)))
        done(vm.PowerOnVM_Task())
        done(vm.PowerOffVM_Task())
        done(vm.Destroy_Task())
        center.clone("other", on=True)  # nobody's business
    common = {"request": "power_machine", "lab_id": "city", "simulator": "vcenter-hall", "machine": "gis"}
    assert lab.asked == [
        common | {"power": power, "network": network}
        for power, network in (
            ("on", "VM Network"),
            ("down", ""),
            ("on", "(disconnected)"),
            ("off", ""),
            ("gone", ""),
        )
    ]


@pytest.mark.parametrize("kill", [False, True], ids=["ended", "killed"])
def test_the_inventory_lives_on(tmp_path: Path, kill: bool) -> None:
    with simulated_vcenters(tmp_path) as (hall, _):
        with hall.session() as instance:
            center = Center(instance)
            identity = center.content.about.instanceUuid
            key = center.content.customFieldsManager.AddCustomFieldDef("owner", vim.VirtualMachine).key
            inside = center.folder.CreateFolder("mainstay")
            center.folder = inside
            port_group(center, "kept", vlan=7)
            where = vim.vm.RelocateSpec(pool=center.cluster.resourcePool)
            template = center.datacenter.vmFolder.childEntity[0]
            spec = vim.vm.CloneSpec(location=where, powerOn=True)
            vm = done(template.CloneVM_Task(inside, "survivor", spec))
            center.content.customFieldsManager.SetField(vm, key, "city")
            done(vm.CreateSnapshot_Task(name="guard", memory=False, quiesce=False))
            before = seen_of(vm)
        if kill:
            state = hall.folder / "state.json"
            wait_for(lambda: state.exists() and '"guard"' in state.read_text())
        hall.restart(kill=kill)
        with hall.session() as instance:
            center = Center(instance)
            assert center.content.about.instanceUuid == identity
            inside = next(one for one in center.folder.childEntity if one.name == "mainstay")
            (vm,) = inside.childEntity
            assert seen_of(vm) == before
            assert vlans(center, "kept") == [7, 7]
            assert center.clone("newcomer")._moId != vm._moId


def seen_of(vm: Any) -> tuple[Any, ...]:
    root = vm.snapshot.rootSnapshotList[0]
    disks = [one.backing.fileName for one in devices(vm, vim.vm.device.VirtualDisk)]
    names = {one.key: one.name for one in vm.availableField}
    return (
        vm._moId,
        vm.name,
        vm.runtime.powerState,
        vm.guest.ipAddress,
        vm.config.instanceUuid,
        options(vm),
        {names[one.key]: one.value for one in vm.customValue},
        (root.name, root.createTime),
        disks,
    )


def test_a_session_that_says_nothing_ends(tmp_path: Path) -> None:
    with (
        simulated_vcenters(tmp_path, hall={"idle_s": 0.5}) as (hall, _),
        hall.session() as instance,
    ):
        assert hall.sessions() == 1
        wait_for(lambda: hall.sessions() == 0)
        with pytest.raises(vim.fault.NotAuthenticated):
            instance.CurrentTime()
