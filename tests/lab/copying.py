"""A private copy of the lab's inventory: other id, other addresses, with or without its backups."""

import re
from pathlib import Path


def make_private(folder: Path, lab_id: str, net: str, *, backups: bool) -> None:
    """Give a copy of inventories/lab an id and addresses of its own; without backups it stays small."""
    if not backups:
        leave_backups_out(folder)
    for path in (folder / name for name in ("hosts.yml", "backup_hosts.yml", "environment.yml")):
        if path.exists():
            text = path.read_text().replace("10.77.", f"{net}.").replace("id: lab", f"id: {lab_id}")
            path.write_text(text)


def leave_backups_out(folder: Path) -> None:
    """Drop the servers, the site and the simulators that stand there for backups alone."""
    path = folder / "environment.yml"
    text = path.read_text()
    for pattern, instead in (
        (r"inventory: \[hosts\.yml, backup_hosts\.yml\]", "inventory: [hosts.yml]"),
        (r"\n    cloud: \S+", ""),
        (r"\n  # Not real.*\n  simulators:(\n    .*)+", ""),
        (r"\nobject_store_ca: .*", ""),
    ):
        text, count = re.subn(pattern, instead, text)
        assert count == 1, f"environment.yml has no {pattern}"
    path.write_text(text)
    for name in ("backup_hosts.yml", "backups.yml"):
        (folder / name).unlink(missing_ok=True)
