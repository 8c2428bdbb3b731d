#!/usr/bin/python3
"""Stand for a bank and a mail relay: take what comes on some ports, and keep it, one JSON line each.

`outside_world.py FILE PORT...`. A line says on which port it came, from which address, and what it was.
"""

import json
import sys
import threading
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

_writing = threading.Lock()


class Server(ThreadingTCPServer):
    """One port."""

    daemon_threads = True
    allow_reuse_address = True


def listen(path, port):
    """Give the server of one port."""

    class Door(StreamRequestHandler):
        timeout = 10

        def handle(self):
            for line in self.rfile:
                text = line.decode(errors="replace").strip()
                told = {"port": port, "from": self.client_address[0], "line": text}
                with _writing, Path(path).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(told) + "\n")

    return Server(("", port), Door)


def main(path, *ports):
    """Serve all ports for ever."""
    Path(path).touch()
    for port in ports:
        threading.Thread(target=listen(path, int(port)).serve_forever).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
