#!/usr/bin/env python3
"""The witness: what a client of a service sees, on a fixed beat, in a file of its own.

Runs alone on a vantage host: one file, standard library only, Python 3.9 or later. It imports nothing
of Mainstay and needs nobody once started, so its record survives the control node.

Config (JSON): run_id, beat_ms, timeout_ms, outstanding_max (64), stop_after_s (one day: a witness that
everybody forgot must not fill a disk), out (folder, default the config's own), probes: [{id, kind, name,
port, path, status: [...], body: {...}}]. The record is `witness.jsonl` in `out`, one JSON object a line,
told apart by `record`:

  header   first line of every start: host, resolver, clock, config, version, incarnation
  sending  a numbered write is about to leave; with no `probe` line after it, it is in doubt
  probe    a probe ended: seq, start and end (wall and monotonic, ns), verdict good | bad, error, detail,
           address, and for writes reference and write: acknowledged | refused | in_doubt
  missed   beats not started because this machine stood still; never silently skipped
  end      orderly end

Exit codes: 0 ended in good order; 2 usage or trouble of this machine; 3 another witness writes this record.
"""

# Machines in service are older than ours: `socket.timeout` is TimeoutError only since Python 3.10.
# ruff: noqa: UP041, PTH
from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import fcntl
import http.client
import json
import os
import signal
import socket
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]
    Answer = tuple[str | None, str, str | None]  # error class, detail, what became of a write

VERSION = "1"
FILE = "witness.jsonl"
ACKNOWLEDGED, REFUSED, IN_DOUBT = "acknowledged", "refused", "in_doubt"
# More than a thread needs to report its own timeout: the beat ends only probes that are truly stuck.
REAP_AFTER_NS = 50_000_000
LONGEST_SLEEP_S = 0.05
ANSWER_BYTES = 65_536
STOP_AFTER_S = 86_400
UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.ENONET)


class Ended(Exception):
    """The beat has ended this attempt; its thread must do nothing more."""


class Ledger:
    """The append-only record. A line is one write(2): a killed witness loses nothing it has seen."""

    def __init__(self, folder: str) -> None:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self.path = os.path.join(folder, FILE)
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._dirty = threading.Event()
        self.broken: OSError | None = None
        self.incarnation = 1
        self.last_seq: dict[str, int] = {}
        self._read_back()

    def _read_back(self) -> None:
        """Go on counting where an earlier start of the same run was cut off."""
        line = b""
        with open(self.path, "rb") as file:
            for line in file:
                record = parse(line)
                if record.get("record") == "header":
                    self.incarnation = int(record["incarnation"]) + 1
                elif "seq" in record:
                    self.last_seq[record["probe"]] = max(record["seq"], self.last_seq.get(record["probe"], 0))
        if line and not line.endswith(b"\n"):
            os.write(self._fd, b"\n")

    def write(self, record: Record, durable: bool = False) -> None:
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        try:
            if os.write(self._fd, line) != len(line):
                raise OSError(errno.ENOSPC, "short write")
        except OSError as exc:
            self.broken = exc
        if durable:
            self._dirty.set()

    def sync_forever(self) -> None:
        """Bring acknowledged writes to disk, many with one sync; no probe ever waits for it."""
        while self._dirty.wait():
            self._dirty.clear()
            os.fdatasync(self._fd)

    def close(self) -> None:
        os.fsync(self._fd)


