"""Standing authorisations: a job does what was agreed to, and nothing beyond."""

import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from automation.engine import authorisation
from automation.engine.authorisation import (
    FOLDER,
    Granted,
    keep,
    load,
    policy_digest,
    require_authorisation,
    verify,
    withdrawn_path,
)
from automation.engine.jobs import JOBS, Job
from automation.engine.signers import load_signers
from automation.model.actions import Action, CloneStandby, FailSite, Promote, RunPlaybook
from automation.model.approvals import ApprovalSettings, Asked, Authorisation
from automation.model.environment import Environment, Inventory, load_environment
from automation.model.errors import ConfigError, PreflightError
from automation.model.plan import Mode, Plan, Step
from tests.conftest import ROOT
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
        granted = verify(load(path), ASKED, allowed_signers=people.signers(), now=NOW)
        assert (granted.authorisation, granted.signer.principal) == (GRANTED, "dba")


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
    "for ever": (
        {"expires_at": NOW + timedelta(days=400)},
        {},
        "it is valid for longer than 366 days",
    ),
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


# --- what a job calls ------------------------------------------------------------------------------

NIGHTLY = GRANTED.model_copy(
    update={"name": "nightly", "command": "provision.converge", "resource": "all", "limits": {"hosts": 7}}
)
CONVERGE = ASKED.model_copy(
    update={"command": "provision.converge", "resource": "all", "amounts": {"hosts": 7}}
)
SITE = RunPlaybook(playbook="playbooks/site.yml")


def plan_of(run: Action = SITE, mode: Mode = "apply") -> Plan:
    step = Step(id="converge", run=run, why="test")
    return Plan(name="converge", environment="city", mode=mode, steps=(step,))


class City:
    """An environment in which a database owner may let servers be configured, and its state folder."""

    def __init__(self, people: People, state: Path) -> None:
        self.people, self.state = people, state
        settings = ApprovalSettings(
            allowed_signers=people.path, authorise={"provision.converge": "database-owner"}
        )
        lab = load_environment(ROOT, "lab")
        self.environment = lab.model_copy(update={"name": "city", "approvals": settings})

    def sign(self, person: str = "dba", words: Authorisation = NIGHTLY) -> Path:
        return keep(self.state / FOLDER, authorisation.sign(words, self.people.folder / person))

    def use(self, name: str = "nightly", asked: Asked = CONVERGE, plan: Plan | None = None) -> Granted:
        environment, state = self.environment, self.state
        return require_authorisation(
            name, asked, plan or plan_of(), environment=environment, state=state, now=NOW
        )


