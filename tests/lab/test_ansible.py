"""Playbooks in the child process: real ansible-playbook runs against this machine and a dead port.

All runs of the module are started together, because each costs a second to start.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from automation.adapters.ansible import run_playbook
from automation.adapters.ansible.child import describe, explain
from automation.adapters.ansible.playbooks import MARK, MEMORY, PREFIX
from automation.engine.context import RunContext
from automation.model.actions import RunPlaybook
from automation.model.environment import Environment, Inventory
from automation.model.errors import AdapterError, ConfigError, OutcomeUnknown
from automation.model.evidence import PlaybookRun
from automation.model.records import Outcome
from automation.model.secrets import SecretRef

ROOT = Path(__file__).resolve().parents[2]
SECRET = "correct-horse-battery-staple"

HOSTS = """
all:
  hosts:
    here: {ansible_connection: local, ansible_python_interpreter: "{{ ansible_playbook_python }}"}
    away: {ansible_host: 127.0.0.1, ansible_port: 1}
"""
# The secret is handed over on standard input, so that this command line does not hold it.
SCAN = """
import pathlib, sys
secret = sys.stdin.read().strip().encode()
for kind in ("cmdline", "environ"):
    for path in pathlib.Path("/proc").glob(f"[0-9]*/{kind}"):
        try:
            if secret in path.read_bytes():
                print(kind, path)
        except OSError:
            pass
"""
GOOD = """
- hosts: here
  gather_facts: false
  tasks:
    - name: Look for the secret
      ansible.builtin.command:
        argv: ["{{ ansible_playbook_python }}", -c, "{{ scan }}"]
        stdin: "{{ word }}"
      register: hits
      changed_when: hits.stdout != ""
    - name: Say the secret
      ansible.builtin.debug: {msg: "the word is {{ word }}"}
    - name: Write something
      ansible.builtin.copy: {content: "{{ number + 1 }}", dest: "{{ target }}", mode: "0600"}
"""
BAD = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Reach it
      ansible.builtin.ping:
    - name: Break on purpose
      ansible.builtin.fail: {msg: "no more paper, says {{ word }}"}
"""
# Its worker leaves the session, as ansible-playbook's own workers do.
LONG = """
- hosts: here
  gather_facts: false
  tasks:
    - name: Take long
      ansible.builtin.command: {argv: [setsid, sleep, "{{ seconds }}"]}
"""


class Bench(NamedTuple):
    """An environment in a temporary folder, and what was said on the way."""

    context: Callable[[str, float], RunContext]
    playbook: Callable[[str, str], str]
    folder: Path
    said: list[str]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("ansible")
    (folder / "hosts.yml").write_text(HOSTS)
    (folder / "word").write_text(SECRET)
    said: list[str] = []

    def playbook(name: str, text: str) -> str:
        path = folder / f"{name}.yml"
        path.write_text(text)
        return str(path)

    def context(step: str, timeout_s: float) -> RunContext:
        return _context(folder, lambda step_id, text: said.append(f"{step_id}: {text}"), step, timeout_s)

    return Bench(context, playbook, folder, said)


def _context(folder: Path, say: Callable[[str, str], None], step: str, timeout_s: float) -> RunContext:
    return RunContext(
        run_id="test",
        environment=_environment(folder),
        inventory=Inventory(servers={}),
        state=folder,
        images=folder,
        artifacts=folder / "artifacts",
        connections=None,  # type: ignore[arg-type]
        progress=say,
        step_id=step,
        timeout_s=timeout_s,
    )


def _environment(folder: Path) -> Environment:
    return Environment.model_validate(
        {
            "name": "test",
            "folder": folder,
            "kind": "production",
            "inventory": ["hosts.yml"],
            "automation_user": "ops",
            "witness": {"host": "here"},
            "dns": {"zone": "test", "key_name": "k", "key": {"env": "K"}},
        }
    )


CONTROLLER = """
import sys
from tests.lab.test_ansible import controller
controller(*sys.argv[1:])
"""


def controller(folder: str, playbook: str, seconds: str) -> None:
    """What the killed controller does: run a playbook that takes long."""
    context = _context(Path(folder), lambda step, text: None, "killed", 60.0)
    run_playbook(RunPlaybook(playbook=playbook, variables={"seconds": seconds}), context)


@pytest.fixture(scope="module")
def runs(bench: Bench) -> Iterator[dict[str, Future[Outcome]]]:
    word = {"word": SecretRef(file="word")}
    target = str(bench.folder / "written")
    actions = {
        "good": RunPlaybook(
            playbook=bench.playbook("good", GOOD),
            variables={"scan": SCAN, "number": 41, "target": target},
            secrets=word,
            limit="here",
        ),
        "bad": RunPlaybook(playbook=bench.playbook("bad", BAD), secrets=word),
        "long": RunPlaybook(playbook=bench.playbook("long", LONG), variables={"seconds": 612}),
    }
    with ThreadPoolExecutor() as threads:
        yield {
            name: threads.submit(run_playbook, action, bench.context(name, 12.0 if name == "long" else 60.0))
            for name, action in actions.items()
        }


