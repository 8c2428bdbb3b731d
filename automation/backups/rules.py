"""What a retention policy says: which recovery points are kept, and for how long."""

from collections.abc import Iterator
from typing import Annotated, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from automation.backups.durations import CalendarSpan, Span, parse_span
from automation.backups.periods import KINDS, Kind
from automation.model.base import Model

MOST = 100_000
ALL = -1


def parse_count(value: object) -> object:
    """Read how many are kept: a number from 1, or all."""
    if value == "all":
        return ALL
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{str(value)[:40]!r} is no count; write a number from 1, or all")
    if not 1 <= value <= MOST:
        raise ValueError(f"{value} cannot be kept; write a number from 1 to {MOST}, or all")
    return value


def check_zone(name: str) -> str:
    """Give the name of a time zone back if it is one."""
    try:
        return ZoneInfo(name).key
    except (KeyError, OSError, ValueError) as exc:
        raise ValueError(f"{name!r} is not a time zone; write for example America/Chicago") from exc


def _one_tag_is_a_set(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Count = Annotated[
    int,
    BeforeValidator(parse_count),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": MOST}, {"const": "all"}]}),
]
Zone = Annotated[str, AfterValidator(check_zone), Field(description="time zone: America/Chicago")]
Tag = Annotated[str, Field(min_length=1, pattern=r"^[^\s,]+$")]
TagSet = Annotated[
    tuple[Tag, ...],
    BeforeValidator(_one_tag_is_a_set, json_schema_input_type=str | tuple[str, ...]),
    Field(min_length=1),
]


class DeleteAfter(Model):
    """An age that the law sets: older points go, whatever the rules say, when somebody has agreed."""

    age: CalendarSpan = Field(description="counted back from now: 10 years")
    approve: str = Field(
        pattern=r"^[a-z][a-z0-9-]{0,62}$", description="role that agrees to every such deletion"
    )


class Rule(NamedTuple):
    """One line of a policy: the newest point of each period, so many of them or so far back."""

    name: str
    kind: Kind | None  # none: every point is a period of its own
    most: int | None = None
    span: Span | None = None


class RetentionRules(Model):
    """A retention profile: what any of its rules keeps, stays."""

    last: Count | None = Field(default=None, description="the newest points, so many")
    hourly: Count | None = Field(default=None, description="the newest of each hour, so many hours")
    daily: Count | None = Field(default=None, description="the newest of each day, so many days")
    weekly: Count | None = Field(default=None, description="the newest of each ISO week, so many weeks")
    monthly: Count | None = Field(default=None, description="the newest of each month, so many months")
    quarterly: Count | None = Field(default=None, description="the newest of each quarter, so many")
    yearly: Count | None = Field(default=None, description="the newest of each year, so many years")
    all_for: CalendarSpan | None = Field(
        default=None, description="every point this far back from the newest one: 48 hours"
    )
    hourly_for: CalendarSpan | None = Field(
        default=None, description="the newest of each hour, this far back"
    )
    daily_for: CalendarSpan | None = Field(default=None, description="the newest of each day, this far back")
    weekly_for: CalendarSpan | None = Field(
        default=None, description="the newest of each week, this far back"
    )
    monthly_for: CalendarSpan | None = Field(
        default=None, description="the newest of each month, this far back"
    )
    quarterly_for: CalendarSpan | None = Field(
        default=None, description="the newest of each quarter, this far back"
    )
    yearly_for: CalendarSpan | None = Field(
        default=None, description="the newest of each year, this far back"
    )
    tagged: tuple[TagSet, ...] = Field(
        default=(), description="points with this tag; of a list in the list, with all of its tags"
    )
    keep_oldest: bool = Field(
        default=True, description="keep the oldest point while a rule has not all that it may keep"
    )
    delete_after: DeleteAfter | None = Field(
        default=None, description="what is older goes whatever the rules say, when somebody has agreed"
    )

    @model_validator(mode="after")
    def _keeps_something(self) -> "RetentionRules":
        if not any(self.counted()):
            tags = "; tags alone keep nothing when one is misspelt" if self.tagged else ""
            raise ValueError(f"keeps no point; write for example last: 3{tags}")
        return self

    def counted(self) -> Iterator[Rule]:
        """Give the rules by count and by time, in the order in which people read them."""
        for name, kind in (("last", None), *((kind, kind) for kind in KINDS)):
            if (count := getattr(self, name)) is not None:
                yield Rule(name, kind, most=count)
        for name, kind in (("all_for", None), *((f"{kind}_for", kind) for kind in KINDS)):
            if (span := getattr(self, name)) is not None:
                yield Rule(name, kind, span=span)


class RetentionPolicy(Model):
    """The rules of one resource, and how its points' times are read."""

    tz: Zone
    keep: RetentionRules
    max_skew: CalendarSpan = Field(
        default=parse_span("1 hour"),
        description="a point whose own time is further from when it was seen is kept and not counted",
    )
