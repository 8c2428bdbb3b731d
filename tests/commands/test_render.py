"""Results on a terminal of 80 and of 120 columns, in a pipe, and as a page."""

import io
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from automation.adapters.nspawn.status import LabServer, LabSite, LabStatus
from automation.commands import _render
from automation.commands._runs import RunRow, StepRow
from automation.recovery.objectives import Loss, Outage
from automation.recovery.planner import City
from automation.recovery.report_fold import fold_report
from automation.recovery.report_words import format_rpa, format_rta, format_target
from tests.on_premises import load_on_premises
from tests.recovery.conftest import IDENTIFIER, REPOSITORY, make_inventory
from tests.recovery.drill_story import Story, tell


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def city() -> City:
    from automation.model.environment import load_environment
    from automation.model.observations import PostgresqlCluster

    standby = PostgresqlCluster(host="pg-b", system_identifier=IDENTIFIER, timeline=3, in_recovery=True)
    catalog = load_on_premises()
    return City(load_environment(REPOSITORY, "lab"), make_inventory(), catalog, {"pg-b": standby})


@pytest.fixture(params=[80, 120])
def shown(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Print on a terminal of that width; give its lines without colours."""

    def show(print_it: Callable[..., None], *values: object) -> list[str]:
        terminal = Terminal()
        monkeypatch.setenv("COLUMNS", str(request.param))
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setattr(sys, "stdout", terminal)
        print_it(*values)
        lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()
        assert max(len(line) for line in lines) <= request.param
        return lines

    return show


RUN = RunRow(
    run_id="20261121-031355-0b1e",
    plan="site-loss",
    mode="exercise",
    actor="coordinator",
    started_at=datetime(2026, 11, 21, 3, 13, 55, tzinfo=UTC),
    seconds=21.4,
    status="succeeded",
    steps=(
        StepRow(
            step="payments-db/promote",
            started_at=datetime(2026, 11, 21, 3, 14, 9, tzinfo=UTC),
            seconds=0.14,
            status="succeeded",
            text="pg-b is primary on timeline 4",
        ),
    ),
)


def test_the_result_fits_and_names_target_and_measure(shown: Callable[..., list[str]], city: City) -> None:
    lines = shown(_render.print_result, fold_report(tell(city, Story(lost=20))))
    row = next(line for line in lines if line.strip().startswith("payments "))
    assert re.split(r"\s{2,}", row.strip()) == [
        "payments",
        "2 min",
        "2.86 s",
        "5 s",
        "1.91 s, 20 lost",
        "met",
    ]


def test_a_plan_fits_and_names_every_step(shown: Callable[..., list[str]], city: City) -> None:
    plan = tell(city, Story()).plan
    text = " ".join(shown(_render.print_plan, plan))
    for step in plan.steps:
        assert f" {step.id} " in text


def test_runs_and_one_run_fit(shown: Callable[..., list[str]]) -> None:
    assert any("succeeded" in line for line in shown(_render.print_runs, [RUN]))
    assert any("timeline 4" in line for line in shown(_render.print_run, RUN))
    assert shown(_render.print_runs, []) == ["no runs"]


def test_a_lab_shows_what_is_off_and_what_is_absent(shown: Callable[..., list[str]]) -> None:
    server = LabServer(
        site="city-hall",
        address="10.77.1.20",
        image="debian-12",
        power="off",
        autostart=False,
        network="blocked",
    )
    lab = LabStatus(
        lab_id="lab",
        running=True,
        wan="relay",
        servers={"pg-a": server},
        sites={"city-hall": LabSite(power="failed", network="down")},
    )
    lines = shown(_render.print_lab, lab, make_inventory())
    assert any("pg-a" in line and "blocked" in line for line in lines)
    assert any("pg-b" in line and "absent" in line for line in lines)
    assert "site city-hall: power failed, network down, management up" in lines


def test_in_a_pipe_a_row_is_a_line_without_colours(capsys: pytest.CaptureFixture[str], city: City) -> None:
    plan = tell(city, Story()).plan
    _render.print_plan(plan)
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert len(output.splitlines()) == len(plan.steps) + 2
    for step in plan.steps:
        assert step.why in output


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (5.0, "5 s"), (0.5, "0.5 s"), (60, "1 min"), (14400, "4 h")]
)
def test_targets_read_as_people_set_them(seconds: float, words: str) -> None:
    assert format_target(seconds) == words


@pytest.mark.parametrize(
    ("outage", "words"),
    [
        (Outage(status="measured", rta_s=2.86), "2.86 s"),
        (Outage(status="not-recovered", rta_s=61.0), "over 1 min 01 s"),
        (Outage(status="none-seen", rta_s=0.0), "no outage"),
        (Outage(status="not-measured"), "not measured"),
    ],
)
def test_a_measure_that_is_none_reads_as_none(outage: Outage, words: str) -> None:
    assert format_rta(outage) == words


def test_lost_writes_are_counted_beside_their_age() -> None:
    assert format_rpa(Loss(status="measured", rpa_s=1.9, missing=("a", "b"))) == "1.90 s, 2 lost"
    assert format_rpa(Loss(status="measured", rpa_s=0.0)) == "none lost"
    assert format_rpa(Loss(status="not-measured")) == "not measured"
