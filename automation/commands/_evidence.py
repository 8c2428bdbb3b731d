"""Checking the evidence of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from automation.commands._session import Session
from automation.engine.seal import KEY, Left, check_run, read_chain, read_heads
from automation.model.base import Model
from automation.model.errors import EXIT_PARTIAL, AdapterError, NotMet
from automation.model.records import AuthorisationRecorded, Event, RunSealed

_WORDS = {
    "agrees": "agrees, {count} heads",
    "behind": "agrees as far as it goes: it covers {covered} of {events} events, and not the last seal",
    "differs": "differs",
    "none": "the witness host kept none of this run",
    "not-reached": "not compared: {note}",
}

WitnessCopy = Literal["agrees", "behind", "differs", "none", "not-reached"]


class Evidence(Model):
    """What was found of a run's evidence; whole means that nothing was found wrong."""

    run_id: str
    whole: bool
    events: int
    head: str
    sealed: bool
    findings: tuple[str, ...]
    witness: WitnessCopy
    witness_heads: int
    witness_events: int = 0
    note: str = ""
    authorisation: str = ""

    @property
    def exit_code(self) -> int:
        if not self.whole:
            return NotMet.exit_code
        return 0 if self.witness == "agrees" else EXIT_PARTIAL

    @property
    def lines(self) -> tuple[str, ...]:
        """The result for people."""
        verdict, sealed = (
            "whole" if self.whole else "does NOT hold",
            "sealed" if self.sealed else "not sealed",
        )
        words = _WORDS[self.witness].format(
            count=self.witness_heads, covered=self.witness_events, events=self.events, note=self.note
        )
        return (
            f"run {self.run_id}: {verdict}; {self.events} events, {sealed}",
            *([f"nobody watched it: {self.authorisation}"] if self.authorisation else []),
            *self.findings,
            f"the witness's copy: {words}",
            f"head: {self.head}",
        )


def verify_run(session: Session, run_id: str) -> Evidence:
    """Check a run's journal, its files, its seals, and the witness's copy of its heads.

    Raises:
        ConfigError: there is no such run.
    """
    folder = session.existing(run_id).artifacts.parent
    heads, note = left_heads(session, run_id)
    key = public_key(session)
    alone = check_run(folder, public_key=key)
    findings = check_run(folder, public_key=key, heads=heads) if heads else alone
    events, bad = read_chain((folder / "journal.jsonl").read_bytes())
    covered = max((head.events for head in heads), default=0)
    witness: WitnessCopy = "not-reached" if note else "none"
    if heads:
        witness = "agrees" if covers_seal(events, covered) else "behind"
        # Behind a line that breaks the chain nothing can be compared; what the witness saw there is gone.
        if len(findings) != len(alone) or (bad is not None and covered > len(events)):
            witness = "differs"
    return Evidence(
        run_id=run_id,
        whole=not findings,
        events=len(events),
        head=events[-1].hash if events else "",
        sealed=bool(events) and isinstance(events[-1].body, RunSealed),
        findings=tuple(str(one) for one in findings),
        witness=witness,
        witness_heads=len(heads),
        witness_events=covered,
        note=note,
        authorisation=_authorised(events),
    )


def _authorised(events: Sequence[Event]) -> str:
    """Say under which standing authorisation a run went on, and by whose key; empty where a person did."""
    used = (event.body for event in events if isinstance(event.body, AuthorisationRecorded))
    return "; ".join(
        f"{one.command} on {one.resource} under the standing authorisation {one.name} of {one.principal}, "
        f"{one.role}, key {one.fingerprint}"
        for one in used
    )


def covers_seal(events: Sequence[Event], covered: int) -> bool:
    """Say whether so many events reach to the last seal; of a run without one, to its end."""
    sealed = [number for number, event in enumerate(events, start=1) if isinstance(event.body, RunSealed)]
    return covered >= (sealed[-1] if sealed else len(events))


def left_heads(session: Session, run_id: str) -> tuple[tuple[Left, ...], str]:
    """Give the witness's copy of a run's heads, and why it could not be had."""
    try:
        return read_heads(session.remote(session.environment.witness.host), run_id), ""
    except AdapterError as exc:
        return (), str(exc)


def public_key(session: Session) -> Path:
    """The control node's half that checks seals."""
    key = session.state / KEY
    return key.with_name(f"{key.name}.pub")