class Attempt:
    """One probe under way. The first to end it, its own thread or the beat, writes the record."""

    def __init__(self, probe: Record, seq: int, witness: Witness) -> None:
        self.probe, self.seq, self.ledger = probe, seq, witness.ledger
        run_id = witness.config["run_id"]
        self.reference = f"{run_id}/{probe['id']}/{seq}" if probe["kind"] == "http-write" else None
        self.start_wall_ns, self.start_mono_ns = time.time_ns(), time.monotonic_ns()
        self.deadline_ns = self.start_mono_ns + witness.timeout_ns
        self.phase, self.ended = "resolve", False
        self.address: str | None = None
        self.sock: socket.socket | None = None
        self._lock = threading.Lock()

    def left_s(self) -> float:
        """Seconds to the deadline; raises the timeout when there are none."""
        left_s = (self.deadline_ns - time.monotonic_ns()) / 1e9
        if left_s <= 0:
            raise socket.timeout("deadline passed")
        return left_s

    def enter(self, phase: str) -> None:
        """Go on to the next phase, unless the beat has ended this attempt: then nothing may be sent."""
        with self._lock:
            if self.ended:
                raise Ended
            self.phase = phase

    def sendable(self) -> socket.socket:
        """Give the connection for sending; from here on a write may have reached the server."""
        self.enter("sent")
        if self.sock is None:
            raise Ended
        self.sock.settimeout(self.left_s())
        return self.sock

    def announce(self) -> None:
        """Note a write before it leaves: if the witness dies now, it is in doubt and not forgotten."""
        line = {"record": "sending", "probe": self.probe["id"], "seq": self.seq}
        self.ledger.write({**line, "reference": self.reference, "wall_ns": time.time_ns()})

    def fail(self, exc: Exception) -> None:
        """End with an error, named by how far the attempt had come."""
        if isinstance(exc, socket.timeout):
            named = {"resolve": "name_resolution", "connect": "connect_timeout"}
            error = named.get(self.phase, "no_answer")
        else:
            error = "no_answer" if self.phase == "sent" else classify(exc)
        self.end(error, f"{type(exc).__name__}: {exc}")

    def end(self, error: str | None, detail: str, write: str | None = None) -> None:
        """Write the record, if nobody has."""
        with self._lock:
            ended, self.ended = self.ended, True
        if ended:
            return
        line: Record = {"record": "probe", "probe": self.probe["id"], "seq": self.seq}
        line.update(start_wall_ns=self.start_wall_ns, end_wall_ns=time.time_ns())
        line.update(start_mono_ns=self.start_mono_ns, end_mono_ns=time.monotonic_ns())
        line.update(
            verdict="bad" if error else "good", error=error, detail=detail[:200], address=self.address
        )
        if self.reference:
            # Before anything was sent the write is certainly not there; after it, only the server knows.
            unsaid = IN_DOUBT if self.phase == "sent" else REFUSED
            line.update(reference=self.reference, write=write or unsaid)
        self.ledger.write(line, durable=write == ACKNOWLEDGED)


class Witness:
    """Starts every probe on its own grid of beats and never waits for a slow one."""

    def __init__(self, config: Record, ledger: Ledger) -> None:
        self.config, self.ledger, self.stopping = config, ledger, False
        self.beat_ns, self.timeout_ns = int(config["beat_ms"] * 1e6), int(config["timeout_ms"] * 1e6)
        self.under_way: dict[str, set[Attempt]] = {probe["id"]: set() for probe in config["probes"]}
        self.seq = {name: ledger.last_seq.get(name, 0) for name in self.under_way}
        self._lock = threading.Lock()

    def run(self) -> None:
        probes = self.config["probes"]
        # Probes of different ids are spread over the beat, so they do not compete for the processor.
        offset_ns = self.beat_ns // len(probes)
        due = [time.monotonic_ns() + index * offset_ns for index in range(len(probes))]
        until_ns = due[0] + int(self.config.get("stop_after_s", STOP_AFTER_S) * 1e9)
        while not self.stopping and not self.ledger.broken and due[0] < until_ns:
            self.reap()
            index = due.index(min(due))
            late_ns = time.monotonic_ns() - due[index]
            if late_ns < 0:
                time.sleep(min(-late_ns / 1e9, LONGEST_SLEEP_S))
                continue
            missed = late_ns // self.beat_ns
            due[index] += (missed + 1) * self.beat_ns
            self.start(probes[index], missed)
        while self.reap():
            time.sleep(0.005)

    def start(self, probe: Record, missed: int) -> None:
        name = probe["id"]
        if missed:
            line = {"record": "missed", "probe": name, "beats": missed, "after_seq": self.seq[name]}
            self.ledger.write(line)
        self.seq[name] += 1
        attempt = Attempt(probe, self.seq[name], self)
        with self._lock:
            outstanding = len(self.under_way[name])
            self.under_way[name].add(attempt)
        try:
            if outstanding >= self.config.get("outstanding_max", 64):
                raise RuntimeError(f"not started: {outstanding} probes outstanding")
            threading.Thread(target=self.perform, args=(attempt,), daemon=True).start()
        except RuntimeError as exc:
            attempt.end("witness", str(exc))
            self.forget(attempt)

    def perform(self, attempt: Attempt) -> None:
        try:
            with connect(attempt):
                attempt.end(*KINDS[attempt.probe["kind"]](attempt))
        except Ended:
            pass
        except Exception as exc:  # a server may answer anything; whatever it was, it was no good answer
            attempt.fail(exc)
        finally:
            self.forget(attempt)

    def forget(self, attempt: Attempt) -> None:
        with self._lock:
            self.under_way[attempt.probe["id"]].discard(attempt)

    def reap(self) -> bool:
        """End what its own thread cannot: name resolution has no timeout, a server may drip for ever.

        Returns whether any probe is still without a record.
        """
        with self._lock:
            open_ones = [one for group in self.under_way.values() for one in group if not one.ended]
        for attempt in open_ones:
            if time.monotonic_ns() > attempt.deadline_ns + REAP_AFTER_NS:
                attempt.fail(socket.timeout("no answer within the timeout"))
                if attempt.sock:
                    with contextlib.suppress(OSError):
                        attempt.sock.shutdown(socket.SHUT_RDWR)
        return bool(open_ones)


