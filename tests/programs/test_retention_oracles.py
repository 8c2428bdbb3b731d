"""Our account of restic's and borg's rules is what those programs do: asked anew, with random histories."""

import random
from pathlib import Path

import pytest

from automation.backups.dialects import Dialect
from tests.lab.equality import compare_with_borg, compare_with_restic
from tests.lab.oracles import ResticOracle, built_restic, debian_restic

PROGRAMS = {"restic-0.14": debian_restic, "restic-0.16": built_restic}


@pytest.mark.parametrize("dialect", PROGRAMS)
def test_every_group_is_decided_as_restic_decides_it(dialect: Dialect, tmp_path: Path) -> None:
    oracle = ResticOracle(PROGRAMS[dialect](), tmp_path / "repository")
    found = compare_with_restic(oracle, dialect, random.Random(6), groups=60, most=30, runs=3)
    assert found.different == ()
    assert found.groups == 180
    assert 0 < found.kept < found.snapshots


def test_every_history_is_decided_as_borg_decides_it() -> None:
    found = compare_with_borg(random.Random(6), cases=400, most=40)
    assert found.different == ()
    assert 0 < found.kept < found.snapshots
