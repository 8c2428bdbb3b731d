"""Playbooks, each in a short-lived child process.

The child (`child.py`) gets a minimal environment, its job and the secrets on
standard input, and a folder in memory that is gone when it ends. If it or this process
is killed, its pipe ends, or the next run finds the folder unlocked and ends what is left.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import IO, Any, NamedTuple

from pydantic import JsonValue

from automation.model.actions import RunPlaybook
from automation.model.errors import AdapterError, ConfigError, OutcomeUnknown
from automation.model.evidence import PlaybookRun
from automation.model.records import Context, Outcome

ROOT = Path(__file__).resolve().parents[3]
CHILD = Path(__file__).with_name("child.py")
MEMORY = Path("/dev/shm")
MARK = "MAINSTAY_PLAYBOOK"
PREFIX = "mainstay-playbook-"
END_GRACE_S = 10.0

# A dead host is noticed after 6 s; a master connection ends with its run.
SSH_OPTIONS = (
    "ControlMaster=auto",
    "ControlPersist=60s",
    "ServerAliveInterval=2",
    "ServerAliveCountMax=3",
    "BatchMode=yes",
    "IdentitiesOnly=yes",
    "GSSAPIAuthentication=no",
    "StrictHostKeyChecking=yes",
)


# --- playbooks ------------------------------------------------------------------------------------


def run_playbook(action: RunPlaybook, ctx: Context) -> Outcome:
    """Run a playbook over SSH as the automation user; idempotent as far as the playbook is.

    Raises:
        ConfigError: there is no such playbook.
        AdapterError: a task failed or a host was unreachable; `transient` when nothing but the latter.
        OutcomeUnknown: it did not end in time, or its process was killed.
    """
    return play(action, ctx, ctx.timeout_s).outcome()


class Module(NamedTuple):
    """A module whose result is told whole, and what its playbook is given beside plain words."""

    name: str
    variables: Mapping[str, JsonValue]


def play(action: RunPlaybook, ctx: Context, timeout_s: float, module: Module | None = None) -> "Log":
    """Run a playbook to its end, whatever that is; the log has the results of the module.

    Raises:
        ConfigError: there is no such playbook.
    """
    playbook = ROOT / action.playbook
    if not playbook.is_file():
        raise ConfigError(f"there is no playbook {action.playbook}; nothing was changed")
    secrets = {name: ctx.secret(ref) for name, ref in action.secrets.items()}
    end_abandoned()
    log = Log(action, ctx)
    with _folder() as (folder, lock):
        job = {
            "folder": str(folder),
            "playbook": str(playbook),
            "inventory": [str(path) for path in ctx.environment.inventory_files],
            "limit": action.limit,
            "variables": {**action.variables, **(module.variables if module else {})},
            "secrets": secrets,
            "check": action.check,
            "module": module.name if module else "",
        }
        _run_child(job, _environment(folder, ctx), lock, log, timeout_s)
    return log


def _environment(folder: Path, ctx: Context) -> dict[str, str]:
    """Give all that Ansible may know of us; of our own environment it has what `inventory_environ` names."""
    options = (*SSH_OPTIONS, f"UserKnownHostsFile={ctx.environment.known_hosts(ctx.state)}")
    reading, trusted = ctx.environment.reading, ctx.environment.trusted_by_stores(ctx.state)
    return {
        **{name: os.environ[name] for name in reading.environ if name in os.environ},
        "PATH": f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        MARK: str(folder),
        # For roles that tell servers whom to trust.
        "MAINSTAY_KNOWN_HOSTS": str(ctx.environment.known_hosts(ctx.state)),
        **({"MAINSTAY_STORE_CA": str(trusted)} if trusted else {}),
        "ANSIBLE_CONFIG": str(reading.ansible_config or ROOT / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        "ANSIBLE_REMOTE_USER": ctx.environment.automation_user,
        "ANSIBLE_PRIVATE_KEY_FILE": str(ctx.environment.ssh_key(ctx.state)),
        "ANSIBLE_SSH_ARGS": " ".join(f"-o {option}" for option in options),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "c"),
        "ANSIBLE_SSH_CONTROL_PATH": "%(directory)s/%%C",
    }


@contextmanager
def _folder() -> Iterator[tuple[Path, int]]:
    """Make a private folder in memory, locked as long as it is in use."""
    folder, lock = _lock_new_folder()
    try:
        yield folder, lock
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _lock_new_folder() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=MEMORY))
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue  # another run took it for abandoned before it was locked
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder, lock
        os.close(lock)


def _run_child(
    job: Mapping[str, object], environment: Mapping[str, str], lock: int, log: "Log", timeout_s: float
) -> None:
    """Feed the child its job, and the log its events, until it ends or its time is up."""
    with os.fdopen(os.memfd_create("ansible-stderr"), "w+", encoding="utf-8", errors="replace") as stderr:
        child = subprocess.Popen(
            [sys.executable, "-I", str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=dict(environment),
            cwd=ROOT,
            pass_fds=(lock,),
            start_new_session=True,
            text=True,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        timers = (
            Timer(timeout_s, _cancel, (child.stdin,)),
            Timer(timeout_s + END_GRACE_S, child.kill),
        )
        try:
            for timer in timers:
                timer.start()
            _tell(child.stdin, json.dumps(job))
            for line in child.stdout:
                log.take(json.loads(line))
            log.exit_code = child.wait()
        finally:
            for timer in timers:
                timer.cancel()
            _end(child)
            if child.returncode < 0:
                end_marked(str(job["folder"]))
        stderr.seek(0)
        log.stderr = stderr.read()


def _tell(control: IO[str], line: str) -> None:
    try:
        control.write(line + "\n")
        control.flush()
    except (BrokenPipeError, ValueError):
        return  # the child has ended; its exit code says why


def _cancel(control: IO[str]) -> None:
    _tell(control, "cancel")


def _end(child: subprocess.Popen[str]) -> None:
    """Close the control pipe, which ends the child's tree, and see the child off."""
    assert child.stdin is not None
    assert child.stdout is not None
    with suppress(BrokenPipeError):
        child.stdin.close()
    try:
        child.wait(END_GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdout.close()


def end_abandoned() -> None:
    """End playbooks whose child process was killed, and remove their folders."""
    for folder in MEMORY.glob(f"{PREFIX}*"):
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            end_marked(str(folder))
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)


