"""Power of VMs: on with tools and address awaited, off by tools or by cutting, fenced for good."""

import time
from typing import Any

from pyVmomi import vim

from automation.adapters.vsphere.absent import unseen
from automation.adapters.vsphere.outcomes import changed_server, mark_of, remark, within
from automation.adapters.vsphere.places import Vm, find_vm, places_of, read_vm, require_vm
from automation.adapters.vsphere.reading import Seen, read_one, watch
from automation.adapters.vsphere.sessions import Vcenter, at
from automation.adapters.vsphere.settling import run_task, settle
from automation.adapters.vsphere.stub import AnswerLost
from automation.model.actions import FenceVm, PowerOnVm, ShutDownVm
from automation.model.errors import AdapterError
from automation.model.evidence import ServerState
from automation.model.records import Context, Outcome, Progress

_TOOLS_RUN = "guestToolsRunning"
_GUEST = ("runtime.powerState", "guest.toolsRunningStatus", "guest.ipAddress")


def power_on_vm(action: PowerOnVm, ctx: Context) -> Outcome:
    """Power a VM of ours on, and wait for its tools and its address; one that is fenced is refused."""
    with at(ctx, action.site, f"VM {action.host} could not be powered on") as vcenter:
        vm = require_vm(vcenter, action.host)
        was_on = vm.on
        vm = start(vcenter, vm, timeout_s=within(ctx))
        return changed_server(vcenter, vm, "found" if was_on else "started", changed=not was_on)


def verify_power_on_vm(action: PowerOnVm, ctx: Context) -> Progress:
    """See whether it runs with its tools; one that is on serves perhaps, whatever they say."""
    with at(ctx, action.site, f"VM {action.host} could not be looked at") as vcenter:
        vm = require_vm(vcenter, action.host)
        if vm.on and not _answers(vm.seen):
            return Progress(state="in_progress", why=f"{vm.moid} is powered on, its tools are silent")
        if not vm.on:
            return Progress(state="not_done", why=f"{vm.moid} is {vm.seen.get('runtime.powerState')}")
        return Progress(state="done", outcome=changed_server(vcenter, vm, "started", changed=True))


def shut_down_vm(action: ShutDownVm, ctx: Context) -> Outcome:
    """Ask the guest to end by its tools; when it does not in time, cut the power."""
    with at(ctx, action.site, f"VM {action.host} could not be shut down") as vcenter:
        vm = require_vm(vcenter, action.host)
        was_on = vm.on
        if was_on:
            vm = stop(vcenter, vm, patience_s=action.patience_s, timeout_s=within(ctx))
        return changed_server(vcenter, vm, "stopped", changed=was_on)


def verify_shut_down_vm(action: ShutDownVm, ctx: Context) -> Progress:
    """See whether it is off."""
    with at(ctx, action.site, f"VM {action.host} could not be looked at") as vcenter:
        vm = require_vm(vcenter, action.host)
        if vm.on:
            return Progress(state="not_done", why=f"{vm.moid} is on")
        return Progress(state="done", outcome=changed_server(vcenter, vm, "stopped", changed=True))


# --- fences ---------------------------------------------------------------------------------------


def fence_vm(action: FenceVm, ctx: Context) -> Outcome:
    """Cut a VM's power, take it from its host's autostart and mark it as fenced; all is read back."""
    with at(ctx, action.site, f"VM {action.host} could not be fenced") as vcenter:
        if (gone := _gone(vcenter, action) or unseen(vcenter, action, ctx)) is not None:
            return gone
        vm = require_vm(vcenter, action.host)
        before = (vm.on, starts_by_itself(vcenter, vm), bool(mark_of(vm).fenced_by))
        cut_power(vcenter, vm, timeout_s=within(ctx))
        _keep_off(vcenter, vm, timeout_s=within(ctx))
        if not mark_of(vm).fenced_by:
            remark(vcenter, vm, {"fenced_by": ctx.run_id, "autostart": before[1]})
        state = fence_state(vcenter, action.host)
        if state.power != "off" or state.autostart:
            raise AdapterError(
                f"VM {action.host} at {vcenter.provider.address}: read back after its power was cut: power "
                f"{state.power}, autostart {'on' if state.autostart else 'off'}",
                unknown=True,
            )
        changed = before != (False, False, True)
        return Outcome(changed=changed, summary=f"VM {action.host} is off and stays off", evidence=state)


