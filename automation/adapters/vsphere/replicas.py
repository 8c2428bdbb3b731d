"""VMs whose files stand on a replicated datastore: seen, and registered at the vCenter of this site."""

from collections.abc import Mapping, Sequence
from typing import Any

from pyVmomi import vim

from automation.adapters.vsphere.devices import (
    Port,
    cards,
    connection,
    disks,
    network_of,
    plan_cards,
    plan_connections,
)
from automation.adapters.vsphere.files import list_files, store_of
from automation.adapters.vsphere.folders import make_folder
from automation.adapters.vsphere.marks import Mark
from automation.adapters.vsphere.outcomes import changed_server, mark_of, remark, within
from automation.adapters.vsphere.places import (
    Places,
    Vm,
    find_vm,
    host_for,
    places_of,
    pool_of,
    read_vm,
)
from automation.adapters.vsphere.port_groups import port_named
from automation.adapters.vsphere.reading import now
from automation.adapters.vsphere.sessions import Vcenter, at
from automation.adapters.vsphere.settling import run_task, settle
from automation.model.actions import LookAtReplicas, RegisterReplica
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Progress
from automation.model.replicas import ReplicasSeen

_IDENTITY = "uuid.action"  # answers before it is asked whether a VM was moved or copied


def look_at_replicas(action: LookAtReplicas, ctx: Context) -> Outcome:
    """See when the newest file of each VM was written; what is missing or older than agreed is refused."""
    what = f"replicas on {action.datastore} could not be looked at"
    with at(ctx, action.site, what) as vcenter:
        seen = _replicas(vcenter, action)
        agreed, oldest = action.no_older_than, seen.oldest
        if seen.missing:
            raise AdapterError(
                f"{action.datastore} at {vcenter.provider.address} shows no files of "
                f"{', '.join(seen.missing)}; nothing was changed",
                evidence=seen,
                hint="see that its storage replicates them",
            )
        if agreed is not None and oldest is not None and oldest < agreed:
            raise AdapterError(
                f"replicas on {action.datastore} at {vcenter.provider.address} are of {oldest.isoformat()}, "
                f"agreed was {agreed.isoformat()}; nothing was changed",
                evidence=seen,
                hint=f"plan again: ./inv dr.plan --env {vcenter.environment}",
            )
        summary = f"{len(seen.replicated_at)} replicas on {action.datastore}, the oldest of {oldest}"
        return Outcome(changed=False, summary=summary, evidence=seen)


def _replicas(vcenter: Vcenter, action: LookAtReplicas) -> ReplicasSeen:
    written = {}
    for vm in action.vms:
        files = list_files(vcenter, f"[{action.datastore}] {vm}") or []
        times = [one.written_at for one in files if one.written_at is not None]
        if any(one.name.endswith(".vmx") for one in files) and times:
            written[vm] = max(times)
    return ReplicasSeen(
        site=vcenter.site,
        datastore=action.datastore,
        replicated_at=written,
        missing=tuple(vm for vm in action.vms if vm not in written),
        seen_at=now(vcenter),
        source=vcenter.source,
    )


def register_replica(action: RegisterReplica, ctx: Context) -> Outcome:
    """Register a replicated VM under its name, its adapters in this site's networks, marked as ours.

    Refused while its twin at another vCenter of the environment answers and runs.
    """
    with at(ctx, action.site, f"VM {action.host} could not be registered") as vcenter:
        known = find_vm(vcenter, action.host)
        if known is None:
            _refuse_running_twin(action, ctx)
        folder = f"[{action.datastore}] {action.host}"
        vm = known or register_files(vcenter, folder, action.host, within(ctx))
        _require_on_datastore(vcenter, vm, action.datastore)
        if known is None:
            ports = _ports(vcenter, vm, action.networks)
            vm = take_over(vcenter, vm, _mark(vcenter, action, ctx), ports, settings={_IDENTITY: "keep"})
        verb = "found" if known else "registered"
        return changed_server(vcenter, vm, verb, changed=known is None)


def verify_register_replica(action: RegisterReplica, ctx: Context) -> Progress:
    """See whether it is registered here, marked and in the networks of this site."""
    with at(ctx, action.site, f"VM {action.host} could not be looked at") as vcenter:
        vm = find_vm(vcenter, action.host)
        if vm is None:
            return Progress(state="not_done", why="it is not registered here, or not marked yet")
        changed = mark_of(vm).run == ctx.run_id
        return Progress(state="done", outcome=changed_server(vcenter, vm, "registered", changed=changed))


# --- registering ----------------------------------------------------------------------------------


