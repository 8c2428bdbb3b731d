"""Broken files at the real command line: exit 2, where and what to do, no traceback, nothing written."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.checkout import PARTS, ROOT

pytestmark = pytest.mark.lab

SERVICES = "inventories/lab/services.yml"
ENVIRONMENT = "inventories/lab/environment.yml"
PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); sys.dont_write_bytecode = True\n"
    "from automation.commands._program import main\n"
    "main()\n"
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a checkout whose lab was never up."""
    root = tmp_path_factory.mktemp("broken") / "checkout"
    for part in PARTS:
        source, target = ROOT / part, root / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return root


def inv(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", PROGRAM, str(checkout), *words]
    environ = {**os.environ, "MAINSTAY_STATE": str(checkout.parent / "state"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file beside the folder and in it, but for byte code and the cached answer of the inventory."""
    return {
        str(path): path.read_bytes()
        for path in folder.parent.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and path.parent.name != "inventory"
    }


LINT = ("dr.lint",)
STATUS = ("dr.status",)
PLAN = ("dr.plan", "--plan", "city", "--site", "city-hall")


@pytest.mark.parametrize(
    ("command", "old", "new", "line", "words"),
    [
        pytest.param(LINT, "tier: 1", "teir: 1", 9, "did you mean tier", id="unknown key"),
        pytest.param(STATUS, "    tier: 1", "\ttier: 1", 9, "indent with spaces", id="tab"),
        pytest.param(PLAN, "rto: 1 min", "rto: 1m", 10, "write for example", id="bad duration"),
        pytest.param(LINT, "[payments-db]", "[payments]", 31, "payments -> payments", id="cycle"),
        pytest.param(LINT, "tier: 1", "tier: 1\n    password: hunter2", 10, "{env: NAME}", id="secret"),
        pytest.param(STATUS, "tier: 1", "tier: !!python/object:os.system {}", 9, "plain values", id="tag"),
    ],
)
def test_a_broken_catalog_stops_a_command_before_anything(
    checkout: Path, command: tuple[str, ...], old: str, new: str, line: int, words: str
) -> None:
    path = checkout / SERVICES
    whole = path.read_text()
    path.write_text(whole.replace(old, new, 1))
    before = contents(checkout)
    try:
        done = inv(checkout, command[0], "--env", "lab", *command[1:])
        assert done.returncode == 2, done.stderr
        said = done.stdout + done.stderr
        assert f"{path}:{line}: services.payments" in said
        assert words in said
        assert "Traceback" not in said
        assert "hunter2" not in said
        assert contents(checkout) == before
    finally:
        path.write_text(whole)


def test_a_broken_environment_stops_a_command_before_anything(checkout: Path) -> None:
    path = checkout / ENVIRONMENT
    whole = path.read_text()
    path.write_text(whole.replace("kind: lab", "kind: labs"))
    before = contents(checkout)
    try:
        done = inv(checkout, "lab.up", "--env", "lab")
        assert done.returncode == 2
        assert f"{path}:2: kind: must be one of" in done.stderr
        assert "Traceback" not in done.stderr
        assert contents(checkout) == before
    finally:
        path.write_text(whole)
