"""A fenced old primary on its way home: held down, kept, its own writes exported, rewound.

Invariant: from `hold_down` until `follow` the unit of its cluster is masked and its data says standby, so no
return of power or network makes a primary of it.
"""

import os
from pathlib import Path

from automation.adapters.postgresql.door import psql
from automation.adapters.postgresql.kept import note_kept
from automation.adapters.postgresql.script import progress_of, run_script
from automation.model.actions import ExportWrites, HoldDown, KeepData, Rewind
from automation.model.errors import AdapterError
from automation.model.evidence import StandbyCloned, WritesExported
from automation.model.records import Context, Outcome, Progress

# $2 identifier. The signal first: whatever comes between, the next start is none of a primary.
_HOLD_DOWN = """
expect_identifier "$2"
as_postgres touch "$data/standby.signal"
sync "$data/standby.signal" "$data"
systemctl stop "$unit"
systemctl mask --quiet "$unit"
sync /etc/systemd/system
[ -e "$data/standby.signal" ] || { echo "it could come back as a primary" >&2; exit 1; }
[ "$(systemctl is-enabled "$unit" || :)" = masked ] || { echo "its unit could start" >&2; exit 1; }
! runs || { echo "it still runs" >&2; exit 1; }
control "Database cluster state"
"""

_EXPECT_HELD = """
! runs || refuse "it runs; it must be held down first"
[ "$(systemctl is-enabled "$unit" || :)" = masked ] || refuse "its unit is not held down"
"""

# $2 what the copy is called. Beside the data first; it bears its name when it is whole and on the disk.
_KEEP = (
    _EXPECT_HELD
    + """
kept=$data.$2
[ ! -e "$data.rewinding" ] || refuse "a rewind of it was cut off; it is rebuilt by basebackup alone"
if [ ! -e "$kept" ]; then
  beyond=$(find "$data" -type l)
  [ -z "$beyond" ] || refuse "some of its data lies elsewhere, a copy of the folder would miss it: $beyond"
  trap 'rm -rf -- "$data.keeping"' EXIT
  rm -rf -- "$data.keeping"
  needed=$(du -s -B1 -- "$data" | cut -f1)
  free=$(df --output=avail -B1 -- "$data" | tail -n 1)
  [ "$free" -gt $((needed + needed / 4)) ] || refuse "its disk has $free bytes free, a copy takes $needed"
  cp -a --reflink=auto -T -- "$data" "$data.keeping"
  sync -f "$data.keeping"
  mv -T -- "$data.keeping" "$kept"
  sync "${data%/*}"
fi
du -s -B1 -- "$kept"
"""
)

# $2 database, $3 the query of references, $4 the statement that gives rows (empty: none); stdin: what the new
# primary holds. The cluster runs as a standby that follows nobody, on a socket in a folder of its own. Where
# a rewind was cut off, its kept copy is asked: what only the old primary held may be gone from its data.
_EXPORT = (
    _EXPECT_HELD
    + """
[ ! -e "$data.rewinding" ] || data=$data.$(cat "$data.rewinding")
[ -e "$data/standby.signal" ] || refuse "it would open as a primary"
export PGCLIENTENCODING=UTF8
place=$(mktemp -d)
trap 'as_postgres "$bin/pg_ctl" -s -m fast -D "$data" stop >&2 || :; rm -rf -- "$place"' EXIT
sort -u >"$place/there"
printf 'local all all trust\\n' >"$place/hba.conf"
chown -R postgres: "$place"
as_postgres "$bin/pg_ctl" -s -w -t 300 -D "$data" -l "$place/log" -o "-c config_file=$config/postgresql.conf \
-c hba_file=$place/hba.conf -c listen_addresses= -c unix_socket_directories=$place -c port=5432 \
-c data_directory=$data -c hot_standby=on -c primary_conninfo= -c primary_slot_name= -c restore_command= \
-c archive_cleanup_command= -c archive_mode=off -c external_pid_file=" start >&2 ||
  { tail -n 5 "$place/log" >&2; exit 1; }
there() { as_postgres psql -h "$place" -XqAt -v ON_ERROR_STOP=1 -d "$1" -f -; }
standby=$(echo 'SELECT pg_is_in_recovery()' | there postgres)
[ "$standby" = t ] || { echo "it opened as a primary" >&2; exit 1; }
printf '%s;\\n\\\\echo == all of them\\n' "$3" | there "$2" >"$place/told"
[ "$(tail -n 1 "$place/told")" = "== all of them" ] || { echo "the list was cut off" >&2; exit 1; }
sed '$d' "$place/told" >"$place/here"
sort -u -o "$place/here" "$place/here"
comm -23 "$place/here" "$place/there" >"$place/only"
count=$(wc -l <"$place/only")
echo "$count"
cat "$place/only"
if [ -n "$4" ]; then
  rows=$(printf '\\\\set refs `cat %s`\\nSELECT count(*) FROM (%s) given;\\n' "$place/only" "$4" | there "$2")
  [ "$rows" -ge "$count" ] || {
    echo "the probe's query of rows gives $rows rows for $count writes" >&2; exit 1
  }
  printf '\\\\set refs `cat %s`\\nCOPY (%s) TO STDOUT WITH (FORMAT csv, HEADER);\\n' "$place/only" "$4" |
    there "$2"
fi
"""
)

