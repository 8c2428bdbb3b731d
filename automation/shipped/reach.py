#!/usr/bin/env python3
"""Try to reach places on the network, all at the same time, and tell how each attempt ended.

One file, standard library only, Python 3.9 or later. `reach.py TIMEOUT_S PLACE...`, a place being
`tcp:ADDRESS:PORT`, or `dns:ADDRESS:PORT` for a question by UDP. Prints one line of JSON: place to how, which
is `reached` or why not. A port at which nothing listens counts as reached: its host has answered.
"""

# Machines in service are older than ours: `socket.timeout` is TimeoutError, and zip is strict, since 3.10.
# ruff: noqa: UP041, B905

from __future__ import annotations

import errno
import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

REACHED = "reached"
# The root's name servers, asked without recursion: any name server answers, if only by refusing.
QUESTION = b"\x4d\x53\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"


def attempt(place: str, timeout_s: float) -> str:
    """Try one place."""
    kind, address, port = place.split(":")
    try:
        if kind == "dns":
            return ask(address, int(port), timeout_s)
        with socket.create_connection((address, int(port)), timeout_s):
            return REACHED
    except ConnectionRefusedError:
        return REACHED
    except socket.timeout:
        return "no answer"
    except OSError as exc:
        return errno.errorcode.get(exc.errno or 0, str(exc))


def ask(address: str, port: int, timeout_s: float) -> str:
    """Ask a name server by UDP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.settimeout(timeout_s)
        door.connect((address, port))
        door.send(QUESTION)
        return REACHED if door.recv(512) else "no answer"


def main(words: list[str]) -> int:
    """Try all places."""
    timeout_s, places = float(words[0]), words[1:]
    with ThreadPoolExecutor(max(1, len(places))) as pool:
        told = pool.map(lambda place: attempt(place, timeout_s), places)
        print(json.dumps(dict(zip(places, told))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
