"""Declarations: who said that a site is lost, when and why."""

import os
from datetime import UTC, datetime
from pathlib import Path

from automation.model.actions import Declare
from automation.model.evidence import Declaration
from automation.model.records import Context, Outcome


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


def _write_synced(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
