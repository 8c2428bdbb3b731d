"""What was before a change, kept on the host so that it is there whatever happens then."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path

from ansible.module_utils.baseline import revert as program
from ansible.module_utils.baseline import sshd
from ansible.module_utils.baseline.drafts import Draft
from ansible.module_utils.baseline.kernel import FOLLOWING, kernel_names, kernel_path, kernel_value
from ansible.module_utils.baseline.revert import SSH_UNITS, Host, marker, sync_folder, write_json
from ansible.module_utils.baseline.wanted import Wanted


def set_aside(folder: Path) -> None:
    """Keep a change that ended, and whose name is used again, under a name of its own.

    Raises:
        OSError: that cannot be; it lies where it was.
    """
    if marker(folder)["state"] != "none":
        number = next(n for n in range(1, 10_000) if not folder.with_name(f"{folder.name}-{n}").exists())
        folder.rename(folder.with_name(f"{folder.name}-{number}"))


def keep(host: Host, wanted: Wanted, folder: Path) -> None:
    """Write all that an undo needs, so that it is there whatever happens then.

    A change that is made again after it was cut short keeps what was before the first time.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "files").mkdir(mode=0o700, exist_ok=True)
    (folder / "lock").touch(mode=0o600)
    old = program.read_json(folder / "bundle.json") if (folder / "bundle.json").exists() else {}
    files = {file["path"]: file for file in old.get("files", ())}
    for draft in wanted.drafts.changed():
        files[draft.path] = _kept_file(folder, draft, files.get(draft.path), _free(files))
    kernel = {value["name"]: value for value in old.get("kernel", ())}
    for name, was, then in _kernel(host, wanted):
        kept = kernel.get(name, {"name": name, "path": kernel_path(name), "was": was})
        kernel[name] = {**kept, "wrote": then}
    units = {unit["unit"]: unit for unit in old.get("units", ())}
    for unit, (before, after) in wanted.units.items():
        units[unit] = {**units.get(unit, {"unit": unit, "was": before}), "wrote": after}
    bundle = {
        "change": folder.name,
        "made_at": old.get("made_at") or program.now_text(),
        "boot_id": host.boot_id(),
        "files": list(files.values()),
        "folders": [*old.get("folders", ()), *missing_folders(host, wanted)],
        "kernel": sorted(kernel.values(), key=lambda value: (value["name"] not in FOLLOWING, value["name"])),
        "units": list(units.values()),
        "reloads": list(dict.fromkeys([*old.get("reloads", ()), *reloads(host, wanted)])),
        "settings": _seen(wanted, old.get("settings", ())),
    }
    source = program.__loader__.get_source(program.__name__)  # from Ansible's archive as from a folder
    (folder / "revert.py").write_text(source)
    for path in (folder / "revert.py", *(folder / "files").iterdir()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder / "files")
    write_json(folder / "bundle.json", bundle)
    sync_folder(folder.parent)


def _seen(wanted: Wanted, old: Sequence[dict]) -> list[dict]:
    """Give what became of each setting; what a change did before it was cut short counts as changed."""
    changed = {(one["control"], one["what"]): one for one in old if one["changed"]}
    items = [item.shown() for item in wanted.items]
    return [
        {**one, "before": first["before"], "changed": True}
        if (first := changed.get((one["control"], one["what"])))
        else one
        for one in items
    ]


def _free(files: Mapping[str, dict]) -> str:
    """Give a name that no file of this change is kept under."""
    taken = {file["kept"] for file in files.values()}
    return next(name for number in count() if (name := f"files/{number}") not in taken)


def _kept_file(folder: Path, draft: Draft, old: dict | None, free: str) -> dict:
    if old is not None and (old["kept"] is not None or old["was"] is None or not draft.changes_content):
        wrote = draft.wrote()
        return {**old, "wrote": {**wrote, "sha256": wrote["sha256"] or old["wrote"]["sha256"]}}
    kept, sha256 = None, ""
    if draft.was is not None and draft.changes_content:
        kept = free
        (folder / kept).write_bytes(draft.before)
        sha256 = program.digest(folder / kept)
    was = old["was"] if old is not None else draft.was
    return {"path": draft.path, "kept": kept, "sha256": sha256, "was": was, "wrote": draft.wrote()}


def _kernel(host: Host, wanted: Wanted) -> Iterator[tuple[str, str, str | None]]:
    """Give each value of the kernel that is written, and those that follow from it."""
    for name, (was, value) in wanted.kernel.items():
        for pattern in FOLLOWING.get(name, ()):
            for one in kernel_names(host, pattern):
                if one not in wanted.kernel:
                    yield one, kernel_value(host, one), None  # whatever the kernel makes of it
        yield name, was, value


def missing_folders(host: Host, wanted: Wanted) -> list[str]:
    """Name the folders that have to be made, the outer ones first."""
    missing = {
        str(parent)
        for draft in wanted.drafts.changed()
        for parent in Path(draft.path).parents
        if not host.at(parent).exists()
    }
    return sorted(missing)


def reloads(host: Host, wanted: Wanted) -> list[str]:
    """Name the running units that read their files again."""
    units = list(wanted.reloads)
    if sshd.reads_otherwise(wanted.drafts):
        units += SSH_UNITS
    if "systemd-journald.service" in units:
        units += ["systemd-journal-flush.service"]  # started anew, journald writes to the disk only when told
    seen: dict[str, str] = {}  # ssh.service and sshd.service are one unit under two names
    for unit in units:
        _, out, _ = host.run("systemctl", "show", "--property=Id,ActiveState", unit)
        said = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
        if said.get("ActiveState") in ("active", "reloading"):
            seen[said.get("Id", unit)] = unit
    return list(seen)
