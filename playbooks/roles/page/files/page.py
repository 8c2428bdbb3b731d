#!/usr/bin/python3
"""Serve what a file says over HTTP, and with it what the server behind it says; without that one, 503.

`page.py FILE`: JSON with `title`, `port`, `content`, and `behind`: the URL of the server behind, or nothing.
"""

import json
import socket
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PATIENCE_S = 0.8  # less than a client's own, so that it hears who is silent


class Page(BaseHTTPRequestHandler):
    """One request."""

    protocol_version, timeout = "HTTP/1.1", 30
    told: dict

    def do_GET(self):
        """Answer with all there is, whatever the path."""
        answer = {"title": self.told["title"], "host": socket.gethostname(), "content": self.told["content"]}
        status = 200
        if self.told["behind"]:
            try:
                with urllib.request.urlopen(self.told["behind"], timeout=PATIENCE_S) as behind:
                    answer["behind"] = json.loads(behind.read())
            except (OSError, ValueError) as exc:
                status, answer["behind"] = 503, f"{self.told['behind']}: {exc}"
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing of each request: a witness asks ten times a second."""


def main(path):
    """Serve for ever."""
    told = json.loads(Path(path).read_text(encoding="utf-8"))
    ThreadingHTTPServer.request_queue_size = 64
    ThreadingHTTPServer(("", told["port"]), type("Ours", (Page,), {"told": told})).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
