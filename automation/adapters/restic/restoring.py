"""Files restored for people: below a folder, or over their originals, which are kept beside them."""

import shlex
from collections.abc import Sequence

from automation.adapters.restic.bringing import (
    NOT_SWAPPED,
    compared_total,
    compared_words,
    faults_of,
    pattern_of,
    problem_of,
    saved_paths,
    script,
    seconds_of,
)
from automation.adapters.restic.door import REFUSED, manifest_of, progress_of, work
from automation.model.actions.restic import SCRATCH, ClearScratch, RestoreFiles
from automation.model.backup_evidence import PointRestored, ProofFailed
from automation.model.base import format_duration
from automation.model.errors import AdapterError, OutcomeUnknown
from automation.model.records import Context, Outcome, Progress
from automation.model.recovery_points import Level

_BELOW_A_FOLDER = """
claim
study
size=$(look size --manifest "$ours/manifest" $BELOW) || refuse "the point holds nothing of it"
room_for "$size" "$folder"
bring "$folder" $INCLUDED
look compare --manifest "$ours/manifest" --listing "$ours/listing" --root "$folder" $BELOW
"""

# Restored beside each original, on its own disk, and compared there; only when all is well the two change
# places by renaming. A disk mounted at the path itself cannot be renamed: what is in it changes places.
_IN_PLACE = """
stage_of() {
  beside=${1%/*}
  if mountpoint -q "$1"; then beside=$1; fi
  echo "$beside/.mainstay-restoring-$RUN-$(printf %s "$1" | sha256sum | cut -c 1-16)"
}
pattern_of() { printf %s "$1" | sed 's/[][*?\\\\]/\\\\&/g'; }
kept_of() {
  if mountpoint -q "$1"; then echo "$1/.mainstay-kept-$RUN"; else echo "$1.kept-$RUN"; fi
}
for path in $PATHS; do
  [ -d "${path%/*}/" ] || refuse "the folder of $path is not there"
  mounted=$(findmnt -rno TARGET | grep -F -- "$path/" | grep "^/" | while read -r at; do
    case $at in "$path"/*) echo "$at" ;; esac
  done)
  [ -z "$mounted" ] || refuse "a disk is mounted below $path ($mounted): restore to a folder"
  [ ! -e "$(kept_of "$path")" ] || refuse "$(kept_of "$path") is there already"
done
claim
study
drop_stages() { for path in $PATHS; do rm -rf -- "$(stage_of "$path")"; done; }
trap 'drop_stages; rm -rf -- "$own"' EXIT
for path in $PATHS; do
  stage=$(stage_of "$path")
  rm -rf -- "$stage"; mkdir -m 0700 "$stage" || exit 93
  size=$(look size --manifest "$ours/manifest" "--below=$path") || refuse "the point holds no $path"
  room_for "$size" "$stage"
  bring "$stage" "--include=$(pattern_of "$path")"
  look compare --manifest "$ours/manifest" --listing "$ours/listing" --root "$stage" \\
    "--below=$path" >"$own/told"
  cat "$own/told"
  [ "$code" -eq 0 ] && grep -q '"fault_count": 0,' "$own/told" || exit 94
done
trap 'rm -rf -- "$own"' EXIT
for path in $PATHS; do
  stage=$(stage_of "$path") kept=$(kept_of "$path")
  if mountpoint -q "$path"; then
    echo "kept: $kept"
    mkdir -m 0700 "$kept" || exit 95
    find "$path" -mindepth 1 -maxdepth 1 ! -path "$stage" ! -path "$kept" \\
      -exec mv -t "$kept" -- {} + || exit 95
    find "$stage$path" -mindepth 1 -maxdepth 1 -exec mv -t "$path" -- {} + || exit 95
  else
    if [ -e "$path" ] || [ -L "$path" ]; then
      echo "kept: $kept"
      mv -T -- "$path" "$kept" || exit 95
    fi
    mv -T -- "$stage$path" "$path" || exit 95
  fi
  rm -rf -- "$stage"
done
rm -rf -- "$folder"
"""


