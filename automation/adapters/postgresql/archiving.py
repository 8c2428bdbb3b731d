"""How the WAL of a primary goes to its archive."""

import json

from automation.adapters.postgresql.door import psql
from automation.model.errors import AdapterError
from automation.model.observations import Archiving
from automation.model.records import Remote

# A segment waits as long as its name with `.ready` is there; that file is made when the segment is finished.
_ARCHIVING = """
SELECT json_build_object('in_recovery', pg_is_in_recovery(), 'mode', current_setting('archive_mode'),
  'timeout_s', (SELECT setting::int FROM pg_settings WHERE name = 'archive_timeout'),
  'waiting', segment.waiting, 'waits_s', segment.waits_s,
  'last_archived_at', archiver.last_archived_time, 'last_failed_at', archiver.last_failed_time)
FROM pg_stat_archiver archiver,
  (SELECT count(*) AS waiting, extract(epoch FROM clock_timestamp() - min(modification)) AS waits_s
    FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready') segment;
"""


def observe_archiving(host: str, cluster: str, remote: Remote) -> Archiving:
    """Read how a primary archives its WAL; changes nothing.

    Raises:
        AdapterError: it does not answer, or is a standby, which archives nothing.
    """
    said = json.loads(psql(remote, host, cluster, "postgres", _ARCHIVING, 10.0))
    if said.pop("in_recovery"):
        raise AdapterError(f"{host} ({cluster}) is a standby now, not the primary; nothing was changed")
    return Archiving(host=host, **said)
