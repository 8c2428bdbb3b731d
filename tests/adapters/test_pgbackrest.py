"""What pgBackRest 2.45 says, recorded from the real one, and what is made of it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from automation.adapters.pgbackrest.checking import check, find_anchor, judge_list, judge_verify
from automation.adapters.pgbackrest.expiring import count_fulls, find_problem, in_order
from automation.adapters.pgbackrest.listing import Backup, Told, parse_info
from automation.adapters.pgbackrest.restoring import choose_backup, restore
from automation.adapters.pgbackrest.wal import (
    Archive,
    Segment,
    find_segment_size,
    follow,
    make_archive,
    parse_history,
)
from automation.adapters.pgbackrest.window import find_window
from automation.model.actions import CheckStanza, ExpireBackups, RestoreCluster
from automation.model.actions.databases import Stanza
from automation.model.backup_evidence import ProofFailed
from automation.model.errors import AdapterError
from automation.model.records import Completed

RECORDED = Path(__file__).parent / "pgbackrest_2_45"
OF = Stanza(store="hall-pg", stanza="pay", repo=2)
FULL, DIFF = "20261122-073738F", "20261122-073738F_20261122-073800D"
FIRST, SECOND = "20261122-073738F_20261122-073803I", "20261122-073738F_20261122-073806I"
LAST = "20261122-073738F_20261122-073808D"
NEW_FULL, NEW_DIFF = "20261122-074045F", "20261122-074045F_20261122-074049D"


def told(name: str) -> Told:
    return parse_info((RECORDED / f"info-{name}.json").read_text(), OF)


def archive(name: str, *without: str, history: str = "") -> Archive:
    listed = json.loads((RECORDED / f"archive-{name}.json").read_text())
    kept = {path: about for path, about in listed.items() if not any(word in path for word in without)}
    return make_archive("archive/pay/15-1", json.dumps(kept), history, told(name).of_now())


def timelines() -> Archive:
    return archive("timelines", history=(RECORDED / "00000002.history").read_text())


def by_label(of: Told, label: str) -> Backup:
    (found,) = (backup for backup in of.backups if backup.label == label)
    return found


# --- the list -------------------------------------------------------------------------------------


def test_backups_are_told_oldest_first_with_all_that_they_need() -> None:
    needs = {backup.label: set(backup.needs) for backup in told("chain").backups}
    assert needs == {
        FULL: set(),
        DIFF: {FULL},
        FIRST: {FULL, DIFF},
        SECOND: {FULL, DIFF, FIRST},
        LAST: {FULL},
    }
    assert list(needs) == [FULL, DIFF, FIRST, SECOND, LAST]


def test_the_step_that_took_a_backup_stands_in_it() -> None:
    taken = {backup.label: backup.taken_by for backup in told("chain").backups}
    assert taken == {FULL: "r1/s1", DIFF: "", FIRST: "", SECOND: "r1/s9", LAST: ""}


def test_a_stanza_without_a_backup_is_an_answer() -> None:
    seen = told("empty")
    assert (seen.backups, seen.system_identifier) == ((), "7710896751080742271")


def test_a_backup_of_damaged_pages_is_damaged_though_pgbackrest_calls_it_done() -> None:
    assert [backup.label for backup in told("error").backups if backup.damaged] == [
        "20261122-074045F_20261122-074133I"
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "not there"),
        ("pgbackrest: not found", "no JSON"),
        (
            '[{"archive":[],"backup":[],"db":[],"name":"pay","repo":[{"key":2,"status":'
            '{"code":99,"message":"[FileReadError] no"}}],"status":{"code":99}}]',
            "FileReadError",
        ),
    ],
    ids=["no stanza", "no JSON", "a repository that cannot be read"],
)
def test_what_cannot_be_read_is_no_empty_list(text: str, why: str) -> None:
    with pytest.raises(AdapterError, match=why):
        parse_info(text, OF)


# --- WAL ------------------------------------------------------------------------------------------


def test_the_size_of_a_segment_is_told_by_where_backups_began() -> None:
    backups = told("chain").of_now()
    assert find_segment_size(backups) == 16 << 20
    small = [backups[0]._replace(wal=("000000010000000000000020", "000000010000000000000030"))]
    assert find_segment_size(small) == 1 << 20
    with pytest.raises(AdapterError, match="fit no size"):
        find_segment_size([backups[0]._replace(wal=("0000000100000000000000FF",) * 2)])


def test_wal_without_a_gap_reaches_the_present_from_every_backup() -> None:
    known = archive("chain")
    assert {follow(one, known) for one in told("chain").of_now()} == {(Segment(1, 11), "", True)}


def test_one_lost_file_stops_those_before_it_and_no_other() -> None:
    known = archive("chain", "00000001000000000000000A-")
    reached = {one.label: follow(one, known) for one in told("chain").of_now()}
    assert reached[FULL] == (Segment(1, 9), "00000001000000000000000A", True)
    assert reached[LAST] == (None, "00000001000000000000000A", False)


def test_across_a_promotion_the_new_timeline_goes_on_where_the_old_one_ended() -> None:
    """The old timeline's last file is there as .partial alone; the new one's has what it had."""
    known = timelines()
    assert (known.timeline, known.newest) == (2, 0x1A)
    after = [one for one in told("timelines").of_now() if one.wal[0].startswith("00000002")]
    assert [follow(one, known).missing for one in after] == [""]
    joined = known._replace(
        segments={
            **known.segments,
            **{Segment(1, number): next(iter(known.segments.values())) for number in range(0x11, 0x17)},
        }
    )
    assert {follow(one, joined)[:2] for one in told("timelines").of_now()} == {(Segment(2, 0x1A), "")}


def test_wal_that_went_before_the_promotion_is_missed() -> None:
    known = timelines()
    before = by_label(told("timelines"), FULL)
    assert follow(before, known) == (Segment(1, 0x10), "000000010000000000000011", True)


def test_a_backup_of_a_timeline_that_leads_nowhere_is_not_followed() -> None:
    """What a drill leaves that promotes and archives: the last timeline is no child of production's."""
    known = timelines()._replace(timeline=3, branches=tuple(parse_history("1\t0/300000A0\tdrill\n")))
    stray = next(one for one in told("timelines").of_now() if one.wal[0].startswith("00000002"))
    assert "does not lead to 3" in follow(stray, known).missing


