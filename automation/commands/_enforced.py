"""What earlier runs changed for baselines, read from their journals; and what is not well after a new one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from automation.baseline.fights import WITHIN, Change, Fight, TakenBack, find_fights, without_undone
from automation.baseline.planner import ENFORCE, UNDO
from automation.baseline.verdicts import Assessment, Verdict
from automation.commands._unfinished import is_of
from automation.engine.journal import read_journal
from automation.model.baseline_evidence import CallsMade, SettingsEnforced, SettingsUndone
from automation.model.errors import AutomationError
from automation.model.evidence import Evidence
from automation.model.records import Event, StepEnded

_GOOD = ("pass", "attested", "waived", "not_applicable")
_NOT_KNOWN = ("unknown", "error")


class Done(NamedTuple):
    """What one run changed: on hosts, and at providers by subject, in the order in which it ended."""

    settings: tuple[SettingsEnforced, ...]
    calls: Mapping[str, CallsMade]


def read_done(folder: Path) -> Done:
    """Read what a run changed.

    Raises:
        AutomationError: its journal is damaged.
    """
    settings: list[SettingsEnforced] = []
    calls: dict[str, CallsMade] = {}
    for event in read_journal(folder / "journal.jsonl"):
        evidence = _evidence(event)
        if isinstance(evidence, SettingsEnforced):
            settings.append(evidence)
        elif isinstance(evidence, CallsMade):
            calls[evidence.subject] = evidence
    return Done(tuple(settings), calls)


def read_undone(folder: Path) -> tuple[tuple[SettingsUndone, ...], tuple[CallsMade, ...]]:
    """Read what a run put back, on hosts and at providers.

    Raises:
        AutomationError: its journal is damaged.
    """
    every = [_evidence(event) for event in read_journal(folder / "journal.jsonl")]
    return (
        tuple(one for one in every if isinstance(one, SettingsUndone)),
        tuple(one for one in every if isinstance(one, CallsMade)),
    )


def _evidence(event: Event) -> Evidence | None:
    """Give what a step saw, whether it ended well or not."""
    if not isinstance(event.body, StepEnded):
        return None
    ended = event.body.outcome or event.body.failure
    return ended.evidence if ended else None


def list_fights(state: Path, now: datetime) -> tuple[Fight, ...]:
    """Find what was changed again and again within the last days, by the journals of those runs.

    A run whose journal is damaged says nothing; what was undone, or taken back by the host, is no fight.
    """
    since = f"{now.astimezone(UTC) - WITHIN:%Y%m%d}"
    folders = [one for one in sorted((state / "runs").glob("*/")) if one.name >= since]
    undoings = [_undone(one) for one in folders if is_of(one / "plan.json", UNDO)]
    on_hosts = {pair for one in undoings for pair in one.on_hosts}
    at_providers = [back for one in undoings for back in one.at_providers]
    changes = (one for folder in folders if is_of(folder / "plan.json", ENFORCE) for one in _changes(folder))
    standing = (one for one in changes if (one.run, one.host) not in on_hosts)
    return tuple(find_fights(without_undone(standing, at_providers), now))


class _Undone(NamedTuple):
    """What one run took back: on hosts as pairs of the run that changed it and the host."""

    on_hosts: set[tuple[str, str]]
    at_providers: tuple[TakenBack, ...]


def _undone(folder: Path) -> _Undone:
    """Read what one run took back; a control of a provider counts once, however often the run tried."""
    hosts: set[tuple[str, str]] = set()
    calls: dict[tuple[str, str], TakenBack] = {}
    with suppress(AutomationError, OSError):
        for event in read_journal(folder / "journal.jsonl"):
            evidence = _evidence(event)
            if isinstance(evidence, SettingsUndone):
                hosts.add((evidence.change, evidence.host))
            elif isinstance(evidence, CallsMade):
                for one in evidence.saved:
                    back = TakenBack(one.control, evidence.subject, event.at)
                    calls[one.control, evidence.subject] = back
    return _Undone(hosts, tuple(calls.values()))


def _changes(folder: Path) -> Iterator[Change]:
    try:
        for event in read_journal(folder / "journal.jsonl"):
            evidence = _evidence(event)
            if isinstance(evidence, SettingsEnforced) and evidence.switch != "reverted":
                for one in evidence.settings:
                    if one.changed:
                        yield Change(one.control, evidence.host, folder.name, event.at)
            elif isinstance(evidence, CallsMade):
                for call in evidence.saved:
                    yield Change(call.control, evidence.subject, folder.name, event.at)
    except (AutomationError, OSError):
        return


class Aftermath(NamedTuple):
    """What is not as it was to be after an enforcement."""

    unmet: tuple[Verdict, ...]  # was enforced, and does not hold
    worse: tuple[Verdict, ...]  # held before, and fails now
    lost: tuple[Verdict, ...]  # held before, or was mended as far as anybody knows, and is not known now


def compare(
    before: Sequence[Assessment], after: Sequence[Assessment], enforced: Mapping[str, Sequence[str]]
) -> Aftermath:
    """Hold what is judged afterwards against what was judged before.

    Args:
        enforced: subject to the controls that were enforced there.
    """
    was = {(one.subject, verdict.control): verdict for one in before for verdict in one.verdicts}
    verdicts = [verdict for one in after for verdict in one.verdicts]
    asked = {(subject, control) for subject, controls in enforced.items() for control in controls}

    def held(one: Verdict) -> bool:
        earlier = was.get((one.subject, one.control))
        return earlier is not None and earlier.state in _GOOD

    wanted = [one for one in verdicts if (one.subject, one.control) in asked]
    mended = [one for one in wanted if _is_mended(was.get((one.subject, one.control)), one)]
    return Aftermath(
        unmet=tuple(one for one in wanted if one.state not in _GOOD and one not in mended),
        worse=tuple(one for one in verdicts if held(one) and one.state == "fail"),
        lost=(*mended, *(one for one in verdicts if held(one) and one.state in _NOT_KNOWN)),
    )


def _is_mended(before: Verdict | None, now: Verdict) -> bool:
    """Whether all that failed before holds now, and only what was not known before is not known still."""
    if before is None or now.state != "unknown":
        return False
    met = {one.fact: one.met for one in now.found}
    may = {"yes": ("yes",), "no": ("yes",), "unknown": ("yes", "unknown")}
    return all(met.get(one.fact) in may[one.met] for one in before.found)
