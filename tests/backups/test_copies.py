"""Copies that nobody can delete: the lock is tried as it is declared, a copy is put together elsewhere."""

from datetime import UTC, datetime, timedelta

import pytest

from automation.backups.copies import (
    bucket_of,
    locked_stores,
    plan_canary,
    plan_recovery,
    restore_from,
    running_out,
)
from automation.backups.rotating import Decision
from automation.backups.spec import Backups
from automation.model.actions import CheckRepository, ForgetPoints, LengthenLocks, RecoverCopy, TryDelete
from automation.model.backup_evidence import PointsMarked
from automation.model.errors import ConfigError
from tests.backups import entries
from tests.backups.entries import proof_failed
from tests.backups.policies import DATABASE, SHARE, make_backups
from tests.backups.test_rotating import World

AT = datetime(2026, 11, 22, 2, tzinfo=UTC)
CLEAN = "https://s3.city.lab/clean"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Backups:
    return entries.make_backups(tmp_path_factory.mktemp("policy"))


def test_every_store_that_is_said_to_be_locked_is_tried_for_as_long_as_it_is_said() -> None:
    backups = make_backups(share=SHARE, db=DATABASE)
    assert locked_stores(backups) == ("vault", "pg-vault")
    plan = plan_canary(backups, locked_stores(backups), environment="lab")
    tried = [step.run for step in plan.steps if step.id.endswith("/canary")]
    assert all(isinstance(run, TryDelete) and run.lock_mode == "compliance" for run in tried)
    assert [run.bucket_url for run in tried if isinstance(run, TryDelete)] == [
        "https://s3.city.lab/b",
        "https://s3.city.lab/pg",
    ]
    assert all(34.5 * 86400 < run.lock_s < 35 * 86400 for run in tried if isinstance(run, TryDelete))
    assert {step.on_failure for step in plan.steps} == {"continue"}


def test_after_each_canary_the_locks_of_its_store_are_lengthened_whatever_the_canary_showed() -> None:
    backups = make_backups(share=SHARE, db=DATABASE)
    expired = {"vault": ("a" * 64,)}
    steps = plan_canary(backups, locked_stores(backups), environment="lab", running_out=expired).steps
    acts = {step.id: step.run for step in steps if isinstance(step.run, LengthenLocks)}
    assert {step.id: step.after for step in steps if step.id in acts} == {
        "vault/locks": ("vault/canary",),
        "pg-vault/locks": ("pg-vault/canary",),
    }
    vault = acts["vault/locks"]
    assert isinstance(vault, LengthenLocks)
    assert (vault.bucket_url, vault.lock_mode, vault.lock_s) == (
        "https://s3.city.lab/b",
        "compliance",
        35 * 86400.0,
    )
    assert vault.lock_s / 2 < vault.least_s < vault.lock_s
    assert [run.running_out for run in acts.values() if isinstance(run, LengthenLocks)] == [("a" * 64,), ()]


def locked_for_ever(world: World) -> Decision:
    """Decide as where all locks are always lengthened."""
    later = {"locked_until": world.now + timedelta(days=30)}
    world.points = [point.model_copy(update=later) for point in world.points]
    return world.decide()


def test_what_only_its_lock_keeps_from_rotation_is_left_to_run_out(saved: Backups) -> None:
    unlocked, locked = World(saved), locked_for_ever(World(saved))
    assert locked.rotation is not None
    assert locked.rotation.delete == ()
    left = set(running_out([locked])["nas"])
    (act,) = unlocked.acts(ForgetPoints)
    assert isinstance(act, ForgetPoints)
    assert set(act.points) < left, "one run deletes half at most, the locks of all of them may end"
    assert left.isdisjoint({"p00", "p01"}), "the newest, and the one that is proven"


def test_while_anything_is_doubtful_and_before_a_person_could_object_no_lock_runs_out(saved: Backups) -> None:
    doubtful = World(saved)
    doubtful.story.append(proof_failed(doubtful.now))
    fresh = World(saved)
    fresh.story = [one for one in fresh.story if not isinstance(one.noted, PointsMarked)]
    for world in (doubtful, fresh, World(saved, problem="no answer")):
        assert dict(running_out([locked_for_ever(world)])).get("nas", ()) == ()


@pytest.mark.parametrize(
    ("repository", "bucket"),
    [
        ("s3:https://s3.city.lab/b", "https://s3.city.lab/b"),
        ("s3:s3.amazonaws.com/b", "https://s3.amazonaws.com/b"),
        ("s3:http://s3.city.lab/b", ""),
        ("sftp:b@nas:/main", ""),
        ("/srv/main", ""),
    ],
)
def test_a_bucket_is_found_however_restic_names_it(repository: str, bucket: str) -> None:
    vault = make_backups().stores["vault"]
    assert bucket_of(vault.model_copy(update={"repository": repository})) == bucket


def test_a_store_without_a_lock_has_no_canary() -> None:
    with pytest.raises(ConfigError, match="no locked bucket") as caught:
        plan_canary(make_backups(), ["nas"], environment="lab")
    assert caught.value.hint == "stores with a lock: vault, pg-vault"


def test_a_recovered_repository_is_looked_at_under_a_name_of_its_own() -> None:
    recover, check = plan_recovery(make_backups(), "vault", AT, f"s3:{CLEAN}/", environment="lab").steps
    assert isinstance(recover.run, RecoverCopy)
    assert (recover.run.bucket_url, recover.run.to_bucket_url, recover.run.as_of) == (
        "https://s3.city.lab/b",
        CLEAN,
        AT,
    )
    assert isinstance(check.run, CheckRepository)
    assert (check.run.of.store, check.run.of.credentials, check.run.of.url) == (
        "vault-recovered",
        "vault",
        f"s3:{CLEAN}",
    )
    assert check.needs == (recover.id,)


@pytest.mark.parametrize("to", ["https://s3.city.lab/b", "s3:https://s3.city.lab/b/", "/srv/x", "clean"])
def test_a_copy_is_never_put_together_where_the_attacked_one_is(to: str) -> None:
    with pytest.raises(ConfigError, match="no other bucket"):
        plan_recovery(make_backups(), "vault", AT, to, environment="lab")


def test_the_next_command_names_the_recovered_copy() -> None:
    backups = make_backups(share=SHARE, db=DATABASE)
    (command,) = restore_from("vault", backups, CLEAN, "lab")
    assert f"--store vault --repository s3:{CLEAN}" in command
    assert any("repo3-s3-bucket=clean" in line for line in restore_from("pg-vault", backups, CLEAN, "lab"))
