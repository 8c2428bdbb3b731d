"""Three ways to fail over, in one lab, in one go: by shell, by playbook, by Mainstay.

    ./inv lab.up --env lab && ./inv provision.converge --env lab
    .venv/bin/python -m bench.failover --env lab --rounds 5

Every round puts the converged disks back, waits for steady state, cuts the power of the primary site,
waits for the witness's alarm, and starts the clock: declaration to the end of the first sustained good
client write, as the witness on the client's host recorded it. The order of the three is shuffled in
every round, because the machine may be shared. Prints one row a method: median, least, most, ratio.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from automation.adapters import nspawn, witness
from automation.commands._drill import prepare_drill, restore_disks, save_disks
from automation.commands._session import Session, open_session
from automation.engine.context import RunContext
from automation.engine.run import make_run_folder
from automation.model.actions import (
    AwaitFailed,
    AwaitGood,
    CollectWitness,
    FailSite,
    StartWitness,
)
from automation.model.evidence import Declaration
from automation.model.plan import Plan
from automation.recovery.history import read_history
from automation.recovery.objectives import first_sustained

ROOT = Path(__file__).resolve().parents[1]
DISKS = "bench"
WRITE_PROBE = "payments/pay"
WARM_HOSTS = ("dns-b", "pg-b", "app-b")
SUSTAINED = 10


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Failover by shell, by playbook and by Mainstay, side by side."
    )
    parser.add_argument("--env", required=True, help="the lab's environment; it must be up and converged")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1, help="of the shuffled order")
    asked = parser.parse_args()
    order = random.Random(asked.seed)
    took: dict[str, list[float]] = {name: [] for name in METHODS}
    with open_session(asked.env) as session:
        save_disks(session, DISKS)
        for number in range(1, asked.rounds + 1):
            for name in order.sample(list(METHODS), len(METHODS)):
                seconds = METHODS[name](session)
                took[name].append(seconds)
                print(f"round {number} {name:9} {seconds:6.2f} s", file=sys.stderr, flush=True)
        restore_disks(session, DISKS)
    show(took)
    keep(took, asked.rounds)
    return 0


def show(took: dict[str, list[float]]) -> None:
    floor = statistics.median(took["shell"])
    print(f"{'method':10} {'median':>8} {'least':>8} {'most':>8} {'x shell':>8}   rounds")
    for name, seconds in took.items():
        middle = statistics.median(seconds)
        print(
            f"{name:10} {middle:7.2f}s {min(seconds):7.2f}s {max(seconds):7.2f}s "
            f"{middle / floor:8.2f}   {len(seconds)}"
        )


def keep(took: dict[str, list[float]], rounds: int) -> None:
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    results = ROOT / "bench/results/failover.json"
    results.parent.mkdir(exist_ok=True)
    content = {
        "commit": commit.stdout.strip(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "measure": "seconds from declaration to the end of the first sustained good client write",
        "load_average": os.getloadavg()[0],
        "rounds": rounds,
        "seconds": {name: [round(value, 3) for value in values] for name, values in took.items()},
    }
    results.write_text(json.dumps(content, indent=1) + "\n")


# --- the methods -----------------------------------------------------------------------------------


def by_shell(session: Session) -> float:
    return by_hand(session, lambda mux: [str(ROOT / "bench/failover.sh"), str(session.state), str(mux)])


def by_playbook(session: Session) -> float:
    def command(mux: Path) -> list[str]:
        return [
            str(Path(sys.executable).with_name("ansible-playbook")),
            *("-i", str(session.environment.inventory_files[0])),
            *("-e", f"bench_state={session.state} bench_lab={session.environment.require_lab().id}"),
            str(ROOT / "bench/failover.yml"),
        ]

    return by_hand(session, command)


def by_mainstay(session: Session) -> float:
    """Run the whole drill; the clock starts at its own declaration."""
    restore_disks(session, DISKS)
    prepared = prepare_drill(session, "site-loss")
    finished = session.run(prepared.plan, narrate=lambda event: None)
    finished.raise_for_status()
    record = session.state / "declarations" / f"{finished.folder.name}.json"
    declared_at = Declaration.model_validate_json(record.read_bytes()).declared_at
    return seconds_to_good_write(finished.folder / "artifacts", declared_at.timestamp())


def by_hand(session: Session, command: Callable[[Path], list[str]]) -> float:
    """Bring the drill to its declaration, let a hand-written method recover, read the witness."""
    restore_disks(session, DISKS)
    plan = prepare_drill(session, "site-loss").plan
    run_id = f"bench-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
    folder = make_run_folder(session.state, run_id)
    ctx = session.context(run_id)
    with warm_connections(session) as mux:
        until_declared(plan, ctx)
        declared_at = time.time()
        environ = {**os.environ, **ssh_settings(session, mux)}
        subprocess.run(command(mux), env=environ, check=True, stdout=subprocess.DEVNULL)
        after(plan, ctx)
    return seconds_to_good_write(folder / "artifacts", declared_at)


METHODS: dict[str, Callable[[Session], float]] = {
    "shell": by_shell,
    "playbook": by_playbook,
    "mainstay": by_mainstay,
}


def until_declared(plan: Plan, ctx: RunContext) -> None:
    """The same beginning as the drill's, step by step: witness, steady state, fault, alarm."""
    for step in plan.steps:
        if isinstance(step.run, StartWitness):
            witness.start(step.run, ctx.for_step(step.id, 60))
        elif step.id.startswith("steady/"):
            from automation.engine.dispatch import perform

            perform(step.run, ctx.for_step(step.id, 60))
        elif isinstance(step.run, FailSite):
            nspawn.fail_site(step.run, ctx.for_step(step.id, 20))
        elif isinstance(step.run, AwaitFailed):
            witness.await_failed(step.run, ctx.for_step(step.id, 60))