# --- probe kinds ---------------------------------------------------------------------------------


def connect(attempt: Attempt) -> socket.socket:
    """Resolve the real name anew and connect, trying its addresses in the resolver's order, as clients do."""
    failure = OSError("the name has no address")
    name, port = attempt.probe["name"].encode("ascii"), attempt.probe["port"]
    for family, kind, protocol, _, target in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM):
        attempt.address = str(target[0])
        attempt.enter("connect")
        attempt.sock = socket.socket(family, kind, protocol)
        try:
            attempt.sock.settimeout(attempt.left_s())
            attempt.sock.connect(target)
            attempt.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return attempt.sock
        except OSError as exc:
            attempt.sock.close()
            failure = exc
    raise failure


def classify(exc: Exception) -> str:
    """Name the class of an error met while resolving or connecting."""
    number = getattr(exc, "errno", None)
    if isinstance(exc, (socket.gaierror, UnicodeError)):
        return "name_resolution"
    if isinstance(exc, socket.timeout) or number == errno.ETIMEDOUT:
        return "connect_timeout"
    if number in UNREACHABLE:
        return "unreachable"
    return "connect_refused" if isinstance(exc, ConnectionError) else "witness"


def probe_tcp(attempt: Attempt) -> Answer:
    """Good when a connection is made."""
    return None, "connected", None


def probe_postgresql(attempt: Attempt) -> Answer:
    """Good when the server asks for authentication, which is what pg_isready takes for an answer."""
    sock = attempt.sendable()
    body = b"user\0mainstay_witness\0database\0postgres\0application_name\0mainstay-witness\0\0"
    sock.sendall((len(body) + 8).to_bytes(4, "big") + (3 << 16).to_bytes(4, "big") + body)
    answer = sock.recv(1024)
    if answer[:1] == b"R":
        return None, "asks for authentication", None
    if not answer:
        return "no_answer", "closed without an answer", None
    fields = answer[5:].decode("utf-8", "replace").split("\0")
    told = " ".join(field[1:] for field in fields if field[:1] in ("C", "M"))
    # SQLSTATE class 28: it judged our login and would serve others, which is all that pg_isready asks too.
    return None if told.startswith("28") else "bad_status", told, None


def probe_http(attempt: Attempt) -> Answer:
    """Good when a GET gives one of the expected statuses."""
    status, _ = request(attempt, "GET", None)
    return None if status in attempt.probe.get("status", [200]) else "bad_status", f"HTTP {status}", None


def probe_http_write(attempt: Attempt) -> Answer:
    """Good when the server acknowledges a numbered write."""
    body = json.dumps({**attempt.probe.get("body", {}), "reference": attempt.reference}).encode()
    attempt.announce()
    status, answer = request(attempt, "POST", body)
    if status in attempt.probe.get("status", [200, 201]):
        return None, f"HTTP {status}", ACKNOWLEDGED
    # Only a server that says so has certainly not written; a bare error status proves nothing.
    refused = parse(answer).get("written") is False
    return "bad_status", f"HTTP {status}", REFUSED if refused else IN_DOUBT


