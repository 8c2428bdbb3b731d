"""What is wrong with the snapshots of VMs of ours, whoever took them: old ones, long chains, loose deltas."""

from collections.abc import Iterator
from datetime import UTC, datetime

from automation.adapters.vsphere.rollbacks import LONGEST_CHAIN
from automation.adapters.vsphere.sessions import at
from automation.adapters.vsphere.snapshots import Chain, list_chains
from automation.model.actions.points import OLDEST_ROLLBACK_S, Vault
from automation.model.records import Context


def list_alarms(of: Vault, ctx: Context) -> tuple[str, ...]:
    """Say what a person must see to, in one round trip a page; changes nothing."""
    with at(ctx, of.site, f"snapshots at {of.site} could not be listed") as vcenter:
        chains = list_chains(vcenter)
    return tuple(alarm for chain in chains for alarm in alarms_of(chain, datetime.now(UTC)))


def alarms_of(chain: Chain, now: datetime) -> Iterator[str]:
    """Judge one VM: a long chain is slow to read, an old one fills its datastore. Pure."""
    if chain.consolidation_needed:
        yield f"VM {chain.vm}: its disks must be consolidated"
    if chain.depth > LONGEST_CHAIN:
        yield f"VM {chain.vm}: its chain has {chain.depth} snapshots, more than {LONGEST_CHAIN}"
    for one in chain.snapshots:
        age_s = (now - one.taken_at).total_seconds()
        if age_s > OLDEST_ROLLBACK_S:
            hours, most = age_s / 3600, OLDEST_ROLLBACK_S / 3600
            yield f"VM {chain.vm}: snapshot {one.name!r} is {hours:.0f} h old, more than {most:.0f} h"
