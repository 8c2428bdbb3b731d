"""Plan what is missing for every declared server to run. Pure."""

from typing import NamedTuple

from automation.model.actions import AwaitReady, BuildImage, CreateServer, MakeKeys, StartLab, StartServer
from automation.model.environment import Environment, Inventory, Server
from automation.model.errors import ConfigError
from automation.model.observations import ObservedLab, ObservedServer
from automation.model.plan import Plan, Step

SECRETS = ("tsig_key", "replication_password", "payments_owner_password", "payments_app_password")
IMAGE_TIMEOUT_S = 1800


class Provisioning(NamedTuple):
    """What provisioning would do, and which servers it leaves alone and why."""

    plan: Plan
    left_alone: dict[str, str]


def plan_servers(environment: Environment, inventory: Inventory, seen: ObservedLab) -> Provisioning:
    """Compare the inventory with what is there; an empty plan means nothing is to do.

    Servers on demand are left to the drills that make them.

    Raises:
        ConfigError: a server stands at no site of the lab, or its provider is not one of the lab's.
    """
    servers = tuple(inventory.standing.values())
    _check(environment, servers)
    base = _base(servers, seen)
    needs = tuple(step.id for step in base)
    steps, left_alone = list(base), {}
    for server in servers:
        known = seen.servers.get(server.name)
        if known is not None and _is_fenced(known):
            left_alone[server.name] = "fenced: released only by failback or a new lab"
        elif server.site in seen.failed_sites:
            left_alone[server.name] = f"site {server.site} has no power: lab.heal returns it"
        elif known is not None and known.power == "on" and seen.running:
            continue
        elif server.site in seen.dark_sites:
            left_alone[server.name] = f"the management of site {server.site} is silent: lab.heal returns it"
        elif server.site in seen.cut_sites:
            left_alone[server.name] = f"site {server.site} is cut off: it is started and cannot be seen"
            steps += _bring_up(server, known is None, needs)[:1]
        else:
            steps += _bring_up(server, known is None, needs)
    plan = Plan(name="provision", environment=environment.name, mode="apply", steps=tuple(steps))
    return Provisioning(plan, left_alone)


def _check(environment: Environment, servers: tuple[Server, ...]) -> None:
    lab = environment.require_lab()
    for server in servers:
        if server.provider != "nspawn":
            raise ConfigError(
                f"{server.name}: server_provider {server.provider!r} is not one a lab has (nspawn)"
            )
        if server.site not in lab.sites:
            raise ConfigError(
                f"{server.name}: server_site {server.site!r} is not one of {', '.join(lab.sites)}"
            )
        if not server.image:
            raise ConfigError(f"{server.name}: server_image is missing: nothing says what it is made of")


def _is_fenced(server: ObservedServer) -> bool:
    return server.network == "blocked" or (server.power == "off" and not server.autostart)


def _base(servers: tuple[Server, ...], seen: ObservedLab) -> tuple[Step, ...]:
    """What stands before the first server: keys, images, then the lab's networks."""
    steps: list[Step] = []
    if seen.missing_keys:
        names = tuple(name for name in SECRETS if name in seen.missing_keys)
        why = f"missing: {', '.join(seen.missing_keys)}"
        steps.append(Step(id="keys", run=MakeKeys(secrets=names), why=why))
    for image in sorted({server.image for server in servers} & set(seen.missing_images)):
        run = BuildImage(image=image)
        why = "no image of this recipe is in the state folder"
        steps.append(Step(id=f"image/{image}", run=run, why=why, timeout_s=IMAGE_TIMEOUT_S))
    if not seen.running:
        before = tuple(step.id for step in steps)
        why = "the lab's supervisor does not run"
        steps.append(Step(id="lab", run=StartLab(), why=why, needs=before, timeout_s=30))
    return tuple(steps)


def _bring_up(server: Server, is_new: bool, needs: tuple[str, ...]) -> tuple[Step, Step]:
    if is_new:
        run: CreateServer | StartServer = CreateServer(
            host=server.name, site=server.site, address=server.address, image=server.image
        )
        first = Step(id=f"create/{server.name}", run=run, why="declared and not there", needs=needs)
    else:
        run = StartServer(host=server.name)
        first = Step(id=f"start/{server.name}", run=run, why="declared and not running", needs=needs)
    ready = Step(
        id=f"ready/{server.name}",
        run=AwaitReady(host=server.name),
        why="up is what answers over SSH",
        needs=(first.id,),
    )
    return first, ready
