"""What a new VM does first, which cloud-init reads from guestinfo, and the host key that it tells there."""

import base64
import json
from pathlib import Path
from typing import Any

from pyVmomi import vim

from automation.adapters.vsphere.marks import HOST_KEY_PATH
from automation.adapters.vsphere.places import Vm, read_vm, require_vm
from automation.adapters.vsphere.reading import read_one, watch
from automation.adapters.vsphere.sessions import Vcenter, at
from automation.model import known_hosts
from automation.model.actions import LearnVmKey
from automation.model.errors import AdapterError
from automation.model.machine_evidence import HostKeyLearned
from automation.model.records import Context, Outcome, Progress
from automation.model.servers import ServerSpec
from automation.model.templating import render

TEMPLATES = Path(__file__).resolve().parents[3] / "templates/cloud_init"
_DEFAULT = "default.yml.j2"
_MOST_BYTES = 48 * 1024  # encoded it stays below the 64 KiB that a guestinfo variable holds


def first_boot(spec: ServerSpec, ctx: Context, instance_id: str) -> list[Any]:
    """Give the settings that cloud-init's VMware data source reads; no secret is ever among them."""
    metadata: dict[str, object] = {"instance-id": instance_id, "local-hostname": spec.name}
    return [
        *_encoded("metadata", json.dumps(metadata)),
        *_encoded("userdata", _user_data(spec, ctx)),
    ]


def _encoded(name: str, text: str) -> list[Any]:
    value = base64.b64encode(text.encode()).decode()
    return [
        vim.option.OptionValue(key=f"guestinfo.{name}", value=value),
        vim.option.OptionValue(key=f"guestinfo.{name}.encoding", value="base64"),
    ]


def _user_data(spec: ServerSpec, ctx: Context) -> str:
    name = spec.cloud_init or _DEFAULT
    if not (TEMPLATES / name).is_file() or Path(name).name != name:
        raise AdapterError(
            f"server {spec.name}: templates/cloud_init/{name} is not there; nothing was changed",
            hint="correct server_cloud_init in the inventory",
        )
    text = render(
        TEMPLATES,
        name,
        host=spec.name,
        user=ctx.environment.automation_user,
        public_key=_public_key(ctx),
    )
    if len(text.encode()) > _MOST_BYTES:
        raise AdapterError(
            f"server {spec.name}: templates/cloud_init/{name} gives {len(text.encode())} bytes, a guestinfo "
            f"variable holds {_MOST_BYTES}; nothing was changed",
            hint="leave to playbooks what need not be done at first boot",
        )
    return text


def _public_key(ctx: Context) -> str:
    path = Path(f"{ctx.environment.ssh_key(ctx.state)}.pub")
    try:
        return path.read_text().strip()
    except OSError as exc:
        raise AdapterError(
            f"the automation user's public key {path} cannot be read: {exc.strerror}; nothing was changed",
            hint=f"ssh-keygen -y -f {path.with_suffix('')} > {path}",
        ) from exc


# --- host keys ------------------------------------------------------------------------------------


def learn_host_key(action: LearnVmKey, ctx: Context) -> Outcome:
    """Read a VM's host key from its guestinfo, and keep it in known_hosts."""
    with at(ctx, action.site, f"the host key of VM {action.host} could not be learned") as vcenter:
        vm = require_vm(vcenter, action.host)
        public = _told_key(vcenter, vm, ctx.timeout_s * 0.9)
        after = read_vm(vcenter, vm.ref) or vm
        return _kept(vcenter, action.host, after.address, public, ctx)


def verify_learn_host_key(action: LearnVmKey, ctx: Context) -> Progress:
    """See whether the key that the VM tells is the one that is kept."""
    with at(ctx, action.site, f"VM {action.host} could not be looked at") as vcenter:
        vm = require_vm(vcenter, action.host)
        seen = read_one(vcenter, vm.ref, (HOST_KEY_PATH,))
        public = _key_of(seen.get(HOST_KEY_PATH)) if seen else ""
        names = {name for name in (action.host, vm.address) if name}
        if public and public in known_hosts.pinned(ctx.environment.known_hosts(ctx.state), names):
            return Progress(state="done", outcome=_kept(vcenter, action.host, vm.address, public, ctx))
        return Progress(state="not_done", why="its key is not in known_hosts")


def _told_key(vcenter: Vcenter, vm: Vm, timeout_s: float) -> str:
    found = watch(vcenter).until(
        vm.ref,
        (HOST_KEY_PATH,),
        lambda seen: _key_of(seen.get(HOST_KEY_PATH)) or None,
        timeout_s=timeout_s,
    )
    if found is None:
        raise AdapterError(
            f"VM {vm.seen.get('name')} at {vcenter.provider.address} told no host key in its guestinfo "
            f"within {timeout_s:.0f} s; nothing was changed",
            transient=True,
            hint="see at its console whether cloud-init has ended and open-vm-tools are there",
        )
    return found


def _key_of(value: Any) -> str:
    """Give the key that a setting holds: type and base64; nothing when it is none."""
    words = str(getattr(value, "value", value) or "").split()[:2]
    plausible = len(words) == 2 and words[0].startswith(("ssh-", "ecdsa-")) and words[1].startswith("AAAA")
    return " ".join(words) if plausible else ""


def _kept(vcenter: Vcenter, host: str, address: str, public: str, ctx: Context) -> Outcome:
    names = [name for name in (host, address) if name]
    changed = known_hosts.pin(ctx.environment.known_hosts(ctx.state), names, public)
    evidence = HostKeyLearned(
        host=host,
        address=address,
        channel="guestinfo",
        fingerprint=known_hosts.fingerprint(public),
        source=vcenter.source,
    )
    summary = f"host key {evidence.fingerprint} of {host} {'learned' if changed else 'is known'}"
    return Outcome(changed=changed, summary=summary, evidence=evidence)
