"""What a vCenter or region would have to hold off, and lets us: looked at for readiness; changes nothing."""

from collections.abc import Mapping

from automation.commands._session import Session
from automation.model.catalog import AwsPilotLight, Service, VmReplica
from automation.model.errors import AutomationError
from automation.recovery.readiness_fences import FencesSeen

_FENCES = {
    "vsphere": ("vsphere.fence_vm", "vsphere.block_vm"),
    "aws": ("aws.fence_instance", "aws.block_instance"),
}


def look_at_fences(session: Session, services: Mapping[str, Service]) -> dict[str, FencesSeen]:
    """See what each primary site of VMs and instances shows, and whether their power may be cut there."""
    ours = [one for one in services.values() if isinstance(one.strategy, VmReplica | AwsPilotLight)]
    kinds = {one.primary: "vsphere" if isinstance(one.strategy, VmReplica) else "aws" for one in ours}
    return {site: _look(session, site, kind) for site, kind in kinds.items()}


def _look(session: Session, site: str, kind: str) -> FencesSeen:
    from automation.adapters import aws, vsphere

    look = vsphere.look if kind == "vsphere" else aws.look
    try:
        view = look(session.environment, site, session.state, (), ())
    except AutomationError as exc:
        return FencesSeen(site=site, silent=str(exc))
    needed = _needed(kind)
    denied = {asked: words for asked, words in view.denied.items() if asked in needed}
    return FencesSeen(site=site, servers=view.servers, denied=denied, source=view.source)


def _needed(kind: str) -> set[str]:
    """Name the calls or privileges that fences need, as a provider's look names what is denied."""
    from automation.adapters.aws.permissions import actions_needing
    from automation.adapters.vsphere.permissions import privileges_for

    if kind == "vsphere":
        return set(privileges_for(_FENCES[kind]))
    fences = (address.removeprefix("aws.") for address in _FENCES[kind])
    calls = actions_needing(_FENCES[kind])
    return {call for fence in fences for call in calls[fence]}
