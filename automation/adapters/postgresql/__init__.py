"""PostgreSQL on a host, spoken to by its own psql as the cluster's owner.

Each function is one psql call, because each call costs a round trip and 50 ms. What may last, or must
happen once, runs in the step's unit on the host.
"""

from automation.adapters.postgresql.cloning import clone_standby, verify_clone_standby
from automation.adapters.postgresql.observe import (
    await_streaming,
    look_at_replication,
    observe,
    observe_primary,
    observe_standby,
)
from automation.adapters.postgresql.promotion import promote, verify_promote
from automation.adapters.postgresql.writes import list_writes

__all__ = [
    "await_streaming",
    "clone_standby",
    "list_writes",
    "look_at_replication",
    "observe",
    "observe_primary",
    "observe_standby",
    "promote",
    "verify_clone_standby",
    "verify_promote",
]
