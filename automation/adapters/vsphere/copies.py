"""Copies of replicated VMs for a test: made on another datastore, isolated, and removed by their run's mark.

The replicated datastore is only read. A folder that a run makes has a marker in it; without that no folder is
deleted.
"""

from automation.adapters.vsphere.devices import cards, disks
from automation.adapters.vsphere.files import (
    copy_disk,
    copy_file,
    delete_folder,
    exists,
    list_files,
    make_directory,
    store_of,
)
from automation.adapters.vsphere.marks import Mark
from automation.adapters.vsphere.outcomes import changed_server, mark_of, within
from automation.adapters.vsphere.places import Vm, find_vm, places_of, read_vm
from automation.adapters.vsphere.port_groups import port_named
from automation.adapters.vsphere.powering import cut_power
from automation.adapters.vsphere.replicas import register_files, take_over
from automation.adapters.vsphere.sessions import Vcenter, at
from automation.adapters.vsphere.settling import run_task, settle
from automation.model.actions import CopyReplica, RemoveCopy
from automation.model.errors import AdapterError
from automation.model.machine_evidence import ProviderChange
from automation.model.records import Context, Outcome, Progress

_PARTS = ("-flat.vmdk", "-delta.vmdk", "-ctk.vmdk", "-sesparse.vmdk")  # go with the disk that names them
_SETTINGS = (".vmx", ".nvram")
_MARKER = "mainstay-run-"


def copy_replica(action: CopyReplica, ctx: Context) -> Outcome:
    """Copy a replicated VM's files to our own datastore, and register the copy in an isolated network."""
    with at(ctx, action.site, f"VM {action.of} could not be copied to {action.host}") as vcenter:
        known = find_vm(vcenter, action.host)
        if known is not None:
            _require_copy(known, action.host, ctx.run_id)
            return changed_server(vcenter, known, "found", changed=False)
        if action.datastore == vcenter.provider.datastore:
            raise AdapterError(
                f"VM {action.of}: {action.datastore} is the replicated datastore and our own, a copy needs "
                "another one; nothing was changed",
                hint="environment.yml: providers: datastore",
            )
        source, target = f"[{action.datastore}] {action.of}", _folder(vcenter, action.host)
        _copy_files(vcenter, source, target, ctx)
        vm = register_files(vcenter, target, action.host, within(ctx))
        _require_own_disks(vm, target)
        port = port_named(vcenter, places_of(vcenter), action.network)
        mark = Mark(
            environment=vcenter.environment,
            name=action.host,
            site=vcenter.site,
            run=ctx.run_id,
            step=ctx.step_id,
            copy_of=action.of,
        )
        ports = [port for _ in cards(vm.devices)]
        vm = take_over(vcenter, vm, mark, ports, settings={"uuid.action": "create"})
        return changed_server(vcenter, vm, "created", changed=True)


def verify_copy_replica(action: CopyReplica, ctx: Context) -> Progress:
    """See whether the copy is registered and marked; files alone are copied again."""
    with at(ctx, action.site, f"VM {action.host} could not be looked at") as vcenter:
        vm = find_vm(vcenter, action.host)
        if vm is None:
            return Progress(state="not_done", why="the copy is not registered, or not marked yet")
        _require_copy(vm, action.host, ctx.run_id)
        return Progress(state="done", outcome=changed_server(vcenter, vm, "created", changed=True))


def remove_copy(action: RemoveCopy, ctx: Context) -> Outcome:
    """Power a copy that this run made off, destroy it with its files; any other VM is refused."""
    with at(ctx, action.site, f"VM {action.host} could not be removed") as vcenter:
        vm, folder = find_vm(vcenter, action.host), _folder(vcenter, action.host)
        if vm is not None:
            _require_copy(vm, action.host, ctx.run_id)
            _require_own_disks(vm, folder)
            cut_power(vcenter, vm, timeout_s=within(ctx))
            settle(
                vcenter,
                f"VM {action.host} could not be destroyed",
                lambda: True if read_vm(vcenter, vm.ref) is None else None,
                lambda: run_task(
                    vcenter, "destroy", lambda _content: vm.ref.Destroy_Task(), timeout_s=within(ctx)
                ),
                timeout_s=within(ctx),
            )
        left = _ours(vcenter, folder, ctx.run_id)
        if left:
            delete_folder(vcenter, folder, timeout_s=within(ctx))
        return _removed(vcenter, action, vm, changed=vm is not None or left)


