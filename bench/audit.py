"""What an audit of hosts costs beside `ansible-playbook --check` of the same settings, in one run.

    .venv/bin/python -m bench.audit --hosts 4 --many 50

Hosts are sshds on 127.0.0.1 over a copy of the lab's image in memory (bench/audit_hosts.py): nothing of this
machine changes. In turn, `--times` each: `./inv baseline.audit` as people type it, with all Linux controls,
its walk over the disks cut at once (a daily audit) and as long as it takes; `ansible-playbook --check` of
bench/audit.yml, with a task for each setting that our Linux controls would change; and oscap, where it and
content for Debian are installed (bench/audit_scanner.py). CPU seconds are those of the controller with all
that it started, and of all processes of the hosts: they count alike whatever else the
machine does. Then the wall time of audits of `--many` hosts, and their CPU seconds by the number of cores,
which is the least that it can be. Writes bench/results/audit.json.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from automation.adapters.nspawn.image import build, root_of
from automation.commands._controls import load_controls
from automation.model.environment import state_root
from bench.audit_hosts import Hosts, hosts
from bench.audit_scanner import Scanner, find_scanner, release_of, results, scan
from bench.compile import describe_machine

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "bench/results/audit.json"
PLAY = ROOT / "bench/audit.yml"
PARTS = ("automation", "playbooks", "templates", "drtests")
FILES = ("tasks.py", "inv", "ansible.cfg")
AUDIT = (
    "import sys; sys.path.insert(0, sys.argv.pop(1))\nfrom automation.commands._program import main\nmain()\n"
)
ENVIRONMENT = """\
kind: production
inventory: [hosts.json]
automation_user: root
ssh: {{key_file: {key}, known_hosts: {known_hosts}}}
control_nodes: []
witness: {{host: host-01}}
dns: {{zone: city.example, key_name: mainstay, key: {{file: secrets/tsig_key}}}}
"""


class Cost(NamedTuple):
    """What one run took."""

    wall_s: float
    controller_s: float
    hosts_s: float

    @property
    def cpu_s(self) -> float:
        return self.controller_s + self.hosts_s


Method = Callable[[Hosts, Path], Cost]


def main() -> None:
    parser = argparse.ArgumentParser(description="An audit beside a playbook that only checks.")
    parser.add_argument(
        "--hosts", type=int, default=4, help="beside the playbook; 0: as it was measured last"
    )
    parser.add_argument("--many", type=int, default=50, help="of the audit's wall time")
    parser.add_argument("--times", type=int, default=3)
    args = parser.parse_args()
    images = state_root() / "images"
    build(images, "debian-12", lambda line: print(line, file=sys.stderr))
    with tempfile.TemporaryDirectory(prefix="audit-") as name:
        few = _few(root_of(images, "debian-12"), Path(name), args.hosts, args.times) if args.hosts else {}
        many = _many(root_of(images, "debian-12"), Path(name), args.many, 2 * args.times - 1)
    kept = json.loads(RESULT.read_text()) if RESULT.exists() and not few else {}
    found = {
        **kept,
        "machine": {**describe_machine(), "clock": "CPU seconds of processes; wall seconds where it says so"},
        "controls": sum(one.platform == "linux" for one in load_controls().values()),
        "settings_of_the_play": PLAY.read_text().count("- name: ") - 1,
        **few,
        **many,
    }
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def _few(image: Path, scratch: Path, count: int, times: int) -> dict[str, object]:
    """Measure all methods in turn on the same hosts."""
    scanner = find_scanner()
    beside = ByScanner(scanner) if isinstance(scanner, Scanner) else None
    methods = {**METHODS, **({"oscap": beside} if beside else {})}
    took: dict[str, list[Cost]] = {name: [] for name in methods}
    with _standing(image, scratch / "few", count) as (up, folder):
        methods["audit"](up, folder)  # what is only read from a disk the first time counts for nobody
        for number in range(times):
            for name, method in methods.items():
                took[name].append(method(up, folder))
                print(f"round {number + 1} {name:18} {took[name][-1]}", file=sys.stderr, flush=True)
    play = _median(took["ansible --check"])
    return {
        "beside_the_playbook_at": describe_machine()["at"],
        "hosts": count,
        "methods": {name: _told(costs, count, play) for name, costs in took.items()},
        "scanner": beside.told if beside else scanner,
    }


def _many(image: Path, scratch: Path, count: int, times: int) -> dict[str, object]:
    """Measure the audit alone on many hosts."""
    took, load = [], []
    with _standing(image, scratch / "many", count) as (up, folder):
        for number in range(times):
            load.append(round(os.getloadavg()[0], 1))
            took.append(METHODS["audit"](up, folder))
            print(f"{count} hosts, {number + 1}: {took[-1]}", file=sys.stderr, flush=True)
    middle = _median(took)
    return {
        f"audit_of_{count}_hosts": {
            "wall_s": round(statistics.median(one.wall_s for one in took), 2),
            "every_wall_s": [round(one.wall_s, 2) for one in took],
            "load_average_before_each": load,
            "cpu_s": round(middle.cpu_s, 2),
            "controller_cpu_s": round(middle.controller_s, 2),
            "cpu_s_by_cores": round(middle.cpu_s / (os.cpu_count() or 1), 2),
        }
    }


def _median(costs: list[Cost]) -> Cost:
    return sorted(costs, key=lambda one: one.cpu_s)[len(costs) // 2]


def _told(costs: list[Cost], count: int, play: Cost) -> Mapping[str, float]:
    middle = _median(costs)
    return {
        "cpu_s_a_host": round(middle.cpu_s / count, 3),
        "controller_cpu_s_a_host": round(middle.controller_s / count, 3),
        "hosts_cpu_s_a_host": round(middle.hosts_s / count, 3),
        "wall_s": round(statistics.median(one.wall_s for one in costs), 2),
        "play_costs_times_as_much": round(play.cpu_s / middle.cpu_s, 1),
    }


# --- the methods -----------------------------------------------------------------------------------


def by_audit(up: Hosts, folder: Path) -> Cost:
    return _audit(up, folder, walk="1 ms")


def by_audit_with_walk(up: Hosts, folder: Path) -> Cost:
    return _audit(up, folder, walk="10 min")


def by_playbook(up: Hosts, folder: Path) -> Cost:
    argv = [Path(sys.executable).with_name("ansible-playbook"), "--check", "-i", _inventory(folder), PLAY]
    trusted = f"-o UserKnownHostsFile={up.known_hosts} -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
    kept = f"-F none -o ControlMaster=auto -o ControlPersist=60s -i {up.key} {trusted}"
    environ = {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_SSH_ARGS": kept,
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "mux"),
    }
    cost, said = _measured(up, folder, [str(word) for word in argv], environ)
    recap = [line for line in said.splitlines() if "unreachable=" in line]
    well = [line for line in recap if "unreachable=0" in line and "failed=0" in line]
    assert len(recap) == len(well) == len(up.ports), said[-3000:]
    return cost


class ByScanner:
    """oscap on every host in turn, and what it judged there."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self.told: dict[str, object] = {}

    def __call__(self, up: Hosts, folder: Path) -> Cost:
        cost, said = _measured(up, folder, scan(self._scanner, up, folder), {})
        fits = self._scanner.made_for == release_of(up.root())
        taken = "" if fits else f"; its line that asks for Debian {self._scanner.made_for} is taken out"
        self.told = {
            "version": f"oscap {self._scanner.version}",
            "content": f"{self._scanner.content.name}{taken}",
            "rules_a_host": results(said, len(up.ports)),
        }
        return cost


