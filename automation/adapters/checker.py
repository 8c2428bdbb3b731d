"""The checker on the hosts of a lab: prepare the databases, start it, take its records home.

The program itself is `automation/shipped/checker.py`. It is no part of any plan: it must go on writing
whatever becomes of the controller that runs one.
"""

import json
import time
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from automation.model.base import Model
from automation.model.errors import AdapterError
from automation.model.records import Completed, Remote

PROGRAM = Path(__file__).resolve().parents[1] / "shipped/checker.py"
ROLE = DATABASE = "mainstay_checker"
SECRET = "checker_password"
RECORD = "checker.jsonl"
BEAT_MS = 20
# A write ends after lanes x beat: 320 ms hold a new connection over the WAN, six round trips of 20 ms.
LANES = 16
# Three checkers with all their lanes, and connections given up that the server has not noticed yet: a write
# must never fail for want of one. The service keeps the rest of the 100.
CONNECTIONS = 60
STARTS_WITHIN_S = 10.0
# A router tells each address at most once a second that a server is fenced (Linux, `ip_error`). So that the
# checker does not use up what the witness at the same host must hear, it has an address of its own: that of
# its host plus 100, used by one user alone.
ADDRESS_OFFSET = 100
USER, UID, TABLE = "nobody", 65534, 77
_ADDRESS = """
set -eu
address=$1 network=$2 uid=$3 table=$4
ip address replace "$address" dev host0
ip rule show | grep -q "uidrange $uid-$uid" || ip rule add uidrange "$uid-$uid" lookup "$table"
ip route replace "$network" dev host0 src "${address%/*}" table "$table"
ip route replace default via "$(ip route show default | cut -d' ' -f3)" src "${address%/*}" table "$table"
"""


class Watch(Model):
    """One watch over the database nodes of a lab; `nodes` maps each node to its address."""

    id: str
    nodes: Mapping[str, str]
    port: int = 5432


# The password reaches no log: neither a statement that fails nor one that succeeds is written.
_PREPARE = r"""
\set ON_ERROR_STOP on
SET log_statement = 'none'; SET log_min_error_statement = 'panic'; SET log_min_duration_statement = -1;
SELECT 'CREATE ROLE mainstay_checker'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'mainstay_checker') \gexec
ALTER ROLE mainstay_checker LOGIN CONNECTION LIMIT {connections} PASSWORD '{password}';
ALTER ROLE mainstay_checker SET log_min_messages = 'fatal';
SELECT 'CREATE DATABASE mainstay_checker OWNER mainstay_checker'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'mainstay_checker') \gexec
\connect mainstay_checker
CREATE TABLE IF NOT EXISTS writes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  writer text NOT NULL, incarnation int NOT NULL, node text NOT NULL, n bigint NOT NULL);
ALTER TABLE writes OWNER TO mainstay_checker;
"""


def prepare(host: str, cluster: str, password: str, remote: Remote) -> None:
    """Make the checker's role, database and table on the primary; its standby follows."""
    if "'" in password or "\\" in password:
        raise AdapterError(f"the password in secrets/{SECRET} has a quote; nothing was changed")
    argv = [
        "sudo",
        "-n",
        "-u",
        "postgres",
        "psql",
        "--cluster",
        cluster,
        "-XqAt",
        "-d",
        "postgres",
        "-f",
        "-",
    ]
    done = remote.run(argv, stdin=_PREPARE.format(connections=CONNECTIONS, password=password))
    if done.exit_code:
        raise AdapterError(f"psql on {host}: the checker's role was not made: {done.stderr.strip()}")


class Vantage(Model):
    """A host that a checker runs on, and the network it tries from."""

    host: str
    address: str
    network: str


