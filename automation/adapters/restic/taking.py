"""One point of a host's files: looked at before, saved, listed, and looked at again."""

import base64
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from automation.adapters.restic.answers import (
    FILES,
    PARTIAL,
    RUN,
    SIZE,
    Snapshot,
    list_line,
    number,
    parse_snapshots,
    record,
    texts,
)
from automation.adapters.restic.door import abilities_of, fault_of, manifest_of, progress_of
from automation.adapters.restic.faults import what_was_said
from automation.adapters.restic.initialising import make_if_empty
from automation.adapters.restic.locks import work_past_the_dead
from automation.adapters.restic.versions import Abilities
from automation.model.actions.restic import TakeFiles
from automation.model.backup_evidence import Figures, PointTaken, TakeFailed
from automation.model.base import format_duration
from automation.model.errors import AdapterError
from automation.model.records import Completed, Context, Outcome, Progress

_SOURCE = 92  # exit code of the script: the source is not as it must be
PARTLY = 3  # exit code of restic: it saved what it could read
MOST_FETCHED_BYTES = 48 * 2**20

# $1 resource, $2 its manifest, $3 the tag of this step. Restic before 0.19 saves an empty point without a
# word when a source is missing, and any does when a disk is not mounted: hence the looks before and after.
_TAKE = """
resource=$1 manifest=$2 tag=$3
fault() { echo "fault: $*"; faulty=yes; }
look_at_source() {
  faulty=
  for path in $MUST; do
    [ -e "$path" ] || fault "$path is not there${1:-}: is its disk mounted?"
  done
  for path in $PATHS; do
    if [ -L "$path" ]; then fault "$path is a link${1:-}; name what it points to"
    elif [ ! -e "$path" ]; then fault "missing source $path${1:-}"
    elif [ -d "$path" ] && [ -z "$(find "$path" -mindepth 1 -print -quit)" ]; then
      fault "$path is empty${1:-}"
    elif [ -f "$path" ] && [ ! -s "$path" ]; then fault "$path has no bytes${1:-}"
    fi
  done
  [ -z "$faulty" ]
}
look_at_source || exit 92
mkdir -p "${manifest%/*}"
look make --manifest "$manifest" $EXCLUDED -- $PATHS >"$own/made" || refuse "the manifest cannot be written"
cat "$own/made"
figure() { sed -n "s/.*\\"$1\\": \\([0-9]*\\).*/\\1/p" "$own/made"; }
set -- --tag "$tag" --tag "$SIZE$(figure bytes)" --tag "$FILES$(figure files)"
[ "$(figure unreadable)" = 0 ] || set -- "$@" --tag $PARTIAL
make_if_empty || exit 1
restic backup --json --host "$resource" "$@" $TAGS $EXCLUDED -- $PATHS "$manifest"
saved=$?
echo "{\\"record\\": \\"saved\\", \\"code\\": $saved}"
[ "$saved" -eq 0 ] || [ "$saved" -eq 3 ] || exit "$saved"
restic snapshots --json --no-lock --host "$resource" --tag "$tag" >"$own/point" || exit
cat "$own/point"
id() { sed -n "s/.*\\"$1\\":\\"\\([0-9a-f]\\{64\\}\\)\\".*/\\1/p" "$own/point"; }
point=$(id id) parent=$(id parent)
[ -n "$point" ] || { echo "restic saved it and lists no point of it" >&2; exit 1; }
{ restic ls --json --no-lock "$point"; echo "$?" >"$own/listed"; } | look listed --manifest "$manifest"
listed=$(cat "$own/listed")
[ "$listed" = 0 ] || exit "$listed"
raw() { restic stats --json --no-lock --mode raw-data "$@" | sed "s/^{/{\\"record\\": \\"$kind\\", /"; }
if [ "$PACKED" = no ]; then
  kind=raw-with; raw "$point" $parent
  [ -z "$parent" ] || { kind=raw-before; raw "$parent"; }
fi
look_at_source " any more, after it was saved" || :
"""


