"""A private copy of the lab's inventory: other id, other addresses, with or without backups and clouds."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ADDRESSED = ("hosts.yml", "backup_hosts.yml", "cloud_hosts.yml", "networks.yml", "environment.yml")


def make_private(folder: Path, lab_id: str, net: str, *, backups: bool, clouds: bool = False) -> None:
    """Give a copy of inventories/lab an id and addresses of its own; without the rest it stays small."""
    if not backups:
        leave_out(folder, "backup_hosts.yml", sites=("cloud",), simulators=("object-store",))
        _environment(folder, lambda told: told.pop("object_store_ca"))
        (folder / "backups.yml").unlink()
    if not clouds:
        leave_out(folder, "cloud_hosts.yml", sites=("aws-east", "aws-west"), simulators=("aws", "vcenter"))
        _environment(folder, lambda told: told.pop("providers"))
        (folder / "networks.yml").unlink()
        shutil.rmtree(folder / "services")
    for path in (folder / name for name in ADDRESSED):
        if path.exists():
            text = path.read_text().replace("10.77.", f"{net}.").replace("id: lab", f"id: {lab_id}")
            path.write_text(text)


def leave_out(folder: Path, hosts: str, *, sites: tuple[str, ...], simulators: tuple[str, ...]) -> None:
    """Drop an inventory file, the sites and the simulators that stand there for its servers alone."""

    def change(told: dict[str, Any]) -> None:
        told["inventory"].remove(hosts)
        lab = told["lab"]
        for site in sites:
            del lab["sites"][site]
        kept = {name: one for name, one in lab["simulators"].items() if one["kind"] not in simulators}
        assert len(kept) < len(lab["simulators"]), f"environment.yml has none of {simulators}"
        lab["simulators"] = kept

    _environment(folder, change)
    (folder / hosts).unlink()


def _environment(folder: Path, change: Any) -> None:
    path = folder / "environment.yml"
    told = yaml.safe_load(path.read_text())
    change(told)
    path.write_text(_dump(told))


def _dump(told: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(told), sort_keys=False, width=200)
