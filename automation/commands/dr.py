"""Commands of disaster recovery: declare, look, drill, fail over, and clear doubt."""

from pathlib import Path

from invoke import Context

from automation.commands._command import ENV_HELP, JSON_HELP, command, print_json
from automation.commands._reporting import finding as finding
from automation.commands._reporting import report as report
from automation.model.errors import EXIT_DONE, ConfigError, NotMet

_DRILL_HELP = "A drill: a file of drtests/drills/, without .yml."
_PLAN_HELP = "A recovery plan: a file of drtests/plans/, without .yml."
_SITE_HELP = "The site that is lost."
_SHOWN_MODES = ("failover", "planned-migration", "failback", "readiness", "walkthrough")


@command(
    help={
        "env": ENV_HELP,
        "site": "The site that is lost.",
        "reason": "What happened, in a sentence; it stands in every report.",
        "exercise": "Mark it an exercise.",
        "json": JSON_HELP,
    },
    leaves="no declaration, or a whole one",
)
def declare(
    context: Context, env: str, site: str, reason: str, exercise: bool = False, json: bool = False
) -> None:
    """Record that a site is lost, by whom and why; it starts nothing by itself.

    Exit codes: 0 recorded, 2 faulty words.
    """
    from automation.commands._drill import declare_site
    from automation.commands._session import open_session

    with open_session(env) as session:
        declaration = declare_site(session, site, reason, exercise=exercise)
        if json:
            print_json(declaration)
        else:
            kind = "exercise" if declaration.exercise else "disaster"
            at = declaration.declared_at.isoformat(timespec="seconds")
            print(f"{kind} declared by {declaration.declared_by} at {at}: {site} lost ({reason})")


@command(
    name="plan",
    help={
        "env": ENV_HELP,
        "drill": _DRILL_HELP,
        "plan": _PLAN_HELP + " Instead of --drill.",
        "site": _SITE_HELP,
        "mode": "With --plan: failover, readiness, or walkthrough: nothing is observed, to be read aloud.",
        "service": "Show the steps of this service alone.",
        "steps": "Show every step, however many services there are.",
        "json": JSON_HELP,
    },
)
def plan_(
    context: Context,
    env: str,
    drill: str = "",
    plan: str = "",
    site: str = "",
    mode: str = "failover",
    service: str = "",
    steps: bool = False,
    json: bool = False,
) -> None:
    """Show what a drill, a failover or a look would do, in waves of services; changes nothing.

    Beside each service's RTO stands what past runs say it would take: the median, and if all steps were slow.
    A walkthrough needs no host that answers: what would be observed is marked.
    Exit codes: 0 shown, 2 faulty files, 4 what must be observed or declared first is not, or the plan's
    limits or a freeze forbid it.
    """
    from automation.commands._plans import Chosen, Shown, show
    from automation.commands._readiness import prepare_readiness
    from automation.commands._render import print_plan
    from automation.commands._session import open_session

    if bool(drill) == bool(plan) or (plan and not site) or mode not in _SHOWN_MODES:
        raise ConfigError(
            f"--drill, or --plan with --site and --mode {', '.join(_SHOWN_MODES)}; nothing was touched"
        )
    with open_session(env) as session:
        if drill or mode != "readiness":
            show(session, Chosen(drill, plan, site, mode), Shown(json, steps, service))
            return
        look = prepare_readiness(session, plan, site)[1]
        if json:
            print_json(look)
        else:
            print_plan(look)


@command(help={"env": ENV_HELP, "site": _SITE_HELP, "plan": _PLAN_HELP, "json": JSON_HELP})
def readiness(context: Context, env: str, site: str, plan: str = "city", json: bool = False) -> None:
    """Look whether the failover of a site would work now; changes no server.

    Backups and images that services come back from must be proven as far and as lately as backups.yml says.
    Exit codes: 0 ready, 2 faulty files, 4 the ledger of backups cannot be read, 6 something is not ready:
    each finding says what to do.
    """
    from automation.commands._readiness import look, raise_unless_ready
    from automation.commands._render import print_readiness
    from automation.commands._session import open_session

    with open_session(env) as session:
        seen = look(session, plan, site)
        if json:
            print_json(seen)
        else:
            print_readiness(seen)
        raise_unless_ready(seen)


