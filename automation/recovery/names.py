"""Which name servers missed a move: they tell an address that another one moved later. Pure."""

from collections.abc import Mapping

from automation.model.moves import Move, find_missed


def find_behind(told: Mapping[str, Mapping[str, Move]]) -> dict[str, tuple[str, ...]]:
    """Give each server that tells old addresses, with their names; it must be reconciled before use.

    Args:
        told: server to name to what it tells; a name that was never moved may be missing.
    """
    behind = {}
    for server, own in told.items():
        others = {name: moves for name, moves in told.items() if name != server}
        missed = find_missed(own, others).moves
        names = tuple(
            name for name, move in missed.items() if name not in own or own[name].addresses != move.addresses
        )
        if names:
            behind[server] = names
    return behind


def find_undecided(told: Mapping[str, Mapping[str, Move]]) -> tuple[str, ...]:
    """Give the names of which servers tell different addresses of one move: somebody changed one by hand."""
    return find_missed({}, told).undecided
