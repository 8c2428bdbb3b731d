"""What a login at a provider must be allowed: made from the actions that plans may take, and no more."""

import json
from collections.abc import Mapping
from typing import get_args

from automation.model.actions import Action
from automation.model.environment import Environment
from automation.model.errors import ConfigError
from automation.model.providers import AwsProvider, Provider, VsphereProvider

# The areas whose plans take actions at a provider, and where their classes stand; recovery has the rest.
AREAS: Mapping[str, tuple[str, ...]] = {
    "provisioning": ("servers",),
    "backups": ("points",),
    "baselines": ("baseline",),
    "recovery": (),
}
# Actions on servers that plans of recovery take, too.
_OF_RECOVERY = frozenset(
    {
        "aws.create_instance",
        "aws.start_instance",
        "aws.stop_instance",
        "aws.terminate_instance",
        "vsphere.fence_vm",
        "vsphere.power_on_vm",
        "vsphere.shut_down_vm",
    }
)
_ACTIONS = get_args(get_args(Action)[0])
LONGEST_POLICY = 6144  # characters of a managed policy without white space: quotas of IAM


def permissions_of(environment: Environment, provider: str, areas: str) -> str:
    """Write an IAM policy, or vSphere roles with what each is given on, as JSON.

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
    return _roles(environment.name, known, addresses)


def is_too_long(policy: str) -> bool:
    """Whether AWS takes a policy for too long to be one."""
    return len(json.dumps(json.loads(policy), separators=(",", ":"))) > LONGEST_POLICY


def _chosen(areas: str) -> tuple[str, ...]:
    chosen = tuple(filter(None, areas.replace(" ", "").split(","))) or tuple(AREAS)
    for area in chosen:
        if area not in AREAS:
            raise ConfigError(f"--area {area} is none; nothing was touched", hint=f"--area {','.join(AREAS)}")
    return chosen


def addresses_of(provider: Provider, areas: tuple[str, ...]) -> tuple[str, ...]:
    """Name every action that plans of some areas may take at a provider of this kind."""
    prefix = f"{provider.kind}."
    ours = {cls.model_fields["do"].default: cls for cls in _ACTIONS}
    return tuple(
        sorted(
            address
            for address, cls in ours.items()
            if address.startswith(prefix) and _areas_of(address, cls) & set(areas)
        )
    )


def _areas_of(address: str, cls: type) -> set[str]:
    module = cls.__module__.rpartition(".")[2]
    own = next((area for area, modules in AREAS.items() if module in modules), "recovery")
    return {own, "recovery"} if address in _OF_RECOVERY else {own}


def _roles(environment: str, provider: VsphereProvider, addresses: tuple[str, ...]) -> str:
    from automation.adapters.vsphere.permissions import grants_for

    objects = {
        "root folder": "the root folder of the inventory",
        "datacenter": f"datacenter {provider.datacenter}",
        "cluster": f"cluster {provider.cluster}",
        "datastores": f"datastore {provider.datastore}, and each that replicas stand on",
    }
    roles = [
        {
            "name": f"mainstay-{environment}-{grant.place.replace(' ', '-')}",
            "on": objects[grant.place],
            "propagate": grant.propagate,
            "privileges": list(grant.privileges),
        }
        for grant in grants_for(addresses)
    ]
    return json.dumps({"roles": roles}, indent=1)
