"""What an independent scanner says of hosts before and after `baseline.enforce`, beside our own counts.

    ./inv lab.up --env lab && ./inv provision.converge --env lab
    .venv/bin/python -m bench.hardening --env lab --profile cis-l1

Debian's lynis is downloaded, not installed: it is unpacked here, sent to each host, run once from a folder
in /tmp that is gone afterwards. Between both scans `./inv baseline.enforce` asks at this terminal; where
somebody else enforces, `--stage before` and `--stage after` do either half. Lynis counts what it tested,
what it warns of, and hardening points; a test that gave all its points is counted as passed. Its points
know nothing of our controls, so they need not move by as much. Writes bench/results/hardening.json, without
names of packages, users or files.
"""

import argparse
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from automation.commands._session import Session, open_session
from automation.model.errors import AutomationError, ConfigError
from automation.model.records import Remote
from bench.compile import describe_machine

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "bench/results/hardening.json"
FOLDER, PACKED = "/tmp/mainstay-lynis", "/tmp/mainstay-lynis.tar.gz"
# On hosts that share a slow machine it may take minutes.
SCAN_S = 1800.0
AT_ONCE = 2
PASSED = "Hardening: assigned maximum number of hardening points"
_INDEX = re.compile(r"^(hardening_index|lynis_tests_done)=(\d+)$", re.MULTILINE)


class Scan(NamedTuple):
    """What lynis counted on one host."""

    tests: int
    passed: int
    warnings: int
    suggestions: int
    index: int


class Ours(NamedTuple):
    """What our audit counted on the same host."""

    passed: int
    failed: int
    unknown: int


class Row(NamedTuple):
    """One host at one time."""

    lynis: Scan
    ours: Ours


Counted = Mapping[str, Sequence[Sequence[int]]]  # by host, as Row or as JSON has it


def main() -> int:
    parser = argparse.ArgumentParser(description="Lynis beside our audit, before and after enforcement.")
    parser.add_argument("--env", required=True, help="the lab's environment; it must be up and converged")
    parser.add_argument("--profile", default="cis-l1")
    parser.add_argument("--hosts", default="", help="names with commas between; without it, all that stand")
    parser.add_argument("--stage", choices=("both", "before", "after"), default="both")
    asked = parser.parse_args()
    kept = json.loads(RESULT.read_text()) if asked.stage == "after" else {}
    with open_session(asked.env) as session:
        if session.environment.kind != "lab":
            raise ConfigError(f"{asked.env} is no lab; nothing was touched")
        hosts = _hosts(session, asked.hosts)
        if asked.stage != "after":
            kept = {"before": _measure(session, hosts, asked.profile)}
    if asked.stage == "both":
        kept["enforce_exit"] = _enforce(asked.env, asked.profile, hosts)
    if asked.stage != "before":
        with open_session(asked.env) as session:
            kept["after"] = _measure(session, hosts, asked.profile)
    _write(kept, asked.profile)
    print(table(kept.get("before", {}), kept.get("after", {})))
    return 0


def _hosts(session: Session, named: str) -> tuple[str, ...]:
    standing = tuple(session.inventory.standing)
    hosts = tuple(filter(None, named.split(","))) or standing
    if strangers := sorted(set(hosts) - set(standing)):
        raise ConfigError(f"{', '.join(strangers)} are no hosts of the lab; nothing was touched")
    return hosts


def _enforce(env: str, profile: str, hosts: Sequence[str]) -> int:
    """Let baseline.enforce ask at this terminal, and give its exit code."""
    words = ("--env", env, "--profile", profile, "--limit", ",".join(hosts))
    return subprocess.run([ROOT / "inv", "baseline.enforce", *words], check=False).returncode


def _write(kept: Mapping[str, object], profile: str) -> None:
    RESULT.parent.mkdir(exist_ok=True)
    told = {"profile": profile, "machine": describe_machine(), **kept}
    RESULT.write_text(json.dumps(told, indent=1) + "\n")


# --- measuring -------------------------------------------------------------------------------------


def _measure(session: Session, hosts: Sequence[str], profile: str) -> dict[str, Row]:
    """Scan hosts by lynis, then audit them, so that lynis finds them as they are left."""
    packed = pack(fetch())
    with ThreadPoolExecutor(AT_ONCE) as pool:
        scans = dict(zip(hosts, pool.map(lambda one: scan(session.remote(one), packed), hosts), strict=True))
    ours = _audit(session.environment.name, profile, hosts)
    return {host: Row(scans[host], ours[host]) for host in hosts}


def fetch() -> bytes:
    """Download Debian's package of lynis by apt, and give it; nothing is installed.

    Raises:
        AutomationError: apt has none.
    """
    with tempfile.TemporaryDirectory(prefix="mainstay-lynis-") as folder:
        argv = ["apt-get", "download", "-q", "lynis"]
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
        found = sorted(Path(folder).glob("lynis_*.deb"))
        if done.returncode or not found:
            raise AutomationError(f"no package of lynis: {done.stderr.strip()[-200:]}; nothing was scanned")
        return found[-1].read_bytes()


