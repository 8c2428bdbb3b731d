"""Makes moto's answers quicker: it finds out anew, for each value that it tells, what never changes."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, ClassVar

import moto.core.responses
from moto.core.serialize import AttributePickerContext, XFormedAttributePicker
from moto.core.utils import method_names_from_class


class _Picker(XFormedAttributePicker):  # type: ignore[misc]  # moto has no types
    """Remembers under which names a kind of object may hold what an answer tells."""

    names: ClassVar[dict[tuple[Any, ...], tuple[str, ...]]] = {}

    def get_possible_keys(self, context: AttributePickerContext) -> Iterable[str]:
        kind = (type(context.obj), context.key, context.shape)
        if kind not in self.names:
            self.names[kind] = tuple(dict.fromkeys(super().get_possible_keys(context)))
        return self.names[kind]


def hasten() -> None:
    """Have moto look up names and calls once."""
    moto.core.responses.XFormedAttributePicker = _Picker
    moto.core.responses.method_names_from_class = lru_cache(method_names_from_class)
