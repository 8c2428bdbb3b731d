"""A tabletop at a terminal: tell what happens, take down what people say, and what is open in the end."""

import sys
from pathlib import Path

from automation.commands._command import ROOT, progress
from automation.commands._session import Session
from automation.commands._walkthrough import prepare_walkthrough
from automation.engine.journal import read_journal
from automation.engine.run import read_plan
from automation.model.base import format_duration
from automation.model.errors import PreflightError
from automation.model.plan import Plan
from automation.recovery.tabletop import TabletopRecord, clock, compile_tabletop, fold_tabletop, load_tabletop

RECORD = "tabletop.json"


def prepare_tabletop(session: Session, plan: str, site: str, injects: str) -> Plan:
    """Compile a tabletop about a recovery plan; observes and changes nothing.

    Raises:
        ConfigError: a file has faults.
    """
    return compile_tabletop(load_tabletop(ROOT, injects), prepare_walkthrough(session, plan, site))


def run_tabletop(session: Session, plan: str, site: str, injects: str) -> TabletopRecord:
    """Play a tabletop with the people at this terminal, and leave its record; touches no server.

    Raises:
        PreflightError: nobody sits at a terminal.
        StepFailed: it was broken off; run.resume goes on with the next inject.
    """
    compiled = prepare_tabletop(session, plan, site, injects)
    if not sys.stdin.isatty():
        raise PreflightError(
            "a tabletop is played by people, and nobody sits at this terminal; nothing was recorded",
            hint=f"./inv dr.plan --env {session.environment.name} --plan {plan} --site {site} "
            "--mode walkthrough prints the plan to read",
        )
    finished = session.run(compiled, narrate=lambda event: None)
    record = leave_record(finished.folder)
    finished.raise_for_status()
    return record


def leave_record(folder: Path) -> TabletopRecord:
    """Fold a tabletop's journal into its record, and leave it beside."""
    record = fold_tabletop(read_plan(folder), tuple(read_journal(folder / "journal.jsonl")))
    (folder / RECORD).write_text(record.model_dump_json(indent=1))
    progress(f"record: {folder / RECORD}")
    return record


def print_tabletop(record: TabletopRecord) -> None:
    """Print what was played: every inject with its answer, then what is open."""
    print(f"{record.name}, run {record.run_id}: {record.exercised}")
    for one in record.injects:
        word = {True: "as expected", False: "NOT as expected", None: "not asked"}[one.handled]
        took = f", answered after {format_duration(one.took_s)}" if one.took_s is not None else ""
        print(f"{clock(one.at_s)} to {one.to}: {one.event}\n    {word}{took}: {one.said or '-'}")
    for title, lines in (("findings", record.findings), ("open questions", record.open_questions)):
        print(f"{title}: {len(lines)}")
        for line in lines:
            print(f"  - {line}")