@pytest.fixture
def city(people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> City:
    people.write()
    (people.folder / "revoked_signers").unlink(missing_ok=True)
    monkeypatch.setattr(authorisation, "load_signers", partial(load_signers, trusted_uid=os.getuid()))
    return City(people, tmp_path / "state")


def test_what_was_used_is_kept_with_the_run_and_told_in_its_journal(city: City, tmp_path: Path) -> None:
    city.sign()
    record = city.use().leave(tmp_path / "run")
    assert (record.name, record.principal, record.role) == ("nightly", "dba", "database-owner")
    assert (record.command, record.resource, record.amounts) == ("provision.converge", "all", {"hosts": 7})
    assert record.fingerprint.startswith("SHA256:")
    kept = load(tmp_path / "run" / "authorisation" / "nightly.json")
    assert authorisation.digest_of(kept) == record.authorisation_digest


def test_without_an_authorisation_a_job_is_refused(city: City) -> None:
    with pytest.raises(PreflightError, match="there is no standing authorisation nightly"):
        city.use()


def test_it_cannot_be_replayed_for_another_resource(city: City) -> None:
    city.sign()
    with pytest.raises(PreflightError, match="for resource 'all', not 'postgresql'") as caught:
        city.use(asked=CONVERGE.model_copy(update={"resource": "postgresql"}))
    assert "./inv run.authorise --env city" in (caught.value.hint or "")


def test_who_has_the_role_no_more_has_authorised_nothing(city: City) -> None:
    city.sign()
    city.people.roles["dba"] = "guest"
    city.people.write()
    city.people.roles["dba"] = "database-owner"
    with pytest.raises(PreflightError, match="dba has not the role database-owner"):
        city.use()


def test_a_role_that_may_not_authorise_this_job_is_refused(city: City) -> None:
    city.sign("coordinator", NIGHTLY.model_copy(update={"role": "dr-coordinator"}))
    with pytest.raises(PreflightError, match=r"dr-coordinator may not authorise provision\.converge"):
        city.use()


def test_a_revoked_key_has_authorised_nothing(city: City) -> None:
    city.sign()
    city.people.revoke("dba")
    with pytest.raises(PreflightError, match="the key of dba is revoked"):
        city.use()


def test_what_was_withdrawn_stays_withdrawn_when_it_is_put_back(city: City) -> None:
    path = city.sign()
    mark = withdrawn_path(city.state, load(path))
    mark.parent.mkdir()
    mark.touch()
    with pytest.raises(PreflightError, match="authorisation nightly was withdrawn"):
        city.use()


def test_a_file_under_another_name_is_refused(city: City) -> None:
    path = city.sign()
    for suffix in (".json", ".json.sig"):
        shutil.copy(path.with_name(f"nightly{suffix}"), path.with_name(f"weekly{suffix}"))
    with pytest.raises(PreflightError, match=r"weekly\.json holds the authorisation nightly"):
        city.use("weekly")


def test_a_path_is_no_name(city: City) -> None:
    with pytest.raises(ConfigError, match="is no name of an authorisation"):
        city.use("../nightly")


NEVER: dict[str, tuple[Asked, Plan, str]] = {
    "failover": (CONVERGE, plan_of(mode="failover"), "provision.converge in mode failover is never"),
    "failback": (CONVERGE, plan_of(mode="failback"), "in mode failback is never"),
    "a command that is no job": (
        CONVERGE.model_copy(update={"command": "dr.failover"}),
        plan_of(),
        "dr.failover in mode apply is never",
    ),
    "what cannot be taken back": (
        CONVERGE,
        plan_of(Promote(host="b", cluster="15/main", expect_system_identifier="7", expect_timeline=1)),
        r"step converge \(postgresql.promote\)",
    ),
    "what destroys": (
        CONVERGE,
        plan_of(
            CloneStandby(
                host="b",
                primary="a",
                cluster="15/main",
                user="r",
                slot="s",
                expect_system_identifier="7",
            )
        ),
        r"step converge \(postgresql.clone_standby\)",
    ),
    "a fault": (CONVERGE, plan_of(FailSite(site="city-hall")), r"step converge \(nspawn.fail_site\)"),
}


@pytest.mark.parametrize(("asked", "plan", "reason"), NEVER.values(), ids=NEVER)
def test_some_things_are_never_done_with_nobody_watching_whatever_was_signed(
    asked: Asked, plan: Plan, reason: str, city: City
) -> None:
    city.sign(words=NIGHTLY.model_copy(update={"command": asked.command}))
    with pytest.raises(PreflightError, match=f"{reason}.*nothing was changed"):
        city.use(asked=asked, plan=plan)


def test_rotation_deletes_points_and_verification_what_it_restored_and_no_other_job_destroys() -> None:
    assert {name: job.destroys for name, job in JOBS.items() if job.destroys} == {
        "backup.rotate": (
            "restic.forget",
            "restic.reclaim",
            "pgbackrest.expire",
            "aws.delete_points",
            "vsphere.remove_rollbacks",
        ),
        "backup.verify": ("restic.clear_scratch", "postgresql.remove_restored"),
    }


@pytest.fixture
def checkout(tmp_path: Path) -> Environment:
    """An environment in a checkout that a test may edit."""
    for name in ("inventories/lab", "playbooks"):
        shutil.copytree(ROOT / name, tmp_path / "checkout" / name)
    shutil.copy(ROOT / "ansible.cfg", tmp_path / "checkout")
    return load_environment(tmp_path / "checkout", "lab")


def edit_role(environment: Environment, inventory: Inventory) -> tuple[Environment, Inventory]:
    role = next((environment.folder.parents[1] / "playbooks/roles").glob("*/tasks/*.yml"))
    role.write_text(role.read_text() + "# looks harmless\n")
    return environment, inventory


def add_role(environment: Environment, inventory: Inventory) -> tuple[Environment, Inventory]:
    (environment.folder.parents[1] / "playbooks/roles/new.yml").touch()
    return environment, inventory


def edit_inventory(environment: Environment, inventory: Inventory) -> tuple[Environment, Inventory]:
    return environment, inventory.model_copy(update={"digest": "2" * 64})


def edit_environment(environment: Environment, inventory: Inventory) -> tuple[Environment, Inventory]:
    return environment.model_copy(update={"automation_user": "root"}), inventory


def compile_role(environment: Environment, inventory: Inventory) -> tuple[Environment, Inventory]:
    cache = environment.folder.parents[1] / "playbooks/library/__pycache__"
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "x.pyc").touch()
    return environment, inventory


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (edit_role, False),
        (add_role, False),
        (edit_inventory, False),
        (edit_environment, False),
        (compile_role, True),
    ],
)
def test_every_edit_of_what_a_job_does_is_another_policy(
    change: Callable[[Environment, Inventory], tuple[Environment, Inventory]],
    same: bool,
    checkout: Environment,
) -> None:
    inventory, job = Inventory(servers={}, digest="1" * 64), Job((), ("playbooks", "ansible.cfg"))
    before = policy_digest(checkout, inventory, job)
    assert (policy_digest(*change(checkout, inventory), job) == before) is same


def test_what_would_be_taken_back_is_looked_at_as_well(city: City) -> None:
    city.sign("dba")
    undo = CloneStandby.model_construct(host="pg-b")
    step = plan_of().steps[0].model_copy(update={"undo": undo})
    with pytest.raises(PreflightError, match="is never done with nobody watching"):
        city.use(plan=plan_of().model_copy(update={"steps": (step,)}))
