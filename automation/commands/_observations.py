"""What was last seen of each primary, kept in `observations/`: a lost one cannot be asked any more."""

from pathlib import Path

from automation.model.observations import PrimaryPosition

FOLDER = "observations"


def keep_position(state: Path, seen: PrimaryPosition) -> None:
    """Keep how far a primary had written; a standby that answers in its place is not kept."""
    if seen.in_recovery:
        return
    path = _path(state, seen.host)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(seen.model_dump_json(indent=1))
    partial.replace(path)


def last_position(state: Path, host: str) -> PrimaryPosition | None:
    """Give the last position that was seen of a primary; None when nobody ever looked."""
    path = _path(state, host)
    return PrimaryPosition.model_validate_json(path.read_bytes()) if path.exists() else None


def forget_positions(state: Path) -> None:
    """Forget what was seen of primaries: their disks were put back, and their history began anew."""
    for path in (state / FOLDER).glob("primary-*.json"):
        path.unlink()


def _path(state: Path, host: str) -> Path:
    return state / FOLDER / f"primary-{host}.json"
