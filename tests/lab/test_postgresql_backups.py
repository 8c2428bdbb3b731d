"""PostgreSQL saved by pgBackRest and pg_dump, broken on purpose, expired, proven, and restored to a moment.

In the city of all tests of backups. The tests stand in the order of what they leave.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random

import pytest

from automation.adapters import pgbackrest, postgresql, witness
from automation.adapters.pgbackrest.listing import parse_info
from automation.adapters.postgresql.dumping import examine_dump
from automation.backups.point_in_time import Write, judge
from automation.engine.context import RunContext
from automation.model.actions import (
    AwaitGood,
    CheckStanza,
    CollectWitness,
    DumpDatabase,
    ExamineCluster,
    ExpireBackups,
    LoadDump,
    Probe,
    RemoveCluster,
    RestoreCluster,
    StartWitness,
    TakeBackup,
)
from automation.model.actions.databases import Assertion, Stanza
from automation.model.backup_evidence import (
    DatabaseDumped,
    PointProven,
    PointRestored,
    PointsDeleted,
    PointTaken,
    ProofFailed,
    RepositoryChecked,
    TakeFailed,
)
from automation.model.errors import AdapterError
from automation.model.evidence import WitnessRecord
from automation.model.plan import Plan, Step
from automation.model.records import Outcome
from automation.model.recovery_points import Level
from automation.recovery.history import read_history
from tests.lab.checkout import until
from tests.lab.city import City
from tests.lab.test_resume import CONTROLLER, folded, kill_in_the_middle, resume

CLUSTER, RESOURCE = "15/main", "payments-db"
EOC = Stanza(store="eoc-pg", stanza="payments", repo=2)
HALL = Stanza(store="hall-pg", stanza="payments", repo=1)
KEEPER = {"eoc-pg": "bk-b", "hall-pg": "bk-a"}
FOLDER = {"eoc-pg": "/srv/pgbackrest/eoc-pg", "hall-pg": "/srv/pgbackrest/hall-pg"}
DUMP = "/var/lib/mainstay/dumps/payments/database.dump"
PAY = Probe(id="payments/pay", kind="http-write", name="pay.city.lab", port=8080, path="/payments")
REFERENCES = "select reference from payments"


class Backups:
    """The city, and what a test does to its backups; every call is a step of its own."""

    def __init__(self, city: City) -> None:
        self.city, self.calls = city, 0

    def ctx(self, timeout_s: float = 120.0) -> RunContext:
        self.calls += 1
        return self.city.run_context("backups").for_step(f"step-{self.calls}", timeout_s)

    def take(self, kind: str, to: Stanza = EOC) -> PointTaken:
        action = TakeBackup.model_validate(
            {"host": KEEPER[to.store], "resource": RESOURCE, "primary": "pg-a"}
            | {"cluster": CLUSTER, "to": to, "type": kind}
        )
        taken = pgbackrest.take(action, self.ctx()).evidence
        assert isinstance(taken, PointTaken)
        return taken

    def labels(self, of: Stanza = EOC) -> list[str]:
        remote = self.city.connections.remote(KEEPER[of.store])
        return [point.id for point in pgbackrest.list_points(remote, of, RESOURCE)]

    def check(self, of: Stanza = EOC, *, bytes_read: bool = True) -> Outcome:
        action = CheckStanza(host=KEEPER[of.store], of=of, bytes_read=bytes_read)
        return pgbackrest.check(action, self.ctx())

    def restore(self, name: str, until: datetime | None = None) -> Outcome:
        action = RestoreCluster(
            host="bk-b", resource=RESOURCE, of=EOC, cluster=f"15/restored_{name}", until=until
        )
        return pgbackrest.restore(action, self.ctx())

    def remove(self, name: str, host: str = "bk-b") -> Outcome:
        action = RemoveCluster(host=host, cluster=f"15/restored_{name}")
        return postgresql.remove_restored(action, self.ctx())

    def examine(self, name: str, *asserts: Assertion, until: datetime | None = None) -> Outcome:
        action = ExamineCluster(
            host="bk-b",
            resource=RESOURCE,
            store="eoc-pg",
            point="the one",
            cluster=f"15/restored_{name}",
            until=until,
            assertions=asserts,
            source="pg-a",
            source_cluster=CLUSTER,
        )
        return postgresql.examine(action, self.ctx())

    def archive_now(self) -> None:
        """See that all that is committed is in the archive."""
        self.city.root("pg-a", "runuser", "-u", "postgres", "--", "pgbackrest", "--stanza=payments", "check")

    def files(self, of: Stanza = EOC) -> str:
        """Every file of a repository, with size and time."""
        script = f"cd {FOLDER[of.store]}; find . -type f -printf '%p %s %T@\\n' | sort"
        return self.city.root(KEEPER[of.store], "sh", "-c", script)

    def works(self, run_id: str, step: str) -> bool:
        """Whether the unit of a run's step runs on the scratch host now."""
        ctx = self.city.run_context(run_id).for_step(step, 20.0)
        return ctx.unit_state("bk-b") == "running"

    def left(self) -> str:
        """All that a restore could leave on the scratch host."""
        places = "/var/lib/postgresql/15 /etc/postgresql/15 /var/lib/mainstay/restored /var/log/postgresql"
        return self.city.root("bk-b", "sh", "-c", f"find {places} -mindepth 1 2>/dev/null; pg_lsclusters -h")

    def asked(self, name: str, statement: str, database: str = "payments") -> str:
        words = ["psql", "--cluster", f"15/restored_{name}", "-XqAt", "-d", database, "-c", statement]
        return self.city.root("bk-b", "runuser", "-u", "postgres", "--", *words)


