"""Facts of hosts: the collector is sent over the host's connection, runs once from memory, and is gone.

One program, one connection, one answer for all controls; nothing is written on the host.
"""

import base64
import hashlib
import io
import json
import marshal
import re
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from importlib.util import MAGIC_NUMBER, source_hash
from pathlib import Path
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import JsonValue

from automation.model.actions import CollectFacts, ExpectFacts
from automation.model.errors import AdapterError
from automation.model.facts import Facts
from automation.model.host_settings import CHANGES
from automation.model.kept_facts import keep_facts
from automation.model.records import Context, Outcome, Remote

PROGRAM = Path(__file__).resolve().parents[1] / "shipped/collector"
LARGEST_BYTES = 16 * 2**20
_SHOWN = 120
_MOST_TOLD = 5
_NO_FACTS = "what the collector on {} said are no facts; nothing was changed"
# Python runs a package out of a zip; that one is only in memory.
_BEGIN = """
import binascii, os, sys
program = os.memfd_create("collector")
os.write(program, binascii.a2b_base64(sys.stdin.buffer.read()))
sys.path.insert(0, f"/proc/self/fd/{program}")
from collector.__main__ import main
main()
"""


def collect(action: CollectFacts, ctx: Context) -> Outcome:
    """Collect a host's facts and keep them.

    Raises:
        AdapterError: it does not answer, the collector did not end well, or what it said are no facts.
    """
    host = action.host
    facts = _collected(host, action.walk_s, ctx)
    evidence = keep_facts(facts, ctx.artifacts)
    missing = f", {len(facts.unknown)} not known" if facts.unknown else ""
    return Outcome(
        changed=False, summary=f"{host}: {len(facts.sections)} sections{missing}", evidence=evidence
    )


def expect(action: ExpectFacts, ctx: Context) -> Outcome:
    """See that what a plan was made from is still so on a host; keeps nothing.

    Raises:
        AdapterError: a fact moved or is not known any more, or as `collect` says.
    """
    facts = _collected(action.host, action.walk_s, ctx)
    moved = list(_moved(action.expected, facts))
    if moved:
        more = f"; and {len(moved) - _MOST_TOLD} more" if len(moved) > _MOST_TOLD else ""
        words = f"{action.host} is not what its plan was made from: {'; '.join(moved[:_MOST_TOLD])}{more}"
        again = f"./inv baseline.plan --env {ctx.environment.name} --limit {action.host}"
        if _has_begun(action.host, ctx):
            raise AdapterError(
                f"{words}; change {ctx.run_id} was begun there before, and this may be what it did",
                hint=f"./inv baseline.undo --env {ctx.environment.name} --change {ctx.run_id}; then {again}",
            )
        raise AdapterError(f"{words}; nothing was changed", hint=f"plan it again: {again}")
    return Outcome(changed=False, summary=f"{action.host}: {len(action.expected)} facts are still so")


def _has_begun(host: str, ctx: Context) -> bool:
    """Whether this run came to change a host before: it was cut short, and goes on."""
    argv = ["sudo", "-n", "test", "-e", f"{CHANGES}/{ctx.run_id}"]
    return not ctx.remote(host).run(argv).exit_code


def _collected(host: str, walk_s: float, ctx: Context) -> Facts:
    told = _run(ctx.remote(host), host, walk_s, ctx.timeout_s)
    return _facts(told, host, ctx.inventory.server(host).groups)


def _moved(expected: Mapping[str, JsonValue], facts: Facts) -> Iterator[str]:
    """Say in words which facts are not as expected."""
    tree = facts.tree()
    for fact, before in expected.items():
        lost = [name for name in facts.unknown if re.search(rf"(?<![\w.]){re.escape(name)}\b", fact)]
        if lost:
            why = _shown(facts.unknown[lost[0]])
            yield f"{_shown(fact)} was {_shown(before)} and is not known: {why}"
            continue
        try:
            now: JsonValue = jmespath.search(fact, tree)
        except (JMESPathError, ArithmeticError, RecursionError, TypeError) as exc:
            yield f"{_shown(fact)} was {_shown(before)} and cannot be asked: {_shown(str(exc))}"
            continue
        if json.dumps(now, sort_keys=True) != json.dumps(before, sort_keys=True):
            yield f"{_shown(fact)} was {_shown(before)} and is {_shown(now)}"


def _shown(value: JsonValue) -> str:
    """Give a fact in a line, without signs that a terminal would act on."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    clean = "".join(sign if sign.isprintable() else "?" for sign in text[: _SHOWN + 1])
    return clean if len(clean) <= _SHOWN else f"{clean[:_SHOWN]}..."


def digest_of_program() -> str:
    """Give the sha256 of the collector as it is sent."""
    return hashlib.sha256(_packed()).hexdigest()


def _run(remote: Remote, host: str, walk_s: float, timeout_s: float) -> str:
    argv = ["sudo", "-n", "nice", "-n", "10", "python3", "-I", "-S", "-c", _BEGIN, "--walk-s", f"{walk_s:g}"]
    done = remote.run(argv, stdin=base64.b64encode(_packed(compiled=True)).decode(), timeout_s=timeout_s)
    if done.exit_code:
        words = _shown((done.stderr.strip().splitlines() or ["without a word"])[-1])
        raise AdapterError(
            f"the collector on {host} ended with {done.exit_code}: {words}; nothing was changed"
        )
    if len(done.stdout) > LARGEST_BYTES:
        raise AdapterError(
            f"the collector on {host} said more than {LARGEST_BYTES} bytes; nothing was changed"
        )
    return done.stdout


def _facts(said: str, host: str, groups: tuple[str, ...]) -> Facts:
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
        facts.model_dump_json().encode()  # what no file can hold
        return facts
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as exc:
        raise AdapterError(_NO_FACTS.format(host)) from exc


@lru_cache(maxsize=2)
def _packed(*, compiled: bool = False) -> bytes:
    """Pack the program; with `compiled`, a Python like ours need not compile it, and another still can."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for file in sorted(PROGRAM.glob("*.py")):
            _add(archive, file.name, file.read_bytes())
            if compiled:
                _add(archive, f"{file.name}c", _compiled(file))
    return packed.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(f"collector/{name}"), content, compress_type=zipfile.ZIP_DEFLATED)


def _compiled(file: Path) -> bytes:
    """Give a file's byte code as an import takes it: of another version of Python's it is passed over."""
    source = file.read_bytes()
    code = compile(source, f"collector/{file.name}", "exec", dont_inherit=True)
    unchecked = (1).to_bytes(4, "little")  # PEP 552: by hash, which nobody compares
    return MAGIC_NUMBER + unchecked + source_hash(source) + marshal.dumps(code)
