"""One finding of readiness, and how it is worded. Pure."""

from typing import Literal

from automation.model.base import Model

Status = Literal["ready", "not-ready", "not-known"]


class Finding(Model):
    """One thing that a failover stands on: how it is, and what to do when it is not well."""

    check: str
    subject: str
    status: Status
    seen: str
    act: str = ""


def well(check: str, subject: str, seen: str) -> Finding:
    """Give a finding of what is as it must be."""
    return Finding(check=check, subject=subject, status="ready", seen=seen)


def amiss(check: str, subject: str, seen: str, act: str) -> Finding:
    """Give a finding of what is not, with what to do about it."""
    return Finding(check=check, subject=subject, status="not-ready", seen=seen, act=act)
