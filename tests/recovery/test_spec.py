"""The plan that docs/writing-plans.md shows is one that loads."""

from pathlib import Path

import pytest

from automation.recovery.spec import RecoveryPlan, load_plan
from tests.recovery.conftest import REPOSITORY


@pytest.fixture
def shown(tmp_path: Path) -> RecoveryPlan:
    section = (REPOSITORY / "docs/writing-plans.md").read_text().partition("## A plan")[2]
    text = section.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "drtests/plans").mkdir(parents=True)
    (tmp_path / "drtests/plans/shown.yml").write_text(text)
    return load_plan(tmp_path, "shown")


def test_the_plan_of_the_page_loads_and_shows_every_key(shown: RecoveryPlan) -> None:
    assert set(RecoveryPlan.model_fields) - shown.model_fields_set == {"exercise", "overrides"}
    assert (shown.services.tiers, shown.services.but) == ((0, 1, 2), ("library",))
