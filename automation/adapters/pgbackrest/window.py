"""The moments to which a cluster can be restored."""

from datetime import datetime

from automation.model.actions.databases import Stanza
from automation.model.base import Model
from automation.model.records import Remote


class Span(Model):
    """Moments from the first to the last, both included."""

    first: datetime
    last: datetime


class Window(Model):
    """All moments to which a cluster can be restored from one repository."""

    spans: tuple[Span, ...]
    gaps: tuple[Span, ...] = ()

    @property
    def earliest(self) -> datetime | None:
        """The first moment of all."""
        return self.spans[0].first if self.spans else None

    @property
    def latest(self) -> datetime | None:
        """The last moment of all: the last commit whose WAL is in the archive."""
        return self.spans[-1].last if self.spans else None


def look_at_window(remote: Remote, of: Stanza) -> Window:
    """Read from the archive which moments can be reached; asked at the keeper."""
    raise NotImplementedError
