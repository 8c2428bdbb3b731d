"""Healing the lab: a name server is off, or reconciled, before clients reach it."""

from itertools import pairwise

import pytest

from automation.commands._healing import Broken, NameServer, plan_heal

A, B = NameServer("dns-a", runs=True, fenced=False), NameServer("dns-b", runs=True, fenced=False)
NOTHING: frozenset[str] = frozenset()
HERE = frozenset({"city-hall"})


def order(fault: str, sites: tuple[str, ...], seen: Broken) -> list[str]:
    """Ids of the steps; each waits for the one before it, or for the first of a fork."""
    steps = plan_heal(fault, sites, seen)
    for before, step in pairwise(steps):
        assert before.id in (*step.needs, *step.after) or step.run.do == before.run.do
    return [step.id for step in steps]


def seen(a: NameServer = A, cut: frozenset[str] = NOTHING, dark: frozenset[str] = NOTHING) -> Broken:
    return Broken({"city-hall": a, "eoc": B}, cut, dark, NOTHING)


@pytest.mark.parametrize(
    ("fault", "broken", "steps"),
    [
        ("power-loss", seen(A._replace(runs=False)), ["heal", "start", "ready", "reconcile"]),
        ("wan-partition", seen(cut=HERE), ["hold", "heal", "start", "ready", "reconcile"]),
        (
            "dark-site",
            seen(cut=HERE, dark=HERE),
            ["management", "hold", "heal", "start", "ready", "reconcile"],
        ),
        ("wan-partition", seen(), ["heal", "start", "ready", "reconcile"]),
    ],
    ids=["power-loss", "wan-partition", "dark-site", "nothing is broken"],
)
def test_a_server_that_ran_on_is_off_until_its_site_is_joined(
    fault: str, broken: Broken, steps: list[str]
) -> None:
    assert [name.partition("/")[0] for name in order(fault, ("city-hall",), broken)] == steps


def test_a_fenced_name_server_is_left_alone() -> None:
    assert order("wan-partition", ("city-hall",), seen(A._replace(fenced=True), cut=HERE)) == ["heal"]


def test_a_site_without_a_name_server_is_only_joined() -> None:
    assert order("wan-partition", ("public",), seen(cut=frozenset({"public"}))) == ["heal"]


def test_without_another_server_there_is_nothing_to_compare_with() -> None:
    alone = Broken({"city-hall": A}, HERE, NOTHING, NOTHING)
    assert order("wan-partition", ("city-hall",), alone) == [
        "hold/dns-a",
        "heal",
        "start/dns-a",
        "ready/dns-a",
    ]


def test_servers_behind_a_cut_link_are_reconciled_before_it_is_mended() -> None:
    assert order("link-cut", ("city-hall", "eoc"), seen(cut=HERE)) == [
        "reconcile/dns-a",
        "reconcile/dns-b",
        "heal",
    ]


def test_a_server_that_was_cut_off_from_us_is_reconciled_as_soon_as_it_is_reached() -> None:
    assert order("link-cut", ("control", "city-hall"), seen(cut=HERE)) == ["heal", "reconcile/dns-a"]


def test_a_comparison_that_fails_does_not_keep_the_site_broken() -> None:
    steps = {step.id: step for step in plan_heal("wan-partition", ("city-hall",), seen(cut=HERE))}
    assert steps["reconcile/dns-a"].on_failure == "continue"
    assert steps["hold/dns-a"].on_failure == "pause"