# --- the window -----------------------------------------------------------------------------------


def test_the_window_opens_after_a_backup_and_ends_before_the_last_commit() -> None:
    seen, last = told("chain"), datetime(2026, 11, 22, 7, 38, 9, 500000, UTC)
    window = find_window(seen, archive("chain"), {Segment(1, 11): last})
    assert window.earliest == by_label(seen, FULL).stopped_at + timedelta(seconds=1)
    assert (window.latest, window.gaps) == (last - timedelta(microseconds=1), ())


def test_a_lost_file_is_a_gap_until_the_next_backup() -> None:
    seen = told("chain")
    ends = {
        Segment(1, 5): datetime(2026, 11, 22, 7, 38, 3, 500000, UTC),
        Segment(1, 11): datetime(2026, 11, 22, 7, 38, 20, tzinfo=UTC),
    }
    window = find_window(seen, archive("chain", "000000010000000000000006-"), ends)
    assert len(window.spans) == 2
    (gap,) = window.gaps
    assert gap.first == ends[Segment(1, 5)] - timedelta(microseconds=1)
    assert gap.last == by_label(seen, FIRST).stopped_at + timedelta(seconds=1)


def test_a_damaged_backup_opens_no_window() -> None:
    damaged = told("chain")._replace(backups=tuple(b._replace(damaged=True) for b in told("chain").backups))
    moment = {Segment(1, 11): datetime(2026, 11, 22, 7, 38, 20, tzinfo=UTC)}
    assert find_window(damaged, archive("chain"), moment).spans == ()


# --- checks ---------------------------------------------------------------------------------------


def test_a_whole_repository_is_good_at_both_levels() -> None:
    seen, known = told("chain"), archive("chain")
    assert list(judge_list(seen, known, None)) == []
    assert judge_verify(verified("whole"), seen, known) == []


def verified(name: str) -> Completed:
    said = (RECORDED / f"verify/{name}.txt").read_text()
    return Completed(exit_code=0, stdout=said, stderr="")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("flip", f"{FULL}: invalid"),
        ("truncate", f"{FULL}: invalid"),
        ("zero", f"{FULL}: invalid"),
        ("removed", f"{FULL}: invalid"),
        ("perm", f"{FULL}: invalid"),
        ("backupgone", f"{LAST}: invalid"),
        ("diffgone", f"{FIRST}: invalid"),
        ("walflip", "10 of 11 files good"),
        ("walzero", "10 of 11 files good"),
        ("walgone", "11 files are listed, verify looked at 10"),
        ("archgone", "11 files are listed, verify looked at 0"),
        ("manifest2", f"{FULL}: manifest missing"),
        ("manifestbad2", f"{FULL}: invalid"),
        ("infobad", "No usable backup.info file"),
        ("infogone", "No usable backup.info file"),
        ("archinfogone", "No usable archive.info file"),
        ("allgone", f"verify says nothing of {FULL}"),
    ],
)
def test_every_planted_damage_is_found_in_what_verify_said_with_exit_code_0(damage: str, says: str) -> None:
    assert says in "; ".join(judge_verify(verified(damage), told("chain"), archive("chain")))


