"""Pictures of terminals are what a terminal showed, and ask nothing of a network."""

import re
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest

from automation.commands import _pictures
from automation.commands._pictures import find_browser, moment_of, newest_drill
from automation.commands._render_pictures import screen_svg
from automation.model.errors import ConfigError, PreflightError
from automation.model.records import StepEnded, StepStarted
from tests.recovery.conftest import make_city
from tests.recovery.drill_story import Story, tell

SHOWN = "\033[1mWave 1\033[0m: 2 services\n\033[31mout\033[0m  payments & <more>"


def words(svg: str) -> str:
    return " ".join("".join(ElementTree.fromstring(svg).itertext()).replace("\xa0", " ").split())


def test_a_picture_says_what_the_terminal_said() -> None:
    said = words(screen_svg(SHOWN, "./inv dr.plan", width=60))
    assert all(part in said for part in ("./inv dr.plan", "Wave 1", ": 2 services", "payments & <more>"))


def test_a_picture_fetches_nothing() -> None:
    svg = screen_svg(SHOWN, "title", width=60)
    assert re.findall(r"https?://[^\"]+", svg) == ["http://www.w3.org/2000/svg"]
    assert "@font-face" not in svg


def test_the_same_screen_gives_the_same_picture() -> None:
    assert screen_svg(SHOWN, "title", width=60) == screen_svg(SHOWN, "title", width=60)


def test_the_chosen_moment_lies_between_the_promotion_and_good_answers() -> None:
    facts = tell(make_city(), Story())
    moment = moment_of(facts.plan, facts.events)
    promoted = next(
        one.at
        for one in facts.events
        if isinstance(one.body, StepEnded) and one.body.step.endswith("/promote")
    )
    waited = {
        type(one.body): one.at
        for one in facts.events
        if isinstance(one.body, StepStarted | StepEnded) and one.body.step == "clients-good"
    }
    assert promoted <= waited[StepStarted] < moment < waited[StepEnded]
    assert moment - waited[StepStarted] > timedelta(0)


def test_a_drill_that_did_not_promote_has_no_such_moment() -> None:
    facts = tell(make_city(), Story(fails="payments-db/fence-proof"))
    with pytest.raises(ConfigError, match="promoted nothing"):
        moment_of(facts.plan, facts.events)


def test_without_a_drill_no_picture_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no drill that recovered"):
        newest_drill(tmp_path)


def test_without_a_browser_it_is_refused_with_exit_code_4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pictures, "BROWSERS", ("no-such-browser",))
    with pytest.raises(PreflightError, match="nothing was written") as caught:
        find_browser()
    assert caught.value.exit_code == 4
    assert caught.value.hint
