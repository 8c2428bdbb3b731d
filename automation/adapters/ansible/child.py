"""Run one playbook in ansible-runner and end with whoever started it.

A program, run by `adapters/ansible/playbooks.py` as `python -I child.py`. Standard
input: the job as JSON on line 1, then nothing until `cancel` or its end, which
also comes when the controller is killed; either ends every process of the tree.
Standard output: what happens, one JSON object a line, secrets redacted by value.

ansible-playbook's workers leave its session and its process group, and an orphaned
one goes on working; so this process adopts orphans and looks for all of its own
descendants in /proc.
"""

import ctypes
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

PR_SET_CHILD_SUBREAPER = 36
TERM_GRACE_S = 3.0
EXIT_CANCELLED = 3
REDACTED = "[redacted]"
_SHORTEST = 4  # shorter values would blank ordinary words

_RESULTS = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_item_on_failed": "item-failed",
    "runner_on_unreachable": "unreachable",
}
_LENGTHY = ("invocation", "diff")  # what a module was given, and whole files
_TOTALS = ("ok", "changed", "failures", "dark", "skipped", "rescued", "ignored")


def main() -> None:
    """Read the job, run it, leave nothing behind."""
    adopt_orphans()
    control, lines = _take_over_standard_streams()
    job = json.loads(control.readline())
    say = Speaker(lines, job["secrets"].values())
    threading.Thread(target=_obey, args=(control, job["folder"]), daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: _cancel(job["folder"]))
    try:
        result = run(job, say)
    finally:
        end_descendants()
        shutil.rmtree(job["folder"], ignore_errors=True)
    say({"event": "end", **result})


def _take_over_standard_streams() -> tuple[TextIO, TextIO]:
    """Keep both pipes to ourselves: what we start reads nothing and cannot write between events."""
    control, lines = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w", buffering=1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return control, lines


class Speaker:
    """Writes events for the controller, without the values of secrets."""

    def __init__(self, lines: TextIO, secrets: Iterable[str]) -> None:
        self._lines = lines
        self._secrets = sorted((s for s in secrets if len(s) >= _SHORTEST), key=len, reverse=True)

    def __call__(self, event: Mapping[str, object]) -> None:
        self._lines.write(json.dumps(self._clean(event)) + "\n")

    def _clean(self, value: object) -> object:
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, REDACTED)
            return value
        if isinstance(value, Mapping):
            return {str(self._clean(key)): self._clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._clean(item) for item in value]
        return value


def run(job: dict[str, Any], say: Speaker) -> dict[str, object]:
    """Run the playbook; give its exit code and the totals of each host."""
    import ansible_runner

    totals: dict[str, dict[str, int]] = {}

    def take(event: dict[str, Any]) -> bool:
        said = describe(event, job["module"])
        if said is not None:
            say(said)
        if event["event"] == "playbook_on_stats":
            totals.update(count(event["event_data"]))
        return False  # keep no event file

    done = ansible_runner.run(
        private_data_dir=job["folder"],
        ident="run",
        playbook=job["playbook"],
        inventory=job["inventory"],
        limit=job["limit"],
        extravars={**job["variables"], **job["secrets"]},
        cmdline="--check" if job["check"] else None,
        settings={"pexpect_timeout": 1, "suppress_output_file": True},
        event_handler=take,
        quiet=True,
    )
    return {"status": done.status, "exit_code": done.rc, "hosts": totals}


def describe(event: dict[str, Any], module: str = "") -> dict[str, object] | None:
    """Give what the controller is told of a runner event, of one module its result too.

    None for what nobody reads.
    """
    kind, content = event["event"], event.get("event_data") or {}
    if kind == "playbook_on_task_start":
        return {"event": "task", "play": content.get("play"), "task": content.get("task")}
    if kind in _RESULTS:
        said = _describe_result(_RESULTS[kind], content)
        if module and content.get("task_action") == module:
            said["result"] = {k: v for k, v in (content.get("res") or {}).items() if k not in _LENGTHY}
        return said
    if kind in ("error", "warning", "deprecated", "verbose") and event.get("stdout", "").strip():
        return {"event": "output", "text": event["stdout"].strip()}
    return None


def _describe_result(word: str, content: dict[str, Any]) -> dict[str, object]:
    result = content.get("res") or {}
    said: dict[str, object] = {
        "event": word,
        "host": content.get("host"),
        "task": content.get("task"),
        "changed": bool(result.get("changed")),
        "seconds": round(content.get("duration") or 0.0, 3),
    }
    if word != "ok":
        said["message"] = explain(result)
        said["ignored"] = bool(content.get("ignore_errors"))
    return said


def explain(result: Mapping[str, Any]) -> str:
    """Give a module's own words for its failure: its message, and what its command said."""
    parts = [result.get("msg"), result.get("stderr") or result.get("module_stderr")]
    if not any(parts):
        parts = [result.get("censored"), result.get("stdout"), result.get("module_stdout")]
    return " / ".join(dict.fromkeys(str(part).strip() for part in parts if part)) or "no message"


def count(stats: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Give the totals of each host, without ansible-playbook's dead columns."""
    hosts = {host for column in _TOTALS for host in stats.get(column) or {}}
    return {
        host: {column: (stats.get(column) or {}).get(host, 0) for column in _TOTALS} for host in sorted(hosts)
    }


# --- the tree of processes ------------------------------------------------------------------------


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends (prctl(2))."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _obey(control: TextIO, folder: str) -> None:
    """Wait for `cancel` or the end of the control pipe."""
    for line in control:
        if line.strip() == "cancel":
            break
    _cancel(folder)


def _cancel(folder: str) -> None:
    end_descendants()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(EXIT_CANCELLED)


def end_descendants() -> None:
    """End the whole tree below this process: SIGTERM, then SIGKILL until none is left."""
    asked: set[int] = set()
    deadline = time.monotonic() + TERM_GRACE_S
    while found := list_descendants(os.getpid()):
        late = time.monotonic() > deadline
        for pid in found if late else found - asked:
            _signal(pid, signal.SIGKILL if late else signal.SIGTERM)
        asked |= found
        time.sleep(0.02)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def list_descendants(root: int) -> set[int]:
    """Name the living processes below one process; a zombie is dead."""
    parents = dict(filter(None, map(_parent, Path("/proc").glob("[0-9]*/stat"))))
    found: set[int] = set()
    front = {root}
    while front:
        front = {pid for pid, parent in parents.items() if parent in front} - found
        found |= front
    return found


def _parent(stat: Path) -> tuple[int, int] | None:
    try:
        # The command in brackets may hold spaces and brackets of its own.
        state, parent, *_ = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else (int(stat.parent.name), int(parent))


if __name__ == "__main__":
    main()
