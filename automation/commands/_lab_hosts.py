"""The hosts of an environment's own lab beside the servers of its providers."""

from dataclasses import replace

from automation.commands._providers import Around, lost_sites
from automation.commands._session import Session
from automation.model.observations import ObservedLab
from automation.provisioning.decisions import Declared
from automation.provisioning.planner import is_fenced

RECOVERY = "of a recovery"  # which one, the lab does not keep


def with_lab(session: Session, around: Around, lab: ObservedLab) -> Around:
    """Add what the inventory declares of the lab's own hosts, and what their sites' management tells."""
    from automation.adapters import nspawn

    simulators = session.environment.require_lab().simulators.values()
    powered = {one.host for each in simulators for one in getattr(each, "powers", {}).values()}
    lost = lost_sites(lab)
    views = nspawn.look(session.state, session.environment, powered)
    answering = tuple(view for view in views if view.site not in lost)
    declared = _declared(session, around.declared, lab)
    sites = {spec.site for spec in declared.servers.values() if spec.provider == "nspawn"}
    silent = {f"nspawn at {site}": lost[site] for site in sorted(sites & lost.keys())}
    seen = around.seen.model_copy(
        update={"views": (*around.seen.views, *answering), "unseen": {**around.seen.unseen, **silent}}
    )
    return Around(declared, seen, around.past)


def _declared(session: Session, declared: Declared, lab: ObservedLab) -> Declared:
    inventory = session.inventory
    ours = {name: spec for name, spec in inventory.specs.items() if spec.provider == "nspawn"}
    fenced = {
        (name, ours[name].site): RECOVERY
        for name, one in lab.servers.items()
        if name in ours and is_fenced(one)
    }
    return replace(
        declared,
        servers={**declared.servers, **{name: ours[name] for name in ours if name in inventory.standing}},
        on_demand=declared.on_demand | (ours.keys() - inventory.standing.keys()),
        fenced={**fenced, **declared.fenced},
        trusted=None if declared.trusted is None else declared.trusted | ours.keys(),
    )
