"""The folder of ours for VMs."""

from typing import Any

from automation.adapters.vsphere.places import our_folder, places_of
from automation.adapters.vsphere.sessions import Vcenter
from automation.adapters.vsphere.settling import settle


def make_folder(vcenter: Vcenter) -> Any:
    """Give the folder of ours for VMs; make it when it is missing."""
    known = our_folder(vcenter, places_of(vcenter))
    if known is not None:
        return known
    name = vcenter.provider.folder
    return settle(
        vcenter,
        f"folder {name} could not be made",
        lambda: our_folder(vcenter, places_of(vcenter, fresh=True)),
        lambda: vcenter.change(lambda _content: places_of(vcenter).vm_folder.CreateFolder(name)),
        timeout_s=60.0,
    )
