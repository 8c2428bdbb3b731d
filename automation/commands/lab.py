"""Commands of the lab: a small city on one machine."""

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from invoke import Context

from automation.commands._command import ENV_HELP, JSON_HELP, ROOT, command, print_json, progress
from automation.model.errors import Busy, ConfigError

_FAULTS = "power-loss, wan-partition, dark-site or link-cut"


@command(
    help={"env": ENV_HELP, "json": "Print the plan that was run as JSON on stdout."},
    leaves="hosts made so far; lab.up goes on, lab.down removes them",
)
def up(context: Context, env: str, json: bool = False) -> int:
    """Build the image if needed and boot every host of the lab; the same as provision.apply.

    Exit codes: 0 all run, 2 faulty files, 3 fenced hosts were left alone, 4 refused (not root, or this
    machine lacks something), 5 stopped part-way, 7 another run holds a host or the lab.
    """
    from automation.commands._servers import bring_up
    from automation.commands._session import open_session

    with open_session(env) as session:
        session.environment.require_lab()
        with hold_lab(session.state, "lab.up"):
            return bring_up(session, json=json)


@command(
    help={"env": ENV_HELP, "force": "Remove it under a run that uses it, too; that run will fail."},
    leaves="what was not removed yet; run it again",
)
def down(context: Context, env: str, force: bool = False) -> None:
    """Remove every container, network, mount and process of the lab; images and evidence stay.

    Exit codes: 0 nothing of it is left, 1 something could not be removed, 2 faulty files, 7 a run uses the
    lab, and --force is not given.
    """
    with nullcontext() if force else _unused(env):
        take_down(env)


def hold_lab(state: Path, command: str) -> AbstractContextManager[None]:
    """Keep others from making or removing the lab of a state folder until the block ends.

    Raises:
        Busy: another process does either.
    """
    from automation.commands._session import actor
    from automation.engine.lock import hold

    holder, reason = f"{command} of {actor()}", "it makes or removes the lab"
    return hold(state / "locks", [f"lab:{state.name}"], holder=holder, reason=reason)


def _unused(env: str) -> AbstractContextManager[None]:
    """See that nobody uses a lab, and keep it so; the locks of whoever was killed are free."""
    from automation.engine.lock import list_holders
    from automation.model.environment import load_environment, state_root

    state = state_root() / load_environment(ROOT, env).name
    holders = list_holders(state / "locks")
    if holders:
        hint = f"wait for it, end it, or ./inv lab.down --env {env} --force"
        raise Busy(f"{'; '.join(holders)}; nothing was removed", hint=hint)
    return hold_lab(state, "lab.down") if (state / "locks").is_dir() else nullcontext()


def take_down(env: str) -> None:
    """Remove a lab, however it was left, whoever uses it; needs no inventory and no connection."""
    from automation.adapters import ansible, nspawn
    from automation.model.environment import load_environment, state_root

    environment = load_environment(ROOT, env)
    lab = environment.require_lab()
    ansible.end_abandoned()
    removed = nspawn.remove_lab(state_root() / env, lab.id)
    progress(f"{env}: removed {removed}" if removed else f"{env}: nothing was there")


@command(help={"env": ENV_HELP, "json": JSON_HELP})
def status(context: Context, env: str, json: bool = False) -> None:
    """Show the lab's hosts, networks, faults and fences; changes nothing.

    Exit codes: 0 shown, 2 faulty files.
    """
    from automation.adapters import nspawn
    from automation.commands._render import print_lab
    from automation.commands._session import open_session

    with open_session(env) as session:
        lab = nspawn.describe(session.state, session.environment)
        if json:
            print_json(lab)
        else:
            print_lab(lab, session.inventory)


@command(
    help={"env": ENV_HELP, "host": "The host to log in to.", "command": "Run this there instead of a shell."}
)
def ssh(context: Context, env: str, host: str, command: str = "") -> None:
    """Open a shell on a host of the lab as the automation user.

    Exit codes: those of ssh; 2 for an unknown host.
    """
    from automation.commands._session import open_session

    with open_session(env) as session:
        server = session.inventory.server(host)
        words = [
            "ssh",
            *("-i", str(session.environment.ssh_key(session.state))),
            *("-o", f"UserKnownHostsFile={session.environment.known_hosts(session.state)}"),
            *("-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=5"),
            f"{session.environment.automation_user}@{server.address}",
            *([command] if command else []),
        ]
    sys.stdout.flush()
    os.execvp("ssh", words)


_TARGETS = {
    "fault": f"What breaks: {_FAULTS}.",
    "site": "The site; not for link-cut.",
    "between": "link-cut: two sites, comma between.",
}


@command(name="break", help={"env": ENV_HELP, **_TARGETS}, leaves="the fault; lab.heal mends it")
def break_(context: Context, env: str, fault: str, site: str = "", between: str = "") -> None:
    """Put a fault into the lab: a site without power, cut off, or dark; or a link cut.

    power-loss: hosts and network of a site are gone. wan-partition: it is cut off, its hosts run on and its
    management answers. dark-site: its management is lost too. link-cut: the WAN between two sites.

    Exit codes: 0 done, 2 faulty words, 5 the fault could not be made.
    """
    from automation.model.actions import CutLink, DarkenSite, FailSite, PartitionSite

    sites = {"power-loss": FailSite, "wan-partition": PartitionSite, "dark-site": DarkenSite}
    if fault in sites:
        _break(env, sites[fault](site=_given(site, "--site")))
    elif fault == "link-cut":
        _break(env, CutLink(sites=_pair(between)))
    else:
        raise ConfigError(f"--fault {fault} is none; nothing was touched", hint=f"--fault is {_FAULTS}")


@command(help={"env": ENV_HELP, **_TARGETS}, leaves="what was mended so far; run it again")
def heal(context: Context, env: str, fault: str, site: str = "", between: str = "") -> int:
    """Take a fault back: power and network return, the site's name server learns what was moved meanwhile.

    Fenced hosts stay fenced. A name server that ran on in a site that was cut off is switched off first and
    started when the site is joined again: it takes newer addresses from the other sites before it answers.

    Exit codes: 0 done, 2 faulty words, 3 mended, but its name server could not be compared with the others,
    5 it could not be mended.
    """
    from automation.commands._healing import heal as mend
    from automation.commands._session import open_session

    if fault in ("power-loss", "wan-partition", "dark-site"):
        sites: tuple[str, ...] = (_given(site, "--site"),)
    elif fault == "link-cut":
        sites = _pair(between)
    else:
        raise ConfigError(f"--fault {fault} is none; nothing was touched", hint=f"--fault is {_FAULTS}")
    with open_session(env) as session:
        session.environment.require_lab()
        return mend(session, fault, sites)


def _break(env: str, action: object) -> None:
    from automation.commands._session import open_session
    from automation.model.plan import Plan, Step

    with open_session(env) as session:
        session.environment.require_lab()
        step = Step.model_validate({"id": "break", "run": action, "why": "asked for at the terminal"})
        plan = Plan(name="lab-break", environment=env, mode="apply", steps=(step,))
        session.run(plan).raise_for_status()


def _given(value: str, flag: str) -> str:
    if not value:
        raise ConfigError(f"{flag} is missing; nothing was touched")
    return value


def _pair(between: str) -> tuple[str, str]:
    words = tuple(word.strip() for word in between.split(","))
    if len(words) != 2 or not all(words):
        raise ConfigError("--between takes two sites; nothing was touched", hint="--between city-hall,eoc")
    return words[0], words[1]
