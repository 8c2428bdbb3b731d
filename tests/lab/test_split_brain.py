"""The checkers' word on every fault: never two nodes that take writes, and two are found when there are.

One lab for the module; the tests stand in the order of what they leave behind. MAINSTAY_LAB names another
environment than `lab` to build it in.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from automation.adapters import nspawn
from automation.commands._campaign import DISKS, prepare_lab
from automation.commands._checked import CheckedRow, Promotions, drill_under_watch
from automation.commands._drill import restore_disks
from automation.commands._servers import refuse_running_lab
from automation.commands._session import Session, open_session
from automation.commands._watch import begin_watch, end_watch, let_time_pass
from automation.commands.lab import take_down
from automation.model.actions import CutLink, HealLink

ENV = os.environ.get("MAINSTAY_LAB", "lab")
WATCH_S, GLANCE_S = 20, 3
LINK = ("city-hall", "eoc")
# By today's plans: 67 ms into the promotion and once more in the resumed run; 36 ms into the power fence.
IN_THE_PROMOTION, IN_THE_FENCE = 9, 32


@pytest.fixture(scope="module")
def city() -> Iterator[Session]:
    """The lab, converged, with its disks saved."""
    with open_session(ENV) as session:
        refuse_running_lab(session)  # a lab that somebody uses is not ours to break
        try:
            prepare_lab(session, "site-loss")
            yield session
        finally:
            take_down(ENV)


def drilled(city: Session, folder: Path, drill: str, *, chance: Random | None, watch_s: float) -> CheckedRow:
    row = drill_under_watch(city, drill, folder / drill, chance=chance, watch_s=watch_s)
    assert row.faults_found == (), row
    assert (row.overlaps, row.returns, row.one_clock) == (0, 0, True)
    return row


def test_a_killed_controller_never_makes_two_primaries_and_the_fence_outlives_the_power_loss(
    city: Session, tmp_path: Path
) -> None:
    row = drilled(city, tmp_path, "site-loss", chance=Random(IN_THE_PROMOTION), watch_s=WATCH_S)
    assert row.kills, "the controller was not killed"
    assert row.promotions == Promotions(units=1, requests=1)
    assert row.left_off == ("pg-a",), "a fenced server must not start"
    assert {host: seen.committed for host, seen in row.after_healing.items()} == {
        "client-1": 0,
        "app-a": 0,
        "app-b": 0,
    }


def test_a_primary_that_is_cut_off_and_alive_is_shut_before_another_is_made(
    city: Session, tmp_path: Path
) -> None:
    restore_disks(city, DISKS)
    row = drilled(city, tmp_path, "wan-partition", chance=Random(IN_THE_FENCE), watch_s=GLANCE_S)
    assert row.kills, "the controller was not killed"
    assert row.promotions == Promotions(units=1, requests=1)
    assert row.commits["pg-a"] > 0
    assert row.commits["pg-b"] > 0


def test_a_dark_site_is_never_replaced(city: Session, tmp_path: Path) -> None:
    restore_disks(city, DISKS)
    row = drilled(city, tmp_path, "dark-site", chance=None, watch_s=GLANCE_S)
    assert row.promotions == Promotions()
    assert row.commits["pg-b"] == 0
    assert all(seen.committed for seen in row.after_healing.values()), "the primary has served on"


def test_a_standby_promoted_by_hand_beside_a_living_primary_is_found(city: Session, tmp_path: Path) -> None:
    """The checkers can fail: without a fence both nodes take writes, and the overlap names them."""
    watching = begin_watch(city, tmp_path.name)
    ctx = city.context("planted")
    nspawn.cut_link(CutLink(sites=LINK), ctx)
    promote = ["sudo", "-n", "-u", "postgres", "psql", "-Xqc", "select pg_promote()"]
    assert city.remote(watching.databases.standby).run(promote).exit_code == 0
    let_time_pass(GLANCE_S, "two primaries")
    nspawn.heal_link(HealLink(sites=LINK), ctx)
    _, seen = end_watch(watching, tmp_path)
    (overlap,) = (one for one in seen.overlaps if one.certain)
    assert set(overlap.nodes) == {"pg-a", "pg-b"}
    assert overlap.at_least_ms > 1000
    assert {write.node for write in overlap.last} == {"pg-a", "pg-b"}
    assert seen.returns, "the old primary took writes after the other took over"
