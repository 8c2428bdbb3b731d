"""Jobs of backups: rotation deletes what was agreed to, by day; no job reaches beyond its own actions."""

import os
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

from automation.engine import authorisation
from automation.engine.authorisation import (
    FOLDER,
    Granted,
    keep,
    policy_digest,
    require_authorisation,
    require_still,
)
from automation.engine.jobs import JOBS
from automation.engine.journal import Journal
from automation.engine.signers import load_signers
from automation.model.actions import (
    Action,
    BreakLock,
    ClearScratch,
    CopyPoints,
    ExpireBackups,
    ForgetPoints,
    LengthenLocks,
    MarkPoints,
    RemoveCluster,
    RestoreCluster,
    RestoreFiles,
    RunPlaybook,
    TakeFiles,
    TryDelete,
)
from automation.model.actions.base import BaseAction
from automation.model.actions.databases import Stanza
from automation.model.actions.restic import Repository
from automation.model.approvals import ApprovalSettings, Asked, Authorisation
from automation.model.environment import Inventory, load_environment
from automation.model.errors import PreflightError
from automation.model.plan import Plan, Step
from automation.model.records import AuthorisationRecorded
from tests.conftest import ROOT
from tests.engine.people import NOW, People

NAS = Repository(store="nas", url="/srv/restic/main")
POINT = "a" * 64
RESTORE = RestoreFiles(
    host="bk-b", resource="share", of=NAS, point=POINT, folder="/var/lib/mainstay/scratch/x"
)
LIMITS = {"backup.run": 10, "backup.rotate": 10, "backup.verify": 10, "backup.canary": 10}


def forget(count: int) -> ForgetPoints:
    points = tuple(f"{number:064x}" for number in range(count))
    return ForgetPoints(host="bk-a", resource="share", of=NAS, points=points, stay=(POINT,))


def expire(count: int) -> ExpireBackups:
    points = tuple(f"20261122-0100{number:02d}F" for number in range(count))
    of = Stanza(store="pg", stanza="payments", repo=1)
    return ExpireBackups(host="bk-a", resource="payments-db", of=of, points=points, stay=("x",))


def plan_of(*runs: Action) -> Plan:
    steps = tuple(Step(id=f"s{number}", run=run, why="test") for number, run in enumerate(runs))
    return Plan(name="job", environment="city", mode="apply", steps=steps)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return People(tmp_path_factory.mktemp("signers"))


class Nights:
    """An environment in which a database owner signed for every job of backups, at most 10 of anything."""

    def __init__(self, people: People, state: Path) -> None:
        settings = ApprovalSettings(
            allowed_signers=people.path, authorise=dict.fromkeys(LIMITS, "database-owner")
        )
        lab = load_environment(ROOT, "lab")
        self.environment = lab.model_copy(update={"name": "city", "approvals": settings})
        self.state = state
        for command, most in LIMITS.items():
            words = Authorisation(
                name=command.replace(".", "-"),
                environment="city",
                command=command,
                resource="all",
                policy_digest="a" * 64,
                limits={JOBS[command].guards[0]: most},
                role="database-owner",
                not_before=NOW - timedelta(days=1),
                expires_at=NOW + timedelta(days=90),
                reason="at night",
            )
            keep(state / FOLDER, authorisation.sign(words, people.folder / "dba"))

    def use(self, command: str, *runs: Action, amount: float = 1, resource: str = "all") -> Granted:
        asked = Asked(
            environment="city",
            command=command,
            resource=resource,
            policy_digest="a" * 64,
            amounts={JOBS[command].guards[0]: amount},
        )
        name, plan = command.replace(".", "-"), plan_of(*runs)
        return require_authorisation(
            name, asked, plan, environment=self.environment, state=self.state, now=NOW
        )

    def rotated(self, ago: timedelta, deleted: int) -> None:
        """A rotation has run so long ago."""
        folder = self.state / "runs" / f"{NOW - ago:%Y%m%d-%H%M%S}-{deleted:04x}"
        folder.mkdir(parents=True)
        record = self.use("backup.rotate", forget(1), amount=deleted).leave(folder)
        journal = Journal(folder / "journal.jsonl")
        journal.append(record)
        journal.close()


