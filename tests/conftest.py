"""What every test stands on: the checkout, the lab mark, and a state folder of its own."""

import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# Started in the background of a shell, tests would ignore interrupts, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all that runs real programs or labs, so that none of it gets into the unit suite."""
    for item in items:
        if {ROOT / "tests" / "lab", ROOT / "tests" / "programs"} & set(item.path.parents):
            item.add_marker(pytest.mark.lab)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def _session_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(autouse=True)
def _state_of_its_own(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, _session_state: Path
) -> None:
    """Keep unit tests away from the real state folder; lab tests choose their own."""
    if request.node.get_closest_marker("lab") is None:
        monkeypatch.setenv("MAINSTAY_STATE", str(_session_state))
