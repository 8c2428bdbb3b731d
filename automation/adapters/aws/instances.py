"""One EC2 instance of ours: found by its marks, waited for, and told of in a journal."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from automation.adapters.aws.marks import DISK, Marks, disk_names, named, tags_of
from automation.adapters.aws.session import Region, Shown
from automation.model.errors import AdapterError
from automation.model.machine_evidence import ProviderChange
from automation.model.records import Context
from automation.model.servers import OWNER, ROLE, RUN

SYSTEM = "system"  # the disk of the image, which no declaration names
LIVING = ("pending", "running", "stopping", "stopped")
_GONE = frozenset({"shutting-down", "terminated"})
_TRIES = 5
_POLL_S, _LONGEST_POLL_S = 0.25, 5.0
T = TypeVar("T")


def deadline_of(ctx: Context) -> float:
    """Say until when a step may wait, by the monotonic clock."""
    return time.monotonic() + ctx.timeout_s


class Doing(NamedTuple):
    """Which step of which run it is, and until when it may wait."""

    run_id: str
    step_id: str
    deadline: float

    @classmethod
    def of(cls, ctx: Context) -> "Doing":
        return cls(ctx.run_id, ctx.step_id, deadline_of(ctx))


def find(region: Region, name: str) -> Shown | None:
    """Give the server of ours of that name; what is terminated is none.

    Raises:
        AdapterError: there are two, which a person must look at.
    """
    marks = Marks(region.environment, name, "")
    filters = [*marks.filters(), named("instance-state-name", *LIVING)]
    found = _described(region, f"server {name} could not be looked for", filters)
    if len(found) > 1:
        ids = ", ".join(sorted(one["InstanceId"] for one in found))
        raise AdapterError(
            f"server {name} of {region.environment} is there {len(found)} times: {ids}; nothing was changed",
            hint=f"look at both; take the tag {OWNER} from the one that is not it",
        )
    return found[0] if found else None


def require(region: Region, name: str) -> Shown:
    """Give the server of ours of that name, or refuse."""
    found = find(region, name)
    if found is None:
        raise AdapterError(
            f"server {name}: none at {region.provider.region} bears the mark of {region.environment}; "
            "nothing was changed",
            hint=f"./inv provision.show --env {region.environment}",
        )
    return found


def by_id(region: Region, instance_id: str, name: str) -> Shown | None:
    """Give an instance by its id, whoever owns it; None once EC2 has forgotten it."""
    what = f"server {name} could not be looked for"
    found = _described(region, what, [named("instance-id", instance_id)])
    return found[0] if found else None


def state_of(instance: Shown) -> str:
    """Give the state of an instance in EC2's words."""
    return str(instance["State"]["Name"])


def await_state(region: Region, instance: Shown, wanted: str, name: str, deadline: float) -> Shown:
    """Wait until an instance is in a state; give how it is then."""
    pause_s, seen = _POLL_S, instance
    while state_of(seen) != wanted:
        if state_of(seen) in _GONE and wanted != "terminated":
            raise AdapterError(
                f"server {name} ({seen['InstanceId']}) became {state_of(seen)} instead of {wanted}: "
                f"{_reason(seen)}; nothing of it is left",
                hint=f"./inv provision.plan --env {region.environment} makes it again",
            )
        if time.monotonic() > deadline:
            raise AdapterError(
                f"server {name} ({seen['InstanceId']}) is {state_of(seen)}, not {wanted} yet: "
                f"{_reason(seen)}",
                transient=True,
                evidence=told(region, seen, name, "changed"),
                hint="a resumed run goes on waiting",
            )
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_POLL_S)
        # What EC2 has made just now it may not show yet.
        seen = by_id(region, instance["InstanceId"], name) or seen
    return seen


def made_once(region: Region, what: str, make: Callable[[], T], look: Callable[[], T | None]) -> T:
    """Make something by a call that must not be repeated blindly.

    After an answer that was lost it is looked for, until it is certain to be shown; only then tried again.
    """
    for _ in range(_TRIES):
        try:
            return make()
        except AdapterError as exc:
            if not exc.unknown:
                raise
        for _ in region.settled():
            found = look()
            if found is not None:
                return found
    raise AdapterError(
        f"{what}: {_TRIES} answers were lost, and it is not there; nothing was made",
        transient=True,
        hint=f"see how {region.provider.region} is, then resume the run",
    )


def done_once(do: Callable[[], object], is_done: Callable[[], bool]) -> None:
    """Do what AWS refuses to do twice; a refusal counts for nothing once it is done."""
    try:
        do()
    except AdapterError:
        if not is_done():
            raise


def told(
    region: Region,
    instance: Shown,
    name: str,
    verb: str,
    *,
    more: Sequence[tuple[str, str]] = (),
) -> ProviderChange:
    """Say for the journal what an instance is made of, by the ids of its parts."""
    ids = {"server": str(instance["InstanceId"]), **disk_ids(instance), **dict(more)}
    for port in instance.get("NetworkInterfaces", ()):
        ids[f"address:eth{port['Attachment']['DeviceIndex']}"] = port["NetworkInterfaceId"]
    return ProviderChange.model_validate(
        {
            "provider": "aws",
            "site": region.provider.site,
            "what": "server",
            "name": name,
            "verb": verb,
            "ids": ids,
            "address": str(instance.get("PrivateIpAddress") or ""),
            "source": region.source,
        }
    )


def disk_ids(instance: Shown) -> dict[str, str]:
    """Give the volumes of an instance: disk:system, disk:data; by their device what nobody named."""
    names = disk_names(tags_of(instance)) | {instance.get("RootDeviceName", ""): SYSTEM}
    return {
        f"disk:{names.get(one['DeviceName'], one['DeviceName'])}": one["Ebs"]["VolumeId"]
        for one in instance.get("BlockDeviceMappings", ())
    }


def disk_of(volume: Shown, instance: Shown) -> str:
    """Name a volume of an instance: by its own tag, else by that of the instance; empty when neither does."""
    own = tags_of(volume).get(DISK)
    device = next((one["Device"] for one in volume.get("Attachments", ())), "")
    return own or disk_names(tags_of(instance)).get(device, "")


def is_ours(shown: Shown, region: Region, name: str) -> bool:
    """Whether something bears our mark, for this server."""
    tags = tags_of(shown)
    return (tags.get(OWNER), tags.get(ROLE)) == (region.environment, name)


def made_by(instance: Shown) -> str:
    """Give the run that made or adopted an instance."""
    return tags_of(instance).get(RUN, "")


def _described(region: Region, what: str, filters: list[dict[str, object]]) -> list[Shown]:
    pages = region.pages("ec2.describe_instances", "Reservations", what, Filters=filters)
    return [instance for reservation in pages for instance in reservation["Instances"]]


def _reason(instance: Shown) -> str:
    return str(instance.get("StateReason", {}).get("Message") or "AWS gives no reason")
