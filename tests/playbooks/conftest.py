"""Fixtures of what our Ansible modules share."""

import getpass
import grp
import os
from pathlib import Path

import pytest

from tests.playbooks.folder import Folder


@pytest.fixture
def host(tmp_path: Path) -> Folder:
    """A host with nothing on it."""
    return Folder(tmp_path)


@pytest.fixture
def own() -> dict[str, str]:
    """Whoever runs the tests, as owner and group of what a setting wants."""
    return {"owner": getpass.getuser(), "group": grp.getgrgid(os.getegid()).gr_name}
