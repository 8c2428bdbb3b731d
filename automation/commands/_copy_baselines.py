"""Whether what was recovered is as well secured as its original: the standard kept, the facts compared."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from automation.baseline.copies import LEAST_KNOWN, Earlier, Standard, compare, known_shares, newest
from automation.baseline.waivers import Attestation, Exceptions, Waiver
from automation.engine.journal import read_journal
from automation.model.actions import CollectFacts
from automation.model.baseline_evidence import FactsCollected
from automation.model.copies import CopiesCompared, CopyCompared, NotCompared
from automation.model.environment import Environment, Inventory
from automation.model.errors import AutomationError, ConfigError, PreflightError
from automation.model.facts import Facts
from automation.model.kept_facts import read_facts
from automation.model.plan import Plan
from automation.model.providers import AwsProvider
from automation.model.records import Event, StepEnded
from automation.model.simulators import VcenterSimulator
from automation.recovery.audits import Pair, is_audit, is_of_original, not_asked, pairs
from automation.recovery.report_subject import Subject

if TYPE_CHECKING:
    from automation.commands._session import Session

KEPT = "baseline.json"
# A real failover cannot ask what is lost: an audit of the last week tells how it was.
OLDEST = timedelta(days=7)


def walk_of(session: "Session") -> float:
    """Give how long the walk over a host's disks may take; 0 where no baseline is asked of the environment.

    Raises:
        ConfigError: baseline.yml has faults.
    """
    from automation.commands._baselines import FILE, load_baseline

    return load_baseline(session).walk_s if (session.environment.folder / FILE).exists() else 0.0


def walk_in_a_failover(session: "Session") -> float:
    """Give the same, and 0 where baseline.yml has faults: nothing of a baseline holds a recovery back."""
    try:
        return walk_of(session)
    except ConfigError as exc:
        session.say(f"nobody will compare how recovered hosts are secured: {exc}")
        return 0.0


# --- when a run begins -----------------------------------------------------------------------------


def leave_standard(session: "Session", plan: Plan, subject: Subject, folder: Path) -> None:
    """Write what hosts will be held against into a run's folder, where it is sealed with all else.

    In a real failover a fault is told, and the run goes on without.

    Raises:
        AutomationError: files have faults, and this is an exercise.
    """
    if not any(is_audit(step.id) for step in plan.steps):
        return
    try:
        words = _standard(session, plan, subject).model_dump_json(by_alias=True, exclude_defaults=True)
        descriptor = os.open(folder / KEPT, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(words)
    except (AutomationError, OSError, ValueError) as exc:
        if plan.mode != "failover":
            raise PreflightError(
                f"what recovered hosts are held against cannot be kept: {exc}; nothing was changed",
                hint=f"./inv baseline.lint --env {session.environment.name}",
            ) from exc
        session.say(f"nobody will compare how recovered hosts are secured: {exc}")


def _standard(session: "Session", plan: Plan, subject: Subject) -> Standard:
    asked = {getattr(step.run, "host", "") for step in plan.steps if is_of_original(step.id)}
    lost = {host for pair in pairs(plan, subject.services) for host in pair.originals} - asked
    return standard_now(session, lost)


def standard_now(session: "Session", unasked: set[str]) -> Standard:
    """Give what hosts are held against today, with the newest facts of those that nobody asks now.

    Raises:
        AutomationError: files have faults.
    """
    from automation.commands._baselines import load_baseline
    from automation.commands._controls import load_controls
    from automation.commands._waivers import read_waivers, weigh

    now, controls = datetime.now(UTC), load_controls()
    weighed = weigh(session, read_waivers(session.environment), controls, now)
    return Standard(
        settings=load_baseline(session),
        controls=tuple(one for one in controls.values() if one.platform == "linux"),
        counted=_exceptions(weighed.counted),
        refused={one.id: one.words for one in weighed.told if not one.counts},
        earlier=find_earlier(session.state, unasked, now - OLDEST),
        simulated=_simulated(session.environment, session.inventory),
    )


def _exceptions(counted: Sequence[Waiver | Attestation]) -> Exceptions:
    return Exceptions(
        waivers=tuple(one for one in counted if isinstance(one, Waiver)),
        attestations=tuple(one for one in counted if isinstance(one, Attestation)),
    )


def find_earlier(state: Path, hosts: set[str], since: datetime) -> dict[str, Earlier]:
    """Find the newest facts of hosts that any run kept since a moment; runs are named by when they began."""
    found: dict[str, Earlier] = {}
    for folder in sorted((state / "runs").glob("*/artifacts/facts"), reverse=True):
        run = folder.parents[1]
        if run.name < f"{since:%Y%m%d-%H%M%S}" or not hosts - found.keys():
            break
        known = list(_kept(run, hosts - found.keys()))
        for host in hosts - found.keys():
            if one := newest((kept for kept in known if kept.facts.subject == host), since):
                found[host] = one
    return found


def _kept(run: Path, hosts: set[str]) -> Iterator[Earlier]:
    """Give the facts of hosts that a run kept; those that are not what its journal names are passed over."""
    try:
        events = tuple(read_journal(run / "journal.jsonl"))
    except (AutomationError, OSError):
        return
    for at, one in _collected(events):
        if one.host in hosts:
            facts = _read(run, one, at)
            if isinstance(facts, Facts):
                yield Earlier(run=run.name, facts=facts)


def _simulated(environment: Environment, inventory: Inventory) -> tuple[str, ...]:
    """Name the hosts whose provider is none of the world."""
    simulators = environment.lab.simulators.values() if environment.lab else ()
    names = {one.name for one in simulators if isinstance(one, VcenterSimulator)}
    kinds = {
        (one.kind, one.site)
        for one in environment.providers.values()
        if (one.endpoint if isinstance(one, AwsProvider) else one.address in names)
    }
    return tuple(name for name, one in inventory.servers.items() if (one.provider, one.site) in kinds)


# --- when its report is made -----------------------------------------------------------------------


def compare_kept(
    folder: Path, plan: Plan, subject: Subject, events: Sequence[Event]
) -> CopiesCompared | None:
    """Compare copies with their originals, from nothing but what a run kept.

    None for a run that compares none, or did not come so far as to ask a copy.
    """
    ended = {event.body.step for event in events if isinstance(event.body, StepEnded)}
    if not any(is_audit(step) and not is_of_original(step) for step in ended):
        return None
    asked = tuple(pairs(plan, subject.services))
    try:
        standard = Standard.model_validate_json((folder / KEPT).read_bytes())
    except (OSError, ValueError) as exc:
        why = f"{KEPT} cannot be read: {str(exc).splitlines()[0]}"
        return CopiesCompared(
            not_compared=tuple(NotCompared(service=one.service, host=one.copy, why=why) for one in asked)
        )
    known = _known(folder, plan, events)
    found = [_compare(one, known, standard) for one in asked]
    return CopiesCompared(
        compared=tuple(one for one in found if isinstance(one, CopyCompared)),
        not_compared=tuple(one for one in found if isinstance(one, NotCompared)),
        refused=standard.refused,
        not_asked=not_asked(plan, subject.services),
    )


def _known(folder: Path, plan: Plan, events: Sequence[Event]) -> dict[str, Facts | str]:
    """Give the facts of every host that a run asked, or why there are none."""
    known: dict[str, Facts | str] = {}
    for event in events:
        body = event.body
        if not isinstance(body, StepEnded) or body.step not in plan.by_id or not is_audit(body.step):
            continue
        if body.failure and isinstance(run := plan.by_id[body.step].run, CollectFacts):
            known[run.host] = body.failure.message
    return {**known, **{one.host: _read(folder, one, at) for at, one in _collected(events)}}


def _compare(pair: Pair, known: Mapping[str, Facts | str], standard: Standard) -> CopyCompared | NotCompared:
    def give_up(why: str) -> NotCompared:
        return NotCompared(service=pair.service, host=pair.copy, why=why)

    copy = known.get(pair.copy, "it was not asked")
    if isinstance(copy, str):
        return give_up(f"{pair.copy} gave no facts: {copy}")
    before = [known.get(host) for host in pair.originals]
    originals = [one for one in before if isinstance(one, Facts)]
    kept_by = ""
    if not originals:
        earlier = [standard.earlier[host] for host in pair.originals if host in standard.earlier]
        originals, kept_by = [one.facts for one in earlier], ", ".join(sorted({one.run for one in earlier}))
    if not originals:
        days = f"{OLDEST / timedelta(days=1):g} days"
        silent = [f"{host} gave no facts: {why}" for host in pair.originals if (why := known.get(host))]
        nothing = f"nothing younger than {days} is known of {', '.join(pair.originals)}"
        return give_up("; ".join(silent) or nothing)
    found = compare(pair.service, originals, copy, standard, kept_by)
    if not found.controls:  # what compares nothing proves nothing
        return give_up(f"no control is known to pass on {', '.join(found.originals)}")
    too_little = _too_little(originals, standard, found)
    return give_up(too_little) if too_little else found


def _too_little(originals: Sequence[Facts], standard: Standard, found: CopyCompared) -> str:
    """Say of which originals less is known than a comparison needs; empty: of none."""
    shares = known_shares(originals, standard).items()
    short = [f"{share:.0%} of what applies to {host}" for host, share in shares if share < LEAST_KNOWN]
    if not short:
        return ""
    cut = f"; a walk over disks was cut short: {', '.join(found.not_walked)}" if found.not_walked else ""
    return f"only {' and '.join(short)} is known, less than {LEAST_KNOWN:.0%}{cut}"


def _collected(events: Sequence[Event]) -> Iterator[tuple[datetime, FactsCollected]]:
    for event in events:
        body = event.body
        if isinstance(body, StepEnded) and body.outcome and isinstance(body.outcome.evidence, FactsCollected):
            yield event.at, body.outcome.evidence


def _read(folder: Path, one: FactsCollected, at: datetime) -> Facts | str:
    """Read facts that a run kept, or say why they are not to be believed.

    They are of the moment at which the control node had them: a host that was just recovered may have a
    clock that is wrong by years, which is no way to make a waiver count.
    """
    try:
        facts = read_facts(folder / "artifacts" / one.file)
    except AutomationError as exc:
        return str(exc)
    if hashlib.sha256(facts.model_dump_json().encode()).hexdigest() != one.sha256:
        return f"{one.file} is not what was collected"
    return facts.model_copy(update={"collected_at": at})
