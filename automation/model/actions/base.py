"""What every action has."""

from typing import ClassVar, Literal

from automation.model.base import Model

Effect = Literal["read", "change", "destroy", "fault"]


class BaseAction(Model):
    """An address, its parameters, and how far it reaches."""

    effect: ClassVar[Effect]
    irreversible: ClassVar[bool] = False
    # Must hold at the moment of the irreversible step that needs it: a resumed run does it again before that.
    holds: ClassVar[bool] = False
    # Must hold when the step that needs it starts: done again right before that by a resumed run, and after a
    # person's answer that the step has waited for.
    guards: ClassVar[bool] = False
    # Whether a run locks the host that it changes. What only saves from a host changes nothing that others
    # mind: a backup that hangs on a lost site must not hold a failover back.
    locks: ClassVar[bool] = True
