"""Simulators of a lab: what each is told, where its program is, and that it answers."""

import json
import socket
import sys
import time
from pathlib import Path

from automation.adapters.nspawn.client import Supervisor
from automation.model.actions import StartSimulator
from automation.model.errors import AdapterError, ConfigError
from automation.model.records import Context, Outcome
from automation.model.simulators import ObjectStoreSimulator, Simulator

PROGRAMS = Path(__file__).resolve().parents[3] / "drtests/simulators"
PROGRAM_OF = {"object-store": "object_store.py"}
PORT = 443
ANSWER_S = 60.0


def start_simulator(action: StartSimulator, ctx: Context) -> Outcome:
    """Run a simulator unless it runs, and wait until it answers.

    Raises:
        AdapterError: it ended, or did not answer; its last words are in the message.
    """
    lab = ctx.environment.require_lab()
    if action.simulator not in lab.simulators:
        raise ConfigError(f"lab {lab.id} has no simulator {action.simulator!r}; nothing was changed")
    simulator = lab.simulators[action.simulator]
    supervisor = Supervisor(ctx.state, lab.id)
    if _power_of(action.simulator, supervisor) == "on":
        return Outcome(changed=False, summary=f"simulator {action.simulator} runs")
    folder = ctx.state / "lab/simulators" / action.simulator
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "settings.json").write_text(settings(simulator, action.simulator, ctx.state))
    argv = [sys.executable, "-s", "-B", str(PROGRAMS / PROGRAM_OF[simulator.kind]), str(folder)]
    supervisor.ask(
        "start_simulator",
        simulator=action.simulator,
        site=simulator.site,
        address=simulator.address,
        argv=argv,
        folder=str(folder),
    )
    _await_answer(action.simulator, simulator.address, supervisor, folder)
    said = f"simulator {action.simulator} answers as {simulator.name} at {simulator.site}"
    return Outcome(changed=True, summary=said)


def settings(simulator: Simulator, name: str, state: Path) -> str:
    """Write what a simulator is told; secrets stay in their own files."""
    told: dict[str, object] = {
        "address": simulator.address,
        "port": PORT,
        "certificate": str(state / f"certificates/{name}.crt"),
        "key": str(state / f"certificates/{name}.key"),
        "logins": {role: str(state / file) for role, file in simulator.logins.items()},
    }
    if isinstance(simulator, ObjectStoreSimulator):
        told["buckets"] = {bucket: lock.model_dump() for bucket, lock in simulator.buckets.items()}
    return json.dumps(told, indent=1) + "\n"


def _power_of(name: str, supervisor: Supervisor) -> str:
    return str(supervisor.ask("status")["simulators"].get(name, {}).get("power", "off"))


def _await_answer(name: str, address: str, supervisor: Supervisor, folder: Path) -> None:
    deadline = time.monotonic() + ANSWER_S
    while not _answers(address):
        if _power_of(name, supervisor) != "on" or time.monotonic() > deadline:
            lines = (folder / "simulator.log").read_text(errors="replace").splitlines()
            words = " / ".join(lines[-3:]) or "it said nothing"
            raise AdapterError(f"simulator {name} does not answer at {address}:{PORT}: {words}")
        time.sleep(0.1)


def _answers(address: str) -> bool:
    try:
        socket.create_connection((address, PORT), 1.0).close()
    except OSError:
        return False
    return True
