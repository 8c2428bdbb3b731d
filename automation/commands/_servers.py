"""Bringing servers up and configuring them: shared by lab, provision and demo."""

import sys
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

from automation.commands._authorisations import JobFlags, look_again, unattended
from automation.commands._command import print_json, progress
from automation.commands._onlooker import Story
from automation.commands._providers import look_around
from automation.commands._session import Session
from automation.engine.journal import read_journal
from automation.model.actions import (
    BuildImage,
    CreateInstance,
    CreateServer,
    CreateVm,
    PowerOnVm,
    RunPlaybook,
    StartInstance,
    StartServer,
    StartSimulator,
)
from automation.model.environment import Inventory
from automation.model.errors import EXIT_PARTIAL, ConfigError, PreflightError
from automation.model.evidence import PlaybookRun
from automation.model.observations import ObservedLab
from automation.model.plan import Plan, Step
from automation.model.records import Event, StepEnded
from automation.model.secrets import SecretRef
from automation.provisioning.compiling import Allowed
from automation.provisioning.composing import Wanted, compose
from automation.provisioning.decisions import Decision
from automation.provisioning.planner import (
    needed_certificates,
    needed_keys,
    needed_logins,
    needed_secrets,
    only_of,
    plan_servers,
)

CONVERGE_TIMEOUT_S = 1800
# Decisions on servers of which none runs afterwards, unless the plan has a step for it.
IDLE = ("create", "start", "adopt", "foreign", "retiring", "fenced", "unseen")


class ProvisionFlags(NamedTuple):
    """Which servers a plan is for, and what a person lets be done to them; names with commas between."""

    limit: str = ""
    restart: str = ""
    replace: str = ""


EVERYTHING = ProvisionFlags()


def plan_provisioning(session: Session, flags: ProvisionFlags = EVERYTHING) -> Wanted:
    """Look at what is there and plan what is missing; changes nothing.

    Raises:
        ConfigError: a file or a flag has faults.
    """
    environment = session.environment
    lab = look_at_lab(session) if environment.lab else None
    around = look_around(session, lab)
    only = _limited(session.inventory, flags.limit) if flags.limit else None
    retiring = {name: leave.since for name, leave in around.past.leaves.items()}
    allowed = Allowed(_named(session, flags.restart), _named(session, flags.replace), only)
    hosts = plan_servers(environment, session.inventory, lab, retiring, allowed) if lab else None
    if hosts is not None and only is not None:
        hosts = only_of(hosts, only)
    return compose(environment, around.declared, hosts, around.seen, allowed)


def look_at_lab(session: Session) -> ObservedLab:
    """See which hosts, images, keys and simulators of the lab are there."""
    from automation.adapters import keys, nspawn

    names = needed_keys(session.environment)
    missing = keys.missing(session.state, names, tuple(needed_certificates(session.environment)))
    images = {one.image for one in session.inventory.servers.values() if one.provider == "nspawn"}
    return nspawn.observe(session.state, session.images, session.environment, images, missing)


def _limited(inventory: Inventory, words: str) -> frozenset[str]:
    """Give the servers that names and groups stand for; any other word is refused."""
    found: set[str] = set()
    for word in filter(None, words.replace(" ", "").split(",")):
        if word not in inventory.servers and word not in inventory.groups:
            raise ConfigError(f"--limit {word} is no server or group of the inventory; nothing was touched")
        found |= set(inventory.groups.get(word, ())) | ({word} & inventory.servers.keys())
    return frozenset(found)


def _named(session: Session, words: str) -> frozenset[str]:
    names = frozenset(filter(None, words.replace(" ", "").split(",")))
    for name in sorted(names):
        session.inventory.server(name)
    return names


def bring_up(
    session: Session,
    *,
    json: bool = False,
    job: JobFlags | None = None,
    story: Story | None = None,
    flags: ProvisionFlags = EVERYTHING,
) -> int:
    """Make every declared server run; give the exit code.

    Args:
        job: how the command was asked for, where it may run with nobody watching.

    Raises:
        PreflightError: something stands against the plan; nothing was changed.
    """
    if session.environment.lab is not None:
        require_machine(session)
    wanted = first = plan_provisioning(session, flags)
    _bring_up(session, first, job, story)
    if any(isinstance(step.run, StartSimulator) for step in first.plan.steps):
        # What was there before its simulator ended is seen only now.
        wanted = plan_provisioning(session, flags)
        if wanted.plan.steps:
            _bring_up(session, wanted, job, story)
    if not any(one.plan.steps for one in (first, wanted)):
        whole = not (wanted.left_alone or wanted.unseen or wanted.waiting)
        rest = f"all {_count(session)} servers run" if whole else "all other servers run"
        progress(f"{session.environment.name}: {rest}; nothing changed")
    if json:
        print_json(first.plan)
    return EXIT_PARTIAL if wanted.left_alone or wanted.unseen or wanted.waiting else 0


def _bring_up(session: Session, wanted: Wanted, job: JobFlags | None, story: Story | None) -> None:
    tell_left(wanted)
    refuse_obstacles(wanted)
    if not wanted.plan.steps:
        return
    granted = unattended(session, wanted.plan, job, _amounts(wanted.plan)) if job else None
    look = partial(look_again, session, wanted.plan, granted)
    session.run(wanted.plan, look=look, granted=granted, story=story).raise_for_status()
    acted_on = {getattr(step.run, "host", "") for step in wanted.plan.steps}
    idle = {one.name for one in wanted.decisions if one.what == "server" and one.verdict in IDLE} - acted_on
    left = len(idle & session.inventory.standing.keys()) + len(wanted.left_alone)
    session.say(f"{session.environment.name}: {_count(session) - left} of {_count(session)} servers run")
    new = [
        step.run.spec.name for step in wanted.plan.steps if isinstance(step.run, CreateInstance | CreateVm)
    ]
    if new and session.environment.lab is None:
        name = session.environment.name
        session.say(
            f"new servers are configured by: ./inv provision.converge --env {name} --limit {','.join(new)}"
        )


