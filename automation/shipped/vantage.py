#!/usr/bin/env python3
"""What a run asks of the vantage host: is the service good, has it failed, is the fence shut.

Runs beside the witness: one file, standard library only, Python 3.9 or later. Each call prints one line
of JSON. It stands in the hot path of a failover, so it loads little and answers at once.

  await-good     the newest finished probes are good, so many in a row, of every id
  await-failed   the newest finished probes failed, so many in a row, of any id
  refused        connections to a fenced address fail from here, while others in the same moment succeed

Exit codes: 0 seen or proven; 1 not so; 2 usage or trouble of this machine.
"""

# Machines in service are older than ours: `socket.timeout` is TimeoutError only since Python 3.10.

from __future__ import annotations

import argparse
import errno
import json
import os
import selectors
import socket
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Record = dict[str, Any]

FILE = "witness.jsonl"
FOLLOW_S = 0.005
TAIL_BYTES = 262_144
LEAST_STALE_NS = 200_000_000
UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.ENONET)


# --- await-good, await-failed --------------------------------------------------------------------


def await_probes(arguments: argparse.Namespace) -> int:
    """Follow the record until enough probes in a row went one way."""
    good = arguments.command == "await-good"
    wanted, enough = ("good", all) if good else ("bad", any)
    view = View(arguments.probes)
    for records in follow(os.path.join(arguments.out, FILE), time.monotonic() + arguments.timeout):
        for record in records:
            view.add(record)
        if view.ended:
            return report({"met": False, "reason": "the witness has ended"}, 1)
        met = view.runs(wanted, arguments.count)
        if enough(name in met for name in arguments.probes):
            return report({"met": True, "verdict": wanted, "probes": met}, 0)
    return report({"met": False, "reason": f"not within {arguments.timeout:g} s"}, 1)


class View:
    """The finished probes of some ids, as far as the record tells."""

    def __init__(self, probes: list[str]) -> None:
        self.seen: dict[str, dict[int, Record]] = {name: {} for name in probes}
        self.beat_ns, self.ended = 0, False

    def add(self, record: Record) -> None:
        kind = record.get("record")
        if kind == "header":
            self.beat_ns, self.ended = int(record["config"]["beat_ms"] * 1e6), False
        elif kind == "end":
            self.ended = True
        elif kind == "probe" and record["probe"] in self.seen:
            self.seen[record["probe"]][record["seq"]] = record

    def runs(self, wanted: str, count: int) -> dict[str, Record]:
        """Give the ids whose newest probes went that way, so many in a row, and are no old news.

        Right after a loss the newest *finished* probes are still the good ones from before it: those
        that met the loss are waiting for their timeout. Hence the limit on age.
        """
        stale_ns = time.monotonic_ns() - max(3 * self.beat_ns, LEAST_STALE_NS)
        found = {name: trailing(probes, wanted) for name, probes in self.seen.items()}
        long = {name: run for name, run in found.items() if len(run) >= count}
        return {name: span(run) for name, run in long.items() if run[0]["end_mono_ns"] > stale_ns}


def span(run: list[Record]) -> Record:
    """Sum up such a run: when its first probe started, when its last one ended."""
    return {"count": len(run), "from_wall_ns": run[-1]["start_wall_ns"], "at_wall_ns": run[0]["end_wall_ns"]}


def trailing(probes: dict[int, Record], wanted: str) -> list[Record]:
    """Newest first: the unbroken run of finished probes with that verdict; one under way breaks it."""
    run = []
    seq = max(probes, default=0)
    while seq in probes and probes[seq]["verdict"] == wanted:
        run.append(probes[seq])
        seq -= 1
    return run


def follow(path: str, deadline: float) -> Iterator[list[Record]]:
    """Give the header and the end of the file at once, then what is added, until the deadline."""
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            return
        time.sleep(FOLLOW_S)
    with open(path, "rb") as file:
        header = file.readline()
        file.seek(max(file.tell(), os.path.getsize(path) - TAIL_BYTES))
        pending = header
        while time.monotonic() < deadline:
            pending += file.read()
            *lines, pending = pending.split(b"\n")
            if lines:
                yield [parse(line) for line in lines]
            else:
                time.sleep(FOLLOW_S)


