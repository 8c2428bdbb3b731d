"""What restic of which version can do, and which of its silences we close ourselves. Pure.

Source: restic's changelog; what is said of 0.14, 0.16, 0.17, 0.18 and 0.19 is held to the programs themselves
by tests/lab/test_restic.py.
"""

import re
from typing import NamedTuple

from automation.model.errors import AdapterError

OLDEST = (0, 14)
_SAID = re.compile(r"^restic (\d+)\.(\d+)(?:\.(\d+))?", re.MULTILINE)


class Abilities(NamedTuple):
    """What a version of restic does by itself; what is false is done by us, whatever the version."""

    since: tuple[int, int]
    full_id_in_summary: bool = False  # else the point is found by a tag of its own
    waits_for_lock: bool = False  # --retry-lock; else we wait and ask again
    size_in_point: bool = False  # the summary stands in the snapshot; else in tags of ours
    packed_in_summary: bool = False  # data_added_packed; else from stats
    exit_codes_tell: bool = False  # 10 no repository, 11 locked, 12 wrong password; else its words tell
    missing_source_fails: bool = False  # exit 3; else exit 0, and our own look at the paths finds it
    partial_forget_fails: bool = False  # exit 3; else exit 0, and listing again finds it


TABLE = (
    Abilities((0, 14)),
    Abilities((0, 15), full_id_in_summary=True),
    Abilities((0, 16), full_id_in_summary=True, waits_for_lock=True),
    Abilities(
        (0, 17),
        full_id_in_summary=True,
        waits_for_lock=True,
        size_in_point=True,
        packed_in_summary=True,
        exit_codes_tell=True,
    ),
    Abilities(
        (0, 19),
        full_id_in_summary=True,
        waits_for_lock=True,
        size_in_point=True,
        packed_in_summary=True,
        exit_codes_tell=True,
        missing_source_fails=True,
        partial_forget_fails=True,
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
    """Give what a version can do; one newer than all we know is taken as the newest known."""
    return next(known for known in reversed(TABLE) if known.since <= version)
