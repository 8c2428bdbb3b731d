"""Where on a host lies what is made to be saved, and what is restored to be looked at. Pure."""

from automation.backups.spec import Backups
from automation.backups.stores import ResticStore
from automation.model.actions.restic import SCRATCH, Repository

ROOT = "/var/lib/mainstay"


def dump_file(resource: str) -> str:
    """The file that a database is dumped to before it is saved."""
    return f"{ROOT}/dumps/{resource}/database.dump"


def config_folder(resource: str) -> str:
    """The folder on the keeper of the resource's first store that gets devices' configurations."""
    return f"{ROOT}/configs/{resource}"


def scratch_folder(token: str) -> str:
    """A folder for one restore that is looked at and removed."""
    return f"{SCRATCH}/{token}"


def repository(backups: Backups, store: str, host: str) -> Repository:
    """A restic repository as it is reached from a host: its keeper may have it on a disk of its own."""
    known = backups.stores[store]
    if not isinstance(known, ResticStore):
        raise TypeError(f"{store} is no repository of restic")
    return Repository(store=store, url=known.kept_at if host == known.keeper.host else known.repository)