@pytest.fixture(scope="module")
def folder(backup_folder: Path) -> Path:
    return backup_folder


@pytest.fixture(scope="module")
def backups(backup_city: City) -> Backups:
    return Backups(backup_city)


# --- a moment chosen at random --------------------------------------------------------------------


def test_a_moment_chosen_at_random_holds_exactly_the_writes_acknowledged_up_to_it(backups: Backups) -> None:
    """A full and a differential backup are taken under load; nothing reaches production's archive by it."""
    ledger, record = pay_while(backups, lambda: (backups.take("full"), backups.take("diff")))
    window = pgbackrest.look_at_window(backups.city.connections.remote("bk-b"), EOC)
    assert window.earliest is not None
    assert window.latest is not None
    assert window.gaps == ()
    seed = Random().randrange(10**9)
    span_s = (window.latest - window.earliest).total_seconds()
    target = window.earliest + timedelta(seconds=Random(seed).uniform(0, span_s))
    with production_archives_nothing(backups):
        before = backups.files(), backups.files(HALL)
        restored = backups.restore("random", target).evidence
        assert (backups.files(), backups.files(HALL)) == before, "the archive has got a byte"
    assert isinstance(restored, PointRestored)
    assert restored.until == target
    found = set(backups.asked("random", REFERENCES).splitlines())
    seen = judge(ledger, found, target, clock_s=record.clock_uncertainty_s)
    assert seen.exact, f"seed {seed}: {seen.says()}"
    assert seen.strangers == 0
    assert seen.must_hold > 0
    _can_fail(ledger, found, target)
    assert backups.asked("random", "show archive_mode") == "off"
    assert backups.asked("random", "select count(*) from pg_replication_slots") == "0"
    assert backups.city.root("bk-b", "sh", "-c", "ss -Hltn 'sport = :5433'") == ""


@contextmanager
def production_archives_nothing(backups: Backups) -> Iterator[None]:
    """Let production keep its WAL for a while: whatever reaches the archive then comes from elsewhere."""
    ask = partial(backups.city.sql, "pg-a")
    count = "select failed_count from pg_stat_archiver"
    failed = int(ask(count))
    ask("alter system set archive_command = 'false'", "select pg_reload_conf()")
    try:
        ask("select pg_create_restore_point('still')", "select pg_switch_wal()")
        # One that has failed since is the only one there is: none is on its way any more.
        until(lambda: int(ask(count)) > failed, "production's archiver stands still")
        yield
    finally:
        ask("alter system reset archive_command", "select pg_reload_conf()")


