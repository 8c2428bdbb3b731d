"""RDS of the simulated AWS: moto's, with states that take their time, and replicas that are promoted."""

import copy
import secrets
from typing import Any, ClassVar

import moto.rds.models
import moto.rds.urls
from aws_changes import Changes
from moto.core.responses import ActionResult, PaginatedResult
from moto.ec2.models import ec2_backends
from moto.rds.exceptions import (
    DBInstanceAlreadyExists,
    DBInstanceNotFoundError,
    DBSnapshotNotFoundFault,
    RDSClientError,
)
from moto.rds.models import DBInstance, DBSnapshot, RDSBackend, rds_backends
from moto.rds.responses import RDSResponse
from moto.rds.utils import split_arn

DEFAULT = "default"  # name of the subnet group that RDS makes by itself
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


class Rds(RDSBackend):  # type: ignore[misc]  # moto has no types
    """One region's databases."""

    __module__ = "moto.rds.models"  # by which moto finds the paths, and pickle finds it again
    changes: ClassVar[Changes]
    damaged: ClassVar[set[str]] = set()  # snapshots of which no engine opens what is restored

    # --- instances -----------------------------------------------------------------------------------

    def create_db_instance(self, db_kwargs: dict[str, Any]) -> DBInstance:
        named = db_kwargs.get("db_subnet_group_name")
        if named in (None, "", DEFAULT):
            db_kwargs["db_subnet_group_name"] = self._default_group()
        made = super().create_db_instance(db_kwargs)
        _make_its_own(made)
        made.is_replica, made.source_db_instance_identifier = False, None
        return self._begin(made, "creating", "available")

    def create_db_instance_read_replica(self, db_kwargs: dict[str, Any]) -> DBInstance:
        if db_kwargs["db_instance_identifier"] in self.databases:
            raise DBInstanceAlreadyExists
        source = self.find_db_from_id(db_kwargs["source_db_instance_identifier"])
        _check(source, "available")
        if not source.backup_retention_period:
            message = "Automated backups are not enabled for this database instance."
            raise RDSClientError("InvalidDBInstanceState", message)
        tags = db_kwargs.get("tags") or []
        # Subnets and groups are those of its own region: moto would look for them in its source's.
        subnets = db_kwargs.pop("db_subnet_group_name", None) or self._default_group()
        groups = db_kwargs.pop("vpc_security_group_ids", None) or [self._default_security_group()]
        made = super().create_db_instance_read_replica(db_kwargs)
        _make_its_own(made)
        made.backend = self
        made.db_subnet_group_name, made.vpc_security_group_ids = subnets, list(groups)
        made.tags, made.events, made.backup_retention_period = list(tags), [], 0
        return self._begin(made, "creating", "available")

    def promote_read_replica(self, db_kwargs: dict[str, Any]) -> DBInstance:
        """Make a replica a database of its own: it is modified, then has no source any more."""
        database = self._database(db_kwargs["db_instance_identifier"])
        if not database.is_replica:
            message = f"DB Instance is not a read replica: {database.db_instance_identifier}"
            raise RDSClientError("InvalidDBInstanceState", message)
        _check(database, "available")
        database.update(**{key: value for key, value in db_kwargs.items() if value is not None})
        if not database.backup_retention_period:
            database.backup_retention_period = 1  # as RDS, which a replica of it needs
        database.status = "modifying"
        self.changes.later(self.part, database)
        return database

    def part(self, database: DBInstance) -> None:
        """Have a replica and its source know each other no more."""
        self._unlink(database)
        database.is_replica, database.source_db_instance_identifier = False, None
        _become(database, "modifying", "available")

    def modify_db_instance(self, db_instance_identifier: str, db_kwargs: dict[str, Any]) -> DBInstance:
        _check(self._database(db_instance_identifier), "available", "stopped")
        database = super().modify_db_instance(db_instance_identifier, db_kwargs)
        return self._begin(database, "modifying", database.status)

    def reboot_db_instance(self, db_instance_identifier: str) -> DBInstance:
        database = super().reboot_db_instance(db_instance_identifier)
        _check(database, "available")
        return self._begin(database, "rebooting", "available")

    def stop_db_instance(self, db_instance_identifier: str, *args: Any, **more: Any) -> DBInstance:
        database = super().stop_db_instance(db_instance_identifier, *args, **more)
        return self._begin(database, "stopping", "stopped")

    def start_db_instance(self, db_instance_identifier: str) -> DBInstance:
        database = super().start_db_instance(db_instance_identifier)
        return self._begin(database, "starting", "available")

    def delete_db_instance(self, db_instance_identifier: str, *args: Any, **more: Any) -> DBInstance:
        database = self._database(db_instance_identifier)
        if database.status == "deleting":
            raise RDSClientError("InvalidDBInstanceState", f"{db_instance_identifier} is being deleted.")
        replica = database.is_replica
        database.is_replica = False  # moto cannot part one from a source in another region
        try:
            super().delete_db_instance(db_instance_identifier, *args, **more)
        except BaseException:
            database.is_replica = replica
            raise
        self._unlink(database)
        self.databases[db_instance_identifier] = database
        self.changes.later(self.forget, db_instance_identifier, database)
        return database

    def forget(self, identifier: str, database: DBInstance) -> None:
        if self.databases.get(identifier) is database:
            del self.databases[identifier]

    def _default_group(self) -> str:
        """Give the group that RDS puts a database into that is told of none: the region's own subnets."""
        if DEFAULT not in self.subnet_groups:
            backend = ec2_backends[self.account_id][self.region_name]
            subnets = backend.describe_subnets(filters={"vpc-id": [backend.default_vpc.id]})
            self.create_subnet_group(DEFAULT, DEFAULT, subnets, [])
        return DEFAULT

    def _default_security_group(self) -> str:
        backend = ec2_backends[self.account_id][self.region_name]
        return str(backend.get_default_security_group(backend.default_vpc.id).id)

    def _database(self, identifier: str) -> DBInstance:
        if identifier not in self.databases:
            raise DBInstanceNotFoundError(identifier)
        return self.databases[identifier]

    def _unlink(self, replica: DBInstance) -> None:
        source = str(replica.source_db_instance_identifier or "")
        region, name = (source.split(":")[3], source.split(":")[-1]) if ":" in source else ("", source)
        backend = rds_backends[self.account_id][region or self.region_name]
        if name in backend.databases:
            known = {replica.db_instance_identifier, replica.db_instance_arn}
            primary = backend.databases[name]
            primary.replicas = [one for one in primary.replicas if one not in known]

    # --- snapshots -----------------------------------------------------------------------------------

    def create_db_snapshot(self, db_instance_identifier: str, *args: Any, **more: Any) -> DBSnapshot:
        if db_instance_identifier in self.databases and more.get("snapshot_type") != "automated":
            _check(self.databases[db_instance_identifier], "available", "storage-optimization", "stopped")
        made = super().create_db_snapshot(db_instance_identifier, *args, **more)
        return self._begin(made, "creating", "available")

    def copy_db_snapshot(self, source_db_snapshot_identifier: str, *args: Any, **more: Any) -> DBSnapshot:
        source = self.get_db_snapshot(source_db_snapshot_identifier)
        _check_snapshot(source)
        made = super().copy_db_snapshot(source_db_snapshot_identifier, *args, **more)
        return self._begin(made, "creating", "available")

    def delete_db_snapshot(self, db_snapshot_identifier: str) -> DBSnapshot:
        if db_snapshot_identifier in self.database_snapshots:
            _check_snapshot(self.database_snapshots[db_snapshot_identifier])
        return super().delete_db_snapshot(db_snapshot_identifier)

    def restore_db_instance_from_db_snapshot(
        self, from_snapshot_id: str, overrides: dict[str, Any]
    ) -> DBInstance:
        _check_snapshot(self.get_db_snapshot(from_snapshot_id))
        made = super().restore_db_instance_from_db_snapshot(from_snapshot_id, overrides)
        if from_snapshot_id in self.damaged:
            made.status = "incompatible-restore"
        return made

    def get_db_snapshot(self, identifier: str) -> DBSnapshot:
        """Give a snapshot by name or ARN; one of another account if it is shared with this one."""
        if not identifier.startswith("arn:"):
            return super().get_db_snapshot(identifier)
        region, account, _, name = split_arn(identifier)
        found = rds_backends[account][region].database_snapshots.get(name)
        if found is None or (account != self.account_id and not _shared(found, self.account_id)):
            raise DBSnapshotNotFoundFault(identifier)
        return found

    def _begin(self, thing: Any, via: str, to: str) -> Any:
        thing.status = via
        self.changes.later(_become, thing, via, to)
        return thing


