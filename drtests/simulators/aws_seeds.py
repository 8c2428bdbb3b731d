"""Databases that a simulated region has from the first: nothing of ours makes them, recovery needs them."""

import secrets
from datetime import datetime
from typing import Any

from moto.cloudwatch.models import CloudWatchBackend, cloudwatch_backends
from moto.core.utils import utcnow
from moto.rds.models import rds_backends

OF_EACH = {
    "engine": "postgres",
    "db_instance_class": "db.t3.small",
    "allocated_storage": 20,
    "backup_retention_period": 7,
    "storage_encrypted": False,
    "tags": [],
}


def seed_database(account: str, place: str, source: str) -> None:
    """Make a database, region/name, ready at once; with a source, its replica."""
    region, _, name = place.partition("/")
    backend = rds_backends[account][region]
    told: dict[str, Any] = {**OF_EACH, "db_instance_identifier": name}
    if source:
        home, _, of = source.partition("/")
        arn = f"arn:aws:rds:{home}:{account}:db:{of}"
        # Its own is the source's, as everything else is that it is not told.
        made = backend.create_db_instance_read_replica(
            {"db_instance_identifier": name, "source_db_instance_identifier": arn}
        )
    else:
        password = secrets.token_urlsafe(24)
        made = backend.create_db_instance(
            {**told, "master_username": "portal", "master_user_password": password, "db_name": "portal"}
        )
    made.status = "available"


def measure_replicas(account: str, region: str) -> None:
    """Have CloudWatch show what RDS measures of every replica: no lag, because nothing is written to any."""
    for name, database in list(rds_backends[account][region].databases.items()):
        if database.is_replica and database.status == "available":
            measured = {
                "MetricName": "ReplicaLag",
                "Dimensions": [{"Name": "DBInstanceIdentifier", "Value": name}],
                "Timestamp": utcnow(),
                "Value": 0.0,
                "Unit": "Seconds",
            }
            cloudwatch_backends[account][region].put_metric_data("AWS/RDS", [measured])


def tell_measurements_every(seconds: float) -> None:
    """Have CloudWatch tell what was measured more often than once a minute, whatever period is asked for."""
    told = CloudWatchBackend.get_metric_statistics

    def often(
        self: CloudWatchBackend,
        namespace: str,
        metric_name: str,
        start_time: datetime,
        end_time: datetime,
        period: int,
        *more: Any,
        **named: Any,
    ) -> Any:
        asked = (namespace, metric_name, start_time, end_time, min(period, seconds))
        return told(self, *asked, *more, **named)

    CloudWatchBackend.get_metric_statistics = often
