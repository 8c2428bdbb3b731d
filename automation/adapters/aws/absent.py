"""Whether an EC2 instance of ours is surely not there: what may be it, and may run, is not fenced."""

from collections.abc import Iterator

from automation.adapters.aws.instances import LIVING, await_state, deadline_of, find, state_of
from automation.adapters.aws.marks import named, tags_of
from automation.adapters.aws.session import Region, Shown
from automation.model.actions import BlockInstance, FenceInstance
from automation.model.errors import AdapterError
from automation.model.evidence import ServerState
from automation.model.records import Context, Outcome
from automation.model.servers import OWNER, ROLE


def absent(region: Region, action: FenceInstance | BlockInstance, ctx: Context) -> Outcome | None:
    """Give the outcome for a server that may be gone, and is; one that only lost its mark is not.

    It is looked for twice: what was started a moment ago the first look may not show.

    Raises:
        AdapterError: something there has its mark, name or address and may run, and is not it for certain.
    """
    if not action.absent_is_off or find(region, action.host) is not None:
        return None
    region.require_account()  # in another one, nothing is there
    deadline = deadline_of(ctx)
    _refuse_like(region, action.host, ctx, deadline)
    for _ in region.settled():
        pass
    if find(region, action.host) is not None:
        return None
    _refuse_like(region, action.host, ctx, deadline)
    evidence = ServerState(
        server=action.host, power="absent", autostart=False, network="blocked", source=region.source
    )
    summary = f"server {action.host} is not there: nothing at {region.provider.region} has its mark, name or"
    return Outcome(changed=False, summary=f"{summary} address", evidence=evidence)


def _refuse_like(region: Region, host: str, ctx: Context, deadline: float) -> None:
    """Wait for what is ending; refuse whatever else may be the server, whoever's mark it bears."""
    adopt = f"./inv provision.adopt --env {region.environment}"
    for one in _like(region, host, ctx):
        if state_of(one) == "shutting-down":
            await_state(region, one, "terminated", host, deadline)
            continue
        owner, role = tags_of(one).get(OWNER), tags_of(one).get(ROLE)
        whose = f"the mark of {role} of {owner}" if owner else "nobody's mark"
        mend = f"{OWNER}={region.environment} and {ROLE}={host} belong on it at AWS"
        raise AdapterError(
            f"server {host}: {one['InstanceId']} has its name or address at {region.provider.region}, and "
            f"{whose}: it is not fenced; nothing was changed",
            hint=f"{mend if owner else adopt}, if it is that server",
        )


def _like(region: Region, host: str, ctx: Context) -> Iterator[Shown]:
    """Give what may run still and has the mark, name or declared address of a server, or part of these."""
    what, declared = f"server {host} could not be looked for", ctx.inventory.servers.get(host)
    alive = named("instance-state-name", *LIVING, "shutting-down")
    address = declared.address if declared else ""
    ways = ((f"tag:{ROLE}", host), ("tag:Name", host), ("private-ip-address", address))
    for way in (one for one in ways if one[1]):
        filters = [named(*way), alive]
        for page in region.pages("ec2.describe_instances", "Reservations", what, Filters=filters):
            yield from (seen for seen in page["Instances"] if not _is_another(region, seen, host, ctx))


def _is_another(region: Region, seen: Shown, host: str, ctx: Context) -> bool:
    """Whether an instance is surely another server of ours: a declared one, by its mark and its name."""
    tags = tags_of(seen)
    role = tags.get(ROLE)
    ours = tags.get(OWNER) == region.environment and role in ctx.inventory.servers
    return ours and role != host and tags.get("Name") == role
