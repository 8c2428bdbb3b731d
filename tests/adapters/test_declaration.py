"""A suspicion is ended by a look at what it is about, and by no older one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from automation.adapters.declaration import clear_suspicion, list_suspicions
from automation.model.actions import ClearSuspicion
from automation.model.errors import AdapterError
from automation.model.evidence import Suspicion
from automation.model.records import Context

SINCE = datetime(2026, 11, 21, 3, 14, tzinfo=UTC)


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    suspicion = Suspicion(
        service="payments-db", hosts=("pg-a", "pg-b"), run_id="run-1", reason="dark", since=SINCE
    )
    (tmp_path / "suspicions").mkdir()
    (tmp_path / "suspicions/payments-db.json").write_text(suspicion.model_dump_json())
    return cast(Context, SimpleNamespace(state=tmp_path, run_id="run-2"))


def clear(**changes: Any) -> ClearSuspicion:
    known = {
        "service": "payments-db",
        "suspected_by": "run-1",
        "since": SINCE,
        "seen": ("pg-a: standby", "pg-b: primary"),
        "seen_at": datetime.now(UTC),
        "reason": "looked at both",
        "cleared_by": "coordinator",
    }
    return ClearSuspicion.model_validate({**known, **changes})


def test_the_suspicion_that_was_looked_into_is_ended(ctx: Context) -> None:
    assert clear_suspicion(clear(), ctx).changed
    assert list_suspicions(ctx.state) == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"suspected_by": "run-0"}, "suspected anew, by run run-1"),
        ({"since": SINCE - timedelta(days=1)}, "suspected anew"),
        ({"seen_at": datetime.now(UTC) - timedelta(hours=1)}, "too long ago"),
    ],
    ids=["of another run", "of another time", "an old look"],
)
def test_another_suspicion_or_an_old_look_ends_nothing(
    ctx: Context, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(AdapterError, match=words):
        clear_suspicion(clear(**changes), ctx)
    assert "payments-db" in list_suspicions(ctx.state)
