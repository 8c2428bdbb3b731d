"""Every fault at every call of a city's life, one after another: the journals must say all that is there.

    .venv/bin/python -m bench.provider_faults --each

A city without faults tells which calls each act makes, while it looks and while it runs. Each of them meets
each fault that the simulator knows, once: one fault an act, so that a city tries up to four. After each act
what is there is counted, and held against the journals. What comes out wrong is kept with the fault that did
it, and the next city goes on; it is tried again when this is run again.
"""

import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from automation.adapters import vsphere
from automation.adapters.aws.session import forget_sessions
from automation.model.errors import AutomationError
from bench.compile import describe_machine
from bench.provider_faults import (
    ACTS,
    EVERY,
    MODES,
    RESULT,
    TRIES,
    Act,
    at_simulator,
    declare,
    go_on,
    hold,
    load_kept,
    quietly,
)
from tests.contracts.providers import City, Cloud
from tests.programs.clouds import folder

# Every mode of the simulators that a call may meet, with what a rule of it has to say beside.
OF_CALLS: Mapping[str, Mapping[str, Mapping[str, object]]] = {
    "aws": {mode: {} for mode in (*MODES["aws"], "capacity", "denied", "expired")}
    | {"latency": {"seconds": 0.2}, "skew": {"seconds": 600.0}},
    "vsphere": {mode: {} for mode in MODES["vsphere"]}
    | {"fault": {"fault": "HostCommunication"}, "latency": {"seconds": 0.2}},
}
OF_TASKS: Mapping[str, Mapping[str, object]] = {
    "slow-task": {"seconds": 0.2},
    "failed-task": {"fault": "NoDiskSpace"},
}
Moment = Literal["looking", "running"]
MOMENTS: tuple[Moment, Moment] = ("looking", "running")
COUNTED = ("cities", "milliseconds")
SHOWN = ("trials", "right", "cities", "not_met", "wrong")


class Trial(NamedTuple):
    """One fault at one call of an act, while it looks or while it runs."""

    act: Act
    moment: Moment
    call: str
    mode: str

    @property
    def place(self) -> str:
        """The call that it strikes, in words."""
        return f"{self.act}, {self.moment}: {self.call}"

    def __str__(self) -> str:
        return f"{self.place}, {self.mode}"

    def rule(self, kind: str) -> dict[str, object]:
        """Order it of the simulator, for the next such call alone."""
        more = {**OF_CALLS[kind], **OF_TASKS}[self.mode]
        if kind == "aws":
            service, _, action = self.call.partition(".")
            return {"service": service, "action": action, "mode": self.mode, "times": 1, **more}
        return {"method": self.call, "mode": self.mode, "times": 1, **more}


def each_fault(kinds: list[str], *, anew: bool) -> None:
    """Try what is not tried yet at each provider, keeping what came of every few cities."""
    for kind in kinds:
        known = {} if anew else load_kept().get("each", {}).get(kind, {})
        for found in campaign(kind, known):
            each = load_kept().get("each", {}) | {kind: found, "machine": describe_machine()}
            RESULT.write_text(json.dumps(load_kept() | {"each": each}, indent=1) + "\n")
            print(json.dumps({kind: {name: found[name] for name in SHOWN}}), flush=True)


