"""What the report of a large run costs: CPU seconds from its folder to the page, and the page's size.

    .venv/bin/python -m bench.report --steps 10000 --services 200 --minutes 5

The run is made up, and written as a run writes it: a plan in chains of steps for each service, a journal
whose chain holds, the record of a witness with one probe a service and second. Each part is timed for
itself; the limits are 2 s and 5 MB for a run of 10,000 steps with what its clients saw.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from automation.commands._report_page import render_html, render_markdown
from automation.engine.journal import GENESIS, event_hash, read_journal
from automation.model.actions import Probe, StartUnit, StartWitness, Wait
from automation.model.catalog import Service
from automation.model.evidence import Fault, WitnessRecord
from automation.model.plan import Plan, Step
from automation.model.records import Body, Event, Outcome, RunClosed, RunOpened, StepEnded, StepStarted
from automation.recovery.report_fold import Facts, fold_report
from automation.recovery.report_subject import Subject, Target

BEGAN = datetime(2026, 11, 21, 3, 14, 7, tzinfo=UTC)
OUT_S = range(20, 60)


def make_plan(steps: int, services: int) -> Plan:
    """Give each service a chain of its own, after a witness and a fault."""
    probes = tuple(Probe(id=f"s{n:03}/web", kind="tcp", name=f"s{n}.city", port=443) for n in range(services))
    watch = StartWitness(host="client-1", probes=probes, beat_s=1.0, timeout_s=1.0)
    first = (
        Step(id="witness/start", run=watch, why="an outage is what clients see"),
        Step(id="fault", run=Wait(seconds=0), why="the site is lost", needs=("witness/start",)),
        Step(id="witness/collect", run=Wait(seconds=0), why="what it saw", needs=("fault",)),
    )
    rest = []
    for number in range(steps - len(first)):
        name, place = f"s{number % services:03}", number // services
        rest.append(
            Step(
                id=f"{name}/step-{place:03}",
                service=name,
                run=StartUnit(host=f"{name}-b", unit=f"part-{place}.service"),
                why=f"part {place} of {name} runs at the recovery site before what stands on it",
                needs=(f"{name}/step-{place - 1:03}",) if place else ("fault",),
            )
        )
    return Plan(name="bench", environment="lab", mode="exercise", steps=(*first, *rest))


def make_events(plan: Plan, services: int) -> Iterator[Event]:
    """Give the journal, hash-chained; a step of each service runs at any moment."""
    previous = GENESIS
    for sequence, (ms, body) in enumerate(_bodies(plan, services)):
        at = BEGAN + timedelta(milliseconds=ms)
        digest = event_hash(sequence, at, body, previous)
        yield Event(sequence=sequence, at=at, body=body, previous=previous, hash=digest)
        previous = digest


def _bodies(plan: Plan, services: int) -> Iterator[tuple[float, Body]]:
    named = {"plan_name": plan.name, "plan_digest": plan.digest, "environment": plan.environment}
    yield (
        0,
        RunOpened(
            run_id="bench", plan_format=plan.format, mode=plan.mode, actor="b", node="n", version="0", **named
        ),
    )
    ms = 20_000.0
    for number, step in enumerate(plan.steps):
        ms = 20_000.0 + 40_000 * number / len(plan.steps)
        outcome = Outcome(changed=True, summary=f"started {step.id} on its host, as it was before")
        if step.id == "fault":
            found = Fault(fault="power-loss", target="city-hall", at=BEGAN + timedelta(seconds=20))
            outcome = Outcome(changed=True, summary="dark", evidence=found)
        if step.id == "witness/collect":
            record = {"host": "client-1", "file": "witness.jsonl", "probes": 1, "acknowledged": 0}
            clock = {"clock_offset_s": 0.0, "clock_uncertainty_s": 0.001}
            outcome = outcome.model_copy(update={"evidence": WitnessRecord(**record, **clock)})  # type: ignore[arg-type]
        yield ms, StepStarted(step=step.id)
        yield ms + 3, StepEnded(step=step.id, status="succeeded", outcome=outcome)
    yield ms + 10, RunClosed(status="succeeded")


def make_record(services: int, seconds: int) -> Iterator[str]:
    """Give the witness's record: every service fails with the fault and comes back a little later each."""
    clock = {"wall_ns": int(BEGAN.timestamp()) * 10**9, "mono_ns": 0, "synchronised": True}
    config = {"beat_ms": 1000, "timeout_ms": 1000}
    yield json.dumps({"record": "header", "host": "client-1", "clock": clock, "config": config})
    for second in range(seconds):
        for number in range(services):
            good = second not in OUT_S or second > 30 + number % 30
            start = second * 10**9 + number * 1_000_000
            yield json.dumps(
                {
                    "record": "probe",
                    "probe": f"s{number:03}/web",
                    "seq": second + 1,
                    "start_mono_ns": start,
                    "end_mono_ns": start + 5_000_000,
                    "error": None if good else "connect_timeout",
                    "address": "10.0.0.1",
                }
            )
    yield json.dumps({"record": "end"})