# --- refused: the negative proof of a fence ------------------------------------------------------


def refused(arguments: argparse.Namespace) -> int:
    """Try to connect to the fenced address, and at the same time to what must answer from here.

    Several attempts, because the kernel drops an unreachable message that arrives while connect() holds the
    socket, and sends the next SYN a second later. One attempt that was told no ends the trying early.
    """
    fenced = (arguments.address, arguments.port)
    others = [split_target(text) for text in [*arguments.reachable, *arguments.same_site]]
    targets = [fenced] * arguments.attempts + others
    first, last = arguments.attempts, arguments.attempts + len(arguments.reachable)
    started_wall_ns, started_mono_ns = time.time_ns(), time.monotonic_ns()

    def told_no(answers: list[Record]) -> bool:
        """A no ends it: what else stands at the fenced server's site matters to silence alone."""
        said = {answer.get("how") for answer in answers[:first]} & {"unreachable", "connect_refused"}
        return bool(said) and all("how" in answer for answer in answers[first:last])

    answers = connect_all(targets, arguments.timeout_ms / 1000, told_no)
    tries, controls, beside = answers[:first], answers[first:last], answers[last:]
    alive = any(answer.get("how") == "connected" for answer in beside)
    if arguments.out and not alive and {answer["how"] for answer in tries} == {"connect_timeout"}:
        tries = [*tries, *overhear(arguments.out, fenced, started_mono_ns, arguments.overhear_s)]
    how = {answer["how"] for answer in tries}
    # A connection that this machine could not even try proves nothing.
    proven = not how & {"connected", "own_trouble", "name_resolution"}
    told = ",".join(sorted(how - {"given_up"}))
    result = {"refused": proven, "how": told, "attempts": tries, "controls": controls, "same_site": beside}
    code = 0 if proven else 1 if "connected" in how else 2
    return report({**result, "started_wall_ns": started_wall_ns, "ended_wall_ns": time.time_ns()}, code)


def connect_all(
    targets: list[tuple[str, int]], timeout_s: float, enough: Callable[[list[Record]], bool]
) -> list[Record]:
    """Connect to all targets at the same time; tell how each went, in their order.

    Ends when all have answered, when `enough` says so, or after the time; what is open then was `given_up`
    or is a `connect_timeout`.
    """
    answers: list[Record] = [{"target": f"{address}:{port}"} for address, port in targets]
    waiting = selectors.DefaultSelector()
    began = time.monotonic()
    for index, target in enumerate(targets):
        begin_connect(answers[index], target, waiting)
    while waiting.get_map() and not enough(answers):
        left_s = began + timeout_s - time.monotonic()
        if left_s <= 0:
            break
        for key, _ in waiting.select(left_s):
            number = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # type: ignore[union-attr]
            settle(key.data, number, began)
            waiting.unregister(key.fileobj)
            key.fileobj.close()  # type: ignore[union-attr]
    timed_out = time.monotonic() - began >= timeout_s
    for key in list(waiting.get_map().values()):
        key.data.update(how="connect_timeout" if timed_out else "given_up", detail="no answer yet")
        key.fileobj.close()  # type: ignore[union-attr]
    waiting.close()
    return answers


