"""The offline copy works where there is no network at all: a namespace without a route."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.lab
# Another's index or wheels must not help it.
ALONE = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "PIP_CONFIG_FILE": os.devnull}


def run(argv: list[str], folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=folder, env=env, text=True, capture_output=True, check=False)


def test_a_bundle_sets_itself_up_without_a_network(tmp_path: Path) -> None:
    archive = tmp_path / "mainstay.tar"
    inv = [sys.executable, "-c", "from automation.commands._program import main; main()"]
    packed = run([*inv, "dev.bundle", "--to", str(archive)], ROOT, dict(os.environ))
    assert packed.returncode == 0, packed.stderr
    assert run(["tar", "-xf", str(archive)], tmp_path, ALONE).returncode == 0
    env = {**ALONE, "HOME": str(tmp_path), "MAINSTAY_STATE": str(tmp_path / "state")}
    alone = ["unshare", "--net", "./inv", "dr.lint", "--env", "lab"]
    looked = run(alone, tmp_path / "mainstay", env)
    assert looked.returncode == 0, looked.stderr
    assert "problems: 0" in looked.stdout
    assert run([*inv, "dev.bundle", "--to", str(archive)], ROOT, dict(os.environ)).returncode == 2
