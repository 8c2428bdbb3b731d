"""What sshd would do with its files as they shall be, found out before they are."""

from __future__ import annotations

import contextlib
import fnmatch
import ipaddress
import re
import shlex
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.baseline.drafts import Drafts, Refused, find
from ansible.module_utils.baseline.revert import Host

FOLDER = "/etc/ssh"
MAIN = f"{FOLDER}/sshd_config"
DROP_IN = f"{FOLDER}/sshd_config.d/00-baseline.conf"
PROGRAM = "/usr/sbin/sshd"
SEPARATED = "/run/sshd"  # without this folder sshd says nothing
DEEPEST = 16  # as sshd's own SERVCONF_MAX_DEPTH
_INCLUDE = re.compile(r"^\s*include(?:\s*=\s*|\s+)(?P<patterns>.*)$", re.IGNORECASE)
NOBODY = "user=nobody,host=invalid,addr=192.0.2.1,laddr=192.0.2.2,lport=1,rdomain=none"
_BY_COMMAS = ("ciphers", "macs", "kexalgorithms")  # and whatever ends with "algorithms"

Effective = Mapping[str, tuple[str, ...]]


def spelled(keyword: str, value: object) -> str:
    """Give a value as sshd_config has it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        commas = keyword.lower() in _BY_COMMAS or keyword.lower().endswith("algorithms")
        return ("," if commas else " ").join(str(one) for one in value)
    return str(value)


# --- a tree beside the real one -------------------------------------------------------------------


@dataclass
class Tree:
    """A copy of the configuration as it shall be, its Include lines turned to the copies."""

    host: Host
    drafts: Drafts
    folder: Path

    def copy(self, path: str, depth: int = 0) -> Path:
        """Copy a file and all it includes; give where."""
        if depth > DEEPEST:
            raise Refused(f"{path} is included more than {DEEPEST} files deep")
        content = self.drafts.read(path)
        if content is None:
            raise Refused(f"there is no {path} on this host")
        place = self.folder / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        lines = content.decode(errors="surrogateescape").split("\n")
        turned = "\n".join(self._turned(line, depth) for line in lines)
        place.write_bytes(turned.encode(errors="surrogateescape"))
        return place

    def _turned(self, line: str, depth: int) -> str:
        match = _INCLUDE.match(line)
        if match is None:
            return line
        copies = [
            str(self.copy(path, depth + 1))
            for pattern in _words(match["patterns"])
            for path in included(self.drafts, pattern)
        ]
        return f"Include {' '.join(map(shlex.quote, copies))}" if copies else ""


def included(drafts: Drafts, pattern: str) -> list[str]:
    """Name the files that a pattern of an Include line stands for, in sshd's order."""
    whole = pattern if pattern.startswith("/") else f"{FOLDER}/{pattern}"
    found = set(find(drafts.host, whole))
    new = {
        path for path, draft in drafts.files.items() if draft.content is not None and _matches(path, whole)
    }
    return sorted(found | new)


def _matches(path: str, pattern: str) -> bool:
    """Tell as glob(7): an asterisk stands for no slash, nor for a dot that comes first."""
    parts, wanted = path.split("/"), pattern.split("/")
    if parts[-1].startswith(".") and not wanted[-1].startswith("."):
        return False
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError as error:
        raise Refused(f"Include {text}: {error}") from error


def read_first(drafts: Drafts) -> bool:
    """Tell whether our file is what sshd reads before any other word of its configuration."""
    content = drafts.read(MAIN)
    if content is None:
        raise Refused(f"there is no {MAIN} on this host")
    for line in content.decode(errors="surrogateescape").split("\n"):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _INCLUDE.match(line)
        names = (
            [name for pattern in _words(match["patterns"]) for name in included(drafts, pattern)]
            if match
            else []
        )
        if names or not match:
            return names[:1] == [DROP_IN]
    return False


def reads_otherwise(drafts: Drafts) -> bool:
    """Tell whether drafts change what sshd reads, where there is one."""
    touched = [draft.path for draft in drafts.changed() if draft.changes_content]
    if not touched or drafts.read(MAIN) is None:
        return False
    read = set(files(drafts))
    return any(path.startswith(f"{FOLDER}/") or path in read for path in touched)


def files(drafts: Drafts) -> Iterator[str]:
    """Name the files of sshd's configuration as it shall be, wherever they lie; each once."""
    seen: set[str] = set()
    ahead = [MAIN]
    while ahead:
        path = ahead.pop()
        content = None if path in seen else drafts.read(path)
        if content is None:
            continue
        seen.add(path)
        yield path
        for line in content.decode(errors="surrogateescape").split("\n"):
            if match := _INCLUDE.match(line):
                with contextlib.suppress(Refused):  # it does not parse: sshd says so when it is asked
                    ahead += [one for words in _words(match["patterns"]) for one in included(drafts, words)]


# --- asking sshd ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Login:
    """From where the automation user comes."""

    user: str
    address: str

    def words(self, port: str) -> str:
        """Give this login as `sshd -T -C` takes it."""
        arrives = f",laddr={self.arrives_at()},lport={port}" if self.arrives_at() else ""
        return f"user={self.user},host={self.address},addr={self.address}{arrives}"

    def arrives_at(self) -> str:
        """Give the address of this host that the login comes to: the one that answers go out by."""
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asked:
            asked.connect((self.address, 9))  # of UDP: nothing is sent
            return str(asked.getsockname()[0])
        return ""


