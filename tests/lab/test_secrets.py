"""No password and no private key leaves the files made for it: not to disk, not to a process list.

The values that are looked for are the lab's real ones. A sampler that finds nothing proves nothing, so
each way of looking is first shown to find what was planted.
"""

import base64
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from automation.commands._drill import prepare_drill
from automation.commands._session import Session
from automation.model.actions import RunChecks
from automation.model.environment import state_root
from automation.model.plan import Plan
from tests.lab.city import City

SAMPLE_S = 0.05
# Where secrets are at home: the files made for them, and the disks of the hosts that use them.
# A lab that is being removed is renamed first.
AT_HOME = ("secrets/", "ssh/", "lab/hosts/", "lab/saved/", ".lab-")


class Secrets:
    """The real values of a state folder, in each spelling that a program may give them."""

    def __init__(self, state: Path) -> None:
        self.values = {f"secrets/{p.name}": p.read_text().strip() for p in (state / "secrets").iterdir()}
        for key in (p for p in (state / "ssh").iterdir() if p.suffix != ".pub"):
            body = [line for line in key.read_text().splitlines() if not line.startswith("-----")]
            self.values |= {f"ssh/{key.name}, line {n}": line for n, line in enumerate(body[1:-1], start=2)}
        self.spellings = {
            spelling.encode(): name
            for name, value in self.values.items()
            for spelling in (
                value,
                urllib.parse.quote(value, safe=""),
                base64.b64encode(value.encode()).decode().rstrip("="),
                value.replace("/", "\\/"),
            )
        }

    def within(self, content: bytes) -> set[str]:
        return {name for spelling, name in self.spellings.items() if spelling in content}


def search(state: Path, secrets: Secrets) -> dict[str, set[str]]:
    """Every file of a state folder in which a secret stands, except where it is at home."""
    found = {}
    for path in sorted(state.rglob("*")):
        name = path.relative_to(state).as_posix()
        at_home = name.startswith(AT_HOME) and path.name != "console.log"
        if path.is_file() and not path.is_symlink() and not at_home:
            found[name] = secrets.within(path.read_bytes())
    return {name: names for name, names in found.items() if names}


class Sampler:
    """Reads all process lists of this machine, those inside its containers too, every 50 ms."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._over = Event()
        self._thread = Thread(target=self._carry, daemon=True)
        self._seen: set[bytes] = set()
        self.samples = 0
        self.found: dict[str, set[str]] = {}

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def programs(self) -> set[str]:
        return {Path(words.split(b"\0")[0].decode(errors="replace")).name for words in self._seen}

    def _carry(self) -> None:
        while not self._over.wait(SAMPLE_S):
            self.samples += 1
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    words = path.read_bytes()
                except OSError:
                    continue  # it ended meanwhile
                if words not in self._seen:
                    self._seen.add(words)
                    if names := self._secrets.within(words):
                        self.found[words.replace(b"\0", b" ").decode(errors="replace")[:60]] = names


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    city = City("secrets", "10.63", tmp_path_factory.mktemp("secrets"))
    try:
        city.up()
        yield city
    finally:
        city.down()


@pytest.fixture(scope="module")
def secrets(city: City) -> Secrets:
    found = Secrets(city.state)
    assert {"secrets/replication_password", "secrets/payments_app_password"} < set(found.values)
    assert any(name.startswith("ssh/control_node") for name in found.values)
    assert all(len(value) >= 20 for value in found.values.values())
    return found


@pytest.fixture(scope="module")
def session(city: City) -> Session:
    return Session(
        city.environment,
        city.inventory,
        city.state,
        city.context.images,
        city.connections.remote,
        city.run_context,
    )


def without_checks(plan: Plan) -> Plan:
    """Leave the checks out: they need an environment of the checkout, which a private lab is not."""
    gone = {step.id: step.needs for step in plan.steps if isinstance(step.run, RunChecks)}

    def instead(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(new for name in names for new in gone.get(name, (name,)))

    kept = (step for step in plan.steps if step.id not in gone)
    steps = tuple(s.model_copy(update={"needs": instead(s.needs), "after": instead(s.after)}) for s in kept)
    return plan.model_copy(update={"steps": steps})


@pytest.mark.parametrize("spelling", range(4), ids=["plain", "in a URL", "in base64", "in JSON"])
def test_a_planted_secret_is_found_on_the_disk(spelling: int, secrets: Secrets, tmp_path: Path) -> None:
    name = "secrets/tsig_key"
    planted = [s for s, n in secrets.spellings.items() if n == name]
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/journal.jsonl").write_bytes(b"{" + planted[min(spelling, len(planted) - 1)] + b"}")
    assert search(tmp_path, secrets) == {"runs/journal.jsonl": {name}}


@pytest.mark.parametrize("name", ["secrets/replication_password", "ssh/id_ed25519, line 3"])
def test_a_planted_secret_is_found_in_the_process_list(name: str, secrets: Secrets) -> None:
    with Sampler(secrets) as sampler:
        subprocess.run(["sh", "-c", "sleep 0.3", secrets.values[name]], check=True)
    assert set().union(*sampler.found.values()) == {name}


def test_a_secret_in_the_process_list_of_a_container_is_found(city: City, secrets: Secrets) -> None:
    with Sampler(secrets) as sampler:
        city.root("pg-a", "sh", "-c", "sleep 0.3", secrets.values["secrets/tsig_key"])
    assert {"secrets/tsig_key"} in sampler.found.values()


def test_converge_and_drill_show_no_secret_to_a_process_list(
    city: City, session: Session, secrets: Secrets
) -> None:
    with Sampler(secrets) as sampler:
        began = time.monotonic()
        assert city.converge() > 0
        plan = without_checks(prepare_drill(session, "site-loss").plan)
        finished = session.run(plan, narrate=lambda event: None)
        took_s = time.monotonic() - began
    assert finished.closed.status == "succeeded", finished.failures
    assert sampler.found == {}
    assert {"ansible-playbook", "psql", "postgres"} & sampler.programs, sampler.programs
    assert sampler.samples > took_s, "fewer than one sample a second looks at nothing"


def test_after_converge_and_drill_no_secret_is_on_the_disk(city: City, secrets: Secrets) -> None:
    """Journals, artifacts, logs, caches, the lab's own log and the consoles of its hosts."""
    assert list(city.state.glob("runs/*/journal.jsonl"))
    assert search(city.state, secrets) == {}


def test_no_host_logged_a_secret(city: City, secrets: Secrets) -> None:
    """What sudo and Ansible log on a host; the journals of the fenced site are on its disks."""
    said = {
        host: city.root(host, "journalctl", "--no-pager", "-o", "cat").encode()
        for host in ("pg-b", "app-b", "dns-b", "client-1")  # the test's own planted one went to pg-a
    }
    assert all(len(lines.splitlines()) > 50 for lines in said.values())
    assert {host: secrets.within(lines) for host, lines in said.items()} == {host: set() for host in said}


def test_the_state_that_the_suite_leaves_behind_holds_no_secret() -> None:
    """The lab environment's own state, after all drills that were run in it."""
    state = state_root() / "lab"
    if not list(state.glob("runs/*/journal.jsonl")):
        pytest.skip("no run of the lab environment has been made on this machine")
    assert search(state, Secrets(state)) == {}
