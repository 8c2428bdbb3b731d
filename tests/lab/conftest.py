"""What stands around the whole lab suite: somebody who looks for secrets from its first test to its last."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from automation.commands._campaign import FreshLab
from automation.commands._servers import refuse_running_lab
from automation.commands._session import Session, open_session
from automation.commands.lab import take_down
from automation.model.environment import state_root
from tests.lab.checkout import Checkout
from tests.lab.city import City, open_city
from tests.lab.secrecy import SuiteWatch, find_states
from tests.lab.traces import machine

JUDGE = "test_whole_suite.py"
LAB = os.environ.get("MAINSTAY_LAB", "lab")
# They share the environment `lab`, last of all but those of backups; the second one takes it down in the end.
OF_LAB = ("test_split_brain.py", "test_drill.py")
# They share one city, so they follow each other; the first one sees it as it was made.
OF_BACKUPS = (
    "test_baselines.py",
    "test_backup_city.py",
    "test_backups.py",
    "test_backup_disasters.py",
    "test_postgresql_backups.py",
    "test_drill_from_backup.py",
)
_WATCH = pytest.StashKey[SuiteWatch]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Judge the whole suite when all of it has been run; before that, all tests of one city together."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    last = (*OF_LAB, *OF_BACKUPS, JUDGE)
    return 1 + last.index(item.path.name) if item.path.name in last else 0


@pytest.fixture(scope="session", autouse=True)
def suite_watch(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[SuiteWatch]:
    """Looks on from the first lab test on; judged by the last ones."""
    environments = {"lab", LAB}
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


# --- one lab for all drills ------------------------------------------------------------------------


@pytest.fixture(scope="session")
def bare() -> list[str]:
    """The machine before the lab."""
    return machine()


@pytest.fixture(scope="session")
def lab_session(bare: list[str]) -> Iterator[Session]:
    """The environment `lab`, of which nothing runs yet; it is gone at the end."""
    with open_session(LAB) as session:
        refuse_running_lab(session)  # a lab that somebody uses is not ours to break
        try:
            yield session
        finally:
            take_down(LAB)


@pytest.fixture(scope="session")
def fresh_lab(lab_session: Session) -> FreshLab:
    """The lab, converged, with its disks saved."""
    lab = FreshLab(lab_session)
    lab.prepare()
    return lab


# --- one city for all tests of backups --------------------------------------------------------------


@pytest.fixture(scope="session")
def _city_of_backups(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Checkout]]:
    """The city with all its stores, configured and its disks kept; a list that grows with each use."""
    folder = tmp_path_factory.mktemp("hacc")
    city = Checkout("hacc", "10.89", folder, backups=True)
    shutil.copytree(city.environment.folder, folder / "declared")
    try:
        city.up()
        yield [city]
    finally:
        city.down()


@pytest.fixture(scope="module")
def fresh_checkout(_city_of_backups: list[Checkout]) -> Checkout:
    """The city as it stands; the module that uses it comes first, and puts back what it changes."""
    return _city_of_backups[0]


@pytest.fixture(scope="module")
def backup_checkout(_city_of_backups: list[Checkout]) -> Checkout:
    """The city with all its stores and nothing saved, to type commands into; it is as site.yml made it."""
    city, *used = _city_of_backups
    if used:
        shutil.rmtree(city.environment.folder)
        shutil.copytree(city.signers.parent / "declared", city.environment.folder)
        city.back_to_base()
    _city_of_backups.append(city)
    return city


@pytest.fixture(scope="module")
def backup_folder(backup_checkout: Checkout) -> Path:
    """A folder from which another process opens the same city with `open_city`."""
    folder = backup_checkout.signers.parent / "opened"
    if not folder.exists():
        folder.mkdir()
        (folder / "inventory").symlink_to(backup_checkout.environment.folder)
        (folder / "state").symlink_to(backup_checkout.state)
    return folder


@pytest.fixture(scope="module")
def backup_city(backup_folder: Path) -> Iterator[City]:
    """The same city, to call adapters on."""
    city = open_city(backup_folder)
    yield city
    city.connections.close()


def _has_a_lab_of_its_own(item: pytest.Item) -> bool:
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    return isinstance(folder, Path) and next(find_states([folder]), None) is not None
