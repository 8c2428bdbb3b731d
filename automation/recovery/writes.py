"""Steps that list writes: what the new primary holds, and what only the lost disk does. Pure."""

from collections.abc import Mapping

from automation.model.actions import InspectDisk, ListWrites
from automation.model.catalog import PostgresqlStandby, RestoreFromBackup, Service
from automation.model.plan import Step

Database = PostgresqlStandby | RestoreFromBackup


def count_writes(services: Mapping[str, Service], *, inspect_old_primary: bool) -> tuple[Step, ...]:
    """Give the steps that list, for every write probe, the writes its database holds.

    What is kept in anything but a database of this plan is not counted: its loss is not measured.
    """
    steps: list[Step] = []
    for name, service in services.items():
        for probe in service.probes.values():
            if probe.stored_in is None or probe.database is None or probe.query is None:
                continue
            store = services[probe.stored_in].strategy if probe.stored_in in services else None
            if not isinstance(store, Database):
                continue
            keeper = services[probe.stored_in]
            steps.append(_list_new(name, keeper, store, probe.database, probe.query))
            if inspect_old_primary:
                steps.append(_list_old(name, keeper, store, probe.database, probe.query))
    return tuple(steps)


def writes_artifact(service: str) -> str:
    """Name of the artifact that lists the writes of a service at its new primary."""
    return f"writes-{service}.txt"


def old_writes_artifact(service: str) -> str:
    """Name of the artifact that lists the writes on the lost primary's disk."""
    return f"writes-{service}-lost-primary.txt"


def _list_new(name: str, keeper: Service, store: Database, database: str, query: str) -> Step:
    return Step(
        id=f"writes/{name}",
        service=name,
        run=ListWrites(
            host=store.hosts[keeper.recovery],
            cluster=store.cluster,
            database=database,
            query=query,
            artifact=writes_artifact(name),
        ),
        why="acknowledged writes that are not here were lost",
        needs=("witness/collect", "clients-good"),
        timeout_s=120,
    )


# Starts the cluster on a throw-away copy, on a socket in /tmp alone, refusing every write of its own accord.
_OPEN_AND_LIST = """
set -eu
version=${1%%/*}; name=${1#*/}
printf 'local all all trust\\n' >/tmp/hba.conf
su postgres -s /bin/sh -c "/usr/lib/postgresql/$version/bin/pg_ctl -s -w -t 60 -D /var/lib/postgresql/$1 -o '\
-c config_file=/etc/postgresql/$version/$name/postgresql.conf -c hba_file=/tmp/hba.conf -c listen_addresses= \
-c unix_socket_directories=/tmp -c default_transaction_read_only=on -c synchronous_standby_names= \
-c archive_mode=off -c port=5433' start" >&2
su postgres -s /bin/sh -c 'psql -h /tmp -p 5433 -XqAt -v ON_ERROR_STOP=1 -d "$1" -f -' psql "$2" <<END
COPY ($3) TO STDOUT;
END
"""


def _list_old(name: str, keeper: Service, store: Database, database: str, query: str) -> Step:
    return Step(
        id=f"writes/{name}-lost-primary",
        service=name,
        run=InspectDisk(
            host=store.hosts[keeper.primary],
            argv=("sh", "-c", _OPEN_AND_LIST, "list", store.cluster, database, query),
            artifact=old_writes_artifact(name),
        ),
        why="nothing acknowledged is thrown away: the lost disk says what only it holds",
        needs=("witness/collect",),
        timeout_s=180,
    )
