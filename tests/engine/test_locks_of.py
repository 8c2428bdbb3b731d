"""What a run locks, and what it does not."""

from automation.engine.run import locks_of
from automation.model.actions import CopyPoints, Promote, TakeFiles
from automation.model.actions.restic import Repository
from automation.model.environment import Inventory
from automation.model.plan import Plan, Step

NAS, COPY = Repository(store="nas", url="/srv/a"), Repository(store="copy", url="/srv/b")
TAKE = TakeFiles(host="files-a", resource="share", to=NAS, paths=("/srv",), must_exist=("/srv/.here",))
COPIED = CopyPoints(host="bk-a", resource="share", source=NAS, target=COPY)
PROMOTE = Promote(host="pg-b", cluster="15/main", expect_system_identifier="1", expect_timeline=1)


def locks(*actions: TakeFiles | CopyPoints | Promote) -> tuple[str, ...]:
    steps = tuple(Step(id=f"s{number}", run=one, why="w") for number, one in enumerate(actions))
    plan = Plan(name="p", environment="lab", mode="apply", steps=steps)
    return locks_of(plan, Inventory(servers={}))


def test_a_change_locks_its_host() -> None:
    assert locks(PROMOTE) == ("host:pg-b",)


def test_a_backup_that_hangs_on_a_lost_host_holds_no_failover_of_it_back() -> None:
    assert locks(TAKE) == ("resource:share",)


def test_two_backups_of_one_resource_do_not_overlap() -> None:
    assert set(locks(TAKE)) & set(locks(TAKE, COPIED))
