#!/usr/bin/env python3
"""Keeps a site's DNS server from telling addresses that another site's server knows to be old.

Stands on each DNS server; one file, standard library only, Python 3.9 or later, with dig, nsupdate and
named-compilezone of BIND. A name that was moved has a TXT record `_moved.<name>` beside it: time in ms, run.
The newest one tells the truth, and this program takes it from the other servers:

  (nothing)          into the zone file, before named starts; silent servers are passed over after a while,
                     because a site that is alone must resolve its names, too
  --require NAME ... the same, but these must answer; prints what was taken as one line of JSON
  --watch            for ever, by signed updates to the named that runs here: after a cut link is mended, or
                     when all servers started at once

Exit codes: 0 nothing newer is known than what named will tell, whatever else is wrong; 1 something newer is
known and could not be taken, so named must not start, or a required server is silent; 2 usage.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Moves = Mapping[str, "Move"]

SETTINGS = "/etc/bind/guard.json"
LABEL = "_moved."
STAMP = re.compile(r"(\d{13}) ([!-~]{1,100})")
TRY_S, PAUSE_S = 2, 0.2
NEVER = (0, "")


class Trouble(Exception):
    """What went wrong, in words for the log of the host."""


class Stale(Trouble):
    """What named would tell is known to be old."""


class Settings(NamedTuple):
    """`guard.json`: the zone, its file, the key that may transfer and change it, and the other servers."""

    zone: str
    zone_file: str
    key_file: str
    peers: dict[str, str]
    wait_s: float
    beat_s: float


class Record(NamedTuple):
    """One line of a zone."""

    name: str
    ttl: int
    kind: str
    data: str

    @property
    def line(self) -> str:
        return f"{self.name} {self.ttl} IN {self.kind} {self.data}"


class Move(NamedTuple):
    """A name that was moved: what it leads to, and since when."""

    addresses: tuple[str, ...]
    ttl: int
    stamp: tuple[int, str]

    @property
    def stamp_data(self) -> str:
        return f'"{self.stamp[0]} {self.stamp[1]}"'


# --- what was moved -------------------------------------------------------------------------------


def parse_zone(text: str) -> list[Record]:
    """Read records as dig and named-compilezone write them, one a line; names in lower case."""
    records = []
    for line in text.splitlines():
        words = line.split(None, 4)
        if len(words) == 5 and not line.startswith(";") and words[1].isdigit() and words[2] == "IN":
            records.append(Record(words[0].lower(), int(words[1]), words[3], words[4]))
    return records


def list_moves(records: Sequence[Record]) -> dict[str, Move]:
    """Give every name with a stamp; of several stamps the newest, and a text that is none does not count."""
    moves = {}
    for stamped in {record.name for record in records if record.kind == "TXT"}:
        texts = [record.data.strip('"') for record in records if record[::2] == (stamped, "TXT")]
        stamps = [(int(m[1]), m[2]) for m in map(STAMP.fullmatch, texts) if m]
        if stamped.startswith(LABEL) and stamps:
            name = stamped[len(LABEL) :]
            found = [record for record in records if record[::2] == (name, "A")]
            addresses = tuple(sorted(record.data for record in found))
            moves[name] = Move(addresses, max((record.ttl for record in found), default=0), max(stamps))
    return moves


def find_missed(own: Moves, told: Mapping[str, Moves]) -> tuple[dict[str, Move], list[str]]:
    """Give what others moved later than we know, and names of one stamp and several addresses."""
    missed, undecided = {}, []
    for name in sorted({name for moves in told.values() for name in moves}):
        newest = max((moves[name] for moves in told.values() if name in moves), key=lambda move: move.stamp)
        held = [moves[name] for moves in (*told.values(), own) if name in moves]
        same = {move.addresses for move in held if move.stamp == newest.stamp}
        if len(same) != 1 or len(newest.addresses) != 1:
            undecided.append(name)
        elif newest.stamp > (own[name].stamp if name in own else NEVER):
            missed[name] = newest
    return missed, undecided


# --- the others -----------------------------------------------------------------------------------


def transfer(settings: Settings, address: str) -> list[Record]:
    """Transfer the zone from a server; the key is read by dig from its file, and stands in no argument.

    Raises:
        Trouble: no answer, or none that its key signed.
    """
    argv = ["dig", "-k", settings.key_file, f"+time={TRY_S}", "+tries=1", "+nocmd", "+nostats"]
    argv += [f"@{address}", settings.zone, "AXFR"]
    done = run(argv, timeout_s=TRY_S * 3)
    records = parse_zone(done.stdout)
    said = [line.strip("; ") for line in (done.stdout + done.stderr).splitlines() if line.startswith(";")]
    faulty = [line for line in said if "TSIG" in line or "fail" in line.lower() or "refused" in line.lower()]
    whole = len(records) > 1 and records[0].kind == records[-1].kind == "SOA"
    if done.returncode or faulty or not whole:
        raise Trouble(", ".join(faulty or said[-1:]) or "the zone did not come whole")
    return records[:-1]


def ask(settings: Settings, names: Iterable[str], wait_s: float) -> tuple[dict[str, Moves], dict[str, str]]:
    """Ask servers side by side until each has answered or the wait is over; give answers and silences."""
    deadline = time.monotonic() + wait_s

    def one(name: str) -> Moves | str:
        while True:
            try:
                return list_moves(transfer(settings, settings.peers[name]))
            except Trouble as trouble:
                if time.monotonic() >= deadline:
                    return str(trouble)
            time.sleep(PAUSE_S)

    with ThreadPoolExecutor(max_workers=16) as pool:
        asked = {name: pool.submit(one, name) for name in names}
    answers = {name: answer.result() for name, answer in asked.items()}
    told = {name: answer for name, answer in answers.items() if not isinstance(answer, str)}
    return told, {name: answer for name, answer in answers.items() if isinstance(answer, str)}


# --- before named starts: the zone file -----------------------------------------------------------


def reconcile_file(settings: Settings, required: Sequence[str]) -> dict[str, str]:
    """Take into the zone file what others moved later; give name and address of each.

    Raises:
        Trouble: a required server is silent, or the zone cannot be read; nothing was changed.
        Stale: something newer may be known and could not be compared, or not be written.
    """
    finish_exchange(settings.zone_file)
    told, silent = ask(settings, required or settings.peers, settings.wait_s)
    for name, why in silent.items():
        say(f"{name} gives no answer: {why}")
    if required and silent:
        raise Trouble(f"{', '.join(silent)} must answer first; nothing was changed")
    try:
        records = read_zone_file(settings)
    except Trouble as trouble:
        if any(told.values()):
            raise Stale(str(trouble)) from trouble
        raise
    missed, undecided = find_missed(list_moves(records), told)
    for name in undecided:
        say(f"{name}: different addresses of one move; left as it is, somebody must look")
    if missed:
        write_zone_file(settings, with_moves(records, missed))
    return {name.rstrip("."): move.addresses[0] for name, move in missed.items()}


def read_zone_file(settings: Settings) -> list[Record]:
    """Read zone and journal as named would; named must not run."""
    argv = ["named-compilezone", "-q", "-j", "-i", "none", "-k", "ignore", "-n", "ignore", "-f", "text"]
    done = run(
        [*argv, "-F", "text", "-s", "full", "-o", "-", settings.zone, settings.zone_file], timeout_s=60
    )
    records = parse_zone(done.stdout)
    if done.returncode or not records:
        raise Trouble(f"{settings.zone_file} cannot be read: {(done.stderr or done.stdout).strip()[-300:]}")
    return records


def with_moves(records: Sequence[Record], moves: Moves) -> list[Record]:
    """Give a zone with these moves in it and the next serial number."""
    gone = {(name, "A") for name in moves} | {(LABEL + name, "TXT") for name in moves}
    kept = [_next_serial(record) for record in records if record[::2] not in gone]
    for name, move in moves.items():
        kept.append(Record(name, move.ttl, "A", move.addresses[0]))
        kept.append(Record(LABEL + name, move.ttl, "TXT", move.stamp_data))
    return kept


def _next_serial(record: Record) -> Record:
    if record.kind != "SOA":
        return record
    words = record.data.split()
    words[2] = str(int(words[2]) % 0xFFFFFFFF + 1)
    return record._replace(data=" ".join(words))


def write_zone_file(settings: Settings, records: Sequence[Record]) -> None:
    """Put a zone in place of file and journal, so that after a crash the file is the old one or the new.

    The journal belongs to the old file: beside the new one named would refuse both. So it steps aside first,
    and `finish_exchange` completes, at the next start, what was interrupted after that.
    """
    draft = settings.zone_file + ".new"
    try:
        about = os.stat(settings.zone_file)
        with open(draft, "w", encoding="utf-8") as file:
            os.fchown(file.fileno(), about.st_uid, about.st_gid)
            os.fchmod(file.fileno(), about.st_mode & 0o777)
            file.write("".join(record.line + "\n" for record in records))
            file.flush()
            os.fsync(file.fileno())
        done = run(["named-checkzone", "-q", "-i", "none", settings.zone, draft], timeout_s=60)
        if done.returncode:
            raise Stale(f"{draft} is no zone: {(done.stdout + done.stderr).strip()[-300:]}")
        if os.path.exists(settings.zone_file + ".jnl"):
            os.replace(settings.zone_file + ".jnl", settings.zone_file + ".jnl.old")
            _sync_folder(draft)
        os.replace(draft, settings.zone_file)
        _sync_folder(draft)
    except OSError as error:
        raise Stale(f"{settings.zone_file} cannot be replaced: {error.strerror}") from error
    finish_exchange(settings.zone_file)


def finish_exchange(zone_file: str) -> None:
    """Complete an exchange that a crash interrupted; a draft whose journal still stands is only removed."""
    try:
        if os.path.exists(zone_file + ".jnl.old"):
            if os.path.exists(zone_file + ".new"):
                os.replace(zone_file + ".new", zone_file)
                _sync_folder(zone_file)
            os.unlink(zone_file + ".jnl.old")
        elif os.path.exists(zone_file + ".new"):
            os.unlink(zone_file + ".new")
    except OSError as error:
        raise Stale(f"{zone_file} cannot be replaced: {error.strerror}") from error


def _sync_folder(path: str) -> None:
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


# --- while named runs: signed updates -------------------------------------------------------------


def watch(settings: Settings) -> None:
    """Take what others move, as long as named runs here; says only what changes."""
    seen: dict[str, str] = {}
    said: list[str] = []
    while True:
        troubles = look(settings, seen)
        for text in troubles:
            if text not in said:
                say(text)
        said = troubles
        time.sleep(settings.beat_s)


def look(settings: Settings, seen: dict[str, str]) -> list[str]:
    """Look once at every other server; `seen` keeps the serial number of the zone that was taken from it."""
    serials = {name: serial_of(settings, address) for name, address in settings.peers.items()}
    troubles = [f"{name} gives no answer" for name, serial in serials.items() if not serial]
    changed = [name for name, serial in serials.items() if serial and serial != seen.get(name)]
    told, silent = ask(settings, changed, 0)
    try:
        reconcile_live(settings, told)
        seen.update({name: serials[name] for name in told})
    except Trouble as trouble:
        troubles.append(str(trouble))
    return troubles + [f"{name} gives no zone: {why}" for name, why in silent.items()]


def serial_of(settings: Settings, address: str) -> str:
    """Ask a server for its zone's serial number; empty if it is silent."""
    try:
        done = run(
            ["dig", f"+time={TRY_S}", "+tries=1", "+short", f"@{address}", settings.zone, "SOA"], timeout_s=9
        )
    except Trouble:
        return ""
    words = done.stdout.split()
    return words[2] if len(words) == 7 else ""


