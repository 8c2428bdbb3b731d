"""Approvals by real SSH keys: a good one counts once, and every other one is refused with its reason."""

import dataclasses
import json
import os
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from automation.engine import approval
from automation.engine.approval import Expected, choose, verify
from automation.engine.approval_files import UsedNonces, ask, gather, keep, requests
from automation.engine.approval_words import override_record, override_request, run_request
from automation.engine.context import RunContext
from automation.engine.control_node import require_control_node
from automation.engine.signers import load_signers
from automation.model.actions import AwaitReady
from automation.model.approvals import Approval, ApprovalRule, ApprovalSettings, Request, SignedApproval
from automation.model.environment import load_environment
from automation.model.errors import ConfigError, PreflightError
from automation.model.plan import Plan, Step
from tests.conftest import ROOT
from tests.engine.people import NOW, People

INVENTORY = "1" * 64
RUN = "20260301-025900-0001"


@pytest.fixture(scope="module")
def _keys(tmp_path_factory: pytest.TempPathFactory) -> People:
    return People(tmp_path_factory.mktemp("signers"))


@pytest.fixture
def people(_keys: People) -> People:
    """The same keys for every test, and untouched files."""
    _keys.write()
    (_keys.folder / "revoked_signers").unlink(missing_ok=True)
    return _keys


def plan_of(why: str = "up is what answers", **rule: object) -> Plan:
    rule = {"roles": ("dr-coordinator",), **rule}
    return Plan(
        name="city",
        environment="lab",
        mode="failover",
        steps=(Step(id="one", run=AwaitReady(host="pg-b"), why=why),),
        approvals=ApprovalRule.model_validate(rule),
    )


def asked(plan: Plan, run_id: str = RUN) -> Request:
    request = run_request(plan, run_id, "asker")
    assert request is not None
    return request


@pytest.fixture
def used(tmp_path: Path) -> UsedNonces:
    return UsedNonces(tmp_path / "used")


def check(people: People, signed: SignedApproval, used: UsedNonces, **changes: object) -> approval.Verified:
    expected = Expected(asked(plan_of()), INVENTORY)._replace(**changes)  # type: ignore[arg-type]
    return verify(signed, expected, allowed_signers=people.signers(), now=NOW, used=used)


def good(people: People, name: str = "coordinator", **changes: object) -> SignedApproval:
    return people.signed(name, people.words(asked(plan_of()), "dr-coordinator", INVENTORY, **changes))


def test_a_good_approval_says_who_signed_it_in_which_role(people: People, used: UsedNonces) -> None:
    verified = check(people, good(people), used)
    assert (verified.principal, verified.roles) == ("coordinator", ("dr-coordinator",))
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(people.folder / "coordinator.pub")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert verified.fingerprint in shown.stdout


# --- refusals: each row makes one thing wrong ------------------------------------------------------

Make = Callable[[People, UsedNonces], SignedApproval]


def replayed(people: People, used: UsedNonces) -> SignedApproval:
    signed = good(people)
    used.claim(signed.nonce, "20260228-000000-0000")
    return signed


def edited_signers(people: People, used: UsedNonces) -> SignedApproval:
    signed = good(people)
    people.write(extra="# one more line\n")
    return signed


def revoked(people: People, used: UsedNonces) -> SignedApproval:
    signed = good(people)
    people.revoke("coordinator")
    return signed


def wrong_namespace(people: People, used: UsedNonces) -> SignedApproval:
    content = good(people).content
    key = str(people.folder / "coordinator")
    argv = ["ssh-keygen", "-Y", "sign", "-q", "-n", "file", "-f", key]
    done = subprocess.run(argv, input=content, capture_output=True, text=True, check=True)
    return SignedApproval(content=content, signature=done.stdout)


def edited_text(people: People, used: UsedNonces) -> SignedApproval:
    signed = good(people)
    return signed.model_copy(update={"content": signed.content.replace('"asker"', '"alice"')})


def unsigned(people: People, used: UsedNonces) -> SignedApproval:
    return good(people).model_copy(update={"signature": ""})


def with_words(name: str = "coordinator", **changes: object) -> Make:
    return lambda people, used: good(people, name, **changes)


