"""Facts of hosts: the collector is sent over the host's connection, runs once from memory, and is gone.

One program, one connection, one answer for all controls; nothing is written on the host.
"""

import base64
import gzip
import hashlib
import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from automation.model.actions import CollectFacts
from automation.model.baseline_evidence import FactsCollected
from automation.model.errors import AdapterError
from automation.model.facts import Facts
from automation.model.records import Context, Outcome, Remote

PROGRAM = Path(__file__).resolve().parents[1] / "shipped/collector"
FOLDER = "facts"
LARGEST_BYTES = 16 * 2**20
# Python runs a package out of a zip; that one is only in memory.
_BEGIN = """
import base64, os, runpy, sys
program = os.memfd_create("collector")
os.write(program, base64.b64decode(sys.stdin.read()))
sys.path.insert(0, f"/proc/self/fd/{program}")
runpy.run_module("collector", run_name="__main__")
"""


def collect(action: CollectFacts, ctx: Context) -> Outcome:
    """Collect a host's facts and keep them.

    Raises:
        AdapterError: it does not answer, the collector did not end well, or what it said are no facts.
    """
    host = action.host
    told = _run(ctx.remote(host), host, action.walk_s, ctx.timeout_s)
    facts, content = _facts(told, host, ctx.inventory.server(host).groups)
    folder = ctx.artifacts / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{host}.json.gz"
    path.write_bytes(gzip.compress(content, mtime=0))
    path.chmod(0o600)
    evidence = FactsCollected(
        host=host,
        file=f"{FOLDER}/{path.name}",
        sha256=hashlib.sha256(content).hexdigest(),
        collected_at=facts.collected_at,
        unknown=facts.unknown,
    )
    missing = f", {len(facts.unknown)} not known" if facts.unknown else ""
    return Outcome(
        changed=False, summary=f"{host}: {len(facts.sections)} sections{missing}", evidence=evidence
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


def digest_of_program() -> str:
    """Give the sha256 of the collector as it is sent."""
    return hashlib.sha256(_packed()).hexdigest()


def _run(remote: Remote, host: str, walk_s: float, timeout_s: float) -> str:
    argv = ["sudo", "-n", "nice", "-n", "10", "python3", "-I", "-S", "-c", _BEGIN, "--walk-s", f"{walk_s:g}"]
    done = remote.run(argv, stdin=base64.b64encode(_packed()).decode(), timeout_s=timeout_s)
    if done.exit_code:
        words = (done.stderr.strip().splitlines() or ["without a word"])[-1][:200]
        raise AdapterError(
            f"the collector on {host} ended with {done.exit_code}: {words}; nothing was changed"
        )
    if len(done.stdout) > LARGEST_BYTES:
        raise AdapterError(
            f"the collector on {host} said more than {LARGEST_BYTES} bytes; nothing was changed"
        )
    return done.stdout


def _facts(said: str, host: str, groups: tuple[str, ...]) -> tuple[Facts, bytes]:
    """Give the facts, and as they are kept; a text that no file can hold makes them none."""
    try:
        told: dict[str, Any] = json.loads(said)
        facts = Facts(
            subject=host,
            platform="linux",
            collected_at=datetime.fromtimestamp(told["at"], UTC),
            collector=digest_of_program(),
            shared_kernel=told["shared_kernel"],
            roles=groups,
            sections=told["sections"],
            unknown=told["unknown"],
        )
        return facts, facts.model_dump_json().encode()
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as exc:
        raise AdapterError(f"what the collector on {host} said are no facts; nothing was changed") from exc


def _packed() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(PROGRAM.glob("*.py")):
            archive.writestr(zipfile.ZipInfo(f"collector/{file.name}"), file.read_bytes())
    return packed.getvalue()
