"""The README and the help say what the commands do."""

import ast
import inspect
import re
from collections.abc import Iterator
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


# --- the next act that a message names -------------------------------------------------------------

SOURCES = sorted((ROOT / "automation").rglob("*.py"))
ENV_COMMANDS = {
    name for name, task in COMMANDS.items() if "env" in inspect.signature(task.body).parameters
} - {"test"}


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every text of a module that is no docstring; what an f-string inserts stands as `{name}`."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(value) for value in node.values}
            yield node.lineno, "".join(_part(value) for value in node.values)
        elif isinstance(node, ast.Constant) and id(node) not in docstrings | inside:
            yield node.lineno, str(node.value)


def _part(value: ast.expr) -> str:
    return (
        str(value.value)
        if isinstance(value, ast.Constant)
        else f"{{{ast.unparse(value.value)}}}"
        if isinstance(value, ast.FormattedValue)
        else ""
    )


def with_env(tree: ast.AST) -> set[str]:
    """Names that a module gives a text that begins with --env."""
    return {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _begins_with_env(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _begins_with_env(value: ast.expr) -> bool:
    return isinstance(value, ast.JoinedStr) and _part(value.values[0]).startswith("--env ")


def faulty_hints(source: str) -> list[str]:
    """Commands that a text names to be typed, and that would stop because --env is missing."""
    tree = ast.parse(source)
    known = with_env(tree)
    found = []
    for line, text in texts(tree):
        for command, flags in re.findall(r"\./inv ([a-z]+\.[a-z-]+)((?:(?!\./inv ).)*)", text, re.DOTALL):
            given = "--env " in flags or any(f"{{{name}}}" in flags for name in known)
            if command in ENV_COMMANDS and not given:
                found.append(f"line {line}: ./inv {command}{flags}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "automation")))
def test_a_command_that_a_message_names_can_be_typed_as_it_stands(path: Path) -> None:
    assert faulty_hints(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('hint = "./inv run.resume goes on"', 1),
        ('hint = f"./inv run.resume --env {name} --run {run}"', 0),
        ('hint = f"./inv lab.down --env {env}, then ./inv lab.up"', 1),
        ('where = f"--env {name}"\nhint = f"./inv lab.up {where}"', 0),
        ('hint = f"./inv lab.up {where}"', 1),
        ('hint = "./inv --list names them"', 0),
        ('def f():\n    """Behind ./inv run.resume."""', 0),
        ('hint = ("look, then "\n  "./inv dr.status")', 1),
    ],
)
def test_a_hint_without_its_environment_is_found(source: str, count: int) -> None:
    assert len(faulty_hints(source)) == count
