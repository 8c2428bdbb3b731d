"""Facts of who may do what in an account: root, people's logins and keys, policies, rules of passwords.

Asked live and not from IAM's credential report, which is up to four hours old and so would not show what was
changed just now; that costs three calls for each user and one for each key.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from pydantic import JsonValue

from automation.adapters.aws.account import Account, by_marker
from automation.adapters.aws.policies import allows_everything
from automation.adapters.aws.session import Region, Shown
from automation.model.errors import AdapterError

NO_SUCH = frozenset({"NoSuchEntity", "NoSuchEntityException"})
_DAY_S = 24 * 3600
_USUAL_LENGTH = 8  # where an account has no rules of its own
_KINDS = ("User", "Group", "Role", "LocalManagedPolicy")


def root(account: Account) -> JsonValue:
    """Say by what root can log in."""
    what = f"root of account {account.id} could not be looked at"
    seen = account.home.read("iam.get_account_summary", what)["SummaryMap"]
    known: Mapping[str, JsonValue] = {
        "console": None if "AccountPasswordPresent" not in seen else bool(seen["AccountPasswordPresent"]),
        "mfa": bool(seen["AccountMFAEnabled"]),
        "access_keys": int(seen["AccountAccessKeysPresent"]),
    }
    virtual = by_marker(
        account.home,
        "iam.list_virtual_mfa_devices",
        "VirtualMFADevices",
        what,
        {"AssignmentStatus": "Assigned"},
    )
    by_program = any(str(one.get("User", {}).get("Arn", "")).endswith(":root") for one in virtual)
    return {**known, "hardware_mfa": bool(seen["AccountMFAEnabled"]) and not by_program}


def password_rules(account: Account) -> JsonValue:
    """Say how long passwords are, and how many are remembered."""
    seen = read_password_rules(account)
    if seen is None:
        return {"minimum_length": _USUAL_LENGTH, "remembered": 0}
    remembered = int(seen.get("PasswordReusePrevention") or 0)
    return {"minimum_length": int(seen["MinimumPasswordLength"]), "remembered": remembered}


def read_password_rules(account: Account) -> Shown | None:
    """Give the account's own rules of passwords, as IAM tells them; None: it has none."""
    what = f"rules of passwords of account {account.id} could not be read"
    answer = account.home.find("iam.get_account_password_policy", what, NO_SUCH)
    return None if answer is None else answer["PasswordPolicy"]


def users(account: Account, now: datetime) -> JsonValue:
    """List users with what they log in by, and for how long they did not."""
    what = f"users of account {account.id} could not be listed"
    listed = list(by_marker(account.home, "iam.list_users", "Users", what))
    return account.each(listed, lambda one: _user(account.home, one, now))


def policies(account: Account) -> JsonValue:
    """List the account's own policies, in line or not, and whether they allow everything.

    Raises:
        AdapterError: they cannot be listed, or one of them cannot be read.
    """
    return [one for page in _details(account) for one in (*_managed(page), *_in_line(page))]


def login_of(region: Region, name: str) -> Shown | None:
    """Give a user's login to the console; None: there is none."""
    what = f"the login of user {name} could not be read"
    answer = region.find("iam.get_login_profile", what, NO_SUCH, UserName=name)
    return None if answer is None else answer["LoginProfile"]


def login_used(user: Shown, login: Shown | None) -> datetime:
    """Say when a user last logged in by the password that there is, else since when there is one."""
    since: datetime = user["CreateDate"] if login is None else login["CreateDate"]
    last: datetime | None = user.get("PasswordLastUsed")
    return since if last is None else max(since, last)


def key_used(region: Region, key: str) -> Shown:
    """Say whose an access key is, and when it was last used."""
    what = f"when access key {key} was last used could not be read"
    return region.read("iam.get_access_key_last_used", what, AccessKeyId=key)


def keys_of(region: Region, name: str) -> list[Shown]:
    """List the access keys of a user."""
    what = f"access keys of user {name} could not be listed"
    return list(by_marker(region, "iam.list_access_keys", "AccessKeyMetadata", what, {"UserName": name}))


def days(since: datetime, now: datetime) -> int:
    """Count whole days up to now."""
    return max(0, int((now - since.astimezone(UTC)).total_seconds() // _DAY_S))


def _user(region: Region, shown: Shown, now: datetime) -> JsonValue:
    name = str(shown["UserName"])
    what = f"second factors of user {name} could not be listed"
    login = login_of(region, name)
    devices = list(by_marker(region, "iam.list_mfa_devices", "MFADevices", what, {"UserName": name}))
    return {
        "name": name,
        "console": login is not None,
        "mfa": bool(devices),
        "unused_days": days(login_used(shown, login), now),
        "access_keys": [_key(region, one, now) for one in keys_of(region, name)],
    }


def _key(region: Region, shown: Shown, now: datetime) -> JsonValue:
    used = key_used(region, shown["AccessKeyId"])["AccessKeyLastUsed"].get("LastUsedDate")
    return {
        "name": str(shown["AccessKeyId"]),
        "active": shown["Status"] != "Inactive",
        "age_days": days(shown["CreateDate"], now),
        "unused_days": days(used or shown["CreateDate"], now),
    }


def _details(account: Account) -> Iterator[Shown]:
    what = f"policies of account {account.id} could not be listed"
    more: dict[str, object] = {}
    while True:
        answer = account.home.read("iam.get_account_authorization_details", what, Filter=list(_KINDS), **more)
        yield answer
        if not answer.get("Marker"):
            return
        more = {"Marker": answer["Marker"]}


def _managed(page: Shown) -> Iterator[JsonValue]:
    for one in page.get("Policies") or ():
        versions = one.get("PolicyVersionList") or ()
        documents = (version.get("Document") for version in versions if version.get("IsDefaultVersion"))
        yield {
            "name": str(one["Arn"]),
            "attached": bool(one.get("AttachmentCount")),
            "allows_everything": _allows_everything(str(one["Arn"]), next(documents, None)),
        }


def _in_line(page: Shown) -> Iterator[JsonValue]:
    for details, documents, owner in _HOLDERS:
        for one in page.get(details) or ():
            for policy in one.get(documents) or ():
                name = f"{one[owner]}/{policy['PolicyName']}"
                found = _allows_everything(name, policy["PolicyDocument"])
                yield {"name": name, "attached": True, "allows_everything": found}


def _allows_everything(name: str, document: JsonValue) -> bool:
    found = allows_everything(document)
    if found is None:
        raise AdapterError(f"policy {name} is of a form that is not known; nothing was changed")
    return found


_HOLDERS = (
    ("UserDetailList", "UserPolicyList", "UserName"),
    ("GroupDetailList", "GroupPolicyList", "GroupName"),
    ("RoleDetailList", "RolePolicyList", "RoleName"),
)
