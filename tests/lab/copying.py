"""A private copy of the lab's inventory: other id, other addresses, with or without backups and clouds."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

ADDRESSED = ("hosts.yml", "backup_hosts.yml", "cloud_hosts.yml", "networks.yml", "environment.yml")


def make_private(folder: Path, lab_id: str, net: str, *, backups: bool, clouds: bool = False) -> None:
    """Give a copy of inventories/lab an id and addresses of its own; without the rest it stays small."""
    if not backups:
        leave_out(folder, "backup_hosts.yml", sites=("cloud",), simulators=("object-store",))
        _change(folder / "environment.yml", lambda told: told.pop("object_store_ca"))
    if not clouds:
        leave_out(folder, "cloud_hosts.yml", sites=("aws-east", "aws-west"), simulators=("aws", "vcenter"))
        _change(folder / "environment.yml", lambda told: told.pop("providers"))
        (folder / "networks.yml").unlink()
        shutil.rmtree(folder / "services")
    keep_policy(folder / "backups.yml", own=backups, clouds=clouds)
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

    _change(folder / "environment.yml", change)
    (folder / hosts).unlink()


def keep_policy(path: Path, *, own: bool, clouds: bool) -> None:
    """Keep of the policy of backups what is saved to stores that are there; without any, nothing of it."""

    def change(told: dict[str, Any]) -> None:
        stores = {
            name: one for name, one in told["stores"].items() if (clouds if one["type"] == "aws" else own)
        }
        resources = told["resources"].items()
        told["stores"] = stores
        told["resources"] = {name: one for name, one in resources if set(one["to"]) <= stores.keys()}
        if not own:
            del told["scratch"]

    if own or clouds:
        _change(path, change)
    else:
        path.unlink()


def _change(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    told = yaml.safe_load(path.read_text())
    change(told)
    path.write_text(yaml.safe_dump(told, sort_keys=False, width=200))
