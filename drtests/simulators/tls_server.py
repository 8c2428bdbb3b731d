"""Serves a simulator over TLS: reads each request whole, has it answered, keeps the connection."""

import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any
from urllib.parse import unquote, urlsplit

from s3_access import Request


class DroppedError(Exception):
    """The connection is to be cut, without an answer."""


class Answer:
    """Status, headers and content."""

    def __init__(self) -> None:
        self.status, self.headers, self.content = "500 Internal Server Error", [("Content-Length", "0")], b""

    def start(self, status: str, headers: list[tuple[str, str]], *_: Any) -> None:
        self.status, self.headers = status, headers

    @property
    def code(self) -> int:
        return int(self.status.partition(" ")[0])

    @classmethod
    def of(cls, status: str, content: str, kind: str) -> "Answer":
        answer = cls()
        answer.content = content.encode()
        answer.start(status, [("Content-Type", kind)])
        return answer

    @classmethod
    def of_xml(cls, status: str, xml: str) -> "Answer":
        return cls.of(status, f"<?xml version='1.0' encoding='UTF-8'?>{xml}", "application/xml")

    @classmethod
    def of_application(cls, application: Callable[..., Any], environ: dict[str, Any]) -> "Answer":
        """Have a WSGI application answer."""
        answer = cls()
        answer.content = b"".join(application(environ, answer.start))
        return answer


def environ_of(request: Request) -> dict[str, Any]:
    """Give a request as WSGI applications read it."""
    environ = {f"HTTP_{name.upper().replace('-', '_')}": text for name, text in request.headers.items()}
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    target = request.raw_path + (f"?{request.raw_query}" if request.raw_query else "")
    return {
        **environ,
        "REQUEST_METHOD": request.method,
        "PATH_INFO": unquote(request.raw_path, "latin-1"),
        "QUERY_STRING": request.raw_query,
        "RAW_URI": target,
        "REQUEST_URI": target,
        "CONTENT_TYPE": request.headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(request.body)),
        "SERVER_NAME": request.headers.get("host", "").partition(":")[0],
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SCRIPT_NAME": "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


class Connection(BaseHTTPRequestHandler):
    """One client's connection, kept for as many requests as it sends; given up when it is idle."""

    protocol_version, timeout = "HTTP/1.1", 120
    # Head and body are sent apart: the body must not wait for the receipt of the head.
    disable_nagle_algorithm = True
    respond: Callable[[Request], Answer]

    def serve(self) -> None:
        """Read one request whole, answer it, and say on the log what was refused or failed."""
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, url.path, url.query, headers, self._body())
        try:
            answer = type(self).respond(request)
        except DroppedError:
            self.close_connection = True
            return
        self._send(answer)
        if answer.code == 403 or answer.code >= 500:
            when, who = self.log_date_time_string(), self.address_string()
            print(when, who, self.command, self.path, answer.code, file=sys.stderr, flush=True)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve  # noqa: N815  # names of http.server

    def _send(self, answer: Answer) -> None:
        self.send_response_only(answer.code, answer.status.partition(" ")[2])
        told = {name.lower() for name, _ in answer.headers}
        for name, value in answer.headers:
            self.send_header(name, value)
        if "content-length" not in told:
            self.send_header("Content-Length", str(len(answer.content)))
        if "date" not in told:
            self.send_header("Date", formatdate(usegmt=True))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.content)

    def finish(self) -> None:
        """Take leave as TLS asks for; without it, clients take a connection for cut."""
        super().finish()
        self.connection.settimeout(0)
        with suppress(OSError, ValueError):
            self.connection.unwrap()

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(pieces)


class TlsServer(ThreadingHTTPServer):
    """Serves over TLS; a handshake is its connection's own, so that a silent client keeps nobody waiting."""

    daemon_threads, request_queue_size = True, 64

    def __init__(
        self, address: tuple[str, int], certificate: str, key: str, respond: Callable[[Request], Answer]
    ) -> None:
        super().__init__(address, type("Ours", (Connection,), {"respond": staticmethod(respond)}))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over a connection that broke; anything else is a fault of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)
