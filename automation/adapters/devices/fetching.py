"""A device's running configuration, read whole and left on a host without its secrets."""

from contextlib import closing

from automation.adapters.devices.files import Pair, read_pair, write_pair
from automation.adapters.devices.secrets import DoNotFit, put_together, split
from automation.adapters.devices.vendors import VendorKind, vendor_kind
from automation.model.actions import FetchConfig
from automation.model.backup_evidence import ConfigFetched
from automation.model.records import Context, Outcome


def fetch(action: FetchConfig, ctx: Context) -> Outcome:
    """Read a device's configuration; what only looks changed leaves the files as they are."""
    kind = vendor_kind(action.vendor)
    with closing(ctx.terminal(action.device, kind.manners, action.login)) as terminal:
        answer = terminal.ask(kind.show, whole=kind.is_whole, timeout_s=ctx.timeout_s)
    configuration = kind.configuration(answer)
    remote = ctx.remote(action.host)
    before = _before(action, ctx)
    known = before.secrets.values if before else {}
    apart = split(configuration, kind.hidden if action.split_secrets else (), known)
    changed = before is None or not _is_same(before, configuration, kind)
    # Whether secrets stand apart may have been chosen otherwise since.
    stale = before is None or set(before.secrets.values) != set(apart.secrets.values)
    if changed or stale:
        write_pair(remote, action.folder, action.device, Pair(apart.text, apart.secrets))
    lines = configuration.count("\n")
    evidence = ConfigFetched(
        device=action.device, lines=lines, secrets=len(apart.secrets.values), changed=changed
    )
    how = "as before" if not changed else "changed" if before else "for the first time"
    summary = f"{action.device}: {lines} lines, {evidence.secrets} secrets apart, {how}"
    return Outcome(changed=changed or stale, summary=summary, evidence=evidence)


def _before(action: FetchConfig, ctx: Context) -> Pair | None:
    """Give what was fetched the last time; two files that do not fit are written anew."""
    try:
        return read_pair(ctx.remote(action.host), action.folder, action.device)
    except DoNotFit:
        return None


def _is_same(before: Pair, configuration: str, kind: VendorKind) -> bool:
    """Whether nobody changed anything; the files of before must be good, or they are written anew."""
    try:
        old = put_together(before.text, before.secrets)
    except DoNotFit:
        return False
    return kind.lasting(old) == kind.lasting(configuration)
