"""A citizen can pay and sees the receipt, from the client's side and by name."""

import json
import time
from typing import Any

import pytest

from automation.model.catalog import Endpoint
from drtests.conftest import Recovered, Session

_ASK = """
import json, sys, urllib.request
body = json.load(sys.stdin)
request = urllib.request.Request(sys.argv[1], json.dumps(body).encode() if body else None,
                                 {"Content-Type": "application/json"})
with urllib.request.urlopen(request, timeout=5) as answer:
    print(json.dumps([answer.status, json.load(answer)]))
"""


@pytest.fixture
def web(recovered: Recovered) -> Endpoint:
    """Where the payments service answers, if it was recovered."""
    if "payments" not in recovered.services:
        pytest.skip("the payments service was not recovered by this run")
    return recovered.services["payments"].endpoints["web"]


def ask(session: Session, host: str, url: str, body: dict[str, object] | None = None) -> tuple[int, Any]:
    """Ask over HTTP from a client's host; give status and answer."""
    done = session.remote(host).run(["python3", "-c", _ASK, url], stdin=json.dumps(body), timeout_s=15)
    assert done.exit_code == 0, done.stderr
    status, answer = json.loads(done.stdout)
    return status, answer


def test_a_payment_is_taken_once_and_its_receipt_listed(
    session: Session, recovered: Recovered, web: Endpoint
) -> None:
    base, host = f"http://{web.name}:{web.port}", recovered.vantage(session)
    reference = f"check-{recovered.run_id}-{time.time_ns()}"  # a run that is resumed may check again
    payment = {"reference": reference, "account": "check", "amount_cents": 100}
    assert ask(session, host, f"{base}/payments", payment)[0] == 201
    assert ask(session, host, f"{base}/payments", payment)[0] == 200
    _, receipts = ask(session, host, f"{base}/receipts?limit=200")
    assert [row["reference"] for row in receipts].count(payment["reference"]) == 1
