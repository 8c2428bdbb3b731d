"""The restore as it runs on a host, as root; wherever it is cut off, what it made bears its marker."""

# $1 cluster, $2 stanza, $3 repository, $4 label, $5 moment or empty, $6 port, $7 addresses to listen on or
# empty, $8 bytes, $9 marker, $10 run and step, $11 settings for a host that is not the database's.
# Exit codes: 10 refused, nothing made; 21 the moment was not reached; 22 it did not open. Whatever fails,
# what was made is removed. The settings are ours: those of the source may name its archive, its standbys, its
# addresses and libraries; of its own `postgresql.auto.conf` only preloaded libraries and the settings of
# extensions are taken over, because WAL may need them.
RESTORE = r"""
set -eu
export LC_ALL=C
cluster=$1 stanza=$2 repo=$3 label=$4 until=$5 port=$6 listen=$7 bytes=$8 marker=$9
shift 9
own=$1 here=$2
version=${cluster%%/*} name=${cluster#*/}
data=/var/lib/postgresql/$version/$name
config=/etc/postgresql/$version/$name
log=/var/log/postgresql/postgresql-$version-$name.log
bin=/usr/lib/postgresql/$version/bin
unit=postgresql@$version-$name.service
refuse() { echo "$*" >&2; exit 10; }
as_postgres() { runuser -u postgres -- "$@"; }
sql() { as_postgres psql -XqAt -v ON_ERROR_STOP=1 -h /var/run/postgresql -p "$port" "$@"; }
began=$(date +%s.%N)

[ -x "$bin/postgres" ] || refuse "PostgreSQL $version is not installed"
[ ! -e "$marker" ] || refuse "there is a restored cluster of this name already ($(head -n 1 "$marker"))"
for path in "$data" "$config" "$data.tablespaces"; do
  [ ! -e "$path" ] && [ ! -L "$path" ] || refuse "$path is there already"
done
! systemctl is-active --quiet "$unit" || refuse "$unit runs already"
taken=$(pg_lsclusters --no-header | while read -r v n p rest; do [ "$p" != "$port" ] || echo "$v/$n"; done)
[ -z "$taken" ] || refuse "port $port is that of $taken"
[ -z "$(ss -Hltn "sport = :$port")" ] || refuse "something listens on port $port"
[ ! -e "/var/run/postgresql/.s.PGSQL.$port" ] || refuse "port $port has a socket already"
free=$(df --output=avail -B1 /var/lib/postgresql | tail -n 1)
[ "$free" -gt $((bytes + bytes / 10)) ] || refuse "it takes $bytes bytes, $free are free"

made=no
undo() {
  code=$?
  [ "$made" = yes ] && [ "$code" -ne 0 ] || exit "$code"
  systemctl stop "$unit" >/dev/null 2>&1 || :
  rm -rf -- "$data" "$data.tablespaces" "$config" "$log"
  systemctl reset-failed "$unit" 2>/dev/null || :
  rm -f -- "$marker"
  exit "$code"
}
trap undo EXIT
mkdir -p "${marker%/*}"
made=yes
printf '%s\n%s\n' "$own" "stanza $stanza, repository $repo, $label, until ${until:-the end}" >"$marker"
sync "$marker"
for parent in "${data%/*}" "${config%/*}"; do
  [ -d "$parent" ] || install -d -o postgres -g postgres -m 0755 "$parent"
done
install -d -o postgres -g postgres -m 0700 "$data"
install -d -o postgres -g postgres -m 0755 "$config"
rm -f -- "$log"

get="pgbackrest --stanza=$stanza --repo=$repo $here --pg1-path=$data --no-archive-async archive-get %f \"%p\""
set -- "--stanza=$stanza" "--repo=$repo" "--set=$label" "--pg1-path=$data" $here --archive-mode=off \
  "--tablespace-map-all=$data.tablespaces" "--recovery-option=restore_command=$get" \
  --log-level-console=off --log-level-stderr=error --no-log-timestamp
[ -z "$until" ] || set -- "$@" --type=time "--target=$until" --target-action=promote
as_postgres pgbackrest "$@" restore || exit 22

setting() { as_postgres "$bin/pg_controldata" -D "$data" | sed -n "s/^$1 setting: *//p"; }
source=$data/postgresql.auto.conf
taken_over=$(grep -E '^(shared_preload_libraries|[a-z_]+[.][a-z_]+) *=' "$source" |
  grep -v -E '^cron[.]launch_active_jobs *=' || :)
recovery=$(grep -E '^(restore_command|recovery_target[a-z_]*|archive_mode) *=' "$source" || :)
printf '%s\n' "# Of the source:" "$taken_over" "# Of this restore:" "$recovery" >"$source"
rm -f -- "$data/standby.signal"
cat >"$config/postgresql.conf" <<END
# A restored cluster, made by Mainstay ($own); it is removed with its marker.
data_directory = '$data'
hba_file = '$config/pg_hba.conf'
ident_file = '$config/pg_ident.conf'
external_pid_file = '/var/run/postgresql/$version-$name.pid'
unix_socket_directories = '/var/run/postgresql'
port = $port
listen_addresses = '$listen'
cluster_name = '$version/$name'
ssl = off
archive_mode = off
archive_command = ''
synchronous_standby_names = ''
primary_conninfo = ''
primary_slot_name = ''
max_logical_replication_workers = 0
cron.launch_active_jobs = off
hot_standby = on
shared_buffers = 64MB
max_connections = $(setting max_connections)
max_worker_processes = $(setting max_worker_processes)
max_wal_senders = $(setting max_wal_senders)
max_prepared_transactions = $(setting max_prepared_xacts)
max_locks_per_transaction = $(setting max_locks_per_xact)
lc_messages = 'C'
log_timezone = 'UTC'
timezone = 'UTC'
logging_collector = off
log_destination = 'stderr'
END
printf 'local all,replication postgres peer\n' >"$config/pg_hba.conf"
[ -z "$listen" ] || printf 'host all all samenet scram-sha-256\n' >>"$config/pg_hba.conf"
: >"$config/pg_ident.conf"
echo manual >"$config/start.conf"
chown -R postgres: "$config"
chmod 0640 "$config"/pg_*.conf

systemctl daemon-reload
systemctl start "$unit" 2>/dev/null || :
state=
while [ "$state" != f ]; do
  state=$(sql -d postgres -c 'SELECT pg_is_in_recovery()' 2>/dev/null) || state=
  if [ -z "$state" ] && ! as_postgres "$bin/pg_ctl" -s -D "$data" status >/dev/null 2>&1; then
    grep -E 'FATAL|PANIC|ERROR|last completed transaction' "$log" | tail -n 6 >&2 || :
    ! grep -q 'recovery ended before configured recovery target' "$log" || exit 21
    exit 22
  fi
  if [ "$state" = t ] && [ "$(sql -d postgres -c 'SELECT pg_get_wal_replay_pause_state()')" = paused ]; then
    echo "recovery paused: $(grep -E 'HINT|DETAIL|WARNING' "$log" | tail -n 2)" >&2
    exit 22
  fi
  [ "$state" = f ] || sleep 0.2
done
if [ -n "$until" ] && ! grep -q -E 'recovery stopping (before|after) (commit|abort)' "$log"; then
  echo "the server's log does not say where recovery stopped" >&2
  exit 21
fi
[ "$(sql -d postgres -c 'SHOW archive_mode')" = off ] || { echo "it would archive" >&2; exit 22; }

sql -d postgres -c 'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots' >/dev/null
sql -d postgres -c 'SELECT datname FROM pg_database WHERE oid IN (SELECT subdbid FROM pg_subscription)' |
  while read -r database; do
    sql -d "$database" -c "SELECT format('ALTER SUBSCRIPTION %I DISABLE; ALTER SUBSCRIPTION %I
      SET (slot_name = NONE);', subname, subname) FROM pg_subscription s JOIN pg_database d
      ON d.oid = s.subdbid WHERE d.datname = current_database()" | sql -d "$database" -f - >/dev/null
  done
for done_with in $(printf '%s\n' "$recovery" | sed -n 's/^\(re[a-z_]*\) *=.*/\1/p'); do
  sql -d postgres -c "ALTER SYSTEM RESET $done_with"
done
last=$(sed -n 's/.*last completed transaction was at log time //p' "$log" | tail -n 1)
timeline=$(sql -d postgres -c \
  "SELECT ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int")
printf 'identifier=%s\n' "$(sql -d postgres -c 'SELECT system_identifier FROM pg_control_system()')"
printf 'timeline=%s\nlabel=%s\n' "$timeline" "$label"
printf 'last=%s\n' "$last"
seconds=$(date +%s.%N | awk -v began="$began" '{printf "%.3f", $1 - began}')
printf 'seconds=%s\n' "$seconds" | tee -a "$marker"
touch -d "@$began" "$marker"
sync -f "$data"
"""