def register_files(vcenter: Vcenter, folder: str, name: str, timeout_s: float) -> Vm:
    """Register the one .vmx of a folder under a name in our folder; one that is registered is found."""
    path, parent = _vmx_of(vcenter, folder), make_folder(vcenter)
    places = places_of(vcenter)
    pool, host = pool_of(vcenter, places), host_for(vcenter, places, name)

    def look() -> Vm | None:
        there = vcenter.read(lambda content: content.searchIndex.FindChild(parent, name))
        found = None if there is None else read_vm(vcenter, there)
        if found is not None and found.seen.get("config.files.vmPathName") != path:
            raise AdapterError(
                f"VM {name}: {found.moid} at {vcenter.provider.address} has this name and is "
                f"{found.seen.get('config.files.vmPathName')}, not {path}; nothing was changed"
            )
        return found

    return settle(
        vcenter,
        f"VM {name} could not be registered",
        look,
        lambda: run_task(
            vcenter,
            "register",
            lambda _content: parent.RegisterVM_Task(path, name, False, pool, host),
            timeout_s=timeout_s,
        ),
        busy=parent,
        timeout_s=timeout_s,
    )


def take_over(
    vcenter: Vcenter, vm: Vm, mark: Mark, ports: Sequence[Port], *, settings: Mapping[str, str]
) -> Vm:
    """Mark a VM that was just registered, and put its adapters into networks, connected: in one call.

    What the mark that its disk brought says of it goes over, but for its fences: those are the twin's.
    """
    brought = vm.mark
    if brought is not None and brought.environment != vcenter.environment:
        raise AdapterError(
            f"VM {mark.name}: its files bear the mark of environment {brought.environment}; it is registered "
            f"as {vm.moid} and was not changed",
            hint="unregister it by hand, and see whose datastore this is",
        )
    if brought is not None:
        mark = mark.model_copy(update={"image": brought.image, "tags": brought.tags, "disks": brought.disks})
    return remark(
        vcenter, vm._replace(mark=mark), {}, spec=lambda now_: _moved(now_, ports), settings=settings
    )


def _moved(vm: Vm, ports: Sequence[Port]) -> Any | None:
    """Give the change that puts adapters into networks, connected; None when they are."""
    moves = plan_cards(vm.devices, ports)
    moving = {change.device.key for change in moves}
    connections = plan_connections(vm.devices, connected=True, running=vm.on)
    changes = [*moves, *(change for change in connections if change.device.key not in moving)]
    for change in moves:
        change.device.connectable = connection(connected=True, running=vm.on)
    return vim.vm.ConfigSpec(deviceChange=changes) if changes else None


def _ports(vcenter: Vcenter, vm: Vm, networks: Mapping[str, str]) -> list[Port]:
    """Where each adapter is to go: it says itself, by the name of its network, where it came from."""
    places = places_of(vcenter)
    names = [_network_name(places, card) for card in cards(vm.devices)]
    return [port_named(vcenter, places, networks.get(name, name)) for name in names]


def _network_name(places: Places, card: Any) -> str:
    known = places.by_id(network_of(card))
    return str(getattr(card.backing, "deviceName", "") or (known.get("name") if known else ""))


def _mark(vcenter: Vcenter, action: RegisterReplica, ctx: Context) -> Mark:
    return Mark(
        environment=vcenter.environment,
        name=action.host,
        site=vcenter.site,
        run=ctx.run_id,
        step=ctx.step_id,
    )


def _vmx_of(vcenter: Vcenter, folder: str) -> str:
    files = list_files(vcenter, folder, ("*.vmx",))
    if not files or len(files) > 1:
        told = "no such folder" if files is None else f"{len(files)} .vmx files"
        raise AdapterError(
            f"{folder} at {vcenter.provider.address}: {told}, one is needed; nothing was changed",
            hint="see that its storage replicates it",
        )
    return f"{folder}/{files[0].name}"


def _require_on_datastore(vcenter: Vcenter, vm: Vm, datastore: str) -> None:
    files = [str(vm.seen.get("config.files.vmPathName"))]
    files += [str(disk.backing.fileName) for disk in disks(vm.devices)]
    elsewhere = [file for file in files if store_of(file) != datastore]
    if elsewhere:
        raise AdapterError(
            f"VM {vm.seen.get('name')} ({vm.moid}) at {vcenter.provider.address} is not all on {datastore}: "
            f"{', '.join(elsewhere)}; it was not changed"
        )


def _refuse_running_twin(action: RegisterReplica, ctx: Context) -> None:
    """Refuse while another vCenter answers and shows the VM powered on; a silent one cannot be asked."""
    for provider in ctx.environment.providers.values():
        if provider.kind != "vsphere" or provider.site == action.site:
            continue
        twin = _twin(action, ctx, provider.site)
        if twin is not None and twin.on:
            raise AdapterError(
                f"VM {action.host} runs at {provider.site} ({twin.moid}): registered here too, two would "
                "write the same data; nothing was changed",
                hint=f"fence it first: ./inv dr.plan --env {ctx.environment.name}",
            )


def _twin(action: RegisterReplica, ctx: Context, site: str) -> Vm | None:
    try:
        with at(ctx, site, f"VM {action.host} could not be looked at") as other, other.in_a_hurry():
            return find_vm(other, action.host)
    except AdapterError as exc:
        if not exc.transient:
            raise
        ctx.say(f"{action.host}: the vCenter of {site} does not answer; whether it runs there is not known")
        return None
