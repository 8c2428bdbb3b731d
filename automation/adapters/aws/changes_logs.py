"""Calls on what is written down of an account: trails, logs of networks, and for how long they are kept."""

from typing import Any

from automation.adapters.aws.account import Account
from automation.adapters.aws.calls import Kind, State, held, number
from automation.adapters.aws.facts_logs import BUCKET, flow_logs, is_logged, is_logging, retention_days
from automation.adapters.aws.marks import Marks, named, specified, tags_of
from automation.adapters.aws.session import Region, Shown
from automation.model.errors import AdapterError
from automation.model.provider_settings import WantedCall
from automation.model.servers import OWNER, ROLE

_ROLE = "baseline"  # what a log of ours is there for, on its mark
_FOR_EVER = 0


# --- trails ------------------------------------------------------------------------------------------


def _read_running(account: Account, arn: str, _before: State) -> State:
    return {"logging": is_logging(account.region_of_arn(arn), arn)}


def _running(_state: State, _wanted: WantedCall) -> State:
    return {"logging": True}


def _set_running(account: Account, arn: str, _now: State, wanted: State) -> None:
    region = account.region_of_arn(arn)
    if held(wanted, "logging"):
        region.change("cloudtrail.start_logging", f"trail {arn} could not be started", Name=arn)
    else:
        region.change("cloudtrail.stop_logging", f"trail {arn} could not be stopped", Name=arn)


def _read_validated(account: Account, arn: str, _before: State) -> State:
    what = f"trail {arn} could not be looked at"
    answer = account.region_of_arn(arn).read(
        "cloudtrail.describe_trails", what, includeShadowTrails=True, trailNameList=[arn]
    )
    for one in answer["trailList"]:
        if one["TrailARN"] == arn:
            return {"validated": bool(one.get("LogFileValidationEnabled"))}
    raise AdapterError(f"trail {arn} is not there; nothing was changed by this call")


def _validated(_state: State, _wanted: WantedCall) -> State:
    return {"validated": True}


def _set_validated(account: Account, arn: str, _now: State, wanted: State) -> None:
    account.region_of_arn(arn).change(
        "cloudtrail.update_trail",
        f"whether files of trail {arn} can be validated could not be set",
        Name=arn,
        EnableLogFileValidation=bool(held(wanted, "validated")),
    )


# --- networks ----------------------------------------------------------------------------------------


def _read_logged(account: Account, network: str, _before: State) -> State:
    region, _ = account.where(f"network {network}", lambda one: _network(one, network))
    logs = list(flow_logs(region, network))
    ours = bool(_ours(region, logs))
    return {"region": region.provider.region, "logged": is_logged(network, logs), "ours": ours}


def _network(region: Region, network: str) -> Shown | None:
    what = f"network {network} could not be looked for"
    return next(
        iter(region.pages("ec2.describe_vpcs", "Vpcs", what, Filters=[named("vpc-id", network)])), None
    )


def _ours(region: Region, logs: list[Shown]) -> list[str]:
    marks = {OWNER: region.environment, ROLE: _ROLE}
    return [str(one["FlowLogId"]) for one in logs if marks.items() <= tags_of(one).items()]


def _logged(state: State, _wanted: WantedCall) -> State:
    return state if held(state, "logged") else {"region": held(state, "region"), "logged": True, "ours": True}


def _set_logged(account: Account, network: str, now: State, wanted: State) -> None:
    region = account.region(str(held(now, "region")))
    if held(wanted, "ours"):
        _log(account, region, network)
        return
    ids = _ours(region, list(flow_logs(region, network)))
    region.change("ec2.delete_flow_logs", f"our log of network {network} could not be ended", FlowLogIds=ids)


def _log(account: Account, region: Region, network: str) -> None:
    what = f"the log of network {network} could not be begun"
    answer = region.change(
        "ec2.create_flow_logs",
        what,
        ResourceIds=[network],
        ResourceType="VPC",
        TrafficType="ALL",
        ClientToken=account.token(network),
        TagSpecifications=specified(
            ("vpc-flow-log",), Marks(region.environment, _ROLE, account.run_id).tags()
        ),
        **_destination(account, region, network),
    )
    for one in answer.get("Unsuccessful") or ():
        raise AdapterError(f"{what}: {one['Error']['Message']}; nothing was changed by this call")


def _destination(account: Account, region: Region, network: str) -> dict[str, Any]:
    """Give where logs of other networks go already: a log group of the region with its role, or a bucket.

    Raises:
        AdapterError: there is no such place; one is made by people, who know what it costs.
    """
    for one in flow_logs(region):
        if one.get("LogGroupName") and one.get("DeliverLogsPermissionArn"):
            return {
                "LogGroupName": one["LogGroupName"],
                "DeliverLogsPermissionArn": one["DeliverLogsPermissionArn"],
            }
    for logs in account.in_each(lambda one: list(flow_logs(one))).values():
        for one in logs:
            if one.get("LogDestinationType") == "s3":
                return {"LogDestinationType": "s3", "LogDestination": one["LogDestination"]}
    raise AdapterError(
        f"network {network}: no other network of account {account.id} is logged to a bucket, or to a "
        f"log group of {region.provider.region}; nothing was changed by this call",
        hint="let people log one network, which says where; the others follow it",
    )


# --- retention ---------------------------------------------------------------------------------------


def _read_retention(account: Account, arn: str, _before: State) -> State:
    if arn.startswith(BUCKET):
        raise AdapterError(f"for how long bucket {arn} keeps logs is for people to set; nothing was changed")
    return {"days": retention_days(account.region_of_arn(arn), arn)}


def _kept(state: State, wanted: WantedCall) -> State:
    now, least = held(state, "days"), number(wanted, "days")
    is_long = isinstance(now, int) and (now == _FOR_EVER or now >= least)
    return state if is_long else {"days": least}


def _set_retention(account: Account, arn: str, _now: State, wanted: State) -> None:
    account.region_of_arn(arn).change(
        "logs.put_retention_policy",
        f"for how long {arn} keeps logs could not be set",
        logGroupName=arn.split(":", 6)[6],
        retentionInDays=held(wanted, "days"),
    )


KINDS = {
    "start_trail": Kind(_read_running, _running, _set_running),
    "validate_trail": Kind(_read_validated, _validated, _set_validated),
    "log_network": Kind(_read_logged, _logged, _set_logged),
    "keep_logs": Kind(_read_retention, _kept, _set_retention),
}
