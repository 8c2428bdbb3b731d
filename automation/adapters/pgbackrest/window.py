"""The moments to which a cluster can be restored."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import pairwise

from automation.adapters.pgbackrest.door import USER
from automation.adapters.pgbackrest.listing import Told, read_info
from automation.adapters.pgbackrest.wal import Archive, Segment, follow, read_archive
from automation.model.actions.databases import Stanza
from automation.model.base import Model
from automation.model.errors import AdapterError
from automation.model.records import Remote

# pgBackRest tells whole seconds; a moment within the one in which a backup stopped may lie before its end.
_ROUNDING = timedelta(seconds=1)
_TICK = timedelta(microseconds=1)  # of the clock by which PostgreSQL writes commits down
_LOOKED_INTO = 16  # segments without a commit, from the last one back


class Span(Model):
    """Moments from the first to the last, both included."""

    first: datetime
    last: datetime


class Window(Model):
    """All moments to which a cluster can be restored from one repository."""

    spans: tuple[Span, ...]
    gaps: tuple[Span, ...] = ()

    @property
    def earliest(self) -> datetime | None:
        """The first moment of all."""
        return self.spans[0].first if self.spans else None

    @property
    def latest(self) -> datetime | None:
        """The last moment of all: just before the last commit whose WAL is in the archive."""
        return self.spans[-1].last if self.spans else None


def look_at_window(remote: Remote, of: Stanza) -> Window:
    """Read from the archive which moments can be reached; asked at the keeper.

    A moment counts only if a later commit is in the archive: PostgreSQL stops at a moment when it meets the
    first commit after it, and refuses to open where it meets none. That of the last commit itself is none.

    Raises:
        AdapterError: the repository cannot be read, or its keeper has no pg_waldump.
    """
    told = read_info(remote, of)
    archive = read_archive(remote, of, told)
    ends = {reach.last for reach in (follow(one, archive) for one in told.of_now()) if reach.last}
    commits = {end: _last_commit(remote, of, archive, end) for end in sorted(ends)}
    return find_window(told, archive, commits)


def find_window(told: Told, archive: Archive, commits: Mapping[Segment, datetime | None]) -> Window:
    """Join what every backup reaches; `commits`: the last commit up to a segment. Pure."""
    reached = [
        Span(first=backup.stopped_at + _ROUNDING, last=last - _TICK)
        for backup in told.of_now()
        if not backup.damaged
        and (reach := follow(backup, archive)).consistent
        and reach.last is not None
        and (last := commits[reach.last]) is not None
        and last > backup.stopped_at + _ROUNDING
    ]
    spans = tuple(_join(reached))
    gaps = tuple(Span(first=before.last, last=after.first) for before, after in pairwise(spans))
    return Window(spans=spans, gaps=gaps)


def _join(spans: Iterable[Span]) -> Iterable[Span]:
    open_span: Span | None = None
    for span in sorted(spans, key=lambda one: one.first):
        if open_span is None or span.first > open_span.last:
            if open_span is not None:
                yield open_span
            open_span = span
        else:
            open_span = Span(first=open_span.first, last=max(open_span.last, span.last))
    if open_span is not None:
        yield open_span


# $1 version of PostgreSQL, $2 stanza, $3 repository, then WAL files of it, the newest first. Prints when the
# last transaction ended whose end is in one of them; a segment that was switched ends in nothing, which
# pg_waldump calls an error. `archive-get` would need the data directory, and the database may be gone.
_LAST_COMMIT = r"""
set -u
waldump=/usr/lib/postgresql/$1/bin/pg_waldump stanza=$2 repo=$3
shift 3
unpack() {
  case $1 in
    *.gz) gzip -dc;; *.bz2) bzip2 -dc;; *.lz4) lz4 -dc;; *.zst) zstd -dcq;; *) cat;;
  esac
}
[ -x "$waldump" ] || { echo "there is no $waldump" >&2; exit 1; }
folder=$(mktemp -d) && trap 'rm -rf -- "$folder"' EXIT
for file in "$@"; do
  packed=$folder/packed name=${file##*/}
  segment=$folder/${name%%-*}
  pgbackrest "--stanza=$stanza" "--repo=$repo" --log-level-console=off --log-level-stderr=error \
    --no-log-timestamp repo-get "$file" >"$packed" || exit 1
  unpack "$file" <"$packed" >"$segment" || exit 1
  at=$(TZ=UTC "$waldump" --rmgr=Transaction "$segment" 2>/dev/null |
    sed -n 's/.*desc: \(COMMIT\|ABORT\)[A-Z_]* \([0-9: .-]*\) UTC.*/\2/p' | tail -n 1)
  [ -z "$at" ] || { echo "$at"; exit 0; }
  rm -f -- "$segment"
done
"""


def _last_commit(remote: Remote, of: Stanza, archive: Archive, end: Segment) -> datetime | None:
    """Ask the keeper for the last commit up to a segment; none within the last sixteen."""
    files = [archive.segments[one].file for one in _back_from(end, archive)]
    words = [archive.version, of.stanza, str(of.repo), *files]
    done = remote.run(["sudo", "-n", "-u", USER, "sh", "-c", _LAST_COMMIT, "last", *words], timeout_s=300)
    if done.exit_code:
        raise AdapterError(
            f"{of.store}: cannot tell the last commit in its archive: {done.stderr.strip()}; "
            "nothing was changed",
            hint="the keeper needs the server's package of PostgreSQL, and what unpacks its WAL",
        )
    text = done.stdout.strip()
    return datetime.fromisoformat(f"{text}+00:00") if text else None


def _back_from(end: Segment, archive: Archive) -> Iterable[Segment]:
    """The last segments up to one, the newest first; of two with one number that of the later timeline."""
    for number in range(end.number, end.number - _LOOKED_INTO, -1):
        same = [one for one in archive.segments if one.number == number and one.timeline <= end.timeline]
        if same:
            yield max(same)
