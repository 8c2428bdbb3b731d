"""Audits and controls for people: the worst first."""

from collections.abc import Iterator
from textwrap import fill

from rich.table import Table
from rich.text import Text

from automation.baseline.beside import beside_words
from automation.baseline.controls import Control
from automation.baseline.verdicts import Verdict
from automation.baseline.words import (
    Line,
    check_lines,
    guard_lines,
    remedy_lines,
    risk_words,
    value_words,
)
from automation.commands._baseline_formats import percent, plain
from automation.commands._baselines import Audited, ranked
from automation.commands._controls import load_controls
from automation.commands._render import NARROW, _console, _table

_STYLES = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "dim"}
_COUNTED = ("pass", "fail", "waived", "attested", "unknown", "not_applicable", "error")


def print_audited(audited: Audited) -> None:
    """Print every failure by control, what is not known, then the score of every host."""
    console = _console()
    verdicts = [one for assessment in audited.assessments for one in assessment.verdicts]
    failed = ranked([one for one in verdicts if one.state in ("fail", "error")])
    for line in _by_control(failed, console.width):
        console.print(line)
    for line in _unknown([one for one in verdicts if one.state == "unknown"], console.width):
        console.print(line)
    console.print(_scores(audited, narrow=console.width < NARROW))
    for line in _waivers(audited, console.width):
        console.print(line)
    for host, why in audited.not_collected.items():
        console.print(Text(fill(f"{host}: NO FACTS: {plain(why)}", console.width, subsequent_indent="  ")))
    console.print(Text(f"run {audited.run}; its facts are kept"))


def print_control(control: Control) -> None:
    """Print all that is known of a control."""
    console = _console()
    for line in _told(control):
        indent = "  " * line.depth
        told = fill(
            line.words,
            console.width,
            initial_indent=indent,
            subsequent_indent=f"{indent}    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        console.print(Text(told), soft_wrap=True)


def _scores(audited: Audited, *, narrow: bool) -> Table:
    counted = ("pass", "fail", "unknown") if narrow else _COUNTED
    heads = [one.replace("_", " ") for one in counted]
    columns = ["Host", *([] if narrow else ["Profile"]), *heads, "Known", "Score"]
    table = _table(*columns, right=set(range(len(columns) - len(heads) - 2, len(columns))))
    for row in audited.scores:
        score = percent(row.score)
        if row.score_with_waivers is not None and row.counts.get("waived"):
            score = f"{score}, {percent(row.score_with_waivers)} with waivers"
        shown = score if row.trusted else f"{score}, too little known"
        numbers = [str(row.counts.get(one, 0)) for one in counted]
        table.add_row(row.subject, *([] if narrow else [row.profile]), *numbers, percent(row.coverage), shown)
    return table


def _by_control(failed: list[Verdict], width: int) -> Iterator[Text]:
    titles = {name: one.title for name, one in load_controls().items()}
    by_control: dict[str, list[Verdict]] = {}
    for one in failed:
        by_control.setdefault(one.control, []).append(one)
    for name, verdicts in by_control.items():
        severity = verdicts[0].severity
        head = Text(f"{severity:8} {name}  {titles.get(name, '')}", style=_STYLES[severity])
        yield head
        reasons: dict[tuple[str, str], list[str]] = {}
        for one in verdicts:
            reasons.setdefault((one.reason, beside_words(one)), []).append(one.subject)
        for (reason, beside), hosts in reasons.items():
            words = f"{', '.join(hosts)}: {reason}"
            yield Text(fill(words, width, initial_indent="  ", subsequent_indent="    "))
            if beside:
                yield Text(fill(beside, width, initial_indent="    ", subsequent_indent="      "))


def _unknown(unknown: list[Verdict], width: int) -> Iterator[Text]:
    reasons: dict[str, set[str]] = {}
    for one in unknown:
        reasons.setdefault(one.reason, set()).add(one.control)
    for reason, controls in sorted(reasons.items(), key=lambda one: -len(one[1])):
        words = f"not known: {len(controls)} controls: {reason}"
        yield Text(fill(words, width, subsequent_indent="  "), style="yellow")


def _waivers(audited: Audited, width: int) -> Iterator[Text]:
    """Tell what waivers stand for, and what is to be said of them: first those that do not count."""
    used: dict[str, list[str]] = {}
    for assessment in audited.assessments:
        for one in assessment.verdicts:
            if one.waiver:
                used.setdefault(one.waiver, []).append(f"{one.control} on {one.subject}")
    for name, stands in used.items():
        yield Text(fill(f"{name}: stands for {', '.join(stands)}", width, subsequent_indent="  "))
    for told in sorted(audited.waivers, key=lambda one: one.counts):
        words = f"{told.id}: {'' if told.counts else 'DOES NOT COUNT: '}{told.words}"
        yield Text(
            fill(words, width, subsequent_indent="  "), style="yellow" if told.counts else _STYLES["high"]
        )


def _told(control: Control) -> Iterator[Line]:
    """Tell a control: what it wants and why, of whom; how it is judged; what enforcing it does."""
    yield Line(0, f"{control.id} ({control.severity}): {control.title}")
    yield Line(0, control.why)
    yield from _askers(control)
    if control.applies is not None:
        yield Line(0, f"applies where (else: {control.applies.otherwise}):")
        yield from check_lines(control.applies.when, 1)
    if control.check is not None:
        asked = {"in effect": control.check.effective, "written down": control.check.persistent}
        for when, check in asked.items():
            if check is not None:
                yield Line(0, f"{when}:")
                yield from check_lines(check, 1)
    else:
        yield Line(0, f"people look, and attest it for {control.attest_days} days")
    if not control.shared_kernel:
        yield Line(0, "not judged in a container, which shares its host's kernel")
    yield from _enforcing(control)
    days = control.waiver.max_days
    yield Line(
        0, f"may be waived: for {days} days at most" if control.waiver.allowed else "may not be waived"
    )


def _askers(control: Control) -> Iterator[Line]:
    yield Line(0, f"asked by profile: {', '.join(control.profiles)}")
    named = control.references
    asked = {"CIS": named.cis, "NIST 800-53r5": named.nist, "CJIS": named.cjis, "also": named.other}
    if told := "; ".join(f"{name} {', '.join(where)}" for name, where in asked.items() if where):
        yield Line(0, f"asked by others: {told}")
    for name in control.parameters:
        yield Line(0, f"${name}:")
        for value, profiles in _values(control, name).items():
            yield Line(1, f"{', '.join(profiles)}: {value}")


def _values(control: Control, name: str) -> dict[str, list[str]]:
    """Give each value of a parameter with the profiles that have it."""
    found: dict[str, list[str]] = {}
    for profile in control.profiles:
        found.setdefault(value_words(control.values(profile)[name]), []).append(profile)
    return found


def _enforcing(control: Control) -> Iterator[Line]:
    remedy = control.remedy
    if remedy is None:
        yield Line(0, "enforcing: people change it; no program does")
    else:
        yield Line(0, f"enforcing ({risk_words(remedy)}):")
        yield from (Line(1, one) for one in remedy_lines(remedy))
        if remedy.guards:
            yield Line(0, "only if:")
            yield from (Line(1, one) for one in guard_lines(remedy.guards))
        if remedy.risk != "R4":
            yield Line(0, "undo: what was before is kept with the change, and is put back from there")
    if control.impact:
        yield Line(0, f"what stops working: {control.impact}")
