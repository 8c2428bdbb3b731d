"""An audit as a page: what its template is given, the worst first, and nothing decided."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from automation import __version__
from automation.baseline.beside import beside_words
from automation.baseline.controls import Control, Severity
from automation.baseline.verdicts import FLOOR, WEIGHTS, Assessment, State, Tally, Verdict, tally
from automation.commands._baseline_formats import (
    FORMATS,
    LONGEST_NAME,
    Reported,
    percent,
    plain,
    render_jsonl,
    render_junit,
)
from automation.commands._baselines import HostScore, ranked, reassess
from automation.commands._command import ROOT
from automation.commands._controls import load_controls
from automation.commands._session import Session
from automation.commands._trend import look_back
from automation.commands._trend_page import trend_of
from automation.model.errors import ConfigError
from automation.model.templating import render
from automation.recovery.report_words import count, utc

TEMPLATES = ROOT / "templates"
# Longer lists and tables are folded away after so many.
FIRST_NAMES = 12
FIRST_ROWS = 40
FIRST_REASONS = 8
SEVERITIES: tuple[Severity, ...] = ("critical", "high", "medium", "low")
STATES: Mapping[State, tuple[str, str]] = {
    "pass": ("good", "passed"),
    "attested": ("good", "attested by people"),
    "waived": ("group", "waived"),
    "fail": ("bad", "failed"),
    "error": ("bad", "could not be judged"),
    "unknown": ("mixed", "not known"),
    "not_applicable": ("still", "not applicable"),
}


class Names(NamedTuple):
    """Names of hosts or controls: some shown, the others folded away."""

    first: tuple[str, ...]
    rest: tuple[str, ...]


class Reason(NamedTuple):
    """What was found, and where."""

    words: str
    beside: str  # what laxer profiles say
    hosts: Names


class Finding(NamedTuple):
    """A control that failed, with what was found."""

    id: str
    severity: Severity
    title: str
    why: str
    impact: str
    asked: str
    hosts: int
    first: tuple[Reason, ...]
    rest: tuple[Reason, ...]


class HostRow(NamedTuple):
    """One host, and what its verdicts count."""

    name: str
    about: str
    counts: Mapping[str, int]
    failed: str
    controls: Names
    coverage: str
    score: str
    trusted: bool


class Blind(NamedTuple):
    """Why something is not known, of which controls, on which hosts."""

    words: str
    controls: Names
    hosts: Names


class Accepted(NamedTuple):
    """What a waiver or an attestation stands for."""

    id: str
    state: str
    control: str
    words: str
    hosts: Names


class Part(NamedTuple):
    """A part of the bar of all verdicts, in percent of its width."""

    kind: str
    x: float
    width: float
    words: str


class Judged(NamedTuple):
    """By what it was judged."""

    profiles: str
    collected: str
    judged: str
    collectors: tuple[str, ...]
    simulated: Names
    weights: str


def report(session: Session, run: str, format: str, profile: str) -> str:
    """Judge what an audit kept by today's controls and waivers, and give that as a text.

    Raises:
        ConfigError: there is no such format or run, it is no audit, or files have faults.
        NotMet: facts that it kept are not those that its journal names.
    """
    if format not in FORMATS:
        raise ConfigError(
            f"--format {format} is none; nothing was written", hint=f"one of {', '.join(FORMATS)}"
        )
    audited = reassess(session, run, profile)
    told = Reported(session.environment.name, audited)
    match format:
        case "jsonl":
            return render_jsonl(told)
        case "junit":
            return render_junit(told)
    subjects = {one.subject for one in audited.assessments}
    past = look_back(session, run, profile, subjects)
    return render_page(told._replace(past=past), load_controls())


def render_page(told: Reported, controls: Mapping[str, Control]) -> str:
    """Give an audit's page: one file, no JavaScript, nothing fetched from anywhere."""
    audited = told.audited
    verdicts = [verdict for one in audited.assessments for verdict in one.verdicts]
    counted = tally(verdicts)
    findings, hosts = list(_findings(verdicts, controls)), _hosts(audited.assessments, audited.scores)
    state, headline = _headline(findings, hosts, told)
    return render(
        TEMPLATES,
        "reports/baseline.html.j2",
        environment=plain(told.environment),
        run=plain(audited.run),
        state=state,
        headline=headline,
        found=_counts(counted),
        counted=counted,
        percent=percent,
        floor=percent(FLOOR),
        count=count,
        bar=_bar(counted),
        findings=findings,
        hosts=hosts,
        blind=_blind(verdicts),
        accepted=_accepted(verdicts),
        trend=trend_of(told),
        waivers=audited.waivers,
        silent=[(plain(host, LONGEST_NAME), plain(why)) for host, why in audited.not_collected.items()],
        judged=_how(audited.assessments),
        controls=len({one.control for one in verdicts}),
        version=__version__,
        first_rows=FIRST_ROWS,
        plain=plain,
    )


def _headline(findings: Sequence[Finding], hosts: Sequence[HostRow], told: Reported) -> tuple[str, str]:
    of = count(len(hosts), "host")
    blind = [row.name for row in hosts if not row.trusted]
    if findings:
        failing = sum(1 for row in hosts if row.failed)
        return "failed", f"{count(len(findings), 'control')} failed on {failing} of {of}"
    if not hosts:
        return "not-measured", "No host gave its facts, so nothing is known"
    if blind:
        return "not-measured", f"Nothing failed, but too little is known of {len(blind)} of {of}"
    if told.audited.not_collected:
        silent = count(len(told.audited.not_collected), "host")
        return "not-measured", f"Nothing failed on {of}, but {silent} gave no facts"
    return "met", f"Nothing failed on {of}"


