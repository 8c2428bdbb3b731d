"""Our Ansible module for configuration files, run as Ansible runs it, on files of this machine."""

import getpass
import grp
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MODULE = Path(__file__).resolve().parents[2] / "playbooks/library/config_files.py"
OWN = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getegid()).gr_name}


def run(*files: dict[str, Any], check: bool = False) -> dict[str, Any]:
    arguments = {"files": [OWN | file for file in files], "_ansible_check_mode": check}
    done = subprocess.run(
        [sys.executable, str(MODULE)],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        capture_output=True,
        text=True,
        check=False,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_only_what_differs_is_installed_and_a_secret_is_not_shown(tmp_path: Path) -> None:
    plain, secret = tmp_path / "plain", tmp_path / "secret"
    plain.write_text("one\n")
    plain.chmod(0o644)
    files = (
        {"path": str(plain), "content": "one\n"},
        {"path": str(secret), "secret_content": "hush\n", "mode": "0600"},
    )
    first, second = run(*files), run(*files)
    assert (first["changed"], first["installed"]) == (True, [str(secret)])
    assert second["changed"] is False
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == ("hush\n", 0o600)
    assert "hush" not in json.dumps(first)


def test_a_file_that_is_not_valid_is_left_as_it_was_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "conf"
    target.write_text("good\n")
    answer = run({"path": str(target), "content": "bad\n", "validate": "grep good %s"})
    assert answer["failed"]
    assert f"{target} is not valid, left as it was" in answer["msg"]
    assert target.read_text() == "good\n"
    assert list(tmp_path.iterdir()) == [target]


def test_a_seed_never_replaces_a_file_that_exists(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("grown\n")
    answer = run(*({"path": str(path), "content": "seed\n", "seed": True} for path in (old, new)))
    assert answer["installed"] == [str(new)]
    assert (old.read_text(), new.read_text()) == ("grown\n", "seed\n")


def test_check_mode_says_what_would_change_and_changes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "conf"
    answer = run({"path": str(target), "content": "new\n"}, check=True)
    assert (answer["changed"], answer["diff"][0]["after"]) == (True, "new\n")
    assert not target.exists()


@pytest.mark.parametrize("file", [{}, {"content": "a", "secret_content": "b"}], ids=["neither", "both"])
def test_a_file_has_one_content(file: dict[str, str], tmp_path: Path) -> None:
    assert run({"path": str(tmp_path / "conf"), **file})["failed"]
