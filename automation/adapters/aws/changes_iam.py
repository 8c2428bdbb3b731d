"""Calls on who may log in to an account: logins and keys that nobody uses, and rules of passwords."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from automation.adapters.aws.account import Account
from automation.adapters.aws.calls import Kind, State, held, number
from automation.adapters.aws.facts_iam import (
    days,
    key_used,
    keys_of,
    login_of,
    login_used,
    read_password_rules,
)
from automation.model.errors import AdapterError
from automation.model.provider_settings import WantedCall

_NUMBERS = ("MinimumPasswordLength", "PasswordReusePrevention", "MaxPasswordAge")
_WORDS = (
    "RequireSymbols",
    "RequireNumbers",
    "RequireUppercaseCharacters",
    "RequireLowercaseCharacters",
    "AllowUsersToChangePassword",
    "HardExpiry",
)
# Where an account has no rules of its own AWS asks for three of four kinds of letters: no less is asked here.
_BEGUN: State = {
    **dict.fromkeys(_WORDS, False),
    "RequireNumbers": True,
    "RequireUppercaseCharacters": True,
    "RequireLowercaseCharacters": True,
}


# --- logins ------------------------------------------------------------------------------------------


def _read_login(account: Account, name: str, _before: State) -> State:
    return {"login": login_of(account.home, name) is not None}


def _no_login(_state: State, _wanted: WantedCall) -> State:
    return {"login": False}


def _delete_login(account: Account, name: str, _now: State, _wanted: State) -> None:
    what = f"the login of user {name} could not be switched off"
    account.home.change("iam.delete_login_profile", what, UserName=name)


def _check_login(account: Account, wanted: WantedCall) -> None:
    """Refuse a login that we are in any region, and one that was used since the plan was made."""
    what = "who we are could not be asked"
    for one in account.logins:
        ours = str(one.read("sts.get_caller_identity", what).get("Arn", ""))
        if ":user/" in ours and ours.rpartition("/")[2] == wanted.on:
            raise AdapterError(f"user {wanted.on} is who we log in as; its login was not switched off")
    shown = account.home.read("iam.get_user", f"user {wanted.on} could not be looked at", UserName=wanted.on)[
        "User"
    ]
    login = login_of(account.home, wanted.on)
    _require_unused(f"the login of user {wanted.on}", login_used(shown, login), wanted)


# --- access keys -------------------------------------------------------------------------------------


def _read_key(account: Account, key: str, _before: State) -> State:
    user = str(key_used(account.home, key).get("UserName", ""))
    for one in keys_of(account.home, user) if user else ():
        if one["AccessKeyId"] == key:
            return {"user": user, "active": one["Status"] != "Inactive"}
    raise AdapterError(f"access key {key} is of no user of account {account.id}; nothing was changed")


def _inactive(state: State, _wanted: WantedCall) -> State:
    return {"user": held(state, "user"), "active": False}


def _set_key(account: Account, key: str, _now: State, wanted: State) -> None:
    active = held(wanted, "active")
    account.home.change(
        "iam.update_access_key",
        f"access key {key} could not be switched {'on' if active else 'off'}",
        UserName=str(held(wanted, "user")),
        AccessKeyId=key,
        Status="Active" if active else "Inactive",
    )


def _check_key(account: Account, wanted: WantedCall) -> None:
    """Refuse a key that we log in by in any region, and one that was used since the plan was made."""
    if wanted.on in [one.own_key() for one in account.logins]:
        raise AdapterError(f"access key {wanted.on} is what we log in by; it was not switched off")
    used = key_used(account.home, wanted.on)
    since = used["AccessKeyLastUsed"].get("LastUsedDate")
    for one in keys_of(account.home, str(used.get("UserName", ""))) if since is None else ():
        since = one["CreateDate"] if one["AccessKeyId"] == wanted.on else since
    if since is not None:
        _require_unused(f"access key {wanted.on}", since, wanted)


def _require_unused(what: str, since: datetime, wanted: WantedCall) -> None:
    limit, unused = number(wanted, "unused_days"), days(since, datetime.now(UTC))
    if unused <= limit:
        raise AdapterError(f"{what} was used {unused} days ago, since the plan was made; it was left alone")


# --- passwords ---------------------------------------------------------------------------------------


def _read_rules(account: Account, _name: str, _before: State) -> State:
    seen = read_password_rules(account)
    if seen is None:
        return None
    told = {name: bool(seen.get(name)) for name in _WORDS}
    return {**told, **{name: int(seen[name]) for name in _NUMBERS if seen.get(name)}}


def _stricter(state: State, wanted: WantedCall) -> State:
    """Raise what is too low; nothing else, and nothing becomes lower."""
    asked = {
        "MinimumPasswordLength": number(wanted, "minimum_length"),
        "PasswordReusePrevention": number(wanted, "remembered"),
    }
    known = dict(_BEGUN or {}) if state is None else dict(state)
    for name, least in asked.items():
        now = known.get(name)
        known[name] = max(now, least) if isinstance(now, int) else least
    return known


def _set_rules(account: Account, _name: str, _now: State, wanted: State) -> None:
    what = f"rules of passwords of account {account.id} could not be set"
    if wanted is None:
        account.home.change("iam.delete_account_password_policy", what)
    else:
        rules: Mapping[str, Any] = wanted
        account.home.change("iam.update_account_password_policy", what, **rules)


KINDS = {
    "switch_off_login": Kind(
        _read_login,
        _no_login,
        _delete_login,
        _check_login,
        lasting="its password is gone with it: a person gives a new one",
    ),
    "switch_off_access_key": Kind(_read_key, _inactive, _set_key, _check_key),
    "set_password_rules": Kind(_read_rules, _stricter, _set_rules),
}
