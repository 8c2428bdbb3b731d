from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from automation.commands._live import Live, ProbeSeen
from automation.commands._render_live import Words, draw, strip_cells
from automation.model.actions import Wait
from automation.model.plan import Gate, Plan, Step
from automation.model.records import Body, Event, Outcome, RunClosed, StepEnded, StepStarted

BEGAN = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
BEAT_S = 0.1
WORDS = Words("everything (exercise) on lab, run 20261122-030000-abcd", "lab", "R", "Ctrl-C stops it")


def step(name: str, service: str | None = None, **more: object) -> Step:
    return Step.model_validate(
        {"id": name, "run": Wait(seconds=1), "why": "a reason", "service": service, **more}
    )


PLAN = Plan(
    name="site-loss",
    environment="lab",
    mode="exercise",
    steps=(
        step("pay/fence", "pay"),
        step("pay/promote", "pay", needs=("pay/fence",)),
        step("ask", gate=Gate(role="finance", ask="Does the balance agree?"), needs=("pay/promote",)),
    ),
)


@pytest.fixture
def live() -> Live:
    return Live(PLAN, targets={"pay": 1.0}, sustained=5)


class Clock:
    """Adds events and probes on one clock, in seconds after the run began."""

    def __init__(self, live: Live) -> None:
        self.live, self.sequence = live, 0

    def event(self, at_s: float, body: Body) -> None:
        at = BEGAN + timedelta(seconds=at_s)
        self.live.add(Event(sequence=self.sequence, at=at, body=body, previous="", hash=""))
        self.sequence += 1

    def probes(self, from_s: float, to_s: float, *, good: bool, probe: str = "pay/ready") -> None:
        self.live.see(self._between(from_s, to_s, good, probe))

    def _between(self, from_s: float, to_s: float, good: bool, probe: str) -> Iterator[ProbeSeen]:
        for beat in range(round((to_s - from_s) / BEAT_S)):
            yield ProbeSeen(BEGAN.timestamp() + from_s + beat * BEAT_S, probe, good)


@pytest.fixture
def clock(live: Live) -> Clock:
    return Clock(live)


def view(live: Live, at_s: float, cells: int = 10) -> object:
    return live.at(BEGAN + timedelta(seconds=at_s), cells=cells, cell_s=0.5)


def service(live: Live, at_s: float, cells: int = 10):  # type: ignore[no-untyped-def]
    return view(live, at_s, cells).services[0]  # type: ignore[attr-defined]


def test_a_service_is_well_while_its_probes_are_good(live: Live, clock: Clock) -> None:
    clock.probes(0, 1, good=True)
    assert service(live, 1).state == "well"
    assert service(live, 1).out_s is None


def test_two_failed_probes_are_no_outage(live: Live, clock: Clock) -> None:
    clock.probes(0, 1, good=True)
    clock.probes(1, 1.2, good=False)
    assert service(live, 1.2).state == "well"


def test_an_outage_counts_from_its_first_failed_probe(live: Live, clock: Clock) -> None:
    clock.probes(0, 1, good=True)
    clock.probes(1, 2, good=False)
    now = service(live, 2.5)
    assert now.state == "out"
    assert now.out_s == pytest.approx(1.5)
    assert now.late


def test_it_answers_again_until_good_probes_are_sustained(live: Live, clock: Clock) -> None:
    clock.probes(0, 1, good=False)
    clock.probes(1, 1.3, good=True)
    assert service(live, 1.3).state == "answers again"
    clock.probes(1.3, 1.6, good=True)
    back = service(live, 9)
    assert back.state == "back"
    assert back.out_s == pytest.approx(1.0)


def test_a_service_is_back_only_when_all_its_probes_are(live: Live, clock: Clock) -> None:
    for probe in ("pay/ready", "pay/write"):
        clock.probes(0, 1, good=False, probe=probe)
    clock.probes(1, 3, good=True)
    assert service(live, 3).state == "out"
    clock.probes(2, 3, good=True, probe="pay/write")
    assert service(live, 3).state == "back"
    assert service(live, 3).out_s == pytest.approx(2.0)


