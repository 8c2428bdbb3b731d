"""Random faults while servers are made, changed and deleted: the journals must say all that is there.

    .venv/bin/python -m bench.provider_faults --runs 200
    .venv/bin/python -m bench.provider_faults --each

Each run is a city of its own at a simulated provider: two servers with a disk are made, one is changed with
a restart, one is retired and deleted. Before each of these, one to three faults are ordered, drawn by a seed
from the calls that a run makes and the faults that the simulator knows; what stops is resumed, and planned
anew, as a person would. Afterwards what bears the city's mark is counted by other means than the adapter's,
and held against what the journals say: servers by id, disks, networks, snapshots. The first difference ends
it, with its seed. Every few runs go to bench/results/provider-faults.json, and it goes on from there.

With --each nothing is drawn, and every fault meets every call: bench/provider_each.py. With --provider nspawn
the servers are hosts of labs on this machine, and programs are killed beside: bench/provider_labs.py.
"""

import argparse
import contextlib
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from automation.commands._retiring import RetireFlags, retire
from automation.commands._servers import refuse_obstacles
from automation.model.errors import AutomationError
from automation.provisioning.compiling import Allowed
from bench.compile import describe_machine
from tests.contracts.providers import City, Cloud
from tests.programs.clouds import cloud_of_aws, cloud_of_vcenter, folder
from tests.programs.simulators import simulated_aws
from tests.programs.simulators_vcenter import simulated_vcenters

RESULT = Path(__file__).resolve().parent / "results/provider-faults.json"
MODES = {
    "aws": ("throttle", "500", "503", "drop", "applied-then-500", "applied-then-drop"),
    "vsphere": ("503", "not-authenticated", "drop", "applied-then-drop"),
}
LAB = "nspawn"  # real containers, as root: only by its name
# Of the control of the simulators and of sessions themselves; a fault there is a fault of every call.
NOT_DRAWN = ("sts.", "servicequotas.", "Login", "Logout", "RetrieveServiceContent")
TRIES = 8
EVERY = 10
Act = Literal["make", "change", "stop", "delete"]
ACTS: tuple[Act, ...] = ("make", "change", "stop", "delete")


def main() -> None:
    parser = argparse.ArgumentParser(description="Hold journals against providers under random faults.")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--provider", choices=[*sorted(MODES), LAB], action="append")
    parser.add_argument("--labs", type=int, default=1, help="so many labs side by side, up to 4")
    parser.add_argument("--anew", action="store_true", help="do not go on from what is kept")
    parser.add_argument("--each", action="store_true", help="every fault at every call, instead of some")
    args = parser.parse_args()
    if args.each:
        from bench.provider_each import each_fault

        if LAB in (args.provider or ()):
            parser.error(
                "--each knows the simulated providers; a lab meets each fault in its contract's tests"
            )
        each_fault(args.provider or sorted(MODES), anew=args.anew)
        return
    for kind in args.provider or sorted(MODES):
        known = {} if args.anew else load_kept().get(kind, {})
        if known.get("seed") != args.seed:
            known = {"seed": args.seed, "runs": 0}
        for found in _campaign_of(kind, args, Counter(known)):
            RESULT.write_text(
                json.dumps(load_kept() | {kind: found, "machine": describe_machine()}, indent=1) + "\n"
            )
            print(json.dumps({kind: found}), flush=True)


def _campaign_of(kind: str, args: argparse.Namespace, told: Counter[str]) -> Iterator[dict[str, int]]:
    if kind != LAB:
        return campaign(kind, args.runs, args.seed, told)
    from bench.provider_labs import campaign as campaign_of_labs

    return campaign_of_labs(args.runs, args.seed, told, args.labs)


def load_kept() -> dict[str, dict[str, Any]]:
    """Give the results so far."""
    found: dict[str, dict[str, Any]] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    return found


def campaign(kind: str, runs: int, seed: int, told: Counter[str]) -> Iterator[dict[str, int]]:
    """Go on to so many cities, one after another at one simulator; tell what came of every few."""
    with tempfile.TemporaryDirectory() as scratch, at_simulator(kind, Path(scratch)) as cloud:
        calls = _calls_of(cloud, Path(scratch))
        while told["runs"] < runs:
            started, number = time.monotonic(), seed + told["runs"]
            root = Path(scratch) / str(number)
            root.mkdir()
            with quietly():
                told += one_city(City(cloud, folder(root)), random.Random(number), calls, number)
            told["runs"] += 1
            told["milliseconds"] += round((time.monotonic() - started) * 1000)
            if told["runs"] % EVERY == 0 or told["runs"] == runs:
                yield {**told, "seed": seed, "calls": len(calls)}


