"""The check of a repository: its list and its WAL (L1), or every byte (L2)."""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from automation.adapters.pgbackrest.door import ask, said
from automation.adapters.pgbackrest.listing import Backup, Told, read_info
from automation.adapters.pgbackrest.wal import Archive, follow, read_archive
from automation.model.actions import CheckStanza
from automation.model.actions.databases import Stanza
from automation.model.backup_evidence import ProofFailed, RepositoryChecked
from automation.model.errors import AdapterError
from automation.model.records import Completed, Context, Outcome, Remote
from automation.model.recovery_points import Level

# Exit codes of pgBackRest that say nothing of what is in a repository: settings (27, 30 to 37), an object
# store or a host that refuses or does not answer (39, 49, 72, 101, 105), a lock (50), a stop (62, 63), the
# system (94, 100, 102, 106); of the shell, a program that is not there or was killed.
# Source: its src/build/error/error.yaml.
_OF_THE_WAY = (39, 49, 50, 62, 63, 72, 94, 100, 101, 102, 105, 106)
NOT_LOOKED = (27, *range(30, 38), *_OF_THE_WAY, *range(126, 166))
_COPIES = ("backup.manifest", "backup.manifest.copy")


def check(action: CheckStanza, ctx: Context) -> Outcome:
    """See that every backup is listed well and no WAL is missing; L2: read every file besides.

    Raises:
        AdapterError: something is wrong; its evidence says what, for the ledger.
    """
    began, remote = time.monotonic(), ctx.remote(action.host)
    level = Level.L2 if action.bytes_read else Level.L1
    told = read_info(remote, action.of)
    archive = read_archive(remote, action.of, told)
    found = [*judge_list(told, archive, action.pitr_since), *_missing_manifests(remote, action.of, told)]
    if action.bytes_read:
        done = ctx.run_unit(action.host, ["sh", "-c", _VERIFY, "verify", *_words(action, told)])
        if done.exit_code in NOT_LOOKED and not found:
            raise AdapterError(
                f"{action.of.store} (stanza {action.of.stanza}) could not be read: {said(done)}; nothing is "
                "proven, nothing is found bad",
                hint=f"look at the way from {action.host} to the repository, then run it again",
            )
        found += judge_verify(done, told, archive)
    if found:
        raise AdapterError(
            f"{action.of.store} (stanza {action.of.stanza}) is not whole: {'; '.join(found)}",
            hint=f"on {action.host}, as postgres: pgbackrest --stanza={action.of.stanza} "
            f"--repo={action.of.repo} --output=text --verbose verify",
            evidence=ProofFailed(store=action.of.store, level=level, found=tuple(found)),
        )
    good = tuple(backup.label for backup in told.backups if not backup.damaged)
    evidence = RepositoryChecked(
        store=action.of.store,
        level=level,
        part=1 if action.bytes_read else 0,
        parts=1,
        seconds=time.monotonic() - began,
        size_bytes=_size(told, archive) if action.bytes_read else 0,
        points=good,
        source="simulated" if action.simulated else "real",
    )
    what = "every file read" if action.bytes_read else "no WAL is missing"
    return Outcome(
        changed=False, summary=f"{action.of.store}: {len(good)} backups, {what}", evidence=evidence
    )


def judge_list(told: Told, archive: Archive, pitr_since: datetime | None) -> Iterable[str]:
    """Say what is wrong with the list and with the WAL that its backups need. Pure.

    A backup must have the WAL that makes it whole; every backup from the last full one on that is not
    younger than `pitr_since` must have all WAL up to the present.
    """
    backups = told.of_now()
    if not backups:
        yield "there is no backup of the cluster that it is for"
    first = find_anchor(backups, pitr_since)
    for place, backup in enumerate(backups):
        if backup.damaged:
            continue  # it is listed as failed, and proves nothing
        reach = follow(backup, archive)
        if not reach.consistent:
            yield f"{backup.label} cannot be opened: WAL {reach.missing or backup.wal[1]} is missing"
        elif reach.missing and place >= first:
            yield f"{backup.label} cannot be recovered beyond WAL {reach.missing}, which is missing"


def find_anchor(backups: Sequence[Backup], pitr_since: datetime | None) -> int:
    """Give the place of the full backup from which every moment since one can be reached; 0: the oldest."""
    early = [
        place
        for place, backup in enumerate(backups)
        if backup.type == "full"
        and not backup.damaged
        and pitr_since is not None
        and backup.stopped_at <= pitr_since
    ]
    return max(early, default=0)


def _missing_manifests(remote: Remote, of: Stanza, told: Told) -> Iterable[str]:
    """A backup is described twice; one that has lost a description is not whole, though `verify` says so."""
    for backup in told.backups:
        listed = ask(remote, of, f"repo-ls backup/{of.stanza}/{backup.label}").split()
        for name in _COPIES:
            if name not in listed:
                yield f"{backup.label} has no {name}"


