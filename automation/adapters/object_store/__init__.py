"""Object stores with versions and locks, spoken to by boto3."""

from automation.adapters.object_store.canary import try_delete
from automation.adapters.object_store.lengthening import lengthen_locks
from automation.adapters.object_store.locks import Locks, locks_of
from automation.adapters.object_store.recovering import recover

__all__ = ["Locks", "lengthen_locks", "locks_of", "recover", "try_delete"]
