"""What a large catalog costs: reading it, checking it, compiling the failover of all that stands at a site.

    .venv/bin/python -m bench.compile --services 2000,10000

Makes a city of so many services (seeded, in several files, tiers and dependencies as a city's are) and takes
the time of each part apart, in CPU seconds of one process, each round in a new process. Prints the median of
all rounds, the least and the most, and writes them to bench/results/compile.json. Memory is the largest
resident size that the kernel saw (ru_maxrss), after the imports alone, after loading, at the end.
"""

import argparse
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automation.model.catalog import Catalog
    from automation.model.environment import Server
    from automation.model.observations import PostgresqlCluster

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "bench/results/compile.json"
DEPARTMENTS = (
    "finance",
    "people",
    "works",
    "assets",
    "gis",
    "utilities",
    "safety",
    "courts",
    "library",
    "web",
)
ENVIRONMENT = """\
kind: lab
inventory: [hosts.yml]
automation_user: ops
witness: {host: client-1}
dns: {zone: city.example, key_name: mainstay, key: {file: secrets/tsig_key}}
lab:
  id: bench
  prefix: 10.0.0.0/8
  control_subnet: 10.0.0.0/24
  sites: {hall: 10.1.0.0/16, eoc: 10.2.0.0/16}
"""
BEGIN = """\
sites:
  hall: {title: City Hall, dns_server: dns-hall}
  eoc: {title: Operations centre, dns_server: dns-eoc}
services: {}
"""


# --- the city --------------------------------------------------------------------------------------


def write_city(folder: Path, count: int, seed: int) -> None:
    """Write environment.yml, services.yml and services/*.yml of a city with so many services."""
    chance = random.Random(seed)
    (folder / "environment.yml").write_text(ENVIRONMENT)
    (folder / "services.yml").write_text(BEGIN)
    (folder / "services").mkdir()
    known: dict[str, list[str]] = {"base": [], "database": [], "application": []}
    files = {name: ["services:\n"] for name in ("infrastructure", *DEPARTMENTS)}
    for number in range(count):
        layer = choose_layer(number, count)
        department = "infrastructure" if layer == "base" else chance.choice(DEPARTMENTS)
        name = f"{department}-{layer}-{number}"
        files[department].append(write_service(name, layer, department, known, chance))
        known.get(layer, []).append(name)
    for department, texts in files.items():
        (folder / f"services/{department}.yml").write_text("".join(texts))


def choose_layer(number: int, count: int) -> str:
    """In a hundred services: 3 that all stand on, 22 databases, 60 applications, 15 portals on top."""
    share = number / count
    bounds = (("base", 0.03), ("database", 0.25), ("application", 0.85))
    return next((layer for layer, bound in bounds if share < bound), "portal")


def write_service(
    name: str, layer: str, department: str, known: dict[str, list[str]], chance: random.Random
) -> str:
    tier, rto = {
        "base": (0, "10 min"),
        "database": (1, "30 min"),
        "application": (chance.choice((2, 3)), "4 h"),
        "portal": (chance.choice((3, 4)), "8 h"),
    }[layer]
    needs = {
        "base": [],
        "database": pick(known["base"], 1, chance),
        "application": pick(known["base"], 1, chance)
        + pick(known["database"], chance.choice((1, 1, 2)), chance),
        "portal": pick(known["application"], chance.choice((2, 3, 4)), chance),
    }[layer]
    return f"""\
  {name}:
    title: {department.title()} {layer}, as people call it
    owner: {department}-systems
    tier: {tier}
    rto: {rto}
    rpo: 5 min
    mtd: 2 d
    wrt: 2 h
    primary: hall
    recovery: eoc
    depends_on: [{", ".join(needs)}]
    contacts:
      - {{role: {department}-on-call, reach: duty phone 555-0100}}
      - {{role: {department}-lead, reach: "contact sheet, page 2"}}
    controls: ["NIST-800-53:CP-4", "NIST-800-53:CP-10"]
    endpoints:
      main: {{name: {name}.city.example, port: 443}}
    probes:
      seen: {{kind: tcp, endpoint: main}}
    strategy:
{write_strategy(name, layer, chance)}"""


def pick(names: list[str], count: int, chance: random.Random) -> list[str]:
    return chance.sample(names, min(count, len(names)))


def write_strategy(name: str, layer: str, chance: random.Random) -> str:
    hosts = f"{{hall: {name}-a, eoc: {name}-b}}"
    if layer == "database":
        cluster = f"      cluster: 15/main\n      hosts: {hosts}\n      max_lag: 16 MiB\n"
        return f"      kind: postgresql-standby\n{cluster}"
    kind = chance.choices(("redeploy", "playbooks", "manual", "vendor"), (75, 15, 5, 5))[0]
    if kind == "redeploy":
        return f"      kind: redeploy\n      unit: {layer}.service\n      hosts: {hosts}\n"
    if kind == "playbooks":
        lists = f"{{hall: [{name}-a], eoc: [{name}-b]}}"
        verbs = "".join(f"      {verb}: playbooks/{verb}.yml\n" for verb in ("fence", "recover", "verify"))
        return f"      kind: playbooks\n      hosts: {lists}\n{verbs}"
    if kind == "manual":
        lines = "".join(
            f"        - {{do: do line {n} of it, expect: it is done, takes: 10 min}}\n" for n in range(5)
        )
        return f"      kind: manual\n      sign_off: duty-officer\n      checklist:\n{lines}"
    return (
        "      kind: vendor\n      vendor: A vendor\n      accepted_by: chief-information-officer\n"
        "      accepted_risk: people work on paper until the vendor is back\n      review_by: 2099-01-01\n"
    )


