"""The witness against real servers on loopback: what it records, and that nothing is lost."""

import ast
import errno
import json
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from automation.shipped import witness
from tests.shipped.payments_server import OneLineServer, PaymentsServer

PROGRAM = Path(witness.__file__)
BEAT_MS = 20
AUTHENTICATION_REQUEST = b"R\x00\x00\x00\x08\x00\x00\x00\x0a"
NO_SUCH_LOGIN = b"E\x00\x00\x00\x28SFATAL\0C28000\0Mno such role\0\0"
STARTING_UP = b"E\x00\x00\x00\x3bSFATAL\0C57P03\0Mthe database system is starting up\0\0"

Records = list[dict[str, object]]


def probe(kind: str, port: int, name: str = "localhost", **more: object) -> dict[str, object]:
    return {"id": f"pay/{kind}", "kind": kind, "name": name, "port": port, **more}


class Run:
    """One witness process over a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = folder / "witness.jsonl"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *probes: dict[str, object], timeout_ms: int = 3000, **more: object) -> None:
        config = {"run_id": "r1", "beat_ms": BEAT_MS, "timeout_ms": timeout_ms, "probes": probes, **more}
        path = self.folder / "config.json"
        path.write_text(json.dumps(config))
        self.process = subprocess.Popen(
            [sys.executable, "-IS", str(PROGRAM), "run", "--config", str(path)], stdout=subprocess.DEVNULL
        )

    def lines(self) -> Records:
        content = self.record.read_bytes() if self.record.exists() else b""
        return [record for line in content.splitlines() if (record := witness.parse(line))]

    def probes(self) -> Records:
        return sorted((r for r in self.lines() if r["record"] == "probe"), key=lambda r: int(str(r["seq"])))

    def until(self, seen: Callable[[Records], bool], within_s: float = 8) -> Records:
        deadline = time.monotonic() + within_s
        while not seen(records := self.probes()):
            assert time.monotonic() < deadline, f"not seen in {within_s} s: {records[-3:]}"
            time.sleep(0.005)
        return records

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    one = Run(tmp_path)
    yield one
    if one.process:
        one.kill()


@pytest.fixture
def city() -> Iterator[PaymentsServer]:
    server = PaymentsServer()
    server.come_back()
    yield server
    server.close()


@pytest.fixture
def one_line() -> Iterator[Callable[[bytes | None], OneLineServer]]:
    servers: list[OneLineServer] = []

    def make(answer: bytes | None) -> OneLineServer:
        servers.append(OneLineServer(answer))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def good(records: Records, kind: str) -> int:
    return sum(r["probe"] == f"pay/{kind}" and r["verdict"] == "good" for r in records)


def test_it_is_one_file_of_standard_library_for_python_3_9() -> None:
    tree = ast.parse(PROGRAM.read_text(), feature_version=(3, 9))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [name.name for node in imports if isinstance(node, ast.Import) for name in node.names]
    names += [node.module or "" for node in imports if isinstance(node, ast.ImportFrom)]
    assert {name.split(".")[0] for name in names} <= {*sys.stdlib_module_names, "__future__"}


def test_every_kind_of_probe_sees_a_service_that_is_well(
    run: Run, city: PaymentsServer, one_line: Callable[[bytes | None], OneLineServer]
) -> None:
    database = one_line(AUTHENTICATION_REQUEST)
    run.start(
        probe("http", city.port, path="/health"),
        probe("http-write", city.port, path="/payments", body={"account": "witness", "amount_cents": 1}),
        probe("postgresql", database.port),
        probe("tcp", city.port),
    )
    kinds = ("http", "http-write", "postgresql", "tcp")
    records = run.until(lambda seen: all(good(seen, kind) >= 3 for kind in kinds))
    assert [r for r in records if r["verdict"] == "bad"] == []
    assert {r["address"] for r in records} == {"127.0.0.1"}
    assert database.asked[0][4:8] == b"\x00\x03\x00\x00"


def test_the_header_says_where_with_what_and_by_which_clock(run: Run, city: PaymentsServer) -> None:
    run.start(probe("tcp", city.port))
    run.until(lambda seen: len(seen) > 0)
    header = run.lines()[0]
    assert header["record"] == "header"
    assert header["host"] == socket.gethostname()
    assert "/etc/resolv.conf" in dict(header["resolver"])  # type: ignore[call-overload]
    assert header["config"]["beat_ms"] == BEAT_MS  # type: ignore[index]
    assert {"wall_ns", "mono_ns", "synchronised"} <= set(header["clock"])  # type: ignore[call-overload]


def test_an_orderly_end_leaves_a_last_line_and_every_sequence_number_once(
    run: Run, city: PaymentsServer
) -> None:
    city.mode = "silent"
    run.start(probe("http-write", city.port, path="/payments"), timeout_ms=200)
    run.until(lambda seen: len(seen) >= 3)
    assert run.stop() == 0
    lines = run.lines()
    assert (lines[-1]["record"], lines[-1]["reason"]) == ("end", "SIGTERM")
    sent = [r["seq"] for r in lines if r["record"] == "sending"]
    assert [r["seq"] for r in run.probes()] == list(range(1, len(sent) + 1))


WRITES = {
    "good": ("acknowledged", None),
    "not-written": ("refused", "bad_status"),
    "unknown": ("in_doubt", "bad_status"),
    "bare-error": ("in_doubt", "bad_status"),
    "silent": ("in_doubt", "no_answer"),
    "reset": ("in_doubt", "no_answer"),
    "nobody-there": ("refused", "connect_refused"),
}
ANSWERS: dict[str, tuple[str, bytes | None, str | None, str]] = {
    "starting-up": ("postgresql", STARTING_UP, "bad_status", "57P03 the database system is starting up"),
    "login-refused": ("postgresql", NO_SUCH_LOGIN, None, "28000 no such role"),
    "closed": ("postgresql", b"", "no_answer", "closed without an answer"),
    "silent": ("postgresql", None, "no_answer", "timed out"),
    "not-http": ("http", b"\x15\x03not http\r\n\r\n", "no_answer", "BadStatusLine"),
    "not-found": ("http", b"HTTP/1.1 404 Gone\r\n\r\n", "bad_status", "HTTP 404"),
    "cut-off": ("http", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf", "no_answer", "IncompleteRead"),
}


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, object]]]:
    """The first record of a probe of every server that misbehaves, seen by one witness."""
    writing = {mode: PaymentsServer() for mode in WRITES}
    answering = {name: OneLineServer(answer) for name, (_, answer, _, _) in ANSWERS.items()}
    probes = []
    for mode, server in writing.items():
        server.mode = mode
        server.come_back()
        probes.append(probe("http-write", server.port, path="/payments") | {"id": f"write/{mode}"})
    writing["nobody-there"].close()
    for name, one in answering.items():
        probes.append(probe(ANSWERS[name][0], one.port) | {"id": f"answer/{name}"})
    run = Run(tmp_path_factory.mktemp("met"))
    run.start(*probes, timeout_ms=400)
    ids = {str(described["id"]) for described in probes}
    records = run.until(lambda seen: {str(r["probe"]) for r in seen} == ids)
    yield {str(r["probe"]): r for r in reversed(records)}
    run.kill()
    for server in [*writing.values(), *answering.values()]:
        server.close()


@pytest.mark.parametrize("mode", WRITES)
def test_a_write_is_acknowledged_refused_or_in_doubt(met: dict[str, dict[str, object]], mode: str) -> None:
    first = met[f"write/{mode}"]
    assert (first["write"], first["error"]) == WRITES[mode]
    assert first["reference"] == f"r1/write/{mode}/1"


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_judged(met: dict[str, dict[str, object]], name: str) -> None:
    _, _, error, detail = ANSWERS[name]
    first = met[f"answer/{name}"]
    assert first["error"] == error
    assert detail in str(first["detail"])


def test_a_name_that_cannot_be_resolved_is_named_so(run: Run) -> None:
    run.start(probe("tcp", 80, name="x" * 64 + ".city"))
    first = run.until(lambda seen: len(seen) >= 1)[0]
    assert (first["error"], first["address"]) == ("name_resolution", None)


@pytest.mark.parametrize(
    ("exc", "named"),
    [
        (OSError(errno.EHOSTUNREACH, "no route"), "unreachable"),
        (OSError(errno.ENETUNREACH, "no route"), "unreachable"),
        (OSError(errno.ETIMEDOUT, "timed out"), "connect_timeout"),
        (TimeoutError("timed out"), "connect_timeout"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "connect_refused"),
        (socket.gaierror(-2, "unknown"), "name_resolution"),
        (OSError(errno.EMFILE, "too many open files"), "witness"),
    ],
)
def test_connect_errors_have_classes(exc: Exception, named: str) -> None:
    assert witness.classify(exc) == named


def test_a_slow_answer_never_holds_up_the_beat(run: Run, city: PaymentsServer) -> None:
    city.mode = "silent"
    run.start(probe("http-write", city.port, path="/payments"), timeout_ms=200)
    records = run.until(lambda seen: len(seen) >= 2)
    assert int(str(records[1]["start_mono_ns"])) < int(str(records[0]["end_mono_ns"]))


def test_beyond_the_bound_a_probe_is_recorded_as_failed_not_skipped(run: Run, city: PaymentsServer) -> None:
    city.mode = "silent"
    run.start(probe("http-write", city.port, path="/payments"), timeout_ms=9000, outstanding_max=3)
    first, second = run.until(lambda seen: len(seen) >= 2)[:2]
    assert (first["seq"], second["seq"]) == (4, 5)
    assert (first["error"], first["write"]) == ("witness", "refused")
    assert "3 probes outstanding" in str(first["detail"])


def test_a_killed_witness_forgets_no_acknowledged_write_and_goes_on_counting(
    run: Run, city: PaymentsServer
) -> None:
    one = probe("http-write", city.port, path="/payments")
    run.start(one)
    run.until(lambda seen: len(seen) >= 4)
    run.kill()
    with run.record.open("ab") as file:
        file.write(b'{"record":"probe","probe":"pay/http-write","seq":99')
    before = {r["reference"] for r in run.lines() if r["record"] in ("sending", "probe")}
    assert city.written <= before
    run.start(one)
    run.until(lambda seen: any(r["reference"] not in before for r in seen))
    assert [r["incarnation"] for r in run.lines() if r["record"] == "header"] == [1, 2]
    sent = [r["reference"] for r in run.lines() if r["record"] == "sending"]
    assert len(sent) == len(set(sent)) > 0


def test_a_forgotten_witness_ends_by_itself_in_good_order(run: Run, city: PaymentsServer) -> None:
    run.start(probe("tcp", city.port), stop_after_s=0.1)
    assert run.process
    assert run.process.wait(10) == 0
    assert run.lines()[-1]["reason"] == "stop_after_s"


def test_a_second_witness_on_the_same_record_refuses(run: Run, city: PaymentsServer) -> None:
    run.start(probe("tcp", city.port))
    run.until(lambda seen: len(seen) >= 1)
    again = subprocess.run(
        [sys.executable, str(PROGRAM), "run", "--config", str(run.folder / "config.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (again.returncode, "another witness" in again.stdout) == (3, True)


def test_a_witness_that_cannot_write_ends_loudly(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"run_id": "r", "beat_ms": 20, "timeout_ms": 20, "probes": [probe("tcp", 9)]})
    )
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "run", "--config", str(tmp_path / "config.json")],
        capture_output=True,
        text=True,
        timeout=10,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
        check=False,
    )
    assert (done.returncode, "cannot write" in done.stdout) == (2, True)


def test_an_outage_is_seen_as_it_was(run: Run, city: PaymentsServer) -> None:
    run.start(probe("http-write", city.port, path="/payments"))
    run.until(lambda seen: good(seen, "http-write") >= 5)
    died = city.die()
    run.until(
        lambda seen: len(seen) > 0 and seen[-1]["verdict"] == "bad" and seen[-1]["seq"] > seen[0]["seq"] + 9
    )  # type: ignore[operator]
    back = city.come_back()
    run.until(lambda seen: all(r["verdict"] == "good" for r in seen[-5:]))
    records = run.probes()
    assert {r["verdict"] for r in records if int(str(r["end_mono_ns"])) < died} == {"good"}
    inside = [
        r
        for r in records
        if int(str(r["start_mono_ns"])) > city.dead_ns and int(str(r["end_mono_ns"])) < back
    ]
    assert {r["error"] for r in inside} == {"connect_refused"}
    assert {r["verdict"] for r in records if int(str(r["start_mono_ns"])) > back} == {"good"}
    acknowledged = {r["reference"] for r in records if r["write"] == "acknowledged"}
    assert acknowledged <= city.written
