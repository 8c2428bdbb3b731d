"""A configuration apart from its secrets, and put together again byte for byte. Pure.

Every secret is replaced by `<secret-N>`. N stays with a value from one fetch to the next, so the
configuration shows which secret was changed, and never what it is. The hash of the whole stands with the
secrets: two files that do not belong together are found out.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

_PLACEHOLDER = re.compile(r"<secret-\d{1,9}>")


@dataclass(frozen=True)
class Secrets:
    """The file of the secrets of one configuration: placeholder to what stood there."""

    sha256: str  # of the configuration, put together
    values: Mapping[str, str] = field(repr=False)


class Apart(NamedTuple):
    """A configuration without its secrets, and these."""

    text: str
    secrets: Secrets


class DoNotFit(Exception):
    """A configuration and a file of secrets do not belong together."""


def split(text: str, patterns: Sequence[str], known: Mapping[str, str]) -> Apart:
    """Take the secrets out of a configuration.

    Args:
        text: what is no UTF-8 in it stands as surrogates.
        patterns: groups whose names begin with `secret`; none: only what looks like our placeholder is taken.
        known: placeholders and values of the fetch before.
    """
    names = _Names(known)
    values: dict[str, str] = {}
    parts: list[str] = []
    place = 0
    for begin, end in _merged(_spans(text, patterns)):
        name = names.name(text[begin:end])
        values[name] = text[begin:end]
        parts += [text[place:begin], name]
        place = end
    whole = sha256(as_bytes(text)).hexdigest()
    return Apart("".join([*parts, text[place:]]), Secrets(sha256=whole, values=values))


def put_together(text: str, secrets: Secrets) -> str:
    """Put the secrets back.

    Raises:
        DoNotFit: one is missing, or the result is not what was taken apart.
    """
    missing = sorted(set(_PLACEHOLDER.findall(text)) - secrets.values.keys())
    if missing:
        raise DoNotFit(f"{len(missing)} of its secrets are missing: {', '.join(missing[:3])}")
    whole = _PLACEHOLDER.sub(lambda found: secrets.values[found[0]], text)
    if sha256(as_bytes(whole)).hexdigest() != secrets.sha256:
        raise DoNotFit("put together, it is not what was fetched")
    return whole


def as_bytes(text: str) -> bytes:
    """Give the bytes that a device sent; those that are no UTF-8 stand as surrogates in a text."""
    return text.encode(errors="surrogateescape")


def written(secrets: Secrets) -> bytes:
    """Give the secrets as their file holds them."""
    return (json.dumps({"sha256": secrets.sha256, "values": secrets.values}, indent=1) + "\n").encode()


def read_secrets(content: bytes) -> Secrets:
    """Read a file of secrets.

    Raises:
        DoNotFit: it is none; its content is not told.
    """
    try:
        tree = json.loads(content)
        secrets = Secrets(str(tree["sha256"]), dict(tree["values"]))
    except (ValueError, TypeError, KeyError):
        raise DoNotFit("its file of secrets cannot be read") from None
    for name, value in secrets.values.items():
        if not _PLACEHOLDER.fullmatch(name) or not isinstance(value, str):
            raise DoNotFit("its file of secrets is of another form")
    return secrets


class _Names:
    """Gives a value the placeholder that it had, else one that nobody had; none is given twice."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self._had: dict[str, list[str]] = {}
        for name in sorted(known, key=_number, reverse=True):
            self._had.setdefault(known[name], []).append(name)
        self._last = max(map(_number, known), default=0)

    def name(self, value: str) -> str:
        if self._had.get(value):
            return self._had[value].pop()
        self._last += 1
        return f"<secret-{self._last}>"


def _number(name: str) -> int:
    return int(name.removeprefix("<secret-").removesuffix(">"))


def _spans(text: str, patterns: Sequence[str]) -> Iterable[tuple[int, int]]:
    """Find where a secret stands; text that looks like a placeholder is one, lest it be taken for ours."""
    yield from (found.span() for found in _PLACEHOLDER.finditer(text))
    for pattern in patterns:
        for found in re.finditer(pattern, text, re.MULTILINE):
            for group, value in found.groupdict().items():
                if group.startswith("secret") and value:
                    yield found.span(group)


def _merged(spans: Iterable[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """Join spans that overlap, in order."""
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if joined and begin < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined
