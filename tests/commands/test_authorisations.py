"""Letting a job run with nobody watching: signed, listed, used, withdrawn."""

import io
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from socket import gethostname

import pytest

from automation.commands import _authorisations
from automation.commands._authorisations import (
    JobFlags,
    Wanted,
    authorise,
    list_standing,
    look_again,
    unattended,
    withdraw,
)
from automation.commands._servers import plan_converge
from automation.commands._session import Session, refuse_unwatched
from automation.engine import authorisation
from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.hooks import Hooks
from automation.engine.run import make_run_folder, run_plan
from automation.engine.seal import check_run
from automation.engine.signers import load_signers
from automation.model.approvals import ApprovalSettings
from automation.model.environment import Inventory, Server, load_environment
from automation.model.errors import ConfigError, PreflightError
from automation.model.records import Outcome
from tests.conftest import ROOT
from tests.engine.people import People

SERVERS = {
    name: Server(name=name, address="10.77.2.20", site="eoc", provider="nspawn", image="x", groups=groups)
    for name, groups in (("pg-a", ("postgresql", "city")), ("pg-b", ("postgresql", "city")), ("app-a", ()))
}
JOB = JobFlags("provision.converge", "nightly")


@pytest.fixture(scope="module")
def _keys(tmp_path_factory: pytest.TempPathFactory) -> People:
    return People(tmp_path_factory.mktemp("signers"))


@pytest.fixture
def people(_keys: People, monkeypatch: pytest.MonkeyPatch) -> People:
    trusting = partial(load_signers, trusted_uid=os.getuid())
    for module in (authorisation, _authorisations):
        monkeypatch.setattr(module, "load_signers", trusting)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return _keys


@pytest.fixture
def session(people: People, tmp_path: Path) -> Session:
    """A production environment of three servers, where a database owner may let them be configured."""
    settings = ApprovalSettings(
        allowed_signers=people.path, authorise={"provision.converge": "database-owner"}
    )
    changed = {"approvals": settings, "kind": "production", "lab": None, "name": "city"}
    environment = load_environment(ROOT, "lab").model_copy(update=changed)
    inventory, state = Inventory(servers=SERVERS, digest="1" * 64), tmp_path / "state"

    def context(run_id: str) -> RunContext:
        artifacts = state / "runs" / run_id / "artifacts"
        return RunContext(
            run_id,
            environment,
            inventory,
            state,
            tmp_path,
            artifacts,
            None,  # type: ignore[arg-type]
            lambda step, text: None,
        )

    return Session(environment, inventory, state, tmp_path, None, context)  # type: ignore[arg-type]


def wanted(people: People, person: str = "dba", **changes: str) -> Wanted:
    words = Wanted("nightly", "provision.converge", "", "hosts=3", people.folder / person, "it is routine")
    return words._replace(**changes)


def sign(session: Session, words: Wanted) -> Path:
    return authorise(session, words, confirm=lambda: True)


def use(session: Session, job: JobFlags = JOB, hosts: int = 3) -> authorisation.Granted | None:
    plan = plan_converge(session, limit=None, check=False, variables={})
    return unattended(session, plan, job, {"hosts": hosts})


def test_a_person_reads_what_a_job_may_do_and_signs_it(
    session: Session, people: People, capsys: pytest.CaptureFixture[str]
) -> None:
    sign(session, wanted(people, valid="30 d"))
    said = capsys.readouterr().err
    for words in (
        "You, as database-owner, let a job run again and again with nobody watching",
        "provision.converge on all of environment city",
        "at most 3 hosts each time",
        "(30.0 days); your reason: it is routine",
        "never: failover",
    ):
        assert words in said
    (found,) = list_standing(session)
    assert (found.stands, found.signed_by, found.limits) == (True, "dba", {"hosts": 3})
    granted = use(session)
    assert granted is not None
    assert granted.signer.principal == "dba"


def test_who_says_no_signs_nothing(session: Session, people: People) -> None:
    with pytest.raises(PreflightError, match="nothing was signed"):
        authorise(session, wanted(people), confirm=lambda: False)
    assert list_standing(session) == []


def test_without_a_terminal_nobody_is_asked(session: Session, people: People) -> None:
    with pytest.raises(PreflightError, match="given at a terminal, and this is none"):
        authorise(session, wanted(people))


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"person": "coordinator"}, PreflightError, "coordinator has not the role database-owner"),
        ({"person": "stranger"}, PreflightError, "is not in"),
        ({"job": "dr.failover"}, ConfigError, r"dr\.failover is never done with nobody watching"),
        ({"job": "provision.apply", "limits": "created=1,started=1"}, PreflightError, "nobody may"),
        ({"limits": ""}, ConfigError, "--limits must give hosts, and nothing else"),
        ({"limits": "hosts=3,more=1"}, ConfigError, "--limits must give hosts, and nothing else"),
        ({"limits": "hosts=nan"}, ConfigError, "--limits must give hosts, and nothing else"),
        ({"limits": "hosts=inf"}, ConfigError, "--limits must give hosts, and nothing else"),
        ({"limits": "hosts=many"}, ConfigError, "'hosts=many' has no number"),
        ({"valid": "2000 d"}, ConfigError, "is not between 1 h and 366 d"),
        ({"reason": " "}, ConfigError, "--reason is empty"),
        ({"name": "../x"}, ConfigError, "is no name of an authorisation"),
    ],
)
def test_what_would_not_count_is_not_kept(
    changes: dict[str, str], error: type[Exception], reason: str, session: Session, people: People
) -> None:
    with pytest.raises(error, match=reason):
        sign(session, wanted(people, **changes))
    assert list_standing(session) == []


