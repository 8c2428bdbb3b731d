"""Redaction: values of secrets that were resolved never leave by log, journal or artifact."""

from collections.abc import Iterable

REDACTED = "[redacted]"
_SHORTEST = 4  # shorter values would blank ordinary words


def redact(text: str, secrets: Iterable[str]) -> str:
    """Replace every secret value in a text, longest first."""
    for secret in sorted((s for s in secrets if len(s) >= _SHORTEST), key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return text
