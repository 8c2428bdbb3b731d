"""Commands that make, change, configure and retire the servers of an environment."""

from invoke import Context

from automation.commands._command import ENV_HELP, JSON_HELP, ROOT, command, print_json, progress
from automation.model.errors import EXIT_PARTIAL

AUTHORISATION_HELP = "For a job with nobody watching: the standing authorisation it runs under."


LIMIT_HELP = "Only these servers or groups, with commas between."
RESTART_HELP = "Servers that may be stopped for a change that needs it, with commas between."
REPLACE_HELP = "Servers that are deleted and made anew, with commas between; a person says yes to each."


@command(
    name="plan",
    help={
        "env": ENV_HELP,
        "limit": LIMIT_HELP,
        "restart": RESTART_HELP,
        "replace": REPLACE_HELP,
        "json": JSON_HELP,
    },
)
def plan_(
    context: Context, env: str, limit: str = "", restart: str = "", replace: str = "", json: bool = False
) -> int:
    """Show what would become of every server and network, and why; changes nothing.

    Exit codes: 0 shown, 2 faulty files, 3 shown, but a provider could not be looked at, 4 shown, but it could
    not be carried out: a quota, an image, an address, a permission or a clock stands against it.
    """
    from automation.commands._render_servers import print_wanted
    from automation.commands._servers import ProvisionFlags, plan_provisioning, refuse_obstacles, tell_left
    from automation.commands._session import open_session

    with open_session(env) as session:
        wanted = plan_provisioning(session, ProvisionFlags(limit, restart, replace))
        if json:
            print_json(wanted)
        else:
            print_wanted(wanted)
        tell_left(wanted)
        refuse_obstacles(wanted)
        return EXIT_PARTIAL if wanted.unseen else 0


@command(
    help={
        "env": ENV_HELP,
        "limit": LIMIT_HELP,
        "restart": RESTART_HELP,
        "replace": REPLACE_HELP,
        "json": "Print the plan that was run as JSON on stdout.",
        "authorisation": AUTHORISATION_HELP,
    },
    leaves="servers made so far; run it again to go on",
)
def apply(
    context: Context,
    env: str,
    limit: str = "",
    restart: str = "",
    replace: str = "",
    json: bool = False,
    authorisation: str = "",
) -> int:
    """Make every server and network what is declared, as far as that loses nothing.

    What needs a restart or a new server is left alone unless you name it. What others made is never touched.
    With nobody at a terminal, and outside a lab, it needs a standing authorisation: run.authorise.

    Exit codes: 0 all run, 2 faulty files, 3 done, but some were left alone, 4 refused,
    5 stopped part-way, 7 another run holds a host or the lab.
    """
    from automation.commands._authorisations import JobFlags
    from automation.commands._servers import ProvisionFlags, bring_up
    from automation.commands._session import open_session
    from automation.commands.lab import hold_lab

    flags = ProvisionFlags(limit, restart, replace)
    with open_session(env) as session, hold_lab(session.state, "provision.apply"):
        return bring_up(session, json=json, job=JobFlags("provision.apply", authorisation), flags=flags)


@command(
    help={"env": ENV_HELP, "all": "Also what is not ours.", "json": JSON_HELP},
)
def show(context: Context, env: str, all: bool = False, json: bool = False) -> int:
    """Show the servers that are at AWS, vSphere and in the lab now; changes nothing.

    Also what is kept of servers that went: at AWS snapshots, with the day that each is kept until; at vSphere
    disks that were moved aside, as far as journals of runs tell of them.

    Exit codes: 0 shown, 2 faulty files, 3 shown, but a provider could not be looked at.
    """
    from automation.commands._provision_views import list_servers, look, with_kept
    from automation.commands._render_servers import print_servers
    from automation.commands._session import open_session

    with open_session(env) as session:
        around = look(session)
        shown = with_kept(session, around, list_servers(around, every=all))
        if json:
            print_json(shown)
        else:
            print_servers(shown)
        return EXIT_PARTIAL if shown.unseen else 0


