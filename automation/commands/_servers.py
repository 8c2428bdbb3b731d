"""Bringing servers up and configuring them: shared by lab, provision and demo."""

import sys
from collections.abc import Iterable
from functools import partial

from automation.commands._authorisations import JobFlags, look_again, unattended
from automation.commands._command import print_json, progress
from automation.commands._onlooker import Story
from automation.commands._session import Session
from automation.engine.journal import read_journal
from automation.model.actions import BuildImage, CreateServer, RunPlaybook, StartServer
from automation.model.errors import EXIT_PARTIAL, PreflightError
from automation.model.evidence import PlaybookRun
from automation.model.plan import Plan, Step
from automation.model.records import Event, StepEnded
from automation.model.secrets import SecretRef
from automation.provisioning.planner import (
    Provisioning,
    needed_certificates,
    needed_keys,
    needed_logins,
    needed_secrets,
    plan_servers,
)

CONVERGE_TIMEOUT_S = 1800


def plan_provisioning(session: Session) -> Provisioning:
    """Look at what is there and plan what is missing; changes nothing."""
    from automation.adapters import keys, nspawn

    names = needed_keys(session.environment)
    missing = keys.missing(session.state, names, tuple(needed_certificates(session.environment)))
    images = {server.image for server in session.inventory.servers.values()}
    seen = nspawn.observe(session.state, session.images, session.environment, images, missing)
    return plan_servers(session.environment, session.inventory, seen)


def bring_up(
    session: Session, *, json: bool = False, job: JobFlags | None = None, story: Story | None = None
) -> int:
    """Make every declared server run; give the exit code.

    Args:
        job: how the command was asked for, where it may run with nobody watching.
    """
    require_machine(session)
    wanted = plan_provisioning(session)
    for server, reason in wanted.left_alone.items():
        print(f"left alone: {server} ({reason})", file=sys.stderr)
    count = len(session.inventory.standing)
    if not wanted.plan.steps:
        progress(
            f"{session.environment.name}: all other servers run; nothing changed"
            if wanted.left_alone
            else f"{session.environment.name}: all {count} servers run; nothing changed"
        )
    else:
        granted = unattended(session, wanted.plan, job, _amounts(wanted.plan)) if job else None
        look = partial(look_again, session, wanted.plan, granted)
        session.run(wanted.plan, look=look, granted=granted, story=story).raise_for_status()
        session.say(f"{session.environment.name}: {count - len(wanted.left_alone)} of {count} servers run")
    if json:
        print_json(wanted.plan)
    return EXIT_PARTIAL if wanted.left_alone else 0


def _amounts(plan: Plan) -> dict[str, float]:
    """How much a plan of servers would do, in the words that a standing authorisation limits."""
    return {
        "created": sum(isinstance(step.run, CreateServer) for step in plan.steps),
        "started": sum(isinstance(step.run, StartServer) for step in plan.steps),
    }


def build_images(session: Session) -> None:
    """Build the images that the servers need and the state folder lacks."""
    require_machine(session)
    plan = plan_provisioning(session).plan
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
