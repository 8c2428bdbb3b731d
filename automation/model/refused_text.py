"""What the text of a declaration must not hold: signs nobody sees, and secrets in clear. Pure."""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

LONGEST_LINE = 10_000
MOST_FINDINGS = 20
USE_A_REFERENCE = "write {file: path} or {env: NAME}, and renew the secret: it has been in a file"

_PLAIN_BYTES = bytes([0x09, 0x0A, 0x0D, *range(0x20, 0x7F)])
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
    "\u2028\u2029"  # line ends of YAML alone: an editor would count other lines
    "\u200b-\u200f\u202a-\u202e\u2060-\u2069"  # invisible, or they turn the order of what is read
    "\ufeff\ufffe\uffff]"
)
# A sign that a text has when it holds such a secret, the secret, and what it is.
_SECRETS = (
    ("PRIVATE KEY", re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY"), "a private key"),
    ("AGE-SECRET-KEY-", re.compile(r"AGE-SECRET-KEY-1\w"), "a private key"),
    ("AKIA", re.compile(r"\bAKIA[0-9A-Z]{16}\b"), "an AWS access key"),
    ("ASIA", re.compile(r"\bASIA[0-9A-Z]{16}\b"), "an AWS access key"),
    ("gh", re.compile(r"\bgh[pousr]_[A-Za-z0-9]{30}"), "a GitHub token"),
    ("xox", re.compile(r"\bxox[abpr]-\w{8}"), "a Slack token"),
    ("://", re.compile(r"://[^/\s:@]{1,200}:[^/\s@]{1,200}@"), "a URL with a password"),
)
_SECRET_KEY = re.compile(
    r"(.*[_-])?(password|passwd|passphrase|secret|token|key|credentials?)", re.IGNORECASE
)


class TextFault(NamedTuple):
    """Where in a text something stands that must not, by line from 1, and what to do."""

    line: int
    message: str


def unreadable_signs(text: str) -> tuple[TextFault, ...]:
    """Find signs that no editor shows; a text that has some is not read further."""
    if text.startswith("\ufeff"):
        return (TextFault(1, "begins with a byte order mark; save it as UTF-8 without BOM"),)
    if text.isascii() and not text.encode().translate(None, _PLAIN_BYTES):
        return ()
    return tuple(_faults(text, _control_signs(text)))


def refused_words(text: str) -> tuple[TextFault, ...]:
    """Find lines too long to review, and secrets in clear, in comments too; no secret is repeated."""
    return (*islice(_long_lines(text), MOST_FINDINGS), *_faults(text, _secrets(text)))


def control_sign(value: str) -> str | None:
    """Name the first sign in a value that no editor shows; an escape in quotes can make one."""
    found = None if value.isprintable() else _CONTROL.search(value)
    return _name(found[0]) if found else None


@lru_cache(maxsize=4096)
def holds_a_secret(key: str) -> bool:
    """Say whether what stands under a key must be a reference: password, api_token, signing-key."""
    return _SECRET_KEY.fullmatch(key) is not None


def _faults(text: str, found: Iterator[tuple[int, str]]) -> Iterator[TextFault]:
    for position, message in islice(found, MOST_FINDINGS):
        yield TextFault(text.count("\n", 0, position) + 1, message)


def _control_signs(text: str) -> Iterator[tuple[int, str]]:
    for found in _CONTROL.finditer(text):
        yield found.start(), f"{_name(found[0])}, which no editor shows; delete it"


def _name(sign: str) -> str:
    return f"control character U+{ord(sign):04X}"


def _long_lines(text: str) -> Iterator[TextFault]:
    if len(text) <= LONGEST_LINE:
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > LONGEST_LINE:
            yield TextFault(number, f"line of more than {LONGEST_LINE} characters; break it")


def _secrets(text: str) -> Iterator[tuple[int, str]]:
    for sign, secret, what in _SECRETS:
        if sign in text:
            for found in secret.finditer(text):
                yield found.start(), f"{what} in clear; {USE_A_REFERENCE}"
