"""The address rule: `do: "dns.swap_address"` is `automation.adapters.dns.swap_address`.

Beside it may stand `verify_swap_address(action, ctx) -> Progress`, which looks whether the effect is there.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from automation.model.actions import Action
from automation.model.errors import AutomationError
from automation.model.records import Context, Outcome, Progress


def load(address: str) -> Any:
    """Import what stands at `module.name` among the adapters; heavy libraries load here, when used."""
    module, _, name = address.partition(".")
    return getattr(import_module(f"automation.adapters.{module}"), name)


def perform(action: Action, ctx: Context) -> Outcome:
    """Perform one action by its address."""
    function: Callable[[Action, Context], Outcome] = load(action.do)
    outcome = function(action, ctx)
    if not isinstance(outcome, Outcome):
        raise AutomationError(f"{action.do} gave {type(outcome).__name__}, not an Outcome")
    return outcome


def verify(action: Action, ctx: Context) -> Progress:
    """Look how far an action came whose end nobody wrote down.

    Without a `verify_` of its own an action that only reads, or is idempotent, is simply run again; one
    that destroys or cannot be taken back is a person's to judge.
    """
    function: Callable[[Action, Context], Progress] | None = _look_of(action.do)
    if function is not None:
        return function(action, ctx)
    if action.effect == "destroy" or action.irreversible:
        return Progress(state="unknown", why=f"{action.do} cannot be looked at from here")
    return Progress(state="not_done", why="not looked at: to do it again is safe")


def can_be_looked_at(address: str) -> bool:
    """Whether an action has a function of its own that tells, after a crash, whether it was done."""
    return _look_of(address) is not None


def _look_of(address: str) -> Any:
    module, _, name = address.partition(".")
    return getattr(import_module(f"automation.adapters.{module}"), f"verify_{name}", None)
