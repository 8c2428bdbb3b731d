"""Clusters made by a restore of ours: told by their marker, removed by it alone."""

from automation.adapters.postgresql.script import read_script, run_script
from automation.model.actions import RemoveCluster
from automation.model.actions.databases import RESTORED_MARKERS
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Progress

# A cluster without a marker is somebody's; a data directory that is a link may lead to somebody's.
_REMOVE = """
marker=$2
log=/var/log/postgresql/postgresql-$version-$name.log
case $name in restored_*) ;; *) refuse "$1 is not named restored_...";; esac
if [ ! -e "$marker" ]; then
  for path in "$data" "$config"; do
    [ ! -e "$path" ] || refuse "$1 bears no marker of ours ($marker): it is not ours to remove"
  done
  echo absent
  exit 0
fi
for path in "$data" "$config" "$data.tablespaces"; do
  [ ! -L "$path" ] || refuse "$path is a link, and no restore made it"
done
systemctl disable --quiet --now "$unit" 2>/dev/null || :
if as_postgres "$bin/pg_ctl" -s -D "$data" status >/dev/null 2>&1; then
  as_postgres "$bin/pg_ctl" -s -w -m fast -D "$data" stop
fi
rm -rf --one-file-system -- "$data" "$data.tablespaces" "$config" "$log"
systemctl reset-failed "$unit" 2>/dev/null || :
rm -f -- "$marker"
sync "${marker%/*}"
echo removed
"""

_IS_THERE = """
for path in "$2" "$data" "$config"; do [ ! -e "$path" ] || echo "$path"; done
"""


def remove_restored(action: RemoveCluster, ctx: Context) -> Outcome:
    """Remove a cluster that bears the marker of a restore; nothing else.

    Raises:
        AdapterError: it bears none, or could not be removed whole.
    """
    done = run_script(ctx, action.host, _REMOVE, [action.cluster, _marker(action)])
    if done.exit_code:
        raise AdapterError(
            f"{action.cluster} on {action.host} was not removed whole: {done.stderr.strip()}",
            hint=f"pg_lsclusters on {action.host}; its marker is {_marker(action)}",
        )
    removed = done.stdout.strip() == "removed"
    summary = f"{action.cluster} on {action.host} {'is removed' if removed else 'was not there'}"
    return Outcome(changed=removed, summary=summary)


def verify_remove_restored(action: RemoveCluster, ctx: Context) -> Progress:
    """Say whether it is gone; without its marker nothing of it is left."""
    state = ctx.unit_state(action.host)
    if state in ("running", "ended"):
        return Progress(state="in_progress", why=f"its unit on {action.host} {state}")
    left = read_script(ctx.remote(action.host), action.host, _IS_THERE, [action.cluster, _marker(action)])
    if not left.strip():
        why = f"{action.cluster} on {action.host} is gone"
        return Progress(state="done", why=why, outcome=Outcome(changed=True, summary=why))
    if state == "lost":
        return Progress(state="unknown", why=f"its unit left no result; there is still {left.split()[0]}")
    return Progress(state="not_done", why=f"{action.cluster} is still on {action.host}")


def _marker(action: RemoveCluster) -> str:
    return f"{RESTORED_MARKERS}/{action.cluster.replace('/', '-')}"