def pack(package: bytes) -> bytes:
    """Lay a package of lynis out as it runs from any folder, and give that as an archive."""
    with tempfile.TemporaryDirectory(prefix="mainstay-lynis-") as folder:
        whole, alone = Path(folder) / "whole", Path(folder) / "alone"
        (Path(folder) / "lynis.deb").write_bytes(package)
        subprocess.run(["dpkg-deb", "-x", Path(folder) / "lynis.deb", whole], check=True)
        shutil.copytree(whole / "usr/share/lynis", alone)
        shutil.copy(whole / "usr/sbin/lynis", alone / "lynis")
        shutil.copy(whole / "etc/lynis/default.prf", alone / "default.prf")
        (alone / "plugins").mkdir(exist_ok=True)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            archive.add(alone, ".")
        return packed.getvalue()


def scan(remote: Remote, packed: bytes) -> Scan:
    """Run lynis once on a host, and take all of it away again."""
    remote.put(PACKED, packed)
    try:
        _sudo(remote, "mkdir", "-m", "0700", FOLDER)
        _sudo(remote, "tar", "-xzf", PACKED, "-C", FOLDER, "--no-same-owner")
        argv = ("env", "-C", FOLDER, "nice", "-n", "10", "./lynis", "audit", "system", "--cronjob")
        kept = ("--report-file", f"{FOLDER}/report", "--log-file", f"{FOLDER}/log")
        _sudo(remote, *argv, "--profile", "./default.prf", *kept)
        log = _sudo(remote, "grep", "-c", PASSED, f"{FOLDER}/log")
        return read_report(_sudo(remote, "cat", f"{FOLDER}/report"), int(log))
    finally:
        remote.run(["sudo", "-n", "rm", "-rf", FOLDER, PACKED])


def _sudo(remote: Remote, *argv: str) -> str:
    done = remote.run(["sudo", "-n", *argv], timeout_s=SCAN_S)
    if done.exit_code:
        raise AutomationError(
            f"{' '.join(argv[:4])} ended with {done.exit_code}: {done.stderr.strip()[-200:]}"
        )
    return done.stdout


def read_report(text: str, passed: int) -> Scan:
    """Read what lynis wrote down.

    Raises:
        AutomationError: it did not come to its end.
    """
    found = {name: int(number) for name, number in _INDEX.findall(text)}
    if "finish=true" not in text.splitlines() or found.keys() != {"hardening_index", "lynis_tests_done"}:
        raise AutomationError("lynis did not come to its end")
    lines = text.splitlines()
    return Scan(
        tests=found["lynis_tests_done"],
        passed=passed,
        warnings=sum(line.startswith("warning[]=") for line in lines),
        suggestions=sum(line.startswith("suggestion[]=") for line in lines),
        index=found["hardening_index"],
    )


def _audit(env: str, profile: str, hosts: Sequence[str]) -> dict[str, Ours]:
    words = ("--env", env, "--profile", profile, "--limit", ",".join(hosts), "--json")
    argv = [ROOT / "inv", "baseline.audit", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3, 6):
        raise AutomationError(f"baseline.audit ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    scores = {one["subject"]: one["counts"] for one in json.loads(done.stdout)["scores"]}
    names = ("pass", "fail", "unknown")
    return {host: Ours(*(int(scores[host].get(name, 0)) for name in names)) for host in hosts}


# --- showing ---------------------------------------------------------------------------------------


def table(before: Counted, after: Counted) -> str:
    """Set both times beside each other: a line a host, and one for all that were seen at each time given."""
    heads = (*(f"lynis {name}" for name in Scan._fields), *(f"ours {name}" for name in Ours._fields))
    both = [host for host in before if host in after] or [*before, *after]
    lines = [("host", *heads)]
    lines += [(host, *_cells(_flat(before, host), _flat(after, host))) for host in {**before, **after}]
    lines.append(("all", *_cells(_whole(before, both), _whole(after, both))))
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads) + 1)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )


def _whole(counted: Counted, hosts: Sequence[str]) -> list[int]:
    """Sum up; of the hardening index that says nothing, but whether it rose."""
    return [
        sum(column) for column in zip(*(_flat(counted, one) for one in hosts if one in counted), strict=True)
    ]


def _flat(counted: Counted, host: str) -> list[int]:
    return [number for part in counted.get(host, ()) for number in part]


def _cells(before: Sequence[int], after: Sequence[int]) -> tuple[str, ...]:
    if not before or not after:
        return tuple(str(number) for number in (before or after))
    return tuple(f"{one} -> {other}" for one, other in zip(before, after, strict=True))


if __name__ == "__main__":
    sys.exit(main())
