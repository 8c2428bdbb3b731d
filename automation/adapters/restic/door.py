"""The one way to restic on a host: its credentials, its words, its errors."""

import base64
import io
import shlex
import zipfile
from collections.abc import Sequence
from pathlib import Path

from automation.adapters.restic.faults import Fault, recognise
from automation.adapters.restic.versions import Abilities, abilities, parse_version
from automation.model.actions.restic import Repository
from automation.model.errors import AdapterError
from automation.model.records import Completed, Context, Progress, Remote

STORES = "/etc/mainstay/stores"
REFUSED = 90  # exit code: it looked, did not like what it saw, and changed nothing; restic has none so high
PATIENCE_S = 300.0  # so long, and no longer than a quarter of the step, another's lock is waited for
ASKING_S = 120.0

MANIFESTS = "/var/lib/mainstay/manifests"
_PROGRAM = Path(__file__).resolve().parents[2] / "shipped/manifest"

# As root. A unit has no HOME, so restic is told where its cache is; 0.14 does not read RESTIC_CACERT.
# `restic` waits for another's lock, in the same way with every version; what its last call said is in $said.
# One that outlives the step would hold its lock against the next: it is interrupted, and removes the lock.
# `look` is our own program, which came by stdin; it is written anew by each step.
_PRELUDE = """
set -u
umask 077
export LC_ALL=C RESTIC_CACHE_DIR=/var/cache/mainstay/restic RESTIC_PROGRESS_FPS=0.1
mkdir -p "$RESTIC_CACHE_DIR"
refuse() { echo "$*" >&2; exit 90; }
own=$(mktemp -d) || refuse "no room for temporary files"
said=$own/said
trap 'rm -rf -- "$own"' EXIT
credentials() {
  [ -r "$STORES/$1.env" ] || refuse "the credentials $STORES/$1.env are not there"
  set -a; . "$STORES/$1.env"; set +a
}
restic() {
  patient_until=$(($(date +%s) + PATIENCE_S))
  while :; do
    code=0
    timeout -s INT -k 60 LIMIT_S restic ${RESTIC_CACERT:+--cacert "$RESTIC_CACERT"} "$@" 2>"$said" || code=$?
    [ "$code" -ne 0 ] && grep -q 'already locked' "$said" && [ "$(date +%s)" -lt "$patient_until" ] || break
    sleep 3
  done
  cat "$said" >&2
  case $code in
    124) echo "it was interrupted after LIMIT_S s" >&2 ;;
    130 | 137 | 143) echo "it was interrupted ($code)" >&2 ;;
  esac
  return "$code"
}
"""
_LOOK = """
program=/var/lib/mainstay/programs/manifest
mkdir -p "${program%/*}" && base64 -d >"$program.$$" && mv -f "$program.$$" "$program.zip" ||
  refuse "its disk takes no program of ours"
look() { PYTHONPATH=$program.zip python3 -sBS -m manifest "$@"; }
"""


def prelude(limit_s: float, patience_s: float = PATIENCE_S) -> str:
    """Give what every script on a repository begins with; no call of restic lasts longer than the limit."""
    patience = str(int(min(patience_s, limit_s / 4)))
    text = _PRELUDE.replace("PATIENCE_S", patience).replace("LIMIT_S", str(int(limit_s)))
    return text.replace("$STORES", STORES)


def opened(repository: Repository) -> str:
    """Give the shell words that open a repository, as they stand at the head of a script."""
    store = shlex.quote(repository.credentials or repository.store)
    return f"credentials {store}\nexport RESTIC_REPOSITORY={shlex.quote(repository.url)}\n"


def work(
    ctx: Context,
    host: str,
    repository: Repository,
    script: str,
    words: Sequence[str] = (),
    *,
    patience_s: float = PATIENCE_S,
) -> Completed:
    """Run a script on a repository as the step's unit; its positional parameters are the words.

    Raises:
        AdapterError: it refused, and changed nothing.
        OutcomeUnknown: it has not ended, or left no result.
    """
    text = prelude(ctx.timeout_s, patience_s) + _LOOK + opened(repository) + script
    done = ctx.run_unit(host, ["sh", "-c", text, "restic", *words], stdin=_shipped())
    if done.exit_code == REFUSED:
        raise _refused(done, host, ctx.environment.name)
    return done


def _shipped() -> str:
    """Give our program as a zip, in base64."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(_PROGRAM.glob("*.py")):
            archive.writestr(zipfile.ZipInfo(f"manifest/{file.name}"), file.read_bytes())
    return base64.b64encode(packed.getvalue()).decode()


def ask(remote: Remote, repository: Repository, script: str, words: Sequence[str]) -> Completed:
    """Run a script that only reads, at once.

    Raises:
        AdapterError: it refused, or the host does not answer.
    """
    text = prelude(ASKING_S) + opened(repository) + script
    done = remote.run(["sudo", "-n", "sh", "-c", text, "restic", *words], timeout_s=ASKING_S)
    if done.exit_code == REFUSED:
        raise _refused(done, repository.store, "ENV")
    return done


def _refused(done: Completed, where: str, environment: str) -> AdapterError:
    why = (done.stderr.strip().splitlines() or ["without a word"])[-1]
    lacks = STORES in why
    hint = f"the playbook of the host writes them: ./inv provision.apply --env {environment}"
    return AdapterError(f"{where}: {why}; nothing was changed", hint=hint if lacks else None)


def abilities_of(remote: Remote, host: str) -> Abilities:
    """Say what the restic of a host can do.

    Raises:
        AdapterError: it has none, or one that is too old.
    """
    done = remote.run(["restic", "version"])
    if done.exit_code:
        raise AdapterError(
            f"restic version on {host}: {done.stderr.strip() or done.exit_code}; nothing was changed",
            hint="install the package restic there",
        )
    return abilities(parse_version(done.stdout))


def manifest_of(resource: str) -> str:
    """Where the manifest of a resource lies on its host, and in every point of it."""
    return f"{MANIFESTS}/{resource}.jsonl"


def fault_of(done: Completed, ctx: Context, host: str) -> Fault:
    """Name what a script's last call of restic met."""
    return recognise(done.exit_code, done.stderr, host=host, environment=ctx.environment.name)


def progress_of(ctx: Context, host: str) -> Progress:
    """Say how far a step's unit came; one that is gone without a result is a person's to judge."""
    state = ctx.unit_state(host)
    if state == "absent":
        return Progress(state="not_done", why=f"nothing was begun on {host}")
    if state == "lost":
        return Progress(state="unknown", why=f"its unit began on {host} and left no result")
    return Progress(state="in_progress", why=f"its unit {'runs' if state == 'running' else 'has ended'}")
