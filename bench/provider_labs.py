"""Random faults while hosts of a lab are made, bounded anew and retired: the journals must say all there is.

    .venv/bin/python -m bench.provider_faults --provider nspawn --runs 200 --labs 2

Each run is a city of two hosts in a lab of its own: real containers on this machine. Before each act one to
three faults are ordered, drawn by a seed from the calls that the act makes: a call that is lost before or
after it was heard, and kill -9 of the supervisor or of the command itself, up to KILL_WITHIN_S after the call
was passed on. After each act what is there is counted past the adapter (bench/lab_counted.py), and held
against the journals. At the end the lab is taken down, and nothing of it may be left.
"""

import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from automation.adapters import nspawn
from automation.model.servers import Size
from bench.lab_commands import command_log, do_act
from bench.lab_counted import count, differences, remains_of, told
from bench.lab_faults import MODES, Faults
from bench.provider_faults import ACTS, EVERY, Act
from tests.contracts.labs import CHANGE, OTHER, SMALL, LabCity, size_of
from tests.contracts.providers import Cloud
from tests.programs.clouds import folder

NET = "10.119"
KILL_WITHIN_S = 0.3


def campaign(runs: int, seed: int, known: Counter[str], labs: int) -> Iterator[dict[str, int]]:
    """Go on to so many cities, in so many labs side by side; tell what came of every few."""
    with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(labs, get_context("fork")) as pool:
        calls = pool.submit(calls_of, Path(scratch)).result()
        while known["runs"] < runs:
            first = seed + known["runs"]
            seeds = range(first, first + min(EVERY, runs - known["runs"]))
            shares = [_Share(Path(scratch), number, seeds[number::labs], calls) for number in range(labs)]
            for counted in pool.map(cities_of, shares):
                known += counted
            yield {**known, "seed": seed, "calls": len(set().union(*calls.values()))}


class _Share(NamedTuple):
    """What is done in one place, in one lab after another."""

    scratch: Path
    number: int
    seeds: range
    calls: Mapping[Act, list[str]]


def cities_of(share: _Share) -> Counter[str]:
    """Run the cities of some seeds, one after another; count what came of them."""
    counted: Counter[str] = Counter()
    for seed in share.seeds:
        started = time.monotonic()
        with fault_city(share.scratch / f"seed-{seed}", share.number) as city:
            counted += one_city(city, random.Random(seed), share.calls, seed)
        counted["runs"] += 1
        counted["milliseconds"] += round((time.monotonic() - started) * 1000)
    return counted


def calls_of(scratch: Path) -> dict[Act, list[str]]:
    """Give the calls that each act makes in a city without faults."""
    found: dict[Act, list[str]] = {}
    with fault_city(scratch / "first", 0) as city:
        for act in ACTS:
            faults = Faults([])
            declare(city, act)
            do_act(city, act, faults)
            hold(city, act, f"after {act} without faults")
            found[act] = sorted(faults.calls)
    return found


def one_city(
    city: "FaultCity", draw: random.Random, calls: Mapping[Act, list[str]], seed: int
) -> Counter[str]:
    """Make, bound anew and retire under faults; count what was ordered, met, and is left."""
    counted: Counter[str] = Counter()
    for act in ACTS:
        declare(city, act)
        rules = [
            {"request": draw.choice(calls[act]), "mode": draw.choice(MODES)}
            for _ in range(draw.randint(1, 3))
        ]
        faults = Faults(list(rules), kill_after_s=draw.uniform(0.0, KILL_WITHIN_S))
        when = f"seed {seed}: {act} under {rules}, killed after {faults.kill_after_s:.3f} s"
        try:
            counted["commands_that_stopped"] += do_act(city, act, faults)
            hold(city, act, when)
        except AssertionError as exc:
            raise AssertionError(f"{when}: {exc}; {city.root} had: {_last_words(city.root)}") from exc
        counted["faults_ordered"] += len(rules)
        counted += Counter({f"met: {mode}": number for mode, number in faults.met.items()})
    left = count(city.state, city.name, city.site)
    things = {"servers": left.disks, "addresses": left.addresses, "snapshots": left.snapshots}
    return counted + Counter({what: len(there) for what, there in things.items()})


def declare(city: "FaultCity", act: Act) -> None:
    """Declare what an act is to bring about."""
    if act == "make":
        for last, name in enumerate((city.one, city.two), 10):
            city.declare(name, size=SMALL, address=f"{city.subnet(1)}.{last}")
    elif act == "change":
        city.declare(city.one, size=OTHER)


def hold(city: "FaultCity", act: Act, when: str) -> None:
    """Hold what the journals say against what is there, and that against what was declared."""
    there = count(city.state, city.name, city.site)
    differing = differences(there, told(city.state))
    assert not differing, f"{when}: {differing}"
    both = (city.one, city.two)
    assert there.disks == (both[:1] if act == "delete" else both), f"{when}: {there}"
    assert there.running == (both if act in ("make", "change") else both[:1]), f"{when}: {there}"
    size = size_of(f"{city.name}-{city.one}")
    assert size == Size.model_validate(SMALL if act == "make" else OTHER), f"{when}: {size}"


def _last_words(root: Path) -> str:
    return (root / "commands.log").read_text()[-2000:]


# --- a city ------------------------------------------------------------------------------------------


@dataclass
class FaultCity(LabCity):
    """A city of two hosts in a lab of its own, one of some that may be there side by side."""

    number: int = 0

    def named(self) -> str:
        return f"fault{self.number}"

    def subnet(self, third: int) -> str:
        """Give one of the 64 networks of /24 that the lab has to itself."""
        return f"{NET}.{64 * self.number + third}"

    def _environment(self) -> dict[str, object]:
        lab = {
            "id": self.name,
            "prefix": f"{self.subnet(0)}.0/18",
            "control_subnet": f"{self.subnet(0)}.0/24",
            "sites": {"here": f"{self.subnet(1)}.0/24"},
        }
        return {**super()._environment(), "lab": lab}


@contextmanager
def fault_city(root: Path, number: int) -> Iterator[FaultCity]:
    """Run a lab without hosts, and take it down; nothing of it is left."""
    root.mkdir()
    city = FaultCity(_cloud(), folder(root), number=number)
    try:
        with command_log(city.root):
            city.session().run(city.plan().plan).raise_for_status()
        yield city
    finally:
        nspawn.remove_lab(city.state, city.name)
    left = remains_of(city.state, city.name)
    assert not left, f"{city.name} was taken down, and this is left of it: {left}"


def _cloud() -> Cloud:
    def nothing(*_words: object) -> Any:
        raise AssertionError("a lab is counted and broken by other means here")

    return Cloud(
        kind="nspawn",
        provider={},
        simulator={},
        keys={},
        network={},
        size={},
        image="debian-12",
        change=CHANGE,
        census=nothing,
        size_of=size_of,
        identity_of=nothing,
        make_stranger=nothing,
        stop=nothing,
        faults=nothing,
        no_faults=nothing,
        calls=nothing,
    )
