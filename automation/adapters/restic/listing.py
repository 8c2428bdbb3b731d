"""What a repository holds, read without a lock."""

from automation.adapters.restic.answers import Snapshot, parse_snapshots, recovery_points
from automation.adapters.restic.door import ask
from automation.adapters.restic.faults import recognise
from automation.model.actions.restic import Repository
from automation.model.errors import AdapterError
from automation.model.records import Remote
from automation.model.recovery_points import RecoveryPoint

# $1 resource; empty: all. No lock: it changes nothing, works beside every other, and where nobody may write.
_LIST = """
set -- ${1:+--host "$1"}
restic snapshots --json --no-lock "$@"
"""


def list_points(
    remote: Remote, repository: Repository, resource: str | None = None
) -> tuple[RecoveryPoint, ...]:
    """Give the points of one resource, or of all, oldest first.

    Sizes are those of the source, as the point itself says. A repository that is not there is an error: a
    disk that is not mounted looks like one that was never made.

    Raises:
        AdapterError: it cannot be read; `transient` where that may pass.
    """
    return recovery_points(list_snapshots(remote, repository, resource), repository.store)


def list_snapshots(
    remote: Remote, repository: Repository, resource: str | None = None
) -> tuple[Snapshot, ...]:
    """Give the snapshots of one resource, or of all, oldest first.

    Raises:
        AdapterError: it cannot be read, or is not there.
    """
    found = find_snapshots(remote, repository, resource)
    if found is None:
        raise AdapterError(
            f"restic snapshots of {repository.store}: there is no repository at {repository.url}; "
            "nothing was changed",
            hint="a disk that is not mounted looks like this; the first backup makes one where nothing is",
        )
    return found


def find_snapshots(
    remote: Remote, repository: Repository, resource: str | None = None
) -> tuple[Snapshot, ...] | None:
    """Give the snapshots, oldest first; none where there is no repository.

    Raises:
        AdapterError: it cannot be read; `transient` where that may pass.
    """
    done = ask(remote, repository, _LIST, [resource or ""])
    if done.exit_code == 0:
        return parse_snapshots(done.stdout)
    fault = recognise(done.exit_code, done.stderr, host="the host", environment="ENV")
    if fault.kind == "no-repository":
        return None
    raise AdapterError(
        f"restic snapshots of {repository.store} ({repository.url}): {fault.text}; nothing was changed",
        transient=fault.transient,
        hint=fault.hint,
    )
