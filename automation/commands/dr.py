"""Commands of disaster recovery: declare, plan, drill."""

from invoke import Context

from automation.commands._command import ENV_HELP, JSON_HELP, command, print_json

_DRILL_HELP = "A drill: a file of drtests/drills/, without .yml."


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


@command(name="plan", help={"env": ENV_HELP, "drill": _DRILL_HELP, "json": JSON_HELP})
def plan_(context: Context, env: str, drill: str, json: bool = False) -> None:
    """Show the steps that a drill would take, in order; changes nothing.

    Exit codes: 0 shown, 2 faulty files, 4 what must be observed first cannot be.
    """
    from automation.commands._drill import prepare_drill
    from automation.commands._render import print_plan
    from automation.commands._session import open_session

    with open_session(env) as session:
        prepared = prepare_drill(session, drill)
        if json:
            print_json(prepared.plan)
        else:
            print_plan(prepared.plan)


@command(
    name="drill",
    help={"env": ENV_HELP, "drill": _DRILL_HELP, "json": "Print the report as JSON on stdout."},
    leaves="the lab as the drill left it; lab.down and lab.up make a new one",
)
def drill_(context: Context, env: str, drill: str, json: bool = False) -> None:
    """Break the lab as a drill says, recover, and report what clients saw and what was lost.

    Exit codes: 0 objectives met, 2 faulty files, 4 refused, 5 stopped part-way, 6 objectives or checks
    not met, 7 another run holds a service, 8 an effect is unknown: a person must look.
    """
    from automation.commands._drill import run_drill
    from automation.commands._session import open_session

    with open_session(env) as session:
        run_drill(session, drill, json=json)
