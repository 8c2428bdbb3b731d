"""Facts as files of a run: what every collector leaves, and what judges read."""

import gzip
import hashlib
from pathlib import Path

from pydantic import ValidationError

from automation.model.baseline_evidence import FactsCollected
from automation.model.errors import AdapterError
from automation.model.facts import Facts

FOLDER = "facts"


def keep_facts(facts: Facts, artifacts: Path) -> FactsCollected:
    """Write facts for their owner alone, and say what proves that they are these.

    Raises:
        ValueError: a text in them is one that no file can hold.
    """
    content = facts.model_dump_json().encode()
    folder = artifacts / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{facts.subject}.json.gz"
    path.write_bytes(gzip.compress(content, mtime=0))
    path.chmod(0o600)
    return FactsCollected(
        host=facts.subject,
        file=f"{FOLDER}/{path.name}",
        sha256=hashlib.sha256(content).hexdigest(),
        collected_at=facts.collected_at,
        unknown=facts.unknown,
    )


def read_facts(path: Path) -> Facts:
    """Read facts that were kept.

    Raises:
        AdapterError: they cannot be read, or are no facts.
    """
    try:
        return Facts.model_validate_json(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValidationError) as exc:
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else "it holds no facts"
        raise AdapterError(f"{path}: {why}; nothing was changed") from exc