@command(
    help={
        "env": ENV_HELP,
        "site": _SITE_HELP,
        "plan": _PLAN_HELP,
        "accept_unfenced": "Go on although the old primary may still take writes; two people must sign.",
        "accept_lag": "Go on although the standby lacks more than the RPO allows; two people must sign.",
        "reason": "With --accept-unfenced: why; it stands in every record.",
        "json": "Print the report as JSON on stdout.",
    },
    leaves="a run that run.resume goes on with; dr.status says where every service is",
)
def failover(
    context: Context,
    env: str,
    site: str,
    plan: str = "city",
    accept_unfenced: bool = False,
    accept_lag: bool = False,
    reason: str = "",
    json: bool = False,
) -> int:
    """Move the services of a lost site to their other site: fence, prove, promote, move names.

    It needs a declaration by dr.declare, and the signatures that the plan asks for.
    Exit codes: 0 clients are served, 2 faulty files or flags, 3 done, but SPLIT_BRAIN_SUSPECTED,
    4 refused or not signed: nothing changed, 5 stopped, before or after promotion as it says,
    6 moved, but clients or checks say otherwise, 7 another run holds a service,
    8 it is not known whether a standby was promoted: a person must look, 130 stopped by a person.
    """
    from automation.commands._failover import Asked, run_failover
    from automation.commands._session import open_session

    with open_session(env) as session:
        asked = Asked(plan, site, accept_unfenced, accept_lag, reason)
        return run_failover(session, asked, json=json)


@command(help={"env": ENV_HELP, "json": JSON_HELP})
def status(context: Context, env: str, json: bool = False) -> None:
    """Show where every service is primary now, fences, declarations, doubts, last runs; changes nothing.

    Exit codes: 0 shown, 2 faulty files.
    """
    from automation.commands._render import print_standing
    from automation.commands._session import open_session
    from automation.commands._standing import look_around

    with open_session(env) as session:
        standing = look_around(session)
        if json:
            print_json(standing)
        else:
            print_standing(standing)


@command(
    help={
        "env": ENV_HELP,
        "service": "A service that is SPLIT_BRAIN_SUSPECTED.",
        "site": "The site whose database must take no write; the other one must serve.",
    },
    leaves="one fence of two; run it again",
)
def fence(context: Context, env: str, service: str, site: str) -> None:
    """Cut power and network of a suspected service's database at one site, for good.

    Exit codes: 0 fenced by both means, 2 faulty words, 4 it is not suspected, or the other one does not
    serve, 5 a means failed: it stays suspected, 7 another run holds the service.
    """
    from automation.commands._session import open_session
    from automation.commands._standing import fence as shut_out

    with open_session(env) as session:
        node = shut_out(session, service, site)
        print(f"{node.host}: {node.fence}")


@command(
    help={"env": ENV_HELP, "service": "The service that is suspected.", "reason": "What you saw and know."},
    leaves="the suspicion, or its end",
)
def clear(context: Context, env: str, service: str, reason: str) -> int:
    """End SPLIT_BRAIN_SUSPECTED of a service, after looking at both of its databases.

    Exit codes: 0 cleared, 2 faulty words, 4 a database cannot be looked at, or both can be written to:
    it stays suspected, 7 another run holds the service.
    """
    from automation.commands._session import open_session
    from automation.commands._standing import clear as end_suspicion

    with open_session(env) as session:
        cleared = end_suspicion(session, service, reason)
        print(f"{service}: cleared by {cleared.cleared_by}; seen: {'; '.join(cleared.seen)}")
    return EXIT_DONE


@command(
    help={"env": ENV_HELP, "server": "A site's name server that dr.status says to reconcile before use."},
    leaves="the server's records as they were, or all of those that were taken; run it again",
)
def reconcile(context: Context, env: str, server: str) -> None:
    """Give a name server the moves of names that it missed, as all other sites' servers tell them.

    A server that is off takes them before it answers its first question. Nothing is done without every other
    server's answer.

    Exit codes: 0 it tells the newest addresses, 2 faulty words, 5 another server or this one is silent, or
    somebody changed a record by hand: nothing more was changed, 7 another run uses the environment.
    """
    from automation.commands._names import reconcile as catch_up
    from automation.commands._session import open_session

    with open_session(env) as session:
        print(catch_up(session, server))