def pay_while(backups: Backups, work: Callable[[], object]) -> tuple[list[Write], WitnessRecord]:
    """Let a witness pay by name while something is done; give its ledger."""
    city, ctx = backups.city, backups.city.run_context("witness").for_step("witness", 60.0)
    ctx.artifacts.mkdir(parents=True, exist_ok=True)
    witness.start(StartWitness(host="client-1", probes=(PAY,), beat_s=0.05, timeout_s=1.0), ctx)
    await_good = AwaitGood(host="client-1", probes=(PAY.id,), count=20)
    witness.await_good(await_good, ctx)
    work()
    witness.await_good(await_good, ctx)
    record = witness.collect(CollectWitness(host="client-1"), ctx).evidence
    backups.archive_now()
    assert isinstance(record, WitnessRecord)
    lines = (city.state / "runs/witness/artifacts" / record.file).read_text().splitlines()
    history = read_history(lines, offset_s=record.clock_offset_s, uncertainty_s=record.clock_uncertainty_s)
    return [
        Write(reference, one.fate, _moment(one.sent_ns), _moment(one.at_ns))
        for reference, one in history.writes[PAY.id].items()
    ], record


def _can_fail(ledger: list[Write], found: set[str], target: datetime) -> None:
    """The judge tells a database of another moment from this one, wherever there are writes to tell it by."""
    late = [one for one in ledger if one.fate == "acknowledged" and one.sent_at > target]
    early = [one for one in ledger if one.fate == "acknowledged" and one.known_at < target]
    if late:
        assert judge(ledger, found | {late[0].reference}, target, clock_s=0).verdict == "too-many"
    assert judge(ledger, found - {early[0].reference}, target, clock_s=0).verdict == "lost"


def _moment(ns: int) -> datetime:
    return datetime.fromtimestamp(ns / 1e9, UTC)


def test_what_was_restored_is_proven_with_every_value(backups: Backups) -> None:
    asserts = (Assertion(amcheck=True), Assertion(sql="select count(*) from payments", minimum=1))
    proven = backups.examine("random", *asserts).evidence
    assert isinstance(proven, PointProven)
    assert (proven.level, proven.seconds > 0) == (Level.L4, True)
    assert [word.split(":")[0] for word in proven.found] == [
        "pg_amcheck",
        "checksums",
        "select count(*) from payments",
    ]


def test_a_damaged_index_page_and_a_missing_row_are_both_told_in_one_proof(backups: Backups) -> None:
    where = backups.asked("random", "select pg_relation_filepath('payments_reference_key')")
    backups.asked("random", "checkpoint")
    data = "/var/lib/postgresql/15/restored_random"
    script = f"printf XXXXXXXX | dd of={data}/{where} bs=1 seek=5000 conv=notrunc status=none"
    backups.city.root("bk-b", "sh", "-c", script)
    wanted = Assertion(sql="select count(*) from payments", share_of_source=2.0)
    with pytest.raises(AdapterError, match="is bad") as raised:
        backups.examine("random", Assertion(amcheck=True), wanted)
    failed = raised.value.evidence
    assert isinstance(failed, ProofFailed)
    bad = [word for word in failed.found if word.startswith("BAD")]
    assert any("checksums" in word for word in bad)
    assert any("at the source, at least 2 of it wanted" in word for word in bad)


def test_nothing_is_restored_over_anything_and_nothing_unmarked_is_removed(backups: Backups) -> None:
    with pytest.raises(AdapterError, match=r"already.*nothing was changed"):
        backups.restore("random")
    with pytest.raises(AdapterError, match=r"port 5433 is that of 15/restored_random; nothing was changed"):
        backups.restore("other")
    assert backups.remove("random").changed
    assert not backups.remove("random").changed
    assert backups.left() == ""
    backups.city.root("bk-b", "install", "-d", "/var/lib/postgresql/15/restored_mine")
    with pytest.raises(AdapterError, match=r"bears no marker of ours.*nothing was changed"):
        backups.remove("mine")
    backups.city.root("bk-b", "rmdir", "/var/lib/postgresql/15/restored_mine")


