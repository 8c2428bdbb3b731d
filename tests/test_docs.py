"""The README and the help say what the commands do."""

import inspect
import re
from pathlib import Path

import pytest
from invoke import Task

from automation.model import errors
from tasks import namespace

ROOT = Path(__file__).resolve().parents[1]
COMMANDS: dict[str, Task] = {name: namespace[name] for name in namespace.task_names}
ERRORS = {c.__name__: c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, Exception)}
CODES = {c.exit_code for c in ERRORS.values()} | {
    errors.EXIT_DONE,
    errors.EXIT_PARTIAL,
    errors.EXIT_INTERRUPTED,
}

each_command = pytest.mark.parametrize("command", COMMANDS)


@pytest.fixture(scope="module")
def readme() -> str:
    path = ROOT / "README.md"
    assert path.exists(), "README.md is missing; it is the first page of a newcomer"
    return path.read_text(encoding="utf-8")


@each_command
def test_a_command_stands_in_the_readme(command: str, readme: str) -> None:
    assert re.search(rf"(`|inv ){re.escape(command)}(?![\w.])", readme), f"README.md does not name {command}"


@each_command
def test_the_first_line_of_help_is_one_short_sentence(command: str) -> None:
    first, *rest = (COMMANDS[command].__doc__ or "").strip().splitlines() or [""]
    assert first.endswith("."), f"{command}: {first!r} does not end with a full stop"
    assert len(first) <= 100
    assert not rest or not rest[0].strip(), f"{command}: an empty line must follow the first"


@each_command
def test_the_help_of_a_command_documents_its_exit_codes(command: str) -> None:
    assert "Exit codes:" in (COMMANDS[command].__doc__ or "")


@each_command
def test_every_flag_has_help(command: str) -> None:
    flags = set(list(inspect.signature(COMMANDS[command].body).parameters)[1:])
    assert flags == set(COMMANDS[command].help)


@each_command
def test_no_flag_answers_for_a_person(command: str) -> None:
    flags = inspect.signature(COMMANDS[command].body).parameters
    area = command.partition(".")[0]
    assert area not in ("dr", "run") or not {"yes", "force", "assume_yes"} & flags.keys()


def test_the_readmes_exit_codes_are_those_of_the_error_tree(readme: str) -> None:
    rows = re.findall(r"^\|\s*`?(\d+)`?\s*\|", readme, flags=re.MULTILINE)
    assert sorted(map(int, rows)) == sorted(CODES), (
        "one table row a code: | 4 | refused before the first step |"
    )


def test_the_drawn_error_tree_is_the_real_one() -> None:
    drawn = dict(re.findall(r"(\w+) (\d+)  ", errors.__doc__ or ""))
    assert {k: int(v) for k, v in drawn.items()} == {
        name: cls.exit_code for name, cls in ERRORS.items() if name in drawn
    }
    assert set(ERRORS) - set(drawn) == {"AdapterError"}