# $2 the primary's address, $3 user, $4 identifier, $5 slot, $6 the kept copy's name.
_REWIND = (
    _EXPECT_HELD
    + """
[ -d "$data.$6" ] || refuse "its old data was not kept as $data.$6"
login=$(login_of "$2" "$3")
expect_identifier "$4"
expect_primary "$login" "$4"
[ ! -e "$data.rewinding" ] || refuse "a rewind of it was cut off; it is rebuilt by basebackup alone"
echo "$6" >"$data.rewinding.new"
mv -T -- "$data.rewinding.new" "$data.rewinding"
sync "$data.rewinding" "${data%/*}"
# It removes what the primary does not have, the signal too, and writes it anew at its end.
trap 'as_postgres touch "$data/standby.signal"; sync "$data/standby.signal" "$data"' EXIT
as_postgres "$bin/pg_rewind" --target-pgdata="$data" --source-server="$login dbname=postgres" \
  --config-file="$config/postgresql.conf" --write-recovery-conf
only_as_standby_of "$login" "$5"
sync -f "$data"
rm -- "$data.rewinding"
"""
)

# pg_rewind reads the primary's files by these; and it takes the timeline from the last checkpoint.
_LET_REWIND = """
GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean),
  pg_read_binary_file(text), pg_read_binary_file(text, bigint, bigint, boolean) TO :"user";
CHECKPOINT;
"""


def hold_down(action: HoldDown, ctx: Context) -> Outcome:
    """Stop the old primary by its host's console and make it unable to start; read back."""
    done = run_script(
        ctx, action.host, _HOLD_DOWN, [action.cluster, action.expect_system_identifier], console=True
    )
    if done.exit_code:
        raise AdapterError(f"{action.host} is not held down: {done.stderr.strip()}; its network fence holds")
    summary = f"{action.host} is held down ({done.stdout.strip()}): its unit is masked, its data says standby"
    return Outcome(changed=True, summary=summary)


def verify_hold_down(action: HoldDown, ctx: Context) -> Progress:
    """Say how far it came, by the console."""
    return progress_of(ctx, action.host, console=True)


def keep_data(action: KeepData, ctx: Context) -> Outcome:
    """Copy the data directory beside itself, whole or not at all, and note it where dr.status looks."""
    done = run_script(ctx, action.host, _KEEP, [action.cluster, f"kept-{ctx.run_id}"], console=True)
    if done.exit_code:
        raise AdapterError(f"{action.host}: its data was not kept: {done.stderr.strip()}; it is as it was")
    size, path = done.stdout.split(maxsplit=1)
    kept = note_kept(ctx, action.host, path.strip(), int(size), keep_s=action.keep_s)
    summary = (
        f"the old data of {action.host} is kept in {kept.path}, at least until {kept.keep_until:%Y-%m-%d}"
    )
    return Outcome(changed=True, summary=summary, evidence=kept)