def test_a_moment_after_the_last_commit_is_refused_and_leaves_nothing(backups: Backups) -> None:
    with pytest.raises(AdapterError, match=r"was not reached: .*last completed transaction"):
        backups.restore("late", datetime.now(UTC) + timedelta(hours=1))
    assert backups.left() == ""


# --- damage ---------------------------------------------------------------------------------------


def test_one_flipped_bit_in_a_backup_is_found_by_reading_alone(backups: Backups) -> None:
    script = "ls -S $(find backup -path '*F/*' -type f ! -name 'backup.*') | head -n 1"
    with damaged(backups, script, flip=True):
        backups.check(bytes_read=False)
        with pytest.raises(AdapterError, match="invalid") as raised:
            backups.check()
        failed = raised.value.evidence
        assert isinstance(failed, ProofFailed)
        assert (failed.level, failed.resource, failed.point) == (Level.L2, "", "")
    assert isinstance(backups.check().evidence, RepositoryChecked)


def test_wal_that_is_missing_is_found_without_reading(backups: Backups) -> None:
    """The verify of pgBackRest itself calls such an archive ok."""
    with damaged(backups, "find archive -name '0*-*' | sort | tail -n 2 | head -n 1", flip=False):
        said = backups.city.root(
            "bk-b",
            *("runuser", "-u", "postgres", "--", "pgbackrest", "--stanza=payments", "--repo=2"),
            *("--output=text", "--verbose", "verify"),
        )
        assert "status: ok" in said
        with pytest.raises(AdapterError, match="cannot be recovered beyond WAL 0"):
            backups.check(bytes_read=False)
        window = pgbackrest.look_at_window(backups.city.connections.remote("bk-b"), EOC)
    whole = pgbackrest.look_at_window(backups.city.connections.remote("bk-b"), EOC)
    assert window.latest is None or (whole.latest is not None and window.latest <= whole.latest)
    assert isinstance(backups.check(bytes_read=False).evidence, RepositoryChecked)


@contextmanager
def damaged(backups: Backups, which: str, *, flip: bool) -> Iterator[None]:
    """Break a file of the repository, or take it away; it is put back afterwards."""

    def sh(script: str) -> str:
        return backups.city.root("bk-b", "sh", "-ec", f"cd {FOLDER['eoc-pg']}; {script}")

    file = sh(which)
    sh(f"cp -p {file} /root/kept")
    breaks = f"printf '\\001' | dd of={file} bs=1 seek=4321 conv=notrunc status=none"
    sh(breaks if flip else f"rm {file}")
    try:
        yield
    finally:
        sh(f"cp -p /root/kept {file}")


def test_a_backup_of_a_damaged_page_is_a_failure_although_pgbackrest_ends_well(backups: Backups) -> None:
    city = backups.city
    city.sql("pg-a", "create table broken as select generate_series(1, 2000) n")
    where = city.sql("pg-a", "select pg_relation_filepath('broken')")
    city.sql("pg-a", "checkpoint")
    script = (
        f"printf XXXX | dd of=/var/lib/postgresql/15/main/{where} bs=1 seek=9000 conv=notrunc status=none"
    )
    city.root("pg-a", "sh", "-c", script)
    with pytest.raises(AdapterError, match=r"damaged pages: .*invalid page checksum") as raised:
        backups.take("incr")
    assert isinstance(raised.value.evidence, TakeFailed)
    city.sql("pg-a", "drop table broken", "checkpoint")
    remote = city.connections.remote("bk-b")
    assert [point.status for point in pgbackrest.list_points(remote, EOC, RESOURCE)][-1] == "failed"


