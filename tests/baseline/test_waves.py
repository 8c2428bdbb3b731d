"""Waves: every host once, never two that stand in for each other, never sites that recover each other."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from automation.baseline.waves import City, plan_waves, role_of, telling_groups

SITES = {
    "dns-a": "hall", "pg-a": "hall", "app-a": "hall",
    "dns-b": "eoc", "pg-b": "eoc", "app-b": "eoc",
    "client": "public",
}  # fmt: skip
GROUPS = {
    "city_hall": ("dns-a", "pg-a", "app-a"),
    "postgresql": ("pg-a", "pg-b"),
    "linux": tuple(SITES),
}
PAIRS = tuple(frozenset((f"{kind}-a", f"{kind}-b")) for kind in ("dns", "pg", "app"))
RIVALS = frozenset({frozenset(("hall", "eoc"))})
ROLES = {host: host.partition("-")[0] for host in SITES}
CITY = City(SITES, PAIRS, RIVALS, ROLES, spare={"dns-b", "pg-b", "app-b"})


def test_one_of_each_role_tries_first_and_it_is_the_one_that_serves_nobody() -> None:
    first, *rest = plan_waves(SITES, CITY)
    assert first == ("app-b", "dns-b", "pg-b", "client")
    assert rest == [("app-a",), ("dns-a", "pg-a")]


def test_roles_that_only_the_other_site_has_try_in_a_wave_of_their_own() -> None:
    waves = plan_waves(["dns-a", "pg-b"], CITY)
    assert waves == (("pg-b",), ("dns-a",))


def test_after_the_first_ones_few_hosts_are_changed_then_more_then_the_rest() -> None:
    hosts = [f"web-{number:03}" for number in range(101)]
    waves = plan_waves(hosts, City(dict.fromkeys(hosts, "hall"), roles=dict.fromkeys(hosts, "web")))
    assert [len(wave) for wave in waves] == [1, 6, 26, 68]


def test_a_role_is_the_smallest_group_that_is_no_place() -> None:
    telling = telling_groups(GROUPS, SITES)
    assert set(telling) == {"postgresql"}
    assert role_of(("city_hall", "postgresql", "linux"), telling) == "postgresql"
    assert role_of(("city_hall", "linux"), telling) == ""


def test_a_pair_that_is_all_of_two_sites_still_stands_in_for_each_other() -> None:
    sites = {"db-a": "hall", "db-b": "eoc", "web": "public"}
    assert set(telling_groups({"db": ("db-a", "db-b"), "hall": ("db-a",)}, sites)) == {"db"}


def test_a_group_of_one_tells_nothing() -> None:
    groups = {**GROUPS, "primary": ("pg-a",), "standby": ("pg-b",)}
    telling = telling_groups(groups, SITES)
    assert role_of(("primary", "postgresql"), telling) == role_of(("standby", "postgresql"), telling)


def test_of_a_large_group_a_quarter_is_changed_at_once() -> None:
    hosts = [f"web-{number:03}" for number in range(100)]
    sites, roles = dict.fromkeys(hosts, "hall"), dict.fromkeys(hosts, "web")
    waves = plan_waves(hosts, City(sites, roles=roles, large=(frozenset(hosts),)))
    assert [len(wave) for wave in waves] == [1, 5, 25, 25, 25, 19]


@st.composite
def cities(draw: st.DrawFn) -> tuple[tuple[str, ...], City]:
    hosts = tuple(f"h{number}" for number in range(draw(st.integers(0, 30))))
    some = st.frozensets(st.sampled_from(hosts), max_size=5) if hosts else st.just(frozenset[str]())
    sites = {host: draw(st.sampled_from(["hall", "eoc", "east", ""])) for host in hosts}
    roles = {host: draw(st.sampled_from(["web", "db", ""])) for host in hosts}
    apart, spare = draw(st.lists(some, max_size=4)), draw(some)
    return hosts, City(sites, apart, RIVALS, roles, spare)


@given(cities(), st.randoms())
def test_every_host_is_in_one_wave_and_no_wave_takes_both_of_anything(
    case: tuple[tuple[str, ...], City], random: Random
) -> None:
    hosts, city = case
    waves = plan_waves(hosts, city)
    assert sorted(host for wave in waves for host in wave) == sorted(hosts)
    for wave in waves:
        assert not any(len(group & set(wave)) > 1 for group in city.apart)
        assert not any(rivals <= {city.sites[host] for host in wave} for rivals in city.rivals)
    shuffled = list(hosts)
    random.shuffle(shuffled)
    assert plan_waves(shuffled, city) == waves