@command(
    name="drill",
    help={"env": ENV_HELP, "drill": _DRILL_HELP, "json": "Print the report as JSON on stdout."},
    leaves="the lab as the drill left it; lab.down and lab.up make a new one",
)
def drill_(context: Context, env: str, drill: str, json: bool = False) -> int:
    """Break the lab as a drill says, recover, and report what clients saw and what was lost.

    A drill of a planned migration or of a failback breaks nothing: it is that move, measured. A test failover
    rebuilds services from backup on an isolated server, and removes it again: production is not touched.

    Exit codes: 0 objectives met, 2 faulty files, 4 refused, 5 stopped part-way, 6 objectives or checks
    not met, 7 another run holds a service, 8 an effect is unknown: a person must look.
    """
    from automation.commands._drill import run_drill
    from automation.commands._isolated import is_isolated, run_isolated
    from automation.commands._moving import moves, prepare_drilled, run_move
    from automation.commands._session import open_session

    with open_session(env) as session:
        if is_isolated(drill):
            run_isolated(session, drill, json=json)
            return EXIT_DONE
        if moves(drill):
            return run_move(session, prepare_drilled(session, drill), json=json)
        run_drill(session, drill, json=json)
    return EXIT_DONE


_PAUSE_HELP = "The longest pause that clients were told of: 30 s; longer is not met."
_REBUILD_HELP = "How the old primary becomes a standby: rewind (what differs), or basebackup (all of it)."


@command(
    help={
        "env": ENV_HELP,
        "site": "The site that is left; both sites must be well.",
        "plan": _PLAN_HELP,
        "pause": _PAUSE_HELP,
        "json": "Print the report as JSON on stdout.",
    },
    leaves="a run that run.resume goes on with, or run.abort --undo takes back",
)
def migrate(
    context: Context, env: str, site: str, plan: str = "city", pause: str = "30 s", json: bool = False
) -> int:
    """Move the services of a site to their other site in good order, and lose nothing.

    Nothing is promoted before the old primary is stopped for good, its last record is replayed at the other
    site, and it is cut off and seen to be. If anything fails before that, all of it is taken back. A database
    of RDS moves by a read replica; what served is replaced by one, and deleted after a person's yes.
    Exit codes: 0 moved, 2 faulty files or flags, 4 refused or not signed: nothing changed, 5 stopped: taken
    back, or after the promotion as it says, 6 moved, but the pause, a write or a check was not as announced,
    7 another run holds a service, 8 it is not known whether a standby was promoted, 130 stopped by a person.
    """
    from automation.commands._moving import ask_migration, prepare_migration, run_move
    from automation.commands._session import open_session

    with open_session(env) as session:
        return run_move(session, prepare_migration(session, ask_migration(site, plan, pause)), json=json)


@command(
    help={
        "env": ENV_HELP,
        "site": "The home site: it was lost, was failed over from, and is well again.",
        "plan": _PLAN_HELP,
        "pause": _PAUSE_HELP,
        "rebuild": _REBUILD_HELP,
        "json": "Print the report as JSON on stdout.",
    },
    leaves="a run that run.resume goes on with, or run.abort --undo takes back",
)
def failback(
    context: Context,
    env: str,
    site: str,
    plan: str = "city",
    pause: str = "30 s",
    rebuild: str = "rewind",
    json: bool = False,
) -> int:
    """Bring services home after a failover: rebuild the old primary as a standby, then switch.

    The old data is kept, and the writes that only it holds are exported, before a person is asked whether it
    may be rebuilt. A database of RDS is renamed, after that yes, and a replica at home takes its name. Only
    this releases the fence of a failover.
    Exit codes: 0 home, 2 faulty files or flags, 4 refused or not signed: nothing changed, 5 stopped: at the
    question, or as it says, 6 home, but the pause, a write or a check was not as announced, 7 another run
    holds a service, 8 an effect is not known: a person must look, 130 stopped by a person.
    """
    from automation.commands._moving import ask_failback, prepare_failback, run_move
    from automation.commands._session import open_session

    with open_session(env) as session:
        asked = ask_failback(site, plan, pause, rebuild)
        return run_move(session, prepare_failback(session, asked), json=json)


