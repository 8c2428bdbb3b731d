"""What a repository holds, as pgBackRest tells it."""

from automation.model.actions.databases import Stanza
from automation.model.records import Remote
from automation.model.recovery_points import RecoveryPoint


def list_points(remote: Remote, of: Stanza, resource: str) -> tuple[RecoveryPoint, ...]:
    """List the backups of a stanza in one repository, oldest first; asked at its keeper."""
    raise NotImplementedError
