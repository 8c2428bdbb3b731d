"""Commands that look at runs: what was done, and the evidence of it."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from invoke import Context

from automation.commands._command import ENV_HELP, JSON_HELP, command, print_json
from automation.model.errors import ConfigError

_SINCE_HELP = "Leave out what was earlier: 90min, 7d (ago), or 2026-11-01, 2026-11-01T08:30 (UTC)."
_RUN_HELP = "The run's id; run.list shows them."
_DONE_HELP = "A step whose effect is unknown: you looked, and it is done."
_NOT_DONE_HELP = "A step whose effect is unknown: you looked, and it is not done."


@command(
    name="list",
    help={
        "env": ENV_HELP,
        "limit": "At most so many, the newest; 0: all.",
        "since": _SINCE_HELP,
        "mode": "Only runs of this mode: exercise, failover, failback, apply and others.",
        "json": JSON_HELP,
    },
)
def list_(
    context: Context, env: str, limit: int = 0, since: str = "", mode: str = "", json: bool = False
) -> None:
    """List the runs of an environment, newest first; changes nothing.

    Exit codes: 0 shown, 2 faulty files or flags.
    """
    from automation.commands._render import print_runs
    from automation.commands._runs import Wanted, list_runs
    from automation.commands._since import parse_since

    wanted = Wanted(_limit(limit), parse_since(since, datetime.now(UTC)), mode)
    runs = list_runs(env, wanted)
    if json:
        print("[" + ",\n".join(run.model_dump_json() for run in runs) + "]")
    else:
        print_runs(runs)


def _limit(limit: int) -> int:
    if limit < 0:
        raise ConfigError(f"--limit {limit} is less than nothing; nothing was touched")
    return limit


@command(help={"env": ENV_HELP, "run": _RUN_HELP, "json": JSON_HELP})
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


@command(
    help={
        "env": ENV_HELP,
        "run": _RUN_HELP,
        "since": _SINCE_HELP,
        "limit": "At most so many lines, the last; 0: all.",
        "json": "Print one JSON object a line: at, step, text.",
    }
)
def logs(context: Context, env: str, run: str, since: str = "", limit: int = 0, json: bool = False) -> None:
    """Show all events and progress of one run in words; changes nothing.

    Exit codes: 0 shown, 1 its journal is damaged, 2 no such run, or a faulty flag.
    """
    from automation.commands._runs import read_log
    from automation.commands._since import parse_since

    lines = read_log(env, run, parse_since(since, datetime.now(UTC)))
    for line in lines[-_limit(limit) :]:
        print(line.as_json() if json else line)


@command(help={"env": ENV_HELP, "run": _RUN_HELP, "json": "Print the journal's events, one a line."})
def watch(context: Context, env: str, run: str, json: bool = False) -> None:
    """Follow a run until it closes: a live view on a terminal, else line by line; changes nothing.

    Exit codes: 0 it closed, 1 its journal is damaged, 2 no such run, 5 nobody runs it and it is not closed.
    """
    from automation.commands._onlooker import on_a_terminal, watch_live
    from automation.commands._runs import follow
    from automation.commands._words import line_of

    if not json and sys.stdout.isatty() and on_a_terminal():
        watch_live(env, run)
        return
    for event in follow(env, run):
        print(event.model_dump_json() if json else line_of(event), flush=True)


@command(
    help={
        "env": ENV_HELP,
        "run": _RUN_HELP,
        "gate": "A step that waits for an answer.",
        "answer": "yes or no.",
        "done": _DONE_HELP,
        "not_done": _NOT_DONE_HELP,
        "reason": "Why you answer so, or what you saw; it stands in the journal.",
        "json": "Print the report of a drill, a failover or a move as JSON on stdout.",
    },
    leaves="a run that can be resumed again",
)
def resume(
    context: Context,
    env: str,
    run: str,
    gate: str = "",
    answer: str = "",
    done: str = "",
    not_done: str = "",
    reason: str = "",
    json: bool = False,
) -> int:
    """Go on with a run that stopped: look at steps without an end first, try failed ones again.

    Exit codes: 0 succeeded, 1 its journal is damaged, 2 no such run, 4 cannot be resumed, 5 stopped again,
    6 checks failed, 7 it runs still or another run holds what it needs, 8 a person must look, 130 stopped.
    """
    from automation.commands._decisions import decide
    from automation.commands._ending import conclude
    from automation.commands._session import open_session
    from automation.engine.overtaken import refuse_overtaken

    decisions = decide(gate=gate, answer=answer, done=done, not_done=not_done, reason=reason)
    with open_session(env) as session:
        refuse_overtaken(session.state / "runs", run, environment=env)
        return conclude(session, session.resume(run, decisions), json=json)


@command(
    help={
        "env": ENV_HELP,
        "run": _RUN_HELP,
        "undo": "Also take back what the steps did, last first, as far as that is safe.",
        "done": _DONE_HELP,
        "not_done": _NOT_DONE_HELP,
        "reason": "Why it is given up; it stands in the journal.",
    },
    leaves="a run that can be aborted again",
)
def abort(
    context: Context,
    env: str,
    run: str,
    reason: str,
    undo: bool = False,
    done: str = "",
    not_done: str = "",
) -> None:
    """Give up a run that stopped: clean up, and with --undo take back what is safe to take back.

    Exit codes: 0 done, 1 its journal is damaged, 2 no such run, 4 it has ended, 5 something could not be
    taken back or cleaned up, 7 it runs still, 8 a person must look, 130 stopped.
    """
    from automation.commands._decisions import decide
    from automation.commands._session import open_session
    from automation.engine.overtaken import refuse_overtaken

    decisions = decide(done=done, not_done=not_done, reason=reason)
    with open_session(env) as session:
        if undo:
            refuse_overtaken(session.state / "runs", run, environment=env)
        session.abort(run, reason=reason, undo=undo, decisions=decisions).raise_for_status()


@command(
    help={
        "env": ENV_HELP,
        "run": _RUN_HELP,
        "key": "Your SSH private key, or its public half if an agent holds it.",
        "step": "A gate, or a step with a risk to accept; without it the run itself.",
        "role": "The role in which you sign, if more than one is asked for.",
        "reason": "Why; an override needs one.",
        "valid": "How long it may be used: 30 min; without it 4 h, and never longer than the plan allows.",
    },
    leaves="no approval, or a whole one",
)
def approve(
    context: Context,
    env: str,
    run: str,
    key: str,
    step: str = "",
    role: str = "",
    reason: str = "",
    valid: str = "",
) -> None:
    """Say what a run would do, ask, and sign your approval with your SSH key; starts nothing.

    Exit codes: 0 signed, 2 no such run, step, role or key, 4 it waits for nothing, you said no, or your
    signature would not count.
    """
    from automation.commands._approvals import Answer
    from automation.commands._approvals import approve as sign
    from automation.commands._session import open_session

    with open_session(env) as session:
        print(sign(session, Answer(run, Path(key), step, role, reason, valid)))


@command(
    help={
        "env": ENV_HELP,
        "name": "What to call it; one of the same name is replaced.",
        "job": "The command that may run with nobody watching: provision.converge or provision.apply.",
        "limits": "The most it may do each time: hosts=7, or created=0,started=2.",
        "key": "Your SSH private key, or its public half if an agent holds it.",
        "reason": "Why nobody has to watch; it stands in what you sign.",
        "resource": "What it may act on: a pattern of hosts, as the job's --limit; without it all.",
        "valid": "How long it holds: 30 d; without it 90 d, and at most 366 d.",
    },
    leaves="no authorisation, or a whole one",
)
def authorise(
    context: Context,
    env: str,
    name: str,
    job: str,
    limits: str,
    key: str,
    reason: str,
    resource: str = "",
    valid: str = "",
) -> None:
    """Say what a job may do with nobody watching, ask, and sign it with your SSH key; starts nothing.

    Exit codes: 0 signed, 2 no such job or key, or wrong limits, 4 you said no, or your signature would not
    count.
    """
    from automation.commands._authorisations import Wanted
    from automation.commands._authorisations import authorise as sign
    from automation.commands._session import open_session

    with open_session(env) as session:
        print(sign(session, Wanted(name, job, resource, limits, Path(key), reason, valid)))


@command(help={"env": ENV_HELP, "json": JSON_HELP})
def authorisations(context: Context, env: str, json: bool = False) -> None:
    """Show which jobs may run with nobody watching, until when, by whose signature; changes nothing.

    Exit codes: 0 shown, 2 faulty files.
    """
    from automation.commands._authorisations import list_standing
    from automation.commands._session import open_session

    with open_session(env) as session:
        found = list_standing(session)
    if json:
        print("[" + ",\n".join(one.model_dump_json() for one in found) + "]")
    else:
        print("\n".join(one.line for one in found) or f"{env}: every run needs a person")


@command(
    help={
        "env": ENV_HELP,
        "name": "The standing authorisation; run.authorisations shows them.",
        "reason": "Why; it is kept beside it.",
    },
    leaves="the authorisation as it was, or withdrawn",
)
def withdraw(context: Context, env: str, name: str, reason: str) -> None:
    """Take a standing authorisation away for good; jobs under it are refused from then on.

    Exit codes: 0 withdrawn, 2 there is none of that name.
    """
    from automation.commands._authorisations import withdraw as take_away
    from automation.commands._session import open_session

    with open_session(env) as session:
        done = take_away(session, name, reason)
        print(f"{done.name}: withdrawn by {done.by}: {done.reason}")


@command(help={"env": ENV_HELP, "run": _RUN_HELP, "json": JSON_HELP})
def verify(context: Context, env: str, run: str, json: bool = False) -> int:
    """Check a run's evidence: chain, end, seal, files and the witness's copy; changes nothing.

    Exit codes: 0 all of it holds, 2 no such run, 3 it holds, but the witness host has no copy, does not
    answer, or saw no end of it, 6 something does not hold: the first bad line is named.
    """
    from automation.commands._evidence import verify_run
    from automation.commands._session import open_session

    with open_session(env) as session:
        found = verify_run(session, run)
        if json:
            print_json(found)
        else:
            for line in found.lines:
                print(line)
        return found.exit_code


@command(
    help={
        "env": ENV_HELP,
        "run": _RUN_HELP,
        "to": "The archive to write, for example run.tar.gz; it must not exist.",
        "redact": "Replace addresses, host names, people and account numbers by pseudonyms; drop signatures.",
    },
    leaves="no archive, or one that is cut off: delete it",
)
def export(context: Context, env: str, run: str, to: str, redact: bool = False) -> None:
    """Pack a run's evidence into one archive that others can check, or, redacted, may read.

    Exit codes: 0 written, 1 something known would remain in a redacted copy, 2 no such run, or the archive
    exists.
    """
    from automation.commands._export import export_run
    from automation.commands._session import open_session

    with open_session(env) as session:
        names = export_run(session, run, Path(to), redact=redact)
        print(f"{to}: {len(names)} files{', redacted: read it before you hand it out' if redact else ''}")
