"""A restored cluster examined: its heaps and indexes, its checksums, and what the policy asserts."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import NamedTuple

from automation.adapters.postgresql.door import psql
from automation.adapters.postgresql.script import run_script
from automation.model.actions import ExamineCluster
from automation.model.actions.databases import RESTORED_MARKERS, Assertion
from automation.model.backup_evidence import PointProven, ProofFailed
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome
from automation.model.recovery_points import Level

_QUERY_S = 120.0
# Why a query may end without a word on what it asks for.
_NOT_ASKED = re.compile(
    r"statement timeout|no space left on device|out of memory|connection to server", re.IGNORECASE
)


class Found(NamedTuple):
    """What one look found, in words, and whether it is as it must be."""

    good: bool
    says: str


# $2 whether every heap and index is looked at, $3 the marker. What is printed: a line for each look, its
# first word telling whether it is good; then bytes, and the seconds of the restore if somebody noted them.
_LOOK = r"""
[ -e "$config/postgresql.conf" ] || refuse "there is no cluster $version/$name, so nothing is proven"
port=$(pg_conftool -s "$version" "$name" show port)
ask 'SELECT 1' >/dev/null 2>&1 || refuse "$version/$name does not answer, so nothing is proven"
seconds=$(sed -n 's/^seconds=//p' "$3" 2>/dev/null || :)
if [ "$2" = yes ]; then
  code=0
  said=$(as_postgres "$bin/pg_amcheck" -h /var/run/postgresql -p "$port" --all --install-missing \
    --heapallindexed --parent-check --no-password 2>&1) || code=$?
  short=$(printf '%s' "$said" | grep -v '^$' | head -n 6 | tr '\n' ' ')
  case $code in
    0) echo "good pg_amcheck: every heap and every B-tree holds together";;
    2) echo "bad pg_amcheck: $short";;
    *) refuse "pg_amcheck could not look: $short";;
  esac
