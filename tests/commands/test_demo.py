"""What a demo shows and leaves: one object for programs, a table within 80 columns, and no city."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from automation.adapters import nspawn
from automation.commands import _demo_acts, _servers, _session, demo
from automation.commands._demo_result import DemoResult, measured_by, rows_of, worst
from automation.commands._onlooker import Story as Telling
from automation.commands._onlooker import looking_on
from automation.commands._render_demo import print_demo
from automation.commands._story import Scene
from automation.model.environment import load_environment
from automation.model.errors import AdapterError, NotMet, StepFailed
from automation.model.plan import Gate, Plan, Step
from automation.model.records import Remote
from automation.model.simulators import AwsSimulator
from automation.recovery.objectives import Loss, Outage
from automation.recovery.report import Report
from automation.recovery.report_fold import fold_report
from automation.recovery.spec import load_drill
from tests.conftest import ROOT
from tests.recovery.conftest import make_city
from tests.recovery.drill_story import Story, tell


@cache
def report() -> Report:
    return fold_report(tell(make_city(), Story()))


# --- what it shows ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "wanted"),
    [(("met", "met"), "met"), (("met", "not-measured"), "not-measured"), (("missed", "failed"), "failed")],
    ids=["all-met", "one-unseen", "one-failed"],
)
def test_the_verdict_is_that_of_the_worst_drill(verdicts: tuple[str, ...], wanted: str) -> None:
    assert worst([report().model_copy(update={"verdict": verdict}) for verdict in verdicts]) == wanted


BY_CLIENT = Outage(status="measured", rta_s=1.0, deciding_probe="payments/pay")
BY_PROVIDER = Outage(status="measured", rta_s=1.0, reason="RTA by the provider: until it ran (simulated)")
BY_WRITES = Loss(status="measured", rpa_s=0.0, acknowledged=40)
BY_AGE = Loss(status="measured", rpa_s=9.0, reason="RPA by the recovery point of yesterday (simulated)")
REAL_AGE = Loss(status="measured", rpa_s=9.0, reason="RPA by the recovery point of yesterday")


@pytest.mark.parametrize(
    ("outage", "loss", "words"),
    [
        (BY_CLIENT, BY_WRITES, "client, writes"),
        (BY_CLIENT, BY_AGE, "client, age*"),
        (BY_PROVIDER, REAL_AGE, "provider*, age"),
        (Outage(status="none-seen", rta_s=0.0), Loss(status="not-measured"), "client"),
        (Outage(status="not-measured"), Loss(status="not-measured"), "-"),
    ],
    ids=["witness", "witness-and-copy", "provider", "no-outage", "nothing"],
)
def test_who_measured_is_said_of_each_number(outage: Outage, loss: Loss, words: str) -> None:
    row = report().services[0].model_copy(update={"outage": outage, "loss": loss})
    assert measured_by(row) == words


def test_what_was_not_measured_is_no_number() -> None:
    unseen = fold_report(tell(make_city(), Story(witness=False)))
    assert {row.rta for row in rows_of(unseen)} == {"not measured"}
    assert {row.measured_by for row in rows_of(unseen)} == {"-"}


def test_the_table_fits_80_columns_and_has_every_drill(capsys: pytest.CaptureFixture[str]) -> None:
    copied = report().services[0].model_copy(update={"outage": BY_PROVIDER, "loss": BY_AGE})
    second = report().model_copy(update={"name": "gis-test-failover", "services": (copied,)})
    print_demo(DemoResult(verdict="met", took_s={}, reports=(report(), second)))
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines()) <= 80
    table = shown.partition("RTA by client")[0].splitlines()
    assert [line.strip() for line in table if not line.startswith((" ", "Service"))] == [
        "site-loss",
        "gis-test-failover",
    ]
    assert sum("provider*, age*" in line for line in table) == 1


def test_every_drill_is_played_and_a_way_home_follows_its_loss() -> None:
    drills = [load_drill(ROOT, name) for name in demo.DRILLS]
    assert [one.mode for one in drills].count("test-failover") == 2
    lost = [one.site for one in drills if one.mode == "failover"]
    assert lost == [one.site for one in drills if one.mode == "failback"]
    for before, after in pairwise(drills):
        assert before.mode != "failover" or (after.mode, after.site) == ("failback", before.site)


def test_what_stands_for_aws_tells_lags_sooner_in_a_demo_alone() -> None:
    whole = load_environment(ROOT, "lab")
    for environment, wanted in ((whole, 60.0), (demo._without_backups(whole), demo.LAG_TOLD_S)):
        simulators = environment.require_lab().simulators.values()
        assert [one.lag_told_s for one in simulators if isinstance(one, AwsSimulator)] == [wanted]


# --- one drill of it --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "goes_on"), [("missed", True), ("not-measured", True), ("failed", False)]
)
def test_a_drill_that_missed_its_objective_ends_no_story(
    verdict: str, goes_on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = report().model_copy(update={"verdict": verdict})
    (tmp_path / "report.json").write_text(judged.model_dump_json())
    finished = SimpleNamespace(folder=tmp_path)
    monkeypatch.setattr(_demo_acts, "play_drill", lambda *words, **more: (None, finished))
    monkeypatch.setattr(_demo_acts, "finish_drill", mock.Mock(side_effect=NotMet("drill site-loss")))
    city = make_city()
    scene = Scene(city.environment, city.inventory, city.catalog, load_drill(ROOT, "site-loss"))
    with nullcontext() if goes_on else pytest.raises(NotMet, match="drill site-loss"):
        assert _demo_acts.play_act(SimpleNamespace(), scene, lambda said: []) == judged  # type: ignore[arg-type]


def test_a_gate_is_answered_by_the_story_and_by_nobody_elses_name(tmp_path: Path) -> None:
    step = report_step()
    of = Plan(name="p", environment="lab", mode="failback", steps=(step,))
    story = Telling(lambda event: (), answers=_demo_acts.agree)
    with looking_on(
        of, tmp_path, make_city().environment, remote=refuse, ask=lambda step: None, story=story
    ) as onlooker:
        assert onlooker.ask is not None
        answer = onlooker.ask(step)
    assert answer is not None
    assert (answer.step, answer.answer) == (step.id, "yes")
    assert answer.by.startswith("./inv demo of ")


def report_step() -> Step:
    first = tell(make_city(), Story()).plan.steps[0]
    return first.model_copy(update={"gate": Gate(role="dba", ask="Go on?")})


def refuse(host: str) -> Remote:
    raise AdapterError(f"{host} is not there")


# --- what it leaves ---------------------------------------------------------------------------------


@pytest.fixture
def removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The labs that were removed; a demo comes as far as `bring_up`."""
    seen: list[str] = []
    monkeypatch.setenv("MAINSTAY_STATE", str(tmp_path))
    monkeypatch.setattr(nspawn, "remove_lab", lambda state, lab_id: seen.append(lab_id) or "disks")
    monkeypatch.setattr("automation.adapters.ansible.end_abandoned", lambda: None)
    for name in ("refuse_running_lab", "require_machine", "build_images"):
        monkeypatch.setattr(_servers, name, lambda session: None)

    @contextmanager
    def open_session(name: str, say: object = None, narrow: object = None) -> Iterator[SimpleNamespace]:
        city = make_city()
        yield SimpleNamespace(state=tmp_path / "lab", environment=city.environment, inventory=city.inventory)

    monkeypatch.setattr(_session, "open_session", open_session)
    return seen


@pytest.mark.parametrize("keep", [False, True], ids=["removed", "kept"])
def test_a_demo_that_stopped_says_what_is_left_of_its_city(
    keep: bool, removed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = StepFailed("run 1 halted: pg-b: no answer", hint="./inv run.resume --env lab --run 1")
    monkeypatch.setattr(_servers, "bring_up", mock.Mock(side_effect=stopped))
    with pytest.raises(StepFailed) as raised:
        demo.demo.body(None, keep=keep)
    assert removed == ([] if keep else ["lab"])
    hint = raised.value.hint or ""
    assert "the demo ended in: boot" in hint
    assert ("run.resume" in hint, "the city is removed" in hint) == (keep, not keep)


def test_a_demo_that_was_interrupted_says_what_is_left_of_its_city(
    removed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pressed = KeyboardInterrupt()
    pressed.add_note("run 1 is stopped and goes on with: ./inv run.resume --env lab --run 1")
    monkeypatch.setattr(_servers, "bring_up", mock.Mock(side_effect=pressed))
    with pytest.raises(KeyboardInterrupt) as raised:
        demo.demo.body(None)
    assert removed == ["lab"]
    (note,) = raised.value.__notes__
    assert "the demo was stopped in: boot; the city is removed" in note
