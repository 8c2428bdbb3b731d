"""Which machines may change an environment."""

import socket

from automation.model.environment import Environment
from automation.model.errors import PreflightError


def require_control_node(environment: Environment, node: str | None = None) -> None:
    """See that this machine may change the environment; for a lab no list means any machine.

    Raises:
        PreflightError: it may not.
    """
    here = node or socket.gethostname()
    if here in environment.control_nodes or (environment.kind == "lab" and not environment.control_nodes):
        return
    allowed = ", ".join(environment.control_nodes) or "none yet"
    raise PreflightError(
        f"{here} is no control node of {environment.name} ({allowed}); nothing was changed",
        hint="environment.yml names them in control_nodes",
    )
