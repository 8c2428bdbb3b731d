"""What a step did to a VM, for its journal; and the mark of it, read and changed."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from pyVmomi import vim

from automation.adapters.vsphere.marks import KEY, Mark, write_mark
from automation.adapters.vsphere.places import Vm, ids_of, read_vm
from automation.adapters.vsphere.sessions import Vcenter
from automation.adapters.vsphere.settling import run_task, settle
from automation.model.errors import AdapterError
from automation.model.machine_evidence import ProviderChange
from automation.model.records import Context, Outcome

TASK_S = 600.0
_MARGIN_S = 5.0  # of a step's time, left to tell how it ended


def within(ctx: Context) -> float:
    """How long a step may take, less the time to tell how it ended."""
    return max(_MARGIN_S, ctx.timeout_s - _MARGIN_S)


def changed_server(
    vcenter: Vcenter, vm: Vm, verb: str, *, changed: bool, ids: Mapping[str, str] | None = None
) -> Outcome:
    """Say what was done to a VM of ours; whatever it consists of stands in the evidence."""
    mark = mark_of(vm)
    evidence = ProviderChange.model_validate(
        {
            "provider": "vsphere",
            "site": vcenter.site,
            "what": "server",
            "name": mark.name,
            "verb": verb,
            "ids": {**ids_of(vm, mark.disks), **(ids or {})},
            "address": vm.address,
            "source": vcenter.source,
        }
    )
    at_address = f", {vm.address}" if vm.address else ""
    return Outcome(
        changed=changed, summary=f"VM {mark.name} ({vm.moid}{at_address}) {verb}", evidence=evidence
    )


def mark_of(vm: Vm) -> Mark:
    """Give the mark of a VM that must bear one."""
    if vm.mark is None:
        raise AdapterError(f"VM {vm.moid} bears no mark of ours; nothing was changed")
    return vm.mark


def remark(
    vcenter: Vcenter,
    vm: Vm,
    changes: Mapping[str, object],
    *,
    spec: Callable[[Vm], Any | None] = lambda _vm: None,
    settings: Mapping[str, str] = MappingProxyType({}),
    timeout_s: float = TASK_S,
) -> Vm:
    """Change what stands in a VM's mark and, in the same call, what `spec` still finds to change.

    Args:
        spec: gives the other changes that a VM as it is now needs; None when it needs none.
        settings: advanced settings that are written with the mark.
    """
    wanted = mark_of(vm).model_copy(update=dict(changes))

    def look() -> Vm | None:
        now = _still(vcenter, vm)
        return now if now.mark == wanted and spec(now) is None else None

    def act() -> None:
        now = _still(vcenter, vm)
        config = spec(now) or vim.vm.ConfigSpec()
        more = (vim.option.OptionValue(key=key, value=value) for key, value in settings.items())
        config.extraConfig = [*more, marked(wanted)]
        config.changeVersion = now.seen.get("config.changeVersion")
        run_task(vcenter, "reconfigure", lambda _content: vm.ref.ReconfigVM_Task(config), timeout_s=timeout_s)

    what = f"VM {wanted.name} could not be reconfigured"
    return settle(vcenter, what, look, act, busy=vm.ref, timeout_s=timeout_s)


def marked(mark: Mark) -> Any:
    """Give a mark as the advanced setting that a call sets."""
    return vim.option.OptionValue(key=KEY, value=write_mark(mark))


def _still(vcenter: Vcenter, vm: Vm) -> Vm:
    now = read_vm(vcenter, vm.ref)
    if now is None:
        raise AdapterError(f"VM {vm.moid} at {vcenter.provider.address} is gone; nothing was changed")
    return now
