"""What clusters say of themselves for a drill: those of production, and the one that was restored."""

import json
from datetime import datetime

from automation.adapters.postgresql.door import psql
from automation.adapters.postgresql.script import read_script
from automation.model.actions import ListClusters, LookAtRestored, ProveService
from automation.model.actions.databases import RESTORED_MARKERS
from automation.model.backup_evidence import PointProven
from automation.model.drill_evidence import Listing, RestoredSeen
from automation.model.errors import AdapterError, NotMet
from automation.model.records import Context, Outcome
from automation.model.recovery_points import Level

# A cluster that is down says no more than that it is; the line is `name<tab>state`.
_LIST = r"""
command -v pg_lsclusters >/dev/null || exit 0
pg_lsclusters -h | while read -r version name port status rest; do
  said=$status
  case $status in online*) said="$status, $(as_postgres psql --cluster "$version/$name" -XqAt -d postgres \
    -v ON_ERROR_STOP=1 -c "$2")" || exit 1;; esac
  printf 'cluster %s/%s\tport %s, %s\n' "$version" "$name" "$port" "$said"
done
"""
_STATE = """SELECT format('system identifier %s, timeline %s, %s, archive_mode %s, archive_command %s, ' ||
    'slots: %s',
  s.system_identifier, c.timeline_id, CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END,
  current_setting('archive_mode'), md5(current_setting('archive_command')),
  coalesce((SELECT string_agg(slot_name, ' ' ORDER BY slot_name) FROM pg_replication_slots), 'none'))
FROM pg_control_system() s, pg_control_checkpoint() c"""

_RESTORED = """
SELECT json_build_object('in_recovery', pg_is_in_recovery(), 'archive_mode', current_setting('archive_mode'),
  'slots', (SELECT count(*) FROM pg_replication_slots), 'timeline', c.timeline_id,
  'system_identifier', s.system_identifier::text,
  'subscriptions', (SELECT count(*) FROM pg_subscription WHERE subenabled))
FROM pg_control_system() s, pg_control_checkpoint() c;
"""
_SIZE = "SELECT sum(pg_database_size(oid)) FROM pg_database;"
# From the marker, the first file of a restore, to the last word in the server's own: recovery has ended.
_RESTORE_TOOK = r"""
stat -c %.3Y "$2" "$data/postmaster.pid" | awk 'NR == 1 {began = $1} END {printf "%.3f", $1 - began}'
"""
# The last line of its kind: PostgreSQL says it once, when recovery has ended.
_LAST_COMMIT = r"""
log=$(pg_lsclusters -h | while read -r v n p s o d l; do if [ "$v/$n" = "$1" ]; then echo "$l"; fi; done)
sed -n 's/.*last completed transaction was at log time //p' "$log" | tail -n 1
"""


def list_clusters(action: ListClusters, ctx: Context) -> Outcome:
    """List every cluster of a host with what it says of itself."""
    said = read_script(ctx.remote(action.host), action.host, _LIST, ["0/none", " ".join(_STATE.split())])
    items = dict(line.split("\t", 1) for line in said.splitlines())
    return Outcome(
        changed=False,
        summary=f"{action.host} has {', '.join(items) or 'no cluster'}",
        evidence=Listing(of="clusters", where=action.host, items=items),
    )


def look_at_restored(action: LookAtRestored, ctx: Context) -> Outcome:
    """See that a restored cluster is open, archives nothing, has no slots, and tell how far it came.

    Raises:
        NotMet: it would write to somebody else's archive, or is not open.
    """
    remote = ctx.remote(action.host)
    said = json.loads(psql(remote, action.host, action.cluster, "postgres", _RESTORED, 10.0))
    evidence = RestoredSeen(
        host=action.host,
        cluster=action.cluster,
        archive_mode=said["archive_mode"],
        slots=said["slots"],
        timeline=said["timeline"],
        system_identifier=said["system_identifier"],
        asked_at=action.until,
        reached_at=_last_commit(ctx, action),
    )
    wrong = [
        what
        for what, is_so in {
            "is still in recovery": said["in_recovery"],
            f"archives (archive_mode {evidence.archive_mode})": evidence.archive_mode != "off",
            f"has {evidence.slots} replication slots": evidence.slots,
            "has subscriptions that are enabled": said["subscriptions"],
        }.items()
        if is_so
    ]
    if wrong:
        raise NotMet(f"{action.cluster} on {action.host} {' and '.join(wrong)}", evidence=evidence)
    at = f", last commit {evidence.reached_at:%Y-%m-%d %H:%M:%S} UTC" if evidence.reached_at else ""
    summary = f"{action.cluster} on {action.host} is open; it archives nothing and has no slots{at}"
    return Outcome(changed=False, summary=summary, evidence=evidence)


def prove_service(action: ProveService, ctx: Context) -> Outcome:
    """Note that services ran on a restored database and were checked: what a restore is for.

    Raises:
        NotMet: the database is not what it was when it was restored.
    """
    look = LookAtRestored(host=action.host, cluster=action.cluster, until=action.until)
    seen = look_at_restored(look, ctx)
    remote = ctx.remote(action.host)
    marker = f"{RESTORED_MARKERS}/{action.cluster.replace('/', '-')}"
    size = int(psql(remote, action.host, action.cluster, "postgres", _SIZE, 10.0))
    seconds = float(read_script(remote, action.host, _RESTORE_TOOK, [action.cluster, marker]))
    proof = PointProven(
        resource=action.resource,
        store=action.store,
        point=action.point,
        level=Level.L5,
        seconds=seconds,
        size_bytes=size,
        found=(f"{', '.join(action.services)} ran on it and passed the checks", seen.summary),
        until=action.until,
        host=action.host,
        source="simulated" if action.simulated else "real",
    )
    return Outcome(changed=False, summary=f"{action.point} is proven at L5: {proof.found[0]}", evidence=proof)


def _last_commit(ctx: Context, action: LookAtRestored) -> datetime | None:
    """The last commit that was replayed, as the server's log has it; none where no WAL was replayed."""
    text = read_script(ctx.remote(action.host), action.host, _LAST_COMMIT, [action.cluster]).strip()
    if not text:
        return None
    moment = text.replace(" UTC", "+00:00").replace(" Etc/UTC", "+00:00")
    try:
        return datetime.fromisoformat(moment)
    except ValueError as exc:
        raise AdapterError(f"{action.host}: its log tells a time that cannot be read: {text!r}") from exc
