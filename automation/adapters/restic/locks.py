"""Locks that the dead left behind, and only those.

A lock stands for a process on a host. It is dead when that host says so, or has booted since; and only then,
and when nobody has refreshed the lock for 30 minutes (restic does so every 5), is it removed.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from automation.adapters.restic.answers import parse_time, records
from automation.adapters.restic.door import PATIENCE_S, ask, work
from automation.adapters.restic.faults import recognise
from automation.model.actions.restic import BreakLock, Repository
from automation.model.errors import AdapterError
from automation.model.records import Completed, Context, Outcome, Progress, Remote

STALE = timedelta(minutes=30)

_LIST = """
date '+{"record": "now", "at": %s}'
ids=$(restic list locks --no-lock -q) || exit
for id in $ids; do
  lock=$(restic cat lock "$id" --no-lock -q) || continue  # it is gone meanwhile
  echo "$lock" | tr -d '\\n' | sed "s/^{/{\\"record\\": \\"lock\\", \\"id\\": \\"$id\\", /"
  echo
done
"""
# Restic's own rule: what was not refreshed for 30 minutes goes, and what a dead process of this host holds.
_UNLOCK = """
restic unlock >&2
"""
# $1 a process: since when this machine runs, and whether the process is restic, and no mere remnant of it.
_HOLDER = """
sed -n 's/^btime //p' /proc/stat
[ "$(cat "/proc/$1/comm" 2>/dev/null)" != restic ] ||
  grep -q '^State:[[:space:]]*[ZX]' "/proc/$1/status" || echo alive
"""


class Held(NamedTuple):
    """A lock on a repository."""

    id: str
    host: str
    pid: int
    refreshed: datetime
    exclusive: bool

    def __str__(self) -> str:
        return f"{self.id[:8]} of PID {self.pid} on {self.host}, refreshed {self.refreshed:%Y-%m-%d %H:%M:%S}"


def list_locks(remote: Remote, repository: Repository) -> tuple[tuple[Held, ...], datetime]:
    """Give the locks on a repository, oldest first, and the time on the host that was asked.

    Raises:
        AdapterError: it cannot be read.
    """
    done = ask(remote, repository, _LIST, [])
    if done.exit_code:
        fault = recognise(done.exit_code, done.stderr, host="the host", environment="ENV")
        raise AdapterError(
            f"locks of {repository.store} ({repository.url}): {fault.text}; nothing was changed",
            transient=fault.transient,
            hint=fault.hint,
        )
    told = tuple(records(done.stdout))
    now = next(int(str(one["at"])) for one in told if one.get("record") == "now")
    locks = [_held(one) for one in told if one.get("record") == "lock"]
    return tuple(sorted(locks, key=lambda one: one.refreshed)), datetime.fromtimestamp(now, UTC)


def break_lock(action: BreakLock, ctx: Context) -> Outcome:
    """Remove locks whose holder's host says that he is dead; none: nothing is changed.

    Where one that is old may be alive that is an error, and none is removed.
    """
    locks, now = list_locks(ctx.remote(action.host), action.of)
    if not locks:
        return Outcome(changed=False, summary=f"{action.of.store} is not locked")
    old = [lock for lock in locks if _is_old(lock, now)]
    doubts = [f"{lock}: {why}" for lock in old if (why := _why_alive(lock, ctx))]
    if doubts or not old:
        doubts = doubts or [f"{lock}: that is less than {STALE.seconds // 60} minutes ago" for lock in locks]
        raise AdapterError(
            f"{action.of.store} stays locked: {'; '.join(doubts)}; nothing was changed",
            hint="wait for its end; or end that process on its host, wait 30 minutes, and run this again",
        )
    done = ask(ctx.remote(action.host), action.of, _UNLOCK, [])
    left, _ = list_locks(ctx.remote(action.host), action.of)
    if stayed := {one.id for one in left} & {one.id for one in old}:
        raise AdapterError(
            f"{action.of.store}: {len(stayed)} of {len(old)} dead locks are still there "
            f"({done.stderr.strip()}); nothing else was changed"
        )
    summary = f"{action.of.store}: removed {', '.join(map(str, old))}, whose holders are dead"
    return Outcome(changed=True, summary=summary)


def work_past_the_dead(
    ctx: Context, host: str, repository: Repository, script: str, words: Sequence[str] = ()
) -> Completed:
    """Run a script on a repository as the step's unit; locks of the dead, if any, are removed before.

    In doubt they stay, and restic itself says who holds it: at once, where he is dead and his lock is young.
    """
    patience_s = PATIENCE_S
    if ctx.unit_state(host) == "absent":
        with suppress(AdapterError):
            locks, now = list_locks(ctx.remote(host), repository)
            dead = [lock for lock in locks if not _why_alive(lock, ctx)]
            old = [lock for lock in locks if _is_old(lock, now)]
            if old and set(old) <= set(dead):
                ask(ctx.remote(host), repository, _UNLOCK, [])
                ctx.say(
                    f"removed from {repository.store}, the holders being dead: {', '.join(map(str, old))}"
                )
            if any(lock.exclusive for lock in dead if lock not in old):
                patience_s = 0.0
    return work(ctx, host, repository, script, words, patience_s=patience_s)


def verify_break_lock(action: BreakLock, ctx: Context) -> Progress:
    """Say that it may be done again: every lock is looked at anew, and none is broken in doubt."""
    return Progress(state="not_done", why="to look at every lock again is safe")


def _is_old(lock: Held, now: datetime) -> bool:
    """Whether restic itself would take it for stale, by its age alone."""
    return now - lock.refreshed >= STALE


def _why_alive(lock: Held, ctx: Context) -> str:
    """Say why a lock may be alive; empty: it is dead."""
    name = lock.host.split(".")[0]
    known = next((host for host in (lock.host, name) if host in ctx.inventory.servers), None)
    if known is None:
        return "its host is not in the inventory, so nobody can be asked whether the process lives"
    done = ctx.remote(known).run(["sh", "-c", _HOLDER, "holder", str(lock.pid)])
    booted, _, state = done.stdout.strip().partition("\n")
    if done.exit_code or not booted.isdecimal():
        return f"{known} does not say whether the process lives"
    if state == "alive" and datetime.fromtimestamp(int(booted), UTC) < lock.refreshed:
        return f"{known} says that the process lives"
    return ""


def _held(told: Mapping[str, object]) -> Held:
    try:
        return Held(
            id=str(told["id"]),
            host=str(told["hostname"]),
            pid=int(str(told["pid"])),
            refreshed=parse_time(str(told["time"])),
            exclusive=told.get("exclusive") is True,
        )
    except (KeyError, ValueError) as exc:
        raise AdapterError(f"a lock cannot be read: {json.dumps(dict(told))[:200]}; nothing changed") from exc
