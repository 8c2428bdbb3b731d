"""The address rule: `do: "dns.swap_address"` is `automation.adapters.dns.swap_address`."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from automation.model.actions import Action
from automation.model.errors import AutomationError
from automation.model.records import Context, Outcome


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