def take(action: TakeFiles, ctx: Context) -> Outcome:
    """Save the paths with their manifest; evidence PointTaken, or TakeFailed in the error.

    What could not be read, or went away meanwhile, makes the point partial, and is named.
    """
    try:
        can = abilities_of(ctx.remote(action.host), action.host)
        words = [action.resource, manifest_of(action.resource), f"{RUN}{ctx.run_id}/{ctx.step_id}"]
        done = work_past_the_dead(ctx, action.host, action.to, _script(action, can), words)
        if done.exit_code:
            raise _failed(action, ctx, done)
        told = _read(done)
    except AdapterError as exc:
        exc.evidence = exc.evidence or _take_failed(action, [str(exc)])
        raise
    evidence = PointTaken(
        resource=action.resource,
        store=action.to.store,
        point=told.point.id,
        claimed_at=told.point.at,
        status="partial" if told.faults else "ok",
        figures=told.figures,
        seconds=told.seconds,
        manifest=_fetch_manifest(action, ctx),
        faults=told.faults,
    )
    return Outcome(changed=True, summary=_summary(action, told), evidence=evidence)


def verify_take(action: TakeFiles, ctx: Context) -> Progress:
    """Say how far it came; one that was cut off left at most data that no point refers to, and a lock."""
    return progress_of(ctx, action.host)


def _script(action: TakeFiles, can: Abilities) -> str:
    words = {
        "MUST": shlex.join(action.must_exist),
        "PATHS": shlex.join(action.paths),
        "EXCLUDED": shlex.join(f"--exclude={pattern}" for pattern in action.exclude),
        "TAGS": shlex.join(f"--tag={tag}" for tag in action.tags),
        "SIZE": SIZE,
        "FILES": FILES,
        "PARTIAL": PARTIAL,
        "PACKED": "yes" if can.packed_in_summary else "no",
    }
    filled = re.sub(r"\$([A-Z]{4,})\b", lambda match: words[match[1]], _TAKE)
    return make_if_empty(action.to) + filled


# --- what it said ---------------------------------------------------------------------------------


class _Told(NamedTuple):
    """What the script said: the same for whoever joins it later."""

    point: Snapshot
    figures: Figures
    seconds: float
    faults: tuple[str, ...]
    notes: tuple[str, ...]


def _read(done: Completed) -> _Told:
    said = done.stdout
    points = parse_snapshots(list_line(said))
    made, listed, saved = (record(said, kind) for kind in ("manifest", "listed", "saved"))
    summary = record(said, "summary", key="message_type")
    if not points or made is None or listed is None or summary is None:
        raise AdapterError(
            "restic ended well and left out what it saved; the point may be there",
            unknown=True,
            hint="look at the unit's output on the host",
        )
    point = points[-1]
    seconds = summary.get("total_duration", 0.0)
    return _Told(
        point=point,
        figures=_figures(said, made, summary, has_parent=bool(point.parent)),
        seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
        faults=tuple(_faults(done, made, listed, saved_code=number(saved, "code"))),
        notes=tuple(_notes(made, listed)),
    )


def _figures(
    said: str, made: Mapping[str, object], summary: Mapping[str, object], *, has_parent: bool
) -> Figures:
    """Give the figures of the source alone: the manifest is one file of what restic counts."""
    new, changed = number(summary, "files_new"), number(summary, "files_changed")
    added = number(summary, "data_added")
    together, before = record(said, "raw-with"), record(said, "raw-before")
    from_stats = max(0, number(together, "total_size") - number(before, "total_size"))
    stored = number(summary, "data_added_packed") if "data_added_packed" in summary else from_stats
    return Figures(
        files=number(made, "files"),
        new_files=max(0, new - (not has_parent)),
        changed_files=max(0, changed - has_parent),
        total_bytes=number(made, "bytes"),
        added_bytes=added,
        stored_bytes=stored,
    )


