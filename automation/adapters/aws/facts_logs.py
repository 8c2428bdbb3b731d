"""Facts of what is written down of an account: trails, logs of networks, and for how long they are kept."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import JsonValue

from automation.adapters.aws.account import Account
from automation.adapters.aws.marks import named
from automation.adapters.aws.session import Region, Shown
from automation.model.errors import AdapterError

_NO_RULES = frozenset({"NoSuchLifecycleConfiguration"})
_FOR_EVER = 0
BUCKET = "s3://"


def trails(region: Region) -> list[Shown]:
    """List the trails that write down what is done in a region, be they of another or of the organisation."""
    what = "trails could not be listed"
    return list(region.read("cloudtrail.describe_trails", what, includeShadowTrails=True)["trailList"])


def trail_facts(account: Account, seen: Iterable[Shown]) -> list[JsonValue]:
    """Say of each trail what it writes down; each is asked where it is at home."""
    by_arn = {str(one["TrailARN"]): one for one in seen}
    return [_trail(account.region(one["HomeRegion"]), arn, one) for arn, one in by_arn.items()]


def is_logging(region: Region, arn: str) -> bool:
    """Whether a trail writes down what is done."""
    return bool(_status(region, arn)["IsLogging"])


def networks(region: Region) -> list[JsonValue]:
    """List networks, and whether all their traffic is logged."""
    logs = list(flow_logs(region))
    shown = region.pages("ec2.describe_vpcs", "Vpcs", "networks could not be listed")
    return [{"name": str(one["VpcId"]), "logged": is_logged(str(one["VpcId"]), logs)} for one in shown]


def flow_logs(region: Region, network: str = "") -> Iterator[Shown]:
    """List logs of networks: all, or those of one."""
    more: dict[str, Any] = {"Filter": [named("resource-id", network)]} if network else {}
    return region.pages("ec2.describe_flow_logs", "FlowLogs", "logs of networks could not be listed", **more)


def is_logged(network: str, logs: Iterable[Shown]) -> bool:
    """Whether logs together have all traffic of a network, and arrive. Pure."""
    kinds = {
        one.get("TrafficType")
        for one in logs
        if one.get("ResourceId") == network
        and one.get("FlowLogStatus") == "ACTIVE"
        and one.get("DeliverLogsStatus", "SUCCESS") == "SUCCESS"
    }
    return "ALL" in kinds or {"ACCEPT", "REJECT"} <= kinds


def stores_of(logs: Iterable[Shown], seen: Iterable[Shown], account: Account) -> set[str]:
    """Name where logs go: a log group by its ARN, a bucket as s3://name, anything else as AWS names it."""
    named_by = [*(_of_flow_log(one, account) for one in logs)]
    for trail in seen:
        named_by += [trail.get("CloudWatchLogsLogGroupArn", "").removesuffix(":*")]
        named_by += [f"{BUCKET}{trail['S3BucketName']}" if trail.get("S3BucketName") else ""]
    return {one for one in named_by if one}


def store_facts(account: Account, names: Iterable[str]) -> list[JsonValue]:
    """Say for how long each store keeps what it gets; 0: for ever.

    Raises:
        AdapterError: one of them cannot be asked, or nobody could say it.
    """
    return [{"name": one, "kept_days": _kept_days(account, one)} for one in sorted(names)]


def retention_days(region: Region, arn: str) -> int:
    """Give for how long a log group keeps what it gets; 0: for ever.

    Raises:
        AdapterError: it is not there.
    """
    name = arn.split(":", 6)[6]
    what, more = f"log group {name} could not be looked up", dict[str, str]()
    while True:
        answer = region.read("logs.describe_log_groups", what, logGroupNamePrefix=name, **more)
        for one in answer.get("logGroups", ()):
            if one["logGroupName"] == name:
                return int(one.get("retentionInDays") or _FOR_EVER)
        if not answer.get("nextToken"):
            raise AdapterError(f"log group {name} is not in {region.provider.region}; nothing was changed")
        more = {"nextToken": answer["nextToken"]}


def _trail(region: Region, arn: str, shown: Shown) -> JsonValue:
    what = f"what trail {arn} writes down could not be asked"
    asked, status = region.read("cloudtrail.get_event_selectors", what, TrailName=arn), _status(region, arn)
    return {
        "name": arn,
        "all_regions": bool(shown.get("IsMultiRegionTrail")),
        "logging": bool(status["IsLogging"]),
        "delivered": not status.get("LatestDeliveryError"),
        "management_events": writes_all(asked),
        "validated": bool(shown.get("LogFileValidationEnabled")),
        "encrypted": bool(shown.get("KmsKeyId")),
    }


def _status(region: Region, arn: str) -> Shown:
    what = f"whether trail {arn} runs could not be asked"
    return region.read("cloudtrail.get_trail_status", what, Name=arn)


def writes_all(asked: Shown) -> bool:
    """Whether reading and writing of what is managed is written down, all of it."""
    simple = any(
        one.get("IncludeManagementEvents") and one.get("ReadWriteType", "All") == "All"
        for one in asked.get("EventSelectors") or ()
    )
    return simple or any(_is_whole(one) for one in asked.get("AdvancedEventSelectors") or ())


def _is_whole(selector: Shown) -> bool:
    fields: Mapping[str, Shown] = {one["Field"]: one for one in selector.get("FieldSelectors", ())}
    return set(fields) == {"eventCategory"} and fields["eventCategory"].get("Equals") == ["Management"]


def _of_flow_log(shown: Shown, account: Account) -> str:
    where = str(shown.get("LogDestination") or "")
    if shown.get("LogDestinationType") == "s3":
        return BUCKET + where.rpartition(":::")[2].partition("/")[0]
    if where or not shown.get("LogGroupName"):
        return where.removesuffix(":*")
    return f"arn:{account.partition}:logs:{shown['Region']}:{account.id}:log-group:{shown['LogGroupName']}"


def _kept_days(account: Account, name: str) -> int:
    if name.startswith(BUCKET):
        return _kept_in_bucket(account, name.removeprefix(BUCKET))
    parts = name.split(":", 6)
    if parts[2:3] != ["logs"] or parts[4] != account.id:
        raise AdapterError(f"for how long {name} keeps logs cannot be asked from here; nothing was changed")
    return retention_days(account.region_of_arn(name), name)


def _kept_in_bucket(account: Account, name: str) -> int:
    """Give the shortest time after which a rule of a bucket deletes anything."""
    what = f"for how long bucket {name} keeps what it has could not be asked"
    answer = account.home.find("s3.get_bucket_lifecycle_configuration", what, _NO_RULES, Bucket=name)
    rules = () if answer is None else answer.get("Rules", ())
    ends = [
        int(one["Expiration"].get("Days", 1))  # one with a date deletes all that is older
        for one in rules
        if one.get("Status") == "Enabled" and {"Days", "Date"} & set(one.get("Expiration", ()))
    ]
    return min(ends, default=_FOR_EVER)
