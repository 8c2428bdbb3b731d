"""Moments as people type them: how long ago, or when."""

import re
from datetime import UTC, datetime, timedelta

from automation.model.base import parse_duration_s
from automation.model.errors import ConfigError

_AGO = re.compile(r"[\d.]+\s*[a-z]+")


def parse_since(text: str, now: datetime) -> datetime | None:
    """Give the moment that `7d`, `90 min`, `2026-11-01` or `2026-11-01T08:30` means; None for no text.

    A day or time without an offset is in UTC, as all times that are shown.

    Raises:
        ConfigError: it is neither.
    """
    if not text:
        return None
    try:
        if _AGO.fullmatch(text.strip()):
            return now - timedelta(seconds=float(str(parse_duration_s(text))))
        moment = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError) as exc:
        raise ConfigError(
            f"--since {text[:40]!r} is no moment; nothing was touched",
            hint="how long ago: 90 min, 12h, 7d; or when, in UTC: 2026-11-01, 2026-11-01T08:30",
        ) from exc
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