def verify_fence_vm(action: FenceVm, ctx: Context) -> Progress:
    """See whether it is off, starts not by itself, and is marked as fenced."""
    with at(ctx, action.site, f"VM {action.host} could not be looked at") as vcenter:
        if (gone := _gone(vcenter, action) or unseen(vcenter, action, ctx)) is not None:
            return Progress(state="done", outcome=gone)
        vm, state = require_vm(vcenter, action.host), fence_state(vcenter, action.host)
        if state.power != "off" or state.autostart or not mark_of(vm).fenced_by:
            return Progress(state="not_done", why=f"power {state.power}")
        summary = f"VM {action.host} is off and stays off"
        return Progress(state="done", outcome=Outcome(changed=True, summary=summary, evidence=state))


def _gone(vcenter: Vcenter, action: FenceVm) -> Outcome | None:
    """Give the outcome for a VM that may be gone, and is."""
    if not action.absent_is_off or find_vm(vcenter, action.host) is not None:
        return None
    state = ServerState(
        server=action.host, power="absent", autostart=False, network="connected", source=vcenter.source
    )
    return Outcome(changed=False, summary=f"VM {action.host} is not registered", evidence=state)


def fence_state(vcenter: Vcenter, host: str) -> ServerState:
    """Read power, autostart and adapters of a VM of ours."""
    vm = require_vm(vcenter, host)
    return ServerState(
        server=host,
        power="on" if vm.on else "off",
        autostart=starts_by_itself(vcenter, vm),
        network="blocked" if mark_of(vm).blocked_by else "connected",
        source=vcenter.source,
    )


# --- what they share ------------------------------------------------------------------------------


def start(vcenter: Vcenter, vm: Vm, *, timeout_s: float) -> Vm:
    """Power on, and wait until tools and address are there."""
    fenced_by, deadline = mark_of(vm).fenced_by, time.monotonic() + timeout_s
    if fenced_by:
        raise AdapterError(
            f"VM {mark_of(vm).name} at {vcenter.provider.address} was fenced by run {fenced_by}; nothing was "
            "changed",
            hint=f"only a failback releases it: ./inv dr.plan --env {vcenter.environment}",
        )
    settle(
        vcenter,
        f"VM {mark_of(vm).name} could not be powered on",
        lambda: _power(vcenter, vm.ref, on=True),
        lambda: run_task(
            vcenter, "power on", lambda _content: vm.ref.PowerOnVM_Task(None), timeout_s=timeout_s
        ),
        busy=vm.ref,
        timeout_s=timeout_s,
    )
    return _await_guest(vcenter, vm, timeout_s=max(0.0, deadline - time.monotonic()))


def _await_guest(vcenter: Vcenter, vm: Vm, *, timeout_s: float) -> Vm:
    seen = watch(vcenter).until(
        vm.ref, _GUEST, lambda seen: seen if _answers(seen) else None, timeout_s=timeout_s
    )
    after = read_vm(vcenter, vm.ref)
    if seen is None or after is None:
        tools = after.seen.get("guest.toolsRunningStatus", "not known") if after else "gone"
        raise AdapterError(
            f"VM {mark_of(vm).name} at {vcenter.provider.address} is powered on, but gave no address within "
            f"{timeout_s:.0f} s (its tools: {tools})",
            transient=True,
            evidence=fence_state(vcenter, mark_of(vm).name) if after is not None and after.on else None,
            hint="see at its console whether open-vm-tools run and its network gives addresses",
        )
    return after


def stop(vcenter: Vcenter, vm: Vm, *, patience_s: float, timeout_s: float) -> Vm:
    """Have the guest end by itself for a while, then cut the power."""
    if vm.seen.get("guest.toolsRunningStatus") == _TOOLS_RUN and patience_s > 0:
        try:
            vcenter.change(lambda _content: vm.ref.ShutdownGuest())
            watch(vcenter).until(
                vm.ref,
                ("runtime.powerState",),
                lambda seen: True if seen.get("runtime.powerState") == "poweredOff" else None,
                timeout_s=min(patience_s, timeout_s),
            )
        except (vim.fault.ToolsUnavailable, vim.fault.InvalidPowerState, AnswerLost):
            pass  # its power is looked at next, and cut
    cut_power(vcenter, vm, timeout_s=timeout_s)
    after = read_vm(vcenter, vm.ref)
    if after is None or after.on:
        raise AdapterError(f"VM {mark_of(vm).name} is on after its power was cut", unknown=True)
    return after