def test_a_standby_and_a_foreign_cluster_are_not_taken_for_the_primary(backups: Backups) -> None:
    action = TakeBackup(host="bk-b", resource=RESOURCE, primary="pg-b", cluster=CLUSTER, to=EOC, type="incr")
    with pytest.raises(AdapterError, match="pg-b is a standby now") as raised:
        pgbackrest.take(action, backups.ctx())
    assert isinstance(raised.value.evidence, TakeFailed)
    remote_of = backups.city.connections.remote
    assert postgresql.find_primary(("pg-b", "pg-a"), CLUSTER, remote_of) == "pg-a"


# --- a controller that dies -----------------------------------------------------------------------


def test_a_backup_and_a_restore_whose_controller_is_killed_go_on_and_are_done_once(
    backups: Backups, folder: Path
) -> None:
    take = TakeBackup(host="bk-b", resource=RESOURCE, primary="pg-a", cluster=CLUSTER, to=EOC, type="diff")
    restore = RestoreCluster(host="bk-b", resource=RESOURCE, of=EOC, cluster="15/restored_resumed")
    steps = (
        Step(id="pg/take", run=take, why="test", timeout_s=120),
        Step(id="pg/restore", run=restore, why="test", needs=("pg/take",), timeout_s=120),
    )
    plan = Plan(name="backups", environment=backups.city.environment.name, mode="apply", steps=steps)
    before = backups.labels()
    kill_in_the_middle(backups.city, folder, "killed-1", plan, lambda: backups.works("killed-1", "pg/take"))
    kill_resumed(folder, "killed-1", lambda: backups.works("killed-1", "pg/restore"))
    resume(folder, "killed-1")
    assert set(folded(backups.city, "killed-1").succeeded) == {"pg/take", "pg/restore"}
    assert len(backups.labels()) == len(before) + 1
    assert backups.asked("resumed", "select pg_is_in_recovery()") == "f"
    assert backups.remove("resumed").changed


