"""A rotation that stopped deletes later what may still go, and nothing else."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from automation.backups.overdue import list_stale
from automation.backups.spec import Backups
from automation.model.actions import ForgetPoints, ReclaimSpace
from automation.model.actions.restic import Repository
from automation.model.plan import Step
from tests.backups.entries import make_backups, proof_failed
from tests.backups.test_rotating import World


@pytest.fixture(scope="module")
def backups(tmp_path_factory: pytest.TempPathFactory) -> Backups:
    return make_backups(tmp_path_factory.mktemp("policy"))


def deletions(world: World) -> tuple[Step, ...]:
    return tuple(step for step in world.plan().steps if isinstance(step.run, ForgetPoints))


def stale(steps: tuple[Step, ...], world: World) -> list[str]:
    return list(list_stale(steps, [world.decide()], world.plan()))


def test_what_would_be_planned_again_goes(backups: Backups) -> None:
    world = World(backups)
    assert deletions(world)
    assert stale(deletions(world), world) == []


def bad_proof(world: World) -> None:
    world.story.append(proof_failed(world.now))


def unreachable(world: World) -> None:
    world.problem = "no answer"


def silence(world: World) -> None:
    world.now += timedelta(days=30)


@pytest.mark.parametrize("change", [bad_proof, unreachable, silence])
def test_what_has_changed_meanwhile_stops_it(change: Callable[[World], None], backups: Backups) -> None:
    world = World(backups)
    steps = deletions(world)
    change(world)
    assert stale(steps, world) == ["share/nas/delete: 10 of 10 points are not to go any more"]


def test_a_place_that_nobody_decided_on_loses_nothing(backups: Backups) -> None:
    world = World(backups)
    assert len(list(list_stale(deletions(world), [], world.plan()))) == 1


def test_space_is_not_reclaimed_if_it_would_not_be_planned(backups: Backups) -> None:
    world = World(backups)
    run = ReclaimSpace(host="bk-a", of=Repository(store="nas", url="/main"))
    assert stale((Step(id="reclaim/nas", run=run, why="test"),), world) == [
        "reclaim/nas: what nothing refers to is not to go any more"
    ]
