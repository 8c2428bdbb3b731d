"""A plan on a terminal: two services or a city, with a past or without, at 80 and at 120 columns."""

import io
import re
import sys
from collections.abc import Callable

import pytest

from automation.commands._foretold import keep, spoken
from automation.commands._plan_view import PlanView
from automation.commands._render_plan import (
    format_about,
    print_aloud,
    print_plan_view,
    print_service_steps,
)
from automation.recovery.prediction import Past, PredictedService, Prediction, Took, step_likeness
from automation.recovery.report_subject import Subject, Target
from automation.recovery.spec import RecoveryPlan, Selection, load_plan
from tests.conftest import ROOT
from tests.test_example_city import draw

Show = Callable[..., list[str]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(params=[80, 120])
def shown(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Show:
    """Print on a terminal of that width; give its lines without colours."""

    def show(print_it: Callable[..., None], *values: object, **how: object) -> list[str]:
        terminal = Terminal()
        monkeypatch.setenv("COLUMNS", str(request.param))
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setattr(sys, "stdout", terminal)
        print_it(*values, **how)
        lines = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()]
        assert max(len(line) for line in lines) <= request.param
        return lines

    return show


CITY = load_plan(ROOT, "everything")
NAMES = ("names", "storage", "dc-network", "virtual-servers", "payroll-db", "payroll")
SIX = CITY.model_copy(update={"services": Selection(names=NAMES)})


def drawn(recovery: RecoveryPlan, seconds: float | None) -> PlanView:
    """Draw the loss of the civic centre; every step took so long in three past runs, or there are none."""
    view = draw("civic-centre", recovery, Past((), 0))
    if seconds is None:
        return view
    took = [Took(step_likeness(step), seconds, True) for step in view.plan.steps for _ in range(3)]
    return draw("civic-centre", recovery, Past(took, runs=3))


@pytest.mark.parametrize(
    ("recovery", "seconds"),
    [(SIX, None), (SIX, 2.4), (SIX, 1500.0), (CITY, None), (CITY, 1500.0)],
    ids=["6, no history", "6 in time", "6 late", "149, no history", "149, many late"],
)
def test_every_service_has_its_line_and_nothing_is_cut_off(
    shown: Show, recovery: RecoveryPlan, seconds: float | None
) -> None:
    view = drawn(recovery, seconds)
    lines = shown(print_plan_view, view, steps=False, hint=True)
    told = " ".join(" ".join(lines).split())
    for row in view.services:
        (line,) = [line for line in lines if re.match(rf"\s+{row.tier}\s+{re.escape(row.service)}\s", line)]
        assert f"{row.service} " in line
        assert "..." not in line
    assert all(f"Wave {number}: " in told for number in view.waves())
    assert all(step in told for row in view.services for step in row.no_return)
    assert all(f"{question.role}: {question.ask}" in told for question in view.questions)
    assert "signed before it starts by chief-information-officer and dr-coordinator" in told


def test_a_city_without_past_runs_says_so_and_names_no_time(shown: Show) -> None:
    lines = shown(print_plan_view, drawn(SIX, None), steps=False)
    assert "- predicted: no history (no past run of this environment)" in lines
    assert not any("Predicted" in line for line in lines)


def test_what_is_over_its_target_is_marked_and_warned_of(shown: Show) -> None:
    lines = shown(print_plan_view, drawn(SIX, 1500.0), steps=False)
    (row,) = [line for line in lines if re.match(r"\s+0\s+names\s", line)]
    assert ">1.7 h/>1.7 h" in row  # four steps of 25 min, one after the other, against 5 min
    told = " ".join(" ".join(lines).split())
    assert "warning: names would miss its target of 5 min: 1.7 h (p90 1.7 h), by declaration >" in told


def test_a_service_that_may_be_late_is_named(shown: Show) -> None:
    view = drawn(SIX, 60.0)
    slow = [one.model_copy(update={"p90_s": one.rto_s + 1}) for one in view.prediction.services]
    prediction = view.prediction.model_copy(update={"services": tuple(slow)})
    slower = view.model_copy(update={"prediction": prediction})
    told = " ".join(" ".join(shown(print_plan_view, slower, steps=False)).split())
    assert "warning: 6 may miss their targets: " in told


def test_all_steps_or_those_of_one_service_can_be_shown(shown: Show) -> None:
    view = drawn(SIX, None)
    every = " ".join(shown(print_plan_view, view, steps=True))
    assert all(step.id in every for step in view.plan.steps)
    one = " ".join(" ".join(shown(print_service_steps, view, "payroll-db")).split())
    own = [step for step in view.plan.steps if step.service == "payroll-db"]
    assert all(step.id in one and step.why in one for step in own)
    assert "payroll-db/promote (change, cannot be taken back)" in one


def test_what_is_read_aloud_breaks_between_words(shown: Show) -> None:
    lines = shown(print_aloud, [f"      {'word ' * 60}".rstrip()])
    assert {word for line in lines for word in line.split()} == {"word"}
    assert all(line.startswith("      word") for line in lines if line)


def test_in_a_pipe_a_line_is_never_broken(capsys: pytest.CaptureFixture[str]) -> None:
    view = drawn(SIX, None)
    print_plan_view(view, steps=False)
    lines = capsys.readouterr().out.splitlines()
    (signed,) = [line for line in lines if line.startswith("- a failover is signed before")]
    assert signed.rstrip().endswith("none of them")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (89, "89 s"),
        (91, "2 min"),
        (5399, "90 min"),
        (5401, "1.5 h"),
        (47 * 3600, "47.0 h"),
        (3 * 86400, "3 d"),
    ],
)
def test_a_time_nobody_knows_exactly_is_said_shortly(seconds: float, text: str) -> None:
    assert format_about(seconds) == text


# --- before a run ---------------------------------------------------------------------------------


def predicted(**seconds: float | None) -> Prediction:
    rows = [
        PredictedService(service=name, rto_s=60.0, median_s=median, p90_s=median)
        for name, median in seconds.items()
    ]
    return Prediction(runs=3, since="the fault", services=tuple(rows))


def test_of_few_services_each_is_told_before_a_run() -> None:
    assert spoken(predicted(a=5.0, b=90.0, c=None)) == [
        "predicted from 3 past runs, from the fault:",
        "  a: 5.0 s (p90 5.0 s), RTO 1 min",
        "  b: 2 min (p90 2 min), RTO 1 min; would be late",
        "  c: no history, RTO 1 min",
    ]


def test_of_many_services_the_late_ones_are_told() -> None:
    many = predicted(late=90.0, unknown=None, **{f"s{number}": 5.0 for number in range(20)})
    first, *late = spoken(many)
    assert first.endswith("20 services in time, 1 late, 1 without history")
    assert late == ["  late: 2 min (p90 2 min), RTO 1 min; would be late"]


def test_without_a_past_nothing_is_predicted() -> None:
    assert spoken(predicted(a=None)) == ["predicted: no history of these steps"]


def test_the_report_of_a_run_keeps_what_was_expected_of_it() -> None:
    subject = Subject(targets={name: Target(rto_s=60.0, rpo_s=0.0) for name in "ab"})
    kept = keep(subject, predicted(a=5.0, b=None)).targets
    assert {name: one.predicted_s for name, one in kept.items()} == {"a": 5.0, "b": None}
