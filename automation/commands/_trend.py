"""Earlier audits of an environment, judged again by today's controls and waivers; no host is asked."""

from collections.abc import Collection, Iterable, Iterator

from automation.baseline.trend import MOST, Past, look, spread
from automation.commands._baselines import _collected, reassess
from automation.commands._command import progress
from automation.commands._drift import _is_whole_audit
from automation.commands._session import Session
from automation.model.errors import AutomationError

# An audit of fewer of the hosts than that says little of all of them.
ENOUGH = 0.5
MANY = 500  # hosts in audits: some seconds


def look_back(session: Session, run: str, profile: str, subjects: Collection[str]) -> Past:
    """Give what audits before a run found of its hosts; of many the last of each day, and of many days some.

    One that cannot be judged is left out, and that is said.
    """
    every = tuple(_audits_of(session, run, subjects))
    names = every if len(every) < MOST else _last_of_each_day(every)
    chosen = spread([*names, run])[:-1]
    if len(chosen) * len(subjects) > MANY:
        progress(f"{len(chosen)} earlier audits of {len(subjects)} hosts are judged again for the trend")
    looks, left_out = [], []
    for name in chosen:
        try:
            found = look(name, reassess(session, name, profile).assessments, subjects)
        except AutomationError as exc:
            left_out.append(f"{name}: {' '.join(str(exc).split())}")
        else:
            looks += [found] if found else []
    return Past(tuple(looks), tuple(left_out), len(every))


def _audits_of(session: Session, run: str, subjects: Collection[str]) -> Iterator[str]:
    """Name the whole audits before a run that collected enough of its hosts, oldest first."""
    for path in sorted((session.state / "runs").glob("*/journal.jsonl")):
        if path.parent.name >= run or not _is_whole_audit(path):
            continue
        kept, _ = _collected(path.parent)
        if len({one.host for one in kept} & set(subjects)) >= ENOUGH * len(subjects) > 0:
            yield path.parent.name


def _last_of_each_day(names: Iterable[str]) -> tuple[str, ...]:
    """Names of runs begin with their day."""
    return tuple({name.partition("-")[0]: name for name in names}.values())
