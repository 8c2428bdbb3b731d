#!/bin/sh
# Make a repository of restic unless it is there; note that it was.
# make_repository.sh STORE REPOSITORY [STORE_WITH_THE_SAME_CHUNKS REPOSITORY]
set -eu
store=$1 repository=$2

credentials() { # store
  set -a
  . "/etc/mainstay/stores/$1.env"
  set +a
}

if [ $# -gt 2 ]; then # the same chunks, so that what is copied is not kept twice
  credentials "$3"
  RESTIC_FROM_PASSWORD=$RESTIC_PASSWORD
  export RESTIC_FROM_PASSWORD
  set -- --from-repo "$4" --copy-chunker-params
else
  set --
fi
credentials "$store"
certificates=${RESTIC_CACERT:+--cacert=$RESTIC_CACERT}
export XDG_CACHE_HOME=/var/cache
if ! restic $certificates -r "$repository" --no-lock cat config >/dev/null 2>&1; then
  restic $certificates -r "$repository" init "$@"
fi
touch "/etc/mainstay/stores/.$store.made"
