"""A declaration is cited while it is of today, and while nobody doubts what it is to move."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from automation.adapters.declaration import cite, suspect_split_brain
from automation.engine.context import RunContext
from automation.model.actions import CiteDeclaration, SuspectSplitBrain
from automation.model.errors import AdapterError
from automation.model.evidence import Declaration

CITE = CiteDeclaration(declaration="d1", site="city-hall", services=("payments-db",))


def context(folder: Path, *, hours: float) -> RunContext:
    told = Declaration(
        sites=("city-hall",),
        reason="fire",
        exercise=False,
        declared_by="coordinator",
        declared_at=datetime.now(UTC) - timedelta(hours=hours),
    )
    (folder / "declarations").mkdir()
    (folder / "declarations/d1.json").write_text(told.model_dump_json())
    return RunContext("r1", None, None, folder, folder, folder, None, lambda s, t: None)  # type: ignore[arg-type]


def test_a_declaration_of_another_day_is_not_cited(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="too long ago"):
        cite(CITE, context(tmp_path, hours=25))


def test_a_service_that_another_run_marked_is_not_moved_and_ones_own_mark_is_no_obstacle(
    tmp_path: Path,
) -> None:
    ctx = context(tmp_path, hours=23)
    mark = SuspectSplitBrain(
        service="payments-db", hosts=("pg-a", "pg-b"), observed="x", roles=("a", "b"), reason="x"
    )
    suspect_split_brain(mark, ctx)
    assert "declared city-hall lost" in cite(CITE, ctx).summary
    with pytest.raises(AdapterError, match="SPLIT_BRAIN_SUSPECTED by run r1"):
        cite(CITE, replace(ctx, run_id="r2"))
