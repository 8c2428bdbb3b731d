"""An enforcement that stopped: a resume changes nothing that somebody has accepted meanwhile."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from automation.baseline.controls import Control
from automation.baseline.judge import judge
from automation.baseline.planner import ENFORCE
from automation.baseline.waivers import Waiver
from automation.commands._controls import load_controls
from automation.commands._copy_baselines import find_earlier
from automation.commands._session import Session
from automation.commands._unfinished import LOOK_BACK
from automation.commands._waivers import read_waivers, weigh
from automation.engine.fold import fold
from automation.engine.journal import read_journal
from automation.model.actions import EnforceAccount, EnforceSettings, EnforceVcenter
from automation.model.errors import PreflightError
from automation.model.facts import Facts
from automation.model.plan import Plan, Step


class _Asked(NamedTuple):
    """What a step would still do: make a control hold on a subject."""

    subject: str
    control: str


def refuse_accepted(session: Session, plan: Plan, folder: Path) -> None:
    """See that an enforcement which goes on changes nothing that is waived by now.

    Judged by the newest facts that any run kept of a subject, under every profile that asks for the control;
    where these cannot tell whether a waiver covers what was found, it counts.

    Raises:
        ConfigError: waivers.yml has faults.
        PreflightError: what it would still change is waived.
    """
    if plan.name != ENFORCE:
        return
    done = fold(read_journal(folder / "journal.jsonl")).succeeded
    asked = {one for step in plan.steps if step.id not in done for one in _asked_by(step)}
    accepted = tuple(_accepted(session, asked)) if asked else ()
    if accepted:
        env = session.environment.name
        raise PreflightError(
            f"run {folder.name} would change what is waived by now: {'; '.join(accepted[:4])}; "
            "nothing more was changed",
            hint=f"./inv baseline.enforce --env {env} plans what is left without it; "
            f"./inv baseline.undo --env {env} --change {folder.name} takes back what this run changed",
        )


def _asked_by(step: Step) -> Iterator[_Asked]:
    match step.run:
        case EnforceSettings(host=host, settings=settings):
            yield from (_Asked(host, one.control) for one in settings)
        case EnforceAccount(account=subject, calls=calls) | EnforceVcenter(vcenter=subject, calls=calls):
            yield from (_Asked(subject, one.control) for one in calls)


def _accepted(session: Session, asked: Iterable[_Asked]) -> Iterator[str]:
    """Say of which waiver each of them is; signatures are checked only where one is named."""
    exceptions, now = read_waivers(session.environment), datetime.now(UTC)
    named = sorted(
        set(asked) & {pair for one in exceptions.waivers if one.holds(now) for pair in _pairs(one)}
    )
    if not named:
        return
    controls = load_controls()
    weighed = weigh(session, exceptions, controls, now)
    counted = [one for one in weighed.counted if isinstance(one, Waiver)]
    known = find_earlier(session.state, {one.subject for one in named}, now - LOOK_BACK)
    facts = {name: one.facts for name, one in known.items()}
    for one in named:
        own = [waiver for waiver in counted if one in _pairs(waiver) and waiver.holds(now)]
        if covering := [waiver.id for waiver in own if _may_cover(waiver, one, controls, facts)]:
            yield f"{one.control} on {one.subject} by {covering[0]}"


def _pairs(waiver: Waiver) -> frozenset[_Asked]:
    return frozenset(_Asked(subject, waiver.control) for subject in waiver.subjects)


def _may_cover(
    waiver: Waiver, one: _Asked, controls: Mapping[str, Control], facts: Mapping[str, Facts]
) -> bool:
    control, known = controls.get(one.control), facts.get(one.subject)
    if control is None or known is None:
        return True
    states = _states(control, known, (waiver,))
    return "waived" in states or states <= {"unknown", "error"}


def _states(control: Control, facts: Facts, waivers: Sequence[Waiver]) -> set[str]:
    now = datetime.now(UTC)
    judged = (judge(facts, (control,), profile, now, waivers) for profile in control.profiles)
    return {verdict.state for one in judged for verdict in one.verdicts}
