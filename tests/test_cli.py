"""The command line from outside: real processes, their output and their exit codes."""

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from invoke import Context, Exit

from automation.commands._command import command
from automation.commands._program import Inv
from automation.commands._suites import SUITES, run_suites
from automation.model import errors
from automation.model.environment import list_environments
from tasks import namespace

ROOT = Path(__file__).resolve().parents[1]
Run = Callable[..., subprocess.CompletedProcess[str]]

PROGRAM = """
import sys
sys.path[:0] = [sys.argv.pop(1), sys.argv.pop(1)]
from automation.commands._command import command
from automation.commands._program import Inv
from automation.model import errors
Inv(binary="inv", version="0").run(["inv", "--search-root", sys.path[0], *sys.argv[1:]])
"""

COMMANDS = '''
import os, signal
from invoke import Collection
from automation.commands._command import command
from automation.model import errors

@command(help={"error": "its name"}, leaves="half a lab")
def fail(context, error):
    """Raise one error of the tree."""
    raise getattr(errors, error)("it failed", hint="look")

@command(help={}, leaves="half a lab")
def crash(context):
    """Show a defect."""
    raise ZeroDivisionError("one over nothing")

@command(help={})
def partly(context):
    """Report work done in part."""
    return errors.EXIT_PARTIAL

@command(help={}, leaves="half a lab")
def stop(context):
    """Be interrupted."""
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()

@command(help={})
def stop_reading(context):
    """Be interrupted while only reading."""
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()

@command(help={})
def succeed(context):
    """Do nothing."""
    print("done")

namespace = Collection(fail, crash, partly, stop, stop_reading, succeed)
'''