fi
if [ "$(ask 'SHOW data_checksums')" = on ]; then
  code=0
  set -- --pgdata=/dev/null
  [ "$version" -lt 15 ] || set -- --target=blackhole
  said=$(as_postgres "$bin/pg_basebackup" -h /var/run/postgresql -p "$port" "$@" --wal-method=none \
    --checkpoint=fast --no-password 2>&1) || code=$?
  short=$(printf '%s' "$said" | grep -v NOTICE | head -n 6 | tr '\n' ' ')
  case $code/$short in
    0/*) echo "good checksums: every page read, every checksum right";;
    *checksum*) echo "bad checksums: $short";;
    *) refuse "pg_basebackup could not read the pages: $short";;
  esac
else
  echo "good checksums: the cluster has none, its pages were not compared"
fi
echo "size $(ask 'SELECT sum(pg_database_size(oid)) FROM pg_database')"
echo "seconds ${seconds:-0}"
"""


def examine(action: ExamineCluster, ctx: Context) -> Outcome:
    """See that a restored cluster is whole and holds what it must.

    All is looked at, whatever the first look found, so that one proof tells everything that is wrong.

    Raises:
        AdapterError: something is not as it must be; its evidence has every value, for the ledger. Or it
            could not be looked at, or its source not asked: that proves nothing, and comes without evidence.
    """
    whole = "yes" if any(assertion.amcheck for assertion in action.assertions) else "no"
    marker = f"{RESTORED_MARKERS}/{action.cluster.replace('/', '-')}"
    done = run_script(ctx, action.host, _LOOK, [action.cluster, whole, marker])
    if done.exit_code:
        raise _failed(action, (Found(False, f"{action.cluster} cannot be asked: {done.stderr.strip()}"),))
    pairs = [line.split(" ", 1) for line in done.stdout.splitlines()]
    found = [Found(word == "good", says) for word, says in pairs if word in ("good", "bad")]
    figures = {word: says for word, says in pairs if word in ("size", "seconds")}
    found += [_assert(one, action, ctx) for one in action.assertions if one.sql is not None]
    if not all(one.good for one in found):
        raise _failed(action, found)
    evidence = PointProven(
        resource=action.resource,
        store=action.store,
        point=action.point,
        level=Level.L4,
        seconds=float(figures["seconds"]),
        size_bytes=int(figures["size"]),
        found=tuple(one.says for one in found),
        until=action.until,
        host=action.host,
        source="simulated" if action.simulated else "real",
    )
    summary = f"{action.resource}: {action.point} is good: {len(found)} looks, all well"
    return Outcome(changed=False, summary=summary, evidence=evidence)


def _failed(action: ExamineCluster, found: Sequence[Found]) -> AdapterError:
    bad = "; ".join(one.says for one in found if not one.good)
    said = tuple(f"{'good' if one.good else 'BAD'}: {one.says}" for one in found)
    return AdapterError(
        f"{action.resource}: {action.point}, restored to {action.cluster} on {action.host}, is bad: {bad}",
        hint=f"look at it on {action.host}, as postgres: psql --cluster {action.cluster}",
        evidence=ProofFailed(
            resource=action.resource,
            store=action.store,
            point=action.point,
            level=Level.L4,
            found=said,
        ),
    )


def _assert(assertion: Assertion, action: ExamineCluster, ctx: Context) -> Found:
    """Ask one query and judge its one value; a query that fails is a finding, a lost connection is none."""
    query = (assertion.sql or "").strip().rstrip(";")
    try:
        value = _ask(ctx, action.host, action.cluster, assertion, query)
    except AdapterError as exc:
        if exc.transient or _NOT_ASKED.search(str(exc)):
            raise
        return Found(False, f"{query}: {exc}")
    if assertion.share_of_source is not None:
        return _judge_share(assertion, action, ctx, query, value)
    return judge_value(assertion, query, value, action.until)


def _judge_share(assertion: Assertion, action: ExamineCluster, ctx: Context, query: str, value: str) -> Found:
    if action.source is None or action.source_cluster is None or assertion.share_of_source is None:
        return Found(False, f"{query}: {value}; no source is named to compare it with")
    source = _ask(ctx, action.source, action.source_cluster, assertion, query)
    return judge_share(query, value, source, assertion.share_of_source)


def judge_share(query: str, value: str, source: str, share: float) -> Found:
    """Judge a number against the same of the source, now. Pure."""
    mine, theirs = _number(value), _number(source)
    if mine is None or theirs is None:
        return Found(
            False, f"{query}: {value or 'no value'}, at the source {source or 'no value'}: no numbers"
        )
    says = f"{query}: {_shown(mine)} of {_shown(theirs)} at the source, at least {share:g} of it wanted"
    return Found(mine >= share * theirs, says)


def judge_value(assertion: Assertion, query: str, value: str, until: datetime | None) -> Found:
    """Judge a value against a minimum, or against how old it may be at the moment recovered to. Pure."""
    if assertion.not_older_s is not None:
        return _judge_age(query, value, assertion.not_older_s, until)
    number = _number(value)
    if assertion.minimum is None:
        return Found(number is not None, f"{query}: {value or 'no value'}")
    if number is None:
        return Found(False, f"{query}: {value or 'no value'} is no number")
    says = f"{query}: {_shown(number)}, at least {_shown(assertion.minimum)} wanted"
    return Found(number >= assertion.minimum, says)


def _judge_age(query: str, value: str, not_older_s: float, until: datetime | None) -> Found:
    epoch = _number(value)
    if epoch is None:
        return Found(False, f"{query}: {value or 'no value'} is no time")
    at, against = datetime.fromtimestamp(epoch, UTC), until or datetime.now(UTC)
    age_s = (against - at).total_seconds()
    says = f"{query}: {at:%Y-%m-%d %H:%M:%S}, {age_s:.0f} s before {against:%Y-%m-%d %H:%M:%S} UTC"
    return Found(age_s <= not_older_s, f"{says}; at most {not_older_s:g} s wanted")


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None


def _shown(number: float) -> str:
    return str(int(number)) if number.is_integer() else str(number)


# Read only, within its time, in the database that the assertion names or in the first of its own.
_ASK = """
SET statement_timeout = :'limit';
SET default_transaction_read_only = on;
SELECT json_build_array((%s)::text);
"""
_FIRST_DATABASE = """
SELECT datname FROM pg_database WHERE NOT datistemplate AND datallowconn
ORDER BY datname = 'postgres', datname LIMIT 1;
"""


def _ask(ctx: Context, host: str, cluster: str, assertion: Assertion, query: str) -> str:
    remote = ctx.remote(host)
    database = assertion.database
    if not database:
        database = psql(remote, host, cluster, "postgres", _FIRST_DATABASE, 10.0).strip()
    wanted = f"extract(epoch FROM ({query})::timestamptz)" if assertion.not_older_s is not None else query
    limit = {"limit": f"{_QUERY_S:.0f}s"}
    (value,) = json.loads(psql(remote, host, cluster, database, _ASK % f"({wanted})", _QUERY_S, limit))
    return "" if value is None else str(value)
