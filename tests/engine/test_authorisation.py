"""Standing authorisations: a job does what was agreed to, and nothing beyond."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from automation.engine import authorisation
from automation.engine.authorisation import keep, load, verify
from automation.model.approvals import Asked, Authorisation
from automation.model.errors import PreflightError
from tests.engine.people import NOW, People

GRANTED = Authorisation(
    name="nightly-rotation",
    environment="city",
    command="backup.rotate",
    resource="payments-db",
    policy_digest="a" * 64,
    limits={"deleted_points": 10, "deleted_share": 0.2},
    role="database-owner",
    not_before=NOW - timedelta(days=1),
    expires_at=NOW + timedelta(days=90),
    reason="rotation runs at night with nobody watching",
)
ASKED = Asked(
    environment="city",
    command="backup.rotate",
    resource="payments-db",
    policy_digest="a" * 64,
    amounts={"deleted_points": 10, "deleted_share": 0.1},
)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return People(tmp_path_factory.mktemp("signers"))


def test_a_job_within_its_authorisation_may_go_on_night_after_night(people: People, tmp_path: Path) -> None:
    path = keep(tmp_path, authorisation.sign(GRANTED, people.folder / "dba"))
    for _ in range(2):
        assert verify(load(path), ASKED, allowed_signers=people.signers(), now=NOW) == GRANTED


REFUSED: dict[str, tuple[dict[str, object], dict[str, object], str]] = {
    "another command": ({}, {"command": "backup.restore"}, "for command 'backup.rotate'"),
    "another resource": ({}, {"resource": "erp-db"}, "for resource 'payments-db', not 'erp-db'"),
    "another environment": ({}, {"environment": "lab"}, "for environment 'city'"),
    "edited policy": ({}, {"policy_digest": "b" * 64}, "the policy is not the one"),
    "over a limit": ({}, {"amounts": {"deleted_points": 11, "deleted_share": 0}}, "would be 11, at most 10"),
    "no number": (
        {},
        {"amounts": {"deleted_points": float("nan"), "deleted_share": 0}},
        "deleted_points would be nan",
    ),
    "a guard without a limit": (
        {},
        {"amounts": {**ASKED.amounts, "freed_bytes": 1}},
        "sets no limit for freed_bytes",
    ),
    "an unsaid amount": ({}, {"amounts": {"deleted_points": 1}}, "does not say its deleted_share"),
    "expired": ({"expires_at": NOW}, {}, "it expired at 2026-03-01 03:00 UTC"),
    "not yet": ({"not_before": NOW + timedelta(seconds=1)}, {}, "it begins at 2026-03-01 03:00 UTC"),
    "wrong role": ({"role": "dr-coordinator"}, {}, "dba has not the role dr-coordinator"),
}


@pytest.mark.parametrize(("granted", "asked", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_was_not_agreed_to_is_refused_with_the_reason(
    granted: dict[str, object], asked: dict[str, object], reason: str, people: People
) -> None:
    signed = authorisation.sign(GRANTED.model_copy(update=granted), people.folder / "dba")
    with pytest.raises(PreflightError, match=reason):
        verify(signed, ASKED.model_copy(update=asked), allowed_signers=people.signers(), now=NOW)


def edit(path: Path) -> None:
    path.write_text(path.read_text().replace('"deleted_points":10.0', '"deleted_points":99.0'))
    path.write_text(path.read_text().replace('"deleted_points": 10.0', '"deleted_points": 99.0'))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (edit, "the text is not the one that dba signed"),
        (lambda path: path.with_name(f"{path.name}.sig").unlink(), "No such file"),
        (lambda path: path.with_name(f"{path.name}.sig").write_text("x"), "it is not an SSH signature"),
    ],
    ids=["edited", "no signature", "no signature in the file"],
)
def test_an_edited_file_is_refused(
    change: Callable[[Path], object], reason: str, people: People, tmp_path: Path
) -> None:
    path = keep(tmp_path, authorisation.sign(GRANTED, people.folder / "dba"))
    change(path)
    with pytest.raises(PreflightError, match=reason):
        verify(load(path), ASKED, allowed_signers=people.signers(), now=NOW)


def test_an_approval_of_a_run_is_no_authorisation(people: People) -> None:
    from automation.engine.signers import sign_text
    from automation.model.approvals import APPROVAL_NAMESPACE

    signed = authorisation.sign(GRANTED, people.folder / "dba")
    other = sign_text(signed.content, people.folder / "dba", APPROVAL_NAMESPACE)
    with pytest.raises(PreflightError, match="made for the namespace 'mainstay-approval'"):
        verify(
            signed.model_copy(update={"signature": other}),
            ASKED,
            allowed_signers=people.signers(),
            now=NOW,
        )
