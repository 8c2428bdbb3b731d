"""What a campaign says of its drills in one line."""

import pytest

from automation.commands._campaign import DrillRow, ServiceRow, summary


def row(acknowledged: int, missing: int) -> DrillRow:
    service = ServiceRow(
        service="pay",
        rta_s=2.0,
        rpa_s=None,
        acknowledged=acknowledged,
        missing=missing,
        found_on_lost_primary=None,
    )
    return DrillRow(
        run_id="r", verdict="met", acknowledged=acknowledged, missing=missing, services=(service,)
    )


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(90, 0), row(10, 1)], "1 of 100 acknowledged writes lost"),
        ([row(0, 0)], "no write was counted"),
    ],
)
def test_writes_are_said_to_be_lost_or_not_only_where_some_were_counted(
    rows: list[DrillRow], said: str
) -> None:
    assert summary(rows) == f"{len(rows)} of {len(rows)} met; {said}; median outage 2.00 s"
