"""What adapters saw, for planners to decide on."""

from automation.model.base import Model


class PostgresqlCluster(Model):
    """Identity and role of one PostgreSQL cluster, read from itself."""

    host: str
    system_identifier: str
    timeline: int
    in_recovery: bool
