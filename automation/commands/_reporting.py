"""The commands that make a run's report and keep its findings."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context

from automation.commands._command import ENV_HELP, JSON_HELP, command
from automation.model.errors import ConfigError

if TYPE_CHECKING:
    from automation.recovery.report import Report
    from automation.recovery.report_review import Finding, FindingUpdate

_RUN_HELP = "The run's id; run.list shows them."
FORMATS = ("html", "json", "md")


@command(
    name="report",
    help={
        "env": ENV_HELP,
        "run": _RUN_HELP,
        "format": "html, json or md; without it html.",
        "to": "The file to write; without it the run's folder for html, stdout for json and md.",
    },
    leaves="no report, or a whole one; the run's own evidence is not touched",
)
def report(context: Context, env: str, run: str, format: str = "html", to: str = "") -> None:
    """Make the report of any run anew from its journal; changes nothing of the run itself.

    Exit codes: 0 written, 1 its journal is damaged, 2 no such run, a faulty flag, or a file that cannot be
    written.
    """
    from automation.commands._report import make_report
    from automation.commands._runs import run_folder
    from automation.commands._session import open_session

    if format not in FORMATS:
        raise ConfigError(f"--format {format} is none of {', '.join(FORMATS)}; nothing was written")
    folder = run_folder(env, run)
    with open_session(env) as session:
        text = _render(make_report(session, folder), format)
    target = Path(to) if to else folder / "report.html" if format == "html" else None
    if target is None:
        print(text, end="")
        return
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"cannot write {target}: {exc.strerror}; nothing of the run was changed") from exc
    print(target)


def _render(made: "Report", format: str) -> str:
    from automation.commands._report_page import render_html, render_markdown

    if format == "json":
        return made.model_dump_json(indent=1) + "\n"
    return render_html(made) if format == "html" else render_markdown(made)


@command(
    name="finding",
    help={
        "env": ENV_HELP,
        "run": _RUN_HELP,
        "id": "The finding; without it all of the run's findings are shown.",
        "owner": "The role that will see to it.",
        "due": "The day by which it is to be done: 2027-01-31.",
        "status": "open, in-progress, done, or accepted: it stays as it is.",
        "note": "What you know of it now.",
        "text": "With a new --id: what you saw that no rule did.",
        "act": "What is to be done about it.",
        "json": JSON_HELP,
    },
    leaves="no line, or a whole one",
)
def finding(
    context: Context,
    env: str,
    run: str,
    id: str = "",
    owner: str = "",
    due: str = "",
    status: str = "",
    note: str = "",
    text: str = "",
    act: str = "",
    json: bool = False,
) -> None:
    """Show a run's findings, or write down who sees to one, until when, and how far it is.

    Every change is a line of its own, with who and when; the run's sealed evidence stays as it was.
    Exit codes: 0 shown or written, 1 the journal is damaged, 2 no such run or finding, or a faulty flag.
    """
    from automation.commands._report import keep_update, make_report, write_report
    from automation.commands._runs import run_folder
    from automation.commands._session import actor, open_session

    folder = run_folder(env, run)
    words = {"owner": owner, "due": due, "status": status, "note": note, "observation": text, "act": act}
    given = {name: value for name, value in words.items() if value}
    if bool(given) != bool(id):
        raise ConfigError(
            "--id goes with what is to be changed: --owner, --due, --status, --note, --text or --act; "
            "nothing was written"
        )
    with open_session(env) as session:
        if not id:
            _show(make_report(session, folder).review.findings, json=json)
            return
        made = keep_update(session, folder, _update({"id": id, "by": actor(), **given}))
        write_report(made, folder)
        _show(tuple(one for one in made.review.findings if one.id == id), json=json)


def _update(words: Mapping[str, str]) -> "FindingUpdate":
    from automation.recovery.report_review import FindingUpdate

    try:
        return FindingUpdate.model_validate({"at": datetime.now(UTC), **words})
    except ValueError as exc:
        raise ConfigError(
            "--due is a day (2027-01-31), --status one of open, in-progress, done, accepted, --id in small "
            "letters; nothing was written"
        ) from exc


def _show(findings: "Sequence[Finding]", *, json: bool) -> None:
    if json:
        print("[" + ",\n".join(one.model_dump_json() for one in findings) + "]")
        return
    from automation.commands._render import print_findings

    print_findings(findings)
