"""The control socket: one JSON object a line in, one a line out."""

import json
import os
import socketserver
import traceback
from collections.abc import Callable
from pathlib import Path

from .lab import Lab
from .requests import REQUESTS
from .system import LabError
from .topology import TopologyError


def serve(lab: Lab, folder: Path, on_ready: Callable[[], None]) -> None:
    """Answer requests on `<folder>/ctl.sock` for ever; each connection has a thread.

    Bound through a descriptor of the folder: a socket address holds 108 bytes, a path may be longer.
    """

    class Connection(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                self.wfile.write(json.dumps(answer(lab, line)).encode() + b"\n")

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True
        request_queue_size = 64

    (folder / "ctl.sock").unlink(missing_ok=True)
    folder_fd = os.open(folder, os.O_PATH)
    mask = os.umask(0o177)
    try:
        server = Server(f"/proc/self/fd/{folder_fd}/ctl.sock", Connection)
    finally:
        os.umask(mask)
    on_ready()
    server.serve_forever()


def answer(lab: Lab, line: bytes) -> dict[str, object]:
    """Carry out one request: `{"ok": true, "result": ...}` or `{"ok": false, "error": ..., "hint": ...}`."""
    try:
        arguments = json.loads(line)
        request = REQUESTS[arguments.pop("request")]
        lab_id = arguments.pop("lab_id")
    except (ValueError, KeyError, AttributeError, TypeError):
        known = ", ".join(REQUESTS)
        hint = f"name request and lab_id; requests: {known}"
        return {"ok": False, "error": f"no such request: {line[:200]!r}", "hint": hint}
    if lab_id != lab.topology.lab_id:
        return {"ok": False, "error": f"this is lab {lab.topology.lab_id}, not {lab_id}; nothing was changed"}
    try:
        return {"ok": True, "result": request(lab, **arguments)}
    except (LabError, TopologyError) as exc:
        return {"ok": False, "error": str(exc), "hint": getattr(exc, "hint", None)}
    except Exception as exc:  # the edge around one request; the supervisor must outlive it
        traceback.print_exc()
        error = f"{request.__name__}: {type(exc).__name__}: {exc}"
        return {"ok": False, "error": error, "hint": "labd.log has the traceback"}
