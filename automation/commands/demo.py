"""The whole story in one command: a city loses its data centre and comes back, measured."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from invoke import Context

from automation.commands._command import command, progress

if TYPE_CHECKING:
    from automation.commands._session import Session

ENVIRONMENT = "lab"
DRILL = "site-loss"


@command(
    help={
        "keep": "Leave the city running afterwards; ./inv lab.down --env lab removes it.",
        "json": "Print the report as JSON on stdout.",
    },
    leaves="perhaps parts of the lab; ./inv lab.down --env lab removes them",
)
def demo(context: Context, keep: bool = False, json: bool = False) -> None:
    """Build a small city on this machine, lose its data centre, recover, report, and remove it.

    Exit codes: 0 objectives met, 4 refused (not root, a lab is up already, or this machine lacks
    something), 5 stopped part-way, 6 objectives or checks not met, 7 another makes or removes the lab.
    """
    from automation.commands._servers import build_images, refuse_running_lab
    from automation.commands._session import open_session
    from automation.commands.lab import hold_lab, take_down

    took: dict[str, float] = {}
    with open_session(ENVIRONMENT) as session, hold_lab(session.state, "demo"):
        refuse_running_lab(session)
        progress("1 of 4: an operating system image for the hosts (built once, then kept)")
        with _timed(took, "image"):
            build_images(session)
        try:  # whatever lab is there from here on is this demo's own
            _tell_story(session, took, json=json)
        finally:
            if not keep:
                with _timed(took, "removal"):
                    take_down(ENVIRONMENT)
    outage = took.pop("outage")
    words = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in took.items())
    progress(f"took: {words}; {sum(took.values()):.1f} s in all; clients were out for {outage:.1f} s")


def _tell_story(session: "Session", took: dict[str, float], *, json: bool) -> None:
    from automation.commands._drill import run_drill
    from automation.commands._servers import bring_up, converge_servers

    progress("2 of 4: two sites and a client network, seven hosts with systemd and sshd")
    with _timed(took, "boot"):
        bring_up(session)
    progress("3 of 4: DNS, PostgreSQL with a standby at the other site, a payments service, by Ansible")
    with _timed(took, "converge"):
        converge_servers(session)
    progress("4 of 4: the primary site loses power while clients pay and read receipts")
    with _timed(took, "drill"):
        report = run_drill(session, DRILL, json=json)
    took["outage"] = max(row.outage.rta_s or 0.0 for row in report.services)


@contextmanager
def _timed(took: dict[str, float], name: str) -> Iterator[None]:
    began = time.monotonic()
    try:
        yield
    finally:
        took[name] = time.monotonic() - began