def run(*argv: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in argv], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def inv(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run `./inv` of the checkout from a directory that is not the checkout."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    return lambda *words: run(ROOT / "inv", *words, cwd=elsewhere)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the program on commands that end in every way a command can end."""
    folder = tmp_path_factory.mktemp("sample")
    (folder / "tasks.py").write_text(COMMANDS)
    return lambda *words: run(sys.executable, "-c", PROGRAM, folder, ROOT, *words)


# --- the words of the command line ----------------------------------------------------------------


def test_list_names_every_command_on_stdout_alone(inv: Run) -> None:
    done = inv("--list")
    assert (done.returncode, done.stderr) == (0, "")
    assert set(namespace.task_names) <= set(done.stdout.split())


def test_a_word_it_does_not_know_is_refused_with_exit_code_2(inv: Run) -> None:
    done = inv("no.such")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: No idea what 'no.such' is; nothing was touched\nhint: ./inv --list")


@pytest.mark.parametrize(
    "words",
    ["dev.lint --no-such", "dev.lint positional", "--help no.such", "--list no.such", "test --only"],
)
def test_a_faulty_command_line_is_refused_with_exit_code_2(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        Inv(binary="inv", version="0").run(["inv", "--search-root", str(ROOT), *words.split()])
    assert caught.value.code == 2
    assert "\nhint: ./inv --list" in capsys.readouterr().err


def _needs_env(name: str) -> bool:
    env = inspect.signature(namespace[name].body).parameters.get("env")
    return env is not None and env.default is env.empty


@pytest.mark.parametrize("name", [name for name in namespace.task_names if _needs_env(name)])
def test_without_env_a_command_names_the_environments_and_exits_2(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    body = namespace[name].body
    flags = dict.fromkeys(list(inspect.signature(body).parameters)[1:])
    with pytest.raises(Exit) as caught:
        namespace[name](Context(), **flags)
    assert caught.value.code == 2
    stderr = capsys.readouterr().err
    assert "error: --env is missing; nothing was touched" in stderr
    assert all(environment in stderr for environment in list_environments(ROOT))


def test_an_unknown_suite_is_refused_with_exit_code_2(inv: Run) -> None:
    done = inv("test", "--only", "integration")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--only is one of: unit, programs, lab" in done.stderr


# --- how commands end -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.AutomationError, 1),
        (errors.ConfigError, 2),
        (errors.PreflightError, 4),
        (errors.StepFailed, 5),
        (errors.NotMet, 6),
        (errors.Busy, 7),
        (errors.OutcomeUnknown, 8),
    ],
)
def test_an_error_ends_as_message_hint_and_its_exit_code(
    error: type[errors.AutomationError], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    @command(help={})
    def fail(context: Context) -> None:
        raise error("it failed", hint="look")

    with pytest.raises(Exit) as caught:
        fail(Context())
    assert caught.value.code == code
    assert capsys.readouterr() == ("", "error: it failed\nhint: look\n")


def test_the_exit_code_of_an_error_is_that_of_the_process(sample: Run) -> None:
    done = sample("fail", "--error", "Busy")
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "error: it failed\nhint: look\n")


def test_a_defect_is_shown_with_its_traceback_and_exits_1(sample: Run) -> None:
    done = sample("crash")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError: one over nothing" in done.stderr
    assert "state unknown; may be left behind: half a lab" in done.stderr


def test_work_done_in_part_exits_3(sample: Run) -> None:
    assert sample("partly").returncode == 3


def test_an_interrupt_says_what_was_left_and_exits_130(sample: Run) -> None:
    done = sample("stop")
    assert (done.returncode, done.stderr) == (130, "interrupted: left behind: half a lab\n")


def test_an_interrupt_while_reading_says_that_nothing_was_changed(sample: Run) -> None:
    done = sample("stop-reading")
    assert (done.returncode, done.stderr) == (130, "interrupted: nothing was changed\n")


def test_a_failed_command_stops_those_after_it_and_a_good_one_does_not(sample: Run) -> None:
    assert sample("succeed", "partly", "crash").returncode == 3
    assert sample("partly", "succeed").stdout == ""


def test_the_lab_suite_is_not_run_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert set(run_suites(["lab", "backups"]).values()) == {("not run, needs root", 0.0)}


def test_every_module_of_lab_tests_is_in_one_suite_and_the_judge_in_both() -> None:
    modules = {f"tests/lab/{path.name}" for path in (ROOT / "tests/lab").glob("test_*.py")}
    elsewhere = {word.removeprefix("--ignore=") for word in SUITES["lab"] if word.startswith("--ignore=")}
    backups = {word for word in SUITES["backups"] if word.endswith(".py")}
    assert elsewhere < modules
    assert backups - elsewhere == {"tests/lab/test_whole_suite.py"}
    assert elsewhere < backups


# --- the wrapper's environment --------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose environment is this one, set up from an older lock."""
    for name in ("inv", "requirements.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "inv").chmod(0o755)
    for name in ("automation", "tasks.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    made = tmp_path / ".venv.d" / "0123456789abcdef.1"
    made.mkdir(parents=True)
    for name in ("bin", "lib", "pyvenv.cfg"):
        (made / name).symlink_to(Path(sys.prefix) / name)
    (made / ".complete").write_text(f"{made}\n")
    (tmp_path / ".venv").symlink_to(".venv.d/0123456789abcdef.1")
    return tmp_path


def test_a_lock_that_changed_since_set_up_only_warns(checkout: Path) -> None:
    done = run(checkout / "inv", "--list")
    assert done.returncode == 0
    assert done.stderr == "inv: requirements.lock changed since set-up; run ./inv setup\n"


def test_a_copied_checkout_is_told_to_set_up_again(checkout: Path) -> None:
    (checkout / ".venv" / ".complete").write_text("/elsewhere/.venv.d/0123456789abcdef.1\n")
    done = run(checkout / "inv", "--list")
    assert done.returncode == 0
    assert done.stderr == "inv: this checkout was moved or copied since set-up; run ./inv setup\n"


def test_inv_works_through_a_symbolic_link(checkout: Path) -> None:
    (checkout / "bin").mkdir()
    (checkout / "bin" / "inv").symlink_to(checkout / "inv")
    assert "dev.lint" in run(checkout / "bin" / "inv", "--list").stdout


def test_setup_refuses_a_folder_it_did_not_make(checkout: Path) -> None:
    (checkout / ".venv").unlink()
    (checkout / ".venv").mkdir()
    done = run(checkout / "inv", "setup")
    assert done.returncode == 4
    assert "did not make; nothing was changed" in done.stderr
    assert (checkout / ".venv").is_dir()


def test_setup_takes_no_more_words(checkout: Path) -> None:
    assert run(checkout / "inv", "setup", "now").returncode == 2
