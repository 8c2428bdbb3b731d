"""Points deleted by full id and seen to be gone; space that nothing needs given back."""

import re
from collections.abc import Collection, Iterable

from automation.adapters.restic.answers import Snapshot
from automation.adapters.restic.door import fault_of, progress_of
from automation.adapters.restic.listing import list_snapshots
from automation.adapters.restic.locks import work_past_the_dead
from automation.model.actions.restic import ForgetPoints, ReclaimSpace
from automation.model.backup_evidence import PointsDeleted, SpaceReclaimed
from automation.model.errors import AdapterError, OutcomeUnknown
from automation.model.records import Completed, Context, Outcome, Progress

_FORGET = """
restic forget "$@"
"""


def forget(action: ForgetPoints, ctx: Context) -> Outcome:
    """Delete exactly these points; evidence PointsDeleted, OutcomeUnknown if any other is gone.

    What restic says is not believed: it ends well and deletes nothing where an id is unknown. The list is
    read again, and compared.
    """
    before = _ids(action, ctx)
    doomed = [point for point in action.points if point in before]
    if ctx.unit_state(action.host) == "absent":
        _refuse_a_surprise(action, ctx, before)
        if not doomed:
            evidence = _deleted(action, before)
            return Outcome(changed=False, summary="they are gone already", evidence=evidence)
    done = work_past_the_dead(ctx, action.host, action.of, _FORGET, doomed)
    after = _ids(action, ctx)
    _hold_to_the_plan(action, before, after)
    if stayed := [point for point in action.points if point in after]:
        raise _not_deleted(action, ctx, done, stayed)
    evidence = _deleted(action, after)
    summary = (
        f"{len(action.points)} points of {action.resource} deleted in {action.of.store}; {len(after)} left"
    )
    return Outcome(changed=True, summary=summary, evidence=evidence)


def verify_forget(action: ForgetPoints, ctx: Context) -> Progress:
    """Say how far it came; the list tells, whatever became of its unit."""
    if ctx.unit_state(action.host) != "lost":
        return progress_of(ctx, action.host)
    there = _ids(action, ctx)
    if missing := set(action.stay) - there:
        return Progress(state="unknown", why=f"points that were to stay are gone: {_short(missing)}")
    if left := set(action.points) & there:
        return Progress(state="unknown", why=f"its unit is lost; {len(left)} points are not deleted yet")
    outcome = Outcome(changed=True, summary="all are gone, no other is", evidence=_deleted(action, there))
    return Progress(state="done", outcome=outcome)


def _ids(action: ForgetPoints, ctx: Context) -> frozenset[str]:
    found: Iterable[Snapshot] = list_snapshots(ctx.remote(action.host), action.of, action.resource)
    return frozenset(one.id for one in found)


def _refuse_a_surprise(action: ForgetPoints, ctx: Context, before: frozenset[str]) -> None:
    """Stop where the repository is not what the plan was made of, or nothing would be left."""
    where = f"{action.resource} in {action.of.store}"
    again = f"./inv backup.plan --env {ctx.environment.name} --resource {action.resource}"
    if missing := [point for point in action.stay if point not in before]:
        raise AdapterError(
            f"{where}: {len(missing)} points that were to stay are not there ({_short(missing)}); "
            "nothing was deleted",
            hint=f"find out who deleted them before anything else is; then {again}",
        )
    if before and not set(before) - set(action.points):
        raise AdapterError(
            f"{where}: all {len(before)} points would be deleted, and no other is there; nothing was deleted",
            hint=again,
        )


def _hold_to_the_plan(action: ForgetPoints, before: frozenset[str], after: frozenset[str]) -> None:
    gone = ({*before, *action.stay} - set(action.points)) - set(after)
    if gone:
        raise OutcomeUnknown(
            f"{action.resource} in {action.of.store}: besides {len(action.points)} points that were to go "
            f"{len(gone)} others are gone: {_short(gone)}; somebody else deletes there",
            hint="look at once who has the credentials of the repository; a copy may still hold them",
        )


