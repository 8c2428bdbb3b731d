"""An audit's report: a page that is whole and alone, lines, and JUnit; whatever a host says stays text."""

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automation.baseline.judge import judge
from automation.baseline.verdicts import Assessment, Verdict, tally
from automation.commands import _baseline_report
from automation.commands._baseline_formats import (
    Reported,
    percent,
    plain,
    render_jsonl,
    render_junit,
    write_report,
)
from automation.commands._baseline_report import render_page, report
from automation.commands._baselines import Audited, _score
from automation.commands._controls import load_controls
from automation.commands._waivers import WaiverTold
from automation.model.errors import ConfigError
from tests.baseline.examples import NOW, facts
from tests.commands.test_report_page import Page

CONTROLS = load_controls()
HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "]]><x/>&amp;<!--",
    "\x1b[2J\x00\x07\x08",
    "\u202egnp.exe\u2066",
    "a" * 200_000,
)


class Nested(Page):
    """Tells what a browser would tear apart: a block within what holds words alone."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        inside = {"p", "small", "strong", "span"} & set(self.open)
        assert not (tag in ("details", "div", "table", "p", "ul") and inside), (tag, inside)
        super().handle_starttag(tag, attrs)


def audited(*assessments: Assessment, **more: Any) -> Audited:
    scores = tuple(_score(one, tally(one.verdicts)) for one in assessments)
    told = {"run": "run-1", "not_collected": {}, **more}
    return Audited(assessments=assessments, scores=scores, **told)


def host(name: str, *verdicts: Verdict, **more: Any) -> Assessment:
    about = {"profile": "cis-l1", "judged_at": NOW, "collected_at": NOW - timedelta(days=1), **more}
    return Assessment(subject=name, verdicts=verdicts, **about)


def verdict(subject: str, control: str, state: str, reason: str = "", **more: Any) -> Verdict:
    told = {"subject": subject, "control": control, "severity": CONTROLS[control].severity, "state": state}
    return Verdict.model_validate({**told, "reason": reason, **more})


def page(found: Audited) -> str:
    return render_page(Reported("lab", found), CONTROLS)


@pytest.fixture
def two() -> Audited:
    """Two hosts: one with two failures and a waiver, one of which little is known; a third gave no facts."""
    root, forwarding = "lin.ssh.root-login", "lin.ssh.forwarding"
    web = host(
        "web",
        verdict("web", forwarding, "fail", "in effect: x11forwarding is yes"),
        verdict("web", "lin.accounts.single-root", "fail", 'in effect: it has ["toor"]'),
        verdict("web", root, "waived", "in effect: it is yes", waiver="root-on-web"),
        verdict("web", "lin.sudo.valid", "not_applicable", "no sudo here"),
        verdict("web", "lin.sudo.use-pty", "pass"),
        collector="c0ffee",
    )
    database = host(
        "db",
        verdict("db", forwarding, "pass"),
        verdict("db", root, "unknown", "sshd could not be read"),
        verdict("db", "lin.ssh.banner", "unknown", "sshd could not be read"),
        source="simulated",
    )
    problem = WaiverTold(id="root-on-web", counts=True, words="it ends on 2026-11-30")
    return audited(web, database, not_collected={"gone": "no answer in 10 s"}, waivers=(problem,))


def test_the_page_is_whole_and_alone(two: Audited) -> None:
    told = Nested(page(two))
    assert told.open == []
    assert told.fetched == []
    assert "script" not in told.tags
    assert set(told.within) <= set(told.ids)
    assert set(told.named) <= set(told.ids)
    assert len(told.ids) == len(set(told.ids))
    assert all({"aria-labelledby"} <= one.keys() for one in told.images)


def test_the_summary_comes_first_then_the_worst(two: Audited) -> None:
    text = page(two)
    order = [
        "2 controls failed on 1 of 2 hosts",
        "2 passed, 1 waived, 2 failed, 2 not known, 1 not applicable",
        "71 % of what applies; 95 % are needed",
        'id="controls"',
        "lin.accounts.single-root",
        "lin.ssh.forwarding",
        'id="hosts"',
        "<small>too little is known</small>",
        "no answer in 10 s",
        'id="unknown"',
        "sshd could not be read",
        'id="waivers"',
        "root-on-web",
        "it ends on 2026-11-30; it counts",
        'id="method"',
        "simulated: db",
        "c0ffee",
    ]
    places = [text.find(words) for words in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (audited(), "No host gave its facts"),
        (audited(host("web")), "too little is known of 1 of 1 host"),
        (audited(host("web", verdict("web", "lin.sudo.valid", "unknown", "x"))), "too little is known"),
        (
            audited(host("web", verdict("web", "lin.sudo.valid", "not_applicable", "x"))),
            "too little is known",
        ),
        (
            audited(host("web", verdict("web", "lin.sudo.valid", "pass")), not_collected={"db": "x"}),
            "gave no facts",
        ),
        (
            audited(host("web", verdict("web", "lin.sudo.valid", "error", "x"))),
            "1 control failed on 1 of 1 host",
        ),
    ],
    ids=["no hosts", "no verdicts", "unknown", "nothing applies", "one is silent", "error"],
)
def test_no_light_is_green_where_too_little_is_known(found: Audited, words: str) -> None:
    text = page(found)
    assert words in text
    assert 'class="headline met"' not in text


def test_a_host_tells_what_failed_on_it_the_worst_first(two: Audited) -> None:
    row = page(two).partition('id="hosts"')[2]
    assert "1 critical, 1 medium" in row
    assert "lin.accounts.single-root, lin.ssh.forwarding" in row


def test_a_green_light_is_shown_where_all_passed() -> None:
    text = page(audited(host("web", verdict("web", "lin.sudo.valid", "pass"))))
    assert 'class="headline met"' in text
    assert "Nothing failed on 1 host" in text


def test_many_hosts_and_reasons_are_folded_and_none_is_left_out() -> None:
    hosts = [f"host-{number:03}" for number in range(120)]
    one_each = [host(one, verdict(one, "lin.ssh.banner", "fail", f"it is {one}")) for one in hosts]
    found = audited(
        *one_each, host("worst", *(verdict("worst", one, "fail", "it is not") for one in CONTROLS))
    )
    told = Nested(page(found))
    assert told.open == []
    words = " ".join(told.words)
    assert all(words.count(one) >= 3 for one in hosts)
    assert all(words.count(one) >= 2 for one in CONTROLS)
    assert "details" in told.tags


def hostile(words: str) -> Audited:
    bad = verdict("web", "lin.ssh.banner", "fail", words)
    unknown = verdict("web", "lin.sudo.valid", "unknown", words)
    waived = verdict("web", "lin.ssh.root-login", "waived", words, waiver=words)
    one = host(words[:253] or "x", bad, unknown, waived, collector=words)
    told = (WaiverTold(id="w", counts=False, words=words),)
    return audited(one, not_collected={words: words}, waivers=told)


@pytest.mark.parametrize("words", HOSTILE, ids=lambda one: repr(one[:12]))
def test_what_a_host_says_stays_text_on_the_page(words: str) -> None:
    text = page(hostile(words))
    told = Page(text)
    assert told.open == []
    assert not {"script", "img", "x"} & set(told.tags)
    assert told.fetched == []
    assert not [sign for sign in text if not sign.isprintable() and sign != "\n"]
    assert len(text) < 60_000
    assert "49" not in "".join(told.words) or "{{ 7 * 7 }}" not in words


@settings(deadline=None)
@given(words=st.text(max_size=300))
def test_whatever_a_host_says_programs_can_read_it(words: str) -> None:
    found = hostile(words)
    junit = render_junit(Reported("lab", found))
    assert junit.isascii()
    assert ElementTree.fromstring(junit)
    lines = render_jsonl(Reported("lab", found)).splitlines()
    assert [json.loads(line)["reason"] for line in lines[:3]] == [words] * 3
    assert all(line.isascii() and line.isprintable() for line in lines)


def test_every_verdict_is_a_line_and_so_is_a_host_without_facts(two: Audited) -> None:
    lines = [json.loads(line) for line in render_jsonl(Reported("lab", two)).splitlines()]
    assert len(lines) == 9
    assert {line["run"] for line in lines} == {"run-1"}
    assert lines[0]["control"] == "lin.ssh.forwarding"
    assert lines[0]["collector"] == "c0ffee"
    assert (lines[-1]["subject"], lines[-1]["control"], lines[-1]["state"]) == ("gone", None, "error")


def test_junit_fails_what_failed_and_what_too_little_is_known_of(two: Audited) -> None:
    web, database, gone = ElementTree.fromstring(render_junit(Reported("lab", two)))
    assert counts(web) == {"tests": 6, "failures": 2, "errors": 0, "skipped": 2}
    assert counts(database) == {"tests": 4, "failures": 1, "errors": 0, "skipped": 2}
    assert [one.get("type") for one in database.iter("failure")] == ["coverage"]
    assert [one.get("message") for one in gone.iter("error")] == ["no answer in 10 s"]


def counts(suite: ElementTree.Element) -> dict[str, int]:
    return {name: int(suite.get(name, "-1")) for name in ("tests", "failures", "errors", "skipped")}


def test_real_verdicts_of_every_platform_are_shown() -> None:
    found = [
        judge(
            facts({}).model_copy(update={"platform": one, "subject": one}), [*CONTROLS.values()], "cjis", NOW
        )
        for one in ("linux", "aws", "vsphere")
    ]
    text = page(audited(*found))
    assert "vsphere" in text
    assert len([*ElementTree.fromstring(render_junit(Reported("lab", audited(*found))))]) == 3


def test_only_all_of_it_is_a_hundred_percent() -> None:
    assert [percent(part) for part in (None, 0.0, 0.29, 0.999, 1.0)] == [
        "none",
        "0 %",
        "29 %",
        "99 %",
        "100 %",
    ]


def test_a_long_text_is_cut_and_its_signs_are_harmless() -> None:
    assert plain("a\x1b\u202eb") == "a??b"
    assert plain("a" * 700) == "a" * 600 + "..."


def test_a_report_is_written_whole_and_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report("old\n", path)
    write_report("new: ◐\n", path)
    assert path.read_text(encoding="utf-8") == "new: ◐\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(ConfigError, match="nothing was written"):
        write_report("x", tmp_path / "no/report.html")


def test_a_form_that_is_none_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ConfigError, match="--format pdf is none"):
        report(None, "run-1", "pdf", "")  # type: ignore[arg-type]


@pytest.mark.parametrize(("form", "begins"), [("html", "<!doctype"), ("jsonl", "{"), ("junit", "<?xml")])
def test_the_form_that_was_asked_for_is_given(
    form: str, begins: str, two: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_baseline_report, "reassess", lambda *_: two)
    session: Any = SimpleNamespace(environment=SimpleNamespace(name="lab"), state=Path("/nowhere"))
    assert report(session, "run-1", form, "").startswith(begins)
