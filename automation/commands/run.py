"""Commands that look at runs: what was done, and the evidence of it."""

from invoke import Context

from automation.commands._command import ENV_HELP, JSON_HELP, command


@command(name="list", help={"env": ENV_HELP, "json": JSON_HELP})
def list_(context: Context, env: str, json: bool = False) -> None:
    """List the runs of an environment, newest first; changes nothing.

    Exit codes: 0 shown, 2 faulty files.
    """
    from automation.commands._render import print_runs
    from automation.commands._runs import list_runs

    runs = list_runs(env)
    if json:
        print("[" + ",\n".join(run.model_dump_json() for run in runs) + "]")
    else:
        print_runs(runs)


@command(help={"env": ENV_HELP, "run": "The run's id; run.list shows them.", "json": JSON_HELP})
def show(context: Context, env: str, run: str, json: bool = False) -> None:
    """Show the steps of one run and how each ended; changes nothing.

    Exit codes: 0 shown, 1 its journal is damaged, 2 no such run.
    """
    from automation.commands._render import print_run
    from automation.commands._runs import read_run

    folded = read_run(env, run)
    if json:
        print(folded.model_dump_json(indent=2))
    else:
        print_run(folded)
