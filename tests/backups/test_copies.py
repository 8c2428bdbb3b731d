"""Copies that nobody can delete: the lock is tried as it is declared, a copy is put together elsewhere."""

from datetime import UTC, datetime

import pytest

from automation.backups.copies import bucket_of, locked_stores, plan_canary, plan_recovery, restore_from
from automation.model.actions import CheckRepository, RecoverCopy, TryDelete
from automation.model.errors import ConfigError
from tests.backups.policies import DATABASE, SHARE, make_backups

AT = datetime(2026, 11, 22, 2, tzinfo=UTC)
CLEAN = "https://s3.city.lab/clean"


def test_every_store_that_is_said_to_be_locked_is_tried_for_as_long_as_it_is_said() -> None:
    backups = make_backups(share=SHARE, db=DATABASE)
    assert locked_stores(backups) == ("vault", "pg-vault")
    plan = plan_canary(backups, locked_stores(backups), environment="lab")
    tried = [step.run for step in plan.steps]
    assert all(isinstance(run, TryDelete) and run.lock_mode == "compliance" for run in tried)
    assert [run.bucket_url for run in tried if isinstance(run, TryDelete)] == [
        "https://s3.city.lab/b",
        "https://s3.city.lab/pg",
    ]
    assert all(34.5 * 86400 < run.lock_s < 35 * 86400 for run in tried if isinstance(run, TryDelete))
    assert {step.on_failure for step in plan.steps} == {"continue"}


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
