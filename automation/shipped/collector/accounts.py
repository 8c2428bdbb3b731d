"""Accounts: who can log in, by what, and whose keys are trusted; of passwords only their kind and age."""

from __future__ import annotations

import base64
import glob
import hashlib
import os
import re
import stat
import struct
from collections.abc import Iterator

from .system import TYPE_CHECKING, lines, pairs, read, read_if_there

if TYPE_CHECKING:
    from typing import Any

NO_LOGIN = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false", "/bin/sync")
ALGORITHMS = {
    "1": "md5",
    "5": "sha256",
    "6": "sha512",
    "y": "yescrypt",
    "gy": "gost-yescrypt",
    "2b": "bcrypt",
}
KEY_TYPES = ("ssh-", "ecdsa-", "sk-")
UMASK = re.compile(r"\bumask\s+(?:-[Sp]\s+)?([^\s;&|)-][^\s;&|)]*)")
PLAIN_UMASK = re.compile(r"umask\s+(?:-[Sp]\s+)?[\w=,+]+;?")
# What a block of the shell begins and ends with, and after what nobody can tell any more what is run.
QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|`[^`]*`")
COMMENT = re.compile(rf"{QUOTED.pattern}|(?:^|(?<=[\s;]))#.*")
OPENS = re.compile(r"(?<![\w$./-])(?:if|case|for|while|until|select|\{)(?![\w=/.-])")
CLOSES = re.compile(r"(?:^|[;&|)]\s*)(?:fi|esac|done|\})(?![\w=/.-])")
ODD = re.compile(r"[\"'`]|<<|\b(?:return|exit|exec|alias|trap)\b")
COMMON_SESSION = "/etc/pam.d/common-session"


def collect_accounts() -> dict[str, Any]:
    """Give every account with what it can be entered by, and every group with its members."""
    shadow = {line.split(":")[0]: line.split(":") for line in lines(read("/etc/shadow"), comment="\0")}
    lowest = int(pairs(read("/etc/login.defs").replace("\t", " ")).get("UID_MIN", "1000"))
    users = [account(line.split(":"), shadow, lowest) for line in lines(read("/etc/passwd"), comment="\0")]
    groups = {}
    for line in lines(read("/etc/group"), comment="\0"):
        name, _, gid, members = [*line.split(":"), "", "", ""][:4]
        groups[name] = {"gid": int(gid), "members": sorted(one for one in members.split(",") if one)}
    return {
        "users": users,
        "groups": groups,
        "twice": {
            "name": twice(one["name"] for one in users),
            "uid": twice(one["uid"] for one in users),
            "gid": twice(one["gid"] for one in groups.values()),
        },
    }


def account(words: list[str], shadow: dict[str, list[str]], lowest: int) -> dict[str, Any]:
    """Give one account; the hash of its password is never among what is given."""
    name, field, uid, gid, _, home, shell = words[:7]
    kept = (shadow.get(name, []) + [""] * 9)[:9]
    if field == "x":  # any other is the password itself, and the shadow file is not asked
        field = kept[1] if name in shadow else "*"
    kind, algorithm = password(field)
    return {
        "name": name,
        "uid": int(uid),
        "gid": int(gid),
        "home": home,
        "shell": shell,
        "can_log_in": shell not in NO_LOGIN,
        "system": int(uid) < lowest or int(uid) == 65534,
        "entry": kind,
        "algorithm": algorithm,
        "changed_day": number(kept[2]),
        "max_days": number(kept[4]),
        "inactive_days": number(kept[6]),
        "expires_day": number(kept[7]),
        "last_login": last_login(int(uid)),
    }


def password(field: str) -> tuple[str, str]:
    """Tell whether there is a password, and by which algorithm it is kept."""
    if not field:
        return "empty", ""
    bare = field.lstrip("!")
    if bare in ("", "*"):
        return "none", ""
    algorithm = ALGORITHMS.get(bare.split("$")[1], "other") if bare.startswith("$") else "des"
    return ("locked" if field[0] == "!" else "set"), algorithm


def number(text: str) -> int | None:
    """Give a number; empty is none."""
    return int(text) if text.lstrip("-").isdigit() else None


def twice(values: Any) -> list[Any]:
    """Give what stands more than once."""
    every = list(values)
    return sorted({one for one in every if every.count(one) > 1})


def last_login(uid: int) -> int | None:
    """Give the moment of the last login, in seconds; none: never, or nobody writes it down."""
    size = struct.calcsize("=I32s256s")
    try:
        with open("/var/log/lastlog", "rb") as file:
            file.seek(uid * size)
            record = file.read(size)
    except (OSError, OverflowError):
        return None
    return struct.unpack("=I", record[:4])[0] or None if len(record) == size else None


def collect_login_defs() -> dict[str, str]:
    """Give the rules for new accounts and passwords."""
    return pairs(read("/etc/login.defs").replace("\t", " "))