def verify_remove_copy(action: RemoveCopy, ctx: Context) -> Progress:
    """See whether the copy and its files are gone."""
    with at(ctx, action.site, f"VM {action.host} could not be looked at") as vcenter:
        vm = find_vm(vcenter, action.host)
        if vm is not None or _ours(vcenter, _folder(vcenter, action.host), ctx.run_id):
            return Progress(state="not_done", why="it, or its folder, is there")
        return Progress(state="done", outcome=_removed(vcenter, action, None, changed=True))


# --- parts of the above ---------------------------------------------------------------------------


def _folder(vcenter: Vcenter, name: str) -> str:
    return f"[{vcenter.provider.datastore}] {name}"


def _copy_files(vcenter: Vcenter, source: str, target: str, ctx: Context) -> None:
    """Copy settings and disks into a folder that is marked as this run's before anything is in it."""
    files = list_files(vcenter, source)
    if not files:
        raise AdapterError(
            f"{source} at {vcenter.provider.address} shows no files; nothing was changed",
            hint="see that its storage replicates them",
        )
    if list_files(vcenter, target) is not None and not _ours(vcenter, target, ctx.run_id):
        raise AdapterError(
            f"{target} at {vcenter.provider.address} is there and is not this run's; nothing was changed",
            hint="give the copy another name, or see whose folder it is",
        )
    make_directory(vcenter, f"{target}/{_MARKER}{ctx.run_id}")
    for file in files:
        if file.name.endswith(_SETTINGS):
            copy_file(vcenter, f"{source}/{file.name}", f"{target}/{file.name}", timeout_s=within(ctx))
        elif file.name.endswith(".vmdk") and not file.name.endswith(_PARTS):
            ctx.say(f"copying {file.name}")
            copy_disk(vcenter, f"{source}/{file.name}", f"{target}/{file.name}", timeout_s=within(ctx))


def _ours(vcenter: Vcenter, folder: str, run: str) -> bool:
    return list_files(vcenter, folder) is not None and exists(vcenter, f"{folder}/{_MARKER}{run}")


def _require_copy(vm: Vm, name: str, run: str) -> None:
    mark = mark_of(vm)
    if not mark.copy_of or mark.run != run:
        made = f"made by run {mark.run}" if mark.copy_of else "no copy"
        raise AdapterError(f"VM {name} ({vm.moid}) is {made}, and not this run's; nothing was changed")


def _require_own_disks(vm: Vm, folder: str) -> None:
    """A copy whose settings still name a disk of the original must neither run nor be destroyed."""
    files = [str(disk.backing.fileName) for disk in disks(vm.devices)]
    elsewhere = [file for file in files if not file.startswith(f"{folder}/")]
    if elsewhere:
        raise AdapterError(
            f"VM {vm.seen.get('name')} ({vm.moid}): {', '.join(elsewhere)} is not in {folder} on "
            f"{store_of(folder)}; it was not touched",
            hint="unregister it by hand: a disk of the original must not be written",
        )


def _removed(vcenter: Vcenter, action: RemoveCopy, vm: Vm | None, *, changed: bool) -> Outcome:
    evidence = ProviderChange(
        provider="vsphere",
        site=vcenter.site,
        what="server",
        name=action.host,
        verb="deleted",
        ids={} if vm is None else {"server": vm.moid},
        source=vcenter.source,
    )
    return Outcome(changed=changed, summary=f"copy {action.host} and its files are gone", evidence=evidence)
