"""What becomes of one host of a lab, and the steps that it takes. Pure."""

from collections.abc import Collection, Iterator

from automation.model.actions import AwaitReady, CreateServer, StartServer
from automation.model.actions.lab import ResizeServer
from automation.model.environment import Environment, Inventory, Server
from automation.model.observations import ObservedServer
from automation.model.plan import Step
from automation.model.servers import FoundServer, ServerSpec, Size
from automation.provisioning.compiling import Allowed, remove_steps
from automation.provisioning.decisions import Decision, Declared, decide_found

CHANGE_TIMEOUT_S = 120.0  # with a restart in it


def spec_of(server: Server, inventory: Inventory) -> ServerSpec:
    """Give what a host is to be; of one without variables of its own, what is known of it."""
    plain = ServerSpec(name=server.name, provider="nspawn", site=server.site, image=server.image)
    return inventory.specs.get(server.name, plain).model_copy(update={"address": server.address})


def decide_host(
    environment: Environment, spec: ServerSpec, known: ObservedServer | None, *, running: bool
) -> Decision:
    """Decide on a host as on a server of any provider; fences and retirements are not looked at.

    Args:
        running: the lab does; else it boots the host as it was, before anything of this can be done.
    """
    declared = Declared(environment=environment.name, servers={spec.name: spec})
    if known is None:
        return Decision(
            what="server",
            name=spec.name,
            provider="nspawn",
            site=spec.site,
            verdict="create",
            why="declared and not there",
        )
    found = FoundServer(
        name=known.name,
        id=f"{environment.require_lab().id}-{known.name}",
        provider="nspawn",
        site=spec.site,
        owner=environment.name,
        power=known.power if running else "on",
        image=known.image,
        size=known.size,
        addresses=(known.address,) if known.address else (),
    )
    return decide_found(declared, spec, found, {})


def host_steps(
    spec: ServerSpec, decision: Decision, allowed: Allowed, needs: tuple[str, ...], *, running: bool
) -> Iterator[Step]:
    """Give the steps that carry a decision out, as far as they are allowed."""
    if decision.verdict == "create":
        yield from _make(spec, decision, needs)
    elif decision.verdict != "replace":
        yield from _alter(spec, decision, allowed, needs, running=running)
    elif allowed.takes(decision):
        ask = f"Replace {spec.name}? {decision.why}"
        stop, delete = remove_steps(decision, keep_snapshot=True, ask=ask)
        yield from (stop.model_copy(update={"needs": needs}), delete)
        yield from _make(spec, decision, (delete.id,))


def _make(spec: ServerSpec, decision: Decision, needs: tuple[str, ...]) -> Iterator[Step]:
    run = CreateServer(host=spec.name, site=spec.site, address=spec.address, image=spec.image, size=spec.size)
    yield Step(id=f"create/{spec.name}", run=run, why=decision.why, needs=needs)
    yield _ready(spec, f"create/{spec.name}")


def _alter(
    spec: ServerSpec, decision: Decision, allowed: Allowed, needs: tuple[str, ...], *, running: bool
) -> Iterator[Step]:
    """Bound a host, as far as that takes no restart that nobody allowed, and start one that is off.

    One that is off is bounded first, as that takes no restart then; one that boots with the lab, afterwards.
    """
    is_off = decision.verdict == "start"
    stands = is_off or spec.name in allowed.restart
    reaches = ("change", "restart") if stands else ("change",)
    differing = [one for one in decision.differences if one.reach in reaches]
    size = _size_of(spec, {one.key for one in differing})
    restart = stands and decision.verdict == "restart"
    run = ResizeServer(host=spec.name, size=size, restart=restart)
    why = "; ".join(f"{one.key}: {one.found} is to be {one.declared}" for one in differing)
    change = Step(id=f"change/{spec.name}", run=run, why=why, timeout_s=CHANGE_TIMEOUT_S)
    why = "declared and not running"
    start = Step(id=f"start/{spec.name}", run=StartServer(host=spec.name), why=why)
    changes = (change,) if size != Size() else ()
    starts = (start,) if is_off or not running else ()
    for step in (*changes, *starts) if is_off else (*starts, *changes):
        yield step.model_copy(update={"needs": needs})
        needs = (step.id,)
    if restart or starts:
        yield _ready(spec, needs[0])


def _size_of(spec: ServerSpec, keys: Collection[str]) -> Size:
    """Give what of a declared size differs."""
    return Size(
        cpus=spec.size.cpus if "size:cpus" in keys else 0,
        memory=spec.size.memory_bytes if "size:memory" in keys else 0,
    )


def _ready(spec: ServerSpec, needed: str) -> Step:
    run = AwaitReady(host=spec.name)
    return Step(id=f"ready/{spec.name}", run=run, why="up is what answers over SSH", needs=(needed,))
