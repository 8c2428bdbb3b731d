"""What a proof of a database says of each value, and which host is taken for the primary."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from automation.adapters import pgbackrest
from automation.adapters.postgresql import examine, find_primary, load_dump, look_at_restored
from automation.adapters.postgresql.examining import judge_share, judge_value
from automation.model.actions import ExamineCluster, LoadDump, LookAtRestored, TakeBackup
from automation.model.actions.databases import Assertion, Stanza
from automation.model.backup_evidence import ProofFailed, TakeFailed
from automation.model.drill_evidence import RestoredSeen
from automation.model.errors import AdapterError
from automation.model.records import Completed

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
QUERY = "select count(*) from t"


@pytest.mark.parametrize(
    ("assertion", "value", "good"),
    [
        (Assertion(sql=QUERY, minimum=10), "10", True),
        (Assertion(sql=QUERY, minimum=10), "9.5", False),
        (Assertion(sql=QUERY, minimum=10), "", False),
        (Assertion(sql=QUERY, minimum=10), "many", False),
        (Assertion(sql=QUERY, minimum=10), "NaN", False),
        (Assertion(sql=QUERY, not_older_s=60), str(NOON.timestamp() - 60), True),
        (Assertion(sql=QUERY, not_older_s=60), str(NOON.timestamp() - 61), False),
        (Assertion(sql=QUERY, not_older_s=60), "", False),
    ],
    ids=["enough", "too few", "nothing", "no number", "not a number", "young", "old", "no time"],
)
def test_a_value_is_judged_and_told(assertion: Assertion, value: str, good: bool) -> None:
    found = judge_value(assertion, QUERY, value, NOON)
    assert found.good is good
    assert found.says.startswith(QUERY)


@pytest.mark.parametrize(
    ("mine", "theirs", "good"),
    [("999", "1000", True), ("998", "1000", False), ("0", "0", True), ("", "10", False), ("10", "", False)],
)
def test_a_share_is_of_what_the_source_has(mine: str, theirs: str, good: bool) -> None:
    assert judge_share(QUERY, mine, theirs, 0.999).good is good


class Says:
    """A host that answers each call with the next of its answers; an exception is raised."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)

    def run(self, argv: list[str], stdin: str | None = None, timeout_s: float = 30.0) -> Completed:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        code, said = answer if isinstance(answer, tuple) else (0, str(answer))
        return Completed(exit_code=code, stdout="" if code else said, stderr=said if code else "")


def world(done: Completed, **hosts: Says) -> Any:
    return SimpleNamespace(
        remote=lambda name: hosts[name.replace("-", "_")],
        run_unit=lambda host, argv, stdin=None, console=False: done,
        unit_state=lambda host: "absent",
        run_id="r1",
        step_id="s1",
        say=lambda text: None,
    )


LOOKED = Completed(exit_code=0, stdout="good checksums: all right\nsize 4096\nseconds 1.5\n", stderr="")
LOST = AdapterError("pg-a: no answer", transient=True)


def examining(*assertions: Assertion) -> ExamineCluster:
    return ExamineCluster.model_validate(
        {"host": "bk-b", "resource": "payments-db", "store": "eoc-pg", "point": "p"}
        | {
            "cluster": "15/restored_x",
            "assertions": assertions,
            "source": "pg-a",
            "source_cluster": "15/main",
        }
    )


def test_every_value_stands_in_a_failed_proof_not_the_bad_ones_alone() -> None:
    scratch = Says("t\n", '["5"]', "t\n", '["20"]')
    asserts = (Assertion(sql="select 5", minimum=10), Assertion(sql="select 20", minimum=10))
    with pytest.raises(AdapterError, match="select 5: 5, at least 10 wanted") as raised:
        examine(examining(*asserts), world(LOOKED, bk_b=scratch))
    failed = raised.value.evidence
    assert isinstance(failed, ProofFailed)
    assert [word.split(":")[0] for word in failed.found] == ["good", "BAD", "good"]


def test_a_query_that_fails_is_a_finding() -> None:
    scratch = Says("t\n", (1, 'relation "t" does not exist'))
    with pytest.raises(AdapterError, match="does not exist") as raised:
        examine(examining(Assertion(sql=QUERY, minimum=1)), world(LOOKED, bk_b=scratch))
    assert isinstance(raised.value.evidence, ProofFailed)


def test_a_source_that_does_not_answer_says_nothing_of_the_copy() -> None:
    """Else one lost connection would suspend every proof of a store, and stop its rotation."""
    share = Assertion(sql=QUERY, share_of_source=0.9)
    with pytest.raises(AdapterError, match="no answer") as raised:
        examine(examining(share), world(LOOKED, bk_b=Says("t\n", '["5"]'), pg_a=Says(LOST)))
    assert raised.value.evidence is None


@pytest.mark.parametrize(
    "said", ["canceling statement due to statement timeout", "could not extend file: No space left on device"]
)
def test_a_query_that_the_scratch_host_gave_up_is_no_finding(said: str) -> None:
    with pytest.raises(AdapterError, match=said) as raised:
        examine(
            examining(Assertion(sql=QUERY, minimum=1)), world(LOOKED, bk_b=Says("t\n", (1, f"ERROR: {said}")))
        )
    assert raised.value.evidence is None


