"""A small real server for tests: it takes payments, misbehaves on demand, dies and comes back."""

import json
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    server: "Server"

    def do_GET(self) -> None:
        self.answer(200 if self.path == "/health" else 404, {})

    def do_POST(self) -> None:
        payment = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        house = self.server.house
        match house.mode:
            case "good":
                house.written.add(payment["reference"])
                self.answer(201, {"receipt": len(house.written)})
            case "not-written":
                self.answer(503, {"written": False})
            case "unknown":
                self.answer(500, {"written": "unknown"})
            case "bare-error":
                self.answer(502, {})
            case "silent":
                house.released.wait(10)
            case "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()

    def answer(self, status: int, content: dict[str, object]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    house: "PaymentsServer"

    def handle_error(self, *_: object) -> None:
        pass


class PaymentsServer:
    """Listens on one loopback port; `die` and `come_back` give the monotonic time they took effect, in ns."""

    def __init__(self) -> None:
        self.mode = "good"
        self.written: set[str] = set()
        self.released = threading.Event()
        self.port = 0
        self.dead_ns = 0
        self._server: Server | None = None

    def come_back(self) -> int:
        self._server = Server(("127.0.0.1", self.port), Handler)
        self._server.house = self
        # A client killed between select and accept must not leave the server waiting for the next one.
        self._server.socket.setblocking(False)
        self.port = self._server.server_port
        at = time.monotonic_ns()
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return at

    def die(self) -> int:
        assert self._server
        at = time.monotonic_ns()
        self._server.socket.close()
        self._server.shutdown()
        self.dead_ns = time.monotonic_ns()  # until its thread let go of it, the kernel still took connections
        return at

    def close(self) -> None:
        self.released.set()
        if self._server and self._server.socket.fileno() != -1:
            self._server.shutdown()
            self._server.server_close()


class OneLineServer:
    """Accepts connections and answers what it gets with fixed bytes; None means it stays silent."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.asked: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._kept: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._kept.append(client)
            if self.answer is not None:
                self.asked.append(client.recv(4096))
                client.sendall(self.answer)
                client.close()

    def close(self) -> None:
        self._listener.close()
        for client in self._kept:
            client.close()
