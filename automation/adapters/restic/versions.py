"""What restic of which version tells by itself. Pure.

A silence of any version is closed by us for every version, so a job asks this table only where the way to a
number differs. The table is held to the programs themselves by tests/programs/test_restic.py.
"""

import re
from typing import NamedTuple

from automation.model.errors import AdapterError

OLDEST = (0, 14)
_SAID = re.compile(r"^restic (\d+)\.(\d+)(?:\.(\d+))?", re.MULTILINE)


class Abilities(NamedTuple):
    """What a version of restic tells; where it says nothing we look, or reckon."""

    since: tuple[int, int]
    full_id_in_summary: bool = False  # we find the point by a tag of its own
    size_in_point: bool = False  # we put it in a tag
    packed_in_summary: bool = False  # we reckon it from stats, with and without the point
    exit_codes_tell: bool = False  # 10 no repository, 11 locked, 12 wrong password: we read its words, too
    missing_source_fails: bool = False  # exit 3 since then, 0 before: we look before and after


TABLE = (
    Abilities((0, 14)),
    Abilities((0, 16), full_id_in_summary=True),
    Abilities(
        (0, 17), full_id_in_summary=True, size_in_point=True, packed_in_summary=True, exit_codes_tell=True
    ),
    Abilities(
        (0, 19),
        full_id_in_summary=True,
        size_in_point=True,
        packed_in_summary=True,
        exit_codes_tell=True,
        missing_source_fails=True,
    ),
)


def parse_version(said: str) -> tuple[int, int]:
    """Read what `restic version` printed.

    Raises:
        AdapterError: it is no answer of restic, or a version that is too old.
    """
    match = _SAID.search(said)
    if match is None:
        raise AdapterError(f"restic version: {said.strip()[:80]!r} is no answer of restic; nothing changed")
    version = (int(match[1]), int(match[2]))
    if version < OLDEST:
        raise AdapterError(
            f"restic {match[1]}.{match[2]} is too old: 0.14 at least; nothing changed",
            hint="install the package restic of Debian 12 or newer",
        )
    return version


def abilities(version: tuple[int, int]) -> Abilities:
    """Give what a version tells; one newer than all we know is taken as the newest known."""
    return next(known for known in reversed(TABLE) if known.since <= version)
