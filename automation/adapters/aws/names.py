"""Moving a name in Route 53: compare and set, by one batch that deletes the old value and makes the new."""

import time
from pathlib import Path

from automation.adapters.aws.instances import deadline_of
from automation.adapters.aws.session import Region, Shown, region_of, region_seen
from automation.model.actions import SwapRecord
from automation.model.environment import Environment
from automation.model.errors import AdapterError
from automation.model.evidence import DnsChange
from automation.model.records import Context, Outcome, Progress

_POLL_S, _LONGEST_POLL_S = 0.5, 5.0
_OF_POLICIES = ("SetIdentifier", "AliasTarget", "HealthCheckId")


def swap_record(action: SwapRecord, ctx: Context) -> Outcome:
    """Change the A record of a name from its old addresses, or the first of them alone, to the new ones.

    Raises:
        AdapterError: it holds others, or is an alias or one of several by a policy; nothing was changed.
    """
    region, deadline = region_of(ctx, action.site), deadline_of(ctx)
    record = _require(region, action)
    if _addresses(record) == sorted(action.new):
        return _outcome(region, action, changed=False)
    _refuse_other(record, action)
    change_id = _change(region, action, record)
    if change_id:
        _await_everywhere(region, action, change_id, deadline)
    return _outcome(region, action, changed=True)


def verify_swap_record(action: SwapRecord, ctx: Context) -> Progress:
    """Say whether it holds the new addresses; anything else is compared again before it is changed."""
    region = region_of(ctx, action.site)
    if _addresses(_require(region, action)) != sorted(action.new):
        return Progress(state="not_done", why=f"{action.name} does not hold {', '.join(action.new)}")
    return Progress(state="done", outcome=_outcome(region, action, changed=True))


def look_at_record(environment: Environment, site: str, state: Path, zone: str, name: str) -> tuple[str, ...]:
    """Give the addresses that a name has in Route 53, sorted; changes nothing.

    Raises:
        AdapterError: the zone does not answer, or the name has no plain A record.
    """
    region = region_seen(environment, site, state)
    region.require_account()
    asked = SwapRecord(site=site, zone=zone, name=name, old=("as it is",), new=("as it is",))
    return tuple(_addresses(_require(region, asked)))


def _require(region: Region, action: SwapRecord) -> Shown:
    what = f"{action.name} could not be looked up in zone {action.zone}"
    answer = region.read(
        "route53.list_resource_record_sets",
        what,
        HostedZoneId=action.zone,
        StartRecordName=action.name,
        StartRecordType="A",
        MaxItems="2",
    )
    found: list[Shown] = [
        one
        for one in answer["ResourceRecordSets"]
        if one["Name"].rstrip(".").lower() == action.name.rstrip(".").lower() and one["Type"] == "A"
    ]
    if not found:
        raise AdapterError(
            f"{action.name} has no A record in zone {action.zone}; nothing was changed",
            hint="a name that clients use is declared and made before it can be moved",
        )
    if len(found) > 1 or any(word in found[0] for word in _OF_POLICIES):
        raise AdapterError(
            f"{action.name} in zone {action.zone} is an alias, or one of several records by a policy; "
            "nothing was changed",
            hint="give the name one plain A record, or move it by the city's own playbooks",
        )
    return found[0]


def _addresses(record: Shown) -> list[str]:
    return sorted(one["Value"] for one in record.get("ResourceRecords", ()))


def _refuse_other(record: Shown, action: SwapRecord) -> None:
    held = _addresses(record)
    if held not in (sorted(action.old), sorted(action.half or action.old)):
        raise AdapterError(
            f"{action.name} holds {', '.join(held) or 'no address'} in zone {action.zone}, expected "
            f"{', '.join(action.old)}; nothing was changed",
            hint="somebody moved it meanwhile: see where it should lead, then plan anew",
        )


def _change(region: Region, action: SwapRecord, record: Shown) -> str:
    """Change it, if it still is the same: Route 53 deletes nothing else. A lost answer is looked for."""
    new = {**record, "ResourceRecords": [{"Value": address} for address in action.new]}
    changes = [
        {"Action": "DELETE", "ResourceRecordSet": dict(record)},
        {"Action": "CREATE", "ResourceRecordSet": new},
    ]
    what = f"{action.name} could not be moved in zone {action.zone}"
    batch = {"Comment": "mainstay", "Changes": changes}
    try:
        answer = region.change(
            "route53.change_resource_record_sets",
            what,
            once=True,
            HostedZoneId=action.zone,
            ChangeBatch=batch,
        )
    except AdapterError as exc:
        if not exc.unknown or _addresses(_require(region, action)) != sorted(action.new):
            raise
        return ""
    return str(answer["ChangeInfo"]["Id"])


def _await_everywhere(region: Region, action: SwapRecord, change_id: str, deadline: float) -> None:
    """Wait until every server of Route 53 has it."""
    pause_s, what = _POLL_S, f"whether {action.name} is moved everywhere could not be asked"
    while region.read("route53.get_change", what, Id=change_id)["ChangeInfo"]["Status"] != "INSYNC":
        if time.monotonic() > deadline:
            raise AdapterError(
                f"{action.name} is changed in zone {action.zone}, and not on all of its servers yet",
                transient=True,
                hint="a resumed run sees whether it is",
            )
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_POLL_S)


def _outcome(region: Region, action: SwapRecord, *, changed: bool) -> Outcome:
    evidence = DnsChange(
        name=action.name,
        old=", ".join(action.old),
        new=", ".join(action.new),
        updated=(f"Route 53 zone {action.zone}",),
        reconcile=(),
        source=region.source,
    )
    said = "is" if changed else "was already"
    return Outcome(
        changed=changed,
        summary=f"{action.name} {said} {', '.join(action.new)} in zone {action.zone}",
        evidence=evidence,
    )
