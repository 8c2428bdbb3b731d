"""The report as a page: whole, alone, readable without eyes, and the same words as Markdown."""

import re
from html.parser import HTMLParser

import pytest

from automation.commands import _report_page
from automation.commands._report_page import render_html, render_markdown
from automation.recovery.planner import City
from automation.recovery.report_fold import fold_report
from automation.recovery.report_words import in_lab, offset, run_and_verdict
from tests.recovery.conftest import make_city
from tests.recovery.drill_story import Story, tell
from tests.recovery.test_report_copies import ROOT, WEAKER


@pytest.fixture
def city() -> City:
    return make_city()


class Page(HTMLParser):
    """Counts what a reader without eyes, scripts or network depends on."""

    VOID = frozenset({"meta", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.within: list[str] = []
        self.ids: list[str] = []
        self.named: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.named += [value for name, value in attrs if name == "aria-labelledby" and value]
        links = [value for name, value in attrs if name in ("src", "href", "srcset", "data") and value]
        self.within += [link[1:] for link in links if link.startswith("#")]
        self.fetched += [link for link in links if not link.startswith("#")]
        if tag == "svg" and "img" in dict(attrs).values():
            self.images.append(dict(attrs))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


STORIES = {
    "good": Story(),
    "lost-writes": Story(lost=20, brownout=True),
    "stopped": Story(fails="payments-db/fence-proof", back_ms=None),
    "unwatched": Story(witness=False),
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_the_page_is_whole_and_stands_alone(city: City, story: Story) -> None:
    report = fold_report(tell(city, story))
    page = Page(render_html(report))
    assert page.open == []
    assert page.fetched == []
    assert "script" not in page.tags
    assert len(set(page.ids)) == len(page.ids)
    assert {*page.within, *(name for names in page.named for name in names.split())} <= set(page.ids)
    assert all(image.get("aria-labelledby") for image in page.images)
    words = " ".join(page.words)
    assert report.headline in words
    for answer in report.answers:
        assert answer.text in words
    for step in report.steps:
        assert step.id in words


def test_the_page_asks_nothing_of_a_network(city: City) -> None:
    """Neither a link, a picture, a font nor a style comes from elsewhere."""
    text = render_html(fold_report(tell(city, Story(lost=20, brownout=True))))
    assert re.findall(r"https?:|url\((?!#)|@import|//[a-z]", text) == []


def test_what_a_page_shows_is_escaped(city: City) -> None:
    report = fold_report(tell(city, Story())).model_copy(update={"title": "<script>alert(1)</script> & co"})
    text = render_html(report)
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in text


def test_a_long_list_of_lost_writes_is_cut_and_says_so(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_report_page, "LISTED_WRITES", 5)
    page = render_html(fold_report(tell(city, Story(lost=20))))
    assert "The other 15 stand in report.json." in page


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_markdown_says_the_same(city: City, story: Story) -> None:
    report = fold_report(tell(city, story))
    text = render_markdown(report)
    assert report.headline in text
    for one in (*(answer.text for answer in report.answers), *(f.act for f in report.review.findings)):
        assert one in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert tables
    assert "\n\n\n\n" not in text


def test_what_is_weaker_on_a_copy_has_its_section(city: City) -> None:
    report = fold_report(tell(city, Story())._replace(copies=WEAKER))
    page = Page(render_html(report))
    assert "copies" in set(page.within) & set(page.ids)
    words = " ".join(page.words)
    assert "Baseline of what was recovered" in words
    assert ROOT.title in words
    assert ROOT.observed in words
    assert '<span class="whole">pg-b</span>' in render_html(report)  # a name breaks at no hyphen
    assert "copies" not in Page(render_html(fold_report(tell(city, Story())))).ids
    assert f"- high {ROOT.control}: fails: {ROOT.observed}; wanted: {ROOT.wanted}" in render_markdown(report)


def test_a_word_with_a_bar_stays_in_its_cell(city: City) -> None:
    report = fold_report(tell(city, Story()))
    row = report.services[0].model_copy(update={"title": "a | b"})
    text = render_markdown(report.model_copy(update={"services": (row,)}))
    assert "| a \\| b (" in text


def test_the_words_are_explained_and_linked_from_the_top(city: City) -> None:
    page = Page(render_html(fold_report(tell(city, Story()))))
    assert {"words", "plan", "checks"} <= set(page.within) & set(page.ids)
    assert {"Primary", "Promoted", "Fence", "Witness", "Reconcile", "In doubt"} <= {
        word.strip() for word in page.words
    }


def test_no_moment_or_length_is_a_signed_or_decimal_nothing(city: City) -> None:
    for story in (Story(), Story(lost=20)):
        text = render_html(fold_report(tell(city, story)))
        assert not re.search(r"(?<![\d.])[+-]?0\.00 s", text)
    assert [offset(seconds) for seconds in (-0.001, 0.004, 0.25, -2.0)] == [
        "0 s",
        "0 s",
        "+0.25 s",
        "-2.00 s",
    ]


def test_the_record_tells_the_end_of_the_run_apart_from_the_verdict(city: City) -> None:
    report = fold_report(tell(city, Story()))
    assert "run ended: succeeded (all steps done); verdict: met" in render_html(report)
    failed = report.model_copy(update={"verdict": "failed", "headline": "The old one may still write."})
    assert run_and_verdict(failed).endswith(
        "they differ because the verdict judges what came of it, not the steps: The old one may still write."
    )


def test_a_real_failover_in_a_lab_is_told_as_one(city: City) -> None:
    report = fold_report(tell(city, Story()))
    real = report.model_copy(update={"mode": "failover", "kind": "Failover"})
    assert in_lab(report) == "in a lab on one machine"
    assert "; a real failover command, run in a lab on one machine." in render_html(real)
    assert in_lab(real.model_copy(update={"limits": ()})) == ""
