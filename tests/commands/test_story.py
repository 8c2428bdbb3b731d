"""A drill told as a story: every word follows from the declarations and from what happened."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from automation.commands._onlooker import Story as Telling
from automation.commands._onlooker import looking_on
from automation.commands._story import Said, Scene, meaning, next_acts, opening, set_lines
from automation.commands._teller import Teller
from automation.model.actions import ProveRefused
from automation.model.errors import AdapterError
from automation.model.plan import Plan
from automation.model.records import Remote
from automation.recovery.report_fold import Facts, fold_report
from automation.recovery.spec import load_drill
from tasks import namespace
from tests.conftest import ROOT
from tests.recovery.conftest import make_city
from tests.recovery.drill_story import Story, tell

WELL = Story()


@cache
def told(story: Story = WELL) -> Facts:
    return tell(make_city(), story)


@pytest.fixture
def scene() -> Scene:
    city = make_city()
    return Scene(city.environment, city.inventory, city.catalog, load_drill(ROOT, "site-loss"))


def lines(scene: Scene, facts: Facts) -> list[Said]:
    teller = Teller(facts.plan, scene)
    return [said for event in facts.events if (said := teller(event))]


def place(said: Sequence[Said], word: str) -> int:
    return next(number for number, one in enumerate(said) if word in one.text)


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_is_wider_than_its_terminal(scene: Scene, width: int) -> None:
    said = [*opening(scene), *lines(scene, told()), *meaning([fold_report(told())])]
    assert max(len(line) for one in said for line in set_lines(one, width)) <= width


def test_nothing_is_cut_off_when_lines_are_broken(scene: Scene) -> None:
    for one in opening(scene):
        assert " ".join("".join(line[11:]).strip() for line in set_lines(one, 80)) == one.text


def test_a_number_stands_beside_its_unit(scene: Scene) -> None:
    for width in range(60, 120):
        shown = [line for one in opening(scene) for line in set_lines(one, width)]
        assert not any(re.search(r"\d$", line) for line in shown)


def test_what_is_promised_is_what_the_catalog_says(scene: Scene) -> None:
    promised = next(one.text for one in opening(scene) if one.label == "Promised")
    for service in scene.lost.values():
        assert service.title in promised
    assert promised.count("(RTO)") == promised.count("(RPO)") == len(scene.lost)


def test_both_fences_and_their_proof_are_told_before_the_promotion(scene: Scene) -> None:
    said = lines(scene, told())
    promoted = place(said, "Only now")
    assert max(place(said, "is switched off"), place(said, "cut off the network")) < place(said, "refused")
    assert sum("One fence may fail" in one.text for one in said) == 1
    assert place(said, "refused") < promoted < place(said, "leads there now")


def test_moments_count_from_the_loss_of_the_site(scene: Scene) -> None:
    said = lines(scene, told())
    loss = place(said, "without power")
    assert {one.label for one in said[:loss]} == {"before"}
    assert said[loss].label == "+0.0 s"
    moments = [float(one.label.strip("+ s")) for one in said[loss:]]
    assert moments == sorted(moments)


def test_what_failed_is_not_told_as_done(scene: Scene) -> None:
    said = lines(scene, told(Story(fails="payments-db/promote")))
    assert not any("becomes the database" in one.text for one in said)


def test_the_end_says_what_the_report_says() -> None:
    report = fold_report(told(Story(lost=3)))
    lost = next(one.text for one in meaning([report]) if one.label == "Lost")
    answer = next(a.text for a in report.answers if a.question == "What was lost?")
    assert lost.startswith(f"{report.title}: {answer}")
    assert "may be lost (RPO)" in lost


def test_the_end_speaks_of_losses_alone_and_says_once_what_was_not_shown() -> None:
    report = fold_report(told())
    nothing_broken = report.model_copy(update={"faults": (), "title": "a way home"})
    said = meaning([report, nothing_broken])
    assert not any("a way home" in one.text for one in said)
    assert [one.label for one in said].count("Not shown") == 1


@pytest.mark.parametrize("kept", [True, False])
def test_the_commands_to_go_on_with_exist(scene: Scene, kept: bool) -> None:
    acts = next_acts("lab", "20261121-031355-0b1e", scene, kept=kept)
    named = re.findall(r"\./inv ([a-z.-]+)", " ".join(f"{one.command} {one.gives}" for one in acts))
    assert len(acts) >= 3
    assert set(named) <= set(namespace.task_names)


# --- where it is told -------------------------------------------------------------------------------


def test_without_a_terminal_the_story_and_what_failed_are_told_and_no_other_step(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = told(Story(fails="payments-db/promote"))
    teller = Teller(facts.plan, scene)
    story = Telling(lambda event: [said.text] if (said := teller(event)) else [])
    with looking_on(
        facts.plan, tmp_path, scene.environment, remote=refuse, ask=None, story=story
    ) as onlooker:
        for event in facts.events:
            onlooker.on_event(event)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Nobody can pay." in shown.err
    assert re.search(r"FAIL +payments-db/promote", shown.err)
    assert " ok " not in shown.err


def refuse(host: str) -> Remote:
    raise AdapterError(f"{host} is not there")


def test_what_is_proved_shut_out_is_the_server_and_not_who_tries(scene: Scene) -> None:
    plan = told().plan
    (proof,) = [step for step in plan.steps if isinstance(step.run, ProveRefused)]
    assert isinstance(proof.run, ProveRefused)
    elsewhere = proof.model_copy(update={"service": "payments"})
    steps = tuple(elsewhere if one == proof else one for one in plan.steps)
    teller = Teller(Plan(name=plan.name, environment=plan.environment, mode=plan.mode, steps=steps), scene)
    (said,) = [one.text for event in told().events if (one := teller(event)) and "tries to reach" in one.text]
    assert f"the old {proof.run.server}," in said
    assert proof.run.host not in said