def start(vantage: Vantage, watch: Watch, password: str, remote: Remote) -> bool:
    """Start the checker on a host, unless it runs; tell whether it was started."""
    host = vantage.host
    unit, folder = _unit(watch), _folder(watch)
    if remote.run(["systemctl", "is-active", "--quiet", unit]).exit_code == 0:
        return False
    network = IPv4Network(vantage.network)
    own = f"{IPv4Address(vantage.address) + ADDRESS_OFFSET}/{network.prefixlen}"
    numbers = (own, str(network), str(UID), str(TABLE))
    _must(remote, host, ["sudo", "-n", "sh", "-c", _ADDRESS, "address", *numbers], "give it an address")
    _install(remote, host, watch, password)
    before = _headers(remote, watch)
    settings = ("Type=exec", f"User={USER}", "Restart=on-failure", "RestartSec=200ms", "Nice=-5")
    properties = [f"--property={setting}" for setting in settings]
    # Isolated from the user's own modules, but with the system's: psycopg2 is one of them.
    program = ["python3", "-I", f"{folder}/checker.py", f"{folder}/config.json"]
    words = ["sudo", "-n", "systemd-run", "--quiet", "--collect", f"--unit={unit}", *properties, *program]
    _must(remote, host, words, "start it")
    deadline = time.monotonic() + STARTS_WITHIN_S
    while _headers(remote, watch) == before:
        if time.monotonic() > deadline:
            said = remote.run(["sudo", "-n", "journalctl", "--no-pager", "-n", "5", "-u", unit]).stdout
            raise AdapterError(f"the checker on {host} was started but writes no record: {said.strip()}")
        time.sleep(0.05)
    return True


def collect(host: str, watch: Watch, remote: Remote) -> str:
    """Let the checker end in good order, forget its password, and give its record."""
    remote.run(["sudo", "-n", "systemctl", "stop", _unit(watch)])
    remote.run(["sudo", "-n", "rm", "-f", f"{_folder(watch)}/config.json"])
    done = remote.run(["sudo", "-n", "cat", f"{_folder(watch)}/{RECORD}"], timeout_s=120)
    if done.exit_code:
        raise AdapterError(f"the checker's record on {host} cannot be read: {done.stderr.strip()}")
    return done.stdout


def _install(remote: Remote, host: str, watch: Watch, password: str) -> None:
    """Put the program and its config where its own user, and nobody else but root, reads them."""
    folder = _folder(watch)
    make = ["sudo", "-n", "install", "-d", "-o", USER, "-m", "0700", folder]
    _must(remote, host, make, "make its folder")
    for name, content in (
        ("checker.py", PROGRAM.read_text()),
        ("config.json", _config(host, watch, password)),
    ):
        write = ["sudo", "-n", "-u", USER, "sh", "-c", 'umask 077; cat >"$1"', "write", f"{folder}/{name}"]
        done = remote.run(write, stdin=content)
        if done.exit_code:
            raise AdapterError(f"the checker on {host}: could not write {name}: {done.stderr.strip()}")


def _folder(watch: Watch) -> str:
    return f"/var/lib/mainstay-checker/{watch.id}"


def _unit(watch: Watch) -> str:
    return f"mainstay-checker-{watch.id}.service"


def _headers(remote: Remote, watch: Watch) -> str:
    """Count the starts in a record; an empty answer for none."""
    return remote.run(
        ["sudo", "-n", "grep", "-c", '"record":"header"', f"{_folder(watch)}/{RECORD}"]
    ).stdout.strip()


def _config(host: str, watch: Watch, password: str) -> str:
    return json.dumps(
        {
            "watch": watch.id,
            "writer": host,
            "beat_ms": BEAT_MS,
            "lanes": LANES,
            "out": _folder(watch),
            "user": ROLE,
            "password": password,
            "database": DATABASE,
            "targets": [
                {"node": node, "address": address, "port": watch.port}
                for node, address in watch.nodes.items()
            ],
        }
    )


def _must(remote: Remote, host: str, argv: Sequence[str], attempt: str) -> Completed:
    done = remote.run(argv)
    if done.exit_code:
        raise AdapterError(f"the checker on {host}: could not {attempt}: {done.stderr.strip()}")
    return done