METHODS: Mapping[str, Method] = {
    "audit": by_audit,
    "audit, whole walk": by_audit_with_walk,
    "ansible --check": by_playbook,
}


def _audit(up: Hosts, folder: Path, walk: str) -> Cost:
    checkout = folder / "checkout"
    (_inventory(folder).parent / "baseline.yml").write_text(f"profile: cis-l1\nwalk: {walk}\n")
    argv = [sys.executable, "-c", AUDIT, str(checkout), "baseline.audit", "--env", "bench", "--json"]
    cost, said = _measured(up, folder, argv, {"MAINSTAY_STATE": str(folder / "state")})
    told = json.loads(said)
    judged = [one["subject"] for one in told["assessments"]]
    assert sorted(judged) == sorted(up.names()), told["not_collected"]
    assert all(len(one["verdicts"]) > 50 for one in told["assessments"])
    return cost


def _measured(up: Hosts, folder: Path, argv: list[str], environ: Mapping[str, str]) -> tuple[Cost, str]:
    result, before = folder / "cost.json", up.cpu_s()
    done = subprocess.run(
        [sys.executable, "-m", "bench.cpu_of", str(result), *argv],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(result.read_text())
    assert told["exit_code"] in (0, 3, 6), done.stderr[-3000:]
    return Cost(told["wall_s"], told["cpu_s"], up.cpu_s() - before), done.stdout


@contextmanager
def _standing(image: Path, folder: Path, count: int) -> Iterator[tuple[Hosts, Path]]:
    """Start hosts, and make an environment of them in a checkout that nobody edits meanwhile."""
    (folder / "hosts").mkdir(parents=True)
    for part in PARTS:
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / part, folder / "checkout" / part, ignore=skipped)
    for file in FILES:
        shutil.copy(ROOT / file, folder / "checkout")
    with hosts(image, folder / "hosts", count) as up:
        inventory = _inventory(folder)
        inventory.parent.mkdir(parents=True)
        (inventory.parent / "environment.yml").write_text(
            ENVIRONMENT.format(key=up.key, known_hosts=up.known_hosts)
        )
        about = {
            name: {"ansible_host": "127.0.0.1", "ansible_port": port, "ansible_user": "root"}
            for name, port in zip(up.names(), up.ports, strict=True)
        }
        where = {"ansible_python_interpreter": "/usr/bin/python3", "server_site": "here"}
        inventory.write_text(json.dumps({"all": {"hosts": about, "vars": where}}))
        (folder / "state").mkdir(mode=0o700)
        yield up, folder


def _inventory(folder: Path) -> Path:
    return folder / "checkout/inventories/bench/hosts.json"


if __name__ == "__main__":
    main()
