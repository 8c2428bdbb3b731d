"""What each kind of setting means on this host: what is so, and what has to change."""

from __future__ import annotations

import grp
import pwd
import stat
import tempfile
from collections.abc import Callable, Mapping, Sequence

from ansible.module_utils.baseline.drafts import Key, Refused, get_key, set_key
from ansible.module_utils.baseline.kernel import plan_sysctl
from ansible.module_utils.baseline.revert import SSH_UNITS, Host, unit_state
from ansible.module_utils.baseline.sshd import DROP_IN
from ansible.module_utils.baseline.sshd_settings import plan_sshd, settle_sshd
from ansible.module_utils.baseline.wanted import Item, Setting, Wanted, as_text, decoded

# What a setting need not say; as in automation/model/host_settings.py.
_UNSAID: Mapping[str, Setting] = {
    "key-value": {"separator": " ", "section": "", "reload": ""},
    "file-mode": {"owner": "root", "group": "root"},
    "file-content": {"mode": "0644", "validate_with": ()},
}
_GONE = ("not-found", "")


def plan(host: Host, settings: Sequence[Setting]) -> Wanted:
    """Work out what differs; changes nothing."""
    pairs = [(Item(one["control"], one["risk"], _name(one["setting"])), one["setting"]) for one in settings]
    wanted = Wanted(host, [item for item, _ in pairs])
    wanted.drop_in = wanted.drafts.read(DROP_IN)
    # Packages first: what is set for a program that is not there would only be in its package's way.
    for item, setting in sorted(pairs, key=lambda pair: pair[1].get("kind") != "package"):
        _plan_one(wanted, item, setting)
    settle_sshd(wanted)
    return wanted


def _plan_one(wanted: Wanted, item: Item, setting: Setting) -> None:
    try:
        if item.risk == "R4":
            raise Refused("it cannot be taken back, so no program does it")
        if item.control in wanted.refused:
            raise Refused("its control needs a package to be there, or not to be, first")
        if wanted.asked.setdefault(item.what, setting) != setting:
            raise Refused("another setting of this list wants it otherwise")
        kind = str(setting.get("kind"))
        if kind not in _KINDS:
            raise Refused(f"kind is one of {', '.join(_KINDS)}, not {kind}")
        _KINDS[kind](wanted, item, {**_UNSAID.get(kind, {}), **setting})
        item.changed = item.before != item.after
    except Refused as error:
        item.problem = " ".join(str(error).split())
    except KeyError as error:
        item.problem = f"it does not say {error.args[0]}"
    except (OSError, ValueError) as error:
        item.problem = f"it cannot be told what is so: {error}"


def _name(setting: Setting) -> str:
    kind = setting.get("kind")
    if kind == "sshd":
        return f"sshd {setting.get('keyword')}"
    if kind == "key-value":
        return f"{setting.get('path')} {setting.get('name')}"
    if kind in ("file-mode", "file-content"):
        return f"{'mode of' if kind == 'file-mode' else 'file'} {setting.get('path')}"
    return f"{kind} {setting.get('unit') or setting.get('name')}"


# --- files ----------------------------------------------------------------------------------------


def _key_value(wanted: Wanted, item: Item, setting: Setting) -> None:
    path, key = str(setting["path"]), Key(setting["name"], setting["separator"], setting["section"])
    value = as_text(setting["value"])
    text = decoded(wanted.drafts.read(path))
    now = get_key(text, key)
    item.before, item.after = "absent" if now is None else now or "present", value or "present"
    after = set_key(text, key, value)
    if after == text:
        item.before = item.after
        return
    if now == value:
        item.before = "several values"
    wanted.drafts.write(path, after.encode(errors="surrogateescape"))
    wanted.reload(str(setting["reload"]))


def _file_mode(wanted: Wanted, item: Item, setting: Setting) -> None:
    path = str(setting["path"])
    place = wanted.host.at(path)
    try:
        seen = place.lstat()
    except FileNotFoundError:
        item.before = item.after = "absent"
        return
    uid, gid = _user(setting["owner"]), _group(setting["group"])
    now = stat.S_IMODE(seen.st_mode)
    mode = now & (
        int(str(setting["mode"]), 8) | 0o7000
    )  # never laxer; set-id and sticky bits are not its matter
    wanted.drafts.set_rights(path, mode, uid, gid)
    item.before = _rights_shown(now, seen.st_uid, seen.st_gid)
    item.after = _rights_shown(mode, uid, gid)


