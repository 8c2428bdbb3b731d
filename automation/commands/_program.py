"""The program `inv`: invoke's own, with our exit codes for words it does not understand."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from invoke import Exit, ParseError, Program

from automation import __version__
from automation.commands._command import ROOT, report
from automation.model.errors import ConfigError


class Inv(Program):
    """Invoke's program with bytecode caching on and exit code 2 for a faulty command line."""

    def parse_core(self, argv: list[str] | None) -> None:
        with _faulty_words():
            super().parse_core(argv)
        sys.dont_write_bytecode = False  # invoke switches the cache off, which costs every later start

    def parse_tasks(self) -> None:
        with _faulty_words():
            super().parse_tasks()

    def parse_cleanup(self) -> None:
        with _faulty_words():
            super().parse_cleanup()


@contextmanager
def _faulty_words() -> Iterator[None]:
    try:
        yield
    except ParseError as exc:
        _refuse(str(exc))
    except Exit as exc:
        if not exc.message:
            raise
        _refuse(exc.message)


def _refuse(message: str) -> NoReturn:
    error = ConfigError(
        f"{message.rstrip('.!')}; nothing was touched", hint="./inv --list names the commands"
    )
    raise Exit(code=report(error))


def main() -> None:
    """Run the command line of this process and exit with the command's code."""
    program = Inv(name="Mainstay", binary="inv", version=__version__)
    program.run(["inv", "--search-root", str(ROOT), *sys.argv[1:]])
