"""Servers, networks and faults of a lab on this machine: systemd-nspawn under one supervisor.

Every function looks at what is there before it acts, and acts only on the lab whose id the
environment names.
"""

import uuid
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from automation.adapters.nspawn import hostkeys, image, machine, remains, seeds, status, supervisor
from automation.adapters.nspawn.client import Supervisor
from automation.adapters.nspawn.homecoming import release_server as release_server
from automation.adapters.nspawn.homecoming import start_fenced as start_fenced
from automation.adapters.nspawn.isolated import create_isolated as create_isolated
from automation.adapters.nspawn.isolated import list_servers as list_servers
from automation.adapters.nspawn.isolated import remove_server as remove_server
from automation.adapters.nspawn.isolated import verify_create_isolated as verify_create_isolated
from automation.adapters.nspawn.isolated import verify_remove_server as verify_remove_server
from automation.adapters.nspawn.looking import look as look
from automation.adapters.nspawn.resizing import resize_server as resize_server
from automation.adapters.nspawn.retiring import destroy_server as destroy_server
from automation.adapters.nspawn.retiring import verify_destroy_server as verify_destroy_server
from automation.adapters.nspawn.simulators import start_simulator as start_simulator
from automation.model.actions import (
    BlockServer,
    BuildImage,
    CreateServer,
    CutLink,
    DarkenSite,
    FailSite,
    HealLink,
    HealSite,
    HoldServer,
    InspectDisk,
    LookAtServer,
    PartitionSite,
    PowerOffServer,
    RejoinSite,
    RestoreDisks,
    RestoreManagement,
    SaveDisks,
    StartLab,
    StartServer,
    UnblockServer,
)
from automation.model.environment import Environment
from automation.model.errors import AdapterError
from automation.model.evidence import CommandOutput, Fault, ServerState
from automation.model.observations import ObservedLab
from automation.model.records import Context, Outcome

SHUT_DOWN_S = 90.0
COPY_S = 600.0

# --- reading and removing -----------------------------------------------------------------------


def observe(
    state: Path,
    images: Path,
    environment: Environment,
    wanted_images: Iterable[str],
    missing_keys: tuple[str, ...],
) -> ObservedLab:
    """See what a lab has and lacks, for planning."""
    seen = status.read(state, environment.require_lab().id)
    missing = tuple(name for name in sorted(wanted_images) if not image.root_of(images, name).is_dir())
    return ObservedLab(
        running=seen.running,
        missing_images=missing,
        missing_keys=missing_keys,
        servers=status.observed(seen),
        failed_sites=seen.failed_sites,
        dark_sites=seen.dark_sites,
        cut_sites=seen.cut_sites,
        simulators=tuple(name for name, one in seen.simulators.items() if one.power == "on"),
    )


def describe(state: Path, environment: Environment) -> status.LabStatus:
    """See all of a lab: servers, sites, links."""
    return status.read(state, environment.require_lab().id)


def preflight(state: Path, environment: Environment, say: Callable[[str], None], *, servers: int) -> None:
    """Make sure that this machine can hold the lab; installs missing packages as root.

    Raises:
        PreflightError: it cannot, with every reason and its fix.
    """
    machine.check(environment.require_lab(), state, servers=servers, say=say)


def remove_lab(state: Path, lab_id: str) -> str:
    """Remove all of a lab, however it was left; give what was there, in words."""
    return remains.remove(state, lab_id)


# --- servers ------------------------------------------------------------------------------------


def build_image(action: BuildImage, ctx: Context) -> Outcome:
    """Build the golden image unless it is there."""
    built = image.build(ctx.images, action.image, ctx.say)
    return Outcome(changed=built, summary=f"image {action.image} {'built' if built else 'is there'}")


def start_lab(action: StartLab, ctx: Context) -> Outcome:
    """Start the lab's supervisor unless it runs; it boots what was on before."""
    lab = ctx.environment.require_lab()
    started = supervisor.start(ctx.state, lab)
    return Outcome(changed=started, summary=f"lab {lab.id} {'started' if started else 'runs'}")


