"""What a check is given: the environment, the services that were recovered, and where."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from automation.commands._session import Session, open_session
from automation.model.catalog import Catalog, Service, load_catalog


class Recovered(NamedTuple):
    """The services that a run recovered, at their recovery site."""

    run_id: str
    site: str
    services: dict[str, Service]
    host: str = ""  # the isolated server that they all run on; empty: they serve clients

    def vantage(self, session: Session) -> str:
        """The host from which they are used as clients use them."""
        return self.host or session.environment.witness.host


def _asked() -> dict[str, object]:
    text = os.environ.get("MAINSTAY_CHECKS")
    if text is None:
        pytest.exit("these checks run as a step of a drill: ./inv dr.drill --env lab --drill site-loss", 4)
    asked: dict[str, object] = json.loads(text)
    return asked


@pytest.fixture(scope="session")
def session() -> Iterator[Session]:
    """The environment, with kept connections to its hosts."""
    with open_session(str(_asked()["environment"])) as opened:
        yield opened


@pytest.fixture(scope="session")
def catalog(session: Session) -> Catalog:
    """The catalog of the environment."""
    return load_catalog(Path(session.environment.folder) / "services.yml")


@pytest.fixture(scope="session")
def recovered(catalog: Catalog) -> Recovered:
    """What the run recovered."""
    asked = _asked()
    names = asked["services"]
    assert isinstance(names, list)
    services = {name: catalog.services[name] for name in names}
    return Recovered(str(asked["run_id"]), str(asked["site"]), services, str(asked.get("host", "")))
