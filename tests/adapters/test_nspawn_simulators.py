"""What the lab's simulators are told, and which program runs."""

import json
from pathlib import Path

import pytest

from automation.adapters.nspawn import vcenter_program
from automation.adapters.nspawn.simulators import settings
from automation.model.environment import load_environment
from tests.conftest import ROOT

STATE = Path("/state")


def told(name: str) -> dict[str, object]:
    lab = load_environment(ROOT, "lab").require_lab()
    text = settings(lab.simulators[name], name, STATE, lab.id)
    found: dict[str, object] = json.loads(text)
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("s3", {"address": "10.77.4.10", "logins": {"writer": "/state/secrets/vault_writer"}}),
        ("aws", {"address": "0.0.0.0", "regions": ["us-east-2", "us-west-2"], "simulator": "aws"}),
        (
            "vcenter-eoc",
            {"name": "vcenter-eoc.city.lab", "replicated": {"replicated": "/state/lab/replicated"}},
        ),
    ],
)
def test_a_simulator_is_told_what_its_model_says_with_paths_below_the_state_folder(
    name: str, expected: dict[str, object]
) -> None:
    seen = told(name)
    for key, value in expected.items():
        assert seen[key] == value if not isinstance(value, dict) else value.items() <= seen[key].items()  # type: ignore[attr-defined]
    assert seen["certificate"] == f"/state/certificates/{name}.crt"


@pytest.mark.parametrize("name", ["aws", "vcenter-hall"])
def test_a_simulator_that_powers_hosts_knows_its_supervisor(name: str) -> None:
    seen = told(name)
    assert (seen["supervisor"], seen["lab_id"]) == ("/state/lab/ctl.sock", "lab")
    assert seen["powers"]


def test_another_source_is_another_program(tmp_path: Path) -> None:
    (tmp_path / "main.go").write_text("package main")
    before = vcenter_program.digest(tmp_path)
    (tmp_path / "go.mod").write_text("module x")
    assert len({before, vcenter_program.digest(tmp_path)}) == 2


def test_a_program_that_is_built_is_not_built_again(tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "programs"
    source.mkdir()
    folder.mkdir()
    built = folder / f"vcenter-{vcenter_program.digest(source)}"
    built.touch()
    assert vcenter_program.build(folder, lambda text: pytest.fail(text), source) == built


@pytest.mark.parametrize(
    ("version", "fits"),
    [("go1.19.8", False), ("go1.24.4", False), ("go1.24.13", True), ("go1.26.8", True), ("go1.27", True)],
)
def test_only_a_go_that_is_new_enough_is_taken(tmp_path: Path, version: str, fits: bool) -> None:
    go = tmp_path / "go"
    go.write_text(f"#!/bin/sh\necho go version {version} linux/amd64\n")
    go.chmod(0o755)
    found = vcenter_program.find_go((1, 24, 13), {"PATH": f"{tmp_path}:/bin"})
    assert found == (str(go) if fits else None)


def test_a_machine_without_go_has_none(tmp_path: Path) -> None:
    assert vcenter_program.find_go(vcenter_program.wanted_go(), {"PATH": str(tmp_path)}) is None