# --- one round, in a process of its own -------------------------------------------------------------


def take_round(folder: Path) -> dict[str, float]:
    """Load, check, compile and read back the plan; give CPU seconds of each part, and memory in MiB."""
    from automation.model.catalog import load_catalog
    from automation.model.catalog_checks import Declared, check_catalog, check_hosts
    from automation.model.environment import Environment, Inventory
    from automation.model.loading import load_model
    from automation.recovery.failover import compile_failover, compile_walkthrough
    from automation.recovery.lint import Facts, lint_recovery
    from automation.recovery.planner import City
    from automation.recovery.spec import Failover, RecoveryPlan

    took: dict[str, float] = {}
    memory = {"memory_imported_mib": peak_mib()}

    def timed(part: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = work()
        took[part] = time.process_time() - began
        return result

    environment = load_model(folder / "environment.yml", Environment, name="bench", folder=folder)
    recovery = RecoveryPlan.model_validate({"title": "all", "services": "all", "checks": ["drtests/checks"]})
    catalog = timed("load", lambda: load_catalog(folder / "services.yml"))
    memory["memory_loaded_mib"] = peak_mib()
    inventory = Inventory(servers=make_servers(catalog))
    declared = Declared(tuple(catalog.sites), tuple(catalog.services))

    def check() -> list[object]:
        found: list[object] = list(check_catalog(catalog.services, declared))
        return found + list(check_hosts(catalog.sites, catalog.services, inventory))

    assert timed("lint_catalog", check) == []
    city = City(environment, inventory, catalog, make_clusters(catalog))
    asked = Failover(plan="all", site="hall", title="bench", declaration="bench")
    plan = timed("compile", lambda: compile_failover(asked, recovery, city))
    timed("digest", lambda: plan.digest)
    timed("waves", plan.waves)
    timed("walkthrough", lambda: compile_walkthrough("all", recovery, city, "hall"))
    facts = Facts(exists=lambda path: True, verified=lambda address: True, today=date(2026, 1, 1))
    findings = timed("lint_plan", lambda: lint_recovery("all", recovery, city, facts))
    assert [one for one in findings if one.severity == "error"] == []
    memory["memory_end_mib"] = peak_mib()
    size = sum(path.stat().st_size for path in folder.rglob("*.yml"))
    return {**took, **memory, "steps": len(plan.steps), "yaml_mib": size / 2**20}


def make_servers(catalog: "Catalog") -> dict[str, "Server"]:
    """Every host that the catalog names, at the site where it names it."""
    from automation.model.environment import Server

    names = {site.dns_server: name for name, site in catalog.sites.items()} | {"client-1": ""}
    for service in catalog.services.values():
        names |= {host: site for site in catalog.sites for host in service.hosts_at(site)}
    return {
        host: Server(
            name=host, address=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", site=site, provider="nspawn"
        )
        for n, (host, site) in enumerate(names.items(), start=1)
    }


def make_clusters(catalog: "Catalog") -> dict[str, "PostgresqlCluster"]:
    """A standby for every database, as if it had been observed."""
    from automation.model.catalog import PostgresqlStandby
    from automation.model.observations import PostgresqlCluster

    hosts = [
        service.strategy.hosts["eoc"]
        for service in catalog.services.values()
        if isinstance(service.strategy, PostgresqlStandby)
    ]
    return {
        host: PostgresqlCluster(
            host=host, system_identifier="7301447712345678901", timeline=1, in_recovery=True
        )
        for host in hosts
    }


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# --- all rounds ------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description="What a large catalog costs to load, check and compile.")
    parser.add_argument("--services", default="2000,10000", help="numbers of services, comma between")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--to", type=Path, default=RESULT)
    parser.add_argument("--round-in", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.round_in:
        print(json.dumps(take_round(asked.round_in)))
        return
    sizes = [measure(int(count), asked.rounds, asked.seed) for count in asked.services.split(",")]
    asked.to.write_text(
        json.dumps({**describe_machine(), "seed": asked.seed, "sizes": sizes}, indent=1) + "\n"
    )


def measure(count: int, rounds: int, seed: int) -> dict[str, object]:
    """Take all rounds of one size, print a row a part."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_city(folder, count, seed)
        taken = [run_round(folder) for _ in range(rounds)]
    parts = {
        part: {"median": statistics.median(each), "least": min(each), "most": max(each)}
        for part, each in ((part, [round(one[part], 4) for one in taken]) for part in taken[0])
    }
    print(f"{count} services, {rounds} rounds; CPU seconds, memory in MiB: median (least to most)")
    for part, each in parts.items():
        print(f"  {part:20} {each['median']:10.3f}  ({each['least']:.3f} to {each['most']:.3f})")
    return {"services": count, "rounds": rounds, "parts": parts}


def run_round(folder: Path) -> dict[str, float]:
    argv = [sys.executable, "-m", "bench.compile", "--round-in", str(folder)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def describe_machine() -> dict[str, object]:
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "commit": git.stdout.strip(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu[0].partition(": ")[2] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
        "clock": "time.process_time of one process: CPU seconds, whatever else the machine does",
    }


if __name__ == "__main__":
    main()
