"""Simulators of a lab: what each is told, where its program is, and that it answers."""

import json
import socket
import sys
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

from automation.adapters.nspawn import image, vcenter_program
from automation.adapters.nspawn.client import Supervisor
from automation.adapters.nspawn.seeds import authorized_key, first_files, resolvers_of
from automation.model.actions import StartSimulator
from automation.model.environment import Server
from automation.model.errors import AdapterError, ConfigError
from automation.model.records import Context, Outcome
from automation.model.simulators import AwsSimulator, ObjectStoreSimulator, Powered, Simulator

PROGRAMS = Path(__file__).resolve().parents[3] / "drtests/simulators"
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
    (folder / "settings.json").write_text(settings(simulator, action.simulator, ctx.state, lab.id))
    supervisor.ask(
        "start_simulator",
        simulator=action.simulator,
        argv=[*_program(simulator, ctx), str(folder)],
        folder=str(folder),
        places=simulator.places,
        management=simulator.kind != "object-store",
        shared=_shared(simulator, ctx.state),
        powers={name: _host(one, ctx) for name, one in _powers(simulator).items()},
    )
    _await_answer(action.simulator, simulator.places.values(), supervisor, folder)
    said = f"simulator {action.simulator} answers as {simulator.name} for {', '.join(simulator.places)}"
    return Outcome(changed=True, summary=said)


def settings(simulator: Simulator, name: str, state: Path, lab_id: str) -> str:
    """Write what a simulator is told; secrets stay in their own files."""
    told: dict[str, object] = {
        "address": simulator.address if isinstance(simulator, ObjectStoreSimulator) else "0.0.0.0",
        "port": PORT,
        "certificate": str(state / f"certificates/{name}.crt"),
        "key": str(state / f"certificates/{name}.key"),
        "logins": {role: str(state / file) for role, file in simulator.logins.items()},
    }
    if isinstance(simulator, ObjectStoreSimulator):
        told["buckets"] = {bucket: lock.model_dump() for bucket, lock in simulator.buckets.items()}
    else:
        own = simulator.model_dump(exclude={"kind", "site", "address", "logins", "regions", "replicated"})
        told |= own | {"supervisor": str(state / "lab/ctl.sock"), "lab_id": lab_id, "simulator": name}
    if isinstance(simulator, AwsSimulator):
        told["regions"] = list(simulator.regions)
    elif not isinstance(simulator, ObjectStoreSimulator):
        shared = simulator.replicated.items()
        told["replicated"] = {datastore: str(state / folder) for datastore, folder in shared}
    return json.dumps(told, indent=1) + "\n"


def _program(simulator: Simulator, ctx: Context) -> list[str]:
    if simulator.kind == "vcenter":
        return [str(vcenter_program.build(ctx.images.resolve().parent / "programs", ctx.say))]
    program = {"object-store": "object_store.py", "aws": "aws.py"}[simulator.kind]
    return [sys.executable, "-s", "-B", str(PROGRAMS / program)]


def _powers(simulator: Simulator) -> Mapping[str, Powered]:
    return {} if isinstance(simulator, ObjectStoreSimulator) else simulator.powers


def _shared(simulator: Simulator, state: Path) -> list[str]:
    """Make the folders that a simulator shares with another, and name them."""
    folders = getattr(simulator, "replicated", {}).values()
    for folder in folders:
        (state / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    return [str(state / folder) for folder in folders]


def _host(one: Powered, ctx: Context) -> dict[str, object]:
    """Give what a simulated machine's host is made of; it makes its host key itself, like any new machine."""
    server = Server(name=one.host, address=one.address, site=one.site)
    resolvers, key = resolvers_of(server, ctx.inventory), authorized_key(ctx.state)
    twin = {one.disk_of: one.address} if one.replicated else {}  # its disk may bear that name
    files = first_files(server, resolvers, None, key, machine_id=uuid.uuid4().hex, names=twin)
    return one.model_dump() | {"image": str(image.root_of(ctx.images, one.image)), "files": files}


def _power_of(name: str, supervisor: Supervisor) -> str:
    return str(supervisor.ask("status")["simulators"].get(name, {}).get("power", "off"))


def _await_answer(name: str, addresses: Iterable[str], supervisor: Supervisor, folder: Path) -> None:
    """Wait until it answers at any of its addresses: a region may be lost already."""
    places, deadline = tuple(addresses), time.monotonic() + ANSWER_S
    while not any(_answers(address) for address in places):
        if _power_of(name, supervisor) != "on" or time.monotonic() > deadline:
            lines = (folder / "simulator.log").read_text(errors="replace").splitlines()
            words = " / ".join(lines[-3:]) or "it said nothing"
            where = ", ".join(f"{address}:{PORT}" for address in places)
            raise AdapterError(f"simulator {name} does not answer at {where}: {words}")
        time.sleep(0.1)


def _answers(address: str) -> bool:
    try:
        socket.create_connection((address, PORT), 1.0).close()
    except OSError:
        return False
    return True
