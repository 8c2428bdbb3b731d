"""A person looks at what stands against a resource or a store, and clears it."""

from collections.abc import Sequence

from automation.backups.doubts import Doubt, doubts_of
from automation.commands._backups import choose, load_area, look
from automation.commands._session import Session, actor
from automation.model.actions import ClearDoubt
from automation.model.base import Model
from automation.model.errors import ConfigError, PreflightError
from automation.model.plan import Plan, Step


class Doubts(Model):
    """What stands against a resource or a store, and the run that cleared it, if one did."""

    doubts: tuple[str, ...]
    cleared_by_run: str = ""


def list_doubts(session: Session, resource: str, store: str) -> tuple[str, ...]:
    """Give what stands against a resource, or against a store with every resource in it, in words.

    Raises:
        ConfigError: none or both are named, or there is no such one.
    """
    if bool(resource) == bool(store):
        raise ConfigError("give --resource or --store, one of both; nothing was touched")
    backups, _ = load_area(session)
    if store and store not in backups.stores:
        raise ConfigError(
            f"there is no store {store!r}; nothing was touched", hint=f"--store {', '.join(backups.stores)}"
        )
    named = (
        [name for name, one in backups.resources.items() if store in one.to]
        if store
        else choose(backups, [resource])
    )
    area = look(session, named)
    found: list[Doubt] = [one for name in named for one in doubts_of(area.ledger, area.backups, name)]
    if store:
        found = [one for one in found if one.store == store]
    words = [f"{one.resource}: {one.line}" for one in found]
    if store and (suspended := area.ledger.suspended(store)):
        words.insert(0, f"every proof in {store} is suspended: {suspended}")
    return tuple(dict.fromkeys(words))


def clear(session: Session, doubts: Sequence[str], *, resource: str, store: str, reason: str) -> str:
    """Note that a person looked at what was shown, and clears it; give the run.

    Raises:
        ConfigError: no reason was given.
        PreflightError: there is nothing to clear, or it is not what was shown.
    """
    if not reason.strip():
        raise ConfigError("--reason is empty: it stands beside what you clear; nothing was changed")
    what = resource or f"store {store}"
    if not doubts:
        raise PreflightError(f"nothing stands against {what}; nothing was changed")
    action = ClearDoubt(resource=resource, store=store, doubts=tuple(doubts), reason=reason, by=actor())
    step = Step(id="clear", run=action, why=f"a person has looked at what stands against {what}")
    plan = Plan(name="backup-clear", environment=session.environment.name, mode="apply", steps=(step,))

    def look_again() -> None:
        if new := [one for one in list_doubts(session, resource, store) if one not in doubts]:
            raise PreflightError(f"{new[0]}: seen since; nothing was cleared", hint="look again")

    finished = session.run(plan, look=look_again)
    finished.raise_for_status()
    return finished.folder.name
