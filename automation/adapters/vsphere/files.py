"""Files and folders of datastores: listed, made, copied, moved; deleted only where a run's marker stands."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pyVmomi import vim

from automation.adapters.vsphere.places import places_of, require
from automation.adapters.vsphere.reading import finish
from automation.adapters.vsphere.sessions import Vcenter
from automation.adapters.vsphere.settling import run_task, settle

_LISTING_S = 120.0
_FOUND = vim.host.DatastoreBrowser


class File(NamedTuple):
    """One file of a folder; `folder` says that it is one itself."""

    name: str
    size_bytes: int
    written_at: datetime | None


def list_files(vcenter: Vcenter, folder: str, patterns: Sequence[str] = ("*",)) -> list[File] | None:
    """List what a folder of a datastore holds, `[local] gis-1`; None when there is no such folder."""
    store = require(vcenter, places_of(vcenter), vim.Datastore, store_of(folder), "datastore")
    browser = store.get("browser")
    spec = _FOUND.SearchSpec(
        matchPattern=list(patterns),
        details=_FOUND.FileInfo.Details(fileType=False, fileSize=True, modification=True, fileOwner=False),
    )
    task = vcenter.read(lambda _content: browser.SearchDatastore_Task(folder, spec))
    try:
        found = finish(vcenter, task, f"list {folder}", timeout_s=_LISTING_S)
    except vim.fault.FileNotFound:
        return None
    return [_file(one) for one in found.file]


def _file(found: Any) -> File:
    at = found.modification
    return File(str(found.path), int(found.fileSize or 0), at.astimezone(UTC) if at else None)


def exists(vcenter: Vcenter, path: str) -> bool:
    """Whether a file or folder is there."""
    folder, _, name = path.rpartition("/")
    if not folder:
        folder, _, name = path.partition("] ")
        folder = f"{folder}]"
    listed = list_files(vcenter, folder, (name,))
    return any(one.name == name for one in listed or ())


def store_of(path: str) -> str:
    """Name the datastore of a path: `[local] gis-1/gis-1.vmx` is on local. Pure."""
    return path.partition("]")[0].removeprefix("[")


def folder_of(path: str) -> str:
    """Name the folder of a path, `[local] gis-1`. Pure."""
    return path.rpartition("/")[0] or f"[{store_of(path)}]"


def make_directory(vcenter: Vcenter, folder: str) -> None:
    """Make a folder, with those above it, unless it is there."""
    datacenter = places_of(vcenter).datacenter
    settle(
        vcenter,
        f"folder {folder} could not be made",
        lambda: True if list_files(vcenter, folder) is not None else None,
        lambda: vcenter.change(lambda content: content.fileManager.MakeDirectory(folder, datacenter, True)),
        timeout_s=_LISTING_S,
    )


def copy_file(vcenter: Vcenter, source: str, target: str, *, timeout_s: float) -> None:
    """Copy a file that is no disk, over what an interrupted copy left."""
    datacenter = places_of(vcenter).datacenter

    def ask(content: Any) -> Any:
        return content.fileManager.CopyDatastoreFile_Task(source, datacenter, target, datacenter, True)

    _once(vcenter, f"{source} could not be copied", ask, timeout_s)


def copy_disk(vcenter: Vcenter, source: str, target: str, *, timeout_s: float) -> None:
    """Copy a virtual disk, over what an interrupted copy left."""
    datacenter = places_of(vcenter).datacenter

    def ask(content: Any) -> Any:
        return content.virtualDiskManager.CopyVirtualDisk_Task(
            source, datacenter, target, datacenter, None, True
        )

    _once(vcenter, f"disk {source} could not be copied", ask, timeout_s)


def move_disk(vcenter: Vcenter, source: str, target: str, *, timeout_s: float) -> None:
    """Move a virtual disk, unless it is where it is to be."""
    datacenter = places_of(vcenter).datacenter

    def act() -> None:
        task = vcenter.change(
            lambda content: content.virtualDiskManager.MoveVirtualDisk_Task(
                source, datacenter, target, datacenter, False, None
            )
        )
        finish(vcenter, task, f"move {source}", timeout_s=timeout_s)

    settle(
        vcenter,
        f"disk {source} could not be moved to {target}",
        lambda: True if exists(vcenter, target) and not exists(vcenter, source) else None,
        act,
        timeout_s=timeout_s,
    )


def delete_folder(vcenter: Vcenter, folder: str, *, timeout_s: float) -> None:
    """Delete a folder with all that is in it; whoever calls has seen its marker."""
    datacenter = places_of(vcenter).datacenter
    settle(
        vcenter,
        f"folder {folder} could not be deleted",
        lambda: True if list_files(vcenter, folder) is None else None,
        lambda: run_task(
            vcenter,
            f"delete {folder}",
            lambda content: content.fileManager.DeleteDatastoreFile_Task(folder, datacenter),
            timeout_s=timeout_s,
        ),
        timeout_s=timeout_s,
    )


def _once(vcenter: Vcenter, what: str, ask: Callable[[Any], Any], timeout_s: float) -> None:
    """Copy until one copy is known to have ended well; one more does no harm."""
    done: list[bool] = []

    def act() -> None:
        run_task(vcenter, what, ask, timeout_s=timeout_s)
        done.append(True)

    settle(vcenter, what, lambda: True if done else None, act, timeout_s=timeout_s)
