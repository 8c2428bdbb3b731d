"""What a step found before its first call changed anything: a file of its run, for one that was killed."""

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from automation.model.errors import AdapterError
from automation.model.provider_settings import SavedCall

FOLDER = "calls"
_SAVED = TypeAdapter(tuple[SavedCall, ...])


def keep_calls(saved: Sequence[SavedCall], artifacts: Path, step: str) -> None:
    """Write what was before, for its owner alone; it is on the disk when this returns."""
    path = _path(artifacts, step)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    with draft.open("wb") as file:
        draft.chmod(0o600)
        file.write(_SAVED.dump_json(tuple(saved)))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    _sync_folder(path.parent)


def read_calls(artifacts: Path, step: str) -> tuple[SavedCall, ...] | None:
    """Give what a step found before; none when it has changed nothing yet.

    Raises:
        AdapterError: it cannot be read.
    """
    path = _path(artifacts, step)
    try:
        return _SAVED.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as exc:
        raise AdapterError(
            f"{path}: what was before this step changed anything cannot be read; nothing more was changed",
            unknown=True,
        ) from exc


def _path(artifacts: Path, step: str) -> Path:
    return artifacts / FOLDER / f"{step.replace('/', '_')}.json"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