def _rights_shown(mode: int, uid: int, gid: int) -> str:
    return f"{_named(pwd.getpwuid, uid)}:{_named(grp.getgrgid, gid)} {mode:04o}"


def _named(look: Callable[[int], tuple[str, ...]], number: int) -> str:
    try:
        return look(number)[0]
    except KeyError:
        return str(number)


def _user(name: object) -> int:
    try:
        return pwd.getpwnam(str(name)).pw_uid
    except KeyError:
        raise Refused(f"there is no user {name}") from None


def _group(name: object) -> int:
    try:
        return grp.getgrnam(str(name)).gr_gid
    except KeyError:
        raise Refused(f"there is no group {name}") from None


def _file_content(wanted: Wanted, item: Item, setting: Setting) -> None:
    path, mode = str(setting["path"]), int(str(setting["mode"]), 8)
    content = _content(setting["content"])
    before = wanted.drafts.read(path)
    if before != content:
        _validate(wanted.host, tuple(setting["validate_with"]), content)
    wanted.drafts.write(path, content, mode)
    draft = wanted.drafts.files[path]
    if not draft.changes:
        item.before = item.after = "as wanted"
        return
    item.after = f"{len(content.splitlines())} lines, {_rights_shown(mode, *wanted.host.owner)}"
    item.before = (
        "absent" if draft.was is None else "another content" if before != content else "other rights"
    )


def _content(value: object) -> bytes:
    if isinstance(value, (list, tuple)):
        value = "".join(f"{line}\n" for line in value)
    return str(value).encode()


def _validate(host: Host, program: tuple[str, ...], content: bytes) -> None:
    if not program:
        return
    with tempfile.NamedTemporaryFile(prefix="baseline-") as file:
        file.write(content)
        file.flush()
        code, out, err = host.run(*program, file.name)
    if code:
        said = (err.strip() or out.strip() or f"exit code {code}").replace(file.name, "it")
        raise Refused(f"{program[0]} refuses it: {said}")


# --- units and packages ---------------------------------------------------------------------------


def _unit(wanted: Wanted, item: Item, setting: Setting) -> None:
    unit, state = str(setting["unit"]), str(setting["state"])
    unit = unit if "." in unit else f"{unit}.service"
    if state != "enabled" and unit in (*SSH_UNITS, "ssh.socket", "sshd.socket"):
        raise Refused(f"{unit} is the way in, so it is never turned off")
    now = unit_state(wanted.host, unit)
    item.before = f"{now['enabled']}, {now['active']}"
    if now["enabled"] in _GONE:
        if state == "enabled":
            raise Refused(f"this host has no {unit}")
        item.before = item.after = "absent"
        return
    runs = "active" if state == "enabled" else "inactive"
    steady = ("static", "indirect", "generated", "alias", "transient")
    enabled = now["enabled"] if state != "masked" and now["enabled"] in steady else state
    ends = now["active"] if state != "enabled" and now["active"] in ("inactive", "failed") else runs
    then = {"enabled": enabled, "active": ends}
    item.after = f"{enabled}, {ends}"
    if now != then:
        wanted.units[unit] = (now, then)


def _package(wanted: Wanted, item: Item, setting: Setting) -> None:
    """Only see whether it is as wanted: what its own scripts do, no bundle holds and no timer undoes."""
    name, state = str(setting["name"]), str(setting["state"])
    code, out, _ = wanted.host.run("dpkg-query", "-W", "-f", "${db:Status-Status}", name)
    there = code == 0 and out.strip() == "installed"
    item.before, item.after = "present" if there else "absent", state
    if item.before != item.after:
        wanted.refused.add(item.control)
        does = "install --no-install-recommends" if state == "present" else "remove"
        raise Refused(
            f"packages are left to you, as no undo takes them back: apt-get {does} {name}, then plan again"
        )


_KINDS: Mapping[str, Callable[[Wanted, Item, Setting], None]] = {
    "sshd": plan_sshd,
    "sysctl": plan_sysctl,
    "key-value": _key_value,
    "file-mode": _file_mode,
    "file-content": _file_content,
    "unit": _unit,
    "package": _package,
}
