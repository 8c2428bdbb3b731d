"""A plan for the day when Mainstay itself is down: who, what, by hand, in which order. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from graphlib import TopologicalSorter
from itertools import groupby

from automation.model.base import Model
from automation.model.catalog import Service
from automation.model.plan import Plan, Step
from automation.recovery.by_hand import Around, by_hand
from automation.recovery.report_words import format_target
from automation.recovery.spec import RecoveryPlan


class Line(Model):
    """One step by hand: a number, a box, commands, what is seen, who did it."""

    number: int
    step: str
    why: str
    commands: tuple[str, ...]
    note: str
    expect: str
    waits_for: tuple[int, ...]
    gate: str = ""
    no_return: bool = False


class Part(Model):
    """The steps of one service, or those that no service has, in order."""

    service: str
    title: str
    about: tuple[str, ...]
    contacts: tuple[str, ...]
    lines: tuple[Line, ...]


class Person(Model):
    """A role that the runbook needs, and what for."""

    role: str
    what: str


class Runbook(Model):
    """All that is printed."""

    title: str
    plan: str
    site: str
    environment: str
    digest: str
    made_at: datetime
    people: tuple[Person, ...]
    parts: tuple[Part, ...]
    steps: int


def make_runbook(
    plan: Plan,
    recovery: RecoveryPlan,
    services: Mapping[str, Service],
    around: Around,
    *,
    site: str,
    made_at: datetime,
) -> Runbook:
    """Write a plan down for people.

    Args:
        plan: a walkthrough or a failover; what was not observed says so in its steps.
        made_at: aware.
    """
    ordered = _in_order(plan)
    numbers = {step.id: number for number, step in enumerate(ordered, start=1)}
    parts = tuple(
        _part(service, list(steps), services, numbers, around)
        for service, steps in groupby(ordered, key=lambda step: step.service or "")
    )
    return Runbook(
        title=recovery.title,
        plan=plan.name,
        site=site,
        environment=plan.environment,
        digest=plan.digest,
        made_at=made_at,
        people=_people(plan, recovery, services),
        parts=parts,
        steps=len(ordered),
    )


def _in_order(plan: Plan) -> list[Step]:
    """Every step after all that it waits for, and the steps of a service together where that can be."""
    place = {step.id: number for number, step in enumerate(plan.steps)}
    sorter = TopologicalSorter(plan.waits_for)
    sorter.prepare()
    ready, ordered = set(sorter.get_ready()), list[Step]()
    while ready:
        last = ordered[-1].service if ordered else None
        chosen = min(ready, key=lambda name: (plan.step(name).service != last, place[name]))
        ordered.append(plan.step(chosen))
        ready.remove(chosen)
        sorter.done(chosen)
        ready |= set(sorter.get_ready())
    return ordered


def _part(
    name: str,
    steps: Sequence[Step],
    services: Mapping[str, Service],
    numbers: Mapping[str, int],
    around: Around,
) -> Part:
    service = services.get(name)
    lines = tuple(_line(step, numbers, around) for step in steps)
    if service is None:
        return Part(service="", title="For all services", about=(), contacts=(), lines=lines)
    about = (
        f"tier {service.tier}; owner {service.owner}; back within {format_target(service.rto_s)} (RTO); "
        f"at most {format_target(service.rpo_s)} of data lost (RPO)",
        *([f"depends on {', '.join(service.depends_on)}"] if service.depends_on else []),
    )
    contacts = tuple(f"{contact.role}: {contact.reach}" for contact in service.contacts)
    return Part(service=name, title=service.title, about=about, contacts=contacts, lines=lines)


def _line(step: Step, numbers: Mapping[str, int], around: Around) -> Line:
    done = by_hand(step.run, around)
    return Line(
        number=numbers[step.id],
        step=step.id,
        why=step.why,
        commands=done.commands,
        note=done.note,
        expect=done.expect,
        waits_for=tuple(sorted(numbers[name] for name in {*step.needs, *step.after})),
        gate=f"{step.gate.role}: {step.gate.ask}" if step.gate else "",
        no_return=step.run.irreversible,
    )


def _people(plan: Plan, recovery: RecoveryPlan, services: Mapping[str, Service]) -> tuple[Person, ...]:
    """Every role, with what it is needed for, in the order in which it is needed."""
    what: dict[str, list[str]] = {}
    rule = recovery.rule("failover")
    for role in rule.roles if rule else ():
        what.setdefault(role, []).append("agrees that it begins")
    for role in recovery.overrides:
        what.setdefault(role, []).append("accepts a missing fence or lost data, if that must be")
    for step in plan.steps:
        if step.gate:
            what.setdefault(step.gate.role, []).append("answers questions marked with the role")
        if step.service and step.service in services:
            what.setdefault(services[step.service].owner, []).append("owns services recovered here")
    return tuple(Person(role=role, what="; ".join(dict.fromkeys(words))) for role, words in what.items())
