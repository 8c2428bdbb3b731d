"""A repository's structure looked at, or a part of its data read."""

from automation.adapters.restic.answers import list_line, number, parse_snapshots, record
from automation.adapters.restic.door import fault_of, progress_of
from automation.adapters.restic.faults import Fault, named_parts
from automation.adapters.restic.locks import work_past_the_dead
from automation.model.actions.restic import CheckRepository
from automation.model.backup_evidence import ProofFailed, RepositoryChecked
from automation.model.base import format_duration
from automation.model.errors import AdapterError
from automation.model.records import Completed, Context, Outcome, Progress
from automation.model.recovery_points import Level

SHOWN = 12

# $1 part, $2 parts. A pack is in the part that its first byte gives, in every version: its bytes are
# counted where it lies on a disk of this host. Points are listed before: later ones were not looked at.
_CHECK = """
part=$1 parts=$2
restic snapshots --json --no-lock || exit
echo
began=$(date +%s.%N)
if [ "$part" -gt 0 ]; then restic check --read-data-subset "$part/$parts" >&2; else restic check >&2; fi
code=$?
read=0
if [ "$part" -gt 0 ] && [ -d "$RESTIC_REPOSITORY/data" ]; then
  for folder in "$RESTIC_REPOSITORY"/data/*; do
    [ "$((0x${folder##*/} % parts))" -ne "$((part - 1))" ] ||
      read=$((read + $(find "$folder" -type f -printf '%s+')0))
  done
fi
echo "{\\"record\\": \\"checked\\", \\"bytes\\": $read, \\"from\\": $began, \\"to\\": $(date +%s.%N)}"
exit "$code"
"""


def check(action: CheckRepository, ctx: Context) -> Outcome:
    """Look at the structure, or read a part; evidence RepositoryChecked, or ProofFailed in the error.

    A repository that cannot be reached or is locked proves nothing, and fails nothing.
    """
    words = [str(action.part), str(action.parts)]
    done = work_past_the_dead(ctx, action.host, action.of, _CHECK, words)
    checked = record(done.stdout, "checked")
    if done.exit_code:
        raise _failed(action, ctx, done, looked=checked is not None)
    points = parse_snapshots(list_line(done.stdout))
    began, ended = ((checked or {}).get(key, 0.0) for key in ("from", "to"))
    seconds = float(str(ended)) - float(str(began))
    evidence = RepositoryChecked(
        store=action.of.store,
        level=level_of(action),
        part=action.part,
        parts=action.parts,
        seconds=seconds,
        size_bytes=number(checked, "bytes"),
        points=tuple(one.id for one in points),
        source="real" if ctx.environment.simulator_at(action.of.url) is None else "simulated",
    )
    what = f"part {action.part} of {action.parts} is read" if action.part else "the structure holds together"
    summary = f"{action.of.store}: {what}, in {format_duration(seconds)}; {len(points)} points"
    return Outcome(changed=False, summary=summary, evidence=evidence)


def verify_check(action: CheckRepository, ctx: Context) -> Progress:
    """Say how far it came."""
    return progress_of(ctx, action.host)


def level_of(action: CheckRepository) -> Level:
    """L2 where data is read."""
    return Level.L2 if action.part else Level.L1


def _failed(action: CheckRepository, ctx: Context, done: Completed, *, looked: bool) -> AdapterError:
    fault = fault_of(done, ctx, action.host)
    what = f"part {action.part} of {action.parts}" if action.part else "the structure"
    where = f"{action.of.store} ({action.of.url})"
    if not looked or fault.kind not in ("damaged", "other"):
        return AdapterError(
            f"{what} of {where} could not be looked at: {fault.text}; nothing was changed", hint=fault.hint
        )
    found = _found(done, fault)
    return AdapterError(
        f"{what} of {where} is bad: {'; '.join(found[:3])}; nothing was changed",
        evidence=ProofFailed(store=action.of.store, level=level_of(action), found=found),
        hint=f"every proof of this repository is suspended and nothing is deleted: restore from a copy, "
        f"./inv backup.status --env {ctx.environment.name}",
    )


def _found(done: Completed, fault: Fault) -> tuple[str, ...]:
    parts = named_parts(done.stderr)
    return (*parts[:SHOWN], fault.text)
