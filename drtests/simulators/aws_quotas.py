"""Quotas of the simulated AWS: the few that a plan looks at, and the one of processors is held."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import moto.servicequotas.models
import moto.servicequotas.urls
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.servicequotas.exceptions import NoSuchResource
from moto.servicequotas.models import ServiceQuotasBackend, servicequotas_backends
from moto.servicequotas.responses import ServiceQuotasResponse

PROCESSORS = "L-1216C47A"
# Service, name and usual value of each, as AWS had them in 2025 for an account that asked for a little more.
KNOWN: dict[str, tuple[str, str, float]] = {
    PROCESSORS: ("ec2", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", 5120),
    "L-0263D0A3": ("ec2", "EC2-VPC Elastic IPs", 5),
    "L-309BACF6": ("ebs", "Snapshots per Region", 100_000),
    "L-7A658B76": ("ebs", "Storage for General Purpose SSD (gp3) volumes, in TiB", 50),
    "L-F678F1CE": ("vpc", "VPCs per Region", 5),
    "L-407747CB": ("vpc", "Subnets per VPC", 200),
    "L-E79EC296": ("vpc", "VPC security groups per Region", 2500),
    "L-7B6409FD": ("rds", "DB instances", 40),
    "L-272F1212": ("rds", "Manual DB instance snapshots", 100),
}


class Quotas(ServiceQuotasBackend):  # type: ignore[misc]  # moto has no types
    """One region's quotas."""

    __module__ = "moto.servicequotas.models"  # by which moto finds the paths, and pickle finds it again
    values: ClassVar[Mapping[str, float]] = {}

    def get_service_quota(self, service_code: str, quota_code: str) -> dict[str, Any]:
        for quota in self.list_service_quotas(service_code):
            if quota["QuotaCode"] == quota_code:
                return quota
        raise NoSuchResource

    def list_service_quotas(self, service_code: str) -> list[dict[str, Any]]:
        return [
            self._quota(code, name, limit)
            for code, (service, name, limit) in KNOWN.items()
            if service == service_code
        ]

    def _quota(self, code: str, name: str, usual: float) -> dict[str, Any]:
        service = KNOWN[code][0]
        return {
            "ServiceCode": service,
            "ServiceName": service,
            "QuotaArn": f"arn:aws:servicequotas:{self.region_name}:{self.account_id}:{service}/{code}",
            "QuotaCode": code,
            "QuotaName": name,
            "Value": float(self.values.get(code, usual)),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }


class Calls(ServiceQuotasResponse):  # type: ignore[misc]
    """Answers one request to Service Quotas."""

    def list_service_quotas(self) -> str:
        service = str(json.loads(self.body).get("ServiceCode"))
        return json.dumps({"Quotas": self.backend.list_service_quotas(service)})


def install_quotas(values: Mapping[str, float]) -> None:
    """Have moto tell quotas of ours; those of settings come first."""
    Quotas.values = values
    servicequotas_backends.backend = moto.servicequotas.models.Quotas = Quotas
    moto.servicequotas.urls.url_paths = {"{0}/$": Calls.dispatch}


def processors_of(instance_type: str) -> int:
    """Give how many processors an instance type has."""
    return int(INSTANCE_TYPES.get(instance_type, {}).get("VCpuInfo", {}).get("DefaultVCpus", 0))


def processors_allowed() -> float:
    """Give how many processors may run in a region."""
    return float(Quotas.values.get(PROCESSORS, KNOWN[PROCESSORS][2]))
