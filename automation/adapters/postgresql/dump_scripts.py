"""The scripts of a dump, as they run on a database server; PRELUDE of `script` stands before each."""

# Reads a dump to its end, whatever its format; says what is wrong and fails, or prints format and tables.
# A truncated member of a directory is read by pg_restore without a word, and a plain one is no archive at
# all; what a COPY ends in, and the last line of pg_dump, tell. As root: a dump may be readable to it alone.
_READ_DUMP = r"""
restore() { "$bin/pg_restore" "$@"; }
broken() { echo "$*" >&2; return 1; }
tables_of() { restore -l "$1" | grep -v '^;' | grep -c ' TABLE DATA ' || :; }
data_of() { restore -l "$1" | sed -n 's/^\([0-9]*\); .* TABLE DATA .*/\1/p'; }
ends_copy() { [ "$(tail -c 5 | od -An -c | tr -d ' ')" = '\.\n\n\n' ]; }
read_custom() {
  restore -f /dev/null "$1" || broken "it cannot be read to its end" || return 1
  echo "custom $(tables_of "$1")"
}
read_directory() {
  restore -f /dev/null "$1" || broken "it cannot be read to its end" || return 1
  for packed in "$1"/*.gz; do
    [ ! -e "$packed" ] || gzip -t "$packed" || broken "$packed is cut off or damaged" || return 1
  done
  for id in $(data_of "$1"); do
    if [ -e "$1/$id.dat.gz" ]; then gzip -dc "$1/$id.dat.gz"; else cat "$1/$id.dat"; fi | ends_copy ||
      broken "the data in $1/$id.dat does not end as pg_dump ends it" || return 1
  done
  for blob in "$1"/blob_*.dat; do
    [ ! -e "$blob" ] || broken "large objects are not packed: nobody can tell whether all is there" ||
      return 1
  done
  echo "directory $(tables_of "$1")"
}
read_tar() {
  tar -tf "$1" >/dev/null || broken "the archive is cut off" || return 1
  restore -f /dev/null "$1" || broken "it cannot be read to its end" || return 1
  for id in $(data_of "$1"); do
    tar -xOf "$1" "$id.dat" | ends_copy ||
      broken "the data in $id.dat does not end as pg_dump ends it" || return 1
  done
  echo "tar $(tables_of "$1")"
}
read_plain() {
  "$@" | tail -c 200 | grep -q -E '^-- PostgreSQL database (cluster )?dump complete$' ||
    broken "its last line is not that of a whole dump" || return 1
  echo "plain $("$@" | grep -c -E '^COPY .* FROM stdin;$' || :)"
}
read_dump() {
  [ -s "$1" ] || broken "it is empty or not there" || return 1
  if [ -d "$1" ]; then read_directory "$1"
  elif [ "$(head -c 5 "$1")" = PGDMP ]; then read_custom "$1"
  elif [ "$(head -c 262 "$1" | tail -c 5 | tr -d '\0')" = ustar ]; then read_tar "$1"
  elif [ "$(head -c 2 "$1" | od -An -tx1 | tr -d ' ')" = 1f8b ]; then
    gzip -t "$1" || broken "it is cut off or damaged" || return 1
    read_plain gzip -dc "$1"
  else read_plain cat "$1"
  fi
}
"""

# $2 the file.
EXAMINE = (
    _READ_DUMP
    + r"""
seen=$(read_dump "$2") || exit 1
echo "$seen $(du -sb -- "$2" | cut -f1)"
"""
)

# $2 the database, $3 the file, which is replaced only by one that was read.
DUMP = (
    _READ_DUMP
    + r"""
database=$2 file=$3
umask 077
began=$(date +%s.%N)
[ -d "${file%/*}" ] || install -d -m 0700 "${file%/*}"
[ ! -d "$file" ] || refuse "$file is a folder"
new=$file.new
trap 'rm -f -- "$new"' EXIT
rm -f -- "$new"
# As a file that is open already: its folder may be of root alone.
as_postgres pg_dump --cluster "$1" -Fc --no-password --lock-wait-timeout=60s -- "$database" >"$new"
seen=$(read_dump "$new")
sync "$new"
mv -T -- "$new" "$file"
sync "${file%/*}"
seconds=$(date +%s.%N | awk -v began="$began" '{printf "%.3f", $1 - began}')
echo "$(stat -c %s "$file") ${seen##* } $seconds"
"""
)

# $2 the file, $3 the database, $4 the port, $5 the marker, $6 run and step. It ends with 31 when a
# server that runs does not take the dump.
LOAD = (
    _READ_DUMP
    + r"""
file=$2 database=$3 port=$4 marker=$5 own=$6
case $name in restored_*) ;; *) refuse "$1 is not named restored_...";; esac
began=$(date +%s.%N)
[ -x "$bin/postgres" ] || refuse "PostgreSQL $version is not installed"
[ -s "$file" ] || refuse "$file is empty or not there"
[ ! -e "$marker" ] || refuse "there is a restored cluster of this name already ($(head -n 1 "$marker"))"
for path in "$data" "$config"; do
  [ ! -e "$path" ] && [ ! -L "$path" ] || refuse "$path is there already"
done
taken=$(pg_lsclusters --no-header | while read -r v n p rest; do [ "$p" != "$port" ] || echo "$v/$n"; done)
[ -z "$taken" ] || refuse "port $port is that of $taken"
[ -z "$(ss -Hltn "sport = :$port")" ] || refuse "something listens on port $port"
undo() {
  code=$?
  [ "$code" -ne 0 ] || exit 0
  systemctl stop "$unit" >/dev/null 2>&1 || :
  rm -rf -- "$data" "$config" "/var/log/postgresql/postgresql-$version-$name.log"
  systemctl reset-failed "$unit" 2>/dev/null || :
  rm -f -- "$marker"
  exit "$code"
}
mkdir -p "${marker%/*}"
printf '%s\n%s\n' "$own" "dump $file" >"$marker"
trap undo EXIT
sync "$marker"
pg_createcluster --locale=C.UTF-8 --start-conf=manual --port="$port" "$version" "$name" -- \
  --data-checksums >/dev/null
mkdir -p "$config/conf.d"
printf "listen_addresses = ''\narchive_mode = off\nmax_logical_replication_workers = 0\n" \
  >"$config/conf.d/restored.conf"
systemctl daemon-reload
systemctl start "$unit"
# What root alone may read is handed over as a stream; a folder must be readable by postgres.
if [ -d "$file" ]; then set -- "$file"; exec 3</dev/null; else set --; exec 3<"$file"; fi
[ "$database" = postgres ] || set -- --create "$@"
as_postgres "$bin/pg_restore" -h /var/run/postgresql -p "$port" -d postgres --exit-on-error --no-owner \
  --no-privileges --no-subscriptions --no-password "$@" <&3 || exit 31
tables=$(as_postgres psql -XqAt -h /var/run/postgresql -p "$port" -d "$database" -v ON_ERROR_STOP=1 -c \
  "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema')")
seconds=$(date +%s.%N | awk -v began="$began" '{printf "%.3f", $1 - began}')
echo "seconds=$seconds" >>"$marker"
touch -d "@$began" "$marker"
sync -f "$data"
echo "$tables $seconds"
"""
)
