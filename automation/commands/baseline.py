"""Commands that judge hosts, accounts and vCenters by security baselines, and make them hold."""

import sys
from contextlib import redirect_stdout
from pathlib import Path

from invoke import Context

from automation.commands._command import ENV_HELP, JSON_HELP, command, print_json

LIMIT_HELP = "Only these hosts or groups, as an Ansible pattern; accounts and providers by name."
CONTROL_HELP = "Only these controls or patterns, with commas between: lin.ssh.*"
GUARD_HELP = "Guards to which you answer yes, with commas between; the plan names them."
PROFILE_HELP = "standard, cis-l1 or cjis, for all hosts; without it, what baseline.yml asks of each."

_TAKEN_HELP = {
    "env": ENV_HELP,
    "limit": LIMIT_HELP,
    "profile": PROFILE_HELP,
    "control": CONTROL_HELP,
    "accept_guard": GUARD_HELP,
}


@command(
    help={
        "env": ENV_HELP,
        "limit": LIMIT_HELP,
        "profile": PROFILE_HELP,
        "tell": "Tell people of `notify` what failed newly since they were told; for the timer's job.",
        "json": JSON_HELP,
    }
)
def audit(
    context: Context, env: str, limit: str = "", profile: str = "", tell: bool = False, json: bool = False
) -> int:
    """Judge what is in effect on every host by the controls of its profile; changes nothing there.

    The facts are kept with the run, so that they can be judged again: baseline.reassess.

    Exit codes: 0 all passed, 2 faulty flags or files, 3 all passed but a host gave no facts, 4 refused,
    6 a control failed or too little is known, 130 stopped.
    """
    from automation.commands._baselines import audit as run_audit
    from automation.commands._baselines import judge_audit
    from automation.commands._render_baseline import print_audited
    from automation.commands._session import open_session
    from automation.commands._told_audits import audit_and_tell

    with open_session(env) as session:
        audited = (audit_and_tell if tell else run_audit)(session, limit, profile)
        if json:
            print_json(audited)
        else:
            print_audited(audited)
        sys.stdout.flush()
        return judge_audit(audited)


@command(
    help={
        "env": ENV_HELP,
        "run": "The audit whose facts are judged: run.list names them.",
        "profile": PROFILE_HELP,
        "json": JSON_HELP,
    }
)
def reassess(context: Context, env: str, run: str, profile: str = "", json: bool = False) -> int:
    """Judge the facts of an earlier audit by today's controls; asks no host and changes nothing.

    Exit codes: 0 all passed, 2 no such audit or faulty files, 3 all passed but a host had given no facts,
    6 a control failed, too little is known, or the facts were altered.
    """
    from automation.commands._baselines import judge_audit
    from automation.commands._baselines import reassess as judge_again
    from automation.commands._render_baseline import print_audited
    from automation.commands._session import open_session

    with open_session(env) as session:
        audited = judge_again(session, run, profile)
        if json:
            print_json(audited)
        else:
            print_audited(audited)
        sys.stdout.flush()
        return judge_audit(audited)


@command(
    help={
        "env": ENV_HELP,
        "run": "The audit whose facts are judged: run.list names them.",
        "to": "The file to write, for its owner alone; an older one is replaced. Without it, stdout.",
        "format": "html, a page; jsonl, one verdict a line; junit, XML for a build server.",
        "profile": PROFILE_HELP,
    },
    leaves="no file, or a whole one",
)
def report(
    context: Context, env: str, run: str, to: str = "", format: str = "html", profile: str = ""
) -> None:
    """Write what an audit found as a page for people, or for programs; asks no host and changes nothing.

    Its facts are judged by today's controls and waivers, as baseline.reassess does.

    Exit codes: 0 written, 2 no such audit, faulty files or flags, 6 the facts were altered.
    """
    from automation.commands._baseline_formats import write_report
    from automation.commands._baseline_report import report as make
    from automation.commands._session import open_session

    with open_session(env) as session:
        text = make(session, run, format, profile)
    if not to:
        sys.stdout.write(text)
        return
    write_report(text, Path(to))
    print(f"{to}: what run {run} found, for your eyes alone: it tells where hosts are weak")


