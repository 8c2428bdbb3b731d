"""What rotation will do if all goes on as it does, and what an old rule would do beside it."""

from datetime import datetime, timedelta
from typing import get_args

from automation.backups.dialects import Dialect, GoSpan, OldRules, decide_as
from automation.backups.differences import compare_with
from automation.backups.due import gap_s
from automation.backups.durations import Span
from automation.backups.forecast import ASSUMED, simulate
from automation.backups.retention import Retention, decide
from automation.backups.rotating import decide_one
from automation.backups.rules import ALL, RetentionRules
from automation.commands._backups import Area, choose, load_area, look, rpo_of
from automation.commands._session import Session
from automation.model.base import Model
from automation.model.errors import ConfigError, PreflightError
from automation.model.recovery_points import RecoveryPoint

LONGEST_DAYS = 3660


class ForecastDay(Model):
    """One rotation of the future."""

    at: datetime
    kept: int
    size_bytes: int
    expired: tuple[str, ...]


class Foretold(Model):
    """The future of one resource in one store, and how an old rule would have decided now."""

    resource: str
    store: str
    assumed: str
    kept_now: int
    days: tuple[ForecastDay, ...]
    old: str = ""
    only_old: tuple[str, ...] = ()
    only_new: tuple[str, ...] = ()


def foretell(
    session: Session, resource: str, *, store: str = "", days: int = 400, like: str = "", keep: str = ""
) -> Foretold:
    """Rotate the future by the same planner, and compare with the rule of another program.

    Raises:
        ConfigError: no such resource, store or program; rules that cannot be read.
        PreflightError: the store cannot be looked at, or has no good point to count from.
    """
    backups, catalog = load_area(session)
    (name,) = choose(backups, [resource])
    place = store or backups.resources[name].to[0]
    if place not in backups.resources[name].to:
        raise ConfigError(
            f"{name} has no copy in {place}", hint=f"--store {', '.join(backups.resources[name].to)}"
        )
    if not 1 <= days <= LONGEST_DAYS:
        raise ConfigError(f"--days {days} is not from 1 to {LONGEST_DAYS}; nothing was touched")
    if like and like not in get_args(Dialect):
        raise ConfigError(
            f"--like {like} is none; nothing was touched", hint=f"--like {', '.join(get_args(Dialect))}"
        )
    area = look(session, [name])
    one = decide_one(backups, area.ledger, area.observed, (name, place), rpo_of(backups, catalog, name))
    if one.case is None or one.case.retention.anchor is None:
        why = one.problem or "it has no good point"
        raise PreflightError(f"the future of {name} in {place} cannot be told: {why}; nothing was changed")
    retention, every_s = _sized(area, one.case.retention), gap_s(backups, name, area.observed.at)
    future = simulate(retention, every_s, retention.now + timedelta(days=days))
    shown = Foretold(
        resource=name,
        store=place,
        assumed=ASSUMED.format(every=_every(every_s)),
        kept_now=len(retention.kept),
        days=tuple(
            ForecastDay(
                at=day.at, kept=day.kept, size_bytes=day.size_bytes, expired=tuple(p.id for p in day.expired)
            )
            for day in future
        ),
    )
    return _beside(shown, retention, like, keep) if like else shown


def _beside(shown: Foretold, retention: Retention, like: str, keep: str) -> Foretold:
    rules = old_rules(retention.policy.keep, retention.policy.tz, keep)
    points = [*(kept.point for kept in retention.kept), *retention.expired]
    dialect: Dialect = next(one for one in get_args(Dialect) if one == like)
    old = decide_as(dialect, points, rules, now=retention.now)
    found = compare_with(tuple(old.kept), retention)
    return shown.model_copy(
        update={
            "old": f"{like}: {found}",
            "only_old": tuple(point.id for point in found.only_old),
            "only_new": tuple(point.id for point in found.only_new),
        }
    )


def old_rules(rules: RetentionRules, tz: str, keep: str) -> OldRules:
    """Give the rules of another program: as it was told them, else the same counts as ours.

    Args:
        keep: `daily=7,weekly=4`, with restic's and borg's names without keep-; empty: ours.

    Raises:
        ConfigError: a word is none.
    """
    if not keep:
        counts = {rule.name: rule.most for rule in rules.counted() if rule.most is not None}
        spans = {
            "within" if rule.name == "all_for" else f"within_{rule.kind}": _go_span(rule.span)
            for rule in rules.counted()
            if rule.span is not None and rule.kind != "quarterly"
        }
        most = {name: 10**6 if count == ALL else count for name, count in counts.items()}
        return OldRules.model_validate({"tz": tz, "tags": rules.tagged, **most, **spans})
    known = (
        set(OldRules.model_fields)
        - {"tz", "tags"}
        - {n for n in OldRules.model_fields if n.startswith("within")}
    )
    found: dict[str, int] = {}
    for part in keep.replace(" ", "").split(","):
        name, _, count = part.partition("=")
        if name not in known or not count.removeprefix("-").isdecimal():
            raise ConfigError(
                f"--keep: {part!r} cannot be read; nothing was touched", hint="--keep last=3,daily=7,weekly=4"
            )
        found[name] = int(count)
    return OldRules.model_validate({"tz": tz, **found})


def _go_span(span: Span) -> GoSpan:
    return GoSpan(months=span.months, days=span.days, hours=-(-span.seconds // 3600))


def _sized(area: Area, retention: Retention) -> Retention:
    """Take for a point's size what it added to the repository, where a job of ours said it."""

    def sized(point: RecoveryPoint) -> RecoveryPoint:
        taken = area.ledger.origin(point.resource, point.copy_name, point.id)
        stored = taken.figures.stored_bytes if taken else 0
        return point.model_copy(update={"size_bytes": stored}) if stored else point

    points = [sized(point) for point in (*(kept.point for kept in retention.kept), *retention.expired)]
    return decide(points, retention.policy, now=retention.now)


def _every(seconds: float) -> str:
    days, hours = seconds / 86400, seconds / 3600
    return f"{days:g} days" if days >= 1 else f"{hours:g} hours"