def _faults(
    done: Completed, made: Mapping[str, object], listed: Mapping[str, object], *, saved_code: int
) -> Iterator[str]:
    """Say what makes the point partial."""
    if not listed.get("itself"):
        yield "its own manifest is not in the point: is it left out by a pattern?"
    for record_, key, word in (
        (made, "unreadable", "cannot be read"),
        (listed, "missing", "not in the point"),
    ):
        if count := number(record_, key):
            yield f"{count} entries {word}: {'; '.join(texts(record_.get('faults'))[:3])}"
    if saved_code == PARTLY:
        yield f"restic could not read all of it: {what_was_said(done.stderr)}"
    yield from _named(done.stdout)


def _notes(made: Mapping[str, object], listed: Mapping[str, object]) -> Iterator[str]:
    if changed := number(listed, "changed"):
        yield f"{changed} files changed while they were saved"
    if vanished := number(made, "vanished") + number(listed, "vanished"):
        yield f"{vanished} went away meanwhile"


def _named(said: str) -> tuple[str, ...]:
    return tuple(line.removeprefix("fault: ") for line in said.splitlines() if line.startswith("fault: "))


def _summary(action: TakeFiles, told: _Told) -> str:
    figures = told.figures
    what = f"{figures.files} files, {figures.total_bytes / 2**20:.1f} MiB of {action.resource} saved"
    kind = "partly " if told.faults else ""
    more = "; ".join([*told.faults, *told.notes])
    return (
        f"{kind}{what} in {action.to.store} in {format_duration(told.seconds)} as {told.point.id[:8]}: "
        f"{figures.new_files} new, {figures.changed_files} changed, "
        f"{figures.stored_bytes / 2**20:.1f} MiB stored"
        f"{'; ' + more if more else ''}"
    )


# --- what went wrong ------------------------------------------------------------------------------


def _failed(action: TakeFiles, ctx: Context, done: Completed) -> AdapterError:
    named = _named(done.stdout)
    if done.exit_code == _SOURCE:
        return AdapterError(
            f"{action.resource} on {action.host} was not saved: {'; '.join(named)}; nothing was changed",
            evidence=_take_failed(action, named),
            hint=f"mount or mend it on {action.host}, then ./inv backup.run --env {ctx.environment.name} "
            f"--resource {action.resource}",
        )
    fault = fault_of(done, ctx, action.host)
    saved = record(done.stdout, "saved")
    left = "data may lie there that no point refers to" if saved else "no point was made"
    if saved and number(saved, "code") in (0, PARTLY):
        left = "its point is there, and was not looked at"
    return AdapterError(
        f"{action.resource} on {action.host} was not saved in {action.to.store} ({action.to.url}): "
        f"{fault.text}; {left}, and every older point is as it was",
        evidence=_take_failed(action, [fault.text]),
        hint=fault.hint,
    )


def _take_failed(action: TakeFiles, faults: Sequence[str]) -> TakeFailed:
    return TakeFailed(resource=action.resource, store=action.to.store, faults=tuple(faults) or ("unknown",))


_PACK = 'gzip -nc "$1" >"$1.gz" && [ "$(stat -c %s "$1.gz")" -le "$2" ] && base64 -w 0 "$1.gz"; rm -f "$1.gz"'


def _fetch_manifest(action: TakeFiles, ctx: Context) -> str:
    """Bring the manifest home, unless it is very large: it lies in the point, too."""
    path = manifest_of(action.resource)
    argv = ["sudo", "-n", "sh", "-c", f"umask 077; {_PACK}", "pack", path, str(MOST_FETCHED_BYTES)]
    done = ctx.remote(action.host).run(argv, timeout_s=ctx.timeout_s)
    if done.exit_code or not done.stdout:
        ctx.say(f"the manifest of {action.resource} stays there and in the point: {done.stderr.strip()}")
        return ""
    name = f"manifest-{action.resource}-{action.to.store}.jsonl.gz"
    partial = ctx.artifacts / f"{name}.part"
    partial.write_bytes(base64.b64decode(done.stdout))
    partial.replace(ctx.artifacts / name)
    return name