def kill_resumed(folder: Path, run_id: str, middle: Callable[[], bool]) -> None:
    """Resume a run in a process of its own and kill -9 that in the middle of the next work."""
    argv = [sys.executable, str(CONTROLLER), str(folder), run_id, "resume"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        deadline = time.monotonic() + 90
        while not middle():
            assert running.poll() is None, running.communicate()[0]
            assert time.monotonic() < deadline, "the work never began"
            time.sleep(0.05)
        os.kill(running.pid, signal.SIGKILL)


# --- expiring -------------------------------------------------------------------------------------


def test_exactly_the_named_backups_go_and_wal_that_nobody_needs_goes_with_them(backups: Backups) -> None:
    old = backups.labels()
    new = backups.take("full").point
    with pytest.raises(AdapterError, match=r"cannot live without .*nothing was deleted"):
        expire(backups, old[0], stay=(new,))
    with pytest.raises(AdapterError, match=r"no good full backup would be left; nothing was deleted"):
        expire(backups, *old, new)
    assert backups.labels() == [*old, new]
    done = expire(backups, *old, stay=(new,)).evidence
    assert isinstance(done, PointsDeleted)
    assert (set(done.points), done.left) == (set(old), 1)
    assert backups.labels() == [new]
    info = ("pgbackrest", "--stanza=payments", "--repo=2", "--output=json", "info")
    told = parse_info(backups.city.root("bk-b", "runuser", "-u", "postgres", "--", *info), EOC)
    first = backups.city.root(
        "bk-b",
        "sh",
        "-c",
        f"cd {FOLDER['eoc-pg']}; find archive -name '0*-*' -printf '%f\\n' | sort | head -n 1",
    )
    assert first[:24] == told.backups[0].wal[0]
    assert isinstance(backups.check().evidence, RepositoryChecked)


def expire(backups: Backups, *points: str, stay: tuple[str, ...] = ()) -> Outcome:
    action = ExpireBackups(host="bk-b", resource=RESOURCE, of=EOC, points=points, stay=stay)
    return pgbackrest.expire(action, backups.ctx())


# --- dumps ----------------------------------------------------------------------------------------


def dump(backups: Backups, database: str = "payments") -> Outcome:
    action = DumpDatabase(host="pg-a", cluster=CLUSTER, database=database, file=DUMP)
    return postgresql.dump(action, backups.ctx())


def test_a_dump_is_whole_or_the_old_one_stays(backups: Backups) -> None:
    bulk = "insert into payments (reference, account, amount_cents) select 'b' || g, md5(g::text), 5"
    backups.city.sql("pg-a", f"{bulk} from generate_series(1, 20000) g", database="payments")
    done = dump(backups).evidence
    assert isinstance(done, DatabaseDumped)
    assert (done.tables, done.size_bytes > 100_000) == (1, True)
    before = backups.city.root("pg-a", "sha256sum", DUMP)
    with pytest.raises(AdapterError, match=r'"nowhere" does not exist.*is as it was'):
        dump(backups, "nowhere")
    assert backups.city.root("pg-a", "sha256sum", DUMP) == before
    assert backups.city.root("pg-a", "ls", str(Path(DUMP).parent)) == "database.dump"


def test_a_dump_is_loaded_into_a_cluster_of_its_own(backups: Backups) -> None:
    action = LoadDump(host="pg-a", file=DUMP, database="payments", cluster="15/restored_dump")
    assert "1 tables" in postgresql.load_dump(action, backups.ctx()).summary
    words = ["psql", "--cluster", "15/restored_dump", "-XqAt", "-d", "payments"]
    count = backups.city.root(
        "pg-a", "runuser", "-u", "postgres", "--", *words, "-c", "select count(*) from payments"
    )
    assert int(count) > 20_000
    assert backups.remove("dump", "pg-a").changed
    short = f"head -c 300000 {DUMP} >{DUMP}.short"
    backups.city.root("pg-a", "sh", "-c", short)
    with pytest.raises(AdapterError, match="what was made is removed again"):
        postgresql.load_dump(action.model_copy(update={"file": f"{DUMP}.short"}), backups.ctx())
    assert "restored_dump" not in backups.city.root("pg-a", "pg_lsclusters")


FORMATS = {
    "custom": "pg_dump -Fc -f $F payments",
    "plain": "pg_dump -Fp -f $F payments",
    "packed": "pg_dump -Fp -Z6 -f $F payments",
    "tar": "pg_dump -Ft -f $F payments",
    "directory": "pg_dump -Fd -f $F payments",
    "unpacked": "pg_dump -Fd -Z0 -f $F payments",
}
# Of a folder the file with the rows is cut.
CUT = """
set -e
F=/var/lib/postgresql/cut-$1
whole=/root/whole-$1
[ ! -d "$F" ] || F=$(ls "$F"/[0-9]*.dat* | head -n 1)
[ -e "$whole" ] || cp "$F" "$whole"
head -c $(($(stat -c %s "$whole") * $2 / 1000)) "$whole" >"$F"
"""


@pytest.mark.parametrize("form", FORMATS)
def test_a_dump_cut_off_anywhere_is_told_from_a_whole_one(backups: Backups, form: str) -> None:
    city, file = backups.city, f"/var/lib/postgresql/cut-{form}"
    make = FORMATS[form].replace("$F", file)
    city.root("pg-a", "runuser", "-u", "postgres", "--", "sh", "-c", f"cd; {make}")
    remote = city.connections.remote("pg-a")
    assert examine_dump(remote, "pg-a", CLUSTER, file).tables == 1
    for per_mille in (0, 1, 400, 700, 990):
        city.root("pg-a", "sh", "-c", CUT, "cut", form, str(per_mille))
        with pytest.raises(AdapterError):
            examine_dump(remote, "pg-a", CLUSTER, file)
    city.root("pg-a", "sh", "-c", CUT, "cut", form, "1000")
    assert examine_dump(remote, "pg-a", CLUSTER, file).tables == 1
