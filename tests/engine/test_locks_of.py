"""What a run locks, and what it does not."""

from automation.engine.run import locks_of
from automation.model.actions import (
    Action,
    CopyPoints,
    EnforceAccount,
    EnforceSettings,
    Promote,
    TakeFiles,
    UndoSettings,
)
from automation.model.actions.restic import Repository
from automation.model.environment import Inventory
from automation.model.host_settings import KeyValueSetting, WantedSetting
from automation.model.plan import Plan, Step
from automation.model.provider_settings import WantedCall

NAS, COPY = Repository(store="nas", url="/srv/a"), Repository(store="copy", url="/srv/b")
TAKE = TakeFiles(host="files-a", resource="share", to=NAS, paths=("/srv",), must_exist=("/srv/.here",))
COPIED = CopyPoints(host="bk-a", resource="share", source=NAS, target=COPY)
PROMOTE = Promote(host="pg-b", cluster="15/main", expect_system_identifier="1", expect_timeline=1)


def locks(*actions: Action) -> tuple[str, ...]:
    steps = tuple(Step(id=f"s{number}", run=one, why="w") for number, one in enumerate(actions))
    plan = Plan(name="p", environment="lab", mode="apply", steps=steps)
    return locks_of(plan, Inventory(servers={}))


def test_a_change_locks_its_host() -> None:
    assert locks(PROMOTE) == ("host:pg-b",)


def test_a_backup_that_hangs_on_a_lost_host_holds_no_failover_of_it_back() -> None:
    assert locks(TAKE) == ("resource:share",)


def test_two_backups_of_one_resource_do_not_overlap() -> None:
    assert set(locks(TAKE)) & set(locks(TAKE, COPIED))


SETTING = WantedSetting(
    control="lin.accounts.umask",
    risk="R0",
    setting=KeyValueSetting(kind="key-value", path="/etc/login.defs", name="UMASK", value="027"),
)
ENFORCE = EnforceSettings(host="pg-b", settings=(SETTING,), resources=("share",))


def test_an_enforcement_is_not_done_while_its_host_fails_over_or_is_saved() -> None:
    for change in (ENFORCE, UndoSettings(host="pg-b", change="20260101-000000-0000", resources=("share",))):
        assert set(locks(change)) & set(locks(PROMOTE)) == {"host:pg-b"}
        assert set(locks(change)) & set(locks(TAKE)) == {"resource:share"}


def test_an_account_is_not_changed_while_a_server_there_is_recovered() -> None:
    call = WantedCall(control="aws.iam.password-rules", risk="R1", call="set_password_rules")
    change = EnforceAccount(account="123456789012", calls=(call,), servers_there=("pg-b",))
    assert set(locks(change)) & set(locks(PROMOTE)) == {"host:pg-b"}
