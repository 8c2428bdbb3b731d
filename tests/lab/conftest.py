"""What stands around the whole lab suite: somebody who looks for secrets from its first test to its last."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from automation.model.environment import state_root
from tests.lab.secrecy import SuiteWatch, find_states

JUDGE = "test_whole_suite.py"
_WATCH = pytest.StashKey[SuiteWatch]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Judge the whole suite when all of it has been run."""
    items.sort(key=lambda item: item.path.name == JUDGE)


@pytest.fixture(scope="session", autouse=True)
def suite_watch(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[SuiteWatch]:
    """Looks on from the first lab test on; judged by the last ones."""
    environments = {"lab", os.environ.get("MAINSTAY_LAB", "lab")}
    watch = SuiteWatch(
        lambda: [tmp_path_factory.getbasetemp(), *(state_root() / name for name in environments)]
    )
    pytestconfig.stash[_WATCH] = watch
    with watch:
        yield watch


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Look into every lab while it is still there: before its test, or its module, takes it down."""
    watch = item.config.stash.get(_WATCH, None)
    if watch is None or item.path.name == JUDGE:
        return
    last_of_module = nextitem is None or nextitem.path != item.path
    if last_of_module or _has_a_lab_of_its_own(item):
        watch.look()


def _has_a_lab_of_its_own(item: pytest.Item) -> bool:
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    return isinstance(folder, Path) and next(find_states([folder]), None) is not None
