#!/usr/bin/env python3
"""The checker: which database node takes writes, tried on a beat from one network of a lab.

Runs alone on a host of a lab: one file, the standard library and psycopg2, Python 3.9 or later. Once
started it needs nobody, so its record survives the control node.

Config (JSON): watch, writer, beat_ms, lanes, stop_after_s, out (folder), user, password, database,
targets: [{node, address, port}]. Nodes are named by address, never by a DNS name, so that a node that
nobody should reach any more is tried all the same. Each target has a thread of its own; a beat takes a
free lane (a connection), and a write ends, one way or another, after lanes x beat: so a node that hangs
never holds a beat back. The record is `checker.jsonl` in `out`, one JSON object a line:

  header  first line of every start: writer, incarnation, clock, config without the password
  write   an attempt ended: node, n, start and end (monotonic ns), became, why
          committed  the node said so after its COMMIT
          refused    the node answered that it did not write
          failed     nothing was sent: no connection in time
          in_doubt   sent, and no answer: it may have been committed at any moment after its start
  missed  beats without an attempt, because this machine stood still or every lane was taken
  end     orderly end

Exit codes: 0 ended in good order; 2 usage or trouble of this machine.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import signal
import socket
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]

VERSION = "1"
FILE = "checker.jsonl"
INSERT = "INSERT INTO writes (writer, incarnation, node, n) VALUES (%s, %s, %s, %s)"
COMMITTED, REFUSED, FAILED, IN_DOUBT = "committed", "refused", "failed", "in_doubt"
# A server that is told to end may have committed what it does not answer for any more.
ENDING = "57P"
WHY_LENGTH = 60
# Many lanes connect while a node is slow; a healthy one needs two or three.
IDLE_NS = 1_000_000_000
STOP_AFTER_S = 3600


class Ledger:
    """The append-only record. A line is one write(2): a killed checker loses nothing it has seen."""

    def __init__(self, folder: str) -> None:
        path = os.path.join(folder, FILE)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.broken: OSError | None = None
        self.incarnation = 1
        line = b"\n"
        with open(path, "rb") as file:
            for line in file:
                self.incarnation += b'"record":"header"' in line
        if not line.endswith(b"\n"):
            os.write(self._fd, b"\n")  # an earlier start was cut off in the middle of a line

    def write(self, record: Record) -> None:
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        try:
            if os.write(self._fd, line) != len(line):
                raise OSError(errno.ENOSPC, "short write")
        except OSError as exc:
            self.broken = exc

    def close(self) -> None:
        os.fsync(self._fd)


class Lane:
    """One connection of a target, and the write that it carries."""

    def __init__(self) -> None:
        self.connection: Any = None
        self.cursor: Any = None
        self.number, self.start_ns = 0, 0
        self.busy = self.sent = self.wants_to_write = False

    def begin(self, number: int) -> None:
        self.number, self.start_ns = number, time.monotonic_ns()
        self.busy, self.sent = True, False

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self.connection = self.cursor = None
        self.busy = self.wants_to_write = False


class Target:
    """One database node: its beat, its lanes, its lines in the record."""

    def __init__(self, config: Record, target: Record, ledger: Ledger, driver: Any) -> None:
        self.config, self.target, self.ledger, self.driver = config, target, ledger, driver
        self.beat_ns = int(config["beat_ms"] * 1e6)
        self.lanes = [Lane() for _ in range(config["lanes"])]
        self.limit_ns = self.beat_ns * config["lanes"]
        self.number = 0

    def run(self, stopping: threading.Event) -> None:
        """Keep the beat until told to stop; then let what is under way end."""
        due_ns = time.monotonic_ns()
        while not stopping.is_set():
            now_ns = time.monotonic_ns()
            if now_ns >= due_ns:
                beats = 1 + (now_ns - due_ns) // self.beat_ns
                if beats > 1:
                    self.miss(beats - 1, "late")
                self.beat()
                due_ns += beats * self.beat_ns
            self.turn(due_ns)
        until_ns = time.monotonic_ns() + self.limit_ns
        while any(lane.busy for lane in self.lanes):
            self.turn(until_ns)
        for lane in self.lanes:
            lane.close()

    def beat(self) -> None:
        """Begin one write on a lane that is connected, else on one that is not yet."""
        free = [lane for lane in self.lanes if not lane.busy]
        if not free:
            self.miss(1, "no lane")
            return
        lane = next((lane for lane in free if lane.connection is not None), free[0])
        self.number += 1
        lane.begin(self.number)
        try:
            if lane.connection is None:
                lane.connection = self.connect()
                lane.wants_to_write = True
            else:
                self.send(lane)
        except self.driver.Error as exc:
            self.fail(lane, exc)

    def connect(self) -> Any:
        """Open a connection without waiting for it."""
        return self.driver.connect(
            hostaddr=self.target["address"],
            port=self.target["port"],
            user=self.config["user"],
            password=self.config["password"],
            dbname=self.config["database"],
            sslmode="disable",
            gssencmode="disable",
            application_name="mainstay-checker",
            async_=1,
        )

    def send(self, lane: Lane) -> None:
        """Send the write: one statement, so it is its own transaction."""
        values = (self.config["writer"], self.ledger.incarnation, self.target["node"], lane.number)
        lane.cursor = lane.connection.cursor()
        lane.sent = True
        lane.cursor.execute(INSERT, values)
        lane.wants_to_write = False
        self.advance(lane)

    def turn(self, until_ns: int) -> None:
        """Wait until something is ready or due, and go on with it."""
        now_ns = time.monotonic_ns()
        limits = [lane.start_ns + self.limit_ns for lane in self.lanes if lane.busy]
        wait_s = max(0, min([until_ns, *limits]) - now_ns) / 1e9
        open_lanes = {lane.connection.fileno(): lane for lane in self.lanes if lane.connection is not None}
        writing = [fd for fd, lane in open_lanes.items() if lane.wants_to_write]
        readable, writable, _ = select.select(list(open_lanes), writing, [], wait_s)
        for fd in {*readable, *writable}:
            self.advance(open_lanes[fd])
        self.give_up(time.monotonic_ns())

    def give_up(self, now_ns: int) -> None:
        """End writes that are past their limit, and close connections that no beat has needed for long."""
        for lane in self.lanes:
            if lane.busy and now_ns >= lane.start_ns + self.limit_ns:
                self.end(lane, IN_DOUBT if lane.sent else FAILED, "timeout")
                lane.close()
            elif not lane.busy and now_ns >= lane.start_ns + IDLE_NS:
                lane.close()

    def advance(self, lane: Lane) -> None:
        """Take one step with a lane: connected, answered, or lost."""
        try:
            state = lane.connection.poll()
            if state != self.driver.extensions.POLL_OK:
                lane.wants_to_write = state == self.driver.extensions.POLL_WRITE
            elif lane.busy and not lane.sent:
                self.send(lane)
            elif lane.busy:
                self.end(lane, COMMITTED, "")
            elif lane.connection.closed:
                lane.close()
        except self.driver.Error as exc:
            self.fail(lane, exc)

    def fail(self, lane: Lane, error: Any) -> None:
        """Note what an error says of the write that the lane carried, if it did."""
        code = getattr(error, "pgcode", None)
        if lane.busy:
            self.end(lane, became(code, lane.sent), code or " ".join(str(error).split())[-WHY_LENGTH:])
        if code is None or code.startswith(ENDING) or lane.connection is None or lane.connection.closed:
            lane.close()

    def end(self, lane: Lane, outcome: str, why: str) -> None:
        times = {"start": lane.start_ns, "end": time.monotonic_ns()}
        line = {"record": "write", "node": self.target["node"], "n": lane.number, **times}
        self.ledger.write({**line, "became": outcome, **({"why": why} if why else {})})
        lane.busy = False

    def miss(self, beats: int, why: str) -> None:
        at = time.monotonic_ns()
        self.ledger.write(
            {"record": "missed", "node": self.target["node"], "beats": beats, "at": at, "why": why}
        )


def became(code: str | None, sent: bool) -> str:
    """Say what became of a write that ended with an error; `code`: the server's SQLSTATE, if it gave one."""
    if not sent:
        return FAILED if code is None else REFUSED
    return IN_DOUBT if code is None or code.startswith(ENDING) else REFUSED


