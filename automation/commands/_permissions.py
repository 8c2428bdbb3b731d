"""What a login at a provider must be allowed: made from the actions that plans may take, and no more."""

import json
from collections.abc import Mapping
from typing import get_args

from automation.model.actions import Action
from automation.model.environment import Environment
from automation.model.errors import ConfigError
from automation.model.providers import AwsProvider, Provider

# The areas whose plans take actions at a provider, and where their classes stand; recovery has the rest.
AREAS: Mapping[str, tuple[str, ...]] = {
    "provisioning": ("servers",),
    "backups": ("points",),
    "baselines": ("baseline",),
    "recovery": (),
}
_ACTIONS = get_args(get_args(Action)[0])


def permissions_of(environment: Environment, provider: str, areas: str) -> str:
    """Write an IAM policy, or a vSphere role with the places where its privileges are granted, as JSON.

    Raises:
        ConfigError: there is no such provider or area.
    """
    known = environment.providers.get(provider)
    if known is None:
        names = ", ".join(environment.providers) or "none yet"
        raise ConfigError(
            f"environment.yml names no provider {provider!r}; nothing was touched", hint=f"--provider {names}"
        )
    addresses = addresses_of(known, _chosen(areas))
    if isinstance(known, AwsProvider):
        from automation.adapters.aws.permissions import policy

        return policy(addresses, environment.name, known)
    return _role(environment.name, addresses)


def _chosen(areas: str) -> tuple[str, ...]:
    chosen = tuple(filter(None, areas.replace(" ", "").split(","))) or tuple(AREAS)
    for area in chosen:
        if area not in AREAS:
            raise ConfigError(f"--area {area} is none; nothing was touched", hint=f"--area {','.join(AREAS)}")
    return chosen


def addresses_of(provider: Provider, areas: tuple[str, ...]) -> tuple[str, ...]:
    """Name every action that plans of some areas may take at a provider of this kind."""
    prefix = f"{provider.kind}."
    ours = [cls for cls in _ACTIONS if cls.model_fields["do"].default.startswith(prefix)]
    return tuple(sorted(cls.model_fields["do"].default for cls in ours if _area_of(cls) in areas))


def _area_of(cls: type) -> str:
    module = cls.__module__.rpartition(".")[2]
    return next((area for area, modules in AREAS.items() if module in modules), "recovery")


def _role(environment: str, addresses: tuple[str, ...]) -> str:
    from automation.adapters.vsphere.permissions import place_of, privileges_for

    granted: dict[str, list[str]] = {}
    for privilege in privileges_for(addresses):
        granted.setdefault(place_of(privilege), []).append(privilege)
    privileges = sorted(privilege for some in granted.values() for privilege in some)
    role = {"name": f"mainstay-{environment}", "privileges": privileges, "granted_on": granted}
    return json.dumps(role, indent=1)