REFUSED: dict[str, tuple[Make, str]] = {
    "replayed": (replayed, "used already, by run 20260228-000000-0000"),
    "replayed in another run": (with_words(run_id="20260301-000000-0009"), "not for this one"),
    "expired": (with_words(expires_at=NOW), "it expired at 2026-03-01 03:00:00"),
    "valid for too long": (with_words(expires_at=NOW + timedelta(days=2)), "longer than the 12 h"),
    "a role the person has not": (with_words("dba"), "dba has not the role dr-coordinator"),
    "a role nobody asked for": (
        with_words("dba", roles=("database-owner",)),
        "signed as database-owner; needed is dr-coordinator",
    ),
    "a person without roles": (with_words("guest"), "guest has not the role"),
    "self-approved": (with_words("asker"), "asker asked for this run and may not approve it"),
    "edited plan": (
        with_words(plan_digest=plan_of(why="another").digest),
        "the plan is not the one that was approved",
    ),
    "edited inventory": (with_words(inventory_digest="2" * 64), "the inventory or environment.yml is not"),
    "edited allowed_signers": (edited_signers, "allowed_signers or its revocations changed since"),
    "revoked key": (revoked, "the key of coordinator is revoked"),
    "wrong namespace": (wrong_namespace, "made for the namespace 'file', not 'mainstay-approval'"),
    "an unknown key": (with_words("stranger"), "is not in .*allowed_signers"),
    "another environment": (with_words(environment="city"), "given for city, not for lab"),
    "another mode": (with_words(mode="failback"), "given for mode failback, not failover"),
    "another step": (with_words(kind="gate", step="one"), "given for the gate of step one"),
    "an observation nobody made": (with_words(observed="lag 3 s"), "observed was None"),
    "another requester": (with_words(requester="mallory"), "names mallory as the one who asked, not asker"),
    "edited after signing": (edited_text, "the text is not the one that coordinator signed"),
    "without a signature": (unsigned, "it is not an SSH signature"),
}


@pytest.mark.parametrize(("make", "reason"), REFUSED.values(), ids=REFUSED)
def test_an_approval_that_does_not_hold_is_refused_with_the_reason(
    make: Make, reason: str, people: People, used: UsedNonces
) -> None:
    signed = make(people, used)
    with pytest.raises(PreflightError, match=reason) as refusal:
        check(people, signed, used)
    assert "nothing was changed" in str(refusal.value)


def test_a_changed_namespace_in_the_signature_itself_does_not_help(people: People, used: UsedNonces) -> None:
    """What the signature says of its namespace is part of what it signs."""
    signed = wrong_namespace(people, used)
    lines = signed.signature.splitlines()
    packed = b64decode("".join(lines[1:-1]))
    name = b"mainstay-approval"
    packed = packed.replace(b"\0\0\0\4file", len(name).to_bytes(4, "big") + name)
    forged = "\n".join((lines[0], b64encode(packed).decode(), lines[-1])) + "\n"
    with pytest.raises(PreflightError, match="is not the one that coordinator signed"):
        check(people, signed.model_copy(update={"signature": forged}), used)


def test_a_krl_revokes_too(people: People, used: UsedNonces) -> None:
    signed = good(people)
    argv = ["ssh-keygen", "-q", "-k", "-f", str(people.folder / "revoked_signers")]
    subprocess.run([*argv, str(people.folder / "coordinator.pub")], check=True)
    with pytest.raises(PreflightError, match="the key of coordinator is revoked"):
        check(people, signed, used)


def test_a_key_whose_line_has_run_out_is_refused(people: People, used: UsedNonces) -> None:
    text = people.path.read_text()
    people.path.write_text(text.replace("coordinator namesp", 'coordinator valid-before="20260101Z",namesp'))
    with pytest.raises(PreflightError, match="coordinator"):
        check(people, good(people), used)


# --- by hand ---------------------------------------------------------------------------------------