def run(path: str) -> int:
    """Write until SIGTERM; give the exit code."""
    import psycopg2  # here, so that the rest can be read and tested where it is not installed
    import psycopg2.extensions

    with open(path, encoding="utf-8") as file:
        config: Record = json.load(file)
    ledger = Ledger(config["out"])
    ledger.write(header(config, ledger.incarnation))
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())
    targets = [Target(config, target, ledger, psycopg2) for target in config["targets"]]
    threads = [threading.Thread(target=target.run, args=(stopping,), daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    until = time.monotonic() + config.get("stop_after_s", STOP_AFTER_S)
    healthy = True
    while healthy and not stopping.wait(0.2) and time.monotonic() < until:
        healthy = ledger.broken is None and all(thread.is_alive() for thread in threads)
    stopping.set()
    for thread in threads:
        thread.join(2.0)
    if not healthy:
        print(f"cannot go on: {ledger.broken or 'the thread of a target has died'}", file=sys.stderr)
        return 2
    ledger.write({"record": "end", "at": time.monotonic_ns()})
    ledger.close()
    return 0


def header(config: Record, incarnation: int) -> Record:
    """All that a reader needs to judge the record: by whom, by which clock, with which config."""
    clock = {
        "mono_ns": time.monotonic_ns(),
        "wall_ns": time.time_ns(),
        "time_namespace": os.readlink("/proc/self/ns/time"),
    }
    line = {"record": "header", "version": VERSION, "incarnation": incarnation, "clock": clock}
    shown = {key: value for key, value in config.items() if key != "password"}
    return {**line, "writer": config["writer"], "host": socket.gethostname(), "config": shown}


def main(argv: list[str]) -> int:
    """Run the checker; give its exit code."""
    if len(argv) != 1:
        print("usage: checker.py CONFIG", file=sys.stderr)
        return 2
    try:
        return run(argv[0])
    except (OSError, ValueError, KeyError, TypeError, ImportError) as exc:
        print(f"{type(exc).__name__}: {exc}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
