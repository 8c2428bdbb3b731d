"""How fresh the lists of packages are, and which sources are not signed."""

import os
import time
from pathlib import Path

import pytest

from automation.shipped.collector import software


@pytest.mark.parametrize(
    ("ages", "told"),
    [
        ({"deb_dists_bookworm_InRelease": 0}, None),
        ({"deb_dists_bookworm_InRelease": 0, "deb_dists_bookworm-security_InRelease": 9}, 9.0),
        ({"a_dists_bookworm-security_InRelease": 1, "b_dists_bookworm-security_Release": 30}, 30.0),
        ({"deb_dists_bookworm_InRelease": 90, "deb_dists_bookworm-security_InRelease": 1}, 1.0),
    ],
)
def test_lists_are_as_old_as_the_oldest_that_tells_of_security(
    ages: dict[str, int], told: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, days in ages.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, time.time() - days * 86400))
    monkeypatch.setattr(software, "LISTS", f"{tmp_path}/*Release")
    monkeypatch.setattr(software, "installed", list)
    monkeypatch.setattr(software, "periodic", dict)
    assert software.collect_updates()["lists_age_days"] == told
