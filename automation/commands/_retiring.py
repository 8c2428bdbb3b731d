"""Taking servers and networks out of service: stopped, then deleted by a second call after days of grace."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from automation.backups.proof_age import demanded_at_will, is_proven
from automation.commands._providers import Around, guards_of, kept_on, resources_of
from automation.commands._retiring_kept import end_kept, is_kept
from automation.commands._session import Session
from automation.model.actions import DeletePortGroup, DeleteSubnet
from automation.model.catalog import find_catalog
from automation.model.errors import ConfigError, PreflightError
from automation.model.plan import Gate, Plan, Step
from automation.provisioning.compiling import what_stays
from automation.provisioning.decisions import Decision, decide
from automation.provisioning.retiring import (
    DELETED,
    Leave,
    plan_back,
    plan_delete,
    plan_stop,
    who_needs,
)

GRACE_DAYS = 14
_NETWORKS: Mapping[str, type[DeleteSubnet] | type[DeletePortGroup]] = {
    "aws": DeleteSubnet,
    "vsphere": DeletePortGroup,
}


class RetireFlags(NamedTuple):
    """What is retired, and how."""

    host: str = ""
    network: str = ""
    grace_days: int = GRACE_DAYS
    unsaved: bool = False
    back: bool = False
    kept: bool = False


def retire(session: Session, around: Around, flags: RetireFlags) -> None:
    """Stop a server, or delete one whose time of grace is over; or take its retirement back.

    Of a server that is gone, what was kept of its disks is deleted, once its days are over.

    Args:
        around: what was seen a moment ago; the steps look again before they change anything.

    Raises:
        ConfigError: the flags have faults.
        PreflightError: something needs it, its last backup is unproven, or its days are not over.
    """
    _refuse_flags(flags)
    if flags.network:
        _retire_network(session, around, flags.network)
        return
    if flags.kept or (not flags.back and is_kept(session, around, flags.host)):
        end_kept(session, around, flags.host)
        return
    decision = _find(session, around, flags.host)
    leave = around.past.leaves.get(flags.host)
    name = session.environment.name
    if flags.back:
        _take_back(session, decision, leave)
        return
    refuse_needed(session, flags.host)
    refuse_unproven(session, decision, flags.unsaved, leave)
    if leave is None:
        session.run(plan_stop(name, decision)).raise_for_status()
        session.say(
            f"{flags.host} is stopped; after {flags.grace_days} days the same command deletes it, until then "
            f"`./inv provision.retire --env {name} --host {flags.host} --back` starts it again"
        )
        return
    _refuse_early(session, decision, leave, flags)
    session.run(plan_delete(name, decision, leave)).raise_for_status()
    session.say(f"{flags.host} ({decision.id}) is deleted; {what_stays(decision.provider)}")
    if flags.host in session.inventory.servers:
        session.say(f"{flags.host} stands in the inventory still: provision.apply would make it anew")


def _refuse_flags(flags: RetireFlags) -> None:
    wrong = {
        "give --host or --network, one of both": bool(flags.host) == bool(flags.network),
        "--grace is below 0": flags.grace_days < 0,
        "--kept goes with --host alone": flags.kept and bool(flags.network or flags.back),
    }
    if any(wrong.values()):
        what = "; ".join(said for said, is_so in wrong.items() if is_so)
        raise ConfigError(f"{what}; nothing was touched")


def _take_back(session: Session, decision: Decision, leave: Leave | None) -> None:
    if leave is None:
        raise PreflightError(f"{decision.name} is not being retired; nothing was changed")
    session.run(plan_back(session.environment.name, decision)).raise_for_status()
    session.say(f"{decision.name} runs again and is not retired")


def _find(session: Session, around: Around, host: str) -> Decision:
    """Give the one server of ours that has the name."""
    name = session.environment.name
    decisions = [one for one in decide(around.declared, around.seen.views) if one.what == "server"]
    found = [
        one for one in decisions if one.name == host and one.found is not None and one.found.owner == name
    ]
    if len(found) == 1:
        return found[0]
    if around.seen.unseen:
        told = "; ".join(f"{provider}: {why}" for provider, why in around.seen.unseen.items())
        raise PreflightError(
            f"{host} was not found, and not all could be looked at: {told}; nothing was changed"
        )
    many = (
        f"{len(found)} servers of ours are called {host}" if found else f"no server of ours is called {host}"
    )
    raise PreflightError(
        f"{many}; nothing was changed", hint=f"./inv provision.show --env {name} lists what there is"
    )


def refuse_needed(session: Session, host: str) -> None:
    """See that a server serves nobody: no service, site or watch, and no store of backups.

    Raises:
        PreflightError: says whom; nothing was changed.
    """
    environment, stores = session.environment, kept_on(session, host)
    watches = host == environment.witness.host
    needs = {
        "services.yml": who_needs(host, find_catalog(environment.folder)),
        "environment.yml": [f"clients are watched from {host}"] if watches else [],
        "backups.yml": [f"{host} is needed for {', '.join(stores)} of backups.yml"] if stores else [],
    }
    if any(needs.values()):
        files = [name for name, said in needs.items() if said]
        raise PreflightError(
            f"{'; '.join(one for said in needs.values() for one in said)}; nothing was changed",
            hint=f"give that to another server first, in {' and '.join(files)}, and bring there what it has",
        )


def refuse_unproven(session: Session, decision: Decision, unsaved: bool, leave: Leave | None) -> None:
    """See that what a server keeps was saved, and that the newest point was proven.

    Raises:
        PreflightError: it is not so; nothing was changed.
    """
    host, env = decision.name, session.environment.name
    named = resources_of(session, host)
    guards = guards_of(session, named)
    resources = tuple(name for name in named if name not in guards)
    if not resources and not unsaved:
        why = (
            f"{', '.join(guards)} of backups.yml only rolls changes back, and goes with the VM"
            if guards
            else "no resource of backups.yml names it"
        )
        raise PreflightError(
            f"nothing of {host} is saved: {why}; nothing was changed",
            hint=f"declare and prove a backup of what it keeps, or --unsaved says that it keeps nothing; "
            f"{what_stays(decision.provider)} in any case",
        )
    problems = [problem for name in resources for problem in _unproven(session, name)]
    if problems:
        prove = f"./inv backup.verify --env {env} --resource {resources[0]} proves it"
        save = f"./inv backup.run --env {env} --resource {resources[0]} saves it anew"
        back = f"./inv provision.retire --env {env} --host {host} --back"
        raise PreflightError(
            f"the last backup of {host} is unproven: {'; '.join(problems)}; nothing was changed",
            hint=f"{save}, {prove}"
            if leave is None
            else f"{prove}; if it cannot, {back} starts {host} again, and {save}",
        )


def _unproven(session: Session, resource: str) -> Sequence[str]:
    """Say why the newest good point of a resource does not stand in for what it was taken of."""
    from automation.commands._backup_status import look_at_standing
    from automation.commands._backups import look

    taken = look_at_standing(session, resource).resources[0].last_good_at
    if taken is None:
        return [f"{resource} has no good point"]
    area, now = look(session, [resource]), datetime.now(UTC)
    spec = area.backups.resources[resource]
    for store in spec.to:
        seen = area.observed.points(resource, store) or ()
        newest = {one.id for one in seen if one.claimed_at == taken}
        if is_proven(spec, area.ledger, (resource, store), newest, now):
            return []
    level = demanded_at_will(spec).name
    return [f"{resource} was saved last {taken:%Y-%m-%d %H:%M} UTC, and no proof of that at {level} counts"]


def _refuse_early(session: Session, decision: Decision, leave: Leave, flags: RetireFlags) -> None:
    ends = leave.ends_at(flags.grace_days)
    if datetime.now(UTC) < ends:
        raise PreflightError(
            f"{decision.name} was stopped on {leave.since:%Y-%m-%d %H:%M} UTC (run {leave.run_id}) and may "
            f"be deleted from {ends:%Y-%m-%d %H:%M} on; nothing was changed",
            hint=f"./inv provision.retire --env {session.environment.name} --host {decision.name} --back "
            "starts it again",
        )


# --- networks ---------------------------------------------------------------------------------------


def _retire_network(session: Session, around: Around, network: str) -> None:
    name = session.environment.name
    decisions = decide(around.declared, around.seen.views)
    ours = [one for one in decisions if one.what == "network" and one.name == network and one.id]
    found = next((one for one in ours if one.found is not None and one.found.owner == name), None)
    if found is None:
        raise PreflightError(f"no network of ours is called {network}; nothing was changed")
    used_by = getattr(found.found, "used_by", 0)
    if network in around.declared.networks or used_by:
        why = f"{used_by} ports of servers are in it" if used_by else "networks.yml declares it"
        raise PreflightError(f"network {network} is needed: {why}; nothing was changed")
    run = _NETWORKS[found.provider](name=network, site=found.site, id=found.id)
    step = Step(
        id=f"delete/{network}",
        run=run,
        why="is not declared, and nothing is in it",
        gate=Gate(role="sysadmin", ask=f"Delete network {network} ({found.id})?"),
    )
    session.run(Plan(name=DELETED, environment=name, mode="apply", steps=(step,))).raise_for_status()
    session.say(f"network {network} ({found.id}) is deleted")
