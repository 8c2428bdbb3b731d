"""How a command is declared, and the outer edge where its errors become exit codes.

    @command(help={"env": ENV_HELP, "json": JSON_HELP}, leaves="hosts made so far; run it again to go on")
    def up(context: Context, env: str, json: bool = False) -> None:

A parameter without a default is a flag that must be given; nothing is positional.
"""

import inspect
import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke import Exit, Task

from automation.model.errors import EXIT_INTERRUPTED, AutomationError, ConfigError

if TYPE_CHECKING:
    from automation.model.base import Model

ROOT = Path(__file__).resolve().parents[2]
ENV_HELP = "The environment to act on: a folder of inventories/."
JSON_HELP = "Print the result as JSON on stdout."

Body = Callable[..., int | None]


class Command(Task[Any]):
    """An invoke task whose errors end as a message, a hint and an exit code."""

    leaves: str | None = None

    def __call__(self, *args: Any, **flags: Any) -> None:
        code = _run(self.body, args[0], flags, leaves=self.leaves)
        if code:
            raise Exit(code=code)


def command(
    *, help: Mapping[str, str], name: str | None = None, leaves: str | None = None
) -> Callable[[Body], Command]:
    """Make a command of a function that takes a context and flags.

    Its docstring is the command's help; the first line states the effect on the world and ends with
    a full stop. It returns nothing or an exit code (3: done in part).

    Args:
        help: one line for each flag.
        name: what people type, where it is not the function's name.
        leaves: what an interruption leaves behind; None for a command that changes nothing.
    """

    def declare(body: Body) -> Command:
        task = Command(body, name=name, positional=(), help=dict(help))
        task.leaves = leaves
        return task

    return declare


def report(error: AutomationError) -> int:
    """Print an error and its hint on stderr; give its exit code."""
    print(f"error: {error}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
    return error.exit_code


def progress(text: str) -> None:
    """Print one line of progress on stderr, at once; a run goes on when its terminal is gone."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def print_json(result: "Model") -> None:
    """Print a result for programs on stdout."""
    print(result.model_dump_json(indent=2, by_alias=True))


def _run(body: Body, context: object, flags: Mapping[str, Any], *, leaves: str | None) -> int:
    try:
        _require_flags(body, flags)
        code = body(context, **flags) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _discard_output()
        return 0
    except SystemExit as exc:  # rich has met the same and thrown the rest away
        if not isinstance(exc.__context__, BrokenPipeError):
            raise
        return 0
    except AutomationError as exc:
        return report(exc)
    except KeyboardInterrupt as exc:
        print(f"interrupted: {_left_behind(exc, leaves)}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exit as exc:
        return exc.code
    except Exception:
        logging.getLogger("automation").exception("a defect in Mainstay stopped %s", body.__name__)
        message = f"{body.__name__} was stopped by a defect in Mainstay; {_after_defect(leaves)}"
        return report(AutomationError(message, hint="report it with the traceback above"))


def _discard_output() -> None:
    """Whoever read the output has seen enough, as `head` does; the command is not at fault."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _left_behind(interrupt: KeyboardInterrupt, leaves: str | None) -> str:
    """Say what state was left: what the interrupt's own notes say, else what the command declares."""
    notes = getattr(interrupt, "__notes__", None)
    if notes:
        return " ".join(notes)
    return "nothing was changed" if leaves is None else f"left behind: {leaves}"


def _after_defect(leaves: str | None) -> str:
    return "nothing was changed" if leaves is None else f"state unknown; may be left behind: {leaves}"


def _require_flags(body: Body, flags: Mapping[str, Any]) -> None:
    for parameter in list(inspect.signature(body).parameters.values())[1:]:
        if parameter.default is parameter.empty and flags.get(parameter.name) is None:
            flag = "--" + parameter.name.replace("_", "-")
            raise ConfigError(f"{flag} is missing; nothing was touched", hint=_hint_for(parameter.name, flag))


def _hint_for(parameter: str, flag: str) -> str:
    if parameter != "env":
        return f"give {flag}; --help after the command says what it means"
    from automation.model.environment import list_environments  # pydantic: only when it is needed

    known = list_environments(ROOT)
    return f"--env is one of: {', '.join(known)}" if known else "no environment exists yet in inventories/"
