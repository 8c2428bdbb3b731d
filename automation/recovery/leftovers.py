"""The leftover audit: what stood there before a drill, and what after it. Pure.

Two listings of the same thing must be equal, but for one thing that goes on by itself: production writes its
WAL into its archive. A file that is new there counts as that if it is of a history (an archive's id and a
timeline) of which there was a file before; what was there before must be there, byte for byte as long.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from automation.model.base import Model
from automation.model.drill_evidence import Listing

_WAL = re.compile(
    r"(?P<history>archive/[^/]+/[^/]+/[0-9A-F]{8})[0-9A-F]{8}/[0-9A-F]{24}(-[0-9a-f]+)?(\.\w+)?$"
)
ABSENT = "not there"
MOST = 200


class Leftover(Model):
    """One thing that is not as it was."""

    of: str
    where: str
    thing: str
    before: str
    after: str

    @property
    def words(self) -> str:
        return f"{self.thing} ({self.of} of {self.where}): before {self.before}, now {self.after}"


class Audit(Model):
    """What was listed twice, what is not as it was, and what production itself added meanwhile."""

    compared: int = 0
    leftovers: tuple[Leftover, ...] = ()
    grown: Mapping[str, int] = {}
    not_listed_again: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether everything was listed again and is as it was."""
        return bool(self.compared) and not self.leftovers and not self.not_listed_again


class Seen(NamedTuple):
    """One listing with all its items, those of its artifact among them."""

    listing: Listing
    items: Mapping[str, str]


def audit(before: Mapping[str, Seen], after: Mapping[str, Seen]) -> Audit:
    """Compare what was listed before with the same lists after.

    Args:
        before, after: by a name that both share.
    """
    found: list[Leftover] = []
    grown: dict[str, int] = {}
    for name, earlier in before.items():
        later = after.get(name)
        if later is None:
            continue
        new = {thing for thing in later.items if thing not in earlier.items}
        own = _of_production(earlier, new) if earlier.listing.of == "archive" else set()
        if own:
            grown[earlier.listing.where] = len(own)
        found += _differences(earlier, later, passed=own)
    return Audit(
        compared=sum(len(one.items) for name, one in before.items() if name in after),
        leftovers=tuple(found[:MOST]),
        grown=grown,
        not_listed_again=tuple(name for name in before if name not in after),
    )


def _differences(before: Seen, after: Seen, *, passed: set[str]) -> Iterator[Leftover]:
    listing = before.listing
    for thing in dict.fromkeys((*before.items, *after.items)):
        was, now = before.items.get(thing, ABSENT), after.items.get(thing, ABSENT)
        if was != now and thing not in passed:
            yield Leftover(of=listing.of, where=listing.where, thing=thing, before=was, after=now)


def _of_production(before: Seen, new: set[str]) -> set[str]:
    """Of files that are new in an archive, the WAL of histories that it knew."""
    histories = {found["history"] for thing in before.items if (found := _WAL.match(thing))}
    return {thing for thing in new if (found := _WAL.match(thing)) and found["history"] in histories}


def read_items(text: str) -> dict[str, str]:
    """Read an artifact of a listing: one `thing<tab>state` a line."""
    pairs = (line.partition("\t") for line in text.splitlines())
    return {thing: state for thing, tab, state in pairs if tab}
