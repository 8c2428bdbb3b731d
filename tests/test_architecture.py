"""Who may import whom, and the other rules a reader may rely on in every file."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import NamedTuple, get_args

import pytest

from automation.model.actions import Action, Effect

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "automation"
FILES = sorted(PACKAGE.rglob("*.py"))
ACTIONS = {cls.model_fields["do"].default: cls for cls in get_args(get_args(Action)[0])}

AREAS = frozenset({"provisioning", "backups", "baseline", "recovery", "readiness"})
RINGS = frozenset({"model", "adapters", "shipped", "engine", "commands"}) | AREAS
EVERYTHING = RINGS | {""}
THIRD_PARTY = {
    "model": {"pydantic"},
    "shipped": set(),
    "engine": set(),
    "commands": {"invoke"},
    **{area: {"pydantic"} for area in AREAS},
}
ONE_PLACE = {
    "jmespath": "baseline/asking.py adapters/collector.py",
    "yaml": "model/loading.py",
    "dateutil": "model/recurrence.py",
    "jinja2": "model/templating.py",
    "rich": "commands/_render*.py",
    "paramiko": "adapters/ssh/__init__.py",
    "psycopg2": "shipped/checker.py",  # on hosts of a lab alone, whose image has it
}
SIMULATORS = {"moto", "cryptography", "yaml"}  # that drtests/simulators may use
LAB_ADAPTERS = {"nspawn"}
OUTER_EDGES = {"commands/_command.py": 1, "engine/attempt.py": 1}
HEAVY = {
    "apprise",
    "ansible",
    "ansible_runner",
    "boto3",
    "botocore",
    "dns",
    "jinja2",
    "paramiko",
    "pydantic",
    "pyVmomi",
    "rich",
}


class Imported(NamedTuple):
    """One imported module: its first name, and for ours the ring and what follows it."""

    top: str
    ring: str = ""
    inside: tuple[str, ...] = ()


# --- reading --------------------------------------------------------------------------------------


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else path.name


def ring(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree(path)))


@cache
def imported(path: Path) -> frozenset[Imported]:
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {_split(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(path, node)
            found |= {_split(f"{module}.{alias.name}") for alias in node.names}
    return frozenset(found)


def _absolute(path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = path.relative_to(ROOT).parent.parts
    package = package[: len(package) - node.level + 1]
    return ".".join([*package, *([node.module] if node.module else [])])


def _split(dotted: str) -> Imported:
    top, *rest = dotted.split(".")
    if top != "automation" or not rest or rest[0] not in RINGS:
        return Imported(top)
    return Imported(top, rest[0], tuple(rest[1:]))


def third_party(path: Path) -> set[str]:
    return {i.top for i in imported(path)} - sys.stdlib_module_names - {"automation", "__future__"}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (n for n in nodes(path) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def faulty(found: Iterable[tuple[Path, object]]) -> dict[str, object]:
    """What a rule found, by file; a test then shows every fault at once."""
    return {name(path): fault for path, fault in found if fault}


# --- who may import whom --------------------------------------------------------------------------


def test_every_file_stands_in_a_known_ring() -> None:
    assert {ring(path) for path in FILES} <= EVERYTHING


def foreign_rings(path: Path) -> set[str]:
    own = ring(path)
    allowed = {
        "": {""},
        "shipped": {"shipped"},  # a program of several files: held by a test of its own
        "engine": {"model", "engine"},
        "commands": RINGS,
        "adapters": {"model", "adapters"},
        "readiness": {"model", "readiness"} | AREAS,
    }.get(own, {"model", own})
    return {i.ring for i in imported(path) if i.top == "automation" and i.ring} - allowed


def test_a_ring_imports_only_what_it_may() -> None:
    assert faulty((path, foreign_rings(path)) for path in FILES) == {}


def is_in(place: str, file: str) -> bool:
    return any(fnmatch(file, one) for one in place.split())


def foreign_libraries(path: Path) -> set[str]:
    in_their_place = {library for library, place in ONE_PLACE.items() if is_in(place, name(path))}
    return third_party(path) - in_their_place - THIRD_PARTY.get(ring(path), set())


def test_third_party_libraries_stay_in_their_rings() -> None:
    assert faulty((path, foreign_libraries(path)) for path in FILES if ring(path) != "adapters") == {}


def test_an_adapter_uses_one_third_party_library_at_most() -> None:
    used: dict[str, set[str]] = {}
    for path in FILES:
        if ring(path) == "adapters":
            used.setdefault(adapter_of(path), set()).update(
                third_party(path) - {"pydantic", "botocore"}
            )  # the models' own
    assert {adapter: found for adapter, found in used.items() if len(found) > 1} == {}


@pytest.mark.parametrize(("library", "place"), ONE_PLACE.items(), ids=ONE_PLACE)
def test_a_library_with_one_place_is_imported_nowhere_else(library: str, place: str) -> None:
    users = {name(path) for path in FILES if library in {i.top for i in imported(path)}}
    assert [user for user in users if not is_in(place, user)] == []


def test_only_dispatch_imports_by_name() -> None:
    users = {
        name(path)
        for path in FILES
        for node in nodes(path)
        if getattr(node, "id", getattr(node, "attr", "")) in {"import_module", "__import__"}
    }
    assert users <= {"engine/dispatch.py"}


def test_adapters_never_import_each_other() -> None:
    assert (
        faulty(
            (
                path,
                {i.inside[0] for i in imported(path) if i.ring == "adapters" and i.inside}
                - {adapter_of(path)},
            )
            for path in FILES
            if ring(path) == "adapters"
        )
        == {}
    )


def test_a_shipped_program_needs_nothing_but_its_own_files() -> None:
    programs = {
        path: path.relative_to(PACKAGE / "shipped").parts[0] for path in FILES if ring(path) == "shipped"
    }
    assert (
        faulty(
            (path, {i.inside[:1] for i in imported(path) if i.top == "automation"} - {(own,)})
            for path, own in programs.items()
        )
        == {}
    )


def test_readiness_reads_only_the_records_of_other_areas() -> None:
    files = [path for path in FILES if ring(path) == "readiness"]
    others = {i.inside[:1] for path in files for i in imported(path) if i.ring in AREAS - {"readiness"}}
    assert others <= {("records",)}


def test_drill_checks_import_only_model_adapters_and_pytest() -> None:
    for path in (ROOT / "drtests").rglob("*.py"):
        allowed = {"model", "adapters"} | ({"commands"} if path.name == "conftest.py" else set())
        assert {i.ring for i in imported(path) if i.top == "automation"} <= allowed, path
        assert third_party(path) <= {"pytest", "drtests"} | libraries_of_simulators(path), path


def libraries_of_simulators(path: Path) -> set[str]:
    """What a simulator may import beside: what it is made of, and the files beside it."""
    if path.parent != ROOT / "drtests/simulators":
        return set()
    return SIMULATORS | {other.stem for other in path.parent.glob("*.py")}


# --- the address rule -----------------------------------------------------------------------------


def adapter_of(path: Path) -> str:
    """The adapter a file belongs to: a module or a package of `adapters`."""
    return path.relative_to(PACKAGE / "adapters").with_suffix("").parts[0]


def adapter_functions(adapter: str) -> dict[str, ast.FunctionDef]:
    """The public functions that can be called on an adapter, by name."""
    files = [path for path in FILES if ring(path) == "adapters" and adapter_of(path) == adapter]
    door = next(
        (tree(path) for path in files if path.name in {"__init__.py", f"{adapter}.py"}), ast.Module([])
    )
    reachable = {n.name for n in door.body if isinstance(n, ast.FunctionDef)}
    reachable |= {alias.name for n in door.body if isinstance(n, ast.ImportFrom) for alias in n.names}
    defined = [n for path in files for n in tree(path).body if isinstance(n, ast.FunctionDef)]
    return {n.name: n for n in defined if n.name in reachable and not n.name.startswith("_")}


def first_annotation(function: ast.FunctionDef) -> str:
    first = function.args.args[0].annotation if function.args.args else None
    return ast.unparse(first).split(".")[-1].strip("'\"") if first else ""


@pytest.mark.parametrize("address", ACTIONS)
def test_every_action_has_the_function_its_address_names(address: str) -> None:
    module, function = address.split(".")
    defined = adapter_functions(module)
    assert function in defined, f"automation/adapters/{module}.py defines no {function}(action, ctx)"
    assert first_annotation(defined[function]) == ACTIONS[address].__name__
    assert [argument.arg for argument in defined[function].args.args] == ["action", "ctx"]


def test_every_function_that_takes_an_action_is_that_actions_address() -> None:
    classes = {cls.__name__: address for address, cls in ACTIONS.items()}
    adapters = {adapter_of(path) for path in FILES if ring(path) == "adapters"}
    found = {
        (f"{module}.{name.removeprefix('verify_')}", classes[first_annotation(function)])
        for module in adapters
        for name, function in adapter_functions(module).items()
        if first_annotation(function) in classes
    }
    assert [pair for pair in found if pair[0] != pair[1]] == []


def test_what_looks_at_an_action_gives_progress() -> None:
    """`verify_<function>(action, ctx)` stands beside the function it looks after."""
    for module in {adapter_of(path) for path in FILES if ring(path) == "adapters"}:
        for name, function in adapter_functions(module).items():
            if name.startswith("verify_") and "ctx" in {argument.arg for argument in function.args.args}:
                assert f"{module}.{name.removeprefix('verify_')}" in ACTIONS, name
                assert ast.unparse(function.returns or ast.Constant(None)) == "Progress", name


def test_an_action_has_one_address_and_states_its_effect() -> None:
    for address, cls in ACTIONS.items():
        assert get_args(cls.model_fields["do"].annotation) == (address,)
        assert getattr(cls, "effect", None) in get_args(Effect), cls


def test_an_action_that_breaks_something_is_a_fault_and_a_fault_acts_on_labs_alone() -> None:
    faults = {cls.__name__: address for address, cls in ACTIONS.items() if cls.effect == "fault"}
    breaking = {
        c.__name__ for c in ACTIONS.values() if c.__name__.startswith(("Fail", "Cut", "Kill", "Corrupt"))
    }
    assert breaking <= set(faults)
    assert {address.split(".")[0] for address in faults.values()} <= LAB_ADAPTERS


# --- what a reader may rely on --------------------------------------------------------------------


def test_no_file_is_longer_than_500_lines() -> None:
    lengths = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {file: length for file, length in lengths.items() if length > 500} == {}


def test_no_function_is_longer_than_50_lines() -> None:
    lengths = {
        f"{name(path)}: {f.name}": f.end_lineno - f.lineno + 1 for path in FILES for f in functions(path)
    }
    assert {function: length for function, length in lengths.items() if length > 50} == {}


def test_everything_is_caught_only_at_the_outer_edges() -> None:
    """The edges: around one action, around one command; a shipped program has one of its own."""
    for path in FILES:
        lines = [n.lineno for n in nodes(path) if isinstance(n, ast.ExceptHandler) and catches_all(n)]
        allowed = 1 if ring(path) == "shipped" else OUTER_EDGES.get(name(path), 0)
        assert len(lines) <= allowed, f"{name(path)}: lines {lines}"


def catches_all(handler: ast.ExceptHandler) -> bool:
    """Whether a handler swallows anything at all; one that ends by raising again swallows nothing."""
    last = handler.body[-1]
    if isinstance(last, ast.Raise) and last.exc is None:
        return False
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(c is None or ast.unparse(c) in {"Exception", "BaseException"} for c in caught)


def test_listing_the_commands_loads_no_heavy_library() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
        "from automation.commands._program import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print(*sorted(set(sys.modules) & {HEAVY!r}), file=sys.stderr)\n"
    )
    argv = [sys.executable, "-c", program, str(ROOT), "--list"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "dev.lint" in done.stdout
    assert done.stderr.split() == []