def ask(host: Host, folder: Path) -> Effective:
    """Give what sshd makes of the configuration in a folder, whoever comes: keyword to its values.

    Raises:
        Refused: it takes it for faulty.
    """
    try:
        return _ask(host, folder)
    except Refused as error:
        if "connection test specification" not in str(error):
            raise
    # Some Match rules have sshd say nothing unless somebody comes: a login that is nobody's.
    return _ask(host, folder, "-C", NOBODY)


def ask_for(host: Host, folder: Path, login: Login) -> Effective:
    """Give what sshd makes of the configuration in a folder for one login.

    Raises:
        Refused: it takes it for faulty.
    """
    port = (ask(host, folder).get("port") or ("22",))[0]
    return _ask(host, folder, "-C", login.words(port))


def _ask(host: Host, folder: Path, *words: str) -> Effective:
    Path(SEPARATED).mkdir(mode=0o755, parents=True, exist_ok=True)
    code, out, err = host.run(PROGRAM, "-T", "-f", f"{folder}{MAIN}", *words)
    if code:
        said = (err.strip().splitlines() or [f"exit code {code}"])[0]
        raise Refused(f"sshd says: {said.replace(str(folder), '')}")
    effective: dict[str, tuple[str, ...]] = {}
    for line in out.splitlines():
        keyword, _, value = line.partition(" ")
        effective[keyword.lower()] = (*effective.get(keyword.lower(), ()), value)
    return effective


@contextlib.contextmanager
def tree(host: Host, drafts: Drafts) -> Iterator[Path]:
    """Give a folder with a copy of the configuration as drafts want it."""
    folder = Path(tempfile.mkdtemp(prefix="baseline-sshd-"))
    try:
        Tree(host, drafts, folder).copy(MAIN)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def alone(host: Host, line: str, keys: Sequence[str]) -> Effective:
    """Give what sshd makes of one line by itself: how it spells the value."""
    folder = Path(tempfile.mkdtemp(prefix="baseline-sshd-"))
    try:
        file = folder / MAIN.lstrip("/")
        file.parent.mkdir(parents=True)
        file.write_text("\n".join((line, *(f"HostKey {key}" for key in keys), "")))
        return ask(host, folder)
    except Refused as error:
        raise Refused(str(error).replace(f"{MAIN} line 1: ", "").replace(f"{MAIN}: line 1: ", "")) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- would it still let us in ---------------------------------------------------------------------


def lets_in(effective: Effective, login: Login, groups: Sequence[str]) -> str:
    """Say why sshd would not let the automation user in with its key; empty: it would.

    The order and meaning are those of sshd's allowed_user(). What cannot be seen here (PAM, the kind of the
    key, a firewall) is what the dead-man switch is for.
    """
    who = f"{login.user} from {login.address}"
    for name, wanted in (("denyusers", False), ("allowusers", True)):
        patterns = effective.get(name, ())
        if patterns and any(user_matches(login, pattern) for pattern in patterns) != wanted:
            return f"{name} {' '.join(patterns)} keeps {who} out"
    for name, wanted in (("denygroups", False), ("allowgroups", True)):
        patterns = effective.get(name, ())
        if patterns and any(matches(group, one) for group in groups for one in patterns) != wanted:
            return (
                f"{name} {' '.join(patterns)} keeps {who} out, whose groups are {' '.join(groups) or 'none'}"
            )
    return _key_is_enough(effective, login)


def _key_is_enough(effective: Effective, login: Login) -> str:
    def said(keyword: str, default: str) -> str:
        return (effective.get(keyword) or (default,))[-1].strip()

    if said("pubkeyauthentication", "yes") != "yes":
        return "pubkeyauthentication no takes no key"
    methods = said("authenticationmethods", "any").split()
    if not {"any", "publickey"} & set(methods):
        return f"authenticationmethods {' '.join(methods)} wants more than a key"
    if login.user == "root" and said("permitrootlogin", "yes") in ("no", "forced-commands-only"):
        return f"permitrootlogin {said('permitrootlogin', '')} keeps root out"
    keys = (
        said("authorizedkeysfile", ""),
        said("authorizedkeyscommand", "none"),
        said("trustedusercakeys", "none"),
    )
    if keys == ("none", "none", "none"):
        return "authorizedkeysfile none leaves no place for a key"
    for keyword in ("forcecommand", "chrootdirectory"):
        if said(keyword, "none") != "none":
            return f"{keyword} {said(keyword, '')} leaves no shell for sudo"
    return ""


def user_matches(login: Login, pattern: str) -> bool:
    """Tell whether USER or USER@HOST of sshd stands for a login."""
    user, at, place = pattern.partition("@")
    return matches(login.user, user) and (not at or place_matches(login.address, place))


def place_matches(address: str, patterns: str) -> bool:
    """Tell as sshd for a list of addresses, networks and names; of a login we know the address alone."""
    found = False
    for pattern in patterns.split(","):
        negative, one = pattern.startswith("!"), pattern.lstrip("!")
        if _in_network(address, one) or matches(address.lower(), one.lower()):
            if negative:
                return False
            found = True
    return found


def _in_network(address: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=True)
    except ValueError:
        return False


def matches(text: str, pattern: str) -> bool:
    """Tell as sshd's match_pattern(): asterisk and question mark, and nothing else, mean something."""
    words = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(words, text, re.DOTALL) is not None