class Calls(RDSResponse):  # type: ignore[misc]
    """Answers one request to RDS."""

    def describe_db_snapshots(self) -> ActionResult:
        """Answer by the page, as the others do."""
        return PaginatedResult(super().describe_db_snapshots().result)


def install_rds(changes: Changes) -> None:
    """Have moto make regions of ours."""
    Rds.changes = changes
    rds_backends.backend = moto.rds.models.Rds = Rds
    moto.rds.urls.url_paths = {"{0}/$": Calls.dispatch}


def _make_its_own(database: DBInstance) -> None:
    database.dbi_resource_id = "db-" + "".join(secrets.choice(LETTERS) for _ in range(26))
    database.replicas, database.tags = [], copy.copy(database.tags)


def _become(thing: Any, via: str, to: str) -> None:
    if thing.status == via:
        thing.status = to


def _check(database: DBInstance, *allowed: str) -> None:
    if database.status not in allowed:
        message = f"Instance {database.db_instance_identifier} is not in available state: {database.status}."
        raise RDSClientError("InvalidDBInstanceState", message)


def _check_snapshot(snapshot: DBSnapshot) -> None:
    if snapshot.status != "available" and snapshot.snapshot_type == "manual":
        message = f"Snapshot {snapshot.db_snapshot_identifier} is not available: {snapshot.status}."
        raise RDSClientError("InvalidDBSnapshotState", message)


def _shared(snapshot: DBSnapshot, account: str) -> bool:
    accounts = snapshot.attributes["restore"]
    return account in accounts or "all" in accounts