def test_a_relapse_is_a_new_outage(live: Live, clock: Clock) -> None:
    clock.probes(0, 1, good=False)
    clock.probes(1, 2, good=True)
    clock.probes(2, 3, good=False)
    assert service(live, 3).state == "out"
    assert service(live, 3).out_s == pytest.approx(1.0)


def test_the_strip_tells_good_mixed_and_failed_apart(live: Live, clock: Clock) -> None:
    clock.probes(0, 1, good=True)
    clock.probes(1, 1.2, good=False)
    clock.probes(1.2, 1.5, good=True)
    clock.probes(1.5, 2, good=False)
    # The newest cell ends with the newest probe, at 1.9 s.
    assert set(service(live, 2, cells=4).strip) == {"good", "mixed", "failed"}
    assert service(live, 2, cells=8).strip[:4] == ("none",) * 4


def test_without_probes_a_service_stands_where_its_steps_do(live: Live, clock: Clock) -> None:
    assert service(live, 0).state == "waiting"
    clock.event(0, StepStarted(step="pay/fence"))
    assert service(live, 1).state == "in work"
    for name in ("pay/fence", "pay/promote"):
        clock.event(1, StepEnded(step=name, status="succeeded", outcome=Outcome(changed=True, summary="ok")))
    assert service(live, 2).state == "done"


def test_running_steps_count_from_their_start(live: Live, clock: Clock) -> None:
    clock.event(0, StepStarted(step="pay/fence"))
    now = view(live, 4)
    assert [(one.step.id, one.seconds) for one in now.running] == [("pay/fence", 4.0)]  # type: ignore[attr-defined]


def test_a_gate_waits_once_all_that_it_needs_has_succeeded(live: Live, clock: Clock) -> None:
    assert view(live, 0).waiting == ()  # type: ignore[attr-defined]
    for name in ("pay/fence", "pay/promote"):
        clock.event(1, StepEnded(step=name, status="succeeded", outcome=Outcome(changed=True, summary="ok")))
    assert [one.id for one in view(live, 2).waiting] == ["ask"]  # type: ignore[attr-defined]


def test_after_the_end_the_clock_stands_still(live: Live, clock: Clock) -> None:
    clock.probes(0, 2, good=False)
    clock.event(2, RunClosed(status="paused"))
    assert service(live, 100).out_s == pytest.approx(1.9)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("services", [1, 220])
def test_the_view_fits_its_screen(width: int, services: int) -> None:
    steps = [
        step(f"service-with-a-long-name-{n}/start", f"service-with-a-long-name-{n}") for n in range(services)
    ]
    live = Live(Plan(name="everything", environment="lab", mode="exercise", steps=tuple(steps)))
    clock = Clock(live)
    for one in steps[:9]:
        clock.event(0, StepStarted(step=one.id))
        clock.probes(0, 3, good=False, probe=f"{one.service}/ready")
    console = Console(width=width, height=30, record=True, file=None, force_terminal=False)
    now = live.at(BEGAN + timedelta(seconds=4), cells=strip_cells(width), cell_s=0.5)
    with console.capture() as shown:
        console.print(draw(now, WORDS, width=width, height=30))
    lines = shown.get().splitlines()
    assert len(lines) <= 30
    assert max(len(line) for line in lines) <= width
    assert services == 1 or "and 206 more services" in shown.get()


def test_a_question_comes_with_the_command_that_answers_it(live: Live, clock: Clock) -> None:
    for name in ("pay/fence", "pay/promote"):
        clock.event(1, StepEnded(step=name, status="succeeded", outcome=Outcome(changed=True, summary="ok")))
    clock.event(2, RunClosed(status="paused", gates=("ask",)))
    console = Console(width=120)
    with console.capture() as shown:
        console.print(draw(live.at(BEGAN + timedelta(seconds=3)), WORDS, width=120, height=30))
    assert "./inv run.resume --env lab --run R --gate ask --answer yes" in shown.get()