def verify_keep_data(action: KeepData, ctx: Context) -> Progress:
    """Say how far it came, by the console."""
    return progress_of(ctx, action.host, console=True)


def export_writes(action: ExportWrites, ctx: Context) -> Outcome:
    """Compare the references of both databases; write those that only the old one holds, and their rows."""
    new = ctx.remote(action.primary)
    asked = f"SET client_encoding TO 'UTF8';\n{action.query};"
    there = psql(new, action.primary, action.cluster, action.database, asked, ctx.timeout_s)
    rows = (action.rows or "").replace(":refs", "string_to_array(:'refs', E'\\n')")
    words = [action.cluster, action.database, action.query, rows]
    done = run_script(ctx, action.host, _EXPORT, words, stdin=there, console=True)
    if done.exit_code:
        raise AdapterError(
            f"the writes of {action.service} that only {action.host} holds were not listed: "
            f"{done.stderr.strip()}; nothing was rebuilt",
            hint="resume the run once it is mended; the old data is kept",
        )
    count, references, exported = split_export(done.stdout)
    _make_last(ctx.artifacts / action.references, references)
    if action.rows:
        _make_last(ctx.artifacts / action.export, exported)
    evidence = WritesExported(
        service=action.service,
        server=action.host,
        references=action.references,
        count=count,
        export=action.export if action.rows else None,
    )
    where = f"exported to {action.export}" if action.rows else "no query gives their rows (probe: rows)"
    summary = (
        f"only {action.host} holds {evidence.count} writes of {action.service}; {where}. "
        "Inserted references only: changed or deleted rows and prepared transactions are not told apart"
    )
    return Outcome(changed=False, summary=summary, evidence=evidence)


def split_export(said: str) -> tuple[int, str, str]:
    """Give the number of references, their lines, and the rows; only a line feed ends a line."""
    first, _, rest = said.partition("\n")
    lines = rest.split("\n")
    count = int(first)
    return count, "".join(f"{line}\n" for line in lines[:count]), "\n".join(lines[count:])


def _make_last(path: Path, content: str) -> None:
    """Write a file whole and onto the disk: what it tells of may be rebuilt next."""
    partial = path.with_name(f"{path.name}.part")
    with partial.open("w", newline="") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def verify_export_writes(action: ExportWrites, ctx: Context) -> Progress:
    """Say how far it came, by the console."""
    return progress_of(ctx, action.host, console=True)


def rewind(action: Rewind, ctx: Context) -> Outcome:
    """Let the old primary's data become that of the new one, by pg_rewind; it stays held down."""
    primary = ctx.inventory.server(action.primary)
    new = ctx.remote(action.primary)
    psql(new, action.primary, action.cluster, "postgres", _LET_REWIND, 60.0, {"user": action.user})
    kept = f"kept-{ctx.run_id}"
    words = [action.cluster, primary.address, action.user, action.expect_system_identifier, action.slot, kept]
    done = run_script(ctx, action.host, _REWIND, words)
    if done.exit_code:
        raise AdapterError(
            f"{action.host} was not rewound: {done.stderr.strip()[-600:]}; "
            "it is held down, its old data is kept",
            hint="abort this run with --undo, then fail back with --rebuild basebackup",
        )
    evidence = StandbyCloned(
        server=action.host,
        primary=action.primary,
        system_identifier=action.expect_system_identifier,
        kept=kept,
    )
    said = done.stderr.strip().splitlines()[-1:] or ["done"]
    return Outcome(
        changed=True, summary=f"{action.host} is rewound to {action.primary}: {said[0]}", evidence=evidence
    )


def verify_rewind(action: Rewind, ctx: Context) -> Progress:
    """Say how far it came; one whose unit is gone without a result is a person's to judge."""
    return progress_of(ctx, action.host)
