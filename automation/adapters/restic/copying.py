"""Points of one repository taken over by another."""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence

from automation.adapters.restic.answers import Snapshot, number, record, texts
from automation.adapters.restic.door import fault_of, progress_of
from automation.adapters.restic.initialising import make_if_empty
from automation.adapters.restic.listing import find_snapshots, list_snapshots
from automation.adapters.restic.locks import work_past_the_dead
from automation.model.actions.restic import CopyPoints
from automation.model.backup_evidence import PointsCopied
from automation.model.base import format_duration
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Progress

# $1 what is to be copied, as a record for whoever joins later; then ids, oldest first. The target's
# credentials are read last, over the source's: a process has one set of keys for object stores.
_COPY = """
credentials "$SOURCE_STORE"
export RESTIC_FROM_PASSWORD="${RESTIC_PASSWORD-}"
source_key=${AWS_ACCESS_KEY_ID-}
credentials "$TARGET_STORE"
case $SOURCE_URL:$RESTIC_REPOSITORY in
  s3:*:s3:*) [ "$source_key" = "${AWS_ACCESS_KEY_ID-}" ] ||
    refuse "source and target are object stores with different keys, which restic cannot use at once" ;;
esac
echo "$1"
shift
make_if_empty || exit 1
[ "$#" -gt 0 ] || exit 0
began=$(date +%s)
restic copy --from-repo "$SOURCE_URL" "$@" >&2
code=$?
echo "{\\"record\\": \\"copied\\", \\"seconds\\": $(($(date +%s) - began))}"
exit "$code"
"""


def copy(action: CopyPoints, ctx: Context) -> Outcome:
    """Copy what the target lacks, oldest first; evidence PointsCopied.

    Oldest first, so that one that is cut off leaves a history without gaps.
    """
    remote = ctx.remote(action.host)
    source = list_snapshots(remote, action.source, action.resource)
    lacking = lacking_of(source, _there(action, ctx), action.leave)
    if not lacking and ctx.unit_state(action.host) == "absent":
        summary = f"{action.target.store} has every point of {action.resource}"
        return Outcome(changed=False, summary=summary)
    words = [json.dumps({"record": "copying", "ids": lacking}), *lacking]
    done = work_past_the_dead(ctx, action.host, action.target, _script(action), words)
    where = f"{action.source.store} to {action.target.store}"
    wanted = texts((record(done.stdout, "copying") or {}).get("ids"))
    points = _mapped(source, list_snapshots(remote, action.target, action.resource) if wanted else (), wanted)
    if done.exit_code or len(points) < len(wanted):
        fault = fault_of(done, ctx, action.host)
        raise AdapterError(
            f"{len(points)} of {len(wanted)} points of {action.resource} are copied from {where} "
            f"({action.target.url}): {fault.text}; those stay, and no other is changed",
            evidence=_copied(action, points, 0.0) if points else None,
            hint=fault.hint,
        )
    evidence = _copied(action, points, float(number(record(done.stdout, "copied"), "seconds")))
    summary = (
        f"{len(points)} points of {action.resource} copied from {where} in "
        f"{format_duration(evidence.seconds)}"
    )
    return Outcome(changed=True, summary=summary, evidence=evidence)


def verify_copy(action: CopyPoints, ctx: Context) -> Progress:
    """Say how far it came; the lists tell, whatever became of its unit."""
    if ctx.unit_state(action.host) != "lost":
        return progress_of(ctx, action.host)
    remote = ctx.remote(action.host)
    source = list_snapshots(remote, action.source, action.resource)
    there = _there(action, ctx)
    if lacking := lacking_of(source, there, action.leave):
        return Progress(state="unknown", why=f"its unit is lost; {len(lacking)} points are not copied yet")
    points = _mapped(source, there, [one.id for one in source])
    outcome = Outcome(changed=True, summary="every point is there", evidence=_copied(action, points, 0.0))
    return Progress(state="done", outcome=outcome)


def lacking_of(
    source: Iterable[Snapshot], target: Iterable[Snapshot], leave: Iterable[str] = ()
) -> list[str]:
    """Give ids of the source that the target lacks, oldest first; those to leave are passed over."""
    there, left = {one.first for one in target}, set(leave)
    return [one.id for one in source if one.first not in there and one.id not in left]


def _there(action: CopyPoints, ctx: Context) -> tuple[Snapshot, ...]:
    """Give the target's points; one that is still to be made has none."""
    return find_snapshots(ctx.remote(action.host), action.target, action.resource) or ()


def _mapped(
    source: Iterable[Snapshot], target: Iterable[Snapshot], wanted: Sequence[str]
) -> Mapping[str, str]:
    """Give ids of the target with the ids in the source that they were copied from."""
    asked = set(wanted)
    by_first = {one.first: one.id for one in source if one.id in asked}
    return {one.id: by_first[one.first] for one in target if one.first in by_first}


def _copied(action: CopyPoints, points: Mapping[str, str], seconds: float) -> PointsCopied:
    return PointsCopied(
        resource=action.resource,
        store=action.target.store,
        source=action.source.store,
        points=points,
        seconds=seconds,
    )


def _script(action: CopyPoints) -> str:
    named = {
        "SOURCE_STORE": action.source.credentials or action.source.store,
        "TARGET_STORE": action.target.credentials or action.target.store,
        "SOURCE_URL": action.source.url,
    }
    head = "".join(f"{name}={shlex.quote(value)}\n" for name, value in named.items())
    return head + make_if_empty(action.target, action.source) + _COPY