def request(attempt: Attempt, method: str, body: bytes | None) -> tuple[int, bytes]:
    """Make one request on a connection of its own; give status and the start of the answer."""
    client = http.client.HTTPConnection(attempt.probe["name"], attempt.probe["port"])
    client.sock = attempt.sendable()
    headers = {"Connection": "close", "User-Agent": "mainstay-witness/" + VERSION}
    if body is not None:
        headers["Content-Type"] = "application/json"
    client.request(method, attempt.probe.get("path", "/"), body=body, headers=headers)
    answer = client.getresponse()
    content = answer.read(ANSWER_BYTES)
    if len(content) < ANSWER_BYTES and answer.length:
        raise http.client.IncompleteRead(content, answer.length)
    return answer.status, content


KINDS = {"tcp": probe_tcp, "postgresql": probe_postgresql, "http": probe_http, "http-write": probe_http_write}


# --- run -----------------------------------------------------------------------------------------


def run(path: str) -> int:
    """Probe until SIGTERM; the record then ends with an orderly last line."""
    config = load_config(path)
    try:
        ledger = Ledger(config["out"])
    except BlockingIOError:
        return report({"error": "another witness writes this record"}, 3)
    witness = Witness(config, ledger)
    ended_by: list[str] = []

    def on_signal(number: int, frame: object) -> None:
        ended_by.append(signal.Signals(number).name)
        witness.stopping = True

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    threading.Thread(target=ledger.sync_forever, daemon=True).start()
    ledger.write(header(config, ledger.incarnation), durable=True)
    witness.run()
    if ledger.broken:
        return report({"error": f"cannot write {ledger.path}: {ledger.broken}"}, 2)
    reason = ended_by[0] if ended_by else "stop_after_s"
    ledger.write({"record": "end", "reason": reason, "wall_ns": time.time_ns()})
    ledger.close()
    return 0


def load_config(path: str) -> Record:
    """Read the config and refuse one that could not be probed."""
    with open(path, encoding="utf-8") as file:
        config: Record = json.load(file)
    config.setdefault("out", os.path.dirname(os.path.abspath(path)))
    ids = [probe["id"] for probe in config["probes"]]
    unknown = [probe["kind"] for probe in config["probes"] if probe["kind"] not in KINDS]
    if not ids or len(set(ids)) != len(ids) or unknown or config["beat_ms"] <= 0 or config["timeout_ms"] <= 0:
        raise ValueError("needs probes with unique ids of known kinds, and beat_ms and timeout_ms over 0")
    return config


def header(config: Record, incarnation: int) -> Record:
    """All that a reader needs to judge the record: where, with which resolver, clock and config."""
    line = {"record": "header", "version": VERSION, "incarnation": incarnation, "run_id": config["run_id"]}
    names = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf")
    clock = {"wall_ns": time.time_ns(), "mono_ns": time.monotonic_ns(), "synchronised": synchronised()}
    line.update(host=socket.gethostname(), python=sys.version.split()[0], clock=clock)
    return {**line, "resolver": {name: contents(name) for name in names}, "config": config}


def synchronised() -> bool | None:
    """What the kernel says of this host's clock: 5 (TIME_ERROR) means nothing disciplines it."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != 5


def contents(path: str) -> str | None:
    """Give a small text file's content, if it can be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(8192)
    except OSError:
        return None


def parse(line: bytes) -> Record:
    """Give the object on one line, or nothing for a line that was cut off."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def report(result: Record, code: int) -> int:
    """Print the one line that is the answer of this call."""
    print(json.dumps(result), flush=True)
    return code


def main(argv: list[str] | None = None) -> int:
    """Run the witness; give its exit code."""
    parser = argparse.ArgumentParser(description="See a service as its clients do.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="probe until SIGTERM")
    one.add_argument("--config", required=True)
    arguments = parser.parse_args(argv)
    try:
        return run(arguments.config)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        return report({"error": f"{type(exc).__name__}: {exc}"}, 2)


if __name__ == "__main__":
    sys.exit(main())
