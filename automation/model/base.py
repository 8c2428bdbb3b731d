"""The base of every model, and the quantities that stand in YAML as words."""

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

_UNITS_S = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|min|h|d)")


class Model(BaseModel):
    """Frozen, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def parse_duration_s(value: object) -> object:
    """Turn `15 min`, `4h`, `300 ms` into seconds; a number is taken as seconds already."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            f"{str(value)[:40]!r} is not a duration; write for example 300 ms, 30 s, 15 min, 4 h or 2 d"
        )
    return float(match[1]) * _UNITS_S[match[2]]


DurationS = Annotated[
    float,
    BeforeValidator(parse_duration_s),
    Field(allow_inf_nan=False),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": rf"^\s*{_DURATION.pattern}\s*$"},
                {"type": "number", "minimum": 0},
            ],
            "examples": ["300 ms", "30 s", "15 min", "4 h", "2 d"],
        },
        mode="validation",
    ),
]


def format_duration(seconds: float) -> str:
    """Give seconds the way people say them: 0.52 s, 41.3 s, 12 min 05 s, 4 h 10 min."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s" if whole % 60 else f"{whole // 60} min"
    minutes = whole // 60
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes % 60 else f"{minutes // 60} h"


def format_size(size_bytes: float) -> str:
    """Give bytes the way people say them: 812 B, 4.2 MiB, 1.30 TiB."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.2f} TiB"