def collect_keys() -> list[dict[str, Any]]:
    """Give every key that lets somebody in: whose it is, its kind and its fingerprint."""
    found = []
    for line in lines(read("/etc/passwd"), comment="\0"):
        name, _, _, _, _, home, _ = line.split(":")[:7]
        for path in (
            f"{home}/.ssh/authorized_keys",
            f"{home}/.ssh/authorized_keys2",
            f"/etc/ssh/authorized_keys/{name}",
        ):
            if home.startswith("/") and os.path.isfile(path):
                found += [{"user": name, "file": path, **key} for key in keys(read(path))]
    return found


def keys(text: str) -> Iterator[dict[str, Any]]:
    """Give the keys of one file; a line that is none is told as such."""
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        place = next((i for i, word in enumerate(words) if word.startswith(KEY_TYPES)), -1)
        if place < 0 or place + 1 >= len(words):
            yield {"type": "unreadable", "fingerprint": "", "restricted": False}
            continue
        try:
            digest = hashlib.sha256(base64.b64decode(words[place + 1], validate=True)).digest()
            print_ = "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
        except ValueError:
            print_ = ""
        yield {"type": words[place], "fingerprint": print_, "restricted": place > 0}


def collect_homes() -> list[dict[str, Any]]:
    """Give each person's home that is there: its mode, whose it is, and its files that let others in."""
    found = []
    for line in lines(read("/etc/passwd"), comment="\0"):
        name, _, uid, _, _, home, shell = line.split(":")[:7]
        if shell in NO_LOGIN or not os.path.isdir(home):
            continue
        about = os.stat(home)
        found.append(
            {
                "user": name,
                "path": home,
                "mode": f"{about.st_mode & 0o7777:04o}",
                "others_may_read": bool(about.st_mode & 0o007),
                "group_may_write": bool(about.st_mode & 0o020),
                "owned": about.st_uid == int(uid),
                "loose": sorted(loose(home)),
                "forbidden": sorted(
                    one for one in (".netrc", ".rhosts", ".forward") if os.path.exists(f"{home}/{one}")
                ),
            }
        )
    return found


def loose(home: str) -> Iterator[str]:
    """Name the dot files that others than their owner may write."""
    for path in glob.glob(f"{home}/.[A-Za-z0-9]*"):
        about = os.lstat(path)
        if not stat.S_ISLNK(about.st_mode) and about.st_mode & 0o022:
            yield os.path.basename(path)


def collect_shells() -> dict[str, Any]:
    """Give what sets the umask of sessions, and the time after which idle shells end.

    A umask of login.defs alone counts only where PAM is told to ask for it; one of a file is sure where every
    login shell comes by its line, which none that is not interactive does in bash.bashrc.
    """
    timeouts: list[dict[str, str]] = []
    umasks, sessions = umasks_of_pam()
    for path in ("/etc/bash.bashrc", "/etc/profile", *sorted(glob.glob("/etc/profile.d/*.sh"))):
        for line, always in steps(read_if_there(path) or ""):
            for word in line.replace(";", " ").split():
                if word.startswith("TMOUT="):
                    timeouts.append({"file": path, "value": word[6:].strip("\"'")})
            values = UMASK.findall(line)
            sure = always and path != "/etc/bash.bashrc" and bool(PLAIN_UMASK.fullmatch(line))
            umasks += [{"file": path, "value": value} for value in values]
            sessions += [{"by": path, "value": value, "sure": sure} for value in values]
    return {"umasks": umasks, "sessions": sessions, "timeouts": timeouts}


def steps(text: str) -> Iterator[tuple[str, bool]]:
    """Give the lines of a file of the shell, and whether they are run whatever is so: within no block."""
    blocks = brackets = 0
    sure = True
    for written in text.splitlines():
        line = COMMENT.sub(lambda found: "" if found[0][0] == "#" else found[0], written).strip()
        yield line, sure and not blocks and not brackets
        bare = QUOTED.sub("_", line)
        if ODD.search(bare) or bare.endswith(("\\", "&", "|")):
            sure = False
        blocks += len(OPENS.findall(bare)) - len(CLOSES.findall(bare))
        brackets += bare.count("(") - bare.count(")")


def umasks_of_pam() -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    """Give the umasks that stand in PAM's file, and those that it sets: an argument wins over login.defs."""
    written, sessions = [], []
    for line in lines(read_if_there(COMMON_SESSION) or ""):
        words = line.split()
        if any(word.endswith("pam_umask.so") for word in words):
            own = next((word[6:] for word in words if word.startswith("umask=")), "")
            written += [{"file": COMMON_SESSION, "value": own}] if own else []
            value = own or collect_login_defs().get("UMASK", "")
            sessions.append({"by": "pam_umask", "value": value, "sure": True})
    return written, sessions


SECTIONS = {
    "accounts": collect_accounts,
    "login_defs": collect_login_defs,
    "authorized_keys": collect_keys,
    "homes": collect_homes,
    "shells": collect_shells,
}
