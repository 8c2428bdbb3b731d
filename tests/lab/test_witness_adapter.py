"""The adapter with the real programs, on a host whose only pretence is systemd.

The same steps run on real hosts, with real systemd and SSH, in every drill of the lab suite.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from automation.adapters import witness
from automation.model.actions import AwaitFailed, AwaitGood, CollectWitness, Probe, ProveRefused, StartWitness
from automation.model.errors import AdapterError
from automation.model.evidence import FenceProof, ProbesSeen, WitnessRecord
from automation.model.records import Completed, Context, Remote
from automation.recovery.history import read_history
from tests.shipped.payments_server import PaymentsServer

REMOTE_ROOT = "/var/lib/mainstay-witness"


class Vantage:
    """A `Remote` whose witness folder lies under a folder of the test's own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.unit: subprocess.Popen[bytes] | None = None

    def run(self, argv: Sequence[str], stdin: str | None = None, timeout_s: float = 30.0) -> Completed:
        words = [self.here(word) for word in argv if word not in ("sudo", "-n")]
        match words[0]:
            case "install":
                Path(words[-1]).mkdir(parents=True)
            case "systemctl" if words[1] == "is-active":
                return Completed(exit_code=0 if self.active else 3, stdout="", stderr="")
            case "systemctl" if self.unit:
                self.unit.send_signal(signal.SIGTERM)
                self.unit.wait()
            case "systemd-run":
                program = words[words.index("python3") + 1 :]
                self.unit = subprocess.Popen([sys.executable, *program])
            case _:
                command = [sys.executable, *words[1:]] if words[0] == "python3" else words
                done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
                return Completed(exit_code=done.returncode, stdout=done.stdout, stderr=done.stderr)
        return Completed(exit_code=0, stdout="", stderr="")

    def put(self, path: str, content: bytes, mode: int = 0o600) -> None:
        Path(self.here(path)).write_bytes(content)

    def get(self, path: str) -> bytes:
        return Path(self.here(path)).read_bytes()

    @property
    def active(self) -> bool:
        return self.unit is not None and self.unit.poll() is None

    def here(self, path: str) -> str:
        return path.replace(REMOTE_ROOT, str(self.root))


@pytest.fixture
def vantage(tmp_path: Path) -> Iterator[Vantage]:
    one = Vantage(tmp_path / "remote")
    yield one
    if one.unit:
        one.unit.kill()
        one.unit.wait()


@pytest.fixture
def ctx(tmp_path: Path, vantage: Vantage) -> Context:
    (tmp_path / "artifacts").mkdir()
    return cast(
        Context,
        SimpleNamespace(
            run_id="r1",
            environment=SimpleNamespace(automation_user="ops"),
            artifacts=tmp_path / "artifacts",
            timeout_s=5.0,
            remote=lambda host: vantage,
            say=lambda text: None,
        ),
    )


@pytest.fixture
def city() -> Iterator[PaymentsServer]:
    server = PaymentsServer()
    server.come_back()
    yield server
    server.close()


def start(city: PaymentsServer) -> StartWitness:
    pay = Probe(id="payments/pay", kind="http-write", name="localhost", port=city.port, path="/payments")
    web = Probe(id="payments/web", kind="http", name="localhost", port=city.port, path="/health")
    return StartWitness(host="client-1", probes=(pay, web), beat_s=0.02, timeout_s=3.0)


PROBES = ("payments/pay", "payments/web")


def test_a_drill_s_worth_of_questions(city: PaymentsServer, ctx: Context, vantage: Vantage) -> None:
    assert witness.start(start(city), ctx).changed
    good = witness.await_good(AwaitGood(host="client-1", probes=PROBES, count=3), ctx)
    assert isinstance(good.evidence, ProbesSeen)
    assert good.evidence.probes == PROBES
    city.die()
    failed = witness.await_failed(AwaitFailed(host="client-1", probes=PROBES, count=2), ctx)
    assert isinstance(failed.evidence, ProbesSeen)
    assert failed.evidence.at > good.evidence.at
    collected = witness.collect(CollectWitness(host="client-1"), ctx)
    record = collected.evidence
    assert isinstance(record, WitnessRecord)
    assert record.acknowledged == len(city.written)
    assert not vantage.active
    history = read_history((ctx.artifacts / record.file).read_text().splitlines())
    assert history.ended_in_order
    assert sum(map(len, history.probes.values())) == record.probes


def test_starting_twice_joins_the_one_that_runs(city: PaymentsServer, ctx: Context, vantage: Vantage) -> None:
    witness.start(start(city), ctx)
    first = vantage.unit
    again = witness.start(start(city), ctx)
    assert (again.changed, vantage.unit) == (False, first)


def test_collecting_twice_gives_the_same_and_changes_nothing(city: PaymentsServer, ctx: Context) -> None:
    witness.start(start(city), ctx)
    first = witness.collect(CollectWitness(host="client-1"), ctx)
    content = (ctx.artifacts / "witness.jsonl").read_bytes()
    again = witness.collect(CollectWitness(host="client-1"), ctx)
    assert (first.changed, again.changed) == (True, False)
    assert (ctx.artifacts / "witness.jsonl").read_bytes() == content


