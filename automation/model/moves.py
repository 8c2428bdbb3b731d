"""When a name was last moved, as its own zone tells: how servers know which of them missed a move. Pure.

Beside a name that a failover moved stands a TXT record, `_moved.<name>`, written in the same update as the
address. It holds the time of the move and the run, and the newest one tells the truth.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from pydantic import Field

from automation.model.base import Model

LABEL = "_moved"
_STAMP = re.compile(r"(\d{13}) ([!-~]{1,100})")


class Stamp(Model):
    """When a name was moved, in milliseconds of Unix time, and by which run."""

    at_ms: int = Field(ge=10**12, lt=10**13)
    run_id: str

    @property
    def text(self) -> str:
        return f"{self.at_ms} {self.run_id}"

    @property
    def order(self) -> tuple[int, str]:
        return self.at_ms, self.run_id


class Move(Model):
    """What a server tells of a name that was moved: its addresses and the stamp beside them."""

    addresses: tuple[str, ...]
    ttl_s: int
    stamp: Stamp | None


class Missed(NamedTuple):
    """What a server lacks, and what nobody can decide: one stamp, several addresses."""

    moves: Mapping[str, Move]
    undecided: tuple[str, ...]


def parse_stamp(text: str) -> Stamp | None:
    """Read the text of a stamp; anything else is none."""
    match = _STAMP.fullmatch(text)
    return Stamp(at_ms=int(match[1]), run_id=match[2]) if match else None


def stamp_name(name: str) -> str:
    """Give the name of the record that holds a name's stamp."""
    return f"{LABEL}.{name}"


def find_missed(own: Mapping[str, Move], told: Mapping[str, Mapping[str, Move]]) -> Missed:
    """Compare what a server holds with what others tell; the newest stamp of a name counts.

    Args:
        own: name to move, as the server tells it; a name that was never moved may be missing.
        told: the same of each other server.
    """
    moves, undecided = {}, []
    for name in sorted({name for moved in told.values() for name in moved}):
        others = [moved[name] for moved in told.values() if name in moved and moved[name].stamp]
        if not others:
            continue
        newest = max(others, key=_order)
        holders = [move for move in (*others, *_of(own, name)) if _order(move) == _order(newest)]
        if len({move.addresses for move in holders}) != 1 or len(newest.addresses) != 1:
            undecided.append(name)
        elif _order(newest) > max(map(_order, _of(own, name)), default=(0, "")):
            moves[name] = newest
    return Missed(moves, tuple(undecided))


def _of(own: Mapping[str, Move], name: str) -> tuple[Move, ...]:
    return (own[name],) if name in own else ()


def _order(move: Move) -> tuple[int, str]:
    return move.stamp.order if move.stamp else (0, "")
