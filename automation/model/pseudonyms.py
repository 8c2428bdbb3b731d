"""Pseudonyms for public records: the same one for the same thing in all files of one export. Pure.

Known are the names that the inventory, the journal and its neighbours give; addresses, keys and digests
are found by their form. A digest goes too: who guesses what was blanked could confirm the guess with it.
"""

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

KINDS = ("person", "account", "host", "address", "key", "digest")
# Who did or asked something, by the words of our own records.
PEOPLE_KEYS = frozenset({"actor", "by", "requester", "principal", "principals", "declared_by", "cleared_by"})
_ACCOUNT_KEY = re.compile(r"account|iban|card_?number|ssn", re.IGNORECASE)
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_SIGNATURE = re.compile(r"-----BEGIN SSH SIGNATURE-----.*?-----END SSH SIGNATURE-----", re.DOTALL)
_IPV4 = r"\b\d{1,3}(?:\.\d{1,3}){3}\b"
_IPV6 = r"(?<![\w:.])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:])"
_MAC = r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b"
_EMAIL = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
_FORMS = {
    "address": re.compile(f"{_EMAIL}|{_MAC}|{_IPV4}|{_IPV6}", re.IGNORECASE),
    "account": re.compile(
        r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b|\b\d{3}-\d{2}-\d{4}\b"
    ),
    "key": re.compile(
        r"\b(?:ssh|sk|ecdsa)-[\w@.-]+ AAAA[\w+/=]+|\bAAAA[CB]3[\w+/=]{20,}|\bSHA256:[\w+/]{43}"
    ),
    "digest": re.compile(r"\b[0-9a-f]{64}\b"),
}
_HARMLESS = frozenset({"127.0.0.1", "0.0.0.0", "::1", "::"})


class Pseudonyms:
    """Replaces what is known and what has a telling form.

    Args:
        known: kind to values; a value of several kinds is of the first in `KINDS`.
        salt: orders the numbers, so that they tell nothing of the alphabet; the run's id.
    """

    def __init__(self, known: Mapping[str, Iterable[str]], salt: str) -> None:
        self._salt = salt
        self._names: dict[str, str] = {}
        self._counts = dict.fromkeys(KINDS, 0)
        for kind in KINDS:
            values = {value.strip().casefold() for value in known.get(kind, ()) if value.strip()}
            for value in sorted(values - self._names.keys() - _HARMLESS, key=self._order):
                self._name(kind, value)
        self._known = tuple(self._names)
        self._pattern = _any_of(self._known)

    def of_text(self, text: str) -> str:
        """Replace in a text; terminal colours, which may touch a name, are dropped."""
        text = _SIGNATURE.sub("[signature left out]", _ANSI.sub("", text))
        for kind in ("key", "digest", "account", "address"):
            text = _FORMS[kind].sub(lambda match, kind=kind: self._found(kind, match[0]), text)  # type: ignore[misc]
        return (
            self._pattern.sub(lambda match: self._names[match[0].casefold()], text) if self._known else text
        )

    def of_json(self, value: Any) -> Any:
        """Replace in every string of a JSON value, keys too; other values stay what they are."""
        if isinstance(value, str):
            return self.of_text(value)
        if isinstance(value, list):
            return [self.of_json(one) for one in value]
        if isinstance(value, dict):
            return {self.of_text(key): self.of_json(one) for key, one in value.items()}
        if isinstance(value, int) and str(value) in self._names:
            return self._names[str(value)]
        return value

    def of_file(self, name: str, text: str) -> str:
        """Replace in a file; JSON is read as such, because its escapes may touch a name."""
        if name.endswith(".json"):
            return json.dumps(self.of_json(json.loads(text)), indent=1, ensure_ascii=False) + "\n"
        if name.endswith(".jsonl"):
            return "".join(self._line(line) for line in text.splitlines())
        return self.of_text(text)

    def _line(self, line: str) -> str:
        try:
            value = json.loads(line)
        except ValueError:
            return self.of_text(line) + "\n"
        return json.dumps(self.of_json(value), ensure_ascii=False, separators=(",", ":")) + "\n"

    def remaining(self, text: str) -> list[str]:
        """Name what is known and still stands in a text that was replaced."""
        return sorted({match[0] for match in self._pattern.finditer(text)}) if self._known else []

    def _found(self, kind: str, value: str) -> str:
        if kind == "address" and not _is_address(value):
            return value
        return self._names.get(value.casefold()) or self._name(kind, value.casefold())

    def _name(self, kind: str, value: str) -> str:
        self._counts[kind] += 1
        self._names[value] = f"{kind}-{self._counts[kind]}"
        return self._names[value]

    def _order(self, value: str) -> str:
        return hashlib.sha256(f"{self._salt} {value}".encode()).hexdigest()


def find_people(value: Any) -> Iterator[str]:
    """Give the people that a JSON record names by its keys."""
    yield from _under(value, lambda key: key in PEOPLE_KEYS)


def find_accounts(value: Any) -> Iterator[str]:
    """Give the account numbers that a JSON record names by its keys."""
    yield from _under(value, lambda key: bool(_ACCOUNT_KEY.search(key)))


def _under(value: Any, wanted: Any, inside: bool = False) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _under(one, wanted, wanted(key))
    elif isinstance(value, list):
        for one in value:
            yield from _under(one, wanted, inside)
    elif inside and isinstance(value, str | int) and not isinstance(value, bool):
        yield str(value)


def _is_address(value: str) -> bool:
    if value in _HARMLESS:
        return False
    if "@" in value or re.fullmatch(_MAC, value, re.IGNORECASE):
        return True
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _any_of(values: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(values, key=len, reverse=True)
    words = "|".join(re.escape(value) for value in longest_first)
    return re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])", re.IGNORECASE)