def reconcile_live(settings: Settings, told: Mapping[str, Moves]) -> None:
    """Take into the named that runs here what others moved later, each name if it is still what was read."""
    records = transfer(settings, "127.0.0.1") if told else []
    missed, _ = find_missed(list_moves(records), told)
    for name, move in missed.items():
        script = update_of(settings.zone, records, name, move)
        done = run(["nsupdate", "-k", settings.key_file], timeout_s=30, stdin=script)
        if done.returncode:
            raise Trouble(f"{name} cannot be changed: {done.stderr.strip()}")
        say(f"{name} is {move.addresses[0]}, as another server tells")


def update_of(zone: str, records: Sequence[Record], name: str, move: Move) -> str:
    """Write one move as nsupdate takes it; what is held now is its prerequisite."""
    address = Record(name, move.ttl, "A", move.addresses[0])
    stamp = Record(LABEL + name, move.ttl, "TXT", move.stamp_data)
    lines = ["server 127.0.0.1", f"zone {zone}"]
    for wanted in (address, stamp):
        held = [record for record in records if record[::2] == wanted[::2]]
        lines += [f"prereq yxrrset {record.name} {record.kind} {record.data}" for record in held]
        lines += [] if held else [f"prereq nxrrset {wanted.name} {wanted.kind}"]
        lines += [f"update delete {wanted.name} {wanted.kind}", f"update add {wanted.line}"]
    return "\n".join([*lines, "send", ""])


# --- the program ----------------------------------------------------------------------------------


def run(argv: list[str], *, timeout_s: float, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run one program to its end.

    Raises:
        Trouble: it is not installed, or did not end in time.
    """
    try:
        return subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Trouble(f"{argv[0]}: {error}") from error


def say(text: str) -> None:
    """Tell the log of the host."""
    print(text, file=sys.stderr, flush=True)


def load(path: str) -> Settings:
    """Read the settings.

    Raises:
        Trouble: the file is missing or faulty.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return Settings(**json.load(file))
    except (OSError, ValueError, TypeError) as error:
        raise Trouble(f"{path}: {error}") from error


@contextmanager
def alone(path: str) -> Iterator[None]:
    """Keep another guard from the zone file until the block ends; the settings file is what is locked."""
    with open(path, encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def refuse_running() -> None:
    """See that named does not run and is not being started: its zone file is its own then."""
    state = run(
        ["systemctl", "show", "--property=ActiveState", "--value", "named"], timeout_s=10
    ).stdout.strip()
    if state not in ("inactive", "failed"):
        raise Trouble(f"named is {state} here; its zone file is left alone")


def reconcile(path: str, required: Sequence[str]) -> None:
    """Reconcile the zone file, and say what was taken."""
    settings = load(path)
    if unknown := [name for name in required if name not in settings.peers]:
        raise Trouble(f"{', '.join(unknown)}: not among {', '.join(settings.peers) or 'no other servers'}")
    with alone(path):
        if required:
            refuse_running()
        taken = reconcile_file(settings, required)
    for name, address in taken.items():
        say(f"{name} is {address}, as another server tells")
    print(json.dumps({"taken": taken}))


def main() -> int:
    """Do what was asked; before named starts, nothing but records known to be old may hold it up."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--settings", default=SETTINGS)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--require", nargs="+", default=[], metavar="NAME", help="servers that must answer")
    how.add_argument("--watch", action="store_true", help="go on while named runs")
    arguments = parser.parse_args()
    try:
        if arguments.watch:
            watch(load(arguments.settings))
        reconcile(arguments.settings, arguments.require)
    except Stale as trouble:
        say(f"{trouble}; other servers moved names later, so named must not start")
        return 1
    except Trouble as trouble:
        say(str(trouble))
        return 1 if arguments.require or arguments.watch else 0
    except Exception:
        say(traceback.format_exc())
        return 1 if arguments.require or arguments.watch else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
