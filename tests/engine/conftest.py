"""A context that reaches nothing, for tests that perform their own steps."""

from dataclasses import replace
from pathlib import Path

import pytest

from automation.engine.context import RunContext
from automation.model.environment import Inventory, load_environment

REPOSITORY = Path(__file__).resolve().parents[2]


class NoConnections:
    """No host is reachable."""

    def remote(self, host: str) -> object:
        raise AssertionError(f"{host} was asked for")

    fresh = remote

    def close(self) -> None: ...


def in_folder(context: RunContext, run_id: str) -> RunContext:
    """Give the context of a run that has a folder."""
    return replace(context, run_id=run_id, artifacts=context.state / "runs" / run_id / "artifacts")


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    (tmp_path / "artifacts").mkdir()
    return RunContext(
        run_id="20260101-000000-0000",
        environment=load_environment(REPOSITORY, "lab"),
        inventory=Inventory(servers={}),
        state=tmp_path,
        images=tmp_path,
        artifacts=tmp_path / "artifacts",
        connections=NoConnections(),  # type: ignore[arg-type]
        progress=lambda step, text: None,
    )