def cut_power(vcenter: Vcenter, vm: Vm, *, timeout_s: float) -> None:
    """Power a VM off, whatever its guest does."""
    settle(
        vcenter,
        f"VM {mark_of(vm).name} could not be powered off",
        lambda: _power(vcenter, vm.ref, on=False),
        lambda: run_task(
            vcenter, "power off", lambda _content: vm.ref.PowerOffVM_Task(), timeout_s=timeout_s
        ),
        busy=vm.ref,
        timeout_s=timeout_s,
    )


def _power(vcenter: Vcenter, ref: Any, *, on: bool) -> bool | None:
    seen = read_one(vcenter, ref, ("runtime.powerState",))
    is_on = seen is not None and seen.get("runtime.powerState") == "poweredOn"
    is_off = seen is not None and seen.get("runtime.powerState") == "poweredOff"
    return True if (is_on if on else is_off) else None


def _answers(seen: Seen) -> bool:
    return (
        seen.get("runtime.powerState") == "poweredOn"
        and seen.get("guest.toolsRunningStatus") == _TOOLS_RUN
        and bool(seen.get("guest.ipAddress"))
    )


# --- autostart ------------------------------------------------------------------------------------


def starts_by_itself(vcenter: Vcenter, vm: Vm) -> bool:
    """Whether any host of the datacenter starts a VM when it boots."""
    managers = _managers(vcenter)
    found = [read_one(vcenter, manager, ("config.powerInfo",)) for manager in managers]
    return any(
        info.key == vm.ref and str(info.startAction).lower() == "poweron"
        for seen in found
        if seen is not None
        for info in seen.get("config.powerInfo") or ()
    )


def start_by_itself(vcenter: Vcenter, vm: Vm, *, timeout_s: float) -> None:
    """Have its host start a VM when it boots."""
    host = places_of(vcenter).by_id(vm.seen.get("runtime.host")._moId)
    manager = host.get("configManager.autoStartManager") if host else None
    if manager is None:
        raise AdapterError(f"VM {mark_of(vm).name}: its host has no autostart; nothing was changed")
    settle(
        vcenter,
        f"VM {mark_of(vm).name} could not be given back to its host's autostart",
        lambda: True if starts_by_itself(vcenter, vm) else None,
        lambda: _tell_autostart(vcenter, manager, _autostart(vm, "powerOn")),
        timeout_s=timeout_s,
    )


def _keep_off(vcenter: Vcenter, vm: Vm, *, timeout_s: float) -> None:
    def act() -> None:
        for manager in _managers(vcenter):
            seen = read_one(vcenter, manager, ("config.powerInfo",))
            if seen and any(info.key == vm.ref for info in seen.get("config.powerInfo") or ()):
                _tell_autostart(vcenter, manager, _autostart(vm, "none"))

    settle(
        vcenter,
        f"VM {mark_of(vm).name} could not be taken from its host's autostart",
        lambda: None if starts_by_itself(vcenter, vm) else True,
        act,
        timeout_s=timeout_s,
    )


def _tell_autostart(vcenter: Vcenter, manager: Any, told: Any) -> None:
    vcenter.change(lambda _content: manager.ReconfigureAutostart(told))


def _autostart(vm: Vm, action: str) -> Any:
    """Tell a host what to do with a VM when it boots; -1 is its own order and delay."""
    told = vim.host.AutoStartManager.AutoPowerInfo(
        key=vm.ref,
        startOrder=-1,
        startDelay=-1,
        waitForHeartbeat="systemDefault",
        startAction=action,
        stopDelay=-1,
        stopAction="systemDefault",
    )
    return vim.host.AutoStartManager.Config(powerInfo=[told])


def _managers(vcenter: Vcenter) -> list[Any]:
    hosts = places_of(vcenter).of(vim.HostSystem)
    return [m for m in (host.get("configManager.autoStartManager") for host in hosts) if m is not None]
