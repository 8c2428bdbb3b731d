"""What is looked at on hosts before a restore: room, clusters, folders, and moments that can be reached."""

from contextlib import suppress

from automation.backups.proof_steps import stanza
from automation.backups.proving import Moments
from automation.backups.spec import Backups
from automation.commands._session import Session
from automation.model.errors import AdapterError, PreflightError

# The folder may not be there yet: the room is that of the nearest one above it that is.
_FREE = 'd=$1; until [ -d "$d" ]; do d=$(dirname "$d"); done; df -B1 --output=avail "$d"'
_HOLDS = '[ -e "$1" ] || exit 1; [ -d "$1" ] || exit 0; [ -n "$(ls -A "$1")" ]'
_QUICK_S = 15.0


def moments_of(session: Session, backups: Backups, store: str, host: str) -> tuple[Moments, ...]:
    """Give the moments that a store of pgBackRest reaches, as a host sees them.

    Raises:
        AdapterError: it cannot be looked at.
    """
    from automation.adapters import pgbackrest

    window = pgbackrest.look_at_window(session.remote(host), stanza(backups, store))
    return tuple(Moments(span.first, span.last) for span in window.spans)


def free_bytes(session: Session, host: str, path: str) -> int | None:
    """Give the room on the disk of a path; None where nobody can tell."""
    with suppress(AdapterError, ValueError, IndexError):
        done = session.remote(host).run(["sudo", "-n", "sh", "-c", _FREE, "free", path], timeout_s=_QUICK_S)
        return int(done.stdout.split()[-1])
    return None


def holds_something(session: Session, host: str, folder: str) -> bool:
    """Whether a folder is there and not empty, or something else is in its place.

    Raises:
        PreflightError: the host does not answer.
    """
    try:
        done = session.remote(host).run(
            ["sudo", "-n", "sh", "-c", _HOLDS, "look", folder], timeout_s=_QUICK_S
        )
    except AdapterError as exc:
        raise _silent(host, exc) from exc
    return done.exit_code == 0


def clusters_of(session: Session, host: str) -> tuple[set[str], set[int]]:
    """Give the names and ports of the clusters of a host.

    Raises:
        PreflightError: it does not answer, or has no PostgreSQL.
    """
    try:
        done = session.remote(host).run(["pg_lsclusters", "--no-header"], timeout_s=_QUICK_S)
    except AdapterError as exc:
        raise _silent(host, exc) from exc
    if done.exit_code:
        raise PreflightError(
            f"{host} has no PostgreSQL of Debian's: {done.stderr.strip()[:200]}; nothing was changed",
            hint="--to a host of group postgresql, or the scratch host",
        )
    rows = [line.split() for line in done.stdout.splitlines() if len(line.split()) > 2]
    return {f"{row[0]}/{row[1]}" for row in rows}, {int(row[2]) for row in rows if row[2].isdecimal()}


def _silent(host: str, why: AdapterError) -> PreflightError:
    return PreflightError(f"{host} does not answer: {why}; nothing was changed")
