"""The door to pgBackRest: one call of its program on a host, as postgres."""

from automation.model.actions.databases import Stanza
from automation.model.errors import AdapterError
from automation.model.records import Completed, Remote

USER = "postgres"
# What a call prints is its answer; what went wrong is on stderr, and nothing else is.
QUIET = ("--log-level-console=off", "--log-level-stderr=error", "--no-log-timestamp")
# pgBackRest calls the host of the database "remote" wherever its settings name one; on the host that
# restores, or that asks for one WAL file, it must not be. Eight is as many as it knows.
RESTORE_SETTINGS = "/etc/pgbackrest/restore.conf"
HERE = tuple(f"--reset-pg{number}-host" for number in range(1, 9))


def words(of: Stanza, command: str, *options: str) -> list[str]:
    """Give the words of one call on one repository."""
    return ["pgbackrest", f"--stanza={of.stanza}", f"--repo={of.repo}", *QUIET, *options, command]


def ask(remote: Remote, of: Stanza, command: str, *options: str, timeout_s: float = 60.0) -> str:
    """Run a call that only reads; give what it printed.

    Raises:
        AdapterError: it failed, or the host does not answer.
    """
    argv = ["sudo", "-n", "-u", USER, *words(of, command.split()[0], *options), *command.split()[1:]]
    done = remote.run(argv, timeout_s=timeout_s)
    if done.exit_code:
        raise AdapterError(
            f"pgbackrest {command} of {of.store} (stanza {of.stanza}, repository {of.repo}): "
            f"{said(done)}; nothing was changed"
        )
    return done.stdout


def said(done: Completed) -> str:
    """What a call said of its failure, short enough for a message."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return "; ".join(lines)[-600:] or f"exit code {done.exit_code}"