def campaign(kind: str, known: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Take the next trial of each act into a city, until none is left; tell what came of every few.

    Some calls are made by a provider's first city alone: each of their trials has a simulator of its own.
    """
    told = Told(Counter({name: known.get(name, 0) for name in COUNTED}), _by_call(known))
    with tempfile.TemporaryDirectory() as scratch, at_simulator(kind, Path(scratch)) as cloud:
        # What runs comes first: there a fault can leave something behind.
        trials = sorted(_trials_of(cloud, Path(scratch)), key=lambda one: one.moment, reverse=True)
    left = {act: [one for one in trials if one.act == act and not told.knows(one)] for act in ACTS}
    while any(left.values()):
        with tempfile.TemporaryDirectory() as scratch, at_simulator(kind, Path(scratch)) as cloud:
            for _ in range(EVERY):  # what cities leave behind would fill a simulator up
                taken = {act: queue.pop(0) for act, queue in left.items() if queue}
                _try_at(cloud, Path(scratch), taken, told)
        yield {"trials": len(trials), **told.shown()}
    for trial in told.take_not_met():
        with tempfile.TemporaryDirectory() as scratch, at_simulator(kind, Path(scratch)) as cloud:
            _try_at(cloud, Path(scratch), {trial.act: trial}, told)
    yield {"trials": len(trials), **told.shown()}


def _try_at(cloud: Cloud, scratch: Path, taken: Mapping[Act, Trial], told: "Told") -> None:
    if not taken:
        return
    root = scratch / f"city-{told.counts['cities']}"
    root.mkdir()
    started = time.monotonic()
    with quietly():
        _try_in(City(cloud, folder(root)), taken, told)
    cloud.no_faults()
    told.counts["cities"] += 1
    told.counts["milliseconds"] += round((time.monotonic() - started) * 1000)


@dataclass
class Told:
    """What came of all trials so far."""

    counts: Counter[str]
    tried: dict[str, list[str]]  # of each call of an act: the faults that it met, and came out right
    not_met: list[Trial] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def knows(self, trial: Trial) -> bool:
        return trial.mode in self.tried.get(trial.place, ())

    def shown(self) -> dict[str, Any]:
        tried = {place: " ".join(modes) for place, modes in sorted(self.tried.items())}
        number = sum(map(len, self.tried.values()))
        not_met = [str(trial) for trial in self.not_met]
        return {"right": number, **self.counts, "not_met": not_met, "wrong": self.wrong, "tried": tried}

    def take_not_met(self) -> list[Trial]:
        taken, self.not_met = self.not_met, []
        return taken


def _by_call(known: Mapping[str, Any]) -> dict[str, list[str]]:
    return {place: modes.split() for place, modes in known.get("tried", {}).items()}


def _trials_of(cloud: Cloud, scratch: Path) -> list[Trial]:
    """Name every fault at every call that a city without faults makes."""
    root = scratch / "calls"
    root.mkdir()
    city, trials = City(cloud, folder(root)), list[Trial]()
    for act in ACTS:
        declare(city, act)
        for moment, calls in zip(MOMENTS, _calls_of(city, act), strict=True):
            trials += [
                Trial(act, moment, call, mode) for call in calls for mode in _modes_of(cloud.kind, call)
            ]
    return trials


def _calls_of(city: City, act: Act) -> tuple[list[str], list[str]]:
    """Go through an act without faults; give the calls of its look, and those of what it runs."""
    _as_a_new_command()
    seen = [city.cloud.calls()]
    with quietly():
        go_on(city, act, lambda: seen.append(city.cloud.calls()))
        seen.append(city.cloud.calls())
        while not go_on(city, act):
            pass
    before, looked, after = seen
    return _more(before, looked), _more(looked, after)


def _more(before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    return sorted(name for name, number in after.items() if number > before.get(name, 0))


def _modes_of(kind: str, call: str) -> tuple[str, ...]:
    return (*OF_CALLS[kind], *(OF_TASKS if call.endswith("_Task") else ()))


def _as_a_new_command() -> None:
    """Log out and forget what is kept for a process: each command of a person begins so."""
    vsphere.log_out()
    forget_sessions()


def _try_in(city: City, taken: Mapping[Act, Trial], told: Told) -> None:
    """Go through the acts, each under its trial's one fault; the first that comes out wrong ends it."""
    for act in ACTS:
        declare(city, act)
        _as_a_new_command()
        trial = taken.get(act)
        try:
            met = _end(city, act, trial)
            city.cloud.no_faults()
            hold(city, act, "after it")
        except Exception as exc:  # whatever it is, it is a finding, and the next city has its own trials
            told.wrong.append(f"{trial or act}: {exc if isinstance(exc, AssertionError) else repr(exc)}")
            return
        if trial and met:
            told.tried.setdefault(trial.place, []).append(trial.mode)
        elif trial:
            told.not_met.append(trial)


def _end(city: City, act: Act, trial: Trial | None) -> bool:
    """Do an act to its end under a trial's fault; whether the call was made that is to meet it."""
    orders = [trial] if trial else []
    before: dict[str, int] = {}

    def order() -> None:
        while orders:
            before.update(city.cloud.calls())
            city.cloud.faults(orders.pop().rule(city.cloud.kind))

    if trial and trial.moment == "looking":
        order()
    last = "it still had something to do"
    for _ in range(TRIES):
        try:
            if go_on(city, act, order):
                return trial is not None and trial.call in _more(before, city.cloud.calls())
        except AutomationError as exc:
            last = str(exc)
    raise AssertionError(f"it did not end in {TRIES} tries: {last}")
