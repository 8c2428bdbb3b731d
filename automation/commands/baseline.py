"""Commands that judge hosts by security baselines; none of them changes a host."""

import sys
from pathlib import Path

from invoke import Context

from automation.commands._command import ENV_HELP, JSON_HELP, command, print_json

PROFILE_HELP = "standard, cis-l1 or cjis, for all hosts; without it, what baseline.yml asks of each."


@command(
    help={
        "env": ENV_HELP,
        "limit": "Only these hosts or groups, as an Ansible pattern.",
        "profile": PROFILE_HELP,
        "json": JSON_HELP,
    }
)
def audit(context: Context, env: str, limit: str = "", profile: str = "", json: bool = False) -> int:
    """Judge what is in effect on every host by the controls of its profile; changes nothing there.

    The facts are kept with the run, so that they can be judged again: baseline.reassess.

    Exit codes: 0 all passed, 2 faulty flags or files, 3 all passed but a host gave no facts, 4 refused,
    6 a control failed or too little is known, 130 stopped.
    """
    from automation.commands._baselines import audit as run_audit
    from automation.commands._baselines import judge_audit
    from automation.commands._render_baseline import print_audited
    from automation.commands._session import open_session

    with open_session(env) as session:
        audited = run_audit(session, limit, profile)
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
