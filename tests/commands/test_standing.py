"""When a suspicion may end: one database alone can be written to, and that is seen, not supposed."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from automation.adapters.declaration import list_suspicions
from automation.commands import _standing
from automation.commands._session import Session
from automation.commands._standing import NodeSeen, ServiceStanding, _refuse_unclear, clear
from automation.engine.context import RunContext
from automation.engine.finished import Finished
from automation.engine.hooks import Hooks
from automation.engine.run import make_run_folder, run_plan
from automation.model.environment import load_environment
from automation.model.errors import PreflightError
from automation.model.evidence import Suspicion
from automation.model.plan import Plan
from tests.conftest import ROOT


def standing(old: str, fence: str, new: str = "primary") -> ServiceStanding:
    nodes = (
        NodeSeen(host="pg-a", site="city-hall", role=old, fence=fence, why="timeout"),
        NodeSeen(host="pg-b", site="eoc", role=new),
    )
    return ServiceStanding(service="payments-db", primary="eoc (pg-b)", nodes=nodes, suspicion=None)


@pytest.mark.parametrize(
    ("old", "fence"), [("no answer", "off and blocked"), ("standby", "")], ids=["shut out", "a standby"]
)
def test_one_alone_that_can_be_written_to_is_clear(old: str, fence: str) -> None:
    _refuse_unclear(standing(old, fence), "lab")


@pytest.mark.parametrize("fence", ["", "off", "blocked"])
def test_a_silent_node_needs_both_means(fence: str) -> None:
    with pytest.raises(PreflightError, match="pg-a cannot be looked at"):
        _refuse_unclear(standing("no answer", fence), "lab")


@pytest.mark.parametrize("fence", ["", "off", "blocked", "off and blocked"])
def test_a_node_that_answers_as_primary_can_be_written_to_whatever_its_fence_says(fence: str) -> None:
    with pytest.raises(PreflightError, match="pg-a and pg-b can be written to"):
        _refuse_unclear(standing("primary", fence), "lab")


# --- the second look -------------------------------------------------------------------------------

SHUT_OUT = ("no answer", "off and blocked")
SUSPICION = Suspicion(
    service="payments-db",
    hosts=("pg-a", "pg-b"),
    run_id="20261121-031400-0b1e",
    reason="nobody could fence it",
    since=datetime(2026, 11, 21, 3, 14, tzinfo=UTC),
)


class Doubted:
    """A suspected service whose databases show something at each look; runs are real, with their locks."""

    def __init__(self, state: Path) -> None:
        self.environment, self.state = load_environment(ROOT, "lab"), state
        (state / "suspicions").mkdir()
        (state / "suspicions/payments-db.json").write_text(SUSPICION.model_dump_json())
        self.shows: list[ServiceStanding] = []

    def run(self, plan: Plan, *, look: Callable[[], None]) -> Finished:
        def admit(*_: object) -> tuple[()]:
            look()
            return ()

        folder = make_run_folder(self.state, "20261121-041400-0c1e")
        ctx = RunContext(
            run_id=folder.name,
            environment=self.environment,
            inventory=SimpleNamespace(servers={}),  # type: ignore[arg-type]
            state=self.state,
            images=self.state,
            artifacts=folder / "artifacts",
            connections=None,  # type: ignore[arg-type]
            progress=lambda step, text: None,
        )
        return run_plan(plan, ctx, actor="mira", hooks=Hooks(admit=admit))

    def clear(self) -> str:
        return clear(cast(Session, self), "payments-db", "looked at both").cleared_by

    @property
    def suspected(self) -> bool:
        return "payments-db" in list_suspicions(self.state)


@pytest.fixture
def doubted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doubted:
    doubted = Doubted(tmp_path)
    monkeypatch.setattr(_standing, "_fences", lambda session: {})
    monkeypatch.setattr(_standing, "_standing", lambda *_: doubted.shows.pop(0))
    return doubted


def test_what_is_clear_at_both_looks_is_cleared(doubted: Doubted) -> None:
    doubted.shows = [standing(*SHUT_OUT), standing(*SHUT_OUT)]
    assert doubted.clear()
    assert (doubted.suspected, doubted.shows) == (False, [])


@pytest.mark.parametrize(
    ("then", "words"),
    [
        (standing("primary", "off"), "pg-a and pg-b can be written to"),
        (standing(*SHUT_OUT, new="standby"), "none can be written to"),
        (standing("no answer", "off"), "pg-a cannot be looked at"),
        (standing("standby", ""), "pg-a: standby; pg-b: primary: not as it was a moment ago"),
    ],
    ids=["two primaries", "no primary", "one means less", "clear in another way"],
)
def test_what_changed_before_the_locks_were_held_leaves_it_suspected(
    doubted: Doubted, then: ServiceStanding, words: str
) -> None:
    doubted.shows = [standing(*SHUT_OUT), then]
    with pytest.raises(PreflightError, match=words):
        doubted.clear()
    assert (doubted.suspected, doubted.shows) == (True, [])
