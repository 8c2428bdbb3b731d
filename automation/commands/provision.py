"""Commands that create and configure the servers of an environment."""

import sys

from invoke import Context

from automation.commands._command import ENV_HELP, JSON_HELP, command, print_json

AUTHORISATION_HELP = "For a job with nobody watching: the standing authorisation it runs under."


@command(name="plan", help={"env": ENV_HELP, "json": JSON_HELP})
def plan_(context: Context, env: str, json: bool = False) -> None:
    """Show which servers would be created or started; changes nothing.

    Exit codes: 0 shown, 2 faulty files.
    """
    from automation.commands._render import print_plan
    from automation.commands._servers import plan_provisioning
    from automation.commands._session import open_session

    with open_session(env) as session:
        wanted = plan_provisioning(session)
        if json:
            print_json(wanted.plan)
        elif wanted.plan.steps:
            print_plan(wanted.plan)
        else:
            print(f"{env}: nothing to change")
        for server, reason in wanted.left_alone.items():
            print(f"left alone: {server} ({reason})", file=sys.stderr)


@command(
    help={
        "env": ENV_HELP,
        "json": "Print the plan that was run as JSON on stdout.",
        "authorisation": AUTHORISATION_HELP,
    },
    leaves="servers made so far; run it again to go on",
)
def apply(context: Context, env: str, json: bool = False, authorisation: str = "") -> int:
    """Create and start every declared server that does not run.

    With nobody at a terminal, and outside a lab, it needs a standing authorisation: run.authorise.

    Exit codes: 0 all run, 2 faulty files, 3 done, but fenced servers were left alone, 4 refused,
    5 stopped part-way, 7 another run holds a host or the lab.
    """
    from automation.commands._authorisations import JobFlags
    from automation.commands._servers import bring_up
    from automation.commands._session import open_session
    from automation.commands.lab import hold_lab

    with open_session(env) as session, hold_lab(session.state, "provision.apply"):
        return bring_up(session, json=json, job=JobFlags("provision.apply", authorisation))


@command(
    help={
        "env": ENV_HELP,
        "limit": "Only these hosts or groups, as an Ansible pattern.",
        "check": "Show what would change on the hosts; changes nothing.",
        "authorisation": AUTHORISATION_HELP,
    },
    leaves="the hosts configured so far; run it again to go on",
)
def converge(
    context: Context, env: str, limit: str = "", check: bool = False, authorisation: str = ""
) -> None:
    """Configure every server by playbooks/site.yml; a second run changes nothing.

    With nobody at a terminal, and outside a lab, it needs a standing authorisation: run.authorise.

    Exit codes: 0 done, 2 faulty files, 4 refused, 5 a host failed or was unreachable, 7 another run holds
    the environment or a host.
    """
    from automation.commands._authorisations import ALL, JobFlags
    from automation.commands._servers import converge_servers
    from automation.commands._session import open_session

    with open_session(env) as session:
        job = JobFlags("provision.converge", authorisation, limit or ALL)
        converge_servers(session, limit=limit or None, check=check, job=job)
