"""The pure parts of the vSphere adapter: marks, devices, permissions, what is left out, what is told."""

import ast
import ssl
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from pyVmomi import VmomiSupport, vim, vmodl

from automation.adapters.vsphere import devices, marks, permissions, powering
from automation.adapters.vsphere.errors import Asked, in_words
from automation.adapters.vsphere.files import folder_of, store_of
from automation.adapters.vsphere.looking import found_server
from automation.adapters.vsphere.marks import PATH, Mark
from automation.adapters.vsphere.places import vm_of
from automation.adapters.vsphere.reading import Seen
from automation.adapters.vsphere.sessions import parse_login
from automation.adapters.vsphere.snapshots import chain_of
from automation.adapters.vsphere.stub import AnswerLost, NotReached, Stub, newest_version
from automation.adapters.vsphere.trimming import trim
from automation.model.actions import Action, PowerOnVm
from automation.model.errors import AdapterError
from automation.model.evidence import ServerState
from automation.model.servers import Disk

ADAPTER = Path(permissions.__file__).parent
GIB = 2**30
MARK = Mark(environment="city", name="gis-1", site="hall", run="run-1", disks={"data": "1000:1"})


def disk(unit: int, gib: int, *, controller: int = 1000) -> Any:
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=f"[local] gis-1/{unit}.vmdk")
    return vim.vm.device.VirtualDisk(
        key=2000 + unit,
        controllerKey=controller,
        unitNumber=unit,
        backing=backing,
        capacityInKB=gib * GIB // 1024,
        capacityInBytes=gib * GIB,
    )


def card(number: int, network: str) -> Any:
    backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(network=vim.Network(network))
    return vim.vm.device.VirtualVmxnet3(key=4000 + number, macAddress="00:50:56:00:00:01", backing=backing)


def wanted(name: str, gib: int) -> Disk:
    return Disk(name=name, size=gib * GIB)


def port(name: str) -> devices.Port:
    return devices.Port(name, vim.Network(f"network-{name}"))