@command(
    help={
        "env": ENV_HELP,
        "site": _SITE_HELP,
        "injects": "The story: a file of drtests/tabletops/, without .yml.",
        "plan": _PLAN_HELP,
        "json": "Print the record as JSON on stdout.",
    },
    leaves="a run that run.resume goes on with, at the next inject",
)
def tabletop(
    context: Context, env: str, site: str, injects: str, plan: str = "city", json: bool = False
) -> None:
    """Play a story with people at this terminal, and take down what they say; touches no server.

    Every inject is told in its turn: what happens, to whom; then what was expected, and what the plan says.
    Exit codes: 0 played to its end, 2 faulty files, 4 nobody sits at a terminal, 5 broken off.
    """
    from automation.commands._session import open_session
    from automation.commands._tabletop import print_tabletop, run_tabletop

    with open_session(env) as session:
        record = run_tabletop(session, plan, site, injects)
        if json:
            print_json(record)
        else:
            print_tabletop(record)


@command(help={"env": ENV_HELP, "json": JSON_HELP})
def lint(context: Context, env: str, json: bool = False) -> None:
    """Check an environment's catalog, and every plan and drill; changes nothing, shows all problems.

    Exit codes: 0 no problem, 2 problems: each with its file, line, key and what to do.
    """
    from datetime import UTC, datetime

    from automation.commands._lint import lint_environment

    found = lint_environment(env, datetime.now(UTC).date())
    if json:
        print_json(found)
    for fault in () if json else (*found.problems, *found.notes):
        print(f"{fault.file}:{fault.line}: {fault.key}: {fault.problem}")
    read = f"{env}: {found.services} services, {found.files} files, problems: {len(found.problems)}"
    if found.problems:
        raise ConfigError(f"{read}; nothing was touched", hint="every line above says what to do")
    if not json:
        print(f"{read}, due: {len(found.notes)}")


@command(
    help={
        "env": ENV_HELP,
        "site": _SITE_HELP,
        "plan": _PLAN_HELP,
        "to": "The file to write; an older one is replaced. Without it, stdout.",
        "format": "html, to be printed, or md.",
        "paper": "a4 or letter.",
        "json": JSON_HELP,
    },
    leaves="no file, or a whole one",
)
def runbook(
    context: Context,
    env: str,
    site: str,
    plan: str = "city",
    to: str = "",
    format: str = "html",
    paper: str = "a4",
    json: bool = False,
) -> None:
    """Write the failover of a site down for people: who, exact commands, boxes to tick; changes no server.

    For the day when Mainstay itself is down; print it and keep it at both sites.
    Exit codes: 0 written, 2 faulty files or flags.
    """
    from automation.commands._runbook import render_runbook, write_runbook
    from automation.commands._runbook import runbook as make
    from automation.commands._session import open_session

    with open_session(env) as session:
        book = make(session, plan, site)
    if json:
        print_json(book)
        return
    text = render_runbook(book, format, paper)
    if not to:
        print(text)
        return
    write_runbook(text, Path(to))
    print(f"{to}: {book.steps} steps for the loss of {site} by plan {plan}; keep it, printed, at both sites")


@command(
    name="calendar",
    help={
        "env": ENV_HELP,
        "overdue": "Show only services with a level that is overdue or was never exercised.",
        "limit": "Show at most so many services; 0: all.",
        "json": JSON_HELP,
    },
)
def calendar_(context: Context, env: str, overdue: bool = False, limit: int = 0, json: bool = False) -> None:
    """Show what was last exercised, by which level, and what is overdue; changes nothing.

    Exit codes: 0 nothing is overdue, 2 faulty files, 6 something is overdue or was never exercised.
    """
    from automation.commands._calendar import calendar
    from automation.commands._render_calendar import print_calendar

    found = calendar(env)
    if json:
        print_json(found)
    else:
        print_calendar(found, overdue_only=overdue, limit=limit)
    if found.overdue:
        raise NotMet(
            f"{found.overdue} of {len(found.rows)} services have an exercise that is overdue",
            hint=f"./inv dr.readiness --env {env} --site SITE, dr.tabletop and dr.drill are exercises",
        )
