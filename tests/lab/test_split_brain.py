"""The checkers' word on every drill, a failover and a copy: never two nodes that take writes.

They come before test_drill.py, which goes on in the same lab, and stand in the order of what they leave
behind. MAINSTAY_LAB names another environment than `lab` to build it in. The watches are short here;
./inv dev.campaign makes them 60 s long.
"""

from pathlib import Path
from random import Random

import pytest

from automation.adapters import nspawn
from automation.commands._campaign import FreshLab
from automation.commands._checked import CheckedRow, Once, run_under_watch
from automation.commands._checked_campaign import COPY_S
from automation.commands._controller import Killing
from automation.commands._driving import await_well
from automation.commands._scenarios import find_scenario
from automation.commands._session import Session
from automation.commands._watch import begin_watch, end_watch, let_time_pass
from automation.model.actions import CutLink, HealLink

SITE = "city-hall"
WATCH_S, GLANCE_S = 6, 3
LINK = (SITE, "eoc")
ONCE = Once(promotions=1, requests=1)
# Chances: 0.6 of the time that a kill may come within, and 0.3 and once more in the run that is resumed.
ONE_KILL, TWO_KILLS = 9, 39


@pytest.fixture(scope="module")
def city(lab_session: Session) -> Session:
    return lab_session


@pytest.fixture(scope="module")
def lab(fresh_lab: FreshLab) -> FreshLab:
    """The lab, converged, with its disks saved."""
    return fresh_lab


class Runner:
    """Runs a scenario from fresh disks; it must hold."""

    def __init__(self, city: Session, lab: FreshLab, folder: Path) -> None:
        self._city, self._lab, self._folder = city, lab, folder

    def __call__(self, name: str, *, killing: Killing | None = None, watch_s: float = GLANCE_S) -> CheckedRow:
        scenario = find_scenario(name, SITE)
        self._lab.renew(synchronous=scenario.synchronous)
        folder = self._folder / name
        row = run_under_watch(self._city, scenario, folder, killing=killing, watch_s=watch_s)
        assert row.faults_found == (), row
        assert (row.overlaps, row.returns, row.one_clock) == (0, 0, True)
        assert set(row.after_healing) == {"client-1", "app-a", "app-b"}
        return row


@pytest.fixture
def checked(city: Session, lab: FreshLab, tmp_path: Path) -> Runner:
    return Runner(city, lab, tmp_path)


def in_the(step: str, seed: int, within_s: float = 0.1) -> Killing:
    return Killing(Random(seed), aim=step, within_s=within_s)


def test_a_killed_controller_never_makes_two_primaries_and_the_fence_outlives_the_power_loss(
    checked: Runner,
) -> None:
    row = checked("site-loss", killing=in_the("/promote", TWO_KILLS), watch_s=WATCH_S)
    assert row.kills[0].under_way, "the kill came into the middle of a step"
    assert row.once == ONCE
    assert row.left_off == ("pg-a",), "a fenced server must not start"
    assert {seen.committed for seen in row.after_healing.values()} == {0}


def test_a_primary_that_is_cut_off_and_alive_is_shut_before_another_is_made(checked: Runner) -> None:
    row = checked("wan-partition", killing=in_the("/fence-power", ONE_KILL))
    assert row.once == ONCE
    assert row.commits["pg-a"] > 0
    assert row.commits["pg-b"] > 0


def test_a_dark_site_is_never_replaced(checked: Runner) -> None:
    row = checked("dark-site")
    assert row.once == Once()
    assert row.commits["pg-b"] == 0
    assert all(seen.committed for seen in row.after_healing.values()), "the primary has served on"


def test_a_standby_that_lagged_takes_over_from_a_primary_that_is_gone(checked: Runner) -> None:
    assert checked("rolling-disaster").once == ONCE


def test_a_real_failover_whose_controller_dies_makes_one_primary(checked: Runner) -> None:
    row = checked("failover-wan-partition", killing=in_the("/promote", ONE_KILL))
    assert row.verdict == "recovered"
    assert row.once == ONCE


def test_a_standby_is_copied_once_and_takes_no_write_though_its_controller_dies(checked: Runner) -> None:
    row = checked("standby-copy", killing=in_the("/clone", ONE_KILL, within_s=COPY_S))
    assert row.once == Once(copies=1)
    assert row.kills[0].under_way == ("payments-db/clone",)
    assert row.kills[0].units_left, "the copy went on without its controller"


def test_a_standby_promoted_by_hand_beside_a_living_primary_is_found(
    city: Session, lab: FreshLab, tmp_path: Path
) -> None:
    """The checkers can fail: without a fence both nodes take writes, and the overlap names them."""
    lab.renew()
    await_well(city, SITE)
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


def test_a_synchronous_loss_makes_one_primary(checked: Runner) -> None:
    """The last one: from here on the lab replicates synchronously."""
    assert checked("site-loss-synchronous").once == ONCE
