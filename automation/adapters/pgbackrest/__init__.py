"""pgBackRest: physical backups of PostgreSQL with their WAL, taken, listed, checked, expired and restored.

`pgbackrest` is called as postgres. It takes, checks and expires on the repository's keeper; it restores on
any host that knows the stanza. Which settings it finds there is the role's; retention is kept at its maximum,
so that nothing but `expire` here ever deletes.
"""

from automation.adapters.pgbackrest.archive import list_archive
from automation.adapters.pgbackrest.checking import check
from automation.adapters.pgbackrest.expiring import expire, verify_expire
from automation.adapters.pgbackrest.listing import list_points
from automation.adapters.pgbackrest.restoring import restore, verify_restore
from automation.adapters.pgbackrest.taking import take, verify_take
from automation.adapters.pgbackrest.window import Window, look_at_window

__all__ = [
    "Window",
    "check",
    "expire",
    "list_archive",
    "list_points",
    "look_at_window",
    "restore",
    "take",
    "verify_expire",
    "verify_restore",
    "verify_take",
]
