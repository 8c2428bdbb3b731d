"""A restore for people: the newest point before the moment, from the nearest store, over nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from automation.backups.proving import Moments
from automation.backups.restoring import (
    Asked,
    Choice,
    Target,
    Where,
    best_proof,
    choose_point,
    cluster_name,
    order_stores,
    parse_target,
    plan_restore,
    refuse_misfit,
    refuse_unreachable,
    repository_of,
    ways_to_check,
    ways_to_remove,
    where_of,
)
from automation.backups.spec import Backups
from automation.model.actions import LoadDump, RestoreCluster, RestoreFiles
from automation.model.approvals import ApprovalRule
from automation.model.errors import AutomationError, ConfigError, PreflightError
from automation.model.recovery_points import Level
from tests.backups.points import dailies, prove
from tests.backups.policies import DATABASE, DUMP, ROUTERS, SHARE, make_backups

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ALL = {"share": SHARE, "db": DATABASE, "dump": DUMP, "routers": ROUTERS}
SIGNED = ApprovalRule(roles=("dr-coordinator",))


def backups(in_place: ApprovalRule | None = None) -> Backups:
    return make_backups(**ALL).model_copy(update={"in_place": in_place})


def asked(resource: str = "share", **more: Any) -> Asked:
    return Asked(**({"resource": resource, "at": None, "to": Target("bk-b")} | more))


FOLDER = "/var/lib/mainstay/restored/share-20261122-120000"


def choice(kind: str = "files", where: Where | None = None, **more: Any) -> Choice:
    words: dict[str, Any] = {
        "resource": "share",
        "kind": kind,
        "store": "far",
        "point": "a" * 64,
        "claimed_at": NOW,
        "size_bytes": 1000,
        "where": where or Where(host="bk-b", folder=FOLDER),
    }
    return Choice(**(words | more))


# --- which point, which store ----------------------------------------------------------------------


def test_the_newest_good_point_that_is_not_later_is_chosen() -> None:
    points = dailies(5, NOW)
    at = points[2].claimed_at
    assert choose_point(points, at) == points[2]
    assert choose_point(points, at - timedelta(seconds=1)) == points[3]
    assert choose_point(points, None) == points[0]


def test_a_point_that_failed_or_is_partial_is_never_chosen() -> None:
    points = dailies(3, NOW)
    bad = [
        points[0].model_copy(update={"status": "partial"}),
        points[1].model_copy(update={"status": "failed"}),
    ]
    assert choose_point([*bad, points[2]], None) == points[2]
    assert choose_point(bad, None) is None


def test_the_store_at_the_targets_site_comes_first() -> None:
    assert order_stores(backups(), "share", "eoc") == ("far", "nas", "vault")
    assert order_stores(backups(), "share", "hall") == ("nas", "far", "vault")
    assert order_stores(backups(), "share", "elsewhere") == ("nas", "far", "vault")


def test_a_proof_that_is_believed_says_more_than_a_higher_one_that_is_not() -> None:
    point = dailies(1)[0]
    proofs = [prove(point, Level.L2), prove(point, Level.L4, suspended="a bit flipped")]
    best = best_proof(proofs, point.id, datetime(2030, 1, 1, tzinfo=UTC))
    assert best is not None
    assert best.level is Level.L2


def test_a_moment_without_wal_is_refused_with_what_can_be_reached() -> None:
    moments = [
        Moments(NOW - timedelta(hours=9), NOW - timedelta(hours=5)),
        Moments(NOW - timedelta(hours=2), NOW),
    ]
    refuse_unreachable(moments, NOW - timedelta(hours=6), "pg")
    with pytest.raises(PreflightError, match="no WAL of that moment") as caught:
        refuse_unreachable(moments, NOW - timedelta(hours=3), "pg")
    assert caught.value.hint == "it reaches up to 2026-11-22T07:00:00Z and from 2026-11-22T10:00:00Z"


# --- where to --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", ":/srv", "bk-b:srv", "bk-b:", "bk-b:/", "bk-b:/srv/../etc"])
def test_a_target_is_a_host_and_an_absolute_folder_of_its_own(text: str) -> None:
    with pytest.raises(ConfigError, match="is no target"):
        parse_target(text)


def test_a_target_may_do_without_a_folder() -> None:
    assert parse_target("bk-b") == Target("bk-b", "")
    assert parse_target("bk-b:/srv/back/") == Target("bk-b", "/srv/back")


@pytest.mark.parametrize(
    ("resource", "more", "match"),
    [
        ("db", {"to": Target("bk-b", "/srv/x")}, "bk-b keeps among its own"),
        ("db", {"include": ("/x",)}, "--include picks files"),
        ("dump", {"include": ("/x",)}, "--include picks files"),
        ("db", {"url": "s3:https://s3/x"}, "copies of restic's alone"),
        ("db", {"in_place": True}, "--in-place is for files"),
        ("routers", {"in_place": True}, "--in-place is for files"),
        ("share", {"in_place": True}, "names nobody who may approve"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_looked_at(
    resource: str, more: dict[str, Any], match: str
) -> None:
    with pytest.raises(AutomationError, match=match):
        refuse_misfit(asked(resource, **more), backups())


# --- steps -----------------------------------------------------------------------------------------


def test_files_go_to_a_folder_of_their_own_and_need_nobodys_signature() -> None:
    where = Where(host="bk-b", folder=FOLDER, include=("/srv/share/a",))
    plan = plan_restore(choice(where=where), asked(), backups(), environment="lab")
    (step,) = plan.steps
    assert isinstance(step.run, RestoreFiles)
    assert (step.run.of.url, step.run.folder, step.run.in_place) == ("/main", FOLDER, False)
    assert step.run.include == ("/srv/share/a",)
    assert plan.approvals is None
    assert where_of(plan) == where


def test_in_place_waits_for_the_signatures_that_the_policy_asks_for() -> None:
    wanted = asked(in_place=True)
    refuse_misfit(wanted, backups(SIGNED))
    where = Where(host="files-a", folder="/", in_place=True)
    plan = plan_restore(choice(where=where), wanted, backups(SIGNED), environment="lab")
    assert plan.approvals == SIGNED
    assert where_of(plan).in_place


def test_a_database_is_recovered_to_the_moment_in_a_cluster_of_its_own() -> None:
    where = Where(host="bk-b", cluster="15/restored_db", port=5434)
    wanted = choice("postgresql", where, resource="db", store="pg-far", point="L", until=NOW)
    plan = plan_restore(wanted, asked("db"), backups(), environment="lab")
    (step,) = plan.steps
    assert isinstance(step.run, RestoreCluster)
    assert (step.run.of.repo, step.run.until, step.run.listen) == (2, NOW, "")
    assert where_of(plan) == where


def test_a_dump_is_loaded_into_a_cluster_unless_only_its_file_is_wanted() -> None:
    where = Where(host="bk-b", folder=FOLDER, cluster="15/restored_dump", port=5434)
    plan = plan_restore(
        choice("postgresql-dump", where, resource="dump"), asked("dump"), backups(), environment="lab"
    )
    _, load = plan.steps
    assert isinstance(load.run, LoadDump)
    assert load.run.file == f"{FOLDER}/var/lib/mainstay/dumps/dump/database.dump"
    assert where_of(plan) == where
    alone = choice("postgresql-dump", resource="dump")
    assert len(plan_restore(alone, asked("dump"), backups(), environment="lab").steps) == 1


def test_a_cluster_is_named_after_its_resource_and_moment_and_a_file_alone_has_none() -> None:
    assert cluster_name(asked("db"), backups(), NOW) == "15/restored_db_20261122_120000"
    assert cluster_name(asked("dump"), backups(), NOW) == "15/restored_dump_20261122_120000"
    assert cluster_name(asked("dump", to=Target("bk-b", "/srv/x")), backups(), NOW) == ""
    assert cluster_name(asked("share"), backups(), NOW) == ""


def test_a_recovered_copy_is_opened_with_the_credentials_of_the_store_it_was() -> None:
    found = repository_of(asked(store="vault", url="s3:https://s3/clean"), backups(), "vault")
    assert (found.store, found.url, found.credentials) == ("vault-recovered", "s3:https://s3/clean", "vault")


def test_what_was_restored_is_looked_at_and_removed_by_name_and_never_in_place() -> None:
    there = Where(host="bk-b", folder="/srv/a b", cluster="15/restored_dump", port=5434)
    assert ways_to_remove(there) == (
        "sudo pg_dropcluster --stop 15 restored_dump",
        "sudo rm -f /var/lib/mainstay/restored/15-restored_dump",
        "sudo rm -r '/srv/a b'",
    )
    assert any("-p 5434" in way for way in ways_to_check(there))
    assert ways_to_check(Where(host="x", folder="/srv/x")) == ("sudo ls -lR /srv/x", "sudo du -sh /srv/x")
    assert ways_to_remove(Where(host="files-a", folder="/", in_place=True)) == ()
