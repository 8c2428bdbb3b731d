"""L3: a point restored to scratch and compared with the manifest of its backup."""

import shlex

from automation.adapters.restic.answers import number, record
from automation.adapters.restic.bringing import (
    compared_words,
    faults_of,
    problem_of,
    saved_paths,
    script,
    seconds_of,
)
from automation.adapters.restic.door import manifest_of, progress_of, work
from automation.model.actions.restic import ProveFiles
from automation.model.backup_evidence import PointProven, ProofFailed
from automation.model.base import format_duration
from automation.model.errors import AdapterError
from automation.model.records import Completed, Context, Outcome, Progress
from automation.model.recovery_points import Level

# What was chosen lies beside what was restored: whoever doubts can look again.
_PROVE = """
claim
study
if [ -n "$DRAWN" ]; then
  look draw --manifest "$ours/manifest" --listing "$ours/listing" --only "$ours/only" \\
    --patterns "$ours/patterns" $DRAWN >"$own/drawn" || exit
  cat "$own/drawn"
  size=$(sed -n 's/.*"bytes": \\([0-9]*\\).*/\\1/p' "$own/drawn")
  room_for "$size" "$folder"
  bring "$folder" --from "$ours/patterns"
  set -- --only "$ours/only"
else
  room_for "$(look size --manifest "$ours/manifest")" "$folder"
  bring "$folder"
  set --
fi
look compare --manifest "$ours/manifest" --listing "$ours/listing" --root "$folder" "$@"
for path in $MUST; do
  [ -e "$folder$path" ] || echo "fault: $path is not in it"
done
"""


def prove(action: ProveFiles, ctx: Context) -> Outcome:
    """Restore all or a sample and compare; evidence PointProven, or ProofFailed in the error.

    A repository that cannot be reached, or a scratch host without room, proves nothing and fails nothing.
    """
    saved_paths(action, ctx)
    done = work(ctx, action.host, action.of, _script(action, ctx))
    what = f"point {action.point[:8]} of {action.resource} in {action.of.store}"
    if problem := problem_of(done, ctx, action.host):
        if problem.kind == "damaged":
            raise _bad(action, ctx, what, (problem.text,))
        raise AdapterError(
            f"{what} could not be restored to {action.host}:{action.folder}: {problem.text}; "
            "nothing is proven, nothing is found bad",
            hint=problem.hint,
        )
    if found := faults_of(done, ctx, action.host) + _missing(done):
        raise _bad(action, ctx, what, found)
    compared = record(done.stdout, "comparison")
    if not number(compared, "entries"):
        raise AdapterError(f"{what}: nothing of it could be compared; nothing is proven")
    if number(compared, "files") and not number(compared, "hashed"):
        raise AdapterError(
            f"{what}: of no file it is known what it held, for each was written to while it was saved; "
            "nothing is proven",
            hint="save it from a snapshot of its disk, or while it is quiet",
        )
    proven = PointProven(
        resource=action.resource,
        store=action.of.store,
        point=action.point,
        level=_level(action),
        seconds=seconds_of(done),
        size_bytes=number(record(done.stdout, "comparison"), "bytes"),
        found=(compared_words(done), *(f"{path} is there" for path in action.must_hold)),
        whole=not _drawn(action),
        host=action.host,
        source="real" if ctx.environment.simulator_at(action.of.url) is None else "simulated",
    )
    summary = f"{what} restored in {format_duration(proven.seconds)}: {'; '.join(proven.found)}"
    return Outcome(changed=True, summary=summary, evidence=proven)


def verify_prove(action: ProveFiles, ctx: Context) -> Progress:
    """Say how far it came; one that was cut off is cleared with its folder, and proves nothing."""
    return progress_of(ctx, action.host)


def _level(action: ProveFiles) -> Level:
    return Level.L4 if action.must_hold else Level.L3


def _drawn(action: ProveFiles) -> list[str]:
    """Give the words by which a sample is drawn; none: all of it is restored."""
    if action.files is None and action.max_bytes is None:
        return []
    words = ["--newest", str(action.newest), "--seed", str(action.seed)]
    words += ["--files", str(action.files)] if action.files is not None else []
    words += ["--bytes", str(action.max_bytes)] if action.max_bytes is not None else []
    return [*words, *(f"--must={path}" for path in action.must_hold)]


def _script(action: ProveFiles, ctx: Context) -> str:
    named = {"point": action.point, "folder": action.folder, "in_point": manifest_of(action.resource)}
    body = _PROVE.replace('"$DRAWN"', '"drawn"' if _drawn(action) else '""')
    body = body.replace("$DRAWN", shlex.join(_drawn(action)))
    body = body.replace("$MUST", shlex.join(action.must_hold))
    return script(ctx, named, body)


def _missing(done: Completed) -> tuple[str, ...]:
    lines = done.stdout.splitlines()
    return tuple(line.removeprefix("fault: ") for line in lines if line.startswith("fault: "))


def _bad(action: ProveFiles, ctx: Context, what: str, found: tuple[str, ...]) -> AdapterError:
    return AdapterError(
        f"{what} is bad: {'; '.join(found[:3])}; it was restored to {action.host}:{action.folder}, "
        "nothing else was changed",
        evidence=ProofFailed(
            resource=action.resource,
            store=action.of.store,
            point=action.point,
            level=_level(action),
            found=found,
        ),
        hint=f"nothing is deleted from {action.of.store} meanwhile; a copy in another store may be good: "
        f"./inv backup.status --env {ctx.environment.name}",
    )