@command(
    name="plan",
    help={
        **_TAKEN_HELP,
        "json": JSON_HELP,
    },
)
def plan_(
    context: Context,
    env: str,
    limit: str = "",
    profile: str = "",
    control: str = "",
    accept_guard: str = "",
    json: bool = False,
) -> int:
    """Show what baseline.enforce would change, in which waves, and what it leaves out; changes nothing.

    Facts are collected for it, by a run as an audit's.

    Exit codes: 0 all that failed would be changed, or nothing failed, 2 faulty flags or files, 3 something is
    left out or gave no facts, 4 refused, 6 settings are fought over, 130 stopped.
    """
    from automation.commands._enforcing import EnforceFlags, judge_result, prepare
    from automation.commands._render_enforcing import print_planned
    from automation.commands._session import open_session

    with open_session(env) as session:
        prepared = prepare(session, EnforceFlags(limit, profile, control, accept_guard))
        if json:
            print_json(prepared.shown)
        else:
            print_planned(prepared.shown)
        sys.stdout.flush()
        return judge_result(session, prepared, None)


@command(
    help={
        **_TAKEN_HELP,
        "yes": "Answer the question with yes; refused where a change may lock people out.",
        "json": JSON_HELP,
    },
    leaves="the hosts changed so far; baseline.undo takes them back, run.resume goes on",
)
def enforce(
    context: Context,
    env: str,
    limit: str = "",
    profile: str = "",
    control: str = "",
    accept_guard: str = "",
    yes: bool = False,
    json: bool = False,
) -> int:
    """Change what fails so that it holds: shown first, asked, wave after wave; undone by baseline.undo.

    Only what baseline.yml lets be enforced; never what is not known or waived. What may lock people out is
    taken back by the host itself unless a fresh login confirms it. Then all is judged again.

    Exit codes: 0 all holds, 2 faulty flags or files, 3 something was left out or is not known, 4 refused,
    5 stopped part-way, 6 something does not hold, turned worse or is fought over, 7 another run holds a
    host, 130 stopped.
    """
    from automation.commands._enforcing import EnforceFlags, ask_yes, judge_result, prepare
    from automation.commands._enforcing import enforce as change
    from automation.commands._render_enforcing import print_planned, print_result
    from automation.commands._session import open_session

    flags = EnforceFlags(limit, profile, control, accept_guard, yes)
    with open_session(env) as session:
        prepared = prepare(session, flags)
        with redirect_stdout(sys.stderr if json else sys.stdout):
            print_planned(prepared.shown)
            sys.stdout.flush()
        ask = ask_yes if sys.stdin.isatty() else None
        ended = change(session, prepared, flags, ask=ask) if prepared.shown.enforced else None
        if json:
            print_json(ended.result if ended else prepared.shown)
        elif ended:
            print_result(ended.result, env)
        sys.stdout.flush()
        if ended:
            ended.finished.raise_for_status()
        return judge_result(session, prepared, ended.result if ended else None)


@command(
    help={
        "env": ENV_HELP,
        "change": "The run that changed it: baseline.enforce names it.",
        "limit": LIMIT_HELP,
        "edited": "Files to restore though somebody edited them since, with commas between.",
        "yes": "Answer the question with yes.",
        "json": JSON_HELP,
    },
    leaves="the hosts undone so far; run it again to go on",
)
def undo(
    context: Context,
    env: str,
    change: str,
    limit: str = "",
    edited: str = "",
    yes: bool = False,
    json: bool = False,
) -> int:
    """Put back what a run of baseline.enforce changed, the last first; shown and asked before.

    Files byte for byte, what runs, and settings of accounts and vCenters. A file that somebody edited since
    is left alone unless you name it.

    Exit codes: 0 all is as before, 2 no such run, 3 something was left as it is, 4 refused or nothing to
    undo, 5 stopped part-way, 7 another run holds a host, 130 stopped.
    """
    from automation.commands._enforcing import ask_yes
    from automation.commands._render_enforcing import print_undoable, print_undone
    from automation.commands._session import open_session
    from automation.commands._undoing import UndoFlags, judge_undone, prepare_undo
    from automation.commands._undoing import undo as take_back

    flags = UndoFlags(change, limit, edited, yes)
    with open_session(env) as session:
        prepared = prepare_undo(session, flags)
        with redirect_stdout(sys.stderr if json else sys.stdout):
            print_undoable(prepared.shown)
            sys.stdout.flush()
        undone = take_back(session, prepared, flags, ask=ask_yes if sys.stdin.isatty() else None)
        if json:
            print_json(undone)
        else:
            print_undone(undone)
        sys.stdout.flush()
        return judge_undone(undone)


