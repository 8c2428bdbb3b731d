"""Audits and controls for people: the worst first."""

from collections.abc import Iterator
from textwrap import fill

from rich.table import Table
from rich.text import Text

from automation.baseline.controls import PROFILES, Control
from automation.baseline.verdicts import Verdict
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
        console.print(Text(fill(f"{host}: NO FACTS: {why}", console.width, subsequent_indent="  ")))
    console.print(Text(f"run {audited.run}; its facts are kept"))


def print_control(control: Control) -> None:
    """Print all that is known of a control."""
    console = _console()
    for line in _told(control):
        console.print(Text(fill(line, console.width, subsequent_indent="  ", break_long_words=False)))


def _scores(audited: Audited, *, narrow: bool) -> Table:
    counted = ("pass", "fail", "unknown") if narrow else _COUNTED
    columns = ["Host", *([] if narrow else ["Profile"]), *(one.replace("_", " ") for one in counted), "Score"]
    table = _table(*columns, right=set(range(len(columns) - len(counted) - 1, len(columns))))
    for row in audited.scores:
        score = "none" if row.score is None else f"{row.score:.0%}"
        if row.score_with_waivers is not None and row.counts.get("waived"):
            score = f"{score}, {row.score_with_waivers:.0%} with waivers"
        shown = score if row.trusted else f"{score}, too little known"
        numbers = [str(row.counts.get(one, 0)) for one in counted]
        table.add_row(row.subject, *([] if narrow else [row.profile]), *numbers, shown)
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
        reasons: dict[str, list[str]] = {}
        for one in verdicts:
            reasons.setdefault(one.reason, []).append(one.subject)
        for reason, hosts in reasons.items():
            words = f"{', '.join(hosts)}: {reason}"
            yield Text(fill(words, width, initial_indent="  ", subsequent_indent="    "))


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


def _told(control: Control) -> Iterator[str]:
    yield f"{control.id} ({control.severity}): {control.title}"
    yield control.why
    yield f"asked by: {', '.join(control.profiles)}"
    for name in control.parameters:
        values = [f"{one} {control.values(one)[name]}" for one in PROFILES if one in control.profiles]
        yield f"{name}: {'; '.join(values)}"
    if control.applies is not None:
        yield f"does not apply where: {control.applies.otherwise}"
    if control.check is not None:
        checks = {"in effect": control.check.effective, "written down": control.check.persistent}
        for when, check in checks.items():
            if check is not None:
                yield f"{when}: {check.model_dump_json(by_alias=True, exclude_unset=True)}"
    else:
        yield f"people look, and attest it for {control.attest_days} days"
    if not control.shared_kernel:
        yield "not judged in a container, which shares its host's kernel"
    if control.impact:
        yield f"where it is enforced: {control.impact}"
    named = control.references
    asked = {"CIS": named.cis, "NIST 800-53r5": named.nist, "CJIS": named.cjis, "also": named.other}
    yield "; ".join(f"{name} {', '.join(where)}" for name, where in asked.items() if where)
