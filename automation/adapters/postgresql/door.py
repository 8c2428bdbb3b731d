"""The door to a cluster: one psql call on its host, as the cluster's owner."""

from collections.abc import Mapping

from automation.model.errors import AdapterError
from automation.model.records import Remote


def psql(
    remote: Remote,
    host: str,
    cluster: str,
    database: str,
    sql: str,
    timeout_s: float,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Run a script in one session; give what it printed.

    Raises:
        AdapterError: the host or the cluster does not answer, or a statement failed.
    """
    argv = ["sudo", "-n", "-u", "postgres", *psql_words(cluster, database, variables or {})]
    done = remote.run(argv, stdin=sql, timeout_s=timeout_s)
    if done.exit_code:
        raise AdapterError(f"psql on {host} ({cluster}, database {database}): {done.stderr.strip()}")
    return done.stdout


def psql_words(cluster: str, database: str, variables: Mapping[str, str]) -> list[str]:
    """Give the words of a psql that reads its script from stdin and stops at the first error."""
    settings = [f"--set={name}={value}" for name, value in variables.items()]
    own = ["psql", "--cluster", cluster, "-XqAt", "-d", database, *settings]
    return [*own, "--set=ON_ERROR_STOP=1", "-f", "-"]