@command(help={"control": "Its id: lin.ssh.root-login.", "json": JSON_HELP})
def explain(context: Context, control: str, json: bool = False) -> None:
    """Show what a control wants, why, by which facts it is judged, and what enforcing it would break.

    Exit codes: 0 shown, 2 there is no such control.
    """
    from automation.commands._baselines import explain as find
    from automation.commands._render_baseline import print_control

    found = find(control)
    if json:
        print_json(found)
    else:
        print_control(found)


@command(
    help={
        "env": ENV_HELP,
        "waiver": "Its id in waivers.yml; an attestation's is as good.",
        "key": "Your SSH private key, or its public half if an agent holds it.",
    }
)
def waive(context: Context, env: str, waiver: str, key: str) -> None:
    """Say what a waiver of waivers.yml accepts, ask, and sign it with your SSH key; changes no host.

    The signature is kept beside waivers.yml; audits count a waiver with it alone.
    Exit codes: 0 signed, 2 no such waiver or key, or faulty files, 4 you said no, or your signature would
    not count, 130 stopped.
    """
    from automation.commands._session import open_session
    from automation.commands._waivers import waive as sign

    with open_session(env) as session:
        print(sign(session, waiver, Path(key)))


@command(help={"env": ENV_HELP, "json": "Print JSON; it names all controls by their ids, too."})
def lint(context: Context, env: str, json: bool = False) -> None:
    """Check the controls, baseline.yml and waivers.yml; changes nothing, shows all problems.

    Exit codes: 0 no problem, 2 problems: each with its file, line, key and what to do, 6 what is written is
    well, but waivers do not count: over, not signed, edited since, or signed with a key that was revoked.
    """
    from datetime import UTC, datetime

    from automation.commands._lint_baseline import lint_baseline
    from automation.commands._session import open_session

    with open_session(env) as session:
        found = lint_baseline(session, datetime.now(UTC))
    if json:
        print_json(found)
    for fault in () if json else (*found.problems, *found.findings, *found.notes):
        print(f"{fault.file}:{fault.line}: {fault.key}: {fault.problem}")
    sys.stdout.flush()
    found.raise_for_faults()
    if not json:
        print(f"{env}: {len(found.controls)} controls, {found.waivers} waivers, problems: 0")


@command(
    help={
        "env": ENV_HELP,
        "before": "The earlier audit; without it, the newest that is older than the other.",
        "after": "The later audit; without it, the newest: run.list names them.",
        "json": JSON_HELP,
    }
)
def drift(context: Context, env: str, before: str = "", after: str = "", json: bool = False) -> int:
    """Show what is another way on hosts than at an earlier audit; asks no host and changes nothing.

    New users, keys, sudo rules, SUID files, listeners, jobs, units and packages are named, and whatever else
    was collected, even where no control covers it.

    Exit codes: 0 no drift, 2 there are no two such audits, 3 no drift, but a host could not be compared,
    6 something is another way, or facts were altered.
    """
    from automation.commands._drift import drift as compare
    from automation.commands._drift import judge_drift
    from automation.commands._render_drift import print_drift
    from automation.commands._session import open_session

    with open_session(env) as session:
        found = compare(session, before, after)
    if json:
        print_json(found)
    else:
        print_drift(found)
    sys.stdout.flush()
    return judge_drift(found, env)
