"""PostgreSQL on a host, spoken to by its own psql as the cluster's owner.

Each function is one psql call, because each call costs a round trip and 50 ms. What may last, or must
happen once, runs in the step's unit on the host.
"""

from automation.adapters.postgresql.archiving import observe_archiving
from automation.adapters.postgresql.cloning import clone_standby, verify_clone_standby
from automation.adapters.postgresql.demotion import (
    await_replayed,
    demote,
    restore_primary,
    verify_demote,
)
from automation.adapters.postgresql.dumping import dump, load_dump, verify_dump, verify_load_dump
from automation.adapters.postgresql.examining import examine
from automation.adapters.postgresql.following import (
    drop_slot,
    follow,
    is_synchronous,
    keep_synchronous,
    make_slot,
    verify_follow,
)
from automation.adapters.postgresql.homecoming import (
    export_writes,
    hold_down,
    keep_data,
    rewind,
    verify_export_writes,
    verify_hold_down,
    verify_keep_data,
    verify_rewind,
)
from automation.adapters.postgresql.kept import KEPT
from automation.adapters.postgresql.observe import (
    await_streaming,
    find_primary,
    look_at_replication,
    observe,
    observe_primary,
    observe_standby,
)
from automation.adapters.postgresql.promotion import promote, verify_promote
from automation.adapters.postgresql.proving import prove_standby
from automation.adapters.postgresql.restored import remove_restored, verify_remove_restored
from automation.adapters.postgresql.restored_seen import list_clusters, look_at_restored, prove_service
from automation.adapters.postgresql.writes import list_writes

__all__ = [
    "KEPT",
    "await_replayed",
    "await_streaming",
    "clone_standby",
    "demote",
    "drop_slot",
    "dump",
    "examine",
    "export_writes",
    "find_primary",
    "follow",
    "hold_down",
    "is_synchronous",
    "keep_data",
    "keep_synchronous",
    "list_clusters",
    "list_writes",
    "load_dump",
    "look_at_replication",
    "look_at_restored",
    "make_slot",
    "observe",
    "observe_archiving",
    "observe_primary",
    "observe_standby",
    "promote",
    "prove_service",
    "prove_standby",
    "remove_restored",
    "restore_primary",
    "rewind",
    "verify_clone_standby",
    "verify_demote",
    "verify_dump",
    "verify_export_writes",
    "verify_follow",
    "verify_hold_down",
    "verify_keep_data",
    "verify_load_dump",
    "verify_promote",
    "verify_remove_restored",
    "verify_rewind",
]