@contextlib.contextmanager
def at_simulator(kind: str, scratch: Path) -> Iterator[Cloud]:
    """Run the simulator of one kind of provider."""
    state = scratch / "simulator"
    state.mkdir()
    if kind == "aws":
        with simulated_aws(state) as aws:
            yield cloud_of_aws(aws)
    else:
        with simulated_vcenters(state) as (hall, _):
            yield cloud_of_vcenter(hall)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Progress of hundreds of runs is read by nobody."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        yield


def _calls_of(cloud: Cloud, scratch: Path) -> list[str]:
    """Give every call that a city without faults makes."""
    before = cloud.calls()
    root = scratch / "first"
    root.mkdir()
    with quietly():
        one_city(City(cloud, folder(root)), random.Random(0), [], 0)
    after = cloud.calls()
    made = [name for name, number in after.items() if number > before.get(name, 0)]
    return sorted(name for name in made if not name.startswith(NOT_DRAWN))


def one_city(city: City, draw: random.Random, calls: list[str], seed: int) -> Counter[str]:
    """Make, change and retire under faults; count what was ordered, done and left."""
    told: Counter[str] = Counter()

    def under_faults(act: Act) -> None:
        rules = [_rule(city.cloud.kind, draw, calls) for _ in range(draw.randint(1, 3))] if calls else []
        city.cloud.faults(*rules)
        told["faults_ordered"] += len(rules)
        for _ in range(TRIES):
            try:
                if go_on(city, act):
                    break
            except AutomationError:
                told["commands_that_stopped"] += 1
        else:
            raise AssertionError(f"seed {seed}: {act} did not end in {TRIES} tries: {rules}")
        city.cloud.no_faults()
        hold(city, act, f"seed {seed}: after {act} under {rules}")

    for act in ACTS:
        declare(city, act)
        under_faults(act)
    left = city.census()
    told.update(servers=len(left.servers), disks=left.disks, snapshots=left.snapshots)
    return told


def declare(city: City, act: Act) -> None:
    """Declare what an act is to bring about."""
    if act == "make":
        for name in (city.one, city.two):
            city.declare(name, disks=[{"name": "data", "size": "1 GiB"}])
    elif act == "change":
        larger = city.cloud.change.after["size"]
        city.declare(city.one, disks=[{"name": "data", "size": "2 GiB"}], size=larger)


def hold(city: City, act: Act, when: str) -> None:
    """Hold what the journals say against what is there."""
    census, recorded = city.census(), city.recorded()
    assert census == recorded, f"{when}: {census} is there, {recorded} told"
    assert len(census.servers) == (1 if act == "delete" else 2), f"{when}: {census}"


def _rule(kind: str, draw: random.Random, calls: list[str]) -> dict[str, object]:
    call, mode, times = draw.choice(calls), draw.choice(MODES[kind]), draw.randint(1, 2)
    if kind == "aws":
        service, _, action = call.partition(".")
        return {"service": service, "action": action, "mode": mode, "times": times}
    return {"method": call, "mode": mode, "times": times}


def _nothing() -> None:
    pass


def go_on(city: City, act: Act, looked: Callable[[], None] = _nothing) -> bool:
    """Do the next thing that a person would; whether nothing is left to do.

    Args:
        looked: called after the look, before anything is run.
    """
    if act in ("make", "change"):
        wanted = city.plan(Allowed(restart=frozenset({city.one})))
        looked()
        refuse_obstacles(wanted)
        if wanted.plan.steps:
            city.run_patiently(wanted.plan)
        return not (wanted.plan.steps or wanted.unseen)
    gone = city.two in {one.name for one in city.plan().decisions if one.verdict == "create"}
    around = city.look()
    stopped = city.two in around.past.leaves
    if (act == "stop" and stopped) or (act == "delete" and gone):
        return True
    _finish_last(city)
    flags = RetireFlags(host=city.two, unsaved=True, grace_days=0)
    with contextlib.suppress(AutomationError):
        around = city.look()
        looked()
        retire(city.session(), around, flags)
    _finish_last(city)
    return False


def _finish_last(city: City) -> None:
    """Go on with the last run, and say yes where it asks."""
    run = city.runs()[-1]
    plan = (city.state / "runs" / run / "plan.json").read_text()
    gate = f"delete/{city.two}"
    with contextlib.suppress(AutomationError):
        if f'"id": "{gate}"' in plan:
            city.say_yes(run, gate)
        else:
            city.session().resume(run)


if __name__ == "__main__":
    main()