def _not_deleted(
    action: ForgetPoints, ctx: Context, done: Completed, stayed: Collection[str]
) -> AdapterError:
    fault = fault_of(done, ctx, action.host)
    why = fault.text if done.exit_code else f"restic says that it went well ({fault.text})"
    return AdapterError(
        f"{len(stayed)} of {len(action.points)} points of {action.resource} are still in {action.of.store}: "
        f"{_short(stayed)}: {why}; no other point is gone",
        hint=fault.hint,
    )


def _deleted(action: ForgetPoints, left: frozenset[str]) -> PointsDeleted:
    return PointsDeleted(
        resource=action.resource, store=action.of.store, points=action.points, left=len(left)
    )


def _short(ids: Iterable[str]) -> str:
    listed = sorted(ids)
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return ", ".join(point[:8] for point in listed[:5]) + more


# --- space ----------------------------------------------------------------------------------------

# Data that is partly needed is written anew before the old goes: with little room only what nobody needs at
# all is removed, which takes no room. Of a repository on a disk of the host the disk tells the sizes.
_RECLAIM = """
size() { [ ! -d "$RESTIC_REPOSITORY" ] || du -s -B1 -- "$RESTIC_REPOSITORY" | cut -f1; }
before=$(size)
if [ -n "$before" ]; then
  free=$(df --output=avail -B1 -- "$RESTIC_REPOSITORY" | tail -n 1)
  [ "$free" -ge $((before / 10)) ] || { echo "little room: $free"; set -- --max-repack-size 0; }
fi
restic prune "$@" || exit
[ -z "$before" ] || echo "sizes: $before $(size)"
"""
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZES = re.compile(r"^sizes: (\d+) (\d+)$", re.MULTILINE)
_TOLD = re.compile(r"^(total prune|remaining): .*/ ([0-9.]+) ([KMGT]?i?B)", re.MULTILINE)


def reclaim(action: ReclaimSpace, ctx: Context) -> Outcome:
    """Remove what no point needs; evidence SpaceReclaimed."""
    if ctx.unit_state(action.host) == "absent":
        refuse_missing(action, {one.id for one in list_snapshots(ctx.remote(action.host), action.of)})
    done = work_past_the_dead(ctx, action.host, action.of, _RECLAIM)
    if done.exit_code:
        fault = fault_of(done, ctx, action.host)
        raise AdapterError(
            f"space in {action.of.store} ({action.of.url}) was not given back: {fault.text}; "
            "every point is as it was",
            hint=fault.hint,
        )
    before, after = sizes(done.stdout)
    evidence = SpaceReclaimed(store=action.of.store, before_bytes=before, after_bytes=after)
    less = "; little room: data that is partly needed stays" if "little room" in done.stdout else ""
    summary = f"{action.of.store} takes {after / 2**20:.1f} MiB, took {before / 2**20:.1f} MiB{less}"
    return Outcome(changed=before != after, summary=summary, evidence=evidence)


def refuse_missing(action: ReclaimSpace, there: Collection[str]) -> None:
    """Stop where a point is gone that must be there: its data may be all that is left of it.

    Raises:
        AdapterError: one is; nothing was removed.
    """
    if missing := set(action.stay) - set(there):
        raise AdapterError(
            f"{action.of.store}: {len(missing)} points that were to stay are not there "
            f"({_short(missing)}); no data was removed",
            hint="find out who deleted them; what they need is still in the repository",
        )


def verify_reclaim(action: ReclaimSpace, ctx: Context) -> Progress:
    """Say how far it came; one that was cut off is simply done again, by a run of its own."""
    return progress_of(ctx, action.host)


def sizes(said: str) -> tuple[int, int]:
    """Give the bytes before and after, as the disk or else restic tells them."""
    if match := _SIZES.search(said):
        return int(match[1]), int(match[2])
    told = {word: round(float(value) * _UNITS[unit]) for word, value, unit in _TOLD.findall(said)}
    after = told.get("remaining", 0)
    return after + told.get("total prune", 0), after