def end_marked(folder: str) -> None:
    """Kill every process whose environment carries a playbook's folder."""
    mark = f"{MARK}={folder}".encode()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in environ.read_bytes().split(b"\0"):
                os.kill(int(environ.parent.name), signal.SIGKILL)
        except OSError:
            continue


class Log:
    """What a playbook's run said: kept as an artifact, told as progress, summed up at its end."""

    def __init__(self, action: RunPlaybook, ctx: Context) -> None:
        self._playbook = action.playbook
        self._check = action.check
        self._ctx = ctx
        self._failures: list[dict[str, Any]] = []
        self._items: dict[tuple[str, str], str] = {}
        self._output: list[str] = []
        self._end: dict[str, Any] | None = None
        self.exit_code = 0
        self.stderr = ""
        self.results: dict[str, dict[str, Any]] = {}
        ctx.artifacts.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = ctx.artifacts / f"{ctx.step_id.replace('/', '-') or 'playbook'}.ansible.jsonl"

    def take(self, event: dict[str, Any]) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")
        if "result" in event:
            self.results[event["host"]] = event["result"]
        match event["event"]:
            case "task":
                self._ctx.say(f"{event['play']}: {event['task']}")
            case "item-failed":
                self._items[event["host"], event["task"]] = event["message"]
            case "failed" | "unreachable" if not event["ignored"]:
                self._failures.append(event)
            case "output":
                self._output.append(event["text"])
            case "end":
                self._end = event

    def outcome(self) -> Outcome:
        """Give the outcome of a run that ended well.

        Raises:
            AdapterError, OutcomeUnknown: as `run_playbook` says.
        """
        if self._end is None:
            raise self._unknown()
        hosts: dict[str, dict[str, int]] = self._end["hosts"]
        if self._end["exit_code"] != 0:
            raise self._failed(hosts)
        if not hosts:
            raise AdapterError(f"{self._playbook} matched no host; nothing was changed")
        changed = {host: totals["changed"] for host, totals in hosts.items()}
        evidence = PlaybookRun(
            playbook=self._playbook,
            changed=changed,
            ok={host: totals["ok"] for host, totals in hosts.items()},
            check=self._check,
        )
        done = sum(changed.values())
        verb = "would change" if self._check else "changed"
        summary = f"{self._playbook}: {len(hosts)} hosts, {done} tasks {verb} something"
        return Outcome(changed=done > 0 and not self._check, summary=summary, evidence=evidence)

    def _failed(self, hosts: Mapping[str, Mapping[str, int]]) -> AdapterError:
        changed = sum(totals["changed"] for totals in hosts.values())
        after = f"{changed} tasks had changed something before"
        if self._check or not changed:
            after = "nothing was changed"
        if not self._failures:
            said = " / ".join(self._output[-5:]) or f"exit code {self._end and self._end['exit_code']}"
            return AdapterError(f"{self._playbook} did not run: {said}; {after}")
        lines = [self._describe(failure) for failure in self._failures]
        away = [failure["host"] for failure in self._failures if failure["event"] == "unreachable"]
        return AdapterError(
            f"{self._playbook} failed; {after}\n" + "\n".join(lines),
            transient=len(away) == len(self._failures),
            hint=f"see to {', '.join(away)}, then run it again"
            if away
            else "mend the cause and run it again",
        )

    def _describe(self, failure: dict[str, Any]) -> str:
        host, task, message = failure["host"], failure["task"], failure["message"]
        if failure["event"] == "unreachable":
            return f"  {host} is unreachable ({task}): {message}"
        return f"  {host}, task {task!r}: {self._items.get((host, task), message)}"

    def _unknown(self) -> OutcomeUnknown:
        how = {3: "was stopped, its time was up"}.get(
            self.exit_code, f"ended with exit code {self.exit_code}"
        )
        last = self.stderr.strip().splitlines()[-1:]
        return OutcomeUnknown(
            f"{self._playbook} {how}; tasks that had begun may have taken effect"
            + "".join(f": {t}" for t in last),
            hint="run it again: what is done already is left as it is",
        )
