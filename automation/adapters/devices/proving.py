"""L4 of a configuration: put together with its secrets, whole, and read by the vendor's own checker."""

import base64
import re
import time
from collections.abc import Iterator

from automation.adapters.devices.files import read_pair
from automation.adapters.devices.secrets import DoNotFit, as_bytes, put_together
from automation.adapters.devices.vendors import VendorKind, vendor_kind
from automation.model.actions import ProveConfig
from automation.model.backup_evidence import PointProven, ProofFailed
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome
from automation.model.recovery_points import Level

_NO_ROOM, _NOT_THERE = 125, 127
# $1 the folder, then the checker with {file} and {folder}; the configuration comes as stdin and goes again.
_CHECK = """
umask 077
t=$(mktemp -d "$1/.check.XXXXXX") || exit 125
trap 'rm -rf -- "$t"' EXIT
base64 -d >"$t/config" || exit 125
shift
for word in "$@"; do
  shift
  case $word in {file}) word=$t/config ;; {folder}) word=$t ;; esac
  set -- "$@" "$word"
done
"$@" 2>&1
"""


def prove(action: ProveConfig, ctx: Context) -> Outcome:
    """Have the vendor's checker read every configuration of a restored point."""
    began = time.monotonic()
    kind = vendor_kind(action.vendor)
    _see_restored(action, ctx)
    whole = {device: _whole(device, action, kind, ctx) for device in action.devices}
    if not kind.checker:
        raise AdapterError(
            f"{', '.join(action.devices)}: put together and whole, but {action.vendor} has no free program "
            "that reads a configuration, so L4 cannot be proven; nothing was changed",
            hint="in backups.yml let it be proven at L3, where the restored files are compared by hash; "
            "on a device of your own a restore can be tried by hand",
        )
    faults = [fault for device in action.devices for fault in _faults(device, whole[device], action, ctx)]
    if faults:
        raise _failed(action, tuple(faults), ctx)
    lines = sum(text.count("\n") for text in whole.values())
    evidence = PointProven(
        resource=action.resource,
        store=action.store,
        point=action.point,
        level=Level.L4,
        seconds=time.monotonic() - began,
        size_bytes=sum(len(as_bytes(text)) for text in whole.values()),
        found=tuple(f"{device}: whole, and {kind.checker[0]} reads every line" for device in action.devices),
        host=action.host,
        source="simulated" if action.simulated else "real",
    )
    summary = f"{len(whole)} configurations with {lines} lines are read by {kind.checker[0]} on {action.host}"
    return Outcome(changed=False, summary=summary, evidence=evidence)


def _see_restored(action: ProveConfig, ctx: Context) -> None:
    """Tell a point that lacks something from a restore that never came to its end."""
    done = ctx.remote(action.host).run(["sudo", "-n", "test", "-d", action.folder], timeout_s=30.0)
    if done.exit_code:
        raise AdapterError(
            f"{action.host} has no {action.folder}: nothing was restored there, and nothing proven"
        )


def _whole(device: str, action: ProveConfig, kind: VendorKind, ctx: Context) -> str:
    """Put one configuration together; the checker itself takes one that was cut off at a line's end."""
    try:
        pair = read_pair(ctx.remote(action.host), action.folder, device)
        if pair is None:
            raise DoNotFit("its configuration or its secrets are not in the point")
        text = put_together(pair.text, pair.secrets)
    except DoNotFit as exc:
        raise _failed(action, (f"{device}: {exc}",), ctx) from exc
    if not kind.is_whole(text):
        raise _failed(action, (f"{device}: the configuration is cut off",), ctx)
    return text


def _faults(device: str, text: str, action: ProveConfig, ctx: Context) -> Iterator[str]:
    """Have the checker read one configuration; its faults are told without the lines, which hold secrets."""
    kind = vendor_kind(action.vendor)
    done = ctx.remote(action.host).run(
        ["sudo", "-n", "sh", "-c", _CHECK, "check", action.folder, *kind.checker],
        stdin=base64.b64encode(as_bytes(text)).decode(),
        timeout_s=ctx.timeout_s,
    )
    if done.exit_code == _NO_ROOM:
        raise AdapterError(
            f"{action.host}:{action.folder} takes no file: {done.stderr.strip()}; "
            f"the configuration of {device} was not read",
            hint=f"make room on {action.host}",
        )
    if done.exit_code == _NOT_THERE:
        raise AdapterError(
            f"{action.host} has no {kind.checker[0]}: the configuration of {device} was not read",
            hint=f"install {kind.package} there: ./inv provision.converge --env {ctx.environment.name}",
        )
    # vtysh 8.4 ends with 0 in spite of unknown lines if an `exit` follows them: what it says counts, too.
    found = [f"line {line}: {what.strip()}" for line, what in re.findall(kind.fault, done.stdout, re.M)]
    if done.exit_code and not found:
        found = [f"{kind.checker[0]} ended with {done.exit_code} and named no line"]
    yield from (f"{device}: {one}" for one in found[:5])


def _failed(action: ProveConfig, found: tuple[str, ...], ctx: Context) -> AdapterError:
    evidence = ProofFailed(
        resource=action.resource, store=action.store, point=action.point, level=Level.L4, found=found
    )
    return AdapterError(
        f"{action.resource} in {action.store}: point {action.point[:12]} is no good configuration: "
        f"{'; '.join(found)}; nothing was changed",
        hint=f"fetch it anew: ./inv backup.run --env {ctx.environment.name} --resource {action.resource}",
        evidence=evidence,
    )