def test_what_a_cut_off_backup_left_is_no_damage_of_the_others() -> None:
    assert judge_verify(verified("extradir"), told("chain"), archive("chain")) == []


@pytest.mark.parametrize(
    ("without", "says"),
    [
        ("000000010000000000000007-", [f"{FIRST} cannot be opened", f"{FULL} cannot be recovered beyond"]),
        ("000000010000000000000002-", [f"{FULL} cannot be opened: WAL 000000010000000000000002"]),
        ("000000010000000000000001-", []),
    ],
    ids=["of a backup", "of the full one", "before every backup"],
)
def test_the_wal_that_verify_does_not_miss_is_missed_in_the_list(without: str, says: list[str]) -> None:
    found = "; ".join(judge_list(told("chain"), archive("chain", without), None))
    assert all(one in found for one in says), found
    assert bool(found) == bool(says)


def test_before_the_window_a_backup_needs_its_own_wal_alone() -> None:
    """GFS keeps a full backup for years; nobody keeps all WAL since."""
    seen, known = told("error"), archive("chain", "000000010000000000000006-")
    known = known._replace(
        segments={
            **known.segments,
            **{Segment(1, number): next(iter(known.segments.values())) for number in range(12, 0x16)},
        }
    )
    since = by_label(seen, NEW_FULL).stopped_at + timedelta(hours=1)
    assert list(judge_list(seen, known, since)) == []
    assert [line.split()[0] for line in judge_list(seen, known, None)] == [FULL, DIFF]
    assert find_anchor(seen.of_now(), since) == 5


def test_an_empty_stanza_proves_nothing() -> None:
    known = Archive("15", {}, 16 << 20, 0, ())
    assert list(judge_list(told("empty"), known, None)) == [
        "there is no backup of the cluster that it is for"
    ]


# --- expiring -------------------------------------------------------------------------------------


def going(*labels: str, stay: tuple[str, ...] = (), since: datetime | None = None) -> ExpireBackups:
    return ExpireBackups(
        host="bk-a", resource="payments-db", of=OF, points=labels, stay=stay, pitr_since=since
    )


@pytest.mark.parametrize(
    ("action", "says"),
    [
        (going(FULL, DIFF, FIRST, SECOND), f"{LAST} cannot live without {FULL}"),
        (going(DIFF), f"{FIRST} cannot live without {DIFF}"),
        (going(FULL, DIFF, FIRST, SECOND, LAST, NEW_FULL, NEW_DIFF), "no good full backup would be left"),
        (going(LAST, stay=(LAST,)), "to go and to stay"),
        (going(LAST, stay=("20200101-000000F",)), "must stay and is not there"),
    ],
    ids=["dependant", "increments", "the last full", "both", "lost before"],
)
def test_a_deletion_that_would_take_more_than_it_names_does_not_begin(
    action: ExpireBackups, says: str
) -> None:
    seen = told("error")._replace(backups=told("error").backups[:7])
    assert says in find_problem(action, seen)


def test_a_chain_is_deleted_from_its_end() -> None:
    action = going(FULL, DIFF, FIRST, SECOND, LAST)
    assert find_problem(action, told("error")) == ""
    order = in_order(action, told("error"))
    assert set(order) == set(action.points)
    assert all(order.index(one) < order.index(FULL) for one in (DIFF, FIRST, SECOND, LAST))
    assert order.index(SECOND) < order.index(FIRST) < order.index(DIFF)


def test_a_damaged_full_backup_is_no_reason_to_delete_the_good_one() -> None:
    backups = tuple(
        backup._replace(damaged=backup.label.startswith(NEW_FULL)) for backup in told("error").backups
    )
    action = going(FULL, DIFF, FIRST, SECOND, LAST)
    assert (
        find_problem(action, told("error")._replace(backups=backups)) == "no good full backup would be left"
    )


def test_nothing_is_deleted_while_a_backup_runs() -> None:
    assert "a backup of this stanza runs" in find_problem(
        going(LAST), told("chain")._replace(backup_runs=True)
    )


def test_wal_stays_from_the_oldest_full_backup_on_that_the_window_needs() -> None:
    seen = told("error")
    after_new = by_label(seen, NEW_FULL).stopped_at + timedelta(hours=1)
    assert count_fulls(going(LAST), seen) == 2
    assert count_fulls(going(LAST, since=after_new), seen) == 1
    assert count_fulls(going(LAST, since=after_new - timedelta(hours=2)), seen) == 2


