"""Making the report of any run from its folder, and writing down what people say of its findings."""

import base64
import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from automation.commands._copy_baselines import compare_kept
from automation.commands._session import Session
from automation.commands._subject import describe, read_subject
from automation.engine.approval_files import gather
from automation.engine.journal import read_journal
from automation.engine.seal import KEY, check_run
from automation.engine.signers import BadSignature, fingerprint, signed_with
from automation.model.approvals import Approval, Seal
from automation.model.errors import AutomationError, ConfigError
from automation.model.plan import Plan
from automation.model.records import ApprovalRecorded, Event, OverrideRecorded, RunSealed
from automation.recovery.report import Report
from automation.recovery.report_fold import Facts, SealSeen, fold_report
from automation.recovery.report_people import Signed
from automation.recovery.report_review import FindingUpdate
from automation.recovery.report_subject import Subject

# Begins with `report.`: what people say of a run goes on after its evidence is sealed.
FINDINGS_FILE = "report.findings.jsonl"


def make_report(session: Session, folder: Path, *, subject: Subject | None = None) -> Report:
    """Fold the folder of a run into its report; changes nothing.

    Args:
        subject: what the run is about, if its own folder does not say.

    Raises:
        ConfigError: its plan, or what it was about, cannot be read.
        AutomationError: its journal is damaged.
    """
    plan = _read_plan(folder)
    events = tuple(read_journal(folder / "journal.jsonl"))
    known = read_subject(folder)
    if known is None:
        known = describe(session.environment, session.inventory, plan, subject)
        known = known.model_copy(update={"kept": False})

    def read(artifact: str) -> str | None:
        path = folder / "artifacts" / artifact
        return path.read_text() if path.exists() else None

    return fold_report(
        Facts(
            subject=known,
            plan=plan,
            events=events,
            read=read,
            signed=_signed(folder, events),
            seal=_seal(session, folder, events),
            updates=read_updates(folder),
            copies=compare_kept(folder, plan, known, events),
        )
    )


def _read_plan(folder: Path) -> Plan:
    try:
        return Plan.model_validate_json((folder / "plan.json").read_bytes())
    except (OSError, ValueError) as exc:
        problem = str(exc).splitlines()[0]
        raise ConfigError(
            f"plan.json of run {folder.name} cannot be read ({problem}); nothing was written",
            hint="the version of Mainstay that made the run can report it",
        ) from exc


# --- what vouches for it -------------------------------------------------------------------------


def _signed(folder: Path, events: Sequence[Event]) -> dict[str, Signed]:
    """Who signed each approval that was used, with which key; a file that was changed since says nothing."""
    used = dict(pair for event in events for pair in _digests(event))
    found: dict[str, Signed] = {}
    for one in gather(folder):
        if hashlib.sha256(one.content.encode()).hexdigest() != used.get(one.nonce):
            continue
        with suppress(BadSignature, ValueError):
            roles = Approval.model_validate_json(one.content).roles
            found[one.nonce] = Signed(signed_with(one.signature), roles)
    return found


def _digests(event: Event) -> tuple[tuple[str, str], ...]:
    body = event.body
    if isinstance(body, ApprovalRecorded):
        return ((body.nonce, body.approval_digest),)
    if isinstance(body, OverrideRecorded):
        return tuple(zip(body.nonces, body.approval_digests, strict=False))
    return ()


def _seal(session: Session, folder: Path, events: Sequence[Event]) -> SealSeen:
    """Check the chain, the seals and the sealed files, if the run is sealed."""
    last = events[-1].body
    if not isinstance(last, RunSealed):
        return SealSeen()
    key = session.state / KEY
    findings = check_run(folder, public_key=key.with_name(f"{key.name}.pub"))
    blob = base64.b64decode(last.signer.split()[1])
    files = len(Seal.model_validate_json(last.signed).files)
    return SealSeen(fingerprint(blob), files, checked=True, faults=tuple(str(one) for one in findings))


# --- findings ------------------------------------------------------------------------------------


def read_updates(folder: Path) -> tuple[FindingUpdate, ...]:
    """Give what people said of a run's findings, oldest first.

    Raises:
        AutomationError: a line of the file is not one of ours.
    """
    path = folder / FINDINGS_FILE
    if not path.is_file():
        return ()
    found = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            found.append(FindingUpdate.model_validate_json(line))
        except ValueError as exc:
            problem = str(exc).splitlines()[0]
            raise AutomationError(
                f"{path} line {number} cannot be read: {problem}; nothing was written"
            ) from exc
    return tuple(found)


def keep_update(session: Session, folder: Path, update: FindingUpdate) -> Report:
    """Add one line to a run's findings, synced, and give the report with it.

    Raises:
        ConfigError: there is no such finding, and the words of a new one are missing.
    """
    known = {one.id for one in make_report(session, folder).review.findings}
    if update.id not in known and not update.observation:
        raise ConfigError(
            f"run {folder.name} has no finding {update.id!r}; nothing was written",
            hint=f"--id is one of: {', '.join(sorted(known))}; or give --text for one that you add",
        )
    line = update.model_dump_json(exclude_none=True) + "\n"
    descriptor = os.open(folder / FINDINGS_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    return make_report(session, folder)


# --- writing -------------------------------------------------------------------------------------


def write_report(report: Report, folder: Path) -> Path:
    """Leave the report beside the run's journal, for people and for programs; give the page."""
    from automation.commands._report_page import render_html

    (folder / "report.json").write_text(report.model_dump_json(indent=1))
    page = folder / "report.html"
    page.write_text(render_html(report), encoding="utf-8")
    return page
