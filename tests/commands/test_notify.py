"""Telling people: what reaches a real server, how often, and what a message never holds."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import cast

import pytest

from automation.commands._notify import alarm, deliver, memory_of, recall, well
from automation.commands._session import Session
from automation.commands._told_audits import tell_audit
from automation.model.environment import Environment, load_environment
from automation.model.loading import load_model
from automation.model.notices import Notice
from tests.commands.test_told_audits import found
from tests.conftest import ROOT

NOW = datetime(2026, 11, 22, 3, 31, tzinfo=UTC)
SECRET = "T0KEN-that-nobody-may-see"
ABOUT = "rotation of share in nas"
FROZEN = "rotation is frozen: 83 % of the files changed"


class Mailbox:
    """A server that takes Apprise's json:// messages, as a city's own would."""

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        mailbox = self

        class Taker(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"]))
                mailbox.messages.append(json.loads(text))
                self.send_response(200 if SECRET in self.path else 403)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Taker)
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def url(self, path: str = SECRET) -> str:
        return f"json://127.0.0.1:{self.server.server_port}/{path}"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    yield box
    box.close()


@pytest.fixture
def environment() -> Environment:
    """The lab, where `ops` wants alarms and `log` wants everything."""
    text = "notify:\n  ops: {url: {file: ops}}\n  log: {url: {file: log}, wants: all}\n"
    return notified(text)


def notified(text: str) -> Environment:
    lab = load_environment(ROOT, "lab")
    return lab.model_copy(update={"notify": _targets(text), "name": "city"})


def _targets(text: str) -> object:
    import tempfile

    source = (ROOT / "inventories/lab/environment.yml").read_text()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "environment.yml"
        path.write_text(f"{source}\n{text}")
        return load_model(path, Environment, name="city", folder=Path(folder)).notify


@pytest.fixture
def state(tmp_path: Path, mailbox: Mailbox) -> Path:
    for name in ("ops", "log"):
        (tmp_path / name).write_text(f"{mailbox.url()}\n")
    return tmp_path


def test_an_alarm_says_what_on_what_since_when_and_what_to_do(
    environment: Environment, state: Path, mailbox: Mailbox
) -> None:
    acts = ("./inv backup.explain --env city --resource share",)
    done = alarm(environment, state, ABOUT, FROZEN, said=("files: 812 of 980",), next_acts=acts, now=NOW)
    assert (done.took, done.failed) == (("ops", "log"), {})
    message = mailbox.messages[0]
    assert message["title"] == f"[city] {ABOUT}: {FROZEN}"
    assert message["type"] == "failure"
    for words in (f"What:   {FROZEN}", f"On:     {ABOUT}", "Since:  2026-11-22 03:31 UTC", *acts):
        assert words in message["message"]
    assert SECRET not in json.dumps(mailbox.messages)


def test_the_same_is_told_once_a_day_and_at_once_when_it_changes(
    environment: Environment, state: Path, mailbox: Mailbox
) -> None:
    def see(what: str, hours: int) -> int:
        alarm(environment, state, ABOUT, what, now=NOW + timedelta(hours=hours))
        return len(mailbox.messages) // 2

    assert [see(FROZEN, 0), see(FROZEN.replace("83", "84"), 1), see(FROZEN, 23)] == [1, 1, 1]
    assert see(FROZEN, 24) == 2
    assert "Since:  2026-11-22 03:31 UTC (seen 4 times)" in mailbox.messages[-1]["message"]
    assert see("rotation is frozen: a source is missing", 25) == 3


def test_what_comes_back_after_weeks_is_new(environment: Environment, state: Path, mailbox: Mailbox) -> None:
    alarm(environment, state, ABOUT, FROZEN, now=NOW)
    alarm(environment, state, ABOUT, FROZEN, now=NOW + timedelta(days=7))
    assert "Since:  2026-11-22" in mailbox.messages[-1]["message"]
    alarm(environment, state, ABOUT, FROZEN, now=NOW + timedelta(days=30))
    assert "Since:  2026-12-22 03:31 UTC\n" in mailbox.messages[-1]["message"]


def test_its_end_is_told_to_those_who_want_everything_and_then_it_is_new_again(
    environment: Environment, state: Path, mailbox: Mailbox
) -> None:
    well(environment, state, ABOUT, "nothing was wrong")
    alarm(environment, state, ABOUT, FROZEN, now=NOW)
    assert well(environment, state, ABOUT, "rotation went on").took == ("log",)
    assert [one["type"] for one in mailbox.messages] == ["failure", "failure", "success"]
    assert mailbox.messages[-1]["title"] == f"[city] {ABOUT}: well again"
    assert recall(state, ABOUT) is None
    assert alarm(environment, state, ABOUT, FROZEN, now=NOW).took == ("ops", "log")


def test_who_is_not_reached_is_said_without_its_address_and_told_the_next_time(
    environment: Environment, state: Path, mailbox: Mailbox, capsys: pytest.CaptureFixture[str]
) -> None:
    (state / "ops").write_text(mailbox.url("wrong-T0KEN"))
    (state / "log").unlink()
    done = alarm(environment, state, ABOUT, FROZEN, now=NOW)
    assert set(done.failed) == {"ops", "log"}
    said = capsys.readouterr().err
    assert "NOT TOLD: notify target ops of city: the service (json) refused the message" in said
    assert "NOT TOLD: notify target log of city: secret {file: log} cannot be read" in said
    assert "T0KEN" not in said
    (state / "ops").write_text(mailbox.url())
    assert alarm(environment, state, ABOUT, FROZEN, now=NOW).took == ("ops",)


def test_an_address_of_no_service_is_not_shown(
    environment: Environment, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (state / "ops").write_text(f"nosuch://{SECRET}")
    notice = Notice(kind="test", environment="city", about="t", what="t", node="cn", since=NOW)
    done = deliver(environment, state, notice)
    assert done.failed == {"ops": "this is no address that Apprise knows (nosuch)"}
    assert SECRET not in capsys.readouterr().err


def test_where_nobody_is_named_it_is_said(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environment = notified("")
    alarm(environment, state, ABOUT, FROZEN, now=NOW)
    assert "NOT TOLD: environment.yml of city names nobody" in capsys.readouterr().err


def test_what_a_notice_is_about_cannot_leave_its_folder(state: Path) -> None:
    assert memory_of(state, "../../etc/passwd x").parent == state / "told"


def test_an_address_in_clear_or_in_a_variable_is_refused() -> None:
    from automation.model.errors import ConfigError

    for text in ("notify: {ops: {url: {env: URL}}}\n", "notify: {ops: {url: 'json://host/token'}}\n"):
        with pytest.raises(ConfigError, match=r"notify\.ops\.url"):
            notified(text)


def test_what_an_audit_found_is_told_once_with_what_to_type(tmp_path: Path, mailbox: Mailbox) -> None:
    (tmp_path / "ops").write_text(f"{mailbox.url()}\n")
    environment = notified("notify:\n  ops: {url: {file: ops}, wants: all}\n")
    session = cast(Session, SimpleNamespace(environment=environment, state=tmp_path))
    for day in (found(web="fail"), found(web="fail"), found(web="pass")):
        tell_audit(session, day)
    worse, well = mailbox.messages
    assert worse["title"].startswith("[city] security baseline: the baseline turned worse: 1 controls")
    for words in (
        "  high: lin.ssh.root-login on web\n",
        "  ./inv baseline.report --env city --run run-1 --to audit.html\n",
        "It is told again when it turns worse",
    ):
        assert words in worse["message"]
    assert well["title"] == "[city] security baseline: well again"
