"""What the rules keep: every point once, with a reason, by periods of the policy's zone."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automation.backups.dialects import GoSpan, OldRules, decide_as
from automation.backups.durations import parse_span
from automation.backups.forecast import departures
from automation.backups.periods import KINDS, Kind, period_of
from automation.backups.retention import PolicyError, decide
from automation.backups.rules import ALL, RetentionPolicy
from automation.model.recovery_points import RecoveryPoint
from tests.backups.points import NOW, dailies, every, kept_ids, make_point, make_policy

ZONES = (
    "UTC",
    "America/New_York",
    "America/Havana",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Atlantic/Azores",
)

CHANGES = tuple(
    int(datetime.fromisoformat(f"{at}+00:00").timestamp())
    for at in (
        "2026-04-04T15:00",
        "2026-11-01T06:00",
        "2010-11-07T02:31",
        "2011-12-30T10:00",
        "2026-11-01T05:00",
    )
)

# --- against a second, slow way to decide -----------------------------------------------------------


def slowly(points: list[RecoveryPoint], policy: RetentionPolicy, now: datetime) -> set[str]:
    """Walk all points once, newest first, period by period: the rule as its definition says it."""
    zone = ZoneInfo(policy.tz)
    ordered = sorted(points, key=lambda p: (p.claimed_at, p.id), reverse=True)
    counted = [p for p in ordered if p.status == "ok" and p.claimed_at <= now]
    newest = next((p.claimed_at for p in counted), None)
    kept = {p.id for p in ordered if p.claimed_at > now}
    kept |= {
        p.id
        for p in ordered
        if p.status != "ok" and p.claimed_at <= now and (newest is None or p.claimed_at > newest)
    }
    for rule in policy.keep.counted():
        budget, last = ALL if rule.span else (rule.most or 0), None
        for place, point in enumerate(counted):
            at = point.claimed_at.timestamp()
            if rule.span and newest and point.claimed_at <= rule.span.before(newest, zone):
                break
            period = period_of(rule.kind, at, zone) if rule.kind else place
            if budget and (period != last or (policy.keep.keep_oldest and place == len(counted) - 1)):
                kept.add(point.id)
                last, budget = period, budget - (budget > 0)
    return kept


rules = st.fixed_dictionaries(
    {},
    optional={
        "last": st.integers(1, 5),
        **{kind: st.integers(1, 9) | st.just("all") for kind in KINDS},
        **{f"{kind}_for": st.sampled_from(("36 hours", "9 days", "2 months", "1 year")) for kind in KINDS},
        "all_for": st.sampled_from(("3 hours", "2 days", "1 month")),
        "keep_oldest": st.booleans(),
    },
).filter(lambda keep: set(keep) - {"keep_oldest"})
moments = st.builds(
    lambda day, minute: datetime(2025, 9, 1, tzinfo=UTC) + timedelta(days=day, minutes=minute),
    st.integers(0, 460) | st.sampled_from((60, 61, 62, 189, 188, 30, 31)),
    st.integers(0, 1439),
)


@settings(max_examples=50, deadline=None)
@given(
    times=st.lists(moments, max_size=40),
    keep=rules,
    tz=st.sampled_from(ZONES),
    broken=st.sets(st.integers(0, 39), max_size=4),
    now=st.just(NOW) | moments,
)
def test_every_point_stands_once_and_is_decided_as_the_definition_says(
    times: list[datetime], keep: dict[str, object], tz: str, broken: set[int], now: datetime
) -> None:
    points = [
        make_point(at, f"{number:03}", status="failed" if number in broken else "ok")
        for number, at in enumerate(times)
    ]
    policy = RetentionPolicy.model_validate({"tz": tz, "keep": keep})
    found = decide(points, policy, now=now)
    listed = [*kept_ids(found), *(point.id for point in found.expired)]
    assert sorted(listed) == sorted(point.id for point in points)
    assert set(kept_ids(found)) == slowly(points, policy, now)
    assert all(found.why(point) for point in points)


@settings(max_examples=10, deadline=None)
@given(count=st.integers(1, 20), step_h=st.sampled_from((3, 24, 60)), keep=rules, tz=st.sampled_from(ZONES))
def test_what_was_deleted_meanwhile_changes_nothing_of_what_is_foretold(
    count: int, step_h: int, keep: dict[str, object], tz: str
) -> None:
    policy = RetentionPolicy.model_validate({"tz": tz, "keep": {**keep, "keep_oldest": False}})
    points = every(timedelta(hours=step_h), count)
    first = decide(points, policy, now=NOW)
    last = points[0].claimed_at + timedelta(hours=31 * 20)
    foretold = departures(first, 31 * 3600, last)
    never_deleted = points + [
        make_point(points[0].claimed_at + timedelta(hours=31 * number)) for number in range(1, 21)
    ]
    kept = set(kept_ids(decide(never_deleted, policy, now=last)))
    assert {name for name, at in foretold.items() if at is None} == kept & set(kept_ids(first))


@pytest.mark.parametrize(
    ("keep", "days"),
    [
        pytest.param({"last": 3}, [3, 2, 1], id="last"),
        pytest.param({"daily": 3}, [3, 2, 1], id="daily"),
        pytest.param({"all_for": "3 days"}, [3, 2, 1], id="a span"),
        pytest.param(
            {"last": 2, "weekly": 2, "keep_oldest": False}, [8, 1, None, None, None], id="two rules"
        ),
        pytest.param({"last": 1, "tagged": ["gold"]}, [1], id="one"),
    ],
)
def test_each_kept_point_has_the_day_on_which_it_will_go(keep: dict[str, object], days: list[int]) -> None:
    points = dailies(6)
    found = decide(points, RetentionPolicy.model_validate({"tz": "UTC", "keep": keep}), now=NOW)
    foretold = departures(found, 86400, NOW + timedelta(days=30))
    expected = [points[0].claimed_at + timedelta(days=day) for day in days if day is not None]
    assert [at for at in foretold.values() if at is not None][: len(expected)] == expected


restics = st.fixed_dictionaries(
    {"last": st.integers(1, 5)},
    optional={kind: st.integers(1, 9) for kind in ("hourly", "daily", "weekly", "monthly", "yearly")},
)


@settings(max_examples=40, deadline=None)
@given(
    times=st.lists(moments, max_size=40, unique=True),
    counts=restics,
    hours=st.none() | st.integers(1, 3000),
    tagged=st.booleans(),
)
def test_in_one_zone_with_honest_times_it_is_restics_rule(
    times: list[datetime], counts: dict[str, int], hours: int | None, tagged: bool
) -> None:
    points = [make_point(at, tags=("a",) * (at.minute % 2) + ("b",) * (at.hour % 2)) for at in times]
    keep: dict[str, object] = {**counts, "tagged": [["a", "b"]] if tagged else []}
    old: dict[str, object] = {**counts, "tags": (("a", "b"),) if tagged else ()}
    if hours:
        keep |= {"all_for": f"{hours} hours", "daily_for": f"{hours + 99} hours"}
        old |= {"within": GoSpan(hours=hours), "within_daily": GoSpan(hours=hours + 99)}
    now = NOW + timedelta(days=30)
    ours = decide(points, make_policy("UTC", **keep), now=now)
    theirs = decide_as("restic-0.16", points, OldRules.model_validate(old), now=now)
    assert set(kept_ids(ours)) == set(theirs.kept)


# --- periods ----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    at=st.integers(0, 4_000_000_000) | st.sampled_from(CHANGES),
    kind=st.sampled_from(KINDS),
    tz=st.sampled_from(ZONES),
    near=st.integers(-8000, 8000),
)
def test_periods_follow_each_other_without_gap(at: int, kind: Kind, tz: str, near: int) -> None:
    zone = ZoneInfo(tz)
    here = period_of(kind, float(at + near), zone)
    assert here.start <= at + near < here.end
    assert period_of(kind, here.start, zone) == here
    assert period_of(kind, here.end - 1, zone) == here
    assert period_of(kind, here.end, zone).start == here.end


def test_an_hour_of_which_half_comes_twice_is_two_periods() -> None:
    """Lord Howe Island: at 15:00 UTC the clock goes back from 02:00 to 01:30."""
    zone = ZoneInfo("Australia/Lord_Howe")
    change = datetime(2026, 4, 4, 15, tzinfo=UTC).timestamp()
    found = [period_of("hourly", change + 60 * minutes, zone) for minutes in (-1, 0, 29, 30)]
    assert [(one.start - change) / 60 for one in found] == [-60, 0, 0, 30]
    spring = datetime(2026, 10, 3, 15, 30, tzinfo=UTC).timestamp()
    after = period_of("hourly", spring + 600, zone)
    assert [after.start - spring, after.end - spring] == [0, 1800]


def test_the_hour_that_comes_twice_is_two_hours() -> None:
    points = [make_point("2026-11-01T05:30+00:00", "first"), make_point("2026-11-01T06:30+00:00", "second")]
    assert kept_ids(decide(points, make_policy(hourly=5), now=NOW)) == ["second", "first"]


def test_a_day_is_one_of_the_policys_zone_whatever_offset_a_point_bears() -> None:
    points = [make_point("2026-11-20T23:30-05:00", "late"), make_point("2026-11-21T03:00+00:00", "early")]
    assert kept_ids(decide(points, make_policy(daily=9, keep_oldest=False), now=NOW)) == ["late"]
    in_utc = make_policy("UTC", daily=9, keep_oldest=False)
    assert kept_ids(decide(points, in_utc, now=NOW)) == ["late"]
    in_tokyo = make_policy("Asia/Tokyo", daily=1, keep_oldest=False)
    assert kept_ids(decide(points, in_tokyo, now=NOW)) == ["late"]


def test_a_midnight_that_comes_twice_makes_no_day_twice() -> None:
    zone = ZoneInfo("America/St_Johns")
    days = [
        period_of("daily", datetime(2010, 11, 7, 0, tzinfo=UTC).timestamp() + 60 * minute, zone)
        for minute in range(1440)
    ]
    assert all(later.start >= earlier.start for earlier, later in pairwise(days))


@pytest.mark.parametrize(
    ("kind", "first"),
    [("weekly", "2026-12-28T00:00-05:00"), ("quarterly", "2027-01-01T00:00-05:00")],
)
def test_weeks_are_iso_and_quarters_begin_in_january(kind: Kind, first: str) -> None:
    found = period_of(
        kind, datetime.fromisoformat("2027-01-02T12:00-05:00").timestamp(), ZoneInfo("America/New_York")
    )
    assert found.start == datetime.fromisoformat(first).timestamp()


# --- rules ------------------------------------------------------------------------------------------


def test_equal_times_are_decided_by_id_in_any_order() -> None:
    points = [make_point(NOW - timedelta(hours=1), name) for name in ("b", "a", "c")]
    for order in (points, points[::-1]):
        assert kept_ids(decide(order, make_policy(last=1, keep_oldest=False), now=NOW)) == ["c"]


def test_the_oldest_point_stays_while_a_rule_has_room() -> None:
    points = dailies(40)
    found = decide(points, make_policy(daily=7, monthly=12), now=NOW)
    assert "the oldest, while monthly has room" in found.why(points[-1])
    assert points[-1] in decide(points, make_policy(daily=7, keep_oldest=False, monthly=12), now=NOW).expired
    assert points[-1] in decide(points, make_policy(daily=7), now=NOW).expired


def test_a_span_ends_exactly_at_its_length() -> None:
    points = [make_point(NOW - timedelta(hours=hours), f"{hours}") for hours in (0, 47, 48)]
    assert kept_ids(decide(points, make_policy(all_for="48 hours"), now=NOW)) == ["0", "47"]


def test_spans_count_back_from_the_newest_point_and_not_from_now() -> None:
    points = dailies(10, until=NOW - timedelta(days=300))
    assert len(decide(points, make_policy(all_for="5 days"), now=NOW).kept) == 5


def test_a_tag_keeps_in_any_of_its_sets_and_all_tags_of_a_set_are_needed() -> None:
    points = [
        make_point(NOW - timedelta(days=n), f"{n}", tags=tags)
        for n, tags in enumerate(((), (), ("gold",), ("a", "b"), ("a",)))
    ]
    policy = make_policy(last=1, tagged=["gold", ["a", "b"]], keep_oldest=False)
    found = decide(points, policy, now=NOW)
    assert kept_ids(found) == ["0", "2", "3"]
    assert found.why(points[3]) == "tagged a, b"


def test_reasons_are_sentences_for_kept_and_expired() -> None:
    points = dailies(30)
    found = decide(points, make_policy(last=2, daily=7, weekly=2, keep_oldest=False), now=NOW)
    assert found.why(points[0]) == "last 1 of 2; daily 1 of 7; weekly 1 of 2"
    assert found.why(points[20]).startswith("last: 2 newer ones are kept; daily: 7 newer ones are kept")
    assert f"weekly: {points[0].id} is newer in that week" in found.why(points[2]) or points[
        2
    ].id in kept_ids(found)


def test_points_of_two_resources_or_an_id_twice_are_not_decided_on() -> None:
    one = make_point(NOW, "a")
    for other in (one, make_point(NOW, "b", resource="s"), make_point(NOW, "b", copy_name="vault")):
        with pytest.raises(PolicyError):
            decide([one, other], make_policy(last=1), now=NOW)


@pytest.mark.parametrize("seen_h", [10, -10])
def test_a_point_seen_long_before_or_after_its_own_time_stays_and_is_not_counted(seen_h: int) -> None:
    at = NOW - timedelta(hours=20)
    lying = make_point(at, "lying", observed_at=at + timedelta(hours=seen_h))
    honest = make_point(NOW - timedelta(hours=30), "honest", observed_at=NOW - timedelta(hours=29))
    found = decide([lying, honest], make_policy(last=1), now=NOW)
    assert kept_ids(found) == ["lying", "honest"]
    assert found.anchor == honest
    assert "more than 1 hour from the time it claims" in found.why(lying)


def test_the_laws_age_counts_from_now_and_beats_the_rules() -> None:
    points = [make_point(NOW - timedelta(days=days), f"{days}") for days in (1, 3600, 3700)]
    policy = make_policy(last="all", delete_after={"age": "10 years", "approve": "city-clerk"})
    found = decide(points, policy, now=NOW)
    assert kept_ids(found) == ["1", "3600"]
    assert found.why(points[2]) == "older than 10 years; city-clerk must agree"
    goes = departures(found, 86400, NOW + timedelta(days=100))["3600"]
    due = parse_span("10 years").after(points[1].claimed_at, ZoneInfo("America/New_York"))
    assert goes is not None
    assert due <= goes < due + timedelta(days=1)
