"""What the longer scripts on a database server share: where a cluster is, what it says, how they are run."""

from collections.abc import Sequence

from automation.model.errors import AdapterError
from automation.model.records import Completed, Context, Progress, Remote

PASSFILE = "/var/lib/postgresql/replication.pgpass"
REFUSED = 10  # exit code: it looked, did not like what it saw, and changed nothing

# As root, with $1 the cluster. `refuse` is for what was seen before anything was changed.
PRELUDE = """
set -eu
export LC_ALL=C
version=${1%%/*} name=${1#*/}
data=/var/lib/postgresql/$version/$name
config=/etc/postgresql/$version/$name
unit=postgresql@$version-$name.service
bin=/usr/lib/postgresql/$version/bin
as_postgres() { runuser -u postgres -- "$@"; }
refuse() { echo "$*" >&2; exit 10; }
control() { "$bin/pg_controldata" -D "$data" | sed -n "s/^$1: *//p"; }
ask() { as_postgres psql --cluster "$version/$name" -XqAt -d postgres -v ON_ERROR_STOP=1 -c "$1"; }
is_up() { systemctl is-active --quiet "$unit"; }
# A server that was not started by its unit counts, too.
runs() { is_up || as_postgres "$bin/pg_ctl" -s -D "$data" status >/dev/null 2>&1; }
expect_identifier() {
  found=$(control "Database system identifier")
  [ "$found" = "$1" ] || refuse "its system identifier is $found, expected $1"
}
login_of() {
  port=$(pg_conftool -s "$version" "$name" show port)
  echo "host=$1 port=$port user=$2 passfile=$PASSFILE connect_timeout=3"
}
expect_primary() {
  there=$(as_postgres psql -XAt -d "$1 replication=true" -c IDENTIFY_SYSTEM | cut -d'|' -f1)
  [ "$there" = "$2" ] || refuse "the primary has system identifier $there, expected $2"
}
# Whatever else happens, the next start is that of a standby of this login: the settings first, then the
# signal, both on the disk when it returns.
only_as_standby_of() {
  settings=$data/postgresql.auto.conf
  replaced='^(primary_conninfo|primary_slot_name|synchronous_standby_names) *='
  grep -v -E "$replaced" "$settings" >"$settings.new" || :
  printf "primary_conninfo = '%s'\\nprimary_slot_name = '%s'\\n" "$1" "$2" >>"$settings.new"
  chown postgres: "$settings.new"
  chmod 0600 "$settings.new"
  sync "$settings.new"
  mv -T -- "$settings.new" "$settings"
  as_postgres touch "$data/standby.signal"
  sync "$data/standby.signal" "$data"
}
is_only_standby_of() {
  [ -e "$data/standby.signal" ] &&
    grep -q -F "primary_conninfo = '$1'" "$data/postgresql.auto.conf" &&
    grep -q -F "primary_slot_name = '$2'" "$data/postgresql.auto.conf"
}
""".replace("$PASSFILE", PASSFILE)


def run_script(
    ctx: Context,
    host: str,
    script: str,
    words: Sequence[str],
    *,
    stdin: str | None = None,
    console: bool = False,
) -> Completed:
    """Run a script as the step's unit on a host; `console`: by its provider, behind its network fence.

    Raises:
        AdapterError: it refused, and changed nothing.
        OutcomeUnknown: it has not ended, or left no result.
    """
    argv = ["sh", "-c", PRELUDE + script, "script", *words]
    done = ctx.run_unit(host, argv, stdin=stdin, console=console)
    if done.exit_code == REFUSED:
        raise AdapterError(f"{host}: {done.stderr.strip()}; nothing was changed on it")
    return done


def run_here(ctx: Context, host: str, script: str, words: Sequence[str]) -> Completed:
    """Run a script that may be run again at any point, without a unit: an undo has no second attempt's name.

    Raises:
        AdapterError: it refused, and changed nothing; or the host does not answer.
    """
    argv = ["sudo", "-n", "sh", "-c", PRELUDE + script, "script", *words]
    done = ctx.remote(host).run(argv, timeout_s=ctx.timeout_s)
    if done.exit_code == REFUSED:
        raise AdapterError(f"{host}: {done.stderr.strip()}; nothing was changed on it")
    return done


def read_script(remote: Remote, host: str, script: str, words: Sequence[str]) -> str:
    """Run a script that only reads; give what it printed.

    Raises:
        AdapterError: it failed, or the host does not answer.
    """
    done = remote.run(["sudo", "-n", "sh", "-c", PRELUDE + script, "script", *words])
    if done.exit_code:
        raise AdapterError(f"{host}: {done.stderr.strip()}; nothing was changed")
    return done.stdout


def progress_of(ctx: Context, host: str, *, console: bool = False) -> Progress:
    """Say how far a script came; one whose unit is gone without a result is a person's to judge."""
    state = ctx.unit_state(host, console=console)
    if state == "absent":
        return Progress(state="not_done", why=f"nothing was begun on {host}")
    if state == "lost":
        return Progress(state="unknown", why=f"its unit began on {host} and left no result")
    return Progress(state="in_progress", why=f"its unit {'runs' if state == 'running' else 'has ended'}")
