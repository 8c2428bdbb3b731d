"""Declarations: who said that a site is lost, when and why."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from automation.model.actions import AcceptLag, CiteDeclaration, ClearSuspicion, Declare, SuspectSplitBrain
from automation.model.errors import AdapterError
from automation.model.evidence import DECLARATION_LIVES, Declaration, Suspicion, SuspicionCleared
from automation.model.records import Context, Outcome

# Between the look at both databases and the end of a suspicion; a run that is resumed later looks again.
LOOK_LIVES = timedelta(minutes=2)


def declare(action: Declare, ctx: Context) -> Outcome:
    """Write the declaration into the state folder; one already made in this run stands."""
    folder = ctx.state / "declarations"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{ctx.run_id}.json"
    changed = not path.exists()
    if changed:
        declaration = Declaration(
            sites=action.sites,
            reason=action.reason,
            exercise=action.exercise,
            declared_by=action.declared_by,
            declared_at=datetime.now(UTC),
        )
        _write_synced(path, declaration.model_dump_json().encode())
    else:
        declaration = Declaration.model_validate_json(path.read_bytes())
    kind = "exercise" if declaration.exercise else "disaster"
    sites = ", ".join(declaration.sites)
    return Outcome(changed=changed, summary=f"{kind} declared: {sites} lost", evidence=declaration)


def cite(action: CiteDeclaration, ctx: Context) -> Outcome:
    """Give the declaration that a failover stands on; it must be of this site, no exercise, and of today.

    A run that is resumed cites it again: a service that was marked since, by another run, stops it too.
    """
    path = ctx.state / "declarations" / f"{action.declaration}.json"
    if not path.exists():
        raise AdapterError(f"declaration {action.declaration} is not there; nothing was changed")
    declaration = Declaration.model_validate_json(path.read_bytes())
    if declaration.exercise or action.site not in declaration.sites:
        kind = "an exercise" if declaration.exercise else f"of {', '.join(declaration.sites)}"
        raise AdapterError(
            f"declaration {action.declaration} is {kind}, not the loss of {action.site}; nothing was changed"
        )
    if datetime.now(UTC) - declaration.declared_at > DECLARATION_LIVES:
        at = f"{declaration.declared_at:%Y-%m-%d %H:%M} UTC"
        raise AdapterError(
            f"the loss of {action.site} was declared at {at}, too long ago; nothing was changed",
            hint="give this run up; if the site is lost, declare it and begin anew",
        )
    for service, suspicion in list_suspicions(ctx.state).items():
        if service in action.services and suspicion.run_id != ctx.run_id:
            raise AdapterError(
                f"{service} is SPLIT_BRAIN_SUSPECTED by run {suspicion.run_id}; nothing was changed",
                hint=f"dr.clear --service {service}, once it is looked at",
            )
    said = f"{declaration.declared_by} declared {action.site} lost: {declaration.reason}"
    return Outcome(changed=False, summary=said, evidence=declaration)


def list_declarations(state: Path) -> dict[str, Declaration]:
    """Give every declaration by the run that recorded it, oldest first."""
    paths = sorted((state / "declarations").glob("*.json"))
    return {path.stem: Declaration.model_validate_json(path.read_bytes()) for path in paths}


def accept_lag(action: AcceptLag, ctx: Context) -> Outcome:
    """Say in the run's own record what loss was accepted; who signed for it stands beside it."""
    return Outcome(changed=False, summary=f"{action.service}: accepted, {action.observed}")


# --- split brain suspected ----------------------------------------------------------------------


def suspect_split_brain(action: SuspectSplitBrain, ctx: Context) -> Outcome:
    """Mark a service as SPLIT_BRAIN_SUSPECTED; it stays so until a person clears it."""
    path = _suspicion(ctx.state, action.service)
    before = Suspicion.model_validate_json(path.read_bytes()) if path.exists() else None
    suspicion = before or Suspicion(
        service=action.service,
        hosts=action.hosts,
        run_id=ctx.run_id,
        reason=action.reason,
        since=datetime.now(UTC),
    )
    if before is None:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _write_synced(path, suspicion.model_dump_json().encode())
    summary = f"{action.service}: SPLIT_BRAIN_SUSPECTED until dr.clear"
    return Outcome(changed=before is None, summary=summary, evidence=suspicion)


def clear_suspicion(action: ClearSuspicion, ctx: Context) -> Outcome:
    """End the suspicion that was looked into; the record is kept beside those that were cleared before."""
    path = _suspicion(ctx.state, action.service)
    if not path.exists():
        raise AdapterError(f"no split brain of {action.service} is suspected; nothing was changed")
    words = f"--env {ctx.state.name} --service {action.service} --reason '...'"
    look_again = f"look again: ./inv dr.clear {words}"
    suspicion = Suspicion.model_validate_json(path.read_bytes())
    if (suspicion.run_id, suspicion.since) != (action.suspected_by, action.since):
        raise AdapterError(
            f"{action.service} is suspected anew, by run {suspicion.run_id}; nothing was changed",
            hint=look_again,
        )
    if abs(datetime.now(UTC) - action.seen_at) > LOOK_LIVES:
        raise AdapterError(
            f"both databases of {action.service} were looked at {action.seen_at:%Y-%m-%d %H:%M:%S} UTC, "
            "too long ago; nothing was changed",
            hint=look_again,
        )
    cleared = SuspicionCleared(
        suspicion=suspicion,
        seen=action.seen,
        reason=action.reason,
        cleared_by=action.cleared_by,
        cleared_at=datetime.now(UTC),
    )
    folder = path.parent / "cleared"
    folder.mkdir(mode=0o700, exist_ok=True)
    _write_synced(folder / f"{ctx.run_id}.json", cleared.model_dump_json().encode())
    path.unlink()
    return Outcome(
        changed=True, summary=f"{action.service}: cleared by {action.cleared_by}", evidence=cleared
    )


def list_suspicions(state: Path) -> dict[str, Suspicion]:
    """Give every suspicion in force, by service."""
    paths = sorted((state / "suspicions").glob("*.json"))
    return {path.stem: Suspicion.model_validate_json(path.read_bytes()) for path in paths}


def _suspicion(state: Path, service: str) -> Path:
    return state / "suspicions" / f"{service}.json"


def _write_synced(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
