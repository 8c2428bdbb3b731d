"""What served becomes the pilot light again: a replica, and instances that are off or gone. Pure.

Invariant: nothing of it begins before clients are good at the other site, and nothing is deleted before the
replica that replaces it has caught up, its snapshot is whole, and a person has agreed.
"""

from collections.abc import Iterator

from automation.model.actions import (
    AwaitReplica,
    Confirm,
    CreateReplica,
    DeleteDatabase,
    ReleaseInstance,
    RenameDatabase,
    SaveDatabase,
    StopInstance,
    TerminateInstance,
)
from automation.model.catalog import AwsPilotLight
from automation.model.plan import Gate, Step
from automation.recovery.pilot_switching import DATABASE_TIMEOUT_S, kept_name, step
from automation.recovery.strategies.scope import Scope, cutover_ids

SERVED = "clients-good"


def rest(scope: Scope, strategy: AwsPilotLight, role: str) -> tuple[Step, ...]:
    """Give the steps that make a pilot light of what served; one that fails holds back what needs it alone.

    Args:
        role: who agrees to what is deleted.
    """
    steps = _steps(scope, strategy, role)
    return tuple(one.model_copy(update={"on_failure": "pause"}) for one in steps)


def _steps(scope: Scope, strategy: AwsPilotLight, role: str) -> tuple[Step, ...]:
    served = (*cutover_ids(scope.name, scope.service), SERVED)
    replaced = tuple(_replace(scope, strategy, served))
    needs = (*served, *(one.id for one in replaced))
    off = tuple(_keep_off(scope, strategy, needs))
    goes = tuple(_go(scope, strategy))
    if not goes:
        return (*replaced, *off)
    what = ", ".join(one.why.partition(" ")[0] for one in goes)
    ask = (
        f"{scope.name} is served at {scope.service.recovery} and clients are good. At "
        f"{scope.service.primary} {what} would be deleted; their snapshots stay. Go on?"
    )
    agreed = step(
        scope,
        "rest-agreed",
        Confirm(of="decision", task=ask),
        "what is deleted does not come back",
        needs,
        gate=Gate(role=role, ask=scope.question(ask)),
    )
    return (*replaced, *off, agreed, *goes)


def _replace(scope: Scope, strategy: AwsPilotLight, served: tuple[str, ...]) -> Iterator[Step]:
    """Keep the database that served aside, and have a replica of the other one take its name."""
    if not strategy.database:
        return
    site, now = scope.service.primary, scope.service.recovery
    name, source = strategy.database_at(site), strategy.database_at(now)
    kept = kept_name(scope, name)
    save = SaveDatabase(site=site, database=name, snapshot=kept)
    why = f"{name} is kept as a snapshot, whatever becomes of it"
    saved = step(scope, "rest-save", save, why, served, timeout_s=DATABASE_TIMEOUT_S)
    rename = RenameDatabase(site=site, database=name, to=kept, snapshot=kept)
    why = f"RDS makes no replica of a database that was one of its own: a new one takes the name {name}"
    aside = step(scope, "rest-keep", rename, why, (*served, saved.id))
    yield from (saved, aside)
    if site not in strategy.database:
        return  # declared is none there: copies by backups are what stands ready
    copy = CreateReplica(site=site, database=name, source_site=now, source=source, like=kept)
    why = f"{site} is the pilot light for the next loss"
    made = step(scope, "rest-replica", copy, why, (*served, aside.id), timeout_s=DATABASE_TIMEOUT_S)
    wait = AwaitReplica(site=site, database=name, expect_source=source, behind_s=strategy.max_lag_s)
    why = "a replica counts once it has caught up"
    yield from (made, step(scope, "rest-caught-up", wait, why, (made.id,), timeout_s=DATABASE_TIMEOUT_S))


def _keep_off(scope: Scope, strategy: AwsPilotLight, needs: tuple[str, ...]) -> Iterator[Step]:
    """Declared instances stay, off: released of their block, so that a failover need only start them."""
    site = scope.service.primary
    for host in strategy.hosts[site][: strategy.scale]:
        if not scope.inventory.server(host).on_demand:
            why = f"{host} can be started again: its database is a replica by now"
            freed = step(scope, f"rest-release-{host}", ReleaseInstance(host=host, site=site), why, needs)
            why = f"{host} stays off until it is wanted, whoever provisions meanwhile"
            yield freed
            yield step(scope, f"rest-off-{host}", StopInstance(host=host, site=site), why, (freed.id,))


def _go(scope: Scope, strategy: AwsPilotLight) -> Iterator[Step]:
    """Delete what was replaced, and the instances that are made by a failover alone."""
    site, agreed = scope.service.primary, (scope.step_id("rest-agreed"),)
    if strategy.database:
        kept = kept_name(scope, strategy.database_at(site))
        delete = DeleteDatabase(site=site, database=kept, snapshot=kept)
        why = f"{kept} is replaced, and its snapshot stays"
        yield step(scope, "rest-delete-database", delete, why, agreed, timeout_s=DATABASE_TIMEOUT_S)
    for host in strategy.hosts[site][: strategy.scale]:
        if scope.inventory.server(host).on_demand:
            gone = TerminateInstance(host=host, site=site, id=scope.cloud.instances[host])
            why = f"{host} is launched anew by the next failover; snapshots of its disks stay"
            yield step(scope, f"rest-retire-{host}", gone, why, agreed)