def _count(session: Session) -> int:
    return len(session.inventory.standing)


def tell_left(wanted: Wanted) -> None:
    """Say on stderr what is left alone or waits for a person, and what nobody saves."""
    for server, reason in wanted.left_alone.items():
        print(f"left alone: {server} ({reason})", file=sys.stderr)
    for provider, reason in wanted.unseen.items():
        print(f"not looked at: {provider}: {reason}", file=sys.stderr)
    for one in wanted.waiting:
        print(
            f"left alone: {one.name} ({one.verdict}: {one.why}); hint: {way_on(wanted, one)}", file=sys.stderr
        )
    for warning in wanted.warnings:
        print(f"warning: {warning}", file=sys.stderr)


def way_on(wanted: Wanted, one: Decision) -> str:
    """Say what a person can do about a decision that waits."""
    apply = f"./inv provision.apply --env {wanted.environment}"
    ways = {
        "restart": f"{apply} --restart {one.name}",
        "replace": f"{apply} --replace {one.name}" if one.what == "server" else "declare another network",
        "adopt": f"./inv provision.adopt --env {wanted.environment} --host {one.name} --id {one.id}",
    }
    return ways.get(one.verdict, "give ours another name in the inventory")


def refuse_obstacles(wanted: Wanted) -> None:
    """See that nothing stands against a plan.

    Raises:
        PreflightError: names everything that does; nothing was changed.
    """
    if wanted.obstacles:
        told = "\n".join(f"  {finding}" for finding in wanted.obstacles)
        hints = dict.fromkeys(finding.hint for finding in wanted.obstacles if finding.hint)
        raise PreflightError(
            f"the plan cannot be carried out; nothing was changed\n{told}", hint="; ".join(hints) or None
        )


def _amounts(plan: Plan) -> dict[str, float]:
    """How much a plan of servers would do, in the words that a standing authorisation limits."""
    created = (CreateServer, CreateInstance, CreateVm)
    started = (StartServer, StartInstance, PowerOnVm)
    return {
        "created": sum(isinstance(step.run, created) for step in plan.steps),
        "started": sum(isinstance(step.run, started) for step in plan.steps),
    }


def build_images(session: Session) -> None:
    """Build the images that the servers need and the state folder lacks."""
    require_machine(session)
    plan = plan_servers(session.environment, session.inventory, look_at_lab(session)).plan
    steps = tuple(step for step in plan.steps if isinstance(step.run, BuildImage))
    if steps:
        session.run(
            Plan(name="images", environment=plan.environment, mode="apply", steps=steps)
        ).raise_for_status()


def require_machine(session: Session) -> None:
    """See that this machine can hold the servers; installs programs that it lacks.

    Raises:
        PreflightError: it cannot.
    """
    from automation.adapters import nspawn

    nspawn.preflight(session.state, session.environment, progress, servers=len(session.inventory.standing))


def refuse_running_lab(session: Session) -> None:
    """See that no lab of this environment is there: what comes next would break it, and remove it.

    Raises:
        PreflightError: one is.
    """
    from automation.adapters import nspawn

    seen = nspawn.describe(session.state, session.environment)
    if seen.running or seen.servers:
        name = session.environment.name
        raise PreflightError(
            f"a lab {name} is there already; nothing was changed",
            hint=f"./inv lab.down --env {name} removes it",
        )


def plan_converge(
    session: Session, *, limit: str | None, check: bool, variables: dict[str, str | int | bool]
) -> Plan:
    """Plan one run of playbooks/site.yml over the environment's servers."""
    names = (*needed_secrets(session.environment), *needed_logins(session.environment))
    action = RunPlaybook(
        playbook="playbooks/site.yml",
        limit=limit,
        check=check,
        variables=variables,
        secrets={name: SecretRef(file=f"secrets/{name}") for name in names},
    )
    step = Step(
        id="converge", run=action, why="the roles say what each server is for", timeout_s=CONVERGE_TIMEOUT_S
    )
    return Plan(name="converge", environment=session.environment.name, mode="apply", steps=(step,))


def converge_servers(
    session: Session,
    *,
    limit: str | None = None,
    check: bool = False,
    variables: dict[str, str | int | bool] | None = None,
    job: JobFlags | None = None,
    story: Story | None = None,
) -> bool:
    """Configure the servers; tell whether anything changed."""
    plan = plan_converge(session, limit=limit, check=check, variables=variables or {})
    amounts = {"hosts": float(len(session.inventory.covered(limit)))}
    granted = unattended(session, plan, job, amounts) if job and not check else None
    look = partial(look_again, session, plan, granted)
    finished = session.run(plan, look=look, granted=granted, story=story)
    finished.raise_for_status()
    events = read_journal(finished.folder / "journal.jsonl")
    session.say(f"{session.environment.name}: {converged_in_words(events, check=check)}")
    return bool(finished.changed)


def converged_in_words(events: Iterable[Event], *, check: bool) -> str:
    """Say what a run of playbooks changed, or would have."""
    ended = (event.body.outcome for event in events if isinstance(event.body, StepEnded))
    evidence = [outcome.evidence for outcome in ended if outcome is not None]
    done = any(sum(one.changed.values()) for one in evidence if isinstance(one, PlaybookRun))
    if check:
        return f"checked; converge would change {'something' if done else 'nothing'}; nothing changed"
    return f"converged; {'changed' if done else 'nothing changed'}"
