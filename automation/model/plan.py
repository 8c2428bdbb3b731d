"""A plan: compiled steps of one run, identified by a digest of their content."""

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Literal

from pydantic import Field, model_validator

from automation.model.actions import Action
from automation.model.approvals import ApprovalRule
from automation.model.base import Model

PLAN_FORMAT = 3

Mode = Literal[
    "apply",
    "exercise",
    "tabletop",
    "walkthrough",
    "readiness",
    "test-failover",
    "planned-migration",
    "failover",
    "failback",
]
OnFailure = Literal["pause", "halt", "continue"]


class Gate(Model):
    """A question that a person must answer with yes before a step starts."""

    role: str = Field(description="who answers")
    ask: str = Field(description="the question, to be answered with yes")


class Limits(Model):
    """How many steps may run at the same time; nothing else holds a ready step back."""

    total: int = Field(default=32, ge=1, description="steps at the same time, in all")
    per_host: int = Field(default=4, ge=1, description="steps at the same time, on one host")
    per_provider: Mapping[str, int] = Field(
        default_factory=dict, description="nspawn, aws, or of one site alone aws@east: its own limit"
    )


class Step(Model):
    """The smallest thing that is journalled: one action, its reason and its order."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9./-]*$")
    run: Action
    why: str
    service: str | None = None
    needs: tuple[str, ...] = Field(default=(), description="must be in the plan and have succeeded")
    after: tuple[str, ...] = Field(default=(), description="order only: must have ended")
    timeout_s: float = Field(default=60.0, gt=0, description="of all attempts together")
    on_failure: OnFailure = "pause"
    undo: Action | None = Field(default=None, description="takes the step back, on run.abort --undo")
    gate: Gate | None = None
    retries: int = Field(default=0, ge=0, le=10, description="of transient errors alone, with backoff")
    cleanup: bool = Field(default=False, description="also runs when the run is aborted, in reverse order")


class Plan(Model):
    """Steps of one run in one mode; what is approved and run is the digest."""

    format: int = PLAN_FORMAT
    name: str
    environment: str
    mode: Mode
    steps: tuple[Step, ...]
    limits: Limits = Limits()
    tiers: Mapping[str, int] = Field(
        default_factory=dict, description="service to how urgent it is, 0 first; others come last"
    )
    approvals: ApprovalRule | None = Field(default=None, description="who must sign before it starts")

    @model_validator(mode="after")
    def _is_a_graph(self) -> "Plan":
        ids = [step.id for step in self.steps]
        twice = {name for name in ids if ids.count(name) > 1} if len(set(ids)) != len(ids) else set()
        if twice:
            raise ValueError(f"step ids stand twice: {', '.join(sorted(twice))}")
        if len({name.replace("/", "-") for name in ids}) != len(ids):
            raise ValueError(
                "two step ids differ in nothing but slash and dash: their units would share a name"
            )
        known = set(ids)
        for name, before in self.waits_for.items():
            if missing := before - known:
                raise ValueError(f"step {name} waits for {', '.join(sorted(missing))}, not in the plan")
        if not _can_all_start(self.waits_for):
            try:
                TopologicalSorter(self.waits_for).prepare()
            except CycleError as exc:
                raise ValueError(f"steps wait for each other: {' -> '.join(exc.args[1])}") from None
        return self

    @cached_property
    def digest(self) -> str:
        """sha256 of the plan's canonical JSON."""
        return plan_digest(self.model_dump(mode="json"))

    @cached_property
    def waits_for(self) -> Mapping[str, frozenset[str]]:
        """Every step id with the ids that must have ended before it."""
        return {step.id: frozenset({*step.needs, *step.after}) for step in self.steps}

    @cached_property
    def by_id(self) -> Mapping[str, Step]:
        """Every step by its id, in plan order."""
        return {step.id: step for step in self.steps}

    def step(self, step_id: str) -> Step:
        return self.by_id[step_id]

    def stands_on(self, step_id: str) -> frozenset[str]:
        """Ids of every step that a step needs, directly or not."""
        found: set[str] = set()
        open_ = list(self.by_id[step_id].needs)
        while open_:
            name = open_.pop()
            if name not in found:
                found.add(name)
                open_ += self.by_id[name].needs
        return frozenset(found)

    def waves(self) -> tuple[tuple[Step, ...], ...]:
        """Steps that could start together, in order: how a plan is drawn, not how it runs."""
        sorter = TopologicalSorter(self.waits_for)
        sorter.prepare()
        waves = []
        while sorter.is_active():
            ready = sorter.get_ready()
            waves.append(tuple(self.by_id[name] for name in sorted(ready)))
            sorter.done(*ready)
        return tuple(waves)


def _can_all_start(waits_for: Mapping[str, frozenset[str]]) -> bool:
    """Say whether no steps wait for each other; quicker than naming a cycle, which hardly any plan has."""
    followers: dict[str, list[str]] = {name: [] for name in waits_for}
    open_ = {name: len(before) for name, before in waits_for.items()}
    for name, before in waits_for.items():
        for other in before:
            followers[other].append(name)
    ready = [name for name, count in open_.items() if not count]
    for name in ready:  # grows while it is read
        for follower in followers[name]:
            open_[follower] -= 1
            if not open_[follower]:
                ready.append(follower)
    return len(ready) == len(open_)


def plan_digest(words: object) -> str:
    """sha256 of a plan's canonical JSON, of whatever version, as it was read from `plan.json`."""
    content = json.dumps(words, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()