@pytest.mark.parametrize(
    ("code", "said", "bad"),
    [
        (31, "pg_restore: error: could not read from input file: end of file", True),
        (31, "pg_restore: error: COPY failed: ERROR: could not extend file: No space left on device", False),
        (1, "pg_createcluster: cannot make it", False),
    ],
    ids=["cut off", "no room", "no cluster"],
)
def test_a_dump_is_bad_when_a_server_does_not_take_it_and_not_when_there_is_none(
    code: int, said: str, bad: bool
) -> None:
    action = LoadDump(
        host="bk-b",
        file="/d",
        database="payments",
        resource="payments-dump",
        store="nas",
        point="p",
        cluster="15/restored_x",
    )
    with pytest.raises(AdapterError, match="was not loaded") as raised:
        load_dump(action, world(Completed(exit_code=code, stdout="", stderr=said)))
    assert isinstance(raised.value.evidence, ProofFailed) == bad


def test_a_look_that_could_not_be_taken_is_no_failed_proof() -> None:
    cannot = Completed(exit_code=10, stdout="", stderr="pg_amcheck could not look: no such extension")
    with pytest.raises(AdapterError, match="could not look") as raised:
        examine(examining(Assertion(amcheck=True)), world(cannot))
    assert raised.value.evidence is None


def identity(*, in_recovery: bool) -> str:
    return json.dumps({"system_identifier": "7", "timeline": 1, "in_recovery": in_recovery})


def test_the_primary_is_who_says_so_wherever_it_is_now() -> None:
    hosts = {"pg-a": Says(identity(in_recovery=True)), "pg-b": Says(identity(in_recovery=False))}
    assert find_primary(("pg-a", "pg-b"), "15/main", hosts.__getitem__) == "pg-b"


@pytest.mark.parametrize(
    ("answers", "why"),
    [((False, False), "SPLIT_BRAIN_SUSPECTED"), ((True, True), "no primary found")],
    ids=["two", "none"],
)
def test_two_primaries_or_none_are_told_apart_from_one(answers: tuple[bool, bool], why: str) -> None:
    hosts = dict(zip("ab", (Says(identity(in_recovery=one)) for one in answers), strict=True))
    with pytest.raises(AdapterError, match=why):
        find_primary(("a", "b"), "15/main", hosts.__getitem__)


def test_a_host_that_does_not_answer_is_named_when_no_other_is_primary() -> None:
    hosts = {"a": Says(LOST), "b": Says(identity(in_recovery=True))}
    with pytest.raises(AdapterError, match=r"no primary found .*no answer"):
        find_primary(("a", "b"), "15/main", hosts.__getitem__)


PRIMARY = {"system_identifier": "7", "in_recovery": False, "archive_mode": "on", "waiting": 0}
STANZA = [
    {
        "name": "pay",
        "archive": [],
        "backup": [],
        "db": [{"id": 1, "repo-key": 1, "system-id": 8, "version": "15"}],
        "repo": [{"key": 1, "status": {"code": 2, "message": "no valid backups"}}],
        "status": {"code": 2, "lock": {"backup": {"held": False}}},
    }
]


@pytest.mark.parametrize(
    ("primary", "why"),
    [
        ({}, "has system identifier 7, the stanza pay is of 8"),
        ({"in_recovery": True}, "is a standby now"),
        (None, "no answer"),
    ],
    ids=["another cluster", "standby", "silent"],
)
def test_a_backup_that_cannot_be_taken_leaves_word_for_the_ledger(
    primary: dict[str, object] | None, why: str
) -> None:
    told = {**PRIMARY, "failing": False, "last_failed": "", **(primary or {})}
    action = TakeBackup(
        host="bk-a",
        resource="payments-db",
        primary="pg-a",
        cluster="15/main",
        to=Stanza(store="hall-pg", stanza="pay", repo=1),
        type="full",
    )
    pg_a = Says(LOST if primary is None else json.dumps(told))
    hosts = world(LOOKED, pg_a=pg_a, bk_a=Says(json.dumps(STANZA)))
    with pytest.raises(AdapterError, match=why) as raised:
        pgbackrest.take(action, hosts)
    assert isinstance(raised.value.evidence, TakeFailed)
    assert why in raised.value.evidence.faults[0]


# --- what a restored cluster says -----------------------------------------------------------------


@pytest.mark.parametrize("cluster", ["15/restored_a", "15/restored_b"])
def test_the_last_commit_is_read_whatever_else_is_on_the_host(cluster: str, tmp_path: Path) -> None:
    """Its name may stand before others in the list: the end of a search is no error."""
    rows = [f"15 restored_{name} 5432 online postgres /data {tmp_path}/{name}.log" for name in "ab"]
    for name in "ab":
        line = "LOG: last completed transaction was at log time 2026-11-22 07:38:02.5+00"
        (tmp_path / f"{name}.log").write_text(f"{line}\n")
    program = tmp_path / "pg_lsclusters"
    program.write_text("#!/bin/sh\n" + "".join(f"echo '{row}'\n" for row in rows))
    program.chmod(0o755)

    def run(argv: list[str], stdin: str | None = None, timeout_s: float = 30.0) -> Completed:
        if "psql" in argv:
            return Completed(exit_code=0, stdout=RESTORED, stderr="")
        environ = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        done = subprocess.run(argv[2:], env=environ, capture_output=True, text=True, check=False)
        return Completed(exit_code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    ctx: Any = SimpleNamespace(remote=lambda name: SimpleNamespace(run=run))
    seen = look_at_restored(LookAtRestored(host="drill-b", cluster=cluster), ctx).evidence
    assert isinstance(seen, RestoredSeen)
    assert seen.reached_at == datetime(2026, 11, 22, 7, 38, 2, 500000, UTC)


RESTORED = json.dumps(
    {"in_recovery": False, "archive_mode": "off", "slots": 0, "timeline": 2}
    | {"system_identifier": "7", "subscriptions": 0}
)