@pytest.mark.parametrize(
    ("code", "stderr", "bad"),
    [
        (49, "ERROR: [049]: unable to connect to 's3.city.lab:443': Connection refused", False),
        (50, "ERROR: [050]: unable to acquire lock on file '/tmp/pgbackrest/pay.lock'", False),
        (137, "Killed", False),
        (95, "ERROR: [095]: unable to flush", True),
    ],
    ids=["no way", "a lock", "killed", "cannot be decrypted"],
)
def test_a_repository_that_could_not_be_read_is_not_found_bad(code: int, stderr: str, bad: bool) -> None:
    listed = json.loads((RECORDED / "archive-chain.json").read_text())

    def run(argv: list[str], timeout_s: float = 0.0) -> Completed:
        asked = " ".join(argv)
        if " info" in asked:
            text = (RECORDED / "info-chain.json").read_text()
        elif "archive/" in asked:
            text = json.dumps(listed)
        else:
            text = "backup.manifest\nbackup.manifest.copy\n"
        return Completed(exit_code=0, stdout=text, stderr="")

    ended = Completed(exit_code=code, stdout="", stderr=stderr)
    ctx: Any = SimpleNamespace(
        remote=lambda name: SimpleNamespace(run=run), run_unit=lambda name, argv: ended
    )
    with pytest.raises(AdapterError) as raised:
        check(CheckStanza(host="bk-b", of=OF, bytes_read=True), ctx)
    assert isinstance(raised.value.evidence, ProofFailed) == bad
    assert stderr in str(raised.value)


# --- restoring ------------------------------------------------------------------------------------


def restoring(until: datetime | None = None, point: str | None = None) -> RestoreCluster:
    return RestoreCluster(
        host="bk-b", resource="payments-db", of=OF, cluster="15/restored_x", until=until, point=point
    )


def test_a_restore_begins_with_the_last_backup_that_ended_before_the_moment() -> None:
    seen = told("error")
    assert choose_backup(restoring(), seen).label == NEW_DIFF, "the damaged one is passed over"
    stopped = by_label(seen, SECOND).stopped_at
    assert choose_backup(restoring(stopped + timedelta(seconds=1)), seen).label == SECOND
    assert choose_backup(restoring(stopped), seen).label == FIRST
    assert choose_backup(restoring(stopped + timedelta(hours=1), FULL), seen).label == FULL


@pytest.mark.parametrize(
    "action",
    [
        restoring(datetime(2026, 11, 22, 7, 37, 40, tzinfo=UTC)),
        restoring(datetime(2026, 11, 22, 7, 38, 0, tzinfo=UTC), NEW_FULL),
        restoring(point="20261122-074045F_20261122-074133I"),
    ],
    ids=["before all", "before the named one", "damaged"],
)
def test_a_backup_that_does_not_fit_is_refused_before_anything_is_made(action: RestoreCluster) -> None:
    with pytest.raises(AdapterError, match="nothing was restored"):
        choose_backup(action, told("error"))


FETCHED = "restored log file from archive; ERROR: [029]: unexpected eof in compressed data"
GONE = (
    "ERROR: [055]: raised from remote-0 ssh protocol on 'bk-a': unable to open missing file "
    "'/srv/pgbackrest/backup/payments/20261122-073000F/pg_data/base/5/1259.gz' for read"
)


@pytest.mark.parametrize(
    ("code", "said", "bad"),
    [
        (21, f"{FETCHED}; FATAL: recovery ended before configured recovery target was reached", True),
        (21, "FATAL: recovery ended before configured recovery target was reached", False),
        (22, GONE, True),
        (22, "ERROR: [055]: unable to open missing file '/etc/pgbackrest/restore.conf' for read", False),
    ],
    ids=["damaged WAL", "after the last commit", "a file is gone", "no settings"],
)
def test_what_is_bad_in_the_repository_is_told_to_the_ledger(code: int, said: str, bad: bool) -> None:
    info = Completed(exit_code=0, stdout=(RECORDED / "info-error.json").read_text(), stderr="")
    host = SimpleNamespace(run=lambda argv, timeout_s=0.0: info)
    ended = Completed(exit_code=code, stdout="", stderr=said)
    ctx: Any = SimpleNamespace(
        remote=lambda name: host, run_unit=lambda name, argv: ended, run_id="r1", step_id="s1"
    )
    with pytest.raises(AdapterError, match="removed again") as raised:
        restore(restoring(), ctx)
    assert isinstance(raised.value.evidence, ProofFailed) == bad
