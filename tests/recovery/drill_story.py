"""A whole drill as it is written down: plan, journal, the witness's record, lists of writes.

Times are milliseconds from the loss of the site.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from automation.model.evidence import (
    ChecksRun,
    CommandOutput,
    Declaration,
    DnsChange,
    Evidence,
    Fault,
    FenceProof,
    ProbesSeen,
    Promotion,
    ServerState,
    WitnessRecord,
    WritesListed,
)
from automation.model.plan import Plan
from automation.model.records import (
    Body,
    Event,
    Failure,
    Outcome,
    RunClosed,
    RunOpened,
    StepEnded,
    StepStarted,
)
from automation.recovery.planner import City, affected_services, compile_drill
from automation.recovery.report_fold import Facts
from automation.recovery.report_subject import subject_of
from automation.recovery.spec import load_drill, load_plan

REPOSITORY = Path(__file__).resolve().parents[2]
LOSS = datetime(2026, 11, 21, 3, 14, 7, tzinfo=UTC)
RUN = "20261121-031355-0b1e"
WRITE = "payments/pay"


class Story(NamedTuple):
    """What differs between drills."""

    back_ms: int | None = 2760
    brownout: bool = False
    lost: int = 0
    fails: str | None = None
    witness: bool = True


class Told(NamedTuple):
    """When a step ran and what it left."""

    start_ms: float
    end_ms: float
    text: str
    evidence: Evidence | None = None


def at(ms: float) -> datetime:
    return LOSS + timedelta(milliseconds=ms)


def tell(city: City, story: Story) -> Facts:
    """Give the facts of a drill that went so."""
    drill = load_drill(REPOSITORY, "rolling-disaster" if story.lost else "site-loss")
    recovery = load_plan(REPOSITORY, drill.plan)
    plan = compile_drill(drill, recovery, city, declared_by="coordinator")
    artifacts = {
        "witness.jsonl": witness_lines(story),
        "writes-payments.txt": "".join(f"{one}\n" for one in kept_writes(story)),
        "writes-payments-lost-primary.txt": "".join(f"{one}\n" for one in acknowledged(story, to_ms=0)),
    }
    subject = subject_of(drill, affected_services(drill, recovery, city.catalog), recovery.exercise)
    return Facts(
        subject=subject.model_copy(update={"lab": True, "timezone": "America/Chicago"}),
        plan=plan,
        events=tuple(journal(plan, story)),
        read=artifacts.get if story.witness else lambda name: None,
    )


def journal(plan: Plan, story: Story) -> Iterator[Event]:
    bodies: list[tuple[float, Body]] = [(-12000, _opening(plan))]
    reached = True
    for step in plan.steps:
        told = TOLD.get(step.id) or Told(-11000, -10990, "done")
        if story.fails and told.start_ms >= TOLD[story.fails].start_ms and step.id != story.fails:
            reached = False
            continue
        bodies.append((told.start_ms, StepStarted(step=step.id)))
        bodies.append((told.end_ms, _end(step.id, told, story)))
    waiting = tuple(step.id for step in plan.steps if not any(_is_of(body, step.id) for _, body in bodies))
    bodies.sort(key=lambda pair: pair[0])
    bodies.append((9000, RunClosed(status="succeeded" if reached else "halted", not_started=waiting)))
    for number, (ms, body) in enumerate(bodies):
        yield Event(sequence=number, at=at(ms), body=body, previous="", hash="")


def _is_of(body: Body, step: str) -> bool:
    return isinstance(body, StepStarted) and body.step == step


def _opening(plan: Plan) -> RunOpened:
    return RunOpened(
        run_id=RUN,
        plan_format=plan.format,
        plan_name=plan.name,
        plan_digest=plan.digest,
        environment=plan.environment,
        mode=plan.mode,
        actor="coordinator",
        node="control",
        version="0.1.0",
    )


def _end(step: str, told: Told, story: Story) -> StepEnded:
    if step == story.fails:
        failure = Failure(
            error="AdapterError", message="pg-a took a connection from client-1: it is not fenced"
        )
        return StepEnded(step=step, status="failed", failure=failure)
    outcome = Outcome(changed=True, summary=told.text, evidence=told.evidence)
    return StepEnded(step=step, status="succeeded", outcome=outcome)


def _off() -> ServerState:
    return ServerState(server="pg-a", power="off", autostart=False, network="connected")


TOLD = {
    "witness/start": Told(-11900, -11200, "client-1 probes every 100 ms"),
    "steady/clients": Told(-11200, -9900, "client-1 saw 10 good probes in a row"),
    "fault/1-power-loss": Told(
        -30, 20, "city-hall is dark", Fault(fault="power-loss", target="city-hall", at=at(0))
    ),
    "fault/1-link-cut": Told(
        -2100,
        -2000,
        "city-hall and eoc are cut",
        Fault(fault="link-cut", target="city-hall,eoc", at=at(-2000)),
    ),
    "fault/2-wait": Told(-2000, -30, "waited 2 s"),
    "fault/2-power-loss": Told(
        -30, 20, "city-hall is dark", Fault(fault="power-loss", target="city-hall", at=at(0))
    ),
    "detect": Told(
        20,
        2290,
        "client-1 saw 3 failed probes in a row",
        ProbesSeen(verdict="failed", probes=(WRITE,), at=at(2270)),
    ),
    "declare": Told(
        2291,
        2300,
        "exercise declared: city-hall lost",
        Declaration(
            sites=("city-hall",),
            reason="City Hall data centre loses power",
            exercise=True,
            declared_by="coordinator",
            declared_at=at(2295),
        ),
    ),
    "payments-db/fence-power": Told(2301, 2320, "pg-a: power off, autostart off", _off()),
    "payments-db/fence-network": Told(
        2301, 2325, "pg-a: network blocked", _off().model_copy(update={"network": "blocked"})
    ),
    "payments-db/fence-proof": Told(
        2326,
        2460,
        "pg-a (10.77.1.20:5432) refuses: connect_timeout",
        FenceProof(
            server="pg-a",
            vantage="client-1",
            address="10.77.1.20",
            port=5432,
            refused_by="connect_timeout",
            reached_instead=("10.77.2.20:22",),
            means=("payments-db/fence-power", "payments-db/fence-network"),
        ),
    ),
    "payments-db/promote": Told(
        2461,
        2600,
        "pg-b is primary on timeline 4",
        Promotion(
            server="pg-b",
            system_identifier="7301447712345678901",
            timeline_before=3,
            timeline_after=4,
            last_lsn="0/5000148",
        ),
    ),
    "payments/start": Told(2301, 2520, "payments.service runs on app-b"),
    "payments-db/dns-sql": Told(
        2601,
        2640,
        "pay-db.city.lab is 10.77.2.20",
        DnsChange(
            name="pay-db.city.lab",
            old="10.77.1.20",
            new="10.77.2.20",
            updated=("dns-b",),
            reconcile=("dns-a",),
        ),
    ),
    "payments/dns-web": Told(
        2641,
        2680,
        "pay.city.lab is 10.77.2.30",
        DnsChange(
            name="pay.city.lab", old="10.77.1.30", new="10.77.2.30", updated=("dns-b",), reconcile=("dns-a",)
        ),
    ),
    "clients-good": Told(2690, 3800, "client-1 saw 10 good probes in a row"),
    "checks": Told(3800, 6900, "7 checks passed", ChecksRun(passed=7, failed=0, skipped=0)),
    "witness/collect": Told(
        6900,
        7900,
        "the record of client-1",
        WitnessRecord(
            host="client-1",
            file="witness.jsonl",
            probes=600,
            acknowledged=150,
            clock_offset_s=0.0,
            clock_uncertainty_s=0.003,
        ),
    ),
    "writes/payments": Told(
        7900, 8100, "150 writes", WritesListed(server="pg-b", file="writes-payments.txt", count=150)
    ),
    "writes/payments-lost-primary": Told(
        7900,
        8900,
        "writes of the lost primary",
        CommandOutput(server="pg-a", file="writes-payments-lost-primary.txt", exit_code=0),
    ),
}


# --- what clients saw ----------------------------------------------------------------------------


def beats() -> range:
    return range(-11000, 7000, 100)


def reference(ms: int) -> str:
    return f"{RUN}/{WRITE}/{(ms + 11000) // 100 + 1}"


def is_good(ms: int, story: Story) -> bool:
    if ms < 0:
        return True
    if story.brownout and 1500 <= ms < 1700:
        return True
    return story.back_ms is not None and ms >= story.back_ms


def acknowledged(story: Story, *, to_ms: int) -> list[str]:
    return [reference(ms) for ms in beats() if ms < to_ms and is_good(ms, story)]


def kept_writes(story: Story) -> list[str]:
    lost = set(acknowledged(story, to_ms=0)[-story.lost :] if story.lost else [])
    return [one for one in acknowledged(story, to_ms=7000) if one not in lost]


def witness_lines(story: Story) -> str:
    clock = {"wall_ns": _ns(-11100), "mono_ns": 0, "synchronised": True}
    header = {
        "record": "header",
        "incarnation": 1,
        "host": "client-1",
        "clock": clock,
        "resolver": {"/etc/resolv.conf": "nameserver 10.77.2.10\nnameserver 10.77.1.10\noptions timeout:1\n"},
        "config": {"beat_ms": 100, "timeout_ms": 2000},
    }
    lines: list[dict[str, object]] = [header]
    for ms in beats():
        for name, shift in (("payments-db/ready", 0), ("payments/list", 33), (WRITE, 66)):
            lines.append(_probe(name, ms, shift, story))
    return "".join(json.dumps(line) + "\n" for line in [*lines, {"record": "end", "reason": "SIGTERM"}])


def _probe(name: str, ms: int, shift: int, story: Story) -> dict[str, object]:
    good = is_good(ms, story)
    error = None if good else ("connect_timeout" if ms < 2300 else "connect_refused")
    lasts = {None: 24, "connect_timeout": 2000, "connect_refused": 21}[error]
    start = (ms + shift + 11100) * 1_000_000
    record: dict[str, object] = {"record": "probe", "probe": name, "seq": (ms + 11000) // 100 + 1}
    record |= {"start_mono_ns": start, "end_mono_ns": start + lasts * 1_000_000}
    record |= {"error": error, "address": "10.77.1.30" if ms < 2700 else "10.77.2.30"}
    if name == WRITE:
        record |= {"reference": reference(ms), "write": "acknowledged" if good else "refused"}
    return record


def _ns(ms: float) -> int:
    return int(LOSS.timestamp()) * 1_000_000_000 + int(ms * 1_000_000)
