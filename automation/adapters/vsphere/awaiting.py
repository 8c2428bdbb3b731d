"""Waiting for a replicated datastore: one site holds the files of VMs as the other one left them."""

import time
from collections.abc import Iterator, Mapping
from datetime import timedelta

from automation.adapters.vsphere.files import File, list_files
from automation.adapters.vsphere.outcomes import within
from automation.adapters.vsphere.reading import now
from automation.adapters.vsphere.sessions import at
from automation.model.actions import AwaitReplicas
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome
from automation.model.replicas import ReplicasSeen

_PAUSE_S = 5.0
_ROUNDING = timedelta(seconds=1)  # of the times that a datastore shows
# What only one site has: locks and logs of whoever runs the VM there.
_OWN = (".lck", ".log", ".vswp", ".vmss")

_Files = Mapping[str, Mapping[str, File]]


def await_replicas(action: AwaitReplicas, ctx: Context) -> Outcome:
    """Wait until no file of the VMs is older or shorter at a site than where they ran.

    Raises:
        AdapterError: the source shows no files of a VM, or the time is over: the storage lags.
    """
    deadline = time.monotonic() + within(ctx)
    wanted, _ = _files(action, ctx, action.source)
    if empty := [vm for vm, files in wanted.items() if not files]:
        raise AdapterError(
            f"{action.datastore} at {action.source} shows no files of {', '.join(empty)}: nothing to "
            "compare with; nothing was changed"
        )
    while True:
        found, seen = _files(action, ctx, action.site)
        if not (behind := list(_behind(wanted, found))):
            return Outcome(
                changed=False,
                summary=f"{action.datastore} at {action.site} holds {', '.join(action.vms)} as "
                f"{action.source} left them",
                evidence=seen,
            )
        if time.monotonic() + _PAUSE_S > deadline:
            raise AdapterError(
                f"{action.datastore} at {action.site} is behind {action.source}: {'; '.join(behind[:3])}",
                transient=True,
                evidence=seen,
                hint="see how far the storage's replication is; a resumed run goes on waiting",
            )
        time.sleep(_PAUSE_S)


def _files(action: AwaitReplicas, ctx: Context, site: str) -> tuple[_Files, ReplicasSeen]:
    with at(ctx, site, f"files on {action.datastore} could not be compared") as vcenter:
        listed = {
            vm: {one.name: one for one in list_files(vcenter, f"[{action.datastore}] {vm}") or ()}
            for vm in action.vms
        }
        newest = {
            vm: max(times)
            for vm, files in listed.items()
            if (times := [one.written_at for one in files.values() if one.written_at is not None])
        }
        seen = ReplicasSeen(
            site=site,
            datastore=action.datastore,
            replicated_at=newest,
            missing=tuple(vm for vm in action.vms if vm not in newest),
            seen_at=now(vcenter),
            source=vcenter.source,
        )
        return listed, seen


def _behind(wanted: _Files, found: _Files) -> Iterator[str]:
    for vm, files in wanted.items():
        for name, file in files.items():
            if name.endswith(_OWN):
                continue
            other = found[vm].get(name)
            if other is None:
                yield f"{vm}/{name} is not there"
            elif other.size_bytes < file.size_bytes:
                yield f"{vm}/{name} has {other.size_bytes} of {file.size_bytes} bytes"
            elif _is_older(other, file):
                yield f"{vm}/{name} is of {other.written_at}, and was written at {file.written_at}"


def _is_older(other: File, file: File) -> bool:
    if other.written_at is None or file.written_at is None:
        return False
    return other.written_at + _ROUNDING < file.written_at