# --- power ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("power", "tools", "state"),
    [
        ("poweredOn", "guestToolsNotRunning", "in_progress"),
        ("poweredOff", "guestToolsNotRunning", "not_done"),
        ("suspended", "guestToolsNotRunning", "not_done"),
    ],
)
def test_a_vm_that_is_on_is_never_called_off(
    power: str, tools: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {"runtime.powerState": power, "guest.toolsRunningStatus": tools}
    vm = SimpleNamespace(seen=seen, on=power == "poweredOn", moid="vm-1")
    monkeypatch.setattr(powering, "at", lambda *args: nullcontext())
    monkeypatch.setattr(powering, "require_vm", lambda vcenter, host: vm)
    ctx: Any = None
    assert powering.verify_power_on_vm(PowerOnVm(host="gis-1", site="hall"), ctx).state == state


def test_a_power_on_whose_tools_stay_silent_says_that_the_vm_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    vm: Any = SimpleNamespace(seen={}, on=True, ref=None, mark=MARK)
    on = ServerState(server="gis-1", power="on", autostart=False, network="connected")
    vcenter: Any = SimpleNamespace(provider=SimpleNamespace(address="hall"))
    silent = SimpleNamespace(until=lambda *args, **more: None)
    monkeypatch.setattr(powering, "watch", lambda vcenter: silent)
    monkeypatch.setattr(powering, "read_vm", lambda vcenter, ref: vm)
    monkeypatch.setattr(powering, "mark_of", lambda vm: MARK)
    monkeypatch.setattr(powering, "fence_state", lambda vcenter, host: on)
    with pytest.raises(AdapterError) as caught:
        powering._await_guest(vcenter, vm, timeout_s=0)
    assert caught.value.evidence == on


# --- marks ----------------------------------------------------------------------------------------


def test_a_mark_is_read_as_it_was_written() -> None:
    setting = vim.option.OptionValue(key=marks.KEY, value=marks.write_mark(MARK))
    assert marks.read_mark(setting) == MARK


@pytest.mark.parametrize("text", ["", "{}", "{", '{"environment": "city"}', '{"name": 1}', None])
def test_what_is_no_mark_is_nobodys(text: str | None) -> None:
    assert marks.read_mark(text) is None


def test_a_mark_that_came_with_its_disk_from_another_site_is_none_of_this_one() -> None:
    vm = vm_of(Seen(vim.VirtualMachine("vm-1"), {"name": "gis-1", PATH: marks.write_mark(MARK)}))
    assert vm.owned_by("city", "hall")
    assert not vm.owned_by("city", "annex")
    assert not vm.owned_by("village", "hall")
    assert (found_server("hall", vm, {}).owner, found_server("annex", vm, {}).owner) == ("city", "")


def test_a_step_makes_the_same_token_whenever_it_is_repeated() -> None:
    assert marks.token("run-1", "create/a", "a") == marks.token("run-1", "create/a", "a")
    others = {marks.token("run-2", "create/a", "a"), marks.token("run-1", "create/b", "a")}
    assert marks.token("run-1", "create/a", "a") not in others


# --- devices --------------------------------------------------------------------------------------


def test_a_missing_disk_goes_to_the_controller_of_the_first_and_not_to_its_own_unit() -> None:
    there = [disk(unit, 10) for unit in range(7)]
    planned = devices.plan_disks("gis-1", there, {}, [wanted("data", 4)])
    (change,) = planned.changes
    assert (change.operation, change.fileOperation) == ("add", "create")
    assert planned.places == {"data": "1000:8"}  # 7 is the controller's own


def test_a_small_disk_grows_and_one_as_declared_stays() -> None:
    there, named = [disk(0, 10), disk(1, 4), disk(2, 8)], {"data": "1000:1", "logs": "1000:2"}
    planned = devices.plan_disks("gis-1", there, named, [wanted("data", 6), wanted("logs", 8)])
    (change,) = planned.changes
    assert (change.operation, change.device.key, change.device.capacityInBytes) == ("edit", 2001, 6 * GIB)
    assert planned.places == named


def test_no_disk_shrinks() -> None:
    with pytest.raises(AdapterError, match="does not shrink"):
        devices.plan_disks("gis-1", [disk(0, 10), disk(1, 4)], {"data": "1000:1"}, [wanted("data", 2)])


def test_a_disk_that_is_declared_no_more_is_left() -> None:
    planned = devices.plan_disks("gis-1", [disk(0, 10), disk(1, 4)], {"data": "1000:1"}, [])
    assert (planned.changes, planned.places) == ((), {"data": "1000:1"})


def test_adapters_are_put_into_networks_in_their_order() -> None:
    there = [card(1, "network-b"), card(0, "network-a"), card(2, "network-c")]
    changes = devices.plan_cards(there, [port("a"), port("d")])
    assert [(one.operation, one.device.key) for one in changes] == [("edit", 4001), ("remove", 4002)]
    assert changes[0].device.macAddress == "00:50:56:00:00:01"
    assert devices.plan_cards(there[:2], [port("a"), port("b")]) == ()
    assert [one.operation for one in devices.plan_cards([], [port("a")])] == ["add"]


def test_an_adapter_is_disconnected_now_and_at_power_on() -> None:
    (change,) = devices.plan_connections([card(0, "network-a")], connected=False, running=True)
    state = change.device.connectable
    assert (state.connected, state.startConnected, state.allowGuestControl) == (False, False, False)
    assert devices.plan_connections([change.device], connected=False, running=True) == ()


# --- permissions ----------------------------------------------------------------------------------


def test_every_action_says_what_it_may_call() -> None:
    addresses = {cls.model_fields["do"].default for cls in get_args(get_args(Action)[0])}
    assert {one for one in addresses if one.startswith("vsphere.")} <= set(permissions.ACTIONS)


def test_what_actions_may_call_is_listed_with_its_privileges() -> None:
    called = frozenset().union(*permissions.ACTIONS.values())
    assert called <= set(permissions.METHODS)
    assert permissions.privileges_for(["vsphere.power_on_vm", "aws.start_instance"]) == (
        "VirtualMachine.Interact.PowerOn",
    )


def test_a_method_is_listed_with_every_privilege_that_its_definition_names() -> None:
    for method in _methods():
        named = {method.info.privId, *(one.privId for one in method.info.params)}
        wanted = {one for one in named if one and not one.startswith("System.")}
        assert wanted <= {*permissions.METHODS.get(method.info.wsdlName, wanted)}, method.info.wsdlName


def test_a_role_holds_all_that_is_needed_where_it_is_given() -> None:
    actions = ("vsphere.create_network", "vsphere.create_vm", "vsphere.list_all")
    grants = {one.place: one for one in permissions.grants_for(actions)}
    assert grants["root folder"] == permissions.Grant("root folder", False, ("Global.ManageCustomFields",))
    assert grants["datastores"].privileges == ("Datastore.AllocateSpace", "Datastore.Browse")
    assert {"Datastore.Browse", "Global.SetCustomField", "Network.Assign"} <= {
        *grants["datacenter"].privileges
    }
    assert grants["cluster"].privileges == ("Host.Config.Network", "Resource.AssignVMToPool")
    given = {privilege for one in grants.values() for privilege in one.privileges}
    assert given == {*permissions.privileges_for(actions)}
    assert [one.place for one in permissions.grants_for(["vsphere.power_on_vm"])] == [
        "root folder",
        "datacenter",
    ]


def test_every_privilege_of_every_action_is_given_somewhere() -> None:
    given = {privilege for one in permissions.grants_for(permissions.ACTIONS) for privilege in one.privileges}
    assert given == {*permissions.privileges_for(permissions.ACTIONS)}


def test_every_method_that_the_code_calls_is_listed() -> None:
    known = {method.info.wsdlName for method in _methods()}
    called = {
        node.func.attr
        for path in ADAPTER.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in known
    }
    assert "CloneVM_Task" in called
    assert called - {"DropConnections"} <= set(permissions.METHODS)  # that one is the stub's own


def _methods() -> list[Any]:
    kinds = [vim.VirtualMachine, vim.Folder, vim.Datacenter, vim.HostSystem, vim.ServiceInstance]
    kinds += [vim.FileManager, vim.VirtualDiskManager, vim.CustomFieldsManager, vim.SessionManager]
    kinds += [vim.SearchIndex, vim.AuthorizationManager, vim.host.NetworkSystem, vim.host.AutoStartManager]
    kinds += [vim.host.DatastoreBrowser, vim.vm.Snapshot, vmodl.query.PropertyCollector, vim.Datastore]
    kinds += [vim.host.HostAccessManager, vim.host.ServiceSystem, vim.option.OptionManager]
    kinds += [vim.dvs.DistributedVirtualPortgroup]
    named = [getattr(kind, name) for kind in kinds for name in dir(kind)]
    return [one for one in named if isinstance(one, VmomiSupport.ManagedMethod)]


@pytest.mark.parametrize(
    ("api", "spoken"),
    [
        ("8.0.3.0", "v8_0_3_0"),
        ("8.0.2.5", "v8_0_2_0"),
        ("7.0.3.0", "v7_0_3_0"),
        ("7.0", "v7_0"),
        ("6.7.3", "v7_0"),
        ("99.0", "v9_1_1_0"),
        ("", "v7_0"),
    ],
)
def test_the_newest_words_that_both_know_are_spoken(api: str, spoken: str) -> None:
    known = [
        f"vim.version.{one}" for one in ("v7_0", "v7_0_3_0", "v8_0_2_0", "v8_0_3_0", "v9_1_1_0", "version9")
    ]
    assert newest_version(api, known) == f"vim.version.{spoken}"


def test_a_method_that_is_not_listed_is_not_called() -> None:
    stub = Stub("localhost", 1, at="", trust=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    with pytest.raises(LookupError, match="RebootGuest"):
        vim.VirtualMachine("vm-1", stub).RebootGuest()


def test_a_property_is_never_read_by_itself() -> None:
    stub = Stub("localhost", 1, at="", trust=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    with pytest.raises(LookupError, match="property collector"):
        _ = vim.VirtualMachine("vm-1", stub).name


# --- answers --------------------------------------------------------------------------------------


DISK = b'<VirtualDevice x:type="VirtualDisk"><key>2000</key></VirtualDevice>'
KEYS = (
    b'<VirtualDevice x:type="VirtualKeyboard"><key>600</key><deviceInfo x:type="Description">'
    b"<label>Keyboard</label></deviceInfo></VirtualDevice>"
)


def test_what_nobody_asks_about_is_left_out_and_all_else_stays() -> None:
    assert trim(b"<val>" + KEYS + DISK + KEYS + b"</val>") == b"<val>" + DISK + b"</val>"
    assert trim(b"<val>" + DISK + b"</val>") == b"<val>" + DISK + b"</val>"


def test_a_device_of_a_kind_that_is_not_known_stays() -> None:
    new = DISK.replace(b"VirtualDisk", b"VirtualDiskOfTomorrow")
    assert trim(KEYS + new) == new


def words(exc: BaseException, *sent: str, lost: bool = False) -> AdapterError:
    at = Asked("vcenter.example", "city", "mainstay@city.lab", {"group-v7": "servers"})
    return in_words(exc, "VM gis-1 could not be made", at, sent=sent, lost=lost)


@pytest.mark.parametrize(
    ("exc", "reason", "transient"),
    [
        (vim.fault.InvalidLogin(), "refuses the user or the password", False),
        (vim.fault.NoPermission(privilegeId="Folder.Create"), "denies the privilege Folder.Create", False),
        (vim.fault.NotAuthenticated(), "ended the session", True),
        (NotReached("refused"), "does not answer", True),
        (AnswerLost("503"), "answer was lost", True),
        (vim.fault.DuplicateName(name="gis-1"), "DuplicateName gis-1", False),
        (vmodl.fault.ManagedObjectNotFound(), "ManagedObjectNotFound", True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_refusal_is_told_in_words(exc: BaseException, reason: str, transient: bool) -> None:
    told = words(exc)
    assert reason in str(told)
    assert str(told).endswith("nothing was changed")
    assert told.transient is transient


def test_a_denial_names_privilege_object_and_login() -> None:
    denied = vim.fault.NoPermission(privilegeId="Folder.Create", object=vim.Folder("group-v7"))
    assert "denies the privilege Folder.Create on Folder group-v7 (servers) to mainstay@city.lab" in str(
        words(denied)
    )
    assert "provision.permissions" in str(words(denied).hint)


def test_a_refusal_says_what_was_done_before_it_and_what_is_not_known() -> None:
    assert "done before it: CreateFolder" in str(words(vim.fault.DuplicateName(), "CreateFolder"))
    lost = words(AnswerLost("gone"), "CreateFolder", lost=True)
    assert lost.unknown
    assert "is not known" in str(lost)


@pytest.mark.parametrize(
    ("code", "reason"),
    [(10, "has expired"), (62, "for another name"), (9, "not valid yet"), (20, "not signed by an authority")],
)
def test_distrust_says_why(code: int, reason: str) -> None:
    exc = ssl.SSLCertVerificationError(1, "verify failed")
    exc.verify_code, exc.verify_message = code, "details"
    assert reason in str(words(exc))
    assert not words(exc).transient


def test_paths_of_datastores_are_taken_apart() -> None:
    path = "[local] gis-1/gis-1.vmx"
    assert (store_of(path), folder_of(path)) == ("local", "[local] gis-1")
    assert folder_of("[local] lonely.vmx") == "[local]"


def test_a_login_is_read_line_by_line() -> None:
    text = "# of the automation\nVSPHERE_USER=a@b\nVSPHERE_PASSWORD=x=y \n"
    assert dict(parse_login(text)) == {"VSPHERE_USER": "a@b", "VSPHERE_PASSWORD": "x=y"}


def test_a_chain_of_snapshots_is_as_deep_as_its_longest_branch() -> None:

    def snapshot(number: int, *children: object) -> object:
        at = datetime(2026, 11, 22, number, tzinfo=UTC)
        ref = SimpleNamespace(_moId=f"snapshot-{number}")
        told = {"createTime": at, "snapshot": ref, "name": str(number), "description": ""}
        return SimpleNamespace(**told, childSnapshotList=list(children))

    tree = [snapshot(1, snapshot(2, snapshot(4)), snapshot(3))]
    values = {"name": "x", PATH: marks.write_mark(MARK), "snapshot.rootSnapshotList": tree}
    chain = chain_of(vm_of(Seen(vim.VirtualMachine("vm-1"), values)))
    assert [(one.id, one.depth) for one in chain.snapshots] == [
        ("snapshot-1", 1),
        ("snapshot-2", 2),
        ("snapshot-3", 2),
        ("snapshot-4", 3),
    ]
    assert (chain.vm, chain.depth, chain.consolidation_needed) == ("gis-1", 3, False)
