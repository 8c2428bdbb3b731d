"""Simulators of clouds for tests: each runs as in a lab, on a free port of this machine."""

import http.client
import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import boto3
from botocore.config import Config

from automation.adapters import keys
from automation.model.actions import MakeKeys
from automation.model.records import Context

PROGRAMS = Path(__file__).resolve().parents[2] / "drtests/simulators"
PATIENCE_S = 120.0  # a program may wait long for a processor where many tests run
REGIONS, ACCOUNT = ("us-east-1", "us-west-2"), "123456789012"


class _State:
    """As much of a step's context as making keys needs."""

    def __init__(self, state: Path) -> None:
        self.state = state


def make_keys(state: Path, *, logins: Sequence[str] = (), certificates: Sequence[str] = ()) -> None:
    """Make an authority, certificates for this machine by it, and logins in the form of AWS."""
    names = dict.fromkeys(certificates, ("localhost", "127.0.0.1"))
    action = MakeKeys(secrets=(), logins=tuple(logins), certificates=names)
    keys.make(action, cast("Context", _State(state)))


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@dataclass
class AwsSimulated:
    """A simulated AWS that runs: where it is, what it is trusted by, and how to order faults of it."""

    state: Path
    port: int
    process: "subprocess.Popen[bytes]"
    _session: Any = field(default_factory=boto3.session.Session)
    _clients: dict[str, Any] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def ca(self) -> Path:
        return self.state / "certificates/ca.crt"

    def login_file(self, name: str = "operator") -> Path:
        """Give the file of a login: lines AWS_ACCESS_KEY_ID= and AWS_SECRET_ACCESS_KEY=."""
        return self.state / f"secrets/{name}"

    def client(
        self, service: str, region: str = REGIONS[0], *, login: str = "operator", **config: Any
    ) -> Any:
        """Give a boto3 client; without another word it tries each call once and waits ten seconds."""
        known = json.dumps((service, region, login, config), sort_keys=True)
        if known not in self._clients:
            self._clients[known] = self._client(service, region, login, config)
        return self._clients[known]

    def _client(self, service: str, region: str, login: str, config: Mapping[str, Any]) -> Any:
        lines = self.login_file(login).read_text().split()
        told = dict(line.split("=", 1) for line in lines)
        usual = {"retries": {"total_max_attempts": 1}, "read_timeout": 10, "connect_timeout": 5}
        return self._session.client(
            service,
            region_name=region,
            endpoint_url=self.endpoint,
            verify=str(self.ca),
            aws_access_key_id=told["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=told["AWS_SECRET_ACCESS_KEY"],
            config=Config(**{**usual, **config}),
        )

    def image(self, name: str = "debian-13", region: str = REGIONS[0]) -> str:
        """Give the id of an image that was always there."""
        found = self.client("ec2", region).describe_images(Filters=[{"Name": "name", "Values": [name]}])
        return str(found["Images"][0]["ImageId"])

    def faults(self, *rules: Mapping[str, object]) -> None:
        """Order faults: `{mode, service?, action?, login?, region?, times?, after?, seconds?}`."""
        self._control("POST", "faults", json.dumps(rules).encode())

    def no_faults(self) -> None:
        self._control("DELETE", "faults")

    def calls(self) -> dict[str, int]:
        """Give how often each call was made: `ec2.RunInstances` to number."""
        return cast("dict[str, int]", self._control("GET", "calls"))

    def forget_calls(self) -> None:
        self._control("DELETE", "calls")

    def needed(self) -> list[str]:
        """Give the permissions that users with policies needed since this was asked, in their order."""
        return cast("list[str]", self._control("GET", "permissions"))

    def pace(self, changes_take_s: float) -> None:
        """Have every change of state that begins from now on take so long, until the next reset."""
        self._control("POST", "pace", json.dumps({"changes_take_s": changes_take_s}).encode())

    def plant(self, **told: Mapping[str, int] | Sequence[str]) -> None:
        """Let the account be what no call makes it: `root`, ages of `logins` and `keys`, `damaged`."""
        self._control("POST", "plant", json.dumps(told).encode())

    def settle(self) -> None:
        """Let every change of state that is under way be done now."""
        self._control("POST", "settle")

    def reset(self) -> None:
        """Make it as it was when it started: no faults, no calls, nothing but its images."""
        self._control("POST", "reset")

    def restart(self) -> None:
        """End it as a lab does, and start it again with what it kept."""
        end(self.process)
        self.process = _start("aws.py", self.state / "aws", self.port)

    def _control(self, method: str, name: str, body: bytes = b"") -> object:
        context = ssl.create_default_context(cafile=str(self.ca))
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=PATIENCE_S, context=context)
        try:
            connection.request(method, f"/_mainstay/{name}", body)
            answer = connection.getresponse()
            content = answer.read().decode()
            assert answer.status == 200, content
            return json.loads(content)
        finally:
            connection.close()


@contextmanager
def simulated_aws(state: Path, **settings: object) -> Iterator[AwsSimulated]:
    """Run a simulated AWS with its state in a folder, whose keys are made; further settings are its own."""
    make_keys(state, logins=("operator", "other"), certificates=("aws",))
    port = free_port()
    told = {
        "address": "127.0.0.1",
        "port": port,
        "certificate": str(state / "certificates/aws.crt"),
        "key": str(state / "certificates/aws.key"),
        "logins": {name: str(state / f"secrets/{name}") for name in ("operator", "other")},
        "regions": REGIONS,
        "account": ACCOUNT,
        "changes_take_s": 0.05,
    }
    folder = state / "aws"
    folder.mkdir(exist_ok=True)
    (folder / "settings.json").write_text(json.dumps({**told, **settings}))
    aws = AwsSimulated(state, port, _start("aws.py", folder, port))
    try:
        yield aws
    finally:
        end(aws.process)


def _start(program: str, folder: Path, port: int) -> "subprocess.Popen[bytes]":
    with (folder / "simulator.log").open("a") as log:
        argv = [sys.executable, "-B", str(PROGRAMS / program), str(folder)]
        process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        await_port(port, process)
    except BaseException:
        end(process)
        raise
    return process


def await_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a program listens, unless it ended."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            return
        assert process.poll() is None, "it ended; its log tells why"
        assert time.monotonic() < deadline, "it does not listen"
        time.sleep(0.05)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a program as a lab does, and wait for it."""
    process.terminate()
    try:
        process.wait(PATIENCE_S)
    finally:
        process.kill()