def after(plan: Plan, ctx: RunContext) -> None:
    """The same end: sustained good probes, then the witness's record."""
    for step in plan.steps:
        if step.id == "clients-good" and isinstance(step.run, AwaitGood):
            witness.await_good(step.run, ctx.for_step(step.id, 120))
        elif isinstance(step.run, CollectWitness):
            witness.collect(step.run, ctx.for_step(step.id, 60))


def seconds_to_good_write(artifacts: Path, declared_at: float) -> float:
    with (artifacts / witness.ARTIFACT).open() as lines:
        history = read_history(lines)
    probes = history.probes[WRITE_PROBE]
    start = next(i for i, one in enumerate(probes) if one.start_ns / 1e9 >= declared_at)
    index = first_sustained(probes, start, SUSTAINED)
    if index is None:
        raise SystemExit("clients never came back")
    return probes[index].end_ns / 1e9 - declared_at


# --- warm connections for the hand-written methods ----------------------------------------------------


@contextmanager
def warm_connections(session: Session) -> Iterator[Path]:
    """Open one kept ssh connection a host, the way OpenSSH and Ansible share them; close them after."""
    with tempfile.TemporaryDirectory(prefix="mux-") as folder:
        mux = Path(folder)
        write_ssh_config(session, mux)
        addresses = [session.inventory.server(host).address for host in WARM_HOSTS]
        for address in addresses:
            subprocess.run(["ssh", "-F", str(mux / "config"), "-fN", address], check=True)
        try:
            yield mux
        finally:
            for address in addresses:
                subprocess.run(
                    ["ssh", "-F", str(mux / "config"), "-O", "exit", address],
                    capture_output=True,
                    check=False,
                )


def write_ssh_config(session: Session, mux: Path) -> None:
    lines = [
        "Host *",
        f"User {session.environment.automation_user}",
        f"IdentityFile {session.state / 'ssh/id_ed25519'}",
        f"UserKnownHostsFile {session.state / 'known_hosts'}",
        "StrictHostKeyChecking yes",
        "IdentitiesOnly yes",
        "ControlMaster auto",
        "ControlPersist 300",
        f"ControlPath {mux}/%h",
    ]
    (mux / "config").write_text("\n".join(lines) + "\n")


def ssh_settings(session: Session, mux: Path) -> dict[str, str]:
    return {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_SSH_ARGS": f"-F {mux / 'config'}",
        "ANSIBLE_SSH_CONTROL_PATH": f"{mux}/%%h",
    }


if __name__ == "__main__":
    sys.exit(main())
