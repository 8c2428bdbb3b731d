"""What is written down of an old data directory that is kept: where dr.status looks."""

from datetime import UTC, datetime, timedelta

from automation.model.evidence import DataKept
from automation.model.records import Context

KEPT = "kept"  # folder of the environment's state: one file for each data directory


def note_kept(ctx: Context, host: str, path: str, size_bytes: int, *, keep_s: float) -> DataKept:
    """Write down in the environment's state that a data directory is kept."""
    now = datetime.now(UTC)
    kept = DataKept(
        server=host,
        path=path,
        size_bytes=size_bytes,
        kept_at=now,
        keep_until=now + timedelta(seconds=keep_s),
    )
    note = ctx.state / KEPT / f"{ctx.run_id}-{host}.json"
    note.parent.mkdir(mode=0o700, exist_ok=True)
    partial = note.with_suffix(".part")
    partial.write_text(kept.model_dump_json(indent=1))
    partial.replace(note)
    return kept
