"""A login at two vCenters that has the printed roles and nothing else, and a life lived with it."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pyVmomi import vim

from automation.commands._permissions import permissions_of
from automation.model.actions import (
    AdoptVm,
    BaseAction,
    BlockVm,
    ChangePortGroup,
    ChangeVm,
    CopyReplica,
    CreatePortGroup,
    CreateVm,
    DeletePortGroup,
    DestroyVm,
    FenceVm,
    LearnVmKey,
    ListVcenter,
    LookAtReplicas,
    PowerOnVm,
    ProvePortGroup,
    RegisterReplica,
    ReleaseVm,
    RemoveCopy,
    ShutDownVm,
    UnregisterVm,
)
from automation.model.actions.points import RemoveRollbacks, TakeRollback, Vault
from automation.model.backup_evidence import PointTaken
from automation.model.machine_evidence import ProviderChange
from automation.model.records import Outcome
from automation.model.servers import NetworkSpec
from tests.programs.simulators_vcenter import REPLICATED, TEMPLATE, VcenterSimulated
from tests.programs.vsphere_sites import Sites, spec, two_sites

USER, LOGIN = "mainstay@vsphere.local", "secrets/mainstay"
VAULT = Vault(store="hall-vcenter", site="hall")
Done = dict[str, Outcome]


class Step(NamedTuple):
    """One action of a life, made when what stands before it was done."""

    name: str
    site: str
    action: Callable[[Done], BaseAction]
    before: Callable[["Sites"], None] = lambda _sites: None


@contextmanager
def limited_sites(state: Path, areas: str = "provisioning,backups,recovery") -> Iterator[Sites]:
    """Run two vCenters whose login `mainstay` has exactly the roles that are printed for some areas."""
    (state / "secrets").mkdir()
    (state / LOGIN).write_text(f"VSPHERE_USER={USER}\nVSPHERE_PASSWORD=made for this test\n")
    logins = {"operator": str(state / "secrets/vcenter"), "mainstay": str(state / LOGIN)}
    told = {"logins": logins, "limited": ["mainstay"]}
    with two_sites(state, hall=told, annex=told) as made:
        sites = Sites(state, made.hall, made.annex, LOGIN)
        for site, vcenter in (("hall", sites.hall), ("annex", sites.annex)):
            printed = json.loads(permissions_of(sites.environment, f"vcenter-{site}", areas))
            for role in printed["roles"]:
                grant(vcenter, role)
        yield sites


def grant(vcenter: VcenterSimulated, role: Mapping[str, Any]) -> None:
    """Give a printed role to the login, on what it says."""
    with vcenter.session() as instance:
        content = instance.RetrieveContent()
        manager = content.authorizationManager
        id_ = manager.AddAuthorizationRole(role["name"], role["privileges"])
        for entity in _entities(content, role["on"]):
            permission = vim.AuthorizationManager.Permission(
                principal=USER, group=False, roleId=id_, propagate=role["propagate"]
            )
            manager.SetEntityPermissions(entity, [permission])


def _entities(content: Any, on: str) -> list[Any]:
    if on.startswith("the root folder"):
        return [content.rootFolder]
    datacenter = content.rootFolder.childEntity[0]
    if on.startswith("datastore "):
        return [one for one in datacenter.datastore if one.name in (_name(on), REPLICATED)]
    there = [datacenter, *datacenter.hostFolder.childEntity]
    return [next(one for one in there if one.name == _name(on))]


def _name(on: str) -> str:
    return on.partition(" ")[2].partition(",")[0]


@contextmanager
def without(vcenter: VcenterSimulated, privilege: str) -> Iterator[None]:
    """Take one privilege out of every role of the login, until the end of the block."""
    with vcenter.session() as instance:
        manager = instance.RetrieveContent().authorizationManager
        was = [one for one in manager.roleList if privilege in one.privilege and not one.system]
        for role in was:
            left = [one for one in role.privilege if one != privilege]
            manager.UpdateAuthorizationRole(role.roleId, role.name, left)
        try:
            yield
        finally:
            for role in was:
                manager.UpdateAuthorizationRole(role.roleId, role.name, role.privilege)


def make_stranger(vcenter: VcenterSimulated, name: str) -> str:
    """Make a VM that bears no mark, as somebody else does."""
    with vcenter.session() as instance:
        datacenter = instance.RetrieveContent().rootFolder.childEntity[0]
        template = next(one for one in datacenter.vmFolder.childEntity if one.name == TEMPLATE)
        pool = datacenter.hostFolder.childEntity[0].resourcePool
        location = vim.vm.RelocateSpec(pool=pool)
        task = template.Clone(
            folder=datacenter.vmFolder, name=name, spec=vim.vm.CloneSpec(location=location, powerOn=False)
        )
        while task.info.state not in ("success", "error"):
            pass
        return str(task.info.result._moId)


def start_by_itself(vcenter: VcenterSimulated, name: str) -> None:
    """Have its host start a VM, as somebody set it."""
    with vcenter.session() as instance:
        content = instance.RetrieveContent()
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
        vm = next(one for one in view.view if one.name == name)
        starts = vim.host.AutoStartManager.AutoPowerInfo(
            key=vm,
            startOrder=1,
            startDelay=-1,
            startAction="powerOn",
            waitForHeartbeat="systemDefault",
            stopDelay=-1,
            stopAction="systemDefault",
        )
        spec_ = vim.host.AutoStartManager.Config(powerInfo=[starts])
        vm.runtime.host.configManager.autoStartManager.ReconfigureAutostart(spec_)


def life(stranger: str) -> tuple[Step, ...]:
    """Give a whole life: networks, servers made, changed, guarded, fenced, replicated, retired, deleted."""
    return (*_made_and_changed(stranger), *_fenced_and_guarded(), *_replicated(), *_ended(stranger))


def _network(name: str, site: str = "hall", **more: object) -> NetworkSpec:
    return NetworkSpec.model_validate({"name": name, "provider": "vsphere", "site": site, **more})


def _do(name: str, action: BaseAction, site: str = "hall") -> Step:
    return Step(name, site, lambda _done: action)


_BIGGER = spec(
    "gis",
    size={"cpus": 4, "memory": "4 GiB"},
    disks=[{"name": "data", "size": "6 GiB"}, {"name": "logs", "size": "1 GiB"}],
    networks=["dmz", "city", "city"],
    tags={"service": "portal"},
)


def _made_and_changed(stranger: str) -> Iterator[Step]:
    yield _do("network", CreatePortGroup(network=_network("dmz", vlan=20)))
    yield _do("other vlan", ChangePortGroup(network=_network("dmz", vlan=30), changes=("vlan",)))
    yield _do("isolated", CreatePortGroup(network=_network("isolated", "annex", isolated=True)), "annex")
    yield _do("proven", ProvePortGroup(site="annex", name="isolated"), "annex")
    two_ports = spec("gis", networks=["city", "dmz"])
    yield _do("server", CreateVm(host="gis", site="hall", spec=two_ports))
    yield _do("key", LearnVmKey(host="gis", site="hall"))
    changes = ("size", "disks", "networks", "tags")
    yield _do("change", ChangeVm(host="gis", site="hall", spec=_BIGGER, changes=changes, restart=True))
    yield _do("adopted", AdoptVm(host="stranger", site="hall", id=stranger))


def _fenced_and_guarded() -> Iterator[Step]:
    take = TakeRollback(resource="gis-guard", to=VAULT, vm="gis", quiesce=False)
    yield _do("guard", take)
    yield Step("no guard", "hall", lambda done: _remove(done["guard"]))
    yield _do("blocked", BlockVm(host="gis", site="hall"))
    yield _do("unblocked", ReleaseVm(host="gis", site="hall"))
    fence = FenceVm(host="gis", site="hall")
    yield _do("fenced", fence)._replace(before=lambda sites: start_by_itself(sites.hall, "gis"))
    yield _do("released", ReleaseVm(host="gis", site="hall"))
    yield _do("on", PowerOnVm(host="gis", site="hall"))


def _remove(guard: Outcome) -> BaseAction:
    assert isinstance(guard.evidence, PointTaken)
    point = guard.evidence.point
    snapshot = guard.summary.partition("snapshot ")[2].partition(" ")[0]
    return RemoveRollbacks(
        resource="gis-guard", of=VAULT, vm="gis", points=(point,), members={point: (snapshot,)}, stay=()
    )


def _replicated() -> Iterator[Step]:
    yield _do("replicated", CreateVm(host="twin", site="hall", spec=spec("twin")))
    yield _do("seen", LookAtReplicas(site="annex", datastore=REPLICATED, vms=("twin",)), "annex")
    copy = CopyReplica(host="twin-test", of="twin", site="annex", datastore=REPLICATED, network="isolated")
    yield _do("copied", copy, "annex")
    yield _do("listed", ListVcenter(site="annex"), "annex")
    yield _do("copy on", PowerOnVm(host="twin-test", site="annex"), "annex")
    yield _do("no copy", RemoveCopy(host="twin-test", site="annex"), "annex")
    yield _do("twin off", ShutDownVm(host="twin", site="hall"))
    networks = {"city": "VM Network"}
    register = RegisterReplica(host="twin", site="annex", datastore=REPLICATED, networks=networks)
    yield _do("registered", register, "annex")
    yield _do("unregistered", UnregisterVm(host="twin", site="annex"), "annex")


def _ended(stranger: str) -> Iterator[Step]:
    yield _do("off", ShutDownVm(host="gis", site="hall"))
    yield Step("kept", "hall", lambda done: _destroy(done["server"], "gis"))
    yield Step("twin gone", "hall", lambda done: _destroy(done["replicated"], "twin"))
    gone = DestroyVm(host="stranger", site="hall", id=stranger, keep_snapshot=False)
    yield _do("stranger gone", gone)
    yield Step("no network", "hall", lambda done: _delete(done["network"]))
    yield Step("none isolated", "annex", lambda done: _delete(done["isolated"]))


def _destroy(made: Outcome, host: str) -> BaseAction:
    assert isinstance(made.evidence, ProviderChange)
    return DestroyVm(host=host, site="hall", id=made.evidence.ids["server"], keep_snapshot=host == "gis")


def _delete(made: Outcome) -> BaseAction:
    assert isinstance(made.evidence, ProviderChange)
    return DeletePortGroup(name=made.evidence.name, site=made.evidence.site, id=made.evidence.ids["network"])


def perform(sites: Sites, step: Step, done: Done) -> Outcome:
    """Do one step; a replicated server is made on the replicated datastore."""
    step.before(sites)
    on = sites.declare(datastore=REPLICATED) if step.name == "replicated" else sites.environment
    return sites.do(step.action(done), sites.context(step.name, environment=on))
