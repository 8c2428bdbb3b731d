"""Plan what is missing for every declared server of a lab to run. Pure."""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Literal, NamedTuple

from automation.model.actions import (
    AwaitReady,
    BuildImage,
    MakeKeys,
    StartLab,
    StartSimulator,
)
from automation.model.environment import Environment, Inventory, Server
from automation.model.errors import ConfigError
from automation.model.observations import ObservedLab, ObservedServer
from automation.model.plan import Plan, Step
from automation.provisioning.compiling import Allowed
from automation.provisioning.decisions import Decision
from automation.provisioning.hosts import decide_host, host_steps, spec_of

SECRETS = ("tsig_key", "replication_password", "payments_owner_password", "payments_app_password")
# Of a lab with an object store, which is one with backups.
BACKUP_SECRETS = ("restic_main", "pgbackrest_cipher_pass", "router_password")
IMAGE_TIMEOUT_S = 1800
NOTHING_NAMED = Allowed()


class Provisioning(NamedTuple):
    """What provisioning would do, and which servers it leaves alone and why."""

    plan: Plan
    left_alone: dict[str, str]
    decisions: tuple[Decision, ...] = ()  # on servers that are there and not as declared


def needed_secrets(environment: Environment) -> tuple[str, ...]:
    """Name the secrets that the roles need."""
    known = environment.lab.simulators.values() if environment.lab else ()
    backups = any(one.kind == "object-store" for one in known)
    return (*SECRETS, *(BACKUP_SECRETS if backups else ()))


def needed_logins(environment: Environment) -> tuple[str, ...]:
    """Name the logins of object stores that the roles and the control node need."""
    return _logins(environment, "object-store")


def cloud_logins(environment: Environment, kind: Literal["aws", "vcenter"]) -> tuple[str, ...]:
    """Name the logins of simulated providers that the control node needs, and no role."""
    return _logins(environment, kind)


def _logins(environment: Environment, kind: str) -> tuple[str, ...]:
    known = environment.lab.simulators.values() if environment.lab else ()
    files = (file for one in known if one.kind == kind for file in one.logins.values())
    return tuple(dict.fromkeys(file.removeprefix("secrets/") for file in files))


def needed_keys(environment: Environment) -> tuple[str, ...]:
    """Name every secret and login that an environment keeps in its state folder."""
    clouds = (*cloud_logins(environment, "aws"), *cloud_logins(environment, "vcenter"))
    return (*needed_secrets(environment), *needed_logins(environment), *clouds)


def needed_certificates(environment: Environment) -> dict[str, tuple[str, ...]]:
    """Name the certificates that simulators answer with, and what each is for."""
    known = environment.lab.simulators.items() if environment.lab else ()
    return {name: (one.name, *one.places.values()) for name, one in known}


def plan_servers(
    environment: Environment,
    inventory: Inventory,
    seen: ObservedLab,
    retiring: Mapping[str, datetime] | None = None,
    allowed: Allowed = NOTHING_NAMED,
) -> Provisioning:
    """Compare the inventory with what is there; an empty plan means nothing is to do.

    Servers on demand are left to the drills that make them.

    Args:
        retiring: servers that are being retired, and since when.
        allowed: servers that a person lets be restarted or replaced.

    Raises:
        ConfigError: a server stands at no site of the lab, or its provider is not one of the lab's.
    """
    _check(environment, tuple(inventory.standing.values()))
    servers = tuple(one for one in inventory.standing.values() if one.provider == "nspawn")
    base = _base(environment, servers, seen)
    needs = tuple(step.id for step in base)
    steps, left_alone = [*base, *_simulators(environment, seen, needs)], dict[str, str]()
    decisions: list[Decision] = []
    for server in servers:
        known, spec = seen.servers.get(server.name), spec_of(server, inventory)
        decision = decide_host(environment, spec, known, running=seen.running)
        if why := _why_left(environment, server, known, seen, retiring or {}):
            left_alone[server.name] = why
        elif decision.verdict == "nothing" and seen.running:
            continue
        elif server.site in seen.dark_sites:
            left_alone[server.name] = f"the management of site {server.site} is silent: lab.heal returns it"
        else:
            decisions += [decision] if decision.differences else []
            taken = tuple(host_steps(spec, decision, allowed, needs, running=seen.running))
            unseen = tuple(step for step in taken if not isinstance(step.run, AwaitReady))
            if server.site in seen.cut_sites and taken != unseen:
                left_alone[server.name] = f"site {server.site} is cut off: it is started and cannot be seen"
                taken = unseen
            steps += taken
    plan = Plan(name="provision", environment=environment.name, mode="apply", steps=tuple(steps))
    return Provisioning(plan, left_alone, tuple(decisions))


