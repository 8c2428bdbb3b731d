"""Which points a test on copies proves, by the lab's own files, and what its proofs become in the ledger."""

from datetime import timedelta
from pathlib import Path

import pytest

from automation.backups.entries import Entry, PointsSeen
from automation.backups.folding import fold
from automation.backups.proof_age import is_proven, proof_age
from automation.backups.sighting import StoreSeen, observe
from automation.backups.spec import Backups, load_backups
from automation.backups.standing import Facts, ResourceStanding, stand
from automation.commands._ledger import read_ledger
from automation.commands._provable import provable_in
from automation.commands._proven import places_of
from automation.model.actions import CreateInstance, ProveImage
from automation.model.backup_evidence import PointProven, ProofFailed, RepositoryChecked
from automation.model.catalog import AwsPilotLight, RestoreFromBackup, load_catalog
from automation.model.plan import Plan, Step
from automation.model.records import Body, Failure, Outcome, RunClosed, StepEnded, StepStarted
from automation.model.recovery_points import Level
from automation.model.servers import ServerSpec
from automation.recovery.proving_copies import Kept, Provable
from tests.backups.entries import NOW, entry
from tests.backups.points import make_point
from tests.conftest import ROOT
from tests.fakes.runs import write_run

DAY = timedelta(days=1)
LAB = ROOT / "inventories/lab"
PROVEN = PointProven(
    resource="portal-images",
    store="west",
    point="pt-1",
    level=Level.L4,
    seconds=0.0,
    size_bytes=2**33,
    found=("web-w1-test (i-1): EC2's checks say system ok, instance ok",),
    host="web-w1-test",
    source="simulated",
)
CHECKED = RepositoryChecked(
    store="west", level=Level.L1, part=0, parts=1, seconds=1.0, size_bytes=0, points=("pt-1",)
)
BAD = ProofFailed(resource="portal-images", store="west", point="pt-1", level=Level.L4, found=("BAD: x",))


@pytest.fixture(scope="module")
def backups() -> Backups:
    return load_backups(LAB / "backups.yml")


def run_of_drill(state: Path, end: StepEnded) -> None:
    """A drill launches a copy in one second, and is at its proof for one more."""
    spec = ServerSpec(name="web-w1-test", provider="aws", site="aws-west", image="ami-1")
    launch = CreateInstance(host="web-w1-test", site="aws-west", spec=spec)
    proof = ProveImage(
        site="aws-west", resource="portal-images", store="west", image="ami-1", servers=("web-w1-test",)
    )
    made = Step(id="portal/launch", run=launch, why="a copy")
    proven = Step(id="portal/proven", run=proof, why="a proof", after=("portal/launch",))
    plan = Plan(name="portal-test", environment="lab", mode="test-failover", steps=(made, proven))
    launched = Outcome(changed=True, summary="made")
    bodies: tuple[Body, ...] = (
        StepStarted(step="portal/launch"),
        StepEnded(step="portal/launch", status="succeeded", outcome=launched),
        StepStarted(step="portal/proven"),
        end,
        RunClosed(status="succeeded" if end.outcome else "paused"),
    )
    write_run(state, "drill-1", *bodies, plan=plan)


def standing(backups: Backups, *story: Entry) -> ResourceStanding:
    point = make_point(NOW, "pt-1", resource="portal-images")
    seen = [
        StoreSeen(store=store, points=(point.model_copy(update={"copy_name": store}),))
        for store in ("east", "west")
    ]
    ledger = fold(story)
    return stand(Facts(backups, ledger, observe(backups, ledger, seen, NOW), {}), "portal-images", 86400.0)


def test_a_pilot_light_proves_what_its_region_keeps_of_its_image_and_its_database(backups: Backups) -> None:
    service = load_catalog(LAB / "services.yml").services["portal"]
    assert isinstance(service.strategy, AwsPilotLight)
    assert provable_in(backups, service, service.strategy) == Provable(
        images=(Kept("portal-images", "west"),), snapshots=(Kept("portal-db", "west-open"),)
    )


def test_a_proof_by_a_drill_tells_its_run_and_how_long_the_copy_took(
    tmp_path: Path, backups: Backups
) -> None:
    outcome = Outcome(changed=False, summary="proven", evidence=PROVEN)
    run_of_drill(tmp_path, StepEnded(step="portal/proven", status="succeeded", outcome=outcome))
    spec = backups.resources["portal-images"]
    (proof,) = read_ledger(tmp_path, NOW, {"west"}).proofs("portal-images", "west", spec)
    assert (proof.level, proof.by, proof.source) == (Level.L4, "drill-1", "simulated")
    assert proof.seconds == 3.0  # from the launch on, by the journal
    # Since then the real region answers as `west`: what a simulator showed speaks for no point of it.
    assert read_ledger(tmp_path, NOW).proofs("portal-images", "west", spec) == ()


