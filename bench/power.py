"""The rack's power switch and network port, as a hand-written script would call them.

    python3 -I -S bench/power.py STATE LAB HOST

Cuts the power of a lab host, with its autostart off, and blocks its network port.
"""

import json
import os
import socket
import sys

REQUESTS = (
    {"request": "power_off_server", "autostart": False},
    {"request": "block_server"},
)


def main(state: str, lab: str, host: str) -> int:
    folder = os.open(f"{state}/lab", os.O_PATH)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(f"/proc/self/fd/{folder}/ctl.sock")
    reader = connection.makefile("rb")
    for request in REQUESTS:
        connection.sendall(json.dumps({**request, "lab_id": lab, "server": host}).encode() + b"\n")
        answer = json.loads(reader.readline())
        if not answer["ok"]:
            print(answer["error"], file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
