"""Custom attributes of ours: how what has no settings of its own is marked, port groups and folders."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from automation.adapters.vsphere.reading import Seen, read_one
from automation.adapters.vsphere.sessions import Vcenter
from automation.adapters.vsphere.settling import settle
from automation.model.servers import OWNER, ROLE, RUN

MAKING = "mainstay:making"  # at our folder: the network that is being made
_SETTLES_S = 120.0


def marks_of(entity: Seen, fields: Mapping[str, int]) -> dict[str, str]:
    """Give the custom attributes of ours that are set on an entity."""
    names = {key: name for name, key in fields.items()}
    values = entity.get("customValue") or ()
    return {names[one.key]: one.value for one in values if one.key in names and one.value}


def fields_of(vcenter: Vcenter) -> dict[str, int]:
    """Give the custom attributes of ours that the vCenter knows: name to key."""
    manager = vcenter.read(lambda content: content.customFieldsManager)
    seen = read_one(vcenter, manager, ("field",))
    known = (seen.get("field") if seen else None) or ()
    return {one.name: one.key for one in known if one.name in (OWNER, ROLE, RUN, MAKING)}


def _define(vcenter: Vcenter, name: str) -> None:
    settle(
        vcenter,
        f"custom attribute {name} could not be defined",
        lambda: True if name in fields_of(vcenter) else None,
        lambda: vcenter.change(
            lambda content: content.customFieldsManager.AddCustomFieldDef(name, None, None, None)
        ),
        timeout_s=_SETTLES_S,
    )


def _set(content: Any, *, entity: Any, key: int, value: str) -> None:
    content.customFieldsManager.SetField(entity, key, value)


def write_marks(vcenter: Vcenter, entity: Any, values: Mapping[str, str]) -> None:
    """Set custom attributes of an entity; what is not defined yet is."""
    for name in values.keys() - fields_of(vcenter).keys():
        _define(vcenter, name)
    fields = fields_of(vcenter)

    def missing() -> dict[str, str]:
        seen = read_one(vcenter, entity, ("customValue",))
        known = {} if seen is None else marks_of(seen, fields)
        return {name: value for name, value in values.items() if known.get(name, "") != value}

    def act() -> None:
        for name, value in missing().items():
            vcenter.change(partial(_set, entity=entity, key=fields[name], value=value))

    settle(
        vcenter,
        "a network could not be marked",
        lambda: None if missing() else True,
        act,
        timeout_s=_SETTLES_S,
    )