def create_server(action: CreateServer, ctx: Context) -> Outcome:
    """Make a server's disk with a host key that is pinned, and boot it."""
    known = _lab(ctx).ask("status")["servers"].get(action.host)
    if known:
        _refuse_another(action, known, ctx.environment.name)
        return _outcome(known, changed=False, did="exists")
    key = hostkeys.make(action.host)
    hostkeys.pin(ctx.state / "known_hosts", action.host, action.address, key)
    server = ctx.inventory.server(action.host)
    files = seeds.first_files(
        server,
        seeds.resolvers_of(server, ctx.inventory),
        key,
        seeds.authorized_key(ctx.state),
        machine_id=uuid.uuid4().hex,
    )
    made = _lab(ctx).ask(
        "create_server",
        server=action.host,
        site=action.site,
        address=action.address,
        image=str(image.root_of(ctx.images, action.image)),
        files=files,
        cpus=action.size.cpus,
        memory_bytes=action.size.memory_bytes,
    )
    return _outcome(made, changed=True, did="created")


def start_server(action: StartServer, ctx: Context) -> Outcome:
    """Power a server on; one that is fenced or kept off is an error."""
    before = _state_of(ctx, action.host)
    if before["power"] == "on":
        return _outcome(before, changed=False, did="is on")
    return _outcome(_lab(ctx).ask("start_server", server=action.host), changed=True, did="started")


def power_off_server(action: PowerOffServer, ctx: Context) -> Outcome:
    """Cut a server's power and keep it off; both are read back."""
    before = _state_of(ctx, action.host)
    after = _lab(ctx).ask("power_off_server", server=action.host, autostart=False)
    if after["power"] != "off" or after["autostart"]:
        raise AdapterError(f"server {action.host}: power is {after['power']} after it was cut")
    changed = before["power"] == "on" or before["autostart"]
    return _outcome(after, changed=changed, did="powered off and kept off")


def hold_server(action: HoldServer, ctx: Context) -> Outcome:
    """Cut a server's power; read back. Whoever starts it again lifts this."""
    before = _state_of(ctx, action.host)
    after = _lab(ctx).ask("power_off_server", server=action.host)
    if after["power"] != "off":
        raise AdapterError(f"server {action.host}: power is {after['power']} after it was cut")
    return _outcome(after, changed=before["power"] == "on", did="is off until it is started")


def block_server(action: BlockServer, ctx: Context) -> Outcome:
    """Cut a server off the network until it is unblocked; read back."""
    before = _state_of(ctx, action.host)
    after = _lab(ctx).ask("block_server", server=action.host)
    if after["network"] != "blocked":
        raise AdapterError(f"server {action.host}: network is {after['network']} after it was blocked")
    return _outcome(after, changed=before["network"] != "blocked", did="blocked on the network")


def unblock_server(action: UnblockServer, ctx: Context) -> Outcome:
    """Lift the network fence of a server; read back."""
    before = _state_of(ctx, action.host)
    after = _lab(ctx).ask("unblock_server", server=action.host)
    return _outcome(after, changed=before["network"] == "blocked", did="unblocked on the network")


# --- faults -------------------------------------------------------------------------------------


def fail_site(action: FailSite, ctx: Context) -> Outcome:
    """Cut network and power of a site at once."""
    done = _lab(ctx).ask("fail_site", site=action.site)
    summary = f"site {action.site}: network and power cut in {done['took_ms']:.1f} ms"
    return Outcome(changed=True, summary=summary, evidence=_fault("power-loss", action.site, done["at"]))


def heal_site(action: HealSite, ctx: Context) -> Outcome:
    """Return network and power to a site; what is fenced or kept off stays so."""
    before = _lab(ctx).ask("status")["sites"].get(action.site, {})
    done = _lab(ctx).ask("heal_site", site=action.site)
    booted = ", ".join(done["booted"]) or "no server"
    changed = before.get("power") == "failed" or bool(done["booted"])
    return Outcome(changed=changed, summary=f"site {action.site}: power and network on; booted {booted}")


def cut_link(action: CutLink, ctx: Context) -> Outcome:
    """Cut the WAN between two sites."""
    done = _lab(ctx).ask("cut_link", sites=action.sites)
    between = " and ".join(action.sites)
    fault = _fault("link-cut", "-".join(action.sites), done["at"])
    return Outcome(changed=True, summary=f"WAN between {between} cut", evidence=fault)


def heal_link(action: HealLink, ctx: Context) -> Outcome:
    """Mend the WAN between two sites."""
    before = _lab(ctx).ask("status")["wan"]["links"]
    done = _lab(ctx).ask("heal_link", sites=action.sites)
    changed = any(not before[name]["up"] for name in done["links"])
    return Outcome(changed=changed, summary=f"WAN between {' and '.join(action.sites)} up")


def partition_site(action: PartitionSite, ctx: Context) -> Outcome:
    """Cut a site off from every other one; its hosts and its management go on."""
    done = _lab(ctx).ask("isolate_site", site=action.site, management=True)
    fault = _fault("wan-partition", action.site, done["at"])
    return Outcome(changed=True, summary=f"site {action.site} cut off; its hosts run on", evidence=fault)


