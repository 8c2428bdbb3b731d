"""No password and no private key leaves the files made for it: not to disk, not to a process list.

The values that are looked for are the lab's real ones. A sampler that finds nothing proves nothing, so
each way of looking is first shown to find what was planted.
"""

import secrets as randomly
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from automation.commands._drill import prepare_drill
from automation.commands._session import Session
from automation.model.actions import RunChecks
from automation.model.plan import Plan
from tests.lab.city import City
from tests.lab.secrecy import (
    ProcessWatch,
    Secrets,
    SuiteWatch,
    find_states,
    list_files,
    read_journals,
    search,
)

CLOSE_S = 0.02
SHOWS_ITSELF = "import sys, time; time.sleep(0.4)"


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
    fields = {name: getattr(plan, name) for name in Plan.model_fields}
    return Plan.model_validate({**fields, "steps": steps})


@pytest.fixture
def planted() -> Iterator[Path]:
    """The state folder of a lab that never was, where the suite does not look."""
    with tempfile.TemporaryDirectory(prefix="mainstay-planted-") as folder:
        state = Path(folder) / "never"
        (state / "secrets").mkdir(parents=True)
        (state / "secrets/tsig_key").write_text(randomly.token_urlsafe(30) + "/+\n")
        (state / "ssh").mkdir()
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(state / "ssh/id_ed25519")]
        subprocess.run(argv, check=True)
        yield state


@pytest.mark.parametrize("spelling", range(4), ids=["plain", "in a URL", "in base64", "in JSON"])
@pytest.mark.parametrize(
    "place", ["runs/1/journal.jsonl", "lab/labd.log", "lab/hosts/pg-a/upper/var/log/postgresql/p.log"]
)
def test_a_planted_secret_is_found_on_the_disk(spelling: int, place: str, planted: Path) -> None:
    secrets = Secrets(planted)
    content = [spelled for spelled, name in secrets.spellings.items() if name == "secrets/tsig_key"]
    (planted / place).parent.mkdir(parents=True)
    (planted / place).write_bytes(b"{" + content[spelling] + b"}")
    assert search(planted, secrets) == {place: {"secrets/tsig_key"}}


@pytest.mark.parametrize("name", ["secrets/tsig_key", "ssh/id_ed25519, line 3"])
def test_a_planted_secret_is_found_in_the_process_list(name: str, planted: Path) -> None:
    secrets = Secrets(planted)
    with ProcessWatch(CLOSE_S) as watch:
        subprocess.run([sys.executable, "-c", SHOWS_ITSELF, secrets.values[name]], check=True)
    assert set().union(*watch.found(secrets).values()) == {name}


def test_a_planted_secret_is_found_in_an_environment(planted: Path) -> None:
    secrets = Secrets(planted)
    with ProcessWatch(CLOSE_S) as watch:
        environ = {"PGPASSWORD": secrets.values["secrets/tsig_key"]}
        subprocess.run([sys.executable, "-c", SHOWS_ITSELF], check=True, env=environ)
    assert watch.found(secrets) == {"environment: PGPASSWORD": {"secrets/tsig_key"}}


def test_a_secret_in_the_process_list_and_in_the_journal_of_a_host_is_found(
    city: City, planted: Path
) -> None:
    secrets = Secrets(planted)
    with ProcessWatch(CLOSE_S) as watch:
        city.root("pg-a", "sh", "-c", "sleep 0.4", secrets.values["secrets/tsig_key"])  # sudo logs it
    assert {"secrets/tsig_key"} in watch.found(secrets).values()
    assert secrets.within(read_journals(city.state)["pg-a"]) == {"secrets/tsig_key"}


def test_the_watch_of_a_suite_finds_by_itself_what_a_lab_let_be_seen(planted: Path) -> None:
    with SuiteWatch(lambda: [planted.parent]) as watch:
        (planted / "runs/1").mkdir(parents=True)
        secret = Secrets(planted).values["secrets/tsig_key"]
        (planted / "runs/1/plan.json").write_text(f'{{"password": "{secret}"}}')
        subprocess.run([sys.executable, "-c", SHOWS_ITSELF, secret], check=True)
        watch.look()
        (planted / "runs/1/plan.json").unlink()
        (planted / "secrets/tsig_key").write_text("another one, made anew\n")
        watch.look()
    assert watch.in_files == {"never/runs/1/plan.json": {"secrets/tsig_key"}}
    assert set().union(*watch.in_processes().values()) == {"never/secrets/tsig_key"}


def test_the_labs_of_this_suite_are_found_by_their_keys(
    city: City, suite_watch: SuiteWatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert city.state in set(find_states([tmp_path_factory.getbasetemp()]))
    suite_watch.look()
    assert "secrets/replication_password" in suite_watch.labs[city.state].values
    hosts = {path.parts[-2] for path in list_files(city.state) if path.name == "console.log"}
    assert hosts == set(city.inventory.servers)
    assert set(read_journals(city.state)) == hosts


def test_converge_and_drill_show_no_secret_to_a_process_list(
    city: City, session: Session, secrets: Secrets
) -> None:
    with ProcessWatch(CLOSE_S) as watch:
        began = time.monotonic()
        assert city.converge() > 0
        plan = without_checks(prepare_drill(session, "site-loss").plan)
        finished = session.run(plan, narrate=lambda event: None)
        took_s = time.monotonic() - began
    assert finished.closed.status == "succeeded", finished.failures
    assert watch.found(secrets) == {}
    assert {"ansible-playbook", "psql", "postgres"} & watch.programs, watch.programs
    assert watch.samples > took_s, "fewer than one sample a second looks at nothing"


def test_after_converge_and_drill_no_secret_is_on_the_disk(city: City, secrets: Secrets) -> None:
    """Journals, artifacts, logs, caches, the lab's own log and the consoles of its hosts."""
    assert list(city.state.glob("runs/*/journal.jsonl"))
    assert search(city.state, secrets) == {}


def test_no_host_logged_a_secret(city: City, secrets: Secrets) -> None:
    """What sudo, Ansible and all programs log on a host that runs; the primary site has no power any more."""
    said = read_journals(city.state)
    assert {"pg-b", "app-b", "dns-b", "client-1"} <= set(said)
    assert all(len(lines.splitlines()) > 50 for lines in said.values())
    assert {host: secrets.within(lines) for host, lines in said.items()} == {host: set() for host in said}
