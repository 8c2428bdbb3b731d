"""A plan as people read it: services in waves, what happens to each, who is asked, how long it takes. Pure.

A wave is drawn by what services stand on: those of one wave wait for services of earlier waves alone. It is
how a plan is drawn, not how it runs: a step starts as soon as what it needs has ended.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from automation.model.actions import Confirm
from automation.model.base import Model
from automation.model.catalog import Service
from automation.model.plan import Plan, Step
from automation.recovery.completing import kind_of
from automation.recovery.prediction import PredictedService, Prediction
from automation.recovery.spec import RecoveryPlan

# What a step is called in a line that has room for one word; what is not here only looks.
WORDS = {
    "systemd.start_unit": "start",
    "systemd.stop_unit": "stop",
    "ansible.run_playbook": "playbook",
    "people.confirm": "ask",
    "postgresql.promote": "promote!",
}


class ServiceView(Model):
    """One service of a plan, in a line."""

    service: str
    title: str
    tier: int
    wave: int
    strategy: str
    rto_s: float
    steps: int
    happens: tuple[str, ...]
    no_return: tuple[str, ...] = ()
    predicted: PredictedService | None = None


class Question(Model):
    """What a person is asked before a step, beside the checklists."""

    step: str
    role: str
    ask: str


class PlanView(Model):
    """A plan with what is known of it before it runs; `dr.plan --json` prints it."""

    plan: Plan
    title: str
    site: str
    services: tuple[ServiceView, ...]
    around: tuple[str, ...]
    rules: tuple[str, ...]
    questions: tuple[Question, ...]
    asked: int
    prediction: Prediction

    def waves(self) -> Mapping[int, tuple[ServiceView, ...]]:
        """Services of every wave, the first first, lowest tier first."""
        found: dict[int, list[ServiceView]] = {}
        for one in sorted(self.services, key=lambda one: (one.wave, one.tier, one.service)):
            found.setdefault(one.wave, []).append(one)
        return {wave: tuple(rows) for wave, rows in found.items()}


class Compiled(NamedTuple):
    """A plan, and what it was compiled from."""

    plan: Plan
    recovery: RecoveryPlan
    services: Mapping[str, Service]
    site: str


def view_plan(compiled: Compiled, prediction: Prediction) -> PlanView:
    """Sort a plan's steps by the service they are for; those for none stand around them."""
    plan, recovery, services, site = compiled
    waves = service_waves(services)
    own: dict[str, list[Step]] = {name: [] for name in services}
    for step in plan.steps:
        if step.service in own:
            own[step.service].append(step)
    rows = [_service(name, services[name], waves[name], steps, prediction) for name, steps in own.items()]
    asking = [step for step in plan.steps if step.gate]
    return PlanView(
        plan=plan,
        title=recovery.title,
        site=site,
        services=tuple(rows),
        rules=tuple(_rules(plan, recovery)),
        around=tuple(step.id for step in plan.steps if step.service not in own),
        questions=tuple(_questions(step for step in asking if not _is_of_a_checklist(step))),
        asked=len(asking),
        prediction=prediction,
    )


def service_waves(services: Mapping[str, Service]) -> dict[str, int]:
    """Number the wave of every service: one more than the latest that it depends on, from 1."""
    waves: dict[str, int] = {}

    def wave(name: str) -> int:
        if name not in waves:
            before = [wave(other) for other in services[name].depends_on if other in services]
            waves[name] = 1 + max(before, default=0)
        return waves[name]

    for name in services:
        wave(name)
    return waves


def _service(
    name: str, service: Service, wave: int, steps: Iterable[Step], prediction: Prediction
) -> ServiceView:
    steps = tuple(steps)
    return ServiceView(
        service=name,
        title=service.title,
        tier=service.tier,
        wave=wave,
        strategy=service.strategy.kind,
        rto_s=prediction.target_s(name, service.rto_s),
        steps=len(steps),
        happens=_happens(steps),
        no_return=tuple(step.id for step in steps if step.run.irreversible),
        predicted=prediction.of(name),
    )


def _happens(steps: Iterable[Step]) -> tuple[str, ...]:
    """Say in a few words what happens to a service, in order; like steps are counted together."""
    words = Counter(word for step in steps if (word := _word(step)))
    return tuple(word if count == 1 else f"{word} {count}" for word, count in words.items())


def _word(step: Step) -> str:
    if step.id.partition("/")[2].startswith("fence"):
        return "fence"
    return "names" if kind_of(step) == "names" else WORDS.get(step.run.do, "")


def _is_of_a_checklist(step: Step) -> bool:
    return isinstance(step.run, Confirm) and step.run.of != "decision"


def _rules(plan: Plan, recovery: RecoveryPlan) -> Iterator[str]:
    """What holds for a run: who signs before it starts, when it is refused, how much runs at once."""
    mode = "failover" if plan.mode == "walkthrough" else plan.mode
    if rule := recovery.rule(mode):
        own = "" if rule.requester_may_approve else "; who asks for it is none of them"
        yield f"a {mode} is signed before it starts by {' and '.join(rule.roles)}{own}"
    held = [freeze.name for freeze in recovery.freezes if mode in freeze.modes]
    exempt = [freeze.name for freeze in recovery.freezes if mode not in freeze.modes]
    if held:
        yield f"refused during: {', '.join(held)}"
    if exempt:
        yield f"drills, migrations and failbacks are refused during: {', '.join(exempt)}; a {mode} is not"
    yield f"at most {plan.limits.total} steps at once, {plan.limits.per_host} on one host"


def _questions(steps: Iterable[Step]) -> Iterable[Question]:
    for step in steps:
        assert step.gate is not None
        yield Question(step=step.id, role=step.gate.role, ask=step.gate.ask)
