#!/bin/sh
# Copy a primary's data directory and make it a standby cluster of this host.
# clone_standby.sh VERSION CLUSTER PORT PRIMARY USER SLOT
#
# A data directory that exists is never touched: the copy is made beside it and
# renamed when it is whole, so a copy that was cut off starts again from nothing.
set -eu
version=$1 cluster=$2 port=$3 primary=$4 user=$5 slot=$6
data=/var/lib/postgresql/$version/$cluster
incoming=$data.incoming
samples=/usr/share/postgresql/$version
configuration=/etc/postgresql/$version/$cluster/postgresql.conf

# A run whose controller was killed may still be copying: wait for it, then see what is left to do.
exec 9>"/run/lock/clone-$version-$cluster"
flock 9

if [ ! -e "$data/PG_VERSION" ]; then
  rm -rf -- "$incoming"
  install -d -o postgres -g postgres -m 0755 "/var/lib/postgresql/$version"
  runuser -u postgres -- "/usr/lib/postgresql/$version/bin/pg_basebackup" \
    --dbname="host=$primary port=$port user=$user passfile=/var/lib/postgresql/replication.pgpass connect_timeout=3" \
    --pgdata="$incoming" --slot="$slot" --wal-method=stream --checkpoint=fast --write-recovery-conf
  # Debian keeps these in /etc; pg_createcluster moves them there and refuses a directory without them.
  for name in postgresql pg_hba pg_ident; do
    install -o postgres -g postgres -m 0600 "$samples/$name.conf.sample" "$incoming/$name.conf"
  done
  mv -- "$incoming" "$data"
fi
if [ ! -e "$configuration" ]; then
  pg_createcluster --port="$port" "$version" "$cluster"
fi
