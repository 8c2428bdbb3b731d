"""What people are told of copies beside their originals: verdict, answer, finding, objective. Pure words.

In an exercise a copy that is weaker is an objective that was missed. In a real failover it is told and is
something to be mended: who was recovered is not called unrecovered for it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from automation.model.copies import CopiesCompared, CopyCompared, Weaker
from automation.model.plan import Mode
from automation.recovery.report import Answer, ReportVerdict
from automation.recovery.report_review import ControlRow, RatedObjective
from automation.recovery.report_words import count, listing, utc
from automation.recovery.verdicts import ALL_MET

SHOWN = 5
_STATES = {"fail": "fails", "unknown": "not known", "error": "could not be judged", "waived": "waived"}


class CopyFinding(NamedTuple):
    """What is to be mended: its name, how grave it is, what was seen, what to do."""

    name: str
    severity: str
    seen: str
    act: str


def judge_copies(
    verdict: ReportVerdict, headline: str, copies: CopiesCompared | None, mode: Mode
) -> tuple[ReportVerdict, str]:
    """Give the verdict with what was seen of copies: in an exercise it is met only if none is weaker."""
    if copies is None or verdict == "open":
        return verdict, headline
    told = " ".join((*_told_weaker(copies), *_told_unknown(copies)))
    if not told:
        return verdict, headline
    if mode == "failover" or verdict == "failed":
        return verdict, f"{headline} {told}"
    missed = copies.weaker or verdict == "missed"
    rest = headline.replace(ALL_MET, "Every other objective was met")
    return "missed" if missed else "not-measured", f"{told} {rest}"


def answer_copies(copies: CopiesCompared | None) -> Iterator[Answer]:
    """Answer whether what was recovered is as well secured as what it was recovered from."""
    if copies is None:
        return
    told = " ".join((*_told_weaker(copies), *_told_unknown(copies)))
    alike = "; ".join(_alike(one) for one in copies.compared)
    waived = tuple(
        f"Waived on {one.host} ({weak.waiver}): {weak.title}: {weak.observed}."
        for one in copies.compared
        for weak in one.waived
    )
    yield Answer(
        question="Is the copy as well secured as the original?",
        text=f"{'No: ' if copies.weaker else ''}{told}"
        or "Yes: what passes on the original passes on the copy, or is waived.",
        more=(
            *((f"{alike}.",) if alike else ()),
            *dict.fromkeys(waived),
            *_not_walked(copies),
            *_refused(copies),
            *_not_asked(copies),
        ),
    )


def found_copies(copies: CopiesCompared | None, env: str) -> Iterator[CopyFinding]:
    """Give what is to be mended, host by host."""
    for host, weak in _by_host(copies) if copies else ():
        grave = any(one.severity in ("critical", "high") for one in weak)
        seen = f"{host} is weaker than its original: {listing([_words(one) for one in weak], SHOWN)}."
        act = f"Mend it (./inv baseline.audit --env {env} --limit {host}), or have a waiver signed."
        yield CopyFinding(f"weaker-{host}", "high" if grave else "medium", seen, act)
    for one in copies.not_compared if copies else ():
        seen = f"Nobody knows how {one.service} on {one.host} is secured beside its original: {one.why}."
        yield CopyFinding(f"not-compared-{one.service}-{one.host}", "medium", seen, "Find out why.")


def rate_copies(copies: CopiesCompared | None) -> Iterator[RatedObjective]:
    """Give the objective that a copy is no weaker, if anything was compared or should have been."""
    if copies is None or not (copies.compared or copies.not_compared):
        return
    unknown = bool(copies.not_compared)
    waived = any(one.waived for one in copies.compared)
    yield RatedObjective(
        capability="Cybersecurity",
        objective="The copy is no weaker than the original",
        criterion="what passes on the original passes on the copy, or a signed waiver accepts it",
        result=_result(copies),
        rating="M" if copies.weaker else "-" if unknown else "S" if waived else "P",
    )


def equivalent_controls(copies: CopiesCompared | None, source: str) -> Iterator[ControlRow]:
    """Say how far it is shown that the other site has controls equivalent to those of the first."""
    if copies is None:
        return
    shown = copies.compared and not copies.not_compared and not copies.weaker
    yield ControlRow(
        source=f"{source} CP-7 c",
        asks="controls at the alternate site equivalent to those at the primary site",
        shown="shown" if shown else "in part" if copies.compared else "not shown",
        how=_result(copies),
    )


def lines_of(copies: CopiesCompared | None) -> Iterator[str]:
    """Give a line a copy and a line for each control that is weaker, for a terminal."""
    for one in copies.compared if copies else ():
        yield f"{one.service}: {_alike(one)}"
        for weak in (*one.weaker, *one.waived):
            wanted = f"; wanted: {weak.wanted}" if weak.wanted and weak.state != "unknown" else ""
            by = f" by {weak.waiver}" if weak.waiver else ""
            yield f"  {weak.severity} {weak.control}: {_STATES[weak.state]}{by}: {weak.observed}{wanted}"
    for other in copies.not_compared if copies else ():
        yield f"{other.service}: {other.host} was not compared: {other.why}"
    yield from (*_not_walked(copies), *_refused(copies), *_not_asked(copies)) if copies else ()


def state_words(weak: Weaker) -> str:
    """Say how a control stands on the copy."""
    return f"{_STATES[weak.state]} ({weak.waiver})" if weak.waiver else _STATES[weak.state]


def ages(one: CopyCompared) -> str:
    """Say when the facts are from, and of which run where it is another."""
    before = f"as of {utc(one.original_at)}" + (f", kept by run {one.kept_by}" if one.kept_by else "")
    return f"original {before}; copy as of {utc(one.copy_at)}"


def _told_weaker(copies: CopiesCompared) -> Iterator[str]:
    for host, weak in _by_host(copies):
        whose = ", ".join(dict.fromkeys(h for c in copies.compared if c.host == host for h in c.originals))
        yield f"{host} is weaker than {whose}: {listing([_words(one) for one in weak], SHOWN)}."


def _told_unknown(copies: CopiesCompared) -> Iterator[str]:
    for one in copies.not_compared:
        yield f"Nobody knows whether {one.service} on {one.host} is as well secured: {one.why.rstrip('.')}."


def _refused(copies: CopiesCompared) -> tuple[str, ...]:
    """Say of waivers that do not count why, where one might have been meant for what is weaker."""
    told = copies.refused.items() if copies.weaker else ()
    return tuple(f"Waiver {name} does not count: {why}." for name, why in told)


def _not_walked(copies: CopiesCompared) -> tuple[str, ...]:
    """Name what was not compared because a walk over disks ended before it had seen all."""
    return tuple(
        f"Not compared on {one.host}, because a walk over the disks of {', '.join(one.originals)} was cut "
        f"short: {', '.join(one.not_walked)}."
        for one in copies.compared
        if one.not_walked
    )


def _not_asked(copies: CopiesCompared) -> tuple[str, ...]:
    if not copies.not_asked:
        return ()
    return (
        f"Not asked, because nobody can log in before they are recovered: {', '.join(copies.not_asked)}.",
    )


def _by_host(copies: CopiesCompared) -> list[tuple[str, Sequence[Weaker]]]:
    found: dict[str, list[Weaker]] = {}
    for (host, _), weak in copies.weaker.items():
        found.setdefault(host, []).extend(weak)
    return list(found.items())


def _words(weak: Weaker) -> str:
    how = "" if weak.state == "fail" else f", {_STATES[weak.state]} there"
    return f"{weak.title} ({weak.severity}{how})"


def _alike(one: CopyCompared) -> str:
    simulated = f" ({', '.join(one.simulated)} simulated)" if one.simulated else ""
    gone = f", {len(one.not_applicable)} do not apply there" if one.not_applicable else ""
    old = f" as of {utc(one.original_at)}" if one.kept_by else ""
    return (
        f"{one.alike} of {count(one.controls, 'control')} that pass on {', '.join(one.originals)}{old} "
        f"pass on {one.host}{simulated}{gone} ({one.asked} are asked)"
    )


def _result(copies: CopiesCompared) -> str:
    said = [_alike(one) for one in copies.compared]
    said += [f"{one.service} on {one.host} was not compared" for one in copies.not_compared]
    return "; ".join(said)