@command(help={"env": ENV_HELP, "json": JSON_HELP})
def drift(context: Context, env: str, json: bool = False) -> int:
    """Show what at AWS, vSphere and in the lab is not as declared; changes nothing.

    Exit codes: 0 all as declared, 2 faulty files, 3 so far as could be seen, 6 something is not as declared.
    """
    from automation.commands._provision_views import find_drift, look, refuse_drift
    from automation.commands._render_servers import print_drift
    from automation.commands._session import open_session

    with open_session(env) as session:
        shown = find_drift(look(session))
        if json:
            print_json(shown)
        else:
            print_drift(shown)
        return refuse_drift(shown)


@command(
    help={
        "env": ENV_HELP,
        "host": "The server of the inventory that it is to be.",
        "id": "The provider's id of what is there: i-0abc, vm-42.",
    },
    leaves="the server marked or not; run it again",
)
def adopt(context: Context, env: str, host: str, id: str) -> None:
    """Take over a server that bears nobody's mark: mark it as ours, and change nothing else.

    Of AWS and vSphere: a lab has no server that it did not make itself.

    Exit codes: 0 done, 2 faulty files, 4 refused: it is somebody's, or not there, or a lab's; 5 it could not
    be marked, 7 another run holds the host.
    """
    from automation.commands._adopting import adopt as take_over
    from automation.commands._provision_views import look
    from automation.commands._session import open_session

    with open_session(env) as session:
        differences = take_over(session, look(session), host, id)
        print(f"{host}: {id} is ours now")
        for line in differences:
            print(f"{host}: {line}")


@command(
    help={
        "env": ENV_HELP,
        "host": "The server.",
        "network": "A network that nothing is in and networks.yml does not declare.",
        "grace": "Days between the stop and the deletion.",
        "unsaved": "It keeps nothing: retire it though nothing of it is saved.",
        "back": "Start it again, and retire it no more.",
        "kept": "Delete what is kept of it, not the server that bears its name again.",
    },
    leaves="the server stopped, its snapshots taken, or some deleted; run it again to go on",
)
def retire(
    context: Context,
    env: str,
    host: str = "",
    network: str = "",
    grace: int = 14,
    unsaved: bool = False,
    back: bool = False,
    kept: bool = False,
) -> None:
    """Stop a server; called again after the days of grace, delete it and keep what its disks hold.

    At AWS snapshots of its disks are kept; of a VM the disks themselves, moved aside in their datastore, so
    it is refused while it has snapshots; of a server of the lab its disk, until lab.down.

    Refused while a service of services.yml stands on it, or while its last backup is unproven. A person says
    yes to the deletion.

    Called once more when the server is gone and keep_disks of environment.yml is over (90 d), it asks again
    and deletes the snapshots that were kept at AWS. What is kept of a VM a person removes.

    Exit codes: 0 done, 2 faulty files, 4 refused, 5 stopped part-way or the question was not answered,
    7 another run holds the host.
    """
    from automation.commands._provision_views import look
    from automation.commands._retiring import RetireFlags
    from automation.commands._retiring import retire as take_out
    from automation.commands._session import open_session

    with open_session(env) as session:
        take_out(session, look(session), RetireFlags(host, network, grace, unsaved, back, kept))


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


@command(
    help={
        "env": ENV_HELP,
        "provider": "A provider of environment.yml, by its name there.",
        "area": "Only for these: provisioning, backups, baselines, recovery; with commas between.",
    }
)
def permissions(context: Context, env: str, provider: str, area: str = "") -> None:
    """Print what a login must be allowed at a provider: an IAM policy, or vSphere roles; changes nothing.

    Made from the actions that plans may take there. Exit codes: 0 printed, 2 faulty files or flags.
    """
    from automation.commands._permissions import AREAS, is_too_long, permissions_of
    from automation.model.environment import load_environment

    printed = permissions_of(load_environment(ROOT, env), provider, area)
    print(printed)
    if "Statement" in printed and is_too_long(printed):
        progress(f"this is longer than AWS lets a policy be; print one for each area: {', '.join(AREAS)}")
