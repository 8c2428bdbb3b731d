"""Points at cloud providers by the planner and guards of all others; snapshots of VMs as rollback guards."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from automation.backups.clouds import take_of
from automation.backups.deleting import deletion_of
from automation.backups.entries import Entry, Noted, PointsSeen
from automation.backups.folding import fold
from automation.backups.guards import judge, never_drop_last_verified
from automation.backups.rotating import decide_one, make_case, plan_rotation
from automation.backups.sighting import StoreSeen, observe
from automation.backups.spec import Backups, check_backups
from automation.backups.standing import Facts, stand
from automation.model.actions import DeleteVaultPoints, RemoveRollbacks, TakeSnapshots
from automation.model.backup_evidence import PointProven, PointsCopied, ProofFailed, RepositoryChecked
from automation.model.recovery_points import Level, RecoveryPoint
from tests.backups.entries import entry

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
STORES: Mapping[str, Any] = {
    "east": {"type": "aws", "site": "east"},
    "west": {
        "type": "aws",
        "site": "west",
        "copy_of": "east",
        "lock": {"mode": "compliance", "for": "14 days"},
    },
    "open": {"type": "aws", "site": "west", "copy_of": "east"},
    "hall": {"type": "vsphere", "site": "hall"},
}
RDS: Mapping[str, Any] = {"kind": "rds-snapshots", "database": "pay"}
DISKS: Mapping[str, Any] = {
    "source": {"kind": "ebs-snapshots", "servers": ["web-1", "web-2"]},
    "rpo": "24 h",
    "take": {"every": "1 day"},
    "to": ["east", "west"],
    "keep": {"profile": "standard", "never_drop_last_verified": "L1"},
    "verify": [{"level": "L1", "every": "1 day"}],
}
GUARDED: Mapping[str, Any] = {
    "source": {"kind": "vsphere-snapshots", "vm": "gis-1"},
    "rpo": "24 h",
    "take": {"on_demand": True},
    "to": ["hall"],
    "keep": {"profile": "rollback"},
    "verify": [{"level": "L0", "every": "1 day"}],
}


def policy(immutable: int = 0, **resources: Any) -> Backups:
    return Backups.model_validate(
        {
            "version": 1,
            "tz": "UTC",
            "stores": STORES,
            "rule": {"copies": 2, "media": 2, "offsite": 0, "immutable": immutable},
            "retention": {
                "standard": {"daily": 2, "keep_oldest": False},
                "rollback": {"all_for": "24 hours"},
            },
            "resources": resources or {"disks": DISKS, "gis": GUARDED},
        }
    )


def made(
    number: int, age: timedelta, resource: str = "disks", store: str = "east", **more: Any
) -> RecoveryPoint:
    words = {"id": f"pt-{number}", "resource": resource, "copy": store, "claimed_at": NOW - age}
    return RecoveryPoint.model_validate({**words, "members": (f"snap-{number}a", f"snap-{number}b"), **more})


def no_story(*entries: Entry) -> Any:
    return fold(entries)


def test_the_new_kinds_are_declared_beside_the_others() -> None:
    assert list(check_backups(policy())) == []


def test_a_locked_and_an_open_store_of_one_region_keep_other_resources() -> None:
    def said(**db: Any) -> dict[tuple[object, ...], str]:
        resources = {"disks": DISKS, "db": {**DISKS, "source": RDS, **db}}
        return {one.where: one.message for one in check_backups(policy(immutable=1, **resources))}

    why = {"immutable": "snapshots of RDS cannot be locked"}
    assert list(said(to=["east", "open"])) == [("resources", "db", "to")]
    assert said(to=["east", "open"], exempt=why) == {}
    needless = said(to=["east", "open"], exempt={**why, "copies": "no room for more"})
    assert "delete what exempts it" in needless["resources", "db", "exempt", "copies"]
    twice = said(to=["west", "open"], source=DISKS["source"])
    assert "two stores of one region are one copy" in twice["resources", "db", "to"]


FAULTS = {
    "restored by us": ("disks", {**DISKS, "verify": [{"level": "L3", "every": "1 week"}]}, "at L4 by: drill"),
    "no region": ("disks", {**DISKS, "to": ["hall"]}, "hall is vsphere; ebs-snapshots needs aws"),
    "never proven enough": (
        "disks",
        {**DISKS, "keep": {"profile": "standard"}},
        "never proven at L3, without which nothing would ever be deleted",
    ),
    "RDS has no lock": (
        "db",
        {**DISKS, "source": RDS},
        "snapshots of RDS cannot be locked",
    ),
    "kept for weeks": ("gis", {**GUARDED, "keep": {"profile": "standard"}}, "for 48 h at most"),
    "taken by the clock": ("gis", {**GUARDED, "take": {"every": "1 day"}}, "write on_demand: true"),
    "asked for": ("disks", {**DISKS, "take": {"on_demand": True}}, "is taken by the clock"),
}


@pytest.mark.parametrize(("name", "words", "said"), FAULTS.values(), ids=FAULTS)
def test_what_no_provider_can_do_is_refused(name: str, words: Mapping[str, Any], said: str) -> None:
    assert any(said in one.message for one in check_backups(policy(**{name: words})))


def test_all_servers_of_a_resource_are_one_point() -> None:
    action = take_of(policy(), "disks", "west")
    assert isinstance(action, TakeSnapshots)
    assert (action.servers, action.lock and action.lock.mode) == (("web-1", "web-2"), "compliance")


def test_a_deletion_names_every_member() -> None:
    going = (made(1, 9 * HOUR), made(2, 8 * HOUR))
    action = deletion_of(policy(), ("disks", "east"), going, ("pt-3",), NOW)
    assert isinstance(action, DeleteVaultPoints)
    assert action.members == {"pt-1": ("snap-1a", "snap-1b"), "pt-2": ("snap-2a", "snap-2b")}
    assert (action.points, action.stay) == (("pt-1", "pt-2"), ("pt-3",))


def test_what_is_in_use_is_held_with_a_word_by_what() -> None:
    old = made(9, timedelta(days=9), used_by=("instance i-1", "launch template web version 2"))
    points = [made(number, timedelta(days=number)) for number in range(3)] + [old]
    rotation = judge(make_case(policy(), no_story(), points, ("disks", "east"), NOW))
    ruling = next(one for one in rotation.rulings if one.guard == "in_use")
    assert (ruling.answer, ruling.points) == ("hold", ("pt-9",))
    assert "pt-9 by instance i-1, launch template web version 2" in ruling.reason


def test_aws_says_what_is_locked_and_what_is_declared_is_no_lock() -> None:
    seen = StoreSeen(store="west", points=(made(1, HOUR, store="west"),))
    (point,) = observe(policy(), no_story(), [seen], NOW).places["disks", "west"]
    assert point.locked_until is None
    seen = seen.model_copy(update={"locked_until": {"pt-1": NOW + HOUR}})
    (point,) = observe(policy(), no_story(), [seen], NOW).places["disks", "west"]
    assert point.locked_until == NOW + HOUR


# --- what a drill proves of a copy ------------------------------------------------------------------

DRILLED = {**DISKS, "keep": {"profile": "standard", "never_drop_last_verified": "L4"}}
LOOKED = RepositoryChecked(
    store="east", level=Level.L1, part=0, parts=1, seconds=1.0, size_bytes=0, points=("pt-1", "pt-2", "pt-3")
)
DRILL = PointProven(
    resource="disks",
    store="west",
    point="pt-2",
    level=Level.L4,
    seconds=9.0,
    size_bytes=1,
    found=("EC2's checks say ok",),
    host="web-1-test",
)


def story(*more: Noted) -> list[Entry]:
    """Three points taken in the east, of which two were copied to the west and all were seen whole."""
    listed = PointsSeen(resource="disks", store="east", points=("pt-1", "pt-2", "pt-3"))
    copies = PointsCopied(
        resource="disks", store="west", source="east", points={"pt-1": "pt-1", "pt-2": "pt-2"}, seconds=1.0
    )
    told: tuple[Noted, ...] = (listed, copies, LOOKED, *more)
    return [entry(one, NOW - HOUR + number * HOUR / 60) for number, one in enumerate(told)]


BAD = ProofFailed(resource="disks", store="west", point="pt-1", level=Level.L4, found=("BAD: x",))
DOUBTED = {
    "no drill was": (),
    "a look at the copy alone": (LOOKED.model_copy(update={"store": "west"}),),
    "a proof of a point that was not copied": (DRILL.model_copy(update={"point": "pt-3"}),),
    "the copy's store is doubted": (DRILL, BAD),
    "the point is not seen whole in its own region": (DRILL, LOOKED.model_copy(update={"points": ("pt-1",)})),
    "a point of another store": (DRILL.model_copy(update={"store": "open"}),),
}


def last_verified(*more: Noted) -> tuple[str, tuple[str, ...]]:
    backups, points = policy(disks=DRILLED), [made(number, number * HOUR) for number in (1, 2, 3)]
    case = make_case(backups, fold(story(*more)), points, ("disks", "east"), NOW)
    ruling = never_drop_last_verified(case)
    return ruling.answer, ruling.points


def test_a_drill_on_a_copy_proves_the_point_that_it_is_a_copy_of_and_that_one_stays() -> None:
    assert last_verified(DRILL) == ("hold", ("pt-2",))


@pytest.mark.parametrize("more", DOUBTED.values(), ids=DOUBTED)
def test_what_says_nothing_of_a_point_keeps_everything(more: tuple[Noted, ...]) -> None:
    assert last_verified(*more) == ("refuse", ())


# --- snapshots of VMs -------------------------------------------------------------------------------


def rollbacks(*hours: float) -> list[RecoveryPoint]:
    return [
        made(number, timedelta(hours=age), "gis", "hall", members=(f"snapshot-{number}",))
        for number, age in enumerate(hours)
    ]


CHAINS = {
    "young ones stay": ((1, 2, 3), set()),
    "the oldest of four goes": ((1, 2, 3, 4), {"pt-3"}),
    "one that is alone grows old as well": ((25,), {"pt-0"}),
    "two old ones": ((1, 30, 60), {"pt-1", "pt-2"}),
}


@pytest.mark.parametrize(("hours", "goes"), CHAINS.values(), ids=CHAINS)
def test_a_snapshot_of_a_vm_goes_when_it_is_old_or_the_chain_long_without_proof_or_grace(
    hours: tuple[float, ...], goes: set[str]
) -> None:
    backups, ledger = policy(), no_story()
    seen = observe(backups, ledger, [StoreSeen(store="hall", points=tuple(rollbacks(*hours)))], NOW)
    one = decide_one(backups, ledger, seen, ("gis", "hall"), 86400.0)
    assert one.rotation is not None
    assert {point.id for point in one.rotation.delete} == goes
    plan = plan_rotation(backups, ledger, [one], now=NOW, environment="city")
    acts = [step.run for step in plan.steps]
    assert all(isinstance(act, RemoveRollbacks) for act in acts)
    assert {point for act in acts if isinstance(act, RemoveRollbacks) for point in act.points} == goes


@pytest.mark.parametrize(
    ("alarms", "state"), [((), "good"), (("VM gis-1: its disks must be consolidated",), "red")]
)
def test_a_vm_without_snapshots_is_well_and_loose_deltas_are_an_alarm(
    alarms: tuple[str, ...], state: str, tmp_path: Path
) -> None:
    backups, ledger = policy(), no_story()
    seen = observe(backups, ledger, [StoreSeen(store="hall", alarms=alarms)], NOW)
    row = stand(Facts(backups, ledger, seen, {}), "gis", 86400.0)
    assert (row.state, row.wrong) == (state, alarms)
