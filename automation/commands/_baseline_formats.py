"""An audit for programs: a verdict a line, or as JUnit; and what a host said, made fit to be shown.

What hosts say is not to be trusted: no sign of it acts on a terminal, a page or a parser.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from automation.baseline.trend import NOTHING, Past
from automation.baseline.verdicts import FLOOR, Assessment, Verdict
from automation.commands._baselines import Audited, HostScore
from automation.model.errors import ConfigError

FORMATS = ("html", "jsonl", "junit")
LONGEST_REASON = 600
LONGEST_NAME = 253  # of a host, as DNS has it
# Not a failure, and no pass either.
_SKIPPED = ("waived", "not_applicable", "unknown")


class Reported(NamedTuple):
    """An audit, whose it is, and what those before it found."""

    environment: str
    audited: Audited
    past: Past = NOTHING


def plain(text: str, longest: int = LONGEST_REASON) -> str:
    """Give a text of a host without signs that act on what shows it, and not longer than people read."""
    clean = "".join(sign if sign.isprintable() else "?" for sign in text[: longest + 1])
    return clean if len(clean) <= longest else f"{clean[:longest]}..."


def percent(part: float | None) -> str:
    """Give a part in whole percent, never rounded up: only all of it is 100 %."""
    return "none" if part is None else f"{int(part * 100 + 1e-9)} %"


def render_jsonl(told: Reported) -> str:
    """Give every verdict as a line of JSON; a host without facts is a line without control."""
    lines = [*_verdicts(told), *_silent(told)]
    return "".join(f"{json.dumps(line, ensure_ascii=True, sort_keys=True)}\n" for line in lines)


def render_junit(told: Reported) -> str:
    """Give an audit as JUnit: a suite a host, a case a control, and one for whether enough is known."""
    root = ElementTree.Element("testsuites", name=f"baseline {told.environment} {told.audited.run}")
    for assessment, score in zip(told.audited.assessments, told.audited.scores, strict=True):
        root.append(_suite(assessment, score))
    for host, why in told.audited.not_collected.items():
        suite = ElementTree.SubElement(root, "testsuite", name=plain(host), tests="1", errors="1")
        case = ElementTree.SubElement(suite, "testcase", classname="baseline", name="facts")
        ElementTree.SubElement(case, "error", message=plain(why), type="no-facts")
    ElementTree.indent(root)
    text: str = ElementTree.tostring(root, encoding="us-ascii", xml_declaration=True).decode() + "\n"
    return text


def write_report(text: str, to: Path) -> None:
    """Write a report, whole or not at all, for its owner alone: it tells where hosts are weak.

    Raises:
        ConfigError: it cannot be written there.
    """
    partial = to.with_name(f"{to.name}.part")
    try:
        partial.unlink(missing_ok=True)
        opened = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(opened, "w", encoding="utf-8") as file:
            file.write(text)
        partial.replace(to)
    except OSError as exc:
        raise ConfigError(f"cannot write {to}: {exc.strerror}; nothing was written") from exc


def _verdicts(told: Reported) -> Iterator[dict[str, object]]:
    for one in told.audited.assessments:
        about = one.model_dump(mode="json", exclude={"verdicts"})
        for verdict in one.verdicts:
            yield {**_run(told), **about, **verdict.model_dump(mode="json")}


def _silent(told: Reported) -> Iterator[dict[str, object]]:
    for host, why in told.audited.not_collected.items():
        yield {**_run(told), "subject": host, "control": None, "state": "error", "reason": f"no facts: {why}"}


def _run(told: Reported) -> dict[str, object]:
    return {"environment": told.environment, "run": told.audited.run}


def _suite(one: Assessment, score: HostScore) -> ElementTree.Element:
    suite = ElementTree.Element(
        "testsuite",
        name=plain(one.subject),
        timestamp=one.collected_at.isoformat(),
        hostname=plain(one.subject),
    )
    for verdict in one.verdicts:
        _case(suite, one, verdict)
    known = ElementTree.SubElement(suite, "testcase", classname=f"baseline.{one.profile}", name="coverage")
    if not score.trusted:
        words = f"{percent(score.coverage)} of what applies is known, {percent(FLOOR)} are needed"
        ElementTree.SubElement(known, "failure", message=words, type="coverage")
    for counted, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(counted, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite)))
    return suite


def _case(suite: ElementTree.Element, one: Assessment, verdict: Verdict) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=f"baseline.{one.profile}", name=verdict.control
    )
    message = plain(verdict.reason)
    if verdict.state == "fail":
        ElementTree.SubElement(case, "failure", message=message, type=verdict.severity)
    elif verdict.state == "error":
        ElementTree.SubElement(case, "error", message=message, type=verdict.severity)
    elif verdict.state in _SKIPPED:
        ElementTree.SubElement(case, "skipped", message=f"{verdict.state}: {message}")
