"""A new instance's SSH host key, read from its console output: AWS's own channel, not the network's."""

import re
import time

from automation.adapters.aws.instances import deadline_of, require
from automation.adapters.aws.session import Region, Shown, region_of
from automation.model.actions import LearnInstanceKey
from automation.model.errors import AdapterError
from automation.model.known_hosts import fingerprint, pin, pinned
from automation.model.machine_evidence import HostKeyLearned
from automation.model.records import Context, Outcome, Progress

_BLOCK = re.compile(r"-----BEGIN SSH HOST KEY KEYS-----(.*?)-----END SSH HOST KEY KEYS-----", re.DOTALL)
_KEY = re.compile(r"(ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521)|ssh-rsa) ([A-Za-z0-9+/]{40,}={0,2})(?:\s|$)")
_LIKED = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
_POLL_S, _LONGEST_POLL_S = 0.5, 10.0


def learn_host_key(action: LearnInstanceKey, ctx: Context) -> Outcome:
    """Wait until cloud-init has shown the host keys on the console, and trust one of them from then on."""
    region, deadline = region_of(ctx, action.site), deadline_of(ctx)
    instance = require(region, action.host)
    pause_s = _POLL_S
    while (key := read_key(_console(region, instance, action.host), action.host)) is None:
        if time.monotonic() > deadline:
            raise AdapterError(
                f"server {action.host} ({instance['InstanceId']}) has not shown host keys on its console; "
                "none is trusted",
                transient=True,
                hint="its cloud-init must emit them (ssh: emit_keys_to_console); a resumed run looks again",
            )
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_POLL_S)
    changed = _pin(ctx, action.host, _names(ctx, action.host, instance), key)
    return _outcome(region, instance, action, key, changed=changed)


def verify_learn_host_key(action: LearnInstanceKey, ctx: Context) -> Progress:
    """Say whether the key that the console shows is the one that is trusted."""
    region = region_of(ctx, action.site)
    instance = require(region, action.host)
    key = read_key(_console(region, instance, action.host), action.host)
    known = pinned(ctx.environment.known_hosts(ctx.state), set(_names(ctx, action.host, instance)))
    if key is None or known != (key,):
        return Progress(state="not_done", why=f"the key of {action.host} is not pinned")
    return Progress(state="done", outcome=_outcome(region, instance, action, key, changed=True))


def read_key(console: str, host: str) -> str | None:
    """Give the host key that stands between cloud-init's marks: the newest kind; None before it does. Pure.

    Raises:
        AdapterError: two blocks show different keys, so one of them is not the server's.
    """
    blocks = [dict(_KEY.findall(block)) for block in _BLOCK.findall(console)]
    shown = [block for block in blocks if block]
    if any(one != shown[0] for one in shown[1:]):
        raise AdapterError(
            f"server {host} has shown different host keys on its console; none is trusted",
            hint="look at its console output: was its disk replaced, or does somebody write there?",
        )
    kinds = [kind for kind in _LIKED if shown and kind in shown[0]]
    return f"{kinds[0]} {shown[0][kinds[0]]}" if kinds else None


def _console(region: Region, instance: Shown, host: str) -> str:
    what = f"the console of {host} could not be read"
    answer = region.read("ec2.get_console_output", what, InstanceId=instance["InstanceId"])
    return str(answer.get("Output") or "")


def _names(ctx: Context, host: str, instance: Shown) -> tuple[str, ...]:
    """Name a server by its own name, by the address it is reached at, and by that which EC2 gave it."""
    declared = ctx.inventory.servers.get(host)
    addresses = (declared.address if declared else "", str(instance.get("PrivateIpAddress") or ""))
    return tuple(dict.fromkeys(name for name in (host, *addresses) if name))


def _pin(ctx: Context, host: str, names: tuple[str, ...], key: str) -> bool:
    path = ctx.environment.known_hosts(ctx.state)
    try:
        return pin(path, names, key)
    except OSError as exc:
        raise AdapterError(
            f"the host key of {host} could not be written to {path}: {exc.strerror}; it is not trusted",
            hint=f"add this line there: {','.join(names)} {key}",
        ) from exc


def _outcome(
    region: Region, instance: Shown, action: LearnInstanceKey, key: str, *, changed: bool
) -> Outcome:
    evidence = HostKeyLearned(
        host=action.host,
        address=str(instance.get("PrivateIpAddress") or ""),
        channel="console-output",
        fingerprint=fingerprint(key),
        source=region.source,
    )
    said = "learned from its console" if changed else "is trusted already"
    return Outcome(
        changed=changed,
        summary=f"host key of {action.host} {said}: {evidence.fingerprint}",
        evidence=evidence,
    )