def overhear(out: str, target: tuple[str, int], since_mono_ns: int, seconds: float) -> list[Record]:
    """Wait for the witness beside us to be told no by the same address; give its attempt, or nothing.

    A router says at most once a second to each address that a packet was refused (Linux: `ip_error`). The
    witness still calls the fenced server on its beat and so hears every one of them; we hear silence.
    """
    if not os.path.exists(os.path.join(out, FILE)):
        return []
    ports: dict[str, int] = {}
    for records in follow(os.path.join(out, FILE), time.monotonic() + seconds):
        for record in records:
            if record.get("record") == "header":
                ports = {probe["id"]: probe["port"] for probe in record["config"]["probes"]}
            elif (
                (record.get("address"), ports.get(record.get("probe", ""))) == target
                and record.get("error") == "unreachable"
                and record["start_mono_ns"] >= since_mono_ns
            ):
                return [
                    {"target": f"{target[0]}:{target[1]}", "how": "unreachable", "detail": "to the witness"}
                ]
    return []


def begin_connect(answer: Record, target: tuple[str, int], waiting: selectors.BaseSelector) -> None:
    """Send the first packet of a connection; an error that is known at once is noted."""
    began = time.monotonic()
    try:
        sock = socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET)
    except OSError as exc:
        answer.update(how="own_trouble", detail=str(exc))
        return
    sock.setblocking(False)
    try:
        # As bytes: text would load the IDNA tables first, 30 ms in the hot path.
        number = sock.connect_ex((target[0].encode("ascii"), target[1]))
    except (OSError, UnicodeError) as exc:
        answer.update(how=classify(exc), detail=str(exc))
        sock.close()
        return
    if number == errno.EINPROGRESS:
        waiting.register(sock, selectors.EVENT_WRITE, answer)
        return
    settle(answer, number, began)
    sock.close()


def settle(answer: Record, number: int, began: float) -> None:
    """Note how a connection ended, by its error number."""
    how = classify(OSError(number, os.strerror(number))) if number else "connected"
    detail = os.strerror(number) if number else ""
    answer.update(how=how, detail=detail, ms=round((time.monotonic() - began) * 1000, 1))


def split_target(text: str) -> tuple[str, int]:
    """Split address:port."""
    address, _, port = text.rpartition(":")
    return address.strip("[]"), int(port)


def classify(exc: Exception) -> str:
    """Name the class of an error met while connecting."""
    number = getattr(exc, "errno", None)
    if isinstance(exc, (socket.gaierror, UnicodeError)):
        return "name_resolution"
    if isinstance(exc, socket.timeout) or number == errno.ETIMEDOUT:
        return "connect_timeout"
    if number in UNREACHABLE:
        return "unreachable"
    return "connect_refused" if isinstance(exc, ConnectionError) else "own_trouble"


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


def parser() -> argparse.ArgumentParser:
    """Declare the subcommands."""
    root = argparse.ArgumentParser(description="Ask the vantage host; see the file's first lines.")
    commands = root.add_subparsers(dest="command", required=True)
    for name in ("await-good", "await-failed"):
        one = commands.add_parser(name, help="wait until the record shows so many in a row")
        one.add_argument("--out", required=True, help="folder of the witness's record")
        one.add_argument("--probes", nargs="+", required=True)
        one.add_argument("--count", type=int, default=10)
        one.add_argument("--timeout", type=float, default=60.0, help="seconds")
        one.set_defaults(act=await_probes)
    one = commands.add_parser("refused", help="prove that a fenced address takes no connection")
    one.add_argument("--address", required=True)
    one.add_argument("--port", type=int, required=True)
    one.add_argument("--timeout-ms", type=int, default=1500)
    one.add_argument("--attempts", type=int, default=2)
    one.add_argument("--out", default="", help="folder of the witness's record, if one runs here")
    one.add_argument("--overhear-s", type=float, default=3.0, help="after silence, wait for what it is told")
    one.add_argument("--reachable", nargs="*", default=[], metavar="ADDRESS:PORT")
    one.add_argument("--same-site", nargs="*", default=[], metavar="ADDRESS:PORT")
    one.set_defaults(act=refused)
    return root


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; give its exit code."""
    arguments = parser().parse_args(argv)
    try:
        code: int = arguments.act(arguments)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        return report({"error": f"{type(exc).__name__}: {exc}"}, 2)
    return code


if __name__ == "__main__":
    sys.exit(main())
