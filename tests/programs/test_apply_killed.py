"""The controller is killed while it makes fifty servers: whoever goes on makes the rest, and none twice."""

import subprocess
import sys
import time
from pathlib import Path

from automation.engine.journal import read_journal
from automation.model.records import StepEnded, StepStarted
from tests.contracts.providers import City, Cloud
from tests.programs.clouds import folder

SERVERS = 50
MADE_BEFORE = 12
PATIENCE_S = 120.0
APPLYING = Path(__file__).with_name("applying.py")


def apply(city: City, *run: str) -> "subprocess.Popen[bytes]":
    """Start a controller."""
    return subprocess.Popen(
        [sys.executable, str(APPLYING), str(city.root), city.name, *run],
        stdout=subprocess.DEVNULL,
        stderr=(city.root / "controller.log").open("a"),
        stdin=subprocess.DEVNULL,
    )


def await_made(city: City, controller: "subprocess.Popen[bytes]") -> None:
    """Wait until so many servers are made, and the next are being made."""
    deadline = time.monotonic() + PATIENCE_S
    while sum(is_made(event.body) for event in city.events()) < MADE_BEFORE:
        assert controller.poll() is None, (city.root / "controller.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_made(body: object) -> bool:
    return isinstance(body, StepEnded) and body.step.startswith("create/")


def test_fifty_servers_are_fifty_after_the_controller_was_killed(cloud: Cloud, tmp_path: Path) -> None:
    city = City(cloud, folder(tmp_path))
    for number in range(SERVERS):
        city.declare(f"web-{number}")
    city.session()
    controller = apply(city)
    try:
        await_made(city, controller)
    finally:
        controller.kill()
        controller.wait()
    (run,) = city.runs()
    events = list(read_journal(city.state / "runs" / run / "journal.jsonl"))
    began = {event.body.step for event in events if isinstance(event.body, StepStarted)}
    ended = {event.body.step for event in events if isinstance(event.body, StepEnded)}
    assert began - ended, "it was killed while servers were being made"
    assert len(ended) < SERVERS
    assert apply(city, run).wait(PATIENCE_S) == 0, (city.root / "controller.log").read_text()
    census = city.census()
    assert len(census.servers) == SERVERS
    assert city.recorded() == census
    assert city.plan().plan.steps == ()
