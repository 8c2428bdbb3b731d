"""Audits: facts are collected once by a run, and judged here; what a run kept can be judged again any day."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from automation.baseline.beside import set_beside
from automation.baseline.controls import PROFILES, Control, Profile
from automation.baseline.judge import judge
from automation.baseline.planner import plan_audit
from automation.baseline.settings import Baseline
from automation.baseline.verdicts import FLOOR, Assessment, Tally, Verdict, tally
from automation.baseline.waivers import Exceptions, needless
from automation.commands._backup_facts import add_backups
from automation.commands._baseline_subjects import choose_subjects
from automation.commands._controls import load_controls
from automation.commands._session import Session
from automation.commands._waivers import WaiverTold, read_waivers, weigh
from automation.engine.journal import read_journal
from automation.model.base import Model
from automation.model.baseline_evidence import FactsCollected
from automation.model.errors import EXIT_PARTIAL, ConfigError, NotMet
from automation.model.facts import Facts
from automation.model.loading import load_model
from automation.model.records import StepEnded

FILE = "baseline.yml"


class HostScore(Model):
    """What one host's verdicts count."""

    subject: str
    profile: Profile
    counts: Mapping[str, int]
    score: float | None
    score_with_waivers: float | None
    coverage: float | None
    trusted: bool


class Audited(Model):
    """What an audit found."""

    run: str
    assessments: tuple[Assessment, ...]
    scores: tuple[HostScore, ...]
    not_collected: Mapping[str, str]  # host to why
    waivers: tuple[WaiverTold, ...] = ()


def load_baseline(session: Session) -> Baseline:
    """Read baseline.yml of an environment.

    Raises:
        ConfigError: it is not there, or has faults.
    """
    path = session.environment.folder / FILE
    if not path.exists():
        raise ConfigError(
            f"{path} is not there; nothing was touched", hint="its first line: profile: standard"
        )
    return load_model(path, Baseline)


def audit(session: Session, limit: str, profile: str) -> Audited:
    """Collect the facts of hosts, accounts and vCenters in a run of its own, and judge them.

    Raises:
        ConfigError: files or flags have faults.
        PreflightError: refused; nothing was run.
        KeyboardInterrupt: a person stopped it.
    """
    settings, controls = load_baseline(session), load_controls()
    asked, exceptions = _profile(profile), read_waivers(session.environment)
    subjects = choose_subjects(session, limit)
    plan = plan_audit(session.environment.name, subjects, settings.walk_s)
    finished = session.run(plan)
    if finished.closed.status == "interrupted":
        finished.raise_for_status()
    return _judged(session, finished.folder, _Standard(settings, controls, exceptions, asked))


def reassess(session: Session, run: str, profile: str) -> Audited:
    """Judge the facts that an audit kept by today's controls and waivers; no host is asked.

    Raises:
        ConfigError: there is no such run, it is no audit, or files have faults.
        NotMet: facts that it kept are not those that its journal names.
    """
    settings, controls = load_baseline(session), load_controls()
    folder = session.existing(run).artifacts.parent
    exceptions = read_waivers(session.environment)
    return _judged(session, folder, _Standard(settings, controls, exceptions, _profile(profile)))


def facts_of(session: Session, run: str) -> dict[str, Facts]:
    """Give the facts that a run kept, by subject.

    Raises:
        ConfigError: there is no such run.
        NotMet: facts that it kept are not those that its journal names.
    """
    folder = session.existing(run).artifacts.parent
    return {one.subject: one for one in _facts(folder, _collected(folder)[0])}


def judge_audit(audited: Audited) -> int:
    """Give the exit code of an audit: 0 all passed, 3 a host gave no facts.

    Raises:
        NotMet: something failed, or too little is known to say that nothing did.
    """
    failed = [one for assessment in audited.assessments for one in assessment.verdicts if one.state == "fail"]
    blind = [one.subject for one in audited.scores if not one.trusted]
    words = []
    if failed:
        words.append(f"{len(failed)} controls failed on {len({one.subject for one in failed})} hosts")
    if blind:
        words.append(f"less than {FLOOR:.0%} of what applies is known of {', '.join(blind[:4])}")
    if not audited.assessments:
        words.append("no host gave its facts")
    if words:
        worst = next((f" --control {one.control}" for one in ranked(failed)), "")
        hint = f"./inv baseline.explain{worst} says what is wanted and why" if worst else None
        raise NotMet("; ".join(words), hint=hint)
    return EXIT_PARTIAL if audited.not_collected else 0