@pytest.fixture
def nights(people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nights:
    monkeypatch.setattr(authorisation, "load_signers", partial(load_signers, trusted_uid=os.getuid()))
    return Nights(people, tmp_path / "state")


TAKE = TakeFiles(host="files-a", resource="share", to=NAS, paths=("/srv",), must_exist=("/srv/.here",))
COPY = CopyPoints(host="bk-a", resource="share", source=NAS, target=NAS)
CLEAR = ClearScratch(host="bk-b", folder="/var/lib/mainstay/scratch/x")
REMOVE = RemoveCluster(host="bk-b", cluster="15/restored_x")
PG_RESTORE = RestoreCluster(
    host="bk-b", resource="db", of=Stanza(store="pg", stanza="s", repo=1), cluster="15/restored_x"
)
MARK = MarkPoints(resource="share", store="nas", points=(POINT,))
BUCKET = {"store": "vault", "bucket_url": "https://s3.city.lab/b", "lock_mode": "compliance"}
TRY = TryDelete.model_validate(BUCKET)
LENGTHEN = LengthenLocks.model_validate({**BUCKET, "lock_s": 9.0, "least_s": 6.0})

ALLOWED: dict[str, tuple[str, tuple[Action, ...]]] = {
    "taking and copying": ("backup.run", (TAKE, COPY)),
    "marking and deleting": ("backup.rotate", (MARK, forget(1))),
    "trying locks and lengthening them": ("backup.canary", (TRY, LENGTHEN)),
    "restoring to scratch and clearing it": ("backup.verify", (RESTORE, CLEAR, PG_RESTORE, REMOVE)),
}


@pytest.mark.parametrize(("command", "runs"), ALLOWED.values(), ids=ALLOWED)
def test_a_job_does_its_own_work(command: str, runs: tuple[Action, ...], nights: Nights) -> None:
    assert nights.use(command, *runs).authorisation.command == command


BEYOND: dict[str, tuple[str, Action]] = {
    "a rotation that restores": ("backup.rotate", RESTORE),
    "a rotation that takes": ("backup.rotate", TAKE),
    "a rotation that runs a playbook": ("backup.rotate", RunPlaybook(playbook="playbooks/site.yml")),
    "a backup that deletes": ("backup.run", forget(1)),
    "a backup that breaks a lock": ("backup.run", BreakLock(host="bk-a", of=NAS)),
    "a proof that restores in place": (
        "backup.verify",
        RESTORE.model_copy(update={"in_place": True, "folder": "/"}),
    ),
    "a proof that restores elsewhere": (
        "backup.verify",
        RESTORE.model_copy(update={"folder": "/var/lib/mainstay/scratch/../../../srv/share"}),
    ),
    "a proof of a database under another name": (
        "backup.verify",
        PG_RESTORE.model_copy(update={"cluster": "15/main2"}),
    ),
    "a proof of a database that others reach": (
        "backup.verify",
        PG_RESTORE.model_copy(update={"listen": "10.0.0.1"}),
    ),
    "a proof that deletes points": ("backup.verify", forget(1)),
    "a canary that deletes": ("backup.canary", expire(1)),
    "a rotation that binds the store": ("backup.rotate", LENGTHEN),
}


@pytest.mark.parametrize(("command", "run"), BEYOND.values(), ids=BEYOND)
def test_no_job_reaches_beyond_its_own_actions(command: str, run: Action, nights: Nights) -> None:
    with pytest.raises(PreflightError, match="is never done with nobody watching; nothing was changed"):
        nights.use(command, run, amount=10)


def test_a_rotation_deletes_no_more_than_was_agreed_to(nights: Nights) -> None:
    nights.use("backup.rotate", forget(6), expire(4), amount=10)
    with pytest.raises(PreflightError, match="deleted would be 11, at most 10 was agreed"):
        nights.use("backup.rotate", forget(6), expire(5), amount=11)


def test_a_rotation_that_says_less_than_its_plan_deletes_is_refused(nights: Nights) -> None:
    with pytest.raises(PreflightError, match="would delete 10 points, which is more than it says"):
        nights.use("backup.rotate", forget(6), expire(4), amount=9)


def test_rotations_of_one_day_share_what_was_agreed_to(nights: Nights) -> None:
    nights.rotated(timedelta(hours=30), deleted=9)
    nights.rotated(timedelta(hours=23), deleted=6)
    granted = nights.use("backup.rotate", forget(4), amount=4)
    assert granted.leave(nights.state / "runs/now").amounts == {"deleted": 4}
    with pytest.raises(PreflightError, match="deleted would be 11, at most 10 was agreed"):
        nights.use("backup.rotate", forget(5), amount=5)


def test_takes_of_one_day_are_limited_one_by_one(nights: Nights) -> None:
    for _ in range(3):
        nights.use("backup.run", TAKE, amount=10)


@pytest.mark.parametrize(
    ("job", "file", "same"),
    [
        ("backup.rotate", "backups.yml", False),
        ("backup.rotate", "services.yml", False),
        ("backup.rotate", "services/it.yml", False),
        ("backup.verify", "backups.yml", False),
        ("backup.verify", "services.yml", True),
        ("backup.rotate", "notes.txt", True),
    ],
)
def test_an_edit_of_the_environments_own_files_voids_what_rests_on_them(
    job: str, file: str, same: bool, nights: Nights, tmp_path: Path
) -> None:
    folder = tmp_path / "checkout/inventories/city"
    folder.mkdir(parents=True)
    environment = nights.environment.model_copy(update={"folder": folder})
    digest: Callable[[], str] = partial(policy_digest, environment, Inventory(servers={}), JOBS[job])
    before = digest()
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text("x\n")
    assert (digest() == before) is same


@pytest.mark.parametrize("job", JOBS)
def test_what_a_job_may_do_are_addresses_of_actions_of_that_effect(job: str) -> None:
    from typing import get_args

    effects = {cls.model_fields["do"].default: cls.effect for cls in get_args(get_args(Action)[0])}
    assert {effects[address] for address in JOBS[job].changes or ()} <= {"change"}
    assert {effects[address] for address in JOBS[job].destroys} <= {"destroy"}
    assert set(JOBS[job].daily) <= set(JOBS[job].guards)


def begun(nights: Nights, command: str, run: Action) -> AuthorisationRecorded:
    """What the journal of a run says that a job began."""
    return nights.use(command, run).leave(nights.state / "runs/20260301-000000-0001")


def go_on(nights: Nights, used: AuthorisationRecorded, run: Action) -> None:
    inventory = Inventory(servers={})
    require_still(
        used,
        plan_of(run),
        environment=nights.environment,
        inventory=inventory,
        state=nights.state,
        now=NOW,
    )


@pytest.mark.parametrize(("command", "run"), [("backup.run", TAKE), ("backup.verify", RESTORE)])
def test_what_was_cut_off_goes_on_only_as_long_as_its_authorisation_stands(
    command: str, run: Action, nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authorisation, "policy_digest", lambda *_: "a" * 64)
    used = begun(nights, command, run)
    go_on(nights, used, run)
    monkeypatch.setattr(authorisation, "policy_digest", lambda *_: "b" * 64)
    with pytest.raises(PreflightError, match="the policy is not the one that was agreed to"):
        go_on(nights, used, run)


def test_a_rotation_that_was_cut_off_is_decided_anew(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorisation, "policy_digest", lambda *_: "a" * 64)
    used = begun(nights, "backup.rotate", forget(1))
    with pytest.raises(PreflightError, match=r"a run of backup\.rotate goes on at a terminal alone"):
        go_on(nights, used, forget(1))


@pytest.mark.parametrize(
    ("planners", "job"),
    [
        (("taking", "clouds"), "backup.run"),
        (("rotating", "deleting"), "backup.rotate"),
        (("proof_steps",), "backup.verify"),
    ],
)
def test_whatever_a_planner_puts_into_a_plan_its_job_may_do(planners: tuple[str, ...], job: str) -> None:
    modules = [import_module(f"automation.backups.{planner}") for planner in planners]
    names = [one for module in modules for one in vars(module).values()]
    used = [one for one in names if isinstance(one, type) and issubclass(one, BaseAction)]
    needed = {one.model_fields["do"].default for one in used if one.effect != "read"}
    assert needed, "it plans something"
    assert needed == {*(JOBS[job].changes or ()), *JOBS[job].destroys}