def make_subject(services: int) -> Subject:
    words = {
        "owner": "city",
        "tier": 1,
        "rto": "1 min",
        "rpo": "5 s",
        "primary": "city-hall",
        "recovery": "eoc",
        "endpoints": {"web": {"name": "s.city", "port": 443}},
        "probes": {"web": {"kind": "tcp", "endpoint": "web"}},
        "strategy": {"kind": "redeploy", "unit": "a.service", "hosts": {"city-hall": "a", "eoc": "b"}},
    }
    named = {f"s{n:03}": Service.model_validate({"title": f"Service {n}", **words}) for n in range(services)}
    targets = dict.fromkeys(named, Target(rto_s=60.0, rpo_s=5.0))
    return Subject(title="Ten thousand steps", services=named, targets=targets, lab=True)


def write_run(folder: Path, asked: argparse.Namespace) -> None:
    plan = make_plan(asked.steps, asked.services)
    (folder / "plan.json").write_text(plan.model_dump_json(indent=1))
    with (folder / "journal.jsonl").open("w") as journal:
        journal.writelines(f"{e.model_dump_json()}\n" for e in make_events(plan, asked.services))
    with (folder / "witness.jsonl").open("w") as record:
        record.writelines(f"{line}\n" for line in make_record(asked.services, asked.minutes * 60))


def measure(folder: Path, services: int) -> None:
    """Make the report as ./inv dr.report does, and print the CPU time of each part."""
    began = time.process_time()
    plan = Plan.model_validate_json((folder / "plan.json").read_bytes())
    events = tuple(read_journal(folder / "journal.jsonl"))
    read_at = time.process_time()
    facts = Facts(
        subject=make_subject(services),
        plan=plan,
        events=events,
        read=lambda name: (folder / name).read_text() if (folder / name).exists() else None,
    )
    report = fold_report(facts)
    folded_at = time.process_time()
    page = render_html(report)
    drawn_at = time.process_time()
    data, text = report.model_dump_json(indent=1), render_markdown(report)
    parts = (read_at - began, folded_at - read_at, drawn_at - folded_at, drawn_at - began)
    print(f"{len(plan.steps)} steps, {len(events)} events, {len(report.probes)} probes")
    print(
        "read and check {:.2f} s + fold {:.2f} s + page {:.2f} s = {:.2f} s of CPU (limit 2 s)".format(*parts)
    )
    sizes = (len(page.encode()) / 1e6, len(data) / 1e6, len(text) / 1e6)
    print("page {:.2f} MB (limit 5 MB), json {:.2f} MB, markdown {:.2f} MB".format(*sizes))
    (folder / "report.html").write_text(page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--services", type=int, default=200)
    parser.add_argument("--minutes", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="a folder to leave the run and its page in")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = asked.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        write_run(folder, asked)
        measure(folder, asked.services)


if __name__ == "__main__":
    main()