def test_a_run_says_what_changed_by_host(runs: dict[str, Future[Outcome]], bench: Bench) -> None:
    outcome = runs["good"].result()
    assert isinstance(outcome.evidence, PlaybookRun)
    assert (outcome.changed, outcome.evidence.changed, outcome.evidence.ok) == (
        True,
        {"here": 1},
        {"here": 3},
    )
    assert (bench.folder / "written").read_text() == "42"
    assert any(line.startswith("good: ") and line.endswith("Write something") for line in bench.said)


def test_a_secret_is_on_no_command_line_and_in_no_artifact(
    runs: dict[str, Future[Outcome]], bench: Bench
) -> None:
    runs["good"].result()
    events = [
        json.loads(line) for line in (bench.folder / "artifacts/good.ansible.jsonl").read_text().splitlines()
    ]
    looked = next(event for event in events if event.get("task") == "Look for the secret" and "host" in event)
    assert not looked["changed"], "the secret stood on a command line or in an environment"
    holders = [path for path in bench.folder.rglob("*") if path.is_file() and SECRET in path.read_text()]
    assert holders == [bench.folder / "word"]
    assert not any(SECRET in line for line in bench.said)


def test_a_failure_names_host_task_and_the_modules_words(runs: dict[str, Future[Outcome]]) -> None:
    error = runs["bad"].exception()
    assert isinstance(error, AdapterError)
    assert not error.transient
    assert "here, task 'Break on purpose': no more paper, says [redacted]" in str(error)
    assert "nothing was changed" in str(error)


def test_an_unreachable_host_is_told_apart(runs: dict[str, Future[Outcome]]) -> None:
    error = runs["bad"].exception()
    assert isinstance(error, AdapterError)
    assert "away is unreachable (Reach it): " in str(error)
    assert error.hint == "see to away, then run it again"


def test_a_run_past_its_time_is_ended_with_all_it_started(
    runs: dict[str, Future[Outcome]], bench: Bench
) -> None:
    error = runs["long"].exception()
    assert isinstance(error, OutcomeUnknown)
    assert "its time was up" in str(error)
    assert any("Take long" in line for line in bench.said)
    assert not _alive("612")


def test_kill_9_leaves_no_ansible_process_and_no_folder(bench: Bench) -> None:
    """Of the controller: its pipe ends. Of the child: the controller sees to what is left."""
    victims = {seconds: _start_controller(bench, seconds) for seconds in ("613", "614")}
    _until(lambda: all(map(_alive, victims)))
    folders = {folder for process in victims.values() for folder in _folders_of(process.pid)}
    os.kill(victims["613"].pid, signal.SIGKILL)
    os.kill(_child_of(victims["614"].pid), signal.SIGKILL)
    for process in victims.values():
        process.communicate()
    _until(lambda: not any(map(_alive, victims)) and not any(folder.exists() for folder in folders))
    assert len(folders) == 2
    assert not _marked(folders)


def _start_controller(bench: Bench, seconds: str) -> subprocess.Popen[str]:
    argv = [
        sys.executable,
        "-c",
        CONTROLLER,
        str(bench.folder),
        bench.playbook(f"kill-{seconds}", LONG),
        seconds,
    ]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_playbook_that_does_not_exist_is_refused(bench: Bench) -> None:
    with pytest.raises(ConfigError, match=r"no playbook playbooks/none\.yml; nothing was changed"):
        run_playbook(RunPlaybook(playbook="playbooks/none.yml"), bench.context("none", 5.0))


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"msg": "non-zero return code", "stderr": "disk full\n"}, "non-zero return code / disk full"),
        ({"msg": "", "stdout": "only this"}, "only this"),
        ({"censored": "hidden by no_log"}, "hidden by no_log"),
        ({}, "no message"),
    ],
    ids=["message-and-stderr", "stdout", "no-log", "nothing"],
)
def test_a_modules_own_words_explain_its_failure(result: dict[str, str], words: str) -> None:
    assert explain(result) == words


def test_events_that_nobody_reads_are_not_told() -> None:
    assert describe({"event": "runner_on_start", "event_data": {"host": "here"}}) is None


# --- processes ------------------------------------------------------------------------------------


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in 20 s"
        time.sleep(0.02)


def _alive(seconds: str) -> list[int]:
    """Every `sleep SECONDS` of this machine."""
    return [
        pid for pid in _processes() if _read(pid, "cmdline").split(b"\0")[:2] == [b"sleep", seconds.encode()]
    ]


def _marked(folders: set[Path]) -> list[int]:
    marks = {f"{MARK}={folder}".encode() for folder in folders}
    return [pid for pid in _processes() if marks & set(_read(pid, "environ").split(b"\0"))]


def _folders_of(controller_pid: int) -> set[Path]:
    named = _read(_child_of(controller_pid), "environ").split(b"\0")
    prefix = f"{MARK}={MEMORY}/{PREFIX}".encode()
    return {Path(entry.partition(b"=")[2].decode()) for entry in named if entry.startswith(prefix)}


def _child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
