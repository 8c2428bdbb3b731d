"""Completion as a shell does it: the script is sourced by bash, which asks for candidates."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "templates/completion/inv.bash"
ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_mainstay
printf '%s\\n' "${COMPREPLY[@]}"
"""


def complete(*words: str, state: Path | None = None) -> set[str]:
    env = {"PATH": "/usr/bin:/bin", "MAINSTAY_STATE": str(state or "/nonexistent")}
    argv = ["bash", "-c", ASK, "bash", str(SCRIPT), "./inv", *words]
    return set(
        subprocess.run(argv, cwd=ROOT, env=env, text=True, capture_output=True, check=True).stdout.split()
    )


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("dr.drill", "--env", "l"), {"lab"}),
        (("dr.drill", "--env", "lab", "--drill", "dark"), {"dark-site"}),
        (("dr.failover", "--env", "lab", "--plan", "cit"), {"city"}),
        (("dr.failover", "--env", "lab", "--site", ""), {"city-hall", "eoc"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_names_come_from_the_files(words: tuple[str, ...], wanted: set[str]) -> None:
    assert complete(*words) == wanted


def test_runs_come_from_the_state(tmp_path: Path) -> None:
    (tmp_path / "lab/runs/20261122-030000-abcd").mkdir(parents=True)
    assert complete("run.show", "--env", "lab", "--run", "2026", state=tmp_path) == {"20261122-030000-abcd"}
