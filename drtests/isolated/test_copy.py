"""Services that run on a copy in isolation: they are the city's, and nothing of what they do reaches it."""

import json
import time

import pytest

from automation.model.catalog import PostgresqlStandby, RestoreFromBackup
from drtests.conftest import Recovered, Session

_POST = """
import json, sys, urllib.request
body = json.dumps(json.load(sys.stdin)).encode()
request = urllib.request.Request(sys.argv[1], body, {"Content-Type": "application/json"})
with urllib.request.urlopen(request, timeout=5) as answer:
    print(answer.status)
"""
_REFERENCES = """
import json, sys, urllib.request
with urllib.request.urlopen(sys.argv[1] + "/receipts?limit=200", timeout=5) as answer:
    print(json.dumps([row["reference"] for row in json.load(answer)]))
"""


def sql(session: Session, host: str, cluster: str, database: str, query: str) -> str:
    """Ask a cluster as its owner."""
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
        database,
        "-c",
        query,
    ]
    done = session.remote(host).run(argv)
    assert done.exit_code == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def clusters(session: Session, recovered: Recovered) -> list[str]:
    """The clusters that run on the isolated server."""
    assert recovered.host, "these checks are for a test failover"
    listed = session.remote(recovered.host).run(["pg_lsclusters", "-h"]).stdout
    found = ["/".join(line.split()[:2]) for line in listed.splitlines()]
    databases = [
        name
        for name, one in recovered.services.items()
        if isinstance(one.strategy, PostgresqlStandby | RestoreFromBackup)
    ]
    assert len(found) == len(databases)
    return found


def test_no_copy_archives_or_feeds_a_standby(
    session: Session, recovered: Recovered, clusters: list[str]
) -> None:
    for cluster in clusters:
        asked = "select current_setting('archive_mode'), count(*) from pg_replication_slots"
        assert sql(session, recovered.host, cluster, "postgres", asked) == "off|0"


def test_the_service_has_no_link_out(session: Session, recovered: Recovered) -> None:
    if "payments" not in recovered.services:
        pytest.skip("the payments service was not rebuilt by this run")
    done = session.remote(recovered.host).run(["sudo", "-n", "cat", "/etc/payments.env"])
    settings = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert settings["PAYMENTS_LINKS"] == ""
    assert settings["PAYMENTS_DATABASE_HOST"] == "127.0.0.1"


def test_a_payment_on_the_copy_is_none_in_production(session: Session, recovered: Recovered) -> None:
    if "payments" not in recovered.services:
        pytest.skip("the payments service was not rebuilt by this run")
    web = recovered.services["payments"].endpoints["web"]
    base = f"http://{web.name}:{web.port}"
    payment = {
        "reference": f"copy-{recovered.run_id}-{time.time_ns()}",
        "account": "check",
        "amount_cents": 100,
    }
    done = session.remote(recovered.host).run(
        ["python3", "-c", _POST, f"{base}/payments"], stdin=json.dumps(payment)
    )
    assert done.stdout.strip() == "201", done.stderr
    here, there = (
        json.loads(session.remote(host).run(["python3", "-c", _REFERENCES, base]).stdout)
        for host in (recovered.host, session.environment.witness.host)
    )
    assert payment["reference"] in here
    assert payment["reference"] not in there
    assert isinstance(there, list), "production answers by the same name, with a list of its own"


def test_nobody_outside_was_told_of_a_payment_on_the_copy(session: Session, recovered: Recovered) -> None:
    host = session.environment.witness.host
    told = session.remote(host).run(["sudo", "-n", "cat", "/var/lib/private/outside-world/received.jsonl"])
    if told.exit_code:
        pytest.skip(f"nobody stands for the world outside on {host}")
    address = session.inventory.server(recovered.host).address
    senders = {json.loads(line)["from"] for line in told.stdout.splitlines()}
    assert address not in senders
    assert f"copy-{recovered.run_id}" not in told.stdout