def only_of(whole: Provisioning, hosts: Collection[str]) -> Provisioning:
    """Leave out the steps of all other hosts; what stands before every host stays."""
    kept = tuple(step for step in whole.plan.steps if getattr(step.run, "host", None) in (None, *hosts))
    left = {name: reason for name, reason in whole.left_alone.items() if name in hosts}
    decisions = tuple(one for one in whole.decisions if one.name in hosts)
    return Provisioning(whole.plan.model_copy(update={"steps": kept}), left, decisions)


def _check(environment: Environment, servers: tuple[Server, ...]) -> None:
    lab = environment.require_lab()
    for server in servers:
        if server.provider in ("aws", "vsphere"):
            continue
        if server.provider != "nspawn":
            raise ConfigError(
                f"{server.name}: server_provider {server.provider!r} is not one a lab has "
                "(nspawn, aws, vsphere)"
            )
        if server.site not in lab.sites:
            raise ConfigError(
                f"{server.name}: server_site {server.site!r} is not one of {', '.join(lab.sites)}"
            )
        if not server.image:
            raise ConfigError(f"{server.name}: server_image is missing: nothing says what it is made of")


def _why_left(
    environment: Environment,
    server: Server,
    known: ObservedServer | None,
    seen: ObservedLab,
    retiring: Mapping[str, datetime],
) -> str:
    """Say why a server is nobody's to make, start or change here; empty: it is as it may be."""
    if known is not None and server.name in retiring and known.power == "off":
        return f"is being retired since {retiring[server.name]:%Y-%m-%d}"
    if known is not None and is_fenced(known):
        return "fenced: released only by failback or a new lab"
    if known is not None and known.site not in ("", server.site):
        retire = f"./inv provision.retire --env {environment.name} --host {server.name}"
        return (
            f"site: {known.site} is to be {server.site}: no server moves; {retire}, then apply makes it anew"
        )
    return f"site {server.site} has no power: lab.heal returns it" if server.site in seen.failed_sites else ""


def is_fenced(server: ObservedServer) -> bool:
    """Tell whether a recovery holds a server off, or off the network."""
    return server.network == "blocked" or (server.power == "off" and not server.autostart)


def _base(environment: Environment, servers: tuple[Server, ...], seen: ObservedLab) -> tuple[Step, ...]:
    """What stands before the first server: keys, images, then the lab's networks."""
    steps: list[Step] = []
    if seen.missing_keys:
        run = make_keys(environment, seen.missing_keys)
        steps.append(Step(id="keys", run=run, why=f"missing: {', '.join(seen.missing_keys)}"))
    for image in sorted({server.image for server in servers} & set(seen.missing_images)):
        build = BuildImage(image=image)
        why = "no image of this recipe is in the state folder"
        steps.append(Step(id=f"image/{image}", run=build, why=why, timeout_s=IMAGE_TIMEOUT_S))
    if not seen.running:
        before = tuple(step.id for step in steps)
        why = "the lab's supervisor does not run"
        steps.append(Step(id="lab", run=StartLab(), why=why, needs=before, timeout_s=30))
    return tuple(steps)


def make_keys(environment: Environment, missing: tuple[str, ...]) -> MakeKeys:
    """Make of an environment's keys what is missing."""
    certificates = needed_certificates(environment)
    logins = (*needed_logins(environment), *cloud_logins(environment, "aws"))
    return MakeKeys(
        secrets=tuple(name for name in needed_secrets(environment) if name in missing),
        logins=tuple(name for name in logins if name in missing),
        vcenter_logins=tuple(name for name in cloud_logins(environment, "vcenter") if name in missing),
        certificates={name: certificates[name] for name in certificates if f"certificates/{name}" in missing},
    )


def _simulators(environment: Environment, seen: ObservedLab, needs: tuple[str, ...]) -> Iterator[Step]:
    """What stands for the city's cloud; one at a site that nobody reaches from here waits."""
    running = seen.simulators if seen.running else ()
    for name, simulator in environment.require_lab().simulators.items():
        # Management has a way of its own: a cut of the site's does not reach it.
        lost = seen.cut_sites if simulator.kind == "object-store" else seen.dark_sites
        if name not in running and not {*seen.failed_sites, *lost}.issuperset(simulator.places):
            run = StartSimulator(simulator=name)
            why = f"stands for {simulator.name}, and does not run"
            yield Step(id=f"simulator/{name}", run=run, why=why, needs=needs)