def _counts(counted: Tally) -> str:
    said = [
        f"{counted.counts[state]} {words}"
        for state, (_, words) in STATES.items()
        if counted.counts.get(state)
    ]
    return ", ".join(said) or "nothing was judged"


def _bar(counted: Tally) -> list[Part]:
    whole, x, parts = sum(counted.counts.values()), 0.0, []
    for state, (kind, words) in STATES.items():
        number = counted.counts.get(state, 0)
        if number:
            width = number / whole * 100
            parts.append(Part(kind, round(x, 3), round(width, 3), f"{number} {words}"))
            x += width
    return parts


def _findings(verdicts: Sequence[Verdict], controls: Mapping[str, Control]) -> Iterator[Finding]:
    failed: dict[str, list[Verdict]] = {}
    for one in ranked([one for one in verdicts if one.state in ("fail", "error")]):
        failed.setdefault(one.control, []).append(one)
    for name, ones in failed.items():
        control = controls[name]
        by_reason: dict[tuple[str, str], list[str]] = {}
        for one in ones:
            told = plain(one.reason), plain(beside_words(one))
            by_reason.setdefault(told, []).append(one.subject)
        reasons = [Reason(*words, _names(hosts)) for words, hosts in by_reason.items()]
        yield Finding(
            id=name,
            severity=control.severity,
            title=control.title,
            why=control.why,
            impact=control.impact,
            asked=_asked(control),
            hosts=len(ones),
            first=tuple(reasons[:FIRST_REASONS]),
            rest=tuple(reasons[FIRST_REASONS:]),
        )


def _asked(control: Control) -> str:
    named = control.references
    where = {"CIS": named.cis, "NIST 800-53r5": named.nist, "CJIS": named.cjis, "also": named.other}
    return "; ".join(f"{name} {', '.join(sections)}" for name, sections in where.items() if sections)


def _hosts(assessments: Sequence[Assessment], scores: Sequence[HostScore]) -> list[HostRow]:
    pairs = sorted(
        zip(assessments, scores, strict=True),
        key=lambda pair: (-1 if pair[1].score is None else pair[1].score, pair[0].subject),
    )
    return [_host(one, score) for one, score in pairs]


def _host(one: Assessment, score: HostScore) -> HostRow:
    bad = ranked([verdict for verdict in one.verdicts if verdict.state in ("fail", "error")])
    failed = Counter(verdict.severity for verdict in bad)
    worth = percent(score.score)
    if score.counts.get("waived"):
        worth = f"{worth}, {percent(score.score_with_waivers)} with waivers"
    return HostRow(
        name=plain(one.subject, LONGEST_NAME),
        about=f"{one.profile}{', simulated' if one.source == 'simulated' else ''}",
        counts=score.counts,
        failed=", ".join(f"{failed[severity]} {severity}" for severity in SEVERITIES if failed[severity]),
        controls=_fold([verdict.control for verdict in bad]),
        coverage=percent(score.coverage),
        score=worth,
        trusted=score.trusted,
    )


def _blind(verdicts: Sequence[Verdict]) -> list[Blind]:
    found: dict[str, list[Verdict]] = {}
    for one in verdicts:
        if one.state == "unknown":
            found.setdefault(plain(one.reason), []).append(one)
    groups = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        Blind(words, _names(one.control for one in ones), _names(one.subject for one in ones))
        for words, ones in groups
    ]


def _accepted(verdicts: Sequence[Verdict]) -> list[Accepted]:
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for one in verdicts:
        if one.state in ("waived", "attested"):
            waiver = plain(one.waiver, LONGEST_NAME)
            found.setdefault((waiver, one.state, one.control, plain(one.reason)), []).append(one.subject)
    return [Accepted(*key, _names(hosts)) for key, hosts in sorted(found.items())]


def _how(assessments: Sequence[Assessment]) -> Judged:
    profiles = Counter(one.profile for one in assessments)
    simulated = [one.subject for one in assessments if one.source == "simulated"]
    return Judged(
        profiles=", ".join(f"{name} of {count(number, 'host')}" for name, number in sorted(profiles.items())),
        collected=_span(one.collected_at for one in assessments),
        judged=_span(one.judged_at for one in assessments),
        collectors=tuple(sorted({plain(one.collector, LONGEST_NAME) or "not named" for one in assessments})),
        simulated=_names(simulated),
        weights=", ".join(f"{name} {weight}" for name, weight in WEIGHTS.items()),
    )


def _span(moments: Iterable[datetime]) -> str:
    ordered = sorted(moments)
    return " to ".join(dict.fromkeys(utc(one) for one in ordered[:1] + ordered[-1:]))


def _names(names: Iterable[str]) -> Names:
    return _fold(sorted({plain(name, LONGEST_NAME) for name in names}))


def _fold(names: Sequence[str]) -> Names:
    return Names(tuple(names[:FIRST_NAMES]), tuple(names[FIRST_NAMES:]))