def test_a_job_in_production_needs_one_where_nobody_watches(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PreflightError, match="nobody watching and under no standing authorisation") as caught:
        use(session, JobFlags("provision.converge"))
    assert "--env city --name NAME --job provision.converge" in (caught.value.hint or "")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    assert use(session, JobFlags("provision.converge")) is None, "a person watches"


def test_more_than_was_agreed_to_is_refused_and_the_next_night_may_go_on(
    session: Session, people: People
) -> None:
    sign(session, wanted(people))
    with pytest.raises(PreflightError, match="hosts would be 4, at most 3 was agreed"):
        use(session, hosts=4)
    assert use(session) is not None


def test_one_that_was_withdrawn_is_refused_and_not_listed(session: Session, people: People) -> None:
    path = sign(session, wanted(people))
    content, signature = path.read_text(), path.with_name("nightly.json.sig").read_text()
    with pytest.raises(ConfigError, match="--reason is empty"):
        withdraw(session, "nightly", " ")
    assert withdraw(session, "nightly", "the job is gone").name == "nightly"
    assert list_standing(session) == []
    with pytest.raises(PreflightError, match="there is no standing authorisation nightly"):
        use(session)
    path.write_text(content)
    path.with_name("nightly.json.sig").write_text(signature)
    (row,) = list_standing(session)
    assert (row.stands, row.why_not) == (False, "it was withdrawn")
    with pytest.raises(PreflightError, match="authorisation nightly was withdrawn"):
        use(session)


def test_an_edit_or_a_withdrawal_while_a_job_waits_for_its_locks_stops_it(
    session: Session, people: People
) -> None:
    sign(session, wanted(people))
    granted = use(session)
    plan = plan_converge(session, limit=None, check=False, variables={})
    same = (session.environment, session.inventory)
    edited = (session.environment, Inventory(servers=SERVERS, digest="2" * 64))
    look_again(session, plan, granted, lambda session: same)
    look_again(session, plan, None, lambda session: edited)
    with pytest.raises(PreflightError, match="the policy is not the one that was agreed to; nothing was"):
        look_again(session, plan, granted, lambda session: edited)
    withdraw(session, "nightly", "not tonight")
    with pytest.raises(PreflightError, match="there is no standing authorisation nightly"):
        look_again(session, plan, granted, lambda session: same)


def test_what_no_longer_holds_is_listed_with_the_reason(session: Session, people: People) -> None:
    path = sign(session, wanted(people))
    path.write_text(path.read_text().replace("it is routine", "it is fun"))
    (path.parent / "odd.json").write_text("{}")
    nightly, odd = list_standing(session)
    assert (nightly.stands, odd.stands) == (False, False)
    assert "the text is not the one that dba signed" in nightly.line
    assert "does NOT stand: it is no authorisation" in odd.line


def test_the_run_of_a_job_tells_what_it_ran_under_and_is_resumed_by_a_person(
    session: Session, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign(session, wanted(people))
    granted = use(session)
    assert granted is not None
    run_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-0001"
    folder = make_run_folder(session.state, run_id)
    ctx = session.context(run_id)
    plan = plan_converge(session, limit=None, check=False, variables={})
    hooks = Hooks(admit=lambda plan, folded: [granted.leave(folder)])
    nothing = Work(perform=lambda step, ctx: Outcome(changed=False, summary="nothing"))
    run_plan(plan, ctx, actor="job", hooks=hooks, work=nothing)
    kept = folder / "authorisation/nightly.json"
    kept.write_text(kept.read_text() + " ")
    found = [str(one) for one in check_run(folder, public_key=folder / "none.pub")]
    assert "line 2: nightly.json is missing or not the authorisation that was used" in found
    with pytest.raises(PreflightError, match="goes on at a terminal alone"):
        refuse_unwatched(ctx)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    refuse_unwatched(ctx)


@pytest.mark.parametrize(
    ("pattern", "covered"),
    [
        (None, ("pg-a", "pg-b", "app-a")),
        ("pg-a", ("pg-a",)),
        ("postgresql", ("pg-a", "pg-b")),
        ("pg-b,app-a", ("pg-b", "app-a")),
        ("postgresql:app-a", ("pg-a", "pg-b", "app-a")),
        ("postgresql:!pg-a", ("pg-a", "pg-b", "app-a")),
        ("pg-*", ("pg-a", "pg-b", "app-a")),
        ("", ("pg-a", "pg-b", "app-a")),
    ],
)
def test_a_pattern_never_reaches_more_than_is_counted(
    pattern: str | None, covered: tuple[str, ...], session: Session
) -> None:
    assert session.inventory.covered(pattern) == covered


def test_what_was_authorised_is_run_and_no_other_plan(session: Session, people: People) -> None:
    sign(session, wanted(people))
    granted = use(session)
    other = plan_converge(session, limit="pg-a", check=False, variables={})
    here = session.environment.model_copy(update={"control_nodes": (gethostname(),)})
    with pytest.raises(PreflightError, match="what was authorised is another plan than converge"):
        replace(session, environment=here).run(other, granted=granted)
    assert not (session.state / "runs").exists()
