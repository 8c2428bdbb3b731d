"""A standby made anew from its primary, in a unit that outlives its controller."""

from automation.adapters.postgresql.kept import note_kept
from automation.model.actions import CloneStandby
from automation.model.errors import AdapterError
from automation.model.evidence import StandbyCloned
from automation.model.records import Context, Outcome, Progress

PASSFILE = "/var/lib/postgresql/replication.pgpass"

# As root: copied beside the data, which is then put aside, never removed. Whatever fails before that leaves
# the old data in place and its server as it was. A primary that serves is never stopped.
_CLONE = """
set -eu
version=${1%%/*} cluster=${1#*/} primary=$2 user=$3 slot=$4 wanted=$5 rate=$6 kept_as=$7
data=/var/lib/postgresql/$version/$cluster
kept=$data.$kept_as
incoming=$data.incoming
unit=postgresql@$version-$cluster.service
port=$(pg_conftool -s "$version" "$cluster" show port)
login="host=$primary port=$port user=$user passfile=$PASSFILE connect_timeout=3"
as_postgres() { runuser -u postgres -- "$@"; }

found=$(as_postgres psql -XAt -d "$login replication=true" -c IDENTIFY_SYSTEM | cut -d'|' -f1)
if [ "$found" != "$wanted" ]; then
  echo "$primary has system identifier $found, expected $wanted" >&2; exit 10
fi
ran=no
if systemctl is-active --quiet "$unit"; then
  ran=yes
  standby=$(as_postgres psql --cluster "$version/$cluster" -XAt -d postgres -c 'SELECT pg_is_in_recovery()')
  if [ "$standby" != t ]; then echo "it is a primary that serves" >&2; exit 10; fi
fi
as_it_was() { [ "$ran" = no ] || systemctl start "$unit"; }
trap as_it_was EXIT
systemctl stop "$unit"
rm -rf -- "$incoming"
set -- --dbname="$login" --pgdata="$incoming" --slot="$slot" --wal-method=stream --checkpoint=fast
[ "$rate" = 0 ] || set -- "$@" --max-rate="$rate"
as_postgres "/usr/lib/postgresql/$version/bin/pg_basebackup" "$@" --write-recovery-conf
[ ! -e "$data" ] || mv -T -- "$data" "$kept"
mv -T -- "$incoming" "$data"
rm -f -- "$data.rewinding"  # what a rewind left that was cut off is moved aside
sync -f "$data"
trap - EXIT
size=$(du -s -B1 -- "$kept" 2>/dev/null | cut -f1) || :
echo "${size:-0} $kept"  # said before the start: the old data lies there whether that succeeds or not
systemctl unmask --quiet "$unit"  # one that was held down can only be a standby now
systemctl start "$unit"
""".replace("$PASSFILE", PASSFILE)


def clone_standby(action: CloneStandby, ctx: Context) -> Outcome:
    """Copy the expected primary over this host's cluster and start it as its standby.

    The old data directory stays beside it, named after the run.
    """
    primary = ctx.inventory.server(action.primary)
    words = [
        action.cluster,
        primary.address,
        action.user,
        action.slot,
        action.expect_system_identifier,
        str(action.max_rate_kib_s or 0),
        f"kept-{ctx.run_id}",
    ]
    done = ctx.run_unit(action.host, ["sh", "-c", _CLONE, "clone", *words])
    size, _, kept = (done.stdout.strip().splitlines() or [""])[-1].partition(" ")
    if kept:
        note_kept(ctx, action.host, kept, int(size), keep_s=action.keep_s)
    if done.exit_code:
        where = f"its old data is in {kept}" if kept else "its data directory is as it was, unless it says so"
        raise AdapterError(
            f"{action.host} was not made a standby of {action.primary}: {done.stderr.strip()}; {where}",
            hint=f"pg_lsclusters on {action.host}",
        )
    evidence = StandbyCloned(
        server=action.host,
        primary=action.primary,
        system_identifier=action.expect_system_identifier,
        kept=kept,
    )
    summary = f"{action.host} is a standby of {action.primary}; its old data is in {kept}"
    return Outcome(changed=True, summary=summary, evidence=evidence)


def verify_clone_standby(action: CloneStandby, ctx: Context) -> Progress:
    """Say how far a copy came; one whose unit is gone without a result is a person's to judge."""
    unit = ctx.unit_state(action.host)
    if unit == "absent":
        return Progress(state="not_done", why=f"nothing was copied to {action.host}")
    if unit == "lost":
        return Progress(state="unknown", why=f"its unit began on {action.host} and left no result")
    return Progress(state="in_progress", why=f"its unit {'runs' if unit == 'running' else 'has ended'}")
