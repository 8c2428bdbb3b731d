"""Authoritative DNS by RFC 2136 dynamic updates and zone transfers, signed with TSIG.

Each site's server is a primary of its own for the zone. A swap goes to every one that answers and leaves a
stamp beside the name; a server that missed it is reconciled by those stamps before it is used.
"""

from automation.adapters.dns.asking import read_addresses
from automation.adapters.dns.looking import look_at_records
from automation.adapters.dns.reconciling import observe_moves, reconcile_server
from automation.adapters.dns.swapping import swap_address

__all__ = ["look_at_records", "observe_moves", "read_addresses", "reconcile_server", "swap_address"]
