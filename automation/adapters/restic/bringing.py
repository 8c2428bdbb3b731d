"""What a restore and a proof share: the marked folder, the room for it, the restoring and the comparing.

A folder of ours holds `.mainstay/`: the point's id, its manifest, its listing. Only such a folder is gone on
with after a crash, and only such a one is ever removed.
"""

import re
import shlex
from collections.abc import Mapping

from automation.adapters.restic.answers import number, record, records, texts
from automation.adapters.restic.door import fault_of, manifest_of
from automation.adapters.restic.faults import Fault
from automation.adapters.restic.listing import list_snapshots
from automation.model.actions.restic import SCRATCH, ProveFiles, RestoreFiles
from automation.model.errors import AdapterError
from automation.model.records import Completed, Context

NO_MANIFEST, NO_ROOM, NOT_BROUGHT, NOT_SWAPPED = 92, 93, 94, 95  # exit codes of ours alone

# $point $folder $in_point: where the manifest is in the point. `bring`: what of the point is restored.
# What is restored to scratch is to prove the repository: what a cache of this host still knows of it does not
# count there.
BRING = """
ours=$folder/.mainstay
claim() {
  if [ -d "$folder" ] && [ "$(cat "$ours/point" 2>/dev/null)" != "$point" ]; then
    [ -z "$(find "$folder" -mindepth 1 -print -quit)" ] ||
      refuse "$folder is not empty, and was not made by a restore of this point"
  fi
  mkdir -p "$ours" && chmod 0700 "$ours" && echo "$point" >"$ours/point" || exit 93
  case $folder in "SCRATCH"/*) export RESTIC_CACHE_DIR="$ours/cache" ;; esac
}
study() {
  restic dump "$point" "$in_point" >"$ours/manifest" || {
    grep -q 'not found in snapshot' "$said" && exit 92
    exit 1
  }
  restic ls --json --no-lock "$point" >"$ours/listing" || exit
}
room_for() {  # $1 bytes, $2 folder
  free=$(df --output=avail -B1 -- "$2" | tail -n 1)
  [ "$free" -gt "$(($1 + $1 / 20))" ] || { echo "$2 has $free bytes free, it takes $1" >&2; exit 93; }
}
bring() {  # $1 folder, then words of restic
  began=$(date +%s.%N) into=$1
  shift
  if [ "${1-}" = --from ]; then
    xargs -0 -r -s 100000 sh -c '
      timeout -s INT -k 60 LIMIT_S restic ${RESTIC_CACERT:+--cacert "$RESTIC_CACERT"} restore "$@"
      code=$?
      case $code in 124 | 130 | 137 | 143) echo "it was interrupted ($code)" >&2 ;; esac
      exit "$code"' restic "$point" --target "$into" <"$2" >&2
  else
    restic restore "$point" --target "$into" "$@" >&2
  fi
  code=$?
  echo "{\\"record\\": \\"brought\\", \\"code\\": $code, \\"from\\": $began, \\"to\\": $(date +%s.%N)}"
}
"""


def saved_paths(action: RestoreFiles | ProveFiles, ctx: Context) -> tuple[str, ...]:
    """Give the paths that a point was made of, without its manifest.

    Raises:
        AdapterError: the resource has no such point there.
    """
    listed = list_snapshots(ctx.remote(action.host), action.of, action.resource)
    point = next((one for one in listed if one.id == action.point), None)
    if point is None:
        raise AdapterError(
            f"{action.of.store} ({action.of.url}) has no point {action.point[:8]} of {action.resource} among "
            f"{len(listed)}; nothing was changed",
            hint=f"./inv backup.list --env {ctx.environment.name} --resource {action.resource}",
        )
    return tuple(path for path in point.paths if path != manifest_of(action.resource))


def pattern_of(path: str) -> str:
    """Give a path as a pattern of restic that matches it alone."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", path)


def script(ctx: Context, named: Mapping[str, str], body: str) -> str:
    """Give a script that restores, with its named words at its head."""
    head = "".join(f"{name}={shlex.quote(value)}\n" for name, value in named.items())
    return head + BRING.replace("LIMIT_S", str(int(ctx.timeout_s))).replace("SCRATCH", SCRATCH) + body


def seconds_of(done: Completed) -> float:
    """How long the restoring took, of every path together."""
    brought = (one for one in records(done.stdout) if one.get("record") == "brought")
    return sum(float(str(one.get("to", 0.0))) - float(str(one.get("from", 0.0))) for one in brought)


def compared_total(done: Completed, key: str) -> int:
    """Add up a number of every comparison."""
    return sum(number(one, key) for one in records(done.stdout) if one.get("record") == "comparison")


def problem_of(done: Completed, ctx: Context, host: str) -> Fault | None:
    """Say what kept the point from being restored at all; none: what is there can be judged."""
    if done.exit_code == NO_MANIFEST:
        return Fault(
            "other",
            "the point has no manifest to compare with",
            "it was not made by Mainstay: restore it by hand",
        )
    fault = fault_of(done, ctx, host)
    if done.exit_code == NO_ROOM:
        return Fault("out-of-disk", f"out of disk on {host} ({fault.text})", f"make room on {host}")
    brought, compared = record(done.stdout, "brought"), record(done.stdout, "comparison")
    if done.exit_code not in (0, NOT_BROUGHT) or brought is None:
        return fault
    if number(brought, "code") and fault.kind != "damaged":
        judged = fault.kind == "other" and number(compared, "fault_count")
        return None if judged else fault
    return fault._replace(text=f"it could not be compared: {fault.text}") if compared is None else None


def faults_of(done: Completed, ctx: Context, host: str) -> tuple[str, ...]:
    """Give what is wrong with what was restored, in words; none: nothing."""
    compared = record(done.stdout, "comparison")
    found = list(texts((compared or {}).get("faults")))
    count = number(compared, "fault_count")
    if count > len(found):
        found.append(f"and {count - len(found)} more")
    if number(record(done.stdout, "brought"), "code"):
        found.append(fault_of(done, ctx, host).text)
    return tuple(found)


def compared_words(done: Completed) -> str:
    """Say what was compared."""
    files, size = compared_total(done, "files"), compared_total(done, "bytes")
    notes = [f"{files} files, {size / 2**20:.1f} MiB compared with the manifest: equal"]
    if unhashed := files - compared_total(done, "hashed") - compared_total(done, "changed"):
        notes.append(f"{unhashed} of them by size and time alone: they were written to when they were read")
    if changed := compared_total(done, "changed"):
        notes.append(f"{changed} of them changed while they were saved: as the point says")
    if vanished := compared_total(done, "vanished"):
        notes.append(f"{vanished} went away while they were saved")
    return "; ".join(notes)
