"""Route 53 of the simulated AWS: moto's, with batches that are checked whole, and changes that take time."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import moto.route53.models
import moto.route53.urls
from aws_changes import Changes
from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.route53.exceptions import Route53ClientError
from moto.route53.models import FakeZone, RecordSet, Route53Backend, route53_backends
from moto.route53.responses import Route53

Key = tuple[str, str, str]


class Names(Route53Backend):  # type: ignore[misc]  # moto has no types
    """All zones of an account, and the changes to them."""

    __module__ = "moto.route53.models"  # by which moto finds the paths, and pickle finds it again
    changes: ClassVar[Changes]

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.submitted: dict[str, dict[str, Any]] = {}

    def change_resource_record_sets(self, zoneid: str, change_list: list[dict[str, Any]]) -> None:
        """Carry a batch out whole or not at all; a record is deleted only as it is.

        moto takes any values for right that a record ever had, and makes one anew that exists.
        """
        zone = self.get_hosted_zone(zoneid)
        check_batch(zone, change_list)
        super().change_resource_record_sets(zoneid, change_list)

    def submit(self) -> dict[str, Any]:
        """Give a change that takes its time to reach all name servers."""
        identity = "C" + "".join(secrets.choice("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(20))
        self.submitted[identity] = {
            "Id": f"/change/{identity}",
            "Status": "PENDING",
            "SubmittedAt": utcnow(),
        }
        self.changes.later(self.arrive, identity)
        return dict(self.submitted[identity])

    def arrive(self, identity: str) -> None:
        if identity in self.submitted:
            self.submitted[identity]["Status"] = "INSYNC"


class Calls(Route53):  # type: ignore[misc]
    """Answers one request to Route 53."""

    def change_resource_record_sets(self) -> ActionResult:
        super().change_resource_record_sets()
        return ActionResult({"ChangeInfo": self.backend.submit()})

    def get_change(self) -> ActionResult:
        identity = str(self._get_param("Id")).rpartition("/")[2]
        if identity not in self.backend.submitted:
            raise Route53ClientError("NoSuchChange", f"Could not find resource with ID: {identity}")
        return ActionResult({"ChangeInfo": self.backend.submitted[identity]})


def install_names(changes: Changes) -> None:
    """Have moto make zones of ours."""
    Names.changes = changes
    route53_backends.backend = moto.route53.models.Names = Names
    paths = moto.route53.urls.url_paths
    moto.route53.urls.url_paths = dict.fromkeys(paths, Calls.dispatch)


def check_batch(zone: FakeZone, batch: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a batch of changes that AWS would refuse, one after the other as it tries them.

    Raises:
        Route53ClientError: InvalidChangeBatch, with what is wrong of which record.

    Source: "ChangeResourceRecordSets" of the Route 53 API reference.
    """
    there: dict[Key, Any] = {_key_of(one): _shown(one) for one in zone.rrsets}
    for change in batch:
        record = change["ResourceRecordSet"]
        key, wanted = _key_told(record), _told(record)
        what = f"resource record set [name='{key[0]}', type='{key[1]}']"
        if change["Action"] == "CREATE" and key in there:
            raise _invalid(f"Tried to create {what} but it already exists")
        if change["Action"] == "DELETE" and key not in there:
            raise _invalid(f"Tried to delete {what} but it was not found")
        if change["Action"] == "DELETE" and there[key] != wanted:
            raise _invalid(f"Tried to delete {what} but the values provided do not match the current values")
        if change["Action"] == "DELETE":
            del there[key]
        else:
            there[key] = wanted


def _invalid(message: str) -> Route53ClientError:
    return Route53ClientError("InvalidChangeBatch", f"[{message}]")


def _key_of(one: RecordSet) -> Key:
    return one.name.rstrip(".").lower(), one.type, one.set_identifier or ""


def _key_told(record: Mapping[str, Any]) -> Key:
    return record["Name"].rstrip(".").lower(), record["Type"], record.get("SetIdentifier") or ""


def _shown(one: RecordSet) -> tuple[str, list[str], str]:
    alias = one.alias_target or {}
    return str(one.ttl or ""), sorted(str(value) for value in one.records or ()), str(_alias(alias))


def _told(record: Mapping[str, Any]) -> tuple[str, list[str], str]:
    values = sorted(str(one["Value"]) for one in record.get("ResourceRecords") or ())
    return str(record.get("TTL") or ""), values, str(_alias(record.get("AliasTarget") or {}))


def _alias(told: Mapping[str, Any]) -> tuple[str, str]:
    return str(told.get("HostedZoneId", "")), str(told.get("DNSName", "")).rstrip(".").lower()
