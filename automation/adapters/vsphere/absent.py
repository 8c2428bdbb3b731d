"""VMs that are not there to be fenced: what must be seen before one counts as off."""

from collections.abc import Iterator

from pyVmomi import vim

from automation.adapters.vsphere.marks import PATH
from automation.adapters.vsphere.places import Vm, find_vm, places_of, vm_of
from automation.adapters.vsphere.reading import sweep
from automation.adapters.vsphere.sessions import Vcenter
from automation.model.actions import BlockVm, FenceVm
from automation.model.errors import AdapterError
from automation.model.evidence import ServerState
from automation.model.records import Context, Outcome

_LIKE = ("name", PATH, "config.template", "guest.ipAddress")


def unseen(vcenter: Vcenter, action: FenceVm | BlockVm, ctx: Context) -> Outcome | None:
    """Give the outcome for a VM that may be gone, and is: none of the hosts that run VMs has it.

    Raises:
        AdapterError: a host does not answer its vCenter, so nobody sees what it runs; or something there has
            the VM's name or address, and not its mark.
    """
    if not action.unseen_is_off or find_vm(vcenter, action.host) is not None:
        return None
    hosts = places_of(vcenter, fresh=True).of(vim.HostSystem)
    away = [str(one.get("name")) for one in hosts if one.get("runtime.connectionState") != "connected"]
    if away or not hosts:
        raise AdapterError(
            f"VM {action.host} is not registered at {vcenter.provider.address}, and {_of(away)}: it may run "
            "there unseen; nothing was changed",
            hint="bring the host back to its vCenter, or cut its power and remove it there; then resume",
        )
    for one in _like(vcenter, action.host, ctx):
        raise AdapterError(
            f"VM {action.host}: {one.moid} has its name or address at {vcenter.provider.address}, and not "
            "its mark: it is not fenced; nothing was changed",
            hint=f"./inv provision.adopt --env {vcenter.environment}, if it is that VM",
        )
    state = ServerState(
        server=action.host, power="absent", autostart=False, network="blocked", source=vcenter.source
    )
    summary = (
        f"VM {action.host} is not there: {vcenter.provider.address} shows none with its mark, name or "
        f"address to this login, and all of its {len(hosts)} hosts answer it"
    )
    return Outcome(changed=False, summary=summary, evidence=state)


def _of(away: list[str]) -> str:
    return f"{', '.join(away)} does not answer it" if away else "it shows no host that runs VMs"


def _like(vcenter: Vcenter, host: str, ctx: Context) -> Iterator[Vm]:
    """Give the VMs that have a server's name or its declared address; templates never run."""
    declared = ctx.inventory.servers.get(host)
    datacenter = places_of(vcenter).datacenter
    for vm in map(vm_of, sweep(vcenter, datacenter, {vim.VirtualMachine: _LIKE})):
        by_address = declared is not None and vm.address == declared.address
        if not vm.seen.get("config.template") and (vm.seen.get("name") == host or by_address):
            yield vm
