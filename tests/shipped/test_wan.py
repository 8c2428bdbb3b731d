"""The WAN's scheduler: when a packet arrives, and whether it does."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.shipped.wan import QUEUE_S, Condition, Link, Table

SITES = {"a": "10.9.1.0/24", "b": "10.9.2.0/24", "c": "10.9.3.0/24"}
PACKET = 1500


def link(**condition: float | bool) -> Link:
    return Link(Condition(**condition))  # type: ignore[arg-type]


def test_a_packet_arrives_after_the_delay() -> None:
    assert link(delay_ms=10).schedule(5.0, PACKET, random.Random(1)) == pytest.approx(5.010)


def test_a_cut_link_delivers_nothing() -> None:
    assert link(up=False).schedule(5.0, PACKET, random.Random(1)) is None


def test_loss_takes_its_share() -> None:
    lossy, chance = link(loss=0.25), random.Random(7)
    lost = sum(lossy.schedule(0.0, PACKET, chance) is None for _ in range(4000))
    assert 850 < lost < 1150


def test_rate_spaces_packets_by_their_size() -> None:
    slow = link(rate_mbit=12)  # 1500 bytes take 1 ms
    arrivals = [slow.schedule(0.0, PACKET, random.Random(1)) for _ in range(3)]
    assert arrivals == pytest.approx([0.001, 0.002, 0.003])


def test_a_full_queue_drops() -> None:
    slow = link(rate_mbit=12)
    arrivals = [slow.schedule(0.0, PACKET, random.Random(1)) for _ in range(1000)]
    assert sum(due is not None for due in arrivals) == pytest.approx(QUEUE_S / 0.001, abs=2)


def test_a_link_that_was_idle_starts_at_once() -> None:
    slow = link(rate_mbit=12)
    slow.schedule(0.0, PACKET, random.Random(1))
    assert slow.schedule(9.0, PACKET, random.Random(1)) == pytest.approx(9.001)


@given(st.lists(st.floats(0, 0.01), max_size=50), st.integers())
def test_jitter_never_reorders_and_never_hurries(gaps: list[float], seed: int) -> None:
    shaky, chance, now, last = link(delay_ms=10, jitter_ms=30), random.Random(seed), 0.0, 0.0
    for gap in gaps:
        now += gap
        due = shaky.schedule(now, PACKET, chance)
        assert due is not None
        assert due >= last
        assert due >= now + 0.010
        last = due


def test_packets_in_flight_keep_their_time_when_the_link_changes() -> None:
    changing = link(delay_ms=50)
    first = changing.schedule(0.0, PACKET, random.Random(1))
    changing.condition = replace(changing.condition, delay_ms=1)
    assert changing.schedule(0.001, PACKET, random.Random(1)) == first


@pytest.mark.parametrize(
    "wrong", [{"loss": 1.5}, {"delay_ms": -1}, {"rate_mbit": -5}], ids=lambda wrong: next(iter(wrong))
)
def test_impossible_conditions_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        Condition(**wrong)  # type: ignore[arg-type]


def test_a_change_touches_only_the_named_direction() -> None:
    table = Table(SITES)
    table.change({"a>b": {"up": False}})
    assert [name for name, shown in table.in_force().items() if not shown["up"]] == ["a>b"]


def test_a_change_with_one_wrong_link_changes_none() -> None:
    table = Table(SITES)
    with pytest.raises(KeyError):
        table.change({"a>b": {"up": False}, "a>nowhere": {"up": False}})
    assert all(shown["up"] for shown in table.in_force().values())


@pytest.mark.parametrize(
    ("address", "site"),
    [((10, 9, 2, 20), "b"), ((10, 9, 3, 255), "c"), ((10, 9, 4, 1), None), ((192, 0, 2, 1), None)],
    ids=["inside", "edge", "between", "outside"],
)
def test_addresses_belong_to_sites_by_subnet(address: tuple[int, ...], site: str | None) -> None:
    assert Table(SITES).site_of(bytes(address)) == site