def ranked(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Order verdicts by severity, the worst first, then by control."""
    order = ("critical", "high", "medium", "low")
    return sorted(verdicts, key=lambda one: (order.index(one.severity), one.control, one.subject))


def explain(control_id: str) -> Control:
    """Give one control.

    Raises:
        ConfigError: there is none of that id.
    """
    controls = load_controls()
    if control_id not in controls:
        near = [one for one in controls if control_id.rpartition(".")[2] in one]
        every = "./inv baseline.lint --env ENV --json names all of them"
        hint = f"perhaps {', '.join(near[:4])}" if near else every
        raise ConfigError(f"there is no control {control_id!r}; nothing was touched", hint=hint)
    return controls[control_id]


def _profile(name: str) -> Profile | None:
    known = {one: one for one in PROFILES}
    if name and name not in known:
        raise ConfigError(f"--profile {name} is none; nothing was run", hint=f"one of {', '.join(PROFILES)}")
    return known[name] if name else None


class _Standard(NamedTuple):
    """What facts are held against."""

    settings: Baseline
    controls: Mapping[str, Control]
    exceptions: Exceptions
    profile: Profile | None

    def profile_of(self, facts: Facts) -> Profile:
        return self.profile or self.settings.profile_of(facts.roles)


def _judged(session: Session, folder: Path, standard: _Standard) -> Audited:
    kept, failed = _collected(folder)
    if not kept and not failed:
        raise ConfigError(f"run {folder.name} collected no facts; nothing was touched")
    now, controls = datetime.now(UTC), tuple(standard.controls.values())
    had_at = max((one.collected_at for one in kept), default=now)
    weighed = weigh(session, standard.exceptions, standard.controls, now)
    assessments = tuple(
        set_beside(
            judge(facts, controls, standard.profile_of(facts), now, weighed.counted),
            facts,
            standard.controls,
            now,
        )
        for facts in add_backups(session, tuple(_facts(folder, kept)), had_at)
    )
    verdicts = [verdict for one in assessments for verdict in one.verdicts]
    spare = needless(weighed.counted, verdicts, now)
    return Audited(
        run=folder.name,
        assessments=assessments,
        scores=tuple(_score(one, tally(one.verdicts)) for one in assessments),
        not_collected=failed,
        waivers=(*weighed.told, *(WaiverTold(id=one.id, counts=True, words=one.words) for one in spare)),
    )


def _collected(folder: Path) -> tuple[list[FactsCollected], dict[str, str]]:
    """Give what a run collected, as of when the control node had it, and why of some hosts nothing."""
    kept: dict[str, FactsCollected] = {}
    failed: dict[str, str] = {}
    for event in read_journal(folder / "journal.jsonl"):
        if not isinstance(event.body, StepEnded) or not event.body.step.endswith("/facts"):
            continue
        host = event.body.step.removesuffix("/facts")
        if event.body.outcome and isinstance(event.body.outcome.evidence, FactsCollected):
            evidence = event.body.outcome.evidence
            kept[host] = evidence.model_copy(update={"collected_at": event.at})
            failed.pop(host, None)
        elif event.body.failure:
            failed[host] = event.body.failure.message
    return list(kept.values()), failed


def _facts(folder: Path, kept: Sequence[FactsCollected]) -> Iterator[Facts]:
    from automation.model.kept_facts import read_facts

    for one in kept:
        facts = read_facts(folder / "artifacts" / one.file)
        if hashlib.sha256(facts.model_dump_json().encode()).hexdigest() != one.sha256:
            raise NotMet(f"run {folder.name}: {one.file} is not what was collected on {one.host}")
        yield facts


def _score(one: Assessment, counted: Tally) -> HostScore:
    return HostScore(
        subject=one.subject,
        profile=one.profile,
        counts={str(state): count for state, count in counted.counts.items()},
        score=counted.score,
        score_with_waivers=counted.with_waivers,
        coverage=counted.coverage,
        trusted=counted.trusted,
    )