def test_records_that_were_brought_home_long_ago_go_and_no_other(
    city: PaymentsServer, ctx: Context, vantage: Vantage
) -> None:
    witness.start(start(city), ctx)
    for name, files in {
        "home": ("vantage.py", "witness.jsonl", "brought-home"),
        "never-fetched": ("vantage.py", "witness.jsonl"),
        "grown-since": ("brought-home", "witness.jsonl"),
        "no-record": ("vantage.py",),
        "young": ("witness.jsonl", "brought-home"),
        "heads": ("20260301-030000-0001",),
    }.items():
        folder = vantage.root / name
        folder.mkdir()
        for number, file in enumerate(files):
            (folder / file).touch()
            os.utime(folder / file, (number, number))
        if name != "young":
            os.utime(folder, (0, 0))
    witness.collect(CollectWitness(host="client-1"), ctx)
    left = {path.name for path in vantage.root.iterdir()}
    assert left == {"r1", "never-fetched", "grown-since", "young", "heads"}


def test_what_was_not_seen_in_time_is_an_error_that_says_so(city: PaymentsServer, ctx: Context) -> None:
    witness.start(start(city), ctx)
    ctx.__dict__["timeout_s"] = 0.2
    with pytest.raises(AdapterError, match="did not see 2 failed probes in a row of payments/pay"):
        witness.await_failed(AwaitFailed(host="client-1", probes=("payments/pay",), count=2), ctx)


def test_an_http_write_counts_any_status_of_success() -> None:
    described = witness._probe(Probe(id="a/b", kind="http-write", name="n", port=1, expect_status=202))
    assert described["status"] == [200, 201, 202]


class Fence:
    """A fenced port, and another that answers."""

    def __init__(self, ctx: Context, city: PaymentsServer) -> None:
        witness.start(start(city), ctx)
        self.ctx, self.alive = ctx, city.port
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.closed = int(listener.getsockname()[1])

    def prove(self, port: int, *reachable: int, **more: Any) -> FenceProof:
        wanted: dict[str, Any] = {
            "host": "client-1",
            "server": "pg-a",
            "address": "127.0.0.1",
            "port": port,
            "reachable": tuple(f"127.0.0.1:{one}" for one in reachable),
            "means": ("fence-power", "fence-network"),
        }
        action = ProveRefused.model_validate({**wanted, **more})
        outcome = witness.prove_refused(action, self.ctx)
        assert isinstance(outcome.evidence, FenceProof)
        return outcome.evidence


@pytest.fixture
def fence(ctx: Context, city: PaymentsServer) -> Fence:
    return Fence(ctx, city)


def test_a_host_that_says_nothing_listens_is_alive_and_not_fenced(fence: Fence) -> None:
    with pytest.raises(AdapterError, match="alive and reachable") as raised:
        fence.prove(fence.closed, fence.alive)
    assert not raised.value.transient


def test_a_connection_made_is_no_fence(fence: Fence) -> None:
    with pytest.raises(AdapterError, match="it is not fenced; nothing changed") as raised:
        fence.prove(fence.alive)
    assert not raised.value.transient


def test_a_refusal_by_everybody_proves_nothing(fence: Fence) -> None:
    with pytest.raises(AdapterError, match="no proof") as raised:
        fence.prove(fence.closed, fence.closed)
    assert raised.value.transient


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that answers nobody: its queue of connections is full."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()):
            yield int(full.getsockname()[1])


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness, "OVERHEAR_S", 0.1)


def test_silence_alone_proves_no_fence(fence: Fence, silent: int) -> None:
    with pytest.raises(AdapterError, match="is silent to client-1, and so is all of its site: no proof"):
        fence.prove(silent, fence.alive)


def test_silence_is_a_proof_where_its_neighbour_answers_in_the_same_moment(fence: Fence, silent: int) -> None:
    proof = fence.prove(silent, fence.alive, same_site=(f"127.0.0.1:{fence.alive}",))
    assert (proof.refused_by, proof.basis) == ("connect_timeout", "reached-same-site")


def test_a_lost_vantage_is_replaced_by_the_next(
    fence: Fence, silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = fence.ctx.remote

    def remote(host: str) -> Remote:
        if host == "client-1":
            raise AdapterError("cannot log in to client-1", transient=True)
        return known("client-1")

    monkeypatch.setattr(fence.ctx, "remote", remote)
    proof = fence.prove(silent, fence.alive, else_from=("pg-b",), same_site=(f"127.0.0.1:{fence.alive}",))
    assert proof.vantage == "pg-b"


def test_without_any_vantage_there_is_no_proof(fence: Fence, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(host: str) -> Remote:
        raise AdapterError(f"cannot log in to {host}", transient=True)

    monkeypatch.setattr(fence.ctx, "remote", lost)
    with pytest.raises(AdapterError, match="no vantage could be asked") as raised:
        fence.prove(fence.closed, fence.alive, else_from=("pg-b",))
    assert raised.value.transient


def test_the_clock_of_a_host_in_step_is_not_corrected(ctx: Context, vantage: Vantage) -> None:
    offset_s, uncertainty_s = witness._clock_offset(vantage, "client-1")
    assert offset_s == 0
    assert 0 < uncertainty_s < 1


def test_the_clock_of_a_host_that_is_off_is_measured(
    vantage: Vantage, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = Completed(exit_code=0, stdout="1000.5\n", stderr="")
    monkeypatch.setattr(vantage, "run", lambda argv, **_: behind)
    monkeypatch.setattr(witness.time, "time", lambda: 1010.5)
    assert witness._clock_offset(vantage, "client-1") == (-10.0, 0.0)


def test_the_config_is_what_the_witness_reads(city: PaymentsServer, ctx: Context) -> None:
    config = json.loads(witness._config(start(city), ctx))
    assert (config["run_id"], config["beat_ms"], config["timeout_ms"]) == ("r1", 20, 3000)
