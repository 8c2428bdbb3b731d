"""Every number and every moment of a report is the one that the run's raw lines give."""

import json
import re
from datetime import datetime, timedelta

import pytest

from automation.commands._report_page import render_html, render_markdown
from automation.recovery.planner import City
from automation.recovery.report import Report
from automation.recovery.report_fold import Facts, fold_report
from tests.recovery.drill_story import Story, tell
from tests.recovery.raw_report import Numbers, Raw, leaves
from tests.recovery.run_stories import killed_and_resumed, tried_again

STORIES = {
    "good": Story(),
    "lost-writes": Story(lost=20, brownout=True),
    "stopped": Story(fails="payments-db/fence-proof", back_ms=None),
    "unwatched": Story(witness=False),
    "never-back": Story(back_ms=None),
}
# Days that follow from rules and the day of the run: held by tests of their own.
RULED = re.compile(r"^review\.(findings\[\d+\]\.(start|due)|next_due)$")
EACH = {**STORIES, "killed": Story(), "tried-again": Story(lost=3)}
FILES = ("writes-payments.txt", "writes-payments-lost-primary.txt")


@pytest.fixture(params=EACH)
def facts(request: pytest.FixtureRequest, city: City) -> Facts:
    told = tell(city, EACH[request.param])
    changed = {"killed": killed_and_resumed, "tried-again": tried_again}.get(request.param)
    return changed(told) if changed else told


def raw_of(facts: Facts) -> Raw:
    journal = "".join(event.model_dump_json() + "\n" for event in facts.events)
    lists = {name: facts.read(name) or "" for name in FILES}
    return Raw(journal, facts.plan.model_dump_json(), facts.read("witness.jsonl"), lists)


def expected(facts: Facts) -> Numbers:
    raw, subject = raw_of(facts), json.loads(facts.subject.model_dump_json())
    names = list(subject["services"])
    parts = (raw.of_run(), raw.of_evidence(), raw.of_steps(), raw.of_fences(), raw.of_probes())
    found: Numbers = {}
    for part in (*parts, raw.of_measurement(), raw.of_marks([*names, ""])):
        found |= part
    for number, name in enumerate(names):
        service, target = subject["services"][name], subject["targets"][name]
        found |= raw.of_service(f"services[{number}]", name, service, target)
    return found


def test_every_number_and_moment_is_that_of_the_journal(facts: Facts) -> None:
    found = {
        path: value
        for path, value in leaves(json.loads(fold_report(facts).model_dump_json()))
        if not RULED.match(path) and not path.startswith(("deviations", "signatures", "answers"))
    }
    wanted = expected(facts)
    assert set(found) - set(wanted) == set(), "a number that nothing accounts for"
    assert set(wanted) - set(found) == set(), "a number that the report leaves out"
    wrong = {path: (value, wanted[path]) for path, value in found.items() if not _same(value, wanted[path])}
    assert wrong == {}


def _same(one: object, other: object) -> bool:
    if isinstance(one, datetime) and isinstance(other, datetime):
        return abs(one - other) <= timedelta(microseconds=1)
    return one == pytest.approx(other, abs=2e-6)


def test_lost_writes_are_named_one_by_one(city: City) -> None:
    facts = tell(city, Story(lost=20))
    raw = raw_of(facts)
    acknowledged = [line["reference"] for line in raw.witness if line.get("write") == "acknowledged"]
    kept = set(raw.lists[FILES[0]].split())
    missing = [one for one in acknowledged if one not in kept]
    assert [list(row.loss.missing) for row in fold_report(facts).services] == [missing, missing]


def test_every_deviation_stands_at_the_moment_of_its_line(facts: Facts) -> None:
    raw = {event["sequence"]: event["at"] for event in raw_of(facts).events}
    moments = {at.replace("Z", "+00:00") for at in raw.values()}
    for one in fold_report(facts).deviations:
        assert one.at.isoformat() in moments


# --- words ---------------------------------------------------------------------------------------

# With its unit, as people read it; counts and days are numbers of the model, which are held above.
DURATION = re.compile(r"(?<![\w.+-])(\d+(?:\.\d+)?) (ms|s|min|h)\b(?: (\d\d) (s|min)\b)?")
UNITS_S = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}


def durations(text: str) -> list[float]:
    return [
        float(match[1]) * UNITS_S[match[2]] + (float(match[3]) * UNITS_S[match[4]] if match[3] else 0.0)
        for match in DURATION.finditer(text)
    ]


def known_seconds(report: Report, facts: Facts) -> list[float]:
    """Every length of time that the raw lines give, and the differences that the words name."""
    numbers = expected(facts)
    found = [float(value) for value in numbers.values() if isinstance(value, int | float)]
    found += [0.0, *(abs(one) for one in found)]
    moments = [value for value in numbers.values() if isinstance(value, datetime)]
    zero = report.marks.fault_at or report.started_at
    found += [abs((at - zero).total_seconds()) for at in moments]
    for view in report.probes:
        if view.out_from and view.down_from and view.down_until:
            end = view.out_until or view.stretches[-1].until_at
            out, down = end - view.out_from, view.down_until - view.down_from
            found += [part.total_seconds() for part in (out, down, out - down)]
    found += [(one.until_at - one.from_at).total_seconds() for one in report.standstills]
    for row in report.services:
        good_at, seconds = row.outage.client_good_at, row.outage.rta_s
        for one in report.standstills if good_at and seconds else ():
            began = good_at - timedelta(seconds=seconds)
            found.append((min(one.until_at, good_at) - max(one.from_at, began)).total_seconds())
    if report.served_again_at and report.marks.declared_at:
        found.append((report.served_again_at - report.marks.declared_at).total_seconds())
    return found


def test_every_duration_in_words_is_one_that_the_journal_gives(facts: Facts) -> None:
    """On the page, in Markdown and in the answers; to the last digit that is printed."""
    report = fold_report(facts)
    known = known_seconds(report, facts)
    page = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<[^>]+>", " ", render_html(report), flags=re.S)
    said = {step.text for step in report.steps} | {one.text for one in report.deviations}
    for text in (page, render_markdown(report)):
        for quoted in sorted(said, key=len, reverse=True):
            text = text.replace(quoted, "") if quoted else text
        for seconds in durations(text):
            slack = 0.5 if seconds >= 60 else 0.05 if seconds >= 10 else 0.0051
            assert any(abs(seconds - one) <= slack for one in known), f"{seconds} s is nowhere in the run"


def test_the_headline_and_answers_count_what_the_lines_count(city: City) -> None:
    facts = tell(city, Story(lost=20))
    report, raw = fold_report(facts), raw_of(facts)
    written = [line for line in raw.witness if line.get("write") == "acknowledged"]
    kept = set(raw.lists[FILES[0]].split())
    missing = sum(line["reference"] not in kept for line in written)
    assert f"{missing} of {len(written)} acknowledged writes" in report.headline
    lost = next(one for one in report.answers if one.question == "What was lost?")
    assert lost.text.startswith(f"{missing} of {len(written)} acknowledged writes")
