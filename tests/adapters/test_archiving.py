"""What a primary says of its archiving: answers of PostgreSQL 15 whose archive_command was /bin/false."""

from datetime import UTC, datetime

import pytest

from automation.adapters.postgresql import observe_archiving
from automation.model.errors import AdapterError
from automation.model.observations import Archiving
from automation.model.records import Completed

WAITS = (
    '{"in_recovery" : false, "mode" : "on", "timeout_s" : 60, "waiting" : 2, "waits_s" : 121.601698, '
    '"last_archived_at" : "2026-11-22T09:37:31.805244+00:00", '
    '"last_failed_at" : "2026-11-22T09:39:33.141821+00:00"}\n'
)
NEW = (
    '{"in_recovery" : false, "mode" : "on", "timeout_s" : 60, "waiting" : 0, "waits_s" : null, '
    '"last_archived_at" : null, "last_failed_at" : null}\n'
)


class Host:
    """A host whose psql says one thing."""

    def __init__(self, stdout: str, exit_code: int = 0, stderr: str = "") -> None:
        self.said = Completed(exit_code=exit_code, stdout=stdout, stderr=stderr)

    def run(self, argv: list[str], stdin: str | None = None, timeout_s: float = 30.0) -> Completed:
        return self.said

    def put(self, path: str, content: bytes, mode: int = 0o600) -> None:
        raise AssertionError("a look writes nothing")

    def get(self, path: str) -> bytes:
        raise AssertionError("a look fetches nothing")


def test_how_long_wal_waits_is_read() -> None:
    assert observe_archiving("pg-a", "15/main", Host(WAITS)) == Archiving(
        host="pg-a",
        mode="on",
        timeout_s=60,
        waiting=2,
        waits_s=121.601698,
        last_archived_at=datetime(2026, 11, 22, 9, 37, 31, 805244, UTC),
        last_failed_at=datetime(2026, 11, 22, 9, 39, 33, 141821, UTC),
    )


def test_a_cluster_that_never_archived_has_nothing_that_waits() -> None:
    found = observe_archiving("pg-a", "15/main", Host(NEW))
    assert (found.waiting, found.waits_s, found.last_archived_at, found.last_failed_at) == (
        0,
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("host", "why"),
    [
        (Host(NEW.replace("false", "true")), "is a standby now"),
        (Host("", 2, "psql: error: connection refused"), "connection refused"),
    ],
    ids=["a standby", "no answer"],
)
def test_who_archives_nothing_or_does_not_answer_is_told(host: Host, why: str) -> None:
    with pytest.raises(AdapterError, match=why):
        observe_archiving("pg-a", "15/main", host)
