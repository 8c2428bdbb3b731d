"""The README, the pages of docs/ and the help say what the commands do."""

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

ENV_COMMANDS = {
    name for name, task in COMMANDS.items() if "env" in inspect.signature(task.body).parameters
} - {"test"}

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


# --- pages: what they name is there -----------------------------------------------------------------

PAGES = sorted([ROOT / "README.md", ROOT / "SECURITY.md", *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.md")])
WRITTEN = {"setup"}  # the wrapper's own word
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)


def typed(text: str) -> Iterator[tuple[str, str]]:
    """Every command that a page shows, with what is typed after it: in code, and in a line's backquotes."""
    shown = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    rest = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    lines = [line for block in shown for line in block.replace("\\\n", " ").splitlines()]
    for line in [*lines, *(" ".join(one.split()) for one in re.findall(r"`([^`]+)`", rest))]:
        for found in re.finditer(r"\./inv ([a-z]+(?:\.[a-z-]+)?)([^#)]*)", line):
            yield found[1], found[2]


def names(page: Path) -> list[str]:
    """Headings of a page, as links name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


@each_page
def test_commands_and_flags_that_a_page_shows_exist(page: Path) -> None:
    for command, words in typed(page.read_text(encoding="utf-8")):
        assert command in COMMANDS.keys() | WRITTEN, f"{page.name}: there is no ./inv {command}"
        flags = {flag.replace("-", "_") for flag in re.findall(r"(?<!\S)--([a-z-]+)", words)}
        known = set(inspect.signature(COMMANDS[command].body).parameters) if command in COMMANDS else set()
        assert flags <= known, f"{page.name}: ./inv {command} has no {flags - known}"


@each_page
def test_a_command_in_a_block_of_code_can_be_typed_as_it_stands(page: Path) -> None:
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for command, words in typed(f"```sh\n{block}```"):
            assert command not in ENV_COMMANDS or "--env " in words, f"{page.name}: ./inv {command}{words}"


@each_page
def test_what_a_page_links_to_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        path, _, heading = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), f"{page.name} links to {target}"
        assert not heading or heading in names(there), f"{page.name} links to {target}"


@pytest.mark.parametrize("picture", sorted(ROOT.glob("docs/pictures/*")), ids=lambda path: path.name)
def test_a_picture_is_small_and_shown(picture: Path) -> None:
    assert picture.stat().st_size < 300_000
    assert any(picture.name in page.read_text(encoding="utf-8") for page in PAGES)


def test_the_drawn_error_tree_is_the_real_one() -> None:
    drawn = dict(re.findall(r"(\w+) (\d+)  ", errors.__doc__ or ""))
    assert {k: int(v) for k, v in drawn.items()} == {
        name: cls.exit_code for name, cls in ERRORS.items() if name in drawn
    }
    assert set(ERRORS) - set(drawn) == {"AdapterError"}


# --- the next act that a message names -------------------------------------------------------------

SOURCES = sorted((ROOT / "automation").rglob("*.py"))


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
