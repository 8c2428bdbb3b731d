"""Steps on VMs and instances done by hand: the vSphere client, and the AWS command line. Pure."""

import shlex
from collections.abc import Sequence

from automation.model.actions import (
    BaseAction,
    BlockDatabase,
    BlockInstance,
    BlockVm,
    CreateInstance,
    FenceInstance,
    FenceVm,
    LookAtReplicas,
    PowerOnVm,
    PromoteReplica,
    RegisterReplica,
    RestoreDatabase,
    SwapRecord,
)
from automation.model.environment import Environment
from automation.model.errors import ConfigError
from automation.model.providers import AwsProvider

# What to see, what to type, and what to do where nothing can be typed.
Told = tuple[str, tuple[str, ...], str]
ID = "INSTANCE_ID"


def of_vms(action: BaseAction) -> Told:
    """Say how people do what a step on VMs does, in the vSphere client."""
    match action:
        case LookAtReplicas():
            note = (
                f"In the vCenter of {action.site}, browse datastore {action.datastore}: a folder for each of "
            )
            return f"no file older than agreed: {', '.join(action.vms)}", (), f"{note}them, with its .vmx."
        case RegisterReplica():
            maps = ", ".join(f"{one} to {other}" for one, other in action.networks.items())
            note = (
                f"In the vCenter of {action.site}: datastore {action.datastore}, folder {action.host}, "
                f"Register VM; then its adapters from network {maps}. Answer `I moved it`, not `I copied it`."
            )
            return f"{action.host} is registered, off, its adapters in this site's networks", (), note
        case PowerOnVm():
            note = f"In the vCenter of {action.site}: power {action.host} on."
            return "VMware Tools run, and its address is shown", (), note
        case FenceVm():
            note = f"In the vCenter of {action.site}: power {action.host} off, then take it out of autostart."
            return f"{action.host} is off and stays off when its host starts", (), note
        case BlockVm():
            note = (
                f"In the vCenter of {action.site}: of every adapter of {action.host} clear `Connected` and "
            )
            return "no adapter is connected", (), f"{note}`Connect At Power On`."
        case _:
            return "", (), ""


def of_aws(action: BaseAction, environment: Environment) -> Told:
    """Say how people do what a step at AWS does, by its command line."""
    match action:
        case FenceInstance():
            find, stop = _find(action.host), ["stop-instances", "--force", "--instance-ids", ID]
            return "stopped", _ec2(environment, action.site, find, stop), ""
        case BlockInstance():
            groups = ["modify-instance-attribute", "--instance-id", ID, "--groups", "GROUP_WITHOUT_RULES"]
            note = "Make a security group without any rule first; write down the groups that it had."
            return "that group alone", _ec2(environment, action.site, _find(action.host), groups), note
        case BlockDatabase():
            words = [
                "--db-instance-identifier",
                action.database,
                "--vpc-security-group-ids",
                "GROUP_WITHOUT_RULES",
            ]
            command = _aws(
                environment, action.site, "rds", "modify-db-instance", *words, "--apply-immediately"
            )
            return "that group alone, active", (command,), "It is not stopped: RDS starts it again by itself."
        case PromoteReplica():
            name = ["--db-instance-identifier", action.database]
            return (
                f"before: a replica of {action.expect_source} (else stop); after: of nobody, and available",
                (
                    _aws(environment, action.site, "rds", "describe-db-instances", *name),
                    _aws(environment, action.site, "rds", "promote-read-replica", *name),
                ),
                "Point of no return. Only once the old region is fenced.",
            )
        case _:
            return _more(action, environment)


def _more(action: BaseAction, environment: Environment) -> Told:
    match action:
        case RestoreDatabase():
            words = ["--db-instance-identifier", action.database, "--db-snapshot-identifier", action.snapshot]
            command = _aws(environment, action.site, "rds", "restore-db-instance-from-db-snapshot", *words)
            return "available", (command,), f"In the VPC of network {action.network}."
        case CreateInstance():
            words = ["run-instances", "--image-id", action.spec.image or "NEWEST_IMAGE"]
            words += ["--instance-type", action.spec.size.type or "TYPE"]
            words += ["--private-ip-address", action.spec.address] if action.spec.address else []
            networks = ", ".join(action.spec.networks) or "its network"
            note = f"In the subnet and with the group of {networks}; tag it Name={action.host}."
            return "running, and its address is the declared one", _ec2(environment, action.site, words), note
        case SwapRecord():
            note = (
                f"One change batch: DELETE {action.name} A {', '.join(action.old)} with the TTL that it has, "
                f"CREATE the same with {', '.join(action.new)}. Route 53 refuses another old value."
            )
            zone = ["--hosted-zone-id", action.zone]
            change = ["change-resource-record-sets", *zone, "--change-batch", "file://batch.json"]
            return ", ".join(action.new), (_aws(environment, action.site, "route53", *change),), note
        case _:
            return "", (), ""


def _find(host: str) -> list[str]:
    return ["describe-instances", "--filters", f"Name=tag:mainstay:name,Values={host}"]


def _ec2(environment: Environment, site: str, *commands: Sequence[str]) -> tuple[str, ...]:
    return tuple(_aws(environment, site, "ec2", *words) for words in commands)


def _aws(environment: Environment, site: str, *words: str) -> str:
    try:
        provider = environment.provider("aws", site)
    except ConfigError:
        provider = None
    region = provider.region if isinstance(provider, AwsProvider) else f"REGION_OF_{site}"
    return shlex.join(["aws", "--region", region, *words])


VMS: frozenset[type[BaseAction]] = frozenset({LookAtReplicas, RegisterReplica, PowerOnVm, FenceVm, BlockVm})
AWS: frozenset[type[BaseAction]] = frozenset(
    {
        FenceInstance,
        BlockInstance,
        BlockDatabase,
        PromoteReplica,
        RestoreDatabase,
        CreateInstance,
        SwapRecord,
    }
)
