"""What a city writes about its backups: words are exact, and every fault has its line."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from automation.backups.durations import parse_span
from automation.backups.rules import RetentionPolicy
from automation.backups.spec import Backups, check_backups, load_backups
from automation.model.errors import ConfigError
from automation.model.loading import load_model
from automation.model.recovery_points import Level
from tests.backups.policies import DATABASE, make_backups

WHOLE = """\
version: 1
tz: America/New_York
stores:
  nas: {type: restic, repository: "sftp:b@nas:/main", keeper: {host: b}, site: hall}
  vault:
    type: restic
    repository: s3:s3.example/b
    keeper: {host: b}
    site: cloud
    medium: object-store
    lock: {mode: compliance, for: 35 days}
    copy_of: nas
retention:
  standard:
    last: 3
    daily: 14
resources:
  shares:
    source: {kind: files, host: a, paths: [/srv], must_exist: [/srv/.here]}
    rpo: 4 h
    take: {every: 4 hours}
    to: [nas, vault]
    keep: {profile: standard}
    verify: [{level: L3, every: 1 week}]
scratch: s
"""


def load(folder: Path, text: str) -> Backups:
    path = folder / "backups.yml"
    path.write_text(text)
    return load_backups(path)


def faults(folder: Path, text: str) -> list[tuple[int, str]]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    assert all(problem.file.endswith("backups.yml") for problem in caught.value.problems)
    return [(problem.line, f"{problem.key}: {problem.message}") for problem in caught.value.problems]


def test_the_example_citys_backups_are_right(root: Path) -> None:
    backups = load_backups(root / "inventories/example-city/backups.yml")
    assert backups.policy("clerk-and-police-shares", "vault").keep == backups.retention["records"]
    assert backups.policy("clerk-and-police-shares", "cc-nas").keep == backups.retention["standard"]
    assert backups.resources["finance-db"].proven_to is Level.L4


def test_the_example_citys_backups_name_hosts_services_and_sites_that_are_there(root: Path) -> None:
    folder = root / "inventories/example-city"
    catalog = "".join(path.read_text() for path in (folder / "services.yml", *folder.glob("services/*.yml")))
    hosts = (folder / "hosts.yml").read_text()
    backups = load_backups(folder / "backups.yml")
    for resource in backups.resources.values():
        assert f"\n  {resource.service}:\n" in catalog
        named = resource.source.group if resource.source.kind == "device-config" else resource.source.host
        assert f" {named}: " in hosts or f" {named}:\n" in hosts
    assert all(f"  {store.site}: {{title" in catalog for store in backups.stores.values())


@pytest.mark.parametrize(
    ("was", "is_", "line", "words"),
    [
        pytest.param("    last: 3", "    last: 0", 15, "cannot be kept", id="zero"),
        pytest.param("    last: 3", "    last: -1", 15, "cannot be kept", id="minus one"),
        pytest.param("    last: 3", "    last: 99999999999", 15, "cannot be kept", id="overflow"),
        pytest.param("    last: 3", "    last: 3.5", 15, "no count", id="fraction"),
        pytest.param("    last: 3", "    last: yes", 15, "no count", id="truth value"),
        pytest.param("    last: 3", "    lats: 3", 15, "did you mean last", id="misspelt rule"),
        pytest.param("    last: 3", "    all_for: 7d", 15, "no length of time", id="single letter"),
        pytest.param("    last: 3", "    all_for: 5 m", 15, "no length of time", id="letter for months"),
        pytest.param("    last: 3", "    all_for: 30 days 5 days", 15, "no length of time", id="two spans"),
        pytest.param("    last: 3", "    all_for: -1 days", 15, "no length of time", id="negative span"),
        pytest.param("    last: 3", "    all_for: 0 days", 15, "no time at all", id="zero span"),
        pytest.param("    last: 3", "    all_for: 2600000 hours", 15, "200 years", id="span overflows"),
        pytest.param("    last: 3", "    all_for: 90", 15, "no length of time", id="span without unit"),
        pytest.param("tz: America/New_York\n", "", 1, "tz: is missing", id="no zone"),
        pytest.param("tz: America/New_York", "tz: New York", 2, "not a time zone", id="no such zone"),
        pytest.param("    last: 3\n    daily: 14", "    keep_oldest: true", 14, "keeps no point", id="empty"),
        pytest.param("    last: 3\n    daily: 14", "    tagged: [gold]", 14, "misspelt", id="tags alone"),
        pytest.param("[nas, vault]", "[nas, vualt]", 22, "did you mean vault", id="unknown store"),
        pytest.param("[nas, vault]", "[vault, vault]", 22, "stands twice", id="a store twice"),
        pytest.param(
            "profile: standard", "profile: standart", 23, "did you mean standard", id="unknown profile"
        ),
        pytest.param("copy_of: nas", "copy_of: naas", 12, "did you mean nas", id="copy of nothing"),
        pytest.param("for: 35 days", "for: 6 hours", 11, "too short for a lock", id="a lock of hours"),
        pytest.param("copy_of: nas", "copy_of: vault", 12, "no other store", id="copy of itself"),
        pytest.param("[nas, vault]", "[nas]", 22, "copies: 2 instead of 3", id="breaks 3-2-1-1-0"),
        pytest.param("level: L3", "level: L2", 24, "never proven at L3", id="never proven far enough"),
        pytest.param("level: L3", "level: L4", 24, "what the application must show", id="L4 asserts nothing"),
        pytest.param("level: L3", "level: L5", 24, "what a drill proves", id="L5 is a drill's"),
        pytest.param("{every: 4 hours}", "{diff: daily 01:00}", 21, "never due", id="never taken"),
        pytest.param(", must_exist: [/srv/.here]", "", 19, "must_exist: is missing", id="no sign of a mount"),
        pytest.param("kind: files", "kind: tape", 19, "known: device-config", id="unknown kind"),
        pytest.param("    rpo: 4 h\n", "", 18, "neither service nor rpo", id="no RPO"),
        pytest.param(
            "{profile: standard}", "{profile: standard, pitr_window: 3 days}", 18, "postgresql", id="PITR"
        ),
        pytest.param(
            "sftp:b@nas:/main", "sftp://b:secret@nas/main", 4, "URL with a password", id="a password"
        ),
    ],
)
def test_a_fault_has_its_line_and_what_to_do(
    tmp_path: Path, was: str, is_: str, line: int, words: str
) -> None:
    assert was in WHOLE
    found = faults(tmp_path, WHOLE.replace(was, is_, 1))
    assert any(at == line and words in said for at, said in found), found


def test_a_digest_changes_with_the_rules_and_with_the_guards(tmp_path: Path) -> None:
    held = "profile: standard, holds: [{tag: a, owner: clerk, reason: audit}]"
    changes = (
        ("x", "x"),
        ("daily: 14", "daily: 13"),
        ("retention:", "guards: {min_keep: 2}\nretention:"),
        ("profile: standard", held),
    )
    digests = [load(tmp_path, WHOLE.replace(*pair, 1)).policy_digest("shares", "nas") for pair in changes]
    assert len(set(digests)) == 4


def test_a_shorter_window_of_a_database_is_a_changed_policy() -> None:
    days = {
        make_backups(
            ledger=DATABASE | {"keep": {"profile": "standard", "pitr_window": f"{days} days"}}
        ).policy_digest("ledger", "pg")
        for days in (3, 35)
    }
    assert len(days) == 2


@pytest.mark.parametrize("kind", ["address", "place on its keeper", "stanza"])
def test_a_repository_that_is_declared_twice_is_refused(tmp_path: Path, kind: str) -> None:
    """Each of the two would rotate by rules of its own, and delete what the other keeps."""
    other = {
        "address": '{type: restic, repository: "sftp:b@nas:/main", keeper: {host: c}, site: eoc}',
        "place on its keeper": '{type: restic, repository: "sftp:b@b:/x", '
        'keeper: {host: b, repository: "sftp:b@nas:/main"}, site: eoc}',
        "stanza": "{type: pgbackrest, stanza: pay, repo: 1, keeper: {host: b}, site: hall}",
    }[kind]
    pg = "  pg: {type: pgbackrest, stanza: pay, repo: 1, keeper: {host: b}, site: hall}\n"
    text = WHOLE.replace("retention:", f"{pg}  other: {other}\nretention:", 1)
    ((_, said),) = faults(tmp_path, text)
    assert said.startswith("stores.other: is the same repository as ")


def test_a_stanza_of_two_databases_is_refused() -> None:
    """Each of the two would take all backups in it for its own, and delete them by its own rules."""
    found = list(check_backups(make_backups(ledger=DATABASE, other=DATABASE)))
    assert [one.where for one in found] == [("resources", "other", "to", place) for place in range(3)]
    assert "pg is of ledger" in found[0].message
    assert list(check_backups(make_backups(ledger=DATABASE))) == []


def test_a_hold_lasts_to_the_end_of_its_day(tmp_path: Path) -> None:
    hold = "holds: [{tag: a, owner: clerk, reason: audit, until: 2026-11-30}]"
    backups = load(tmp_path, WHOLE.replace("profile: standard}", f"profile: standard, {hold}}}"))
    (found,) = backups.holds("shares")
    assert found.until == datetime.fromisoformat("2026-12-01T00:00-05:00")


def test_a_policy_alone_needs_a_zone_and_rules(tmp_path: Path) -> None:
    path = tmp_path / "policy.yml"
    path.write_text("keep: {daily: 7}\n")
    with pytest.raises(ConfigError, match=r"policy\.yml:1: tz: is missing"):
        load_model(path, RetentionPolicy)


@pytest.mark.parametrize(
    ("words", "at", "before"),
    [
        ("1 month", "2026-03-31T12:00-04:00", "2026-02-28T12:00-05:00"),
        ("1 month", "2026-10-31T12:00-04:00", "2026-09-30T12:00-04:00"),
        ("1 year", "2024-02-29T12:00-05:00", "2023-02-28T12:00-05:00"),
        ("2 days", "2026-03-09T12:00-04:00", "2026-03-07T12:00-05:00"),
        ("48 hours", "2026-03-09T12:00-04:00", "2026-03-07T11:00-05:00"),
        ("1 quarter", "2026-05-31T00:00-04:00", "2026-02-28T00:00-05:00"),
        ("5 weeks", "2026-11-22T00:00-05:00", "2026-10-18T00:00-04:00"),
        ("200 years", "2026-11-22T00:00-05:00", "1826-11-22T00:00-04:56"),
    ],
)
def test_months_end_at_their_last_day_and_days_are_of_the_wall_clock(
    words: str, at: str, before: str
) -> None:
    found = parse_span(words).before(datetime.fromisoformat(at), ZoneInfo("America/New_York"))
    assert abs((found - datetime.fromisoformat(before)).total_seconds()) < 120


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (
            "{level: L4, every: 1 week, assert: [{sql: select 1, minimum: 1}]}",
            "sql says nothing of files; write file",
        ),
        (
            "{level: L3, every: 1 week, pick: [{moment: random}]}",
            "files has points and no moments between them; leave moment out",
        ),
    ],
)
def test_what_nobody_could_see_after_such_a_restore_is_refused(
    tmp_path: Path, rule: str, problem: str
) -> None:
    text = WHOLE.replace("{level: L3, every: 1 week}", rule)
    assert any(problem in found for _, found in faults(tmp_path, text))


@pytest.mark.parametrize(("vendor", "right"), [("frr", True), ("cisco-ios", False), ("junos", False)])
def test_l4_is_refused_for_devices_whose_vendor_has_no_free_checker(
    tmp_path: Path, vendor: str, right: bool
) -> None:
    source = f"{{kind: device-config, devices: [rtr-a], vendor: {vendor}}}"
    text = re.sub(r"source: \{.*\}", f"source: {source}", WHOLE)
    text = text.replace("{level: L3, every: 1 week}", "{level: L4, every: 1 week, assert: [{parse: vendor}]}")
    if right:
        assert load(tmp_path, text).resources["shares"].source.kind == "device-config"
    else:
        assert [why for _, why in faults(tmp_path, text) if "no free program" in why and "write L3" in why]


def test_wal_stays_for_the_window_of_a_stores_databases_and_without_one_for_all() -> None:
    windowed = DATABASE | {"keep": {"profile": "standard", "pitr_window": "3 days"}}
    now = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)
    backups = make_backups(ledger=windowed)
    since = backups.pitr_since("pg", now)
    assert since is not None
    assert since.astimezone(ZoneInfo(backups.tz)).timetuple()[:5] == (2026, 11, 19, 0, 0)
    assert backups.pitr_since("pg", now + timedelta(minutes=1)) == since, "a plan made again is the same"
    assert make_backups(ledger=DATABASE).pitr_since("pg", now) is None
    assert make_backups(ledger=windowed, other=DATABASE).pitr_since("pg", now) is None
    assert backups.pitr_since("nas", now) is None
