"""restic, any version from 0.14, as root on the host that saves or keeps: ids of ours, never a rule of its.

A point's resource is restic's host name, so that a changed list of paths begins no new history. Whatever
restic leaves unsaid (a missing source, an unknown id, a partial deletion) we look at before and after.
"""

from automation.adapters.restic.checking import check, verify_check
from automation.adapters.restic.copying import copy, verify_copy
from automation.adapters.restic.listing import list_points
from automation.adapters.restic.locks import break_lock, verify_break_lock
from automation.adapters.restic.proving import prove, verify_prove
from automation.adapters.restic.restoring import clear_scratch, restore, verify_clear_scratch, verify_restore
from automation.adapters.restic.rotating import forget, reclaim, verify_forget, verify_reclaim
from automation.adapters.restic.taking import take, verify_take

__all__ = [
    "break_lock",
    "check",
    "clear_scratch",
    "copy",
    "forget",
    "list_points",
    "prove",
    "reclaim",
    "restore",
    "take",
    "verify_break_lock",
    "verify_check",
    "verify_clear_scratch",
    "verify_copy",
    "verify_forget",
    "verify_prove",
    "verify_reclaim",
    "verify_restore",
    "verify_take",
]
