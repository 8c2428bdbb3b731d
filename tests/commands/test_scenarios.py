"""What can be run under the checker, and how each must end."""

import pytest

from automation.commands._scenarios import choose_scenarios, find_scenario, list_names
from automation.model.errors import ConfigError
from automation.recovery.spec import DarkSite, WanPartition

DRILLS = {
    *("site-loss", "site-loss-synchronous", "wan-partition", "dark-site", "rolling-disaster"),
    "planned-migration",
}
FAILOVERS = {"failover-power-loss", "failover-wan-partition", "failover-dark-site"}


def test_all_means_every_drill_every_failover_and_the_copy() -> None:
    chosen = choose_scenarios("all", site="city-hall")
    assert {one.name for one in chosen} == set(list_names())
    assert {*DRILLS, *FAILOVERS, "standby-copy"} <= set(list_names())


def test_a_list_is_run_in_its_order_and_nothing_twice() -> None:
    chosen = choose_scenarios("dark-site, site-loss,dark-site", site="city-hall")
    assert [one.name for one in chosen] == ["dark-site", "site-loss"]


@pytest.mark.parametrize("words", ["", " , ", "site-los", "failover-link-cut", "all,site-loss"])
def test_what_does_not_exist_is_refused_with_what_does(words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        choose_scenarios(words, site="city-hall")
    assert "failover-dark-site" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("name", "expect", "code", "verdict"),
    [
        ("site-loss", "handover", 0, "met"),
        ("dark-site", "no-promotion", 0, "met"),
        ("planned-migration", "exchange", 0, "recovered"),
        ("failover-wan-partition", "handover", 0, "recovered"),
        ("failover-dark-site", "no-promotion", 5, "not promoted"),
        ("standby-copy", "copy", 0, "copied"),
    ],
)
def test_each_says_how_it_must_end(name: str, expect: str, code: int, verdict: str) -> None:
    one = find_scenario(name, "city-hall")
    assert (one.expect, one.ends_with, one.verdict) == (expect, code, verdict)


@pytest.mark.parametrize(
    ("name", "fault"), [("failover-wan-partition", WanPartition), ("failover-dark-site", DarkSite)]
)
def test_a_failover_loses_the_site_of_the_primary(name: str, fault: type) -> None:
    (broken,) = find_scenario(name, "eoc").faults
    assert isinstance(broken, fault)
    assert broken.site == "eoc"  # type: ignore[union-attr]


def test_a_drill_that_may_lose_nothing_is_run_with_synchronous_replication() -> None:
    assert find_scenario("site-loss-synchronous", "city-hall").synchronous
    assert not find_scenario("site-loss", "city-hall").synchronous


def test_a_drill_that_begins_after_a_failover_is_refused_with_what_runs_it() -> None:
    with pytest.raises(ConfigError, match="has failed over") as refused:
        find_scenario("failback", "city-hall")
    assert refused.value.hint == "--drill round-trip"