def test_ssh_keygen_by_hand_confirms_a_good_approval(people: People, tmp_path: Path) -> None:
    """The very commands of the safety model, in a folder as run.export makes it."""
    path = keep(tmp_path, good(people))
    (tmp_path / "allowed_signers").write_bytes(people.path.read_bytes())
    shown = (ROOT / "docs/safety-model.md").read_text()
    command = (
        "ssh-keygen -Y verify -f allowed_signers -n mainstay-approval -I PERSON -s approvals/NONCE.json.sig"
        " < approvals/NONCE.json"
    )
    assert command in shown
    by_hand = command.replace("PERSON", "coordinator").replace("NONCE", path.stem)
    done = subprocess.run(["sh", "-c", by_hand], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.startswith('Good "mainstay-approval" signature for coordinator'), done.stderr


def test_sha256sum_by_hand_gives_the_digest_of_the_signers(people: People) -> None:
    for files in ("allowed_signers", "allowed_signers revoked_signers"):
        if "revoked" in files:
            people.revoke("guest")
        by_hand = f"sha256sum {files} | sha256sum"
        done = subprocess.run(["sh", "-c", by_hand], cwd=people.folder, capture_output=True, text=True)
        assert done.stdout.split()[0] == people.signers().digest


# --- what a run calls -------------------------------------------------------------------------------


@pytest.fixture
def run(context: RunContext, people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunContext:
    """A run whose environment names the people's file; the state folder stays the test's."""
    trusting = partial(load_signers, trusted_uid=os.getuid())
    monkeypatch.setattr(approval, "load_signers", trusting)
    settings = ApprovalSettings(allowed_signers=people.path)
    environment = context.environment.model_copy(update={"approvals": settings})
    folder = tmp_path / "runs" / RUN
    (folder / "artifacts").mkdir(parents=True)
    return dataclasses.replace(context, environment=environment, artifacts=folder / "artifacts", run_id=RUN)


def require(request: Request, run: RunContext, **words: object) -> tuple[approval.Verified, ...]:
    (chosen,) = approval.require([request], run, **words)  # type: ignore[arg-type]
    return chosen


def approved(run: RunContext, people: People, plan: Plan, name: str, role: str) -> SignedApproval:
    digest = approval.inventory_digest(run.environment, run.inventory)
    return people.approve(run.artifacts.parent, name, people.words(asked(plan), role, digest))


def test_a_run_without_approval_is_refused_and_says_who_is_missing(run: RunContext) -> None:
    with pytest.raises(PreflightError, match="missing: dr-coordinator") as refusal:
        require(asked(plan_of()), run, now=NOW)
    assert refusal.value.exit_code == 4
    assert f"./inv run.approve --env lab --run {RUN} --role dr-coordinator --key FILE" in str(
        refusal.value.hint
    )
    assert requests(run.artifacts.parent) == (asked(plan_of()),)


def test_an_approval_is_used_up_by_the_run_that_it_was_given_for(run: RunContext, people: People) -> None:
    approved(run, people, plan_of(), "coordinator", "dr-coordinator")
    (verified,) = require(asked(plan_of()), run, now=NOW)
    assert verified.principal == "coordinator"
    with pytest.raises(PreflightError, match=f"used already, by run {RUN}"):
        require(asked(plan_of()), run, now=NOW)


def test_a_resumed_run_keeps_the_approvals_that_its_journal_recorded(run: RunContext, people: People) -> None:
    approved(run, people, plan_of(), "coordinator", "dr-coordinator")
    (verified,) = require(asked(plan_of()), run, now=NOW)
    days_later, recorded = NOW + timedelta(days=3), {verified.approval.nonce: NOW}
    assert require(asked(plan_of()), run, now=days_later, recorded=recorded) == (verified,)


def test_a_resumed_run_whose_inventory_was_edited_is_refused(run: RunContext, people: People) -> None:
    approved(run, people, plan_of(), "coordinator", "dr-coordinator")
    (verified,) = require(asked(plan_of()), run, now=NOW)
    edited = run.inventory.model_copy(update={"digest": "3" * 64})
    with pytest.raises(PreflightError, match=r"the inventory or environment\.yml is not as it was"):
        require(
            asked(plan_of()),
            dataclasses.replace(run, inventory=edited),
            now=NOW,
            recorded={verified.approval.nonce: NOW},
        )


def test_an_edited_environment_file_counts_as_an_edited_inventory(run: RunContext) -> None:
    edited = run.environment.model_copy(update={"automation_user": "other"})
    before = approval.inventory_digest(run.environment, run.inventory)
    assert approval.inventory_digest(edited, run.inventory) != before


def test_who_asked_first_stays_the_requester(run: RunContext, people: People) -> None:
    """Whoever resumes a run may have approved it; who asked for it may not."""
    ask(run.artifacts.parent, asked(plan_of()))
    approved(run, people, plan_of(), "coordinator", "dr-coordinator")
    resumed = asked(plan_of()).model_copy(update={"requester": "coordinator"})
    assert require(resumed, run, now=NOW)[0].principal == "coordinator"


def test_the_requester_may_approve_where_the_plan_says_so(run: RunContext, people: People) -> None:
    plan = plan_of(requester_may_approve=True)
    approved(run, people, plan, "asker", "dr-coordinator")
    assert require(asked(plan), run, now=NOW)[0].principal == "asker"


@pytest.mark.parametrize(("kind", "refused"), [("lab", False), ("production", True)])
def test_root_is_no_person_who_could_ask_for_a_run(
    kind: str, refused: bool, run: RunContext, people: People
) -> None:
    environment = run.environment.model_copy(update={"kind": kind})
    by_root = asked(plan_of()).model_copy(update={"requester": "root"})
    with pytest.raises(PreflightError) as refusal:
        require(by_root, dataclasses.replace(run, environment=environment), now=NOW)
    assert ("which is no person" in str(refusal.value)) == refused


def test_a_signature_that_cannot_be_checked_does_not_count(
    people: People, used: UsedNonces, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = good(people)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PreflightError, match="ssh-keygen could not check it"):
        check(people, signed, used)
    with pytest.raises(ConfigError, match="ssh-keygen could not sign"):
        good(people)


def test_an_approval_without_its_signature_file_is_refused(run: RunContext, people: People) -> None:
    signed = approved(run, people, plan_of(), "coordinator", "dr-coordinator")
    (run.artifacts.parent / "approvals" / f"{signed.nonce}.json.sig").unlink()
    with pytest.raises(PreflightError, match="it is not an SSH signature"):
        require(asked(plan_of()), run, now=NOW)


# --- overrides: two people, two roles, word for word ------------------------------------------------


def override(plan: Plan, observed: str = "pg-a: power unknown, no refused write") -> Request:
    return override_request(
        plan,
        RUN,
        "asker",
        step="one",
        observed=observed,
        rule=ApprovalRule(roles=("dr-coordinator", "database-owner")),
        question="promote although pg-a is not fenced",
    )


def overridden(run: RunContext, people: People, name: str, role: str, **changes: object) -> SignedApproval:
    digest = approval.inventory_digest(run.environment, run.inventory)
    words = people.words(override(plan_of()), role, digest, **changes)
    return people.approve(run.artifacts.parent, name, words)


def test_an_override_by_two_people_in_two_roles_holds(run: RunContext, people: People) -> None:
    overridden(run, people, "coordinator", "dr-coordinator")
    overridden(run, people, "dba", "database-owner")
    verified = require(override(plan_of()), run, now=NOW)
    record = override_record(override(plan_of()), verified)
    assert record.principals == ("coordinator", "dba")
    assert (record.step, record.observed) == ("one", "pg-a: power unknown, no refused write")
    assert record.reason == "the site has no power"


def test_an_override_by_one_person_alone_is_refused(run: RunContext, people: People) -> None:
    overridden(run, people, "coordinator", "dr-coordinator")
    with pytest.raises(PreflightError, match=r"2 different people.*missing: database-owner"):
        require(override(plan_of()), run, now=NOW)


def test_one_person_with_both_roles_is_not_two_people(run: RunContext, people: People) -> None:
    people.path.write_text(people.path.read_text().replace("roles=dr-coo", "roles=database-owner,dr-coo", 1))
    overridden(run, people, "coordinator", "dr-coordinator")
    overridden(run, people, "coordinator", "database-owner")
    with pytest.raises(PreflightError, match="2 different people"):
        require(override(plan_of()), run, now=NOW)


def test_nothing_is_used_up_while_another_signature_is_missing(run: RunContext, people: People) -> None:
    """Else who signed first would have to sign again."""
    approved(run, people, plan_of(), "coordinator", "dr-coordinator")
    both = [asked(plan_of()), override(plan_of())]
    overridden(run, people, "coordinator", "dr-coordinator")
    with pytest.raises(PreflightError, match=r"override of step one .*missing: database-owner") as refusal:
        approval.require(both, run, now=NOW)
    assert "the run needs" not in str(refusal.value)
    overridden(run, people, "dba", "database-owner")
    assert [len(chosen) for chosen in approval.require(both, run, now=NOW)] == [1, 2]


def test_an_override_holds_for_the_observed_value_alone(run: RunContext, people: People) -> None:
    overridden(run, people, "coordinator", "dr-coordinator")
    overridden(run, people, "dba", "database-owner")
    with pytest.raises(PreflightError, match=r"accepts 'pg-a: power unknown.*observed was 'lag 90 s'"):
        require(override(plan_of(), observed="lag 90 s"), run, now=NOW)


def test_an_override_without_a_reason_is_refused(run: RunContext, people: People) -> None:
    overridden(run, people, "coordinator", "dr-coordinator", reason=" ")
    with pytest.raises(PreflightError, match="it gives no reason"):
        require(override(plan_of()), run, now=NOW)


def test_the_approval_of_a_run_is_no_override(run: RunContext, people: People) -> None:
    approved(run, people, plan_of(), "coordinator", "dr-coordinator")
    assert gather(run.artifacts.parent, override(plan_of())) == ()


def test_people_are_found_for_roles_in_any_order(run: RunContext, people: People, used: UsedNonces) -> None:
    """Who has both roles must be left the one that nobody else has."""
    verified = check(people, good(people), used)
    both = verified.model_copy(update={"roles": ("dr-coordinator", "database-owner")})
    one = verified.model_copy(update={"principal": "other", "fingerprint": "SHA256:x"})
    assert choose(("dr-coordinator", "database-owner"), (both, one)) == (one, both)


# --- the file that says who may sign ----------------------------------------------------------------


def refused_file(people: People, path: Path | None = None, checkout: Path | None = None) -> str:
    with pytest.raises(PreflightError) as refusal:
        load_signers(path or people.path, checkout=checkout or people.folder / "no", trusted_uid=os.getuid())
    return str(refusal.value)


def test_signers_that_others_may_write_are_refused(people: People) -> None:
    people.path.chmod(0o664)
    assert "can be written by others" in refused_file(people)


def test_signers_in_a_folder_that_others_may_write_are_refused(people: People, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open/allowed_signers").write_bytes(people.path.read_bytes())
    assert "open can be written by others" in refused_file(people, tmp_path / "open/allowed_signers")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_signers_of_another_owner_are_refused(people: People) -> None:
    os.chown(people.path, 4242, -1)
    with pytest.raises(PreflightError, match="does not belong to root"):
        load_signers(people.path, checkout=people.folder / "no", trusted_uid=0)
    os.chown(people.path, 0, -1)


def test_signers_inside_the_checkout_are_refused_even_by_a_link(people: People, tmp_path: Path) -> None:
    assert "outside the checkout" in refused_file(people, checkout=people.folder)
    (tmp_path / "link").symlink_to(people.path)
    assert "outside the checkout" in refused_file(people, tmp_path / "link", people.folder)


def test_missing_signers_are_refused(people: People, tmp_path: Path) -> None:
    assert "nobody can approve" in refused_file(people, tmp_path / "none")


@pytest.mark.parametrize(
    "line",
    [
        "* ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBQ roles=dr-coordinator",
        "ca cert-authority ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBQ roles=dr-coordinator",
        "nobody",
    ],
)
def test_a_line_that_names_no_one_person_is_refused(people: People, line: str) -> None:
    people.write(extra=line + "\n")
    with pytest.raises(ConfigError, match="allowed_signers:5: "):
        _ = people.signers().entries


def test_one_key_for_two_people_is_refused(people: People) -> None:
    people.write(extra=f"second {people.public('coordinator')} roles=database-owner\n")
    with pytest.raises(ConfigError, match="stands in a line before"):
        _ = people.signers().entries


# --- control nodes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "nodes", "here", "allowed"),
    [
        ("lab", (), "anything", True),
        ("lab", ("control-b",), "anything", False),
        ("production", (), "control-a", False),
        ("production", ("control-a", "control-b"), "control-b", True),
        ("production", ("control-a", "control-b"), "laptop", False),
    ],
)
def test_only_a_control_node_may_change_an_environment(
    kind: str, nodes: tuple[str, ...], here: str, allowed: bool
) -> None:
    environment = load_environment(ROOT, "lab").model_copy(update={"kind": kind, "control_nodes": nodes})
    if allowed:
        require_control_node(environment, here)
    else:
        with pytest.raises(PreflightError, match=f"{here} is no control node of lab") as refusal:
            require_control_node(environment, here)
        assert refusal.value.exit_code == 4


def test_the_words_of_an_approval_are_readable(people: People) -> None:
    words = json.loads(good(people).content)
    assert set(words) == set(Approval.model_fields)
    assert datetime.fromisoformat(words["expires_at"]) == NOW + timedelta(hours=1)