def darken_site(action: DarkenSite, ctx: Context) -> Outcome:
    """Cut a site off with its management; its hosts run on, and nobody outside can know."""
    done = _lab(ctx).ask("isolate_site", site=action.site, management=False)
    fault = _fault("dark-site", action.site, done["at"])
    return Outcome(changed=True, summary=f"site {action.site} is dark", evidence=fault)


def restore_management(action: RestoreManagement, ctx: Context) -> Outcome:
    """Let a site's management answer again; read back."""
    before = _lab(ctx).ask("status")["sites"].get(action.site, {})
    done = _lab(ctx).ask("restore_management", site=action.site)
    changed = before.get("management") == "down"
    return Outcome(changed=changed, summary=f"site {action.site}: management {done['management']}")


def rejoin_site(action: RejoinSite, ctx: Context) -> Outcome:
    """Mend a site's way to the others and its management; fences stay."""
    done = _lab(ctx).ask("rejoin_site", site=action.site)
    summary = f"site {action.site}: network {done['network']}, management {done['management']}"
    return Outcome(changed=True, summary=summary)


def look_at_server(action: LookAtServer, ctx: Context) -> Outcome:
    """Ask a server's management for its state."""
    seen = _state_of(ctx, action.host)
    return _outcome(seen, changed=False, did=f"is {seen['power']} and {seen['network']}")


# --- disks --------------------------------------------------------------------------------------


def save_disks(action: SaveDisks, ctx: Context) -> Outcome:
    """Shut all servers down, copy their disks, and boot those that are to be on."""
    ctx.say("shutting servers down and copying their disks")
    done = _lab(ctx).ask("save_disks", name=action.name, timeout_s=SHUT_DOWN_S, within_s=COPY_S)
    return Outcome(changed=True, summary=f"disks of {len(done['servers'])} servers saved as {action.name}")


def restore_disks(action: RestoreDisks, ctx: Context) -> Outcome:
    """Cut all power, put the saved disks, fences and links back, and boot what is to be on."""
    ctx.say("copying disks back")
    done = _lab(ctx).ask("restore_disks", name=action.name, within_s=COPY_S)
    return Outcome(
        changed=True,
        summary=f"disks {action.name} put back; booted {', '.join(done['booted']) or 'no server'}",
        evidence=_fault("restore-disks", action.name, done["at"]),
    )


def inspect_disk(action: InspectDisk, ctx: Context) -> Outcome:
    """Run a program on a view of a powered-off server's disk and keep what it printed."""
    done = _lab(ctx).ask(
        "inspect_disk",
        server=action.host,
        argv=action.argv,
        timeout_s=ctx.timeout_s,
        within_s=ctx.timeout_s + 15,
    )
    if done["exit_code"] != 0:
        raise AdapterError(
            f"{action.argv[0]} on the disk of {action.host}: exit {done['exit_code']}: "
            f"{str(done['stderr']).strip()[-400:]}; the disk is unchanged"
        )
    (ctx.artifacts / action.artifact).write_text(done["stdout"])
    evidence = CommandOutput(server=action.host, file=action.artifact, exit_code=0)
    return Outcome(
        changed=False, summary=f"{action.argv[0]} ran on the disk of {action.host}", evidence=evidence
    )


# --- parts of the above -------------------------------------------------------------------------


def _lab(ctx: Context) -> Supervisor:
    """Give the environment's own lab, and no other."""
    return Supervisor(ctx.state, ctx.environment.require_lab().id)


def _state_of(ctx: Context, host: str) -> dict[str, Any]:
    return _lab(ctx).ask("server_state", server=host)


def _outcome(shown: dict[str, Any], *, changed: bool, did: str) -> Outcome:
    evidence = ServerState(
        server=shown["server"], power=shown["power"], autostart=shown["autostart"], network=shown["network"]
    )
    return Outcome(changed=changed, summary=f"server {shown['server']} {did}", evidence=evidence)


def _fault(fault: str, target: str, at: str) -> Fault:
    return Fault(fault=fault, target=target, at=datetime.fromisoformat(at))


def _refuse_another(action: CreateServer, known: dict[str, Any], environment: str) -> None:
    if (known["site"], known["address"]) != (action.site, action.address):
        raise AdapterError(
            f"server {action.host} exists at {known['site']} as {known['address']}; nothing was changed",
            hint=f"./inv lab.down --env {environment}, then ./inv lab.up --env {environment}",
        )
