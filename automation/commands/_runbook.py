"""Printing a plan for the day when Mainstay itself is down."""

from datetime import UTC, datetime
from pathlib import Path

from automation.commands._command import ROOT
from automation.commands._drill import plan_for
from automation.commands._session import Session
from automation.commands._walkthrough import prepare_walkthrough
from automation.model.catalog import load_catalog
from automation.model.errors import ConfigError
from automation.model.templating import render
from automation.recovery.by_hand import Around
from automation.recovery.runbook import Runbook, make_runbook

TEMPLATES = ROOT / "templates"
PAPERS = {"a4": "A4", "letter": "letter"}
FORMATS = ("html", "md")


def runbook(session: Session, plan: str, site: str) -> Runbook:
    """Write the failover of a site down; observes nothing.

    Raises:
        ConfigError: a file has faults, or there is no such plan or site.
    """
    compiled = prepare_walkthrough(session, plan, site)
    catalog = load_catalog(session.environment.folder / "services.yml")
    around = Around(session.environment, session.inventory)
    recovery = plan_for(session, plan)
    return make_runbook(compiled, recovery, catalog.services, around, site=site, made_at=datetime.now(UTC))


def render_runbook(book: Runbook, form: str, paper: str) -> str:
    """Draw a runbook as a page to print, or as text.

    Raises:
        ConfigError: no such form or paper.
    """
    if form not in FORMATS or paper not in PAPERS:
        raise ConfigError("--format is html or md, --paper is a4 or letter; nothing was written")
    return render(TEMPLATES, f"runbooks/runbook.{form}.j2", book=book, paper=PAPERS[paper])


def write_runbook(text: str, to: Path) -> None:
    """Write it, whole or not at all; an older one of that name is replaced.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    partial = to.with_name(f"{to.name}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(to)
    except OSError as exc:
        raise ConfigError(f"cannot write {to}: {exc.strerror}; nothing was written") from exc
