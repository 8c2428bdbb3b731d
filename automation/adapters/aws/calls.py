"""What a call that a control asks for is made of: read what is, say what shall be, write it."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from pydantic import JsonValue

from automation.adapters.aws.account import Account
from automation.model.errors import AdapterError
from automation.model.provider_settings import WantedCall

State = Mapping[str, JsonValue] | None


def allow(account: Account, wanted: WantedCall) -> None:
    """Let a call be made wherever its state asks for it."""


class Kind(NamedTuple):
    """One kind of call, on one thing.

    A state is all of a thing that the call touches; two states that are equal are the same for it.

    Args:
        read: the state of a thing by its name. It gets what was before, where that is known: a rule that was
            revoked is looked for by its content, for it has no name any more.
        want: the state that shall be, from the one that is; the same when nothing is to be done. Pure.
        write: changes a thing from one state into another, both ways.
        check: raises AdapterError where it must not be done although its state asks for it.
        lasting: why it cannot be put back; empty where it can.
        takes_s: until AWS has surely done it, where that is longer than for anything else.
    """

    read: Callable[[Account, str, State], State]
    want: Callable[[State, WantedCall], State]
    write: Callable[[Account, str, State, State], None]
    check: Callable[[Account, WantedCall], None] = allow
    lasting: str = ""
    takes_s: float = 0.0


def number(wanted: WantedCall, name: str) -> int:
    """Give an argument that is a whole number.

    Raises:
        AdapterError: it is none, or is missing.
    """
    value = wanted.arguments.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise AdapterError(
            f"{wanted.control}: {wanted.call} needs {name}, a number, and got {value!r}; nothing was changed"
        )
    return value


def held(state: State, name: str) -> JsonValue:
    """Give one value of a state; None where there is no state."""
    return None if state is None else state[name]
