"""Enforcing a baseline: facts are collected, failures planned, shown, agreed to, changed, judged again."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from automation.baseline.controls import Control
from automation.baseline.enforcement import Case, Decided, Enforced, LeftOut, Wish, decide
from automation.baseline.fights import Fight
from automation.baseline.guards import ASKED, COMPUTED, NOT_FOUGHT_OVER, Scene
from automation.baseline.planner import Enforcing, plan_enforcement
from automation.baseline.settings import Baseline
from automation.baseline.verdicts import Verdict
from automation.commands._baseline_subjects import accounts_of, beside
from automation.commands._baselines import Audited, audit, facts_of, load_baseline, reassess
from automation.commands._controls import load_controls
from automation.commands._enforced import compare, list_fights, read_done
from automation.commands._enforcing_waves import watch_of, waves_of
from automation.commands._session import Session
from automation.engine.finished import Finished
from automation.model.base import Model
from automation.model.baseline_evidence import CallsMade, SettingsEnforced
from automation.model.errors import EXIT_PARTIAL, ConfigError, NotMet, PreflightError
from automation.model.plan import Plan


class EnforceFlags(NamedTuple):
    """How an enforcement was asked for on the command line; names with commas between."""

    limit: str = ""
    profile: str = ""
    control: str = ""
    accept_guard: str = ""
    yes: bool = False


class Wave(Model):
    """Hosts, accounts or vCenters that are changed together."""

    number: int
    subjects: tuple[str, ...]


class Planned(Model):
    """What an enforcement would change, in which order, and what it leaves out."""

    audit: str
    digest: str
    enforced: tuple[Enforced, ...]
    waves: tuple[Wave, ...]
    left_out: tuple[LeftOut, ...]
    not_collected: Mapping[str, str]
    fights: tuple[str, ...]
    watched_by: tuple[str, ...]

    @property
    def locks_out(self) -> tuple[str, ...]:
        """Name what a change could lock people out of."""
        return tuple(one.subject for one in self.enforced if "R2" in one.risks)


class Prepared(NamedTuple):
    """An enforcement that is ready to run, and what it was made from."""

    plan: Plan
    shown: Planned
    audited: Audited


class Result(Model):
    """What an enforcement changed, and what is not well after it."""

    run: str
    settings: tuple[SettingsEnforced, ...]
    calls: tuple[CallsMade, ...]
    unmet: tuple[Verdict, ...] = ()
    worse: tuple[Verdict, ...] = ()
    lost: tuple[Verdict, ...] = ()
    not_collected: Mapping[str, str] = {}

    @property
    def changed(self) -> int:
        """How many settings are another way than before."""
        kept = [one for one in self.settings if one.switch != "reverted"]
        own = sum(one.changed for host in kept for one in host.settings)
        return own + sum(len(one.saved) for one in self.calls)


def prepare(session: Session, flags: EnforceFlags) -> Prepared:
    """Collect facts in a run of its own, judge them, and plan what makes the failed controls hold.

    Raises:
        ConfigError: files or flags have faults.
        PreflightError: refused; nothing was run.
        KeyboardInterrupt: a person stopped it.
    """
    settings, controls = load_baseline(session), load_controls()
    wish = _wish(settings, controls, flags)
    audited = audit(session, flags.limit, flags.profile)
    fights = list_fights(session.state, datetime.now(UTC))
    decided = tuple(_decide(session, audited, controls, wish, fights))
    changing = {one.enforced.subject: one.enforced for one in decided if one.enforced.controls}
    waves = waves_of(session, settings, changing)
    meanwhile = beside(session, changing)
    watch = watch_of(session, meanwhile) if changing else None
    enforcing = Enforcing(changing, waves, watch, meanwhile)
    plan = plan_enforcement(session.environment.name, enforcing, settings)
    shown = Planned(
        audit=audited.run,
        digest=plan.digest,
        enforced=tuple(changing[name] for wave in waves for name in wave),
        waves=tuple(Wave(number=number, subjects=tuple(wave)) for number, wave in enumerate(waves, 1)),
        left_out=tuple(left for one in decided for left in one.left_out),
        not_collected=audited.not_collected,
        fights=tuple(
            f"{left.control} on {left.subject}: {left.why}"
            for one in decided
            for left in one.left_out
            if NOT_FOUGHT_OVER in left.guards
        ),
        watched_by=tuple(probe.id for probe in watch.probes) if watch else (),
    )
    return Prepared(plan, shown, audited)


def refuse_yes(prepared: Prepared, flags: EnforceFlags) -> None:
    """See that no flag answers where people could be locked out.

    Raises:
        ConfigError: one would.
    """
    if flags.yes and (risky := prepared.shown.locks_out):
        raise ConfigError(
            f"--yes answers no question where a change may lock people out: {', '.join(risky[:4])}; "
            "nothing was changed",
            hint="leave --yes out and answer, or take only what cannot: --control",
        )


class Ended(NamedTuple):
    """What an enforcement came to: what it changed, and how its run ended."""

    result: Result
    finished: Finished


def enforce(
    session: Session, prepared: Prepared, flags: EnforceFlags, *, ask: Callable[[], bool] | None
) -> Ended:
    """Ask, change, and judge what came of it; what was changed is told of a run that stopped, too.

    Args:
        ask: puts the question to a person; None when nobody sits at a terminal.

    Raises:
        PreflightError: refused, or nobody said yes: nothing was changed.
    """
    refuse_yes(prepared, flags)
    if not (flags.yes or prepared.plan.approvals or agreed(ask)):
        raise PreflightError("nobody said yes; nothing was changed")
    finished = session.run(
        prepared.plan,
        look=lambda: _refuse_waived(reassess(session, prepared.audited.run, flags.profile), prepared),
    )
    done = read_done(finished.folder)
    result = Result(run=finished.folder.name, settings=done.settings, calls=tuple(done.calls.values()))
    if finished.closed.status != "succeeded":
        return Ended(result, finished)
    after = reassess(session, result.run, flags.profile)
    controls = {one.subject: one.controls for one in prepared.shown.enforced}
    found = compare(prepared.audited.assessments, after.assessments, controls)
    judged = result.model_copy(update={**found._asdict(), "not_collected": after.not_collected})
    return Ended(judged, finished)


def _refuse_waived(now: Audited, prepared: Prepared) -> None:
    """See that nobody has accepted since the plan was made what it would change.

    Raises:
        PreflightError: somebody has.
    """
    asked = {(one.subject, control) for one in prepared.shown.enforced for control in one.controls}
    verdicts = (verdict for one in now.assessments for verdict in one.verdicts)
    waived = [
        f"{one.control} on {one.subject} by {one.waiver}"
        for one in verdicts
        if one.state == "waived" and (one.subject, one.control) in asked
    ]
    if waived:
        raise PreflightError(
            f"waived since this was planned: {'; '.join(waived[:4])}; nothing was changed",
            hint="plan it again: what is waived is left out",
        )


def judge_result(session: Session, prepared: Prepared, result: Result | None) -> int:
    """Give the exit code of an enforcement: 0 all holds, 3 something was left out or is not known.

    Raises:
        NotMet: what was enforced does not hold, something turned worse, or settings are fought over.
    """
    env = session.environment.name
    if result is not None and (result.unmet or result.worse):
        words = [f"{one.control} does not hold on {one.subject}" for one in result.unmet]
        words += [f"{one.control} held on {one.subject} and fails now" for one in result.worse]
        more = f"; and {len(words) - 4} more" if len(words) > 4 else ""
        raise NotMet(
            f"run {result.run}: {'; '.join(words[:4])}{more}",
            hint=f"./inv baseline.undo --env {env} --change {result.run} takes back what it changed",
        )
    if prepared.shown.fights:
        raise NotMet(
            f"{'; '.join(prepared.shown.fights[:4])}; not changed again",
            hint="find what changes it back: cron, another configuration tool, a person; who has stopped it "
            f"says so by --accept-guard {NOT_FOUGHT_OVER}",
        )
    open_ = [one for one in prepared.shown.left_out if not one.why.startswith(("waived by", "not known"))]
    missing = prepared.shown.not_collected or (result and (result.lost or result.not_collected))
    return EXIT_PARTIAL if open_ or missing else 0


def ask_yes() -> bool:
    """Ask at the terminal; only the word yes is one."""
    print("Type yes to change this: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() == "yes"


def agreed(ask: Callable[[], bool] | None) -> bool:
    """Put the question, where somebody is there to answer it.

    Raises:
        PreflightError: nobody is.
    """
    if ask is None:
        raise PreflightError(
            "nobody sits at a terminal to say yes to this; nothing was changed",
            hint="--yes, which answers only where nobody could be locked out",
        )
    return ask()


# --- what is wished, and decided -------------------------------------------------------------------


def _wish(settings: Baseline, controls: Mapping[str, Control], flags: EnforceFlags) -> Wish:
    only, accepted = _words(flags.control), frozenset(_words(flags.accept_guard))
    wish = Wish(settings, only, accepted)
    for word in only:
        if not any(Wish(settings, (word,)).asks_for(one) for one in controls):
            raise ConfigError(f"--control {word} is no control; nothing was touched")
    for guard in sorted(accepted):
        if guard not in ASKED and guard not in COMPUTED:
            known = ", ".join((*COMPUTED, *ASKED))
            raise ConfigError(
                f"--accept-guard {guard} is no guard; nothing was touched", hint=f"one of {known}"
            )
    return wish


def _words(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.replace(" ", "").split(",")))


def _decide(
    session: Session,
    audited: Audited,
    controls: Mapping[str, Control],
    wish: Wish,
    fights: Sequence[Fight],
) -> Iterator[Decided]:
    known, accounts = facts_of(session, audited.run), accounts_of(session.environment)
    for assessment in audited.assessments:
        server = session.inventory.servers.get(assessment.subject)
        scene = Scene(session.environment.automation_user, server.provider if server else "")
        names = accounts.get(assessment.subject, ())
        case = Case(known[assessment.subject], assessment, scene, fights, names)
        yield decide(case, controls, wish)
