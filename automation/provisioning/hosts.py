"""What becomes of one host of a lab, and the steps that it takes. Pure."""

from collections.abc import Iterator

from automation.model.actions import AwaitReady, CreateServer, StartServer
from automation.model.actions.lab import ResizeServer
from automation.model.environment import Environment, Inventory, Server
from automation.model.observations import ObservedServer
from automation.model.plan import Step
from automation.model.servers import FoundServer, ServerSpec, Size
from automation.provisioning.compiling import Allowed, remove_steps
from automation.provisioning.decisions import Decision, Declared, Reach, decide_found

RESIZE_TIMEOUT_S = 120.0  # with a restart in it


def spec_of(server: Server, inventory: Inventory) -> ServerSpec:
    """Give what a host is to be; of one without variables of its own, what is known of it."""
    plain = ServerSpec(name=server.name, provider="nspawn", site=server.site, image=server.image)
    return inventory.specs.get(server.name, plain).model_copy(update={"address": server.address})


def decide_host(environment: Environment, spec: ServerSpec, known: ObservedServer | None) -> Decision:
    """Decide on a host as on a server of any provider; fences and retirements are not looked at."""
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
        power=known.power,
        image=known.image,
        size=known.size,
        addresses=(known.address,) if known.address else (),
    )
    return decide_found(declared, spec, found, {})


def host_steps(
    spec: ServerSpec, decision: Decision, allowed: Allowed, needs: tuple[str, ...]
) -> Iterator[Step]:
    """Give the steps that carry a decision out, as far as they are allowed."""
    match decision.verdict:
        case "create":
            yield from _make(spec, decision, needs)
        case "replace" if allowed.takes(decision):
            ask = f"Replace {spec.name}? {decision.why}"
            stop, delete = remove_steps(decision, keep_snapshot=True, ask=ask)
            yield from (stop.model_copy(update={"needs": needs}), delete)
            yield from _make(spec, decision, (delete.id,))
        case "change" | "restart":
            yield from _change(spec, decision, needs, stands=spec.name in allowed.restart)
        case "start" | "nothing":  # nothing: it ran when the lab last did
            yield from _start(spec, decision, needs)


def _make(spec: ServerSpec, decision: Decision, needs: tuple[str, ...]) -> Iterator[Step]:
    run = CreateServer(host=spec.name, site=spec.site, address=spec.address, image=spec.image, size=spec.size)
    yield Step(id=f"create/{spec.name}", run=run, why=decision.why, needs=needs)
    yield _ready(spec, f"create/{spec.name}")


def _change(spec: ServerSpec, decision: Decision, needs: tuple[str, ...], *, stands: bool) -> Iterator[Step]:
    """Bound a host: what it takes no restart for, and the rest where a person lets it be restarted."""
    size = _differing(spec, decision, ("change", "restart") if stands else ("change",))
    if size == Size():
        return
    restart = stands and decision.verdict == "restart"
    run = ResizeServer(host=spec.name, size=size, restart=restart)
    yield Step(id=f"change/{spec.name}", run=run, why=decision.why, needs=needs, timeout_s=RESIZE_TIMEOUT_S)
    if restart:
        yield _ready(spec, f"change/{spec.name}")


def _start(spec: ServerSpec, decision: Decision, needs: tuple[str, ...]) -> Iterator[Step]:
    """Start a host that is off; what it may use is told before, as that takes no restart then."""
    size = _differing(spec, decision, ("change", "restart"))
    if size != Size():
        run = ResizeServer(host=spec.name, size=size)
        yield Step(id=f"change/{spec.name}", run=run, why=decision.why, needs=needs)
        needs = (f"change/{spec.name}",)
    start = StartServer(host=spec.name)
    yield Step(id=f"start/{spec.name}", run=start, why="declared and not running", needs=needs)
    yield _ready(spec, f"start/{spec.name}")


def _differing(spec: ServerSpec, decision: Decision, reaches: tuple[Reach, ...]) -> Size:
    keys = {one.key for one in decision.differences if one.reach in reaches}
    return Size(
        cpus=spec.size.cpus if "size:cpus" in keys else 0,
        memory=spec.size.memory_bytes if "size:memory" in keys else 0,
    )


def _ready(spec: ServerSpec, needed: str) -> Step:
    run = AwaitReady(host=spec.name)
    return Step(id=f"ready/{spec.name}", run=run, why="up is what answers over SSH", needs=(needed,))