def test_a_copy_that_is_sick_fails_its_point_and_suspends_its_store(tmp_path: Path) -> None:
    failure = Failure(error="AdapterError", message="bad", evidence=BAD)
    run_of_drill(tmp_path, StepEnded(step="portal/proven", status="failed", failure=failure))
    ledger = read_ledger(tmp_path, NOW)
    assert ledger.found_bad("portal-images", "west") == {"pt-1"}
    assert "BAD: x" in ledger.suspended("west")


def test_a_drills_proof_in_one_region_is_all_that_a_drill_can_prove(backups: Backups) -> None:
    assert "L4 was never proven in east, west" in standing(backups).wrong
    row = standing(backups, entry(PROVEN, NOW))
    assert not [line for line in row.wrong if "L4" in line]


def test_what_a_simulator_proved_stays_simulated_when_its_store_is_real(backups: Backups) -> None:
    simulated = standing(backups, entry(PROVEN, NOW))
    real = standing(backups, entry(PROVEN.model_copy(update={"source": "real"}), NOW))
    assert simulated.proof is not None
    assert real.proof is not None
    assert (simulated.proof.source, simulated.rpo_achieved_s) == ("simulated", None)
    assert (real.proof.source, real.rpo_achieved_s) == ("real", 0.0)


def test_the_age_of_a_proof_is_held_against_the_highest_rule(backups: Backups) -> None:
    spec, place = backups.resources["portal-images"], ("portal-images", "west")
    never = proof_age(spec, fold(()), place, NOW)
    assert (never.rule.level, never.at, never.best) == (Level.L4, None, None)
    listed = PointsSeen(resource="portal-images", store="west", points=("pt-1",))
    story = (
        entry(listed, NOW - 201 * DAY),
        entry(PROVEN, NOW - 200 * DAY, run="drill-1"),
        entry(CHECKED, NOW - DAY),
    )
    age = proof_age(spec, fold(story), place, NOW)
    assert (age.at, age.by, age.limit_s) == (NOW - 200 * DAY, "drill-1", 180 * DAY.total_seconds())
    assert age.best is Level.L1  # the drill's no longer counts
    assert age.simulated


def test_the_last_backup_is_proven_by_a_proof_of_that_point_alone(backups: Backups) -> None:
    spec, place = backups.resources["portal-images"], ("portal-images", "west")
    listed = PointsSeen(resource="portal-images", store="west", points=("pt-1", "pt-2"))
    story = (entry(listed, NOW - 9 * DAY), entry(PROVEN, NOW - 3 * DAY))
    assert is_proven(spec, fold(story), place, {"pt-1"}, NOW)  # opened by a drill says more than L1
    assert not is_proven(spec, fold(story), place, {"pt-2"}, NOW)
    looked = CHECKED.model_copy(update={"points": ("pt-1", "pt-2")})
    assert is_proven(spec, fold((*story, entry(looked, NOW - DAY))), place, {"pt-2"}, NOW)
    assert not is_proven(spec, fold((*story, entry(looked, NOW - 3 * DAY))), place, {"pt-2"}, NOW)
    bad = (*story, entry(looked, NOW - DAY), entry(BAD, NOW))
    assert not is_proven(spec, fold(bad), place, {"pt-2"}, NOW)  # no proof of that store is believed


def test_readiness_asks_for_the_proof_of_what_would_be_launched_or_restored(backups: Backups) -> None:
    services = load_catalog(LAB / "services.yml").services
    assert list(places_of(backups, services["portal"])) == [
        ("portal-images", "west"),
        ("portal-db", "west-open"),
    ]
    restored = RestoreFromBackup.model_validate(
        {
            "kind": "restore-from-backup",
            "hosts": {"city-hall": "pg-a", "eoc": "pg-b"},
            "cluster": "15/main",
            "resource": "payments-db",
            "store": "eoc-pg",
            "configure": "playbooks/pg.yml",
        }
    )
    service = services["payments-db"].model_copy(update={"strategy": restored})
    assert list(places_of(backups, service)) == [("payments-db", "eoc-pg")]
    assert list(places_of(backups, services["payments-db"])) == []  # it has a standby
