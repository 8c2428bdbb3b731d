"""What went wrong, recognised by restic's exit code or by its words. Pure."""

import json
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

Kind = Literal[
    "locked",
    "wrong-password",
    "no-repository",
    "out-of-disk",
    "network",
    "refused",
    "damaged",
    "interrupted",
    "other",
]

_LOCK = re.compile(
    r"repository is already locked(?P<exclusive> exclusively)? by PID (?P<pid>\d+) on (?P<host>\S+) "
    r"by (?P<user>\S+).*?(?:lock was created at (?P<since>[0-9: -]+[0-9]) \((?P<age>[^)]*) ago\)|$)",
    re.DOTALL,
)
_WORDS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("locked", re.compile(r"already locked|unable to create lock in backend: repository is")),
    (
        "out-of-disk",
        re.compile(r"no space left on device|disk quota exceeded|sftp: .?failure", re.IGNORECASE),
    ),
    ("wrong-password", re.compile(r"wrong password or no key found|an empty password is not")),
    (
        "network",
        re.compile(
            r"connection (?:refused|reset|timed out|closed)|i/o timeout|no route to host"
            r"|network is unreachable|dial tcp|could not resolve|no such host|ssh command exited"
            r"|unable to start the sftp session"
            r"|broken pipe|connection lost|TLS handshake|Host key verification failed|Permission denied \("
            r"|context deadline exceeded|request canceled|service unavailable|reduce your request rate"
            r"|internal error, please try again|unexpected HTTP response|x509: ",
            re.IGNORECASE,
        ),
    ),
    (
        "refused",
        re.compile(
            r"Access ?Denied|Access Key Id you provided|request signature we calculated|token has expired"
            r"|request time and the (?:current|server's) time|specified bucket does not exist"
        ),
    ),
    (
        "no-repository",
        re.compile(r"Is there a repository at the following location|repository does not exist"),
    ),
    (
        "damaged",
        re.compile(
            r"ciphertext verification failed|[Pp]ack ID does not match|hash does not match|does not match id"
            r"|invalid data returned|repository contains errors|not found in (?:repository|index)"
            r"|[Ii]ndex is (?:corrupted|damaged)|packs? .*contains? .*errors?|(?:blob|tree) .* not found"
            r"|incorrect header length|is corrupt|pack \S+: (?:not found|does not exist)|is damaged"
            r"|data/[0-9a-f]{2}/[0-9a-f]{64}: no such file"
        ),
    ),
    ("interrupted", re.compile(r"^it was interrupted ", re.MULTILINE)),
)
_CODES: dict[int, Kind] = {10: "no-repository", 11: "locked", 12: "wrong-password"}
_CODES |= dict.fromkeys((124, 130, 137, 143, -9), "interrupted")
_RETRY = re.compile(r"^.*returned error, retrying after.*$", re.MULTILINE)
_NAMED = re.compile(
    r"\b(pack|tree|blob|index)s?(?: ID does not match, want)?[ /<(]+([0-9a-f]{8,64})", re.IGNORECASE
)
_NOISE = re.compile(
    r"^(?:Load\(.*\) (?:returned error|failed)|using temporary cache|unable to (?:open|locate|create).* cache"
    r"|create exclusive lock|load indexes|check all packs|check snapshots|read (?:all|group)|\[\d|storage ID"
    r"|the `unlock` command|lock was created|repo already locked, waiting|restoring|Summary:|restic repair"
    r"|The repository |Damaged pack files|Is there a repository at|Please follow|$)"
)
SHOWN = 3


class Fault(NamedTuple):
    """One failure in a person's words; `transient`: to try again later is sane."""

    kind: Kind
    text: str
    hint: str = ""

    @property
    def transient(self) -> bool:
        return self.kind in ("locked", "network")


def recognise(exit_code: int, stderr: str, *, host: str, environment: str) -> Fault:
    """Name what went wrong.

    Exit codes of their own exist since 0.17 alone; before that the words tell.
    """
    whole = "\n".join(_words(stderr))
    said = tuple(line for line in whole.splitlines() if not _NOISE.search(line))
    # What was tried again went well or is told once more at the end: a line lost on the way hides no damage.
    kind = _CODES.get(exit_code) or _kind_of(_RETRY.sub("", whole)) or _kind_of(whole) or "other"
    if exit_code in (-9, 137):
        said = said or ("it was killed",)
    last = " | ".join(said[-SHOWN:]) or f"restic ended with exit code {exit_code} and no word"
    return Fault(kind, _text(kind, whole, last), _hint(kind, host, environment))


def _kind_of(said: str) -> Kind | None:
    return next((kind for kind, words in _WORDS if words.search(said)), None)


def what_was_said(stderr: str) -> str:
    """Give the first lines worth telling."""
    said = [line for line in _words(stderr) if not _NOISE.search(line)]
    more = f" and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
    return " | ".join(said[:SHOWN]) + more


def named_parts(text: str) -> tuple[str, ...]:
    """Give packs, trees and others that a message names, each once: pack 2f4ac9d1."""
    found = (f"{kind.lower()} {name[:10]}" for kind, name in _NAMED.findall(text))
    return tuple(dict.fromkeys(found))


def _words(stderr: str) -> Iterator[str]:
    """Give what was said, line by line; since 0.17 some lines are JSON."""
    for line in stderr.splitlines():
        text = _from_json(line.strip()) if line.lstrip().startswith("{") else line.strip()
        yield from (part.strip().removeprefix("Fatal: ").strip() for part in text.splitlines())


def _from_json(line: str) -> str:
    try:
        told = json.loads(line)
    except ValueError:
        return line
    if not isinstance(told, dict):
        return line
    error = told.get("error")
    message = (error.get("message") or "") if isinstance(error, dict) else error or ""
    item = told.get("item")
    return f"{item}: {message or 'cannot be read'}" if item else str(message or told.get("message", ""))


def _text(kind: Kind, whole: str, last: str) -> str:
    if kind == "locked":
        return _locked(whole)
    if kind == "damaged":
        parts = ", ".join(named_parts(whole)[:8])
        return f"damaged{': ' + parts if parts else ''} ({last})"
    words = {
        "wrong-password": "wrong password of the repository",
        "no-repository": "there is no repository at that place",
        "out-of-disk": "out of disk",
        "network": "the repository's host cannot be reached",
        "refused": "the repository's host refuses it",
        "interrupted": "restic was interrupted",
    }
    return f"{words[kind]} ({last})" if kind in words else last


def _locked(whole: str) -> str:
    match = _LOCK.search(whole)
    if match is None:
        return "the repository is locked by somebody else"
    since = f" since {match['since']} ({match['age']})" if match["since"] else ""
    how = "alone " if match["exclusive"] else ""
    return f"the repository is locked {how}by PID {match['pid']} on {match['host']} ({match['user']}){since}"


def _hint(kind: Kind, host: str, environment: str) -> str:
    env = f"--env {environment}"
    return {
        "locked": "wait for its end; if its holder is dead, the next job 30 minutes later removes it",
        "wrong-password": f"compare /etc/mainstay/stores/*.env on {host} with what made the repository",
        "no-repository": f"look at the place from {host}; a disk that is not mounted looks like this",
        "out-of-disk": f"make room, then run it again; ./inv backup.status {env} shows what takes it",
        "network": f"look at the way from {host} to the repository, then run it again",
        "refused": f"look at the store's login in /etc/mainstay/stores on {host}, its rights and the clock",
        "damaged": f"./inv backup.verify {env}; nothing is deleted from this repository meanwhile",
        "interrupted": "run it again: what was saved so far is used",
        "other": f"look at restic on {host}",
    }[kind]
