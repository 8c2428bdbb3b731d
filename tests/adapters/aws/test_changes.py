"""What calls of controls refuse, and what is on the disk before they are made."""

import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from automation.adapters.aws import account
from automation.adapters.aws.account import Account
from automation.adapters.aws.enforcing import KINDS, _Kept
from automation.model.errors import AdapterError
from automation.model.provider_settings import SavedCall, WantedCall
from automation.model.records import Context
from tests.programs.aws_city import REGION_OF
from tests.programs.simulators import ACCOUNT

KEYS = {"us-east-1": "AKIAEAST", "us-west-2": "AKIAWEST"}


@pytest.fixture
def two_logins(monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account whose two regions have a login each, of a user named by its region."""

    def region_named(_ctx: Context, provider: Any, name: str) -> Any:
        assert provider.region in REGION_OF.values()
        arn = f"arn:aws:iam::{ACCOUNT}:user/{provider.region}"
        return SimpleNamespace(
            provider=SimpleNamespace(region=name),
            own_key=lambda: KEYS[provider.region],
            read=lambda *_, **_more: {"Arn": arn},
        )

    monkeypatch.setattr(account, "region_named", region_named)
    providers = tuple(SimpleNamespace(region=one, account=ACCOUNT) for one in REGION_OF.values())
    return Account(cast(Context, None), cast(Any, providers))


@pytest.mark.parametrize("region", REGION_OF.values())
@pytest.mark.parametrize("call", ["switch_off_access_key", "switch_off_login"])
def test_who_we_are_in_any_region_is_never_switched_off(two_logins: Account, call: str, region: str) -> None:
    ours = {"switch_off_access_key": KEYS[region], "switch_off_login": region}
    wanted = WantedCall(control="aws.iam.stale-access", risk="R2", call=call, on=ours[call])
    with pytest.raises(AdapterError, match="was not switched off"):
        KINDS[call].check(two_logins, wanted)


def test_what_was_before_is_synced_with_the_names_of_its_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[os.stat_result] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor)))
    kept = _Kept(cast(Context, SimpleNamespace(artifacts=tmp_path, step_id="account/enforce")))
    saved = SavedCall(
        control="aws.logs.trail", call="start_trail", on="arn:main", before={"logging": False}, after=None
    )
    kept.add(saved)
    assert any(stat.S_ISREG(one.st_mode) and one.st_size for one in synced)
    folders = {one.st_ino for one in synced if stat.S_ISDIR(one.st_mode)}
    assert folders == {tmp_path.stat().st_ino, (tmp_path / "calls").stat().st_ino}
