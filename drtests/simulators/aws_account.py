"""What an account of the simulated AWS has beside its regions: root, logins of an age, vaults with points.

moto knows no root user, lets every login begin today, and has vaults that nothing is ever kept in. Not real:
what a login did, whether a lock holds (nothing of a vault is ever deleted), and how long a job takes.
"""

import json
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import unquote

import moto.backup.models
import moto.backup.urls
import moto.cloudtrail.models
import moto.iam.models
from aws_access import Login
from aws_ec2_calls import Calls
from aws_rds import Rds
from moto.backup.models import BackupBackend, backup_backends
from moto.backup.responses import BackupResponse
from moto.cloudtrail.models import CloudTrailBackend, cloudtrail_backends
from moto.core.exceptions import JsonRESTError
from moto.core.utils import unix_time, utcnow
from moto.iam.models import AccessKeyLastUsed, AccountSummary, iam_backends

ROOT = {"AccountPasswordPresent": 1, "AccountMFAEnabled": 0, "AccountAccessKeysPresent": 0}


class Summary(AccountSummary):  # type: ignore[misc]  # moto has no types
    """Says of root what AWS says."""

    __module__ = "moto.iam.models"  # by which pickle finds it again
    root: ClassVar[dict[str, int]] = dict(ROOT)

    @property
    def summary_map(self) -> dict[str, Any]:
        return {**super().summary_map, **self.root}


class Trails(CloudTrailBackend):  # type: ignore[misc]
    """One region's trails; one that nobody told what to write down writes down what is managed."""

    __module__ = "moto.cloudtrail.models"  # by which moto finds the paths, and pickle finds it again

    def get_event_selectors(self, trail_name: str) -> tuple[str, list[Any], list[Any]]:
        arn, simple, advanced = super().get_event_selectors(trail_name)
        usual = {"ReadWriteType": "All", "IncludeManagementEvents": True, "DataResources": []}
        return arn, simple if simple or advanced else [usual], advanced


class Backup(BackupBackend):  # type: ignore[misc]
    """One region's vaults, with what is kept in them."""

    __module__ = "moto.backup.models"  # by which moto finds the paths, and pickle finds it again

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.points: list[dict[str, Any]] = []
        self.copies: list[dict[str, Any]] = []

    def keep(self, vault_name: str, resource: str, at: float) -> dict[str, Any]:
        """Make a point of a resource in a vault; it is complete at once."""
        vault = self.vaults.get(vault_name)
        if vault is None:
            raise missing(f"Backup vault {vault_name} was not found")
        vault.num_of_recovery_points += 1
        place = f"arn:aws:backup:{self.region_name}:{self.account_id}"
        point = {
            "RecoveryPointArn": f"{place}:recovery-point:{uuid.uuid4()}",
            "BackupVaultName": vault_name,
            "BackupVaultArn": vault.backup_vault_arn,
            "ResourceArn": resource,
            "Status": "COMPLETED",
            "CreationDate": at,
        }
        self.points.append(point)
        return point


class BackupCalls(BackupResponse):  # type: ignore[misc]
    """Answers the calls to AWS Backup that moto lacks."""

    def start_backup_job(self) -> str:
        told = json.loads(self.body)
        made = self.backup_backend.keep(told["BackupVaultName"], told["ResourceArn"], unix_time())
        return json.dumps({"BackupJobId": str(uuid.uuid4()), "RecoveryPointArn": made["RecoveryPointArn"]})

    def start_copy_job(self) -> str:
        """Copy a point to a vault of another region, or say that it went to one of another account."""
        told = json.loads(self.body)
        backend = self.backup_backend
        points = (one for one in backend.points if one["RecoveryPointArn"] == told["RecoveryPointArn"])
        point = next(points, None)
        if point is None:
            raise missing("there is no such recovery point")
        region, account, _, name = told["DestinationBackupVaultArn"].split(":")[3:7]
        if account == backend.account_id:
            backup_backends[account][region].keep(name, point["ResourceArn"], point["CreationDate"])
        job = {
            "CopyJobId": str(uuid.uuid4()),
            "ResourceArn": point["ResourceArn"],
            "SourceBackupVaultArn": point["BackupVaultArn"],
            "DestinationBackupVaultArn": told["DestinationBackupVaultArn"],
            "State": "COMPLETED",
        }
        backend.copies.append(job)
        return json.dumps({"CopyJobId": job["CopyJobId"]})

    def list_recovery_points_by_backup_vault(self) -> str:
        name = unquote(self.path.split("/")[2])
        found = [one for one in self.backup_backend.points if one["BackupVaultName"] == name]
        return json.dumps({"RecoveryPoints": found})

    def list_copy_jobs(self) -> str:
        return json.dumps({"CopyJobs": self.backup_backend.copies})


def install_account(regions: tuple[str, ...]) -> None:
    """Have moto tell the regions of ours as those that are on, and know root and points of backups."""
    Calls.regions = regions
    moto.iam.models.AccountSummary = Summary
    cloudtrail_backends.backend = moto.cloudtrail.models.Trails = Trails
    backup_backends.backend = moto.backup.models.Backup = Backup
    moto.iam.models.Summary = Summary
    moto.backup.urls.url_paths |= {
        "{0}/backup-vaults/(?P<name>[^/]+)/recovery-points/$": BackupCalls.dispatch,
        "{0}/backup-jobs$": BackupCalls.dispatch,
        "{0}/copy-jobs/?$": BackupCalls.dispatch,
    }


def plant(account: str, told: Mapping[str, Any]) -> None:
    """Let an account be what no call makes it.

    Args:
        told: `root`: names of the account's summary, to numbers, until the simulator ends; `logins`: users,
            and `keys`: access keys, to how many days ago they were made and last used; `damaged`: snapshots
            of which RDS cannot open what it restores, until the simulator ends.
    """
    Summary.root |= told.get("root", {})
    Rds.damaged |= set(told.get("damaged", ()))
    backend = iam_backends[account]["aws"]
    for name, days in told.get("logins", {}).items():
        user = backend.get_user(name)
        user.create_date = user.password_last_used = utcnow() - timedelta(days=days)
    keys = {key.access_key_id: key for user in backend.users.values() for key in user.access_keys}
    for name, days in told.get("keys", {}).items():
        at = utcnow() - timedelta(days=days)
        keys[name].create_date, keys[name].last_used = at, AccessKeyLastUsed(at, "s3", "us-east-1")


def login_of_user(account: str, key_id: str) -> Login | None:
    """Give the login of an access key that IAM made and that is on."""
    for user in list(iam_backends[account]["aws"].users.values()):
        for key in user.access_keys:
            if key.access_key_id == key_id and key.status == "Active":
                return Login(user.name, key_id, key.secret_access_key, account)
    return None


def forget_root() -> None:
    """Let root be as it is in a new account."""
    Summary.root.clear()
    Summary.root.update(ROOT)


def missing(words: str) -> JsonRESTError:
    """Give the error of AWS Backup for what is not there."""
    return JsonRESTError("ResourceNotFoundException", words)