# As root: $1 stanza, $2 repository, $3 the labels. Its exit code is 0 whatever it finds, and of what stands
# twice it is content with one: that is compared here.
_VERIFY = """
set -u
stanza=$1 repo=$2
folder=$(mktemp -d) || exit 127
trap 'rm -rf -- "$folder"' EXIT
pgbackrest() {
  runuser -u postgres -- pgbackrest "--stanza=$stanza" "--repo=$repo" --log-level-console=off \\
    --log-level-stderr=error --no-log-timestamp "$@"
}
get() {
  { pgbackrest repo-get "$1"; echo "$?" >"$folder/code"; } | sha256sum >"$folder/$2"
  code=$(cat "$folder/code")
  case $code in NOT_LOOKED) exit "$code" ;; esac
}
for label in $3; do
  get "backup/$stanza/$label/backup.manifest" one
  get "backup/$stanza/$label/backup.manifest.copy" other
  cmp -s "$folder/one" "$folder/other" || echo "differs: the two manifests of $label"
done
for file in archive/$stanza/archive.info backup/$stanza/backup.info; do
  get "$file" one
  get "$file.copy" other
  cmp -s "$folder/one" "$folder/other" || echo "differs: $file and its copy"
done
pgbackrest --output=text --verbose verify
""".replace("NOT_LOOKED", " | ".join(map(str, NOT_LOOKED)))


def _words(action: CheckStanza, told: Told) -> list[str]:
    labels = " ".join(backup.label for backup in told.backups)
    return [action.of.stanza, str(action.of.repo), labels]


_BACKUP = re.compile(
    r"backup: (?P<label>\S+), status: (?P<status>[^,]+), total files checked: (?P<all>\d+), "
    r"total valid files: (?P<good>\d+)"
)
_WAL = re.compile(r"archiveId: (?P<id>\S+), total WAL checked: (?P<all>\d+), total valid WAL: (?P<good>\d+)")
_COUNTS = re.compile(r"missing: \d+, checksum invalid: \d+, size invalid: \d+, other: \d+")
_QUIET = re.compile(r"stanza: \S+|status: (ok|error)")


class Line(NamedTuple):
    """What `verify` says of one backup or of the archive of one cluster."""

    status: str
    all: int
    good: int
    detail: str


def judge_verify(done: Completed, told: Told, archive: Archive) -> list[str]:
    """Say what `verify` found wrong, or did not say to be good. Pure.

    Its word counts for nothing: 2.45 ends with 0 whatever it found, and says `ok` of an archive that is gone,
    of WAL that is missing and of backups without a manifest. So every backup of the list must be called valid
    with all its files, every WAL file of the archive must be counted valid, and no line may be unknown.
    A backup that is not of the list is one that was cut off; the next one takes it up or removes it.
    """
    if done.exit_code:
        return [f"verify: {said(done)}"]
    backups, archives, other = _read(done.stdout.splitlines())
    found = list(other)
    for backup in told.backups:
        line = backups.get(backup.label)
        if line is None:
            found.append(f"verify says nothing of {backup.label}")
        elif line.status != "valid" or line.good < line.all or not line.all:
            found.append(
                f"{backup.label}: {line.status}, {line.good} of {line.all} files good ({line.detail})"
            )
    for name, line in archives.items():
        if line.good < line.all:
            found.append(f"WAL of {name}: {line.good} of {line.all} files good ({line.detail})")
    now = archives.get(told.archives.get(max(told.system_identifiers), ""))
    if now is None or now.all < len(archive.segments):
        seen = now.all if now else 0
        found.append(f"WAL: {len(archive.segments)} files are listed, verify looked at {seen}")
    return found


def _read(
    lines: Sequence[str],
) -> tuple[Mapping[str, Line], Mapping[str, Line], Sequence[str]]:
    backups: dict[str, Line] = {}
    archives: dict[str, Line] = {}
    other: list[str] = []
    into: tuple[dict[str, Line], str] | None = None
    for line in (one.strip() for one in lines):
        if match := _BACKUP.fullmatch(line):
            backups[match["label"]] = Line(match["status"], int(match["all"]), int(match["good"]), "")
            into = backups, match["label"]
        elif match := _WAL.fullmatch(line):
            archives[match["id"]] = Line("", int(match["all"]), int(match["good"]), "")
            into = archives, match["id"]
        elif _COUNTS.fullmatch(line) and into:
            into[0][into[1]] = into[0][into[1]]._replace(detail=line)
        elif line and not _QUIET.fullmatch(line):
            other.append(line)
    return backups, archives, other


def _size(told: Told, archive: Archive) -> int:
    stored = sum(backup.stored_bytes for backup in told.backups)
    return stored + sum(segment.size_bytes for segment in archive.segments.values())