def restore(action: RestoreFiles, ctx: Context) -> Outcome:
    """Restore and compare with the manifest; evidence PointRestored.

    Below a folder: it is new, empty, or begun by a restore of the same point. In place: nothing changes
    unless all of it was restored beside the originals and found equal; those stay, under another name.
    """
    what = f"point {action.point[:8]} of {action.resource} in {action.of.store}"
    paths = _apart(action.include or saved_paths(action, ctx))
    done = work(ctx, action.host, action.of, _script(action, ctx, paths))
    kept = [line.removeprefix("kept: ") for line in done.stdout.splitlines() if line.startswith("kept: ")]
    beside = f"; what was there is in {', '.join(kept)}" if kept else ""
    if done.exit_code == NOT_SWAPPED:
        raise OutcomeUnknown(
            f"{what} lies whole beside the originals on {action.host}, and did not take their place: "
            f"{done.stderr.strip()}{beside}",
            hint=f"look at both on {action.host}: .mainstay-restoring-* beside a path is what was restored",
        )
    if problem := problem_of(done, ctx, action.host):
        raise AdapterError(
            f"{what} was not restored to {_where(action)}: {problem.text}; {_left(action)}",
            hint=problem.hint,
            evidence=_bad(action, (problem.text,)) if problem.kind == "damaged" else None,
        )
    if found := faults_of(done, ctx, action.host):
        raise AdapterError(
            f"{what} was not restored whole to {_where(action)}: {'; '.join(found[:3])}; {_left(action)}",
            hint=f"another point or store may be good: ./inv backup.list --env {ctx.environment.name} "
            f"--resource {action.resource}",
            evidence=_bad(action, found),
        )
    evidence = PointRestored(
        resource=action.resource,
        store=action.of.store,
        point=action.point,
        host=action.host,
        to=action.folder,
        seconds=seconds_of(done),
        size_bytes=compared_total(done, "bytes"),
        files=compared_total(done, "files"),
    )
    summary = (
        f"{what} restored to {_where(action)} in {format_duration(evidence.seconds)}: "
        f"{compared_words(done)}{beside}"
    )
    return Outcome(changed=True, summary=summary, evidence=evidence)


def _bad(action: RestoreFiles, found: tuple[str, ...]) -> ProofFailed:
    """What people restore is a proof, too: a point that is found bad is bad for every later use."""
    return ProofFailed(
        resource=action.resource, store=action.of.store, point=action.point, level=Level.L3, found=found
    )


def verify_restore(action: RestoreFiles, ctx: Context) -> Progress:
    """Say how far it came; below a folder it is simply gone on with by a run of its own."""
    return progress_of(ctx, action.host)


def _apart(paths: Sequence[str]) -> list[str]:
    """Give paths of which none lies below another: that one comes with it."""
    kept: list[str] = []
    for path in sorted({path.rstrip("/") for path in paths}):
        if not any(path.startswith(f"{one}/") for one in kept):
            kept.append(path)
    return kept


def _script(action: RestoreFiles, ctx: Context, paths: Sequence[str]) -> str:
    step = f"{ctx.run_id}-{ctx.step_id.replace('/', '-')}"
    named = {
        "point": action.point,
        "folder": f"{SCRATCH}/in-place-{step}" if action.in_place else action.folder.rstrip("/"),
        "in_point": manifest_of(action.resource),
        "RUN": step,
    }
    if action.in_place:
        return script(ctx, named, _IN_PLACE.replace("$PATHS", shlex.join(paths)))
    body = _BELOW_A_FOLDER.replace("$BELOW", shlex.join(f"--below={path}" for path in paths))
    return script(
        ctx, named, body.replace("$INCLUDED", shlex.join(f"--include={pattern_of(path)}" for path in paths))
    )


def _where(action: RestoreFiles) -> str:
    return f"{action.host}, in place" if action.in_place else f"{action.host}:{action.folder}"


def _left(action: RestoreFiles) -> str:
    if action.in_place:
        return "the originals are as they were"
    return f"what was restored so far is in {action.folder}, and nothing else was changed"


_CLEAR = """
[ -e "$1" ] || { echo gone; exit 0; }
[ ! -L "$1" ] && [ -f "$1/.mainstay/point" ] || { echo "it bears no mark of ours" >&2; exit 90; }
mounted=$(findmnt -rno TARGET | while read -r at; do case $at in "$1" | "$1"/*) echo "$at" ;; esac; done)
[ -z "$mounted" ] || { echo "a disk is mounted in it: $mounted" >&2; exit 90; }
rm -rf --one-file-system -- "$1"
"""


def clear_scratch(action: ClearScratch, ctx: Context) -> Outcome:
    """Remove a scratch folder that bears our marker; one that is not there is done."""
    done = ctx.run_unit(action.host, ["sh", "-c", _CLEAR, "clear", action.folder])
    if done.exit_code:
        state = "nothing was removed" if done.exit_code == REFUSED else "part of it may be left"
        raise AdapterError(
            f"{action.host}:{action.folder} was not removed: {done.stderr.strip()}; {state}",
            hint=f"look at it on {action.host}",
        )
    gone = "gone" in done.stdout
    word = "was gone already" if gone else "is removed"
    return Outcome(changed=not gone, summary=f"{action.host}:{action.folder} {word}")


def verify_clear_scratch(action: ClearScratch, ctx: Context) -> Progress:
    """Say how far it came."""
    return progress_of(ctx, action.host)
