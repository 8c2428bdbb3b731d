"""What the guards are told: how little may be left, how much may go at once, and what freezes rotation."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from automation.backups.durations import CalendarSpan, Span, parse_span
from automation.model.base import Model
from automation.model.recovery_points import Level

_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)\s*%")
_TIMES_RPO = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)x rpo")


class TimesRpo(Model):
    """A length of time as a multiple of what the service may lose."""

    times: float


def parse_share(value: object) -> object:
    """Read `30%` as 0.3."""
    match = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or not 0 < float(match[1]) <= 100:
        raise ValueError(f"{str(value)[:40]!r} is no share; write for example 30%")
    return float(match[1]) / 100


def parse_stale(value: object) -> object:
    """Read `2x rpo`, or a length of time."""
    match = _TIMES_RPO.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return parse_span(value)
    if float(match[1]) < 1:
        raise ValueError(f"{value!r} is less than the RPO; write for example 2x rpo")
    return TimesRpo(times=float(match[1]))


def parse_level(value: object) -> object:
    """Read `L3`."""
    if isinstance(value, str) and value in Level.__members__:
        return Level[value]
    if isinstance(value, Level):
        return value
    raise ValueError(f"{str(value)[:40]!r} is no level of proof; write L0, L1, L2, L3, L4 or L5")


Share = Annotated[
    float,
    BeforeValidator(parse_share),
    WithJsonSchema({"type": "string", "pattern": rf"^\s*{_PERCENT.pattern}\s*$", "examples": ["30%"]}),
]
Stale = Annotated[
    Span | TimesRpo,
    BeforeValidator(parse_stale),
    WithJsonSchema({"type": "string", "examples": ["2x rpo", "36 hours"]}),
]
LevelWord = Annotated[
    Level,
    BeforeValidator(parse_level),
    PlainSerializer(lambda level: level.name, return_type=str),
    WithJsonSchema({"enum": list(Level.__members__)}),
]


class MaxDelete(Model):
    """The most points that one run deletes of one copy; the smaller number counts, but never below one."""

    percent: float = Field(default=20, gt=0, le=50, description="of the points there are")
    count: int = Field(default=50, ge=1, le=10_000, strict=True, description="points")


class AnomalyLimits(Model):
    """Figures of the newest backup beyond which nothing older is deleted."""

    files_drop: Share = Field(default=0.3, description="share of the files that are gone: 30%")
    changed: Share = Field(default=0.4, description="share of the files that are new or changed: 40%")
    stored_ratio_jump: float = Field(
        default=2.0, gt=1, le=100, description="stored bytes for each added one, against the days before"
    )
    empty_dump: bool = Field(default=True, description="a dump of no bytes")


class TimeTrust(Model):
    """When a point's own time is believed."""

    max_skew: CalendarSpan = Field(
        default=parse_span("1 hour"), description="from when it was first seen, at most: 1 hour"
    )


class GuardSettings(Model):
    """What must hold before anything is deleted; no setting makes a guard delete more than the rules do."""

    min_keep: int = Field(default=3, ge=1, le=10_000, strict=True, description="good points that always stay")
    max_delete: MaxDelete = Field(default=MaxDelete(), description="the most that one run deletes")
    never_drop_last_verified: LevelWord = Field(
        default=Level.L3, description="level of proof; without a point that has it, nothing is deleted"
    )
    freeze_if_stale: Stale = Field(
        default=TimesRpo(times=2), description="age of the newest good point beyond which nothing is deleted"
    )
    freeze_if_anomalous: AnomalyLimits = Field(
        default=AnomalyLimits(), description="figures of the newest backup beyond which nothing is deleted"
    )
    time_trust: TimeTrust = Field(
        default=TimeTrust(), description="points of another time stay, and fill no period"
    )
    grace: CalendarSpan = Field(
        default=parse_span("7 days"), description="from being marked to being deleted: 7 days"
    )
