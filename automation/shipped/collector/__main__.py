"""Collect the facts of this host and print them as one JSON object.

`collector [--walk-s SECONDS] [--only SECTION ...]`: each section is collected on its own; one that cannot be
stands in `unknown` with the reason, and no other is worse for it.

Every host pays for what is imported: argparse, runpy, traceback and typing cost more than most sections.
"""

import functools
import json
import os
import sys
import time
from collections.abc import Callable, Mapping

from . import accounts, files, kernel, logs, network, privileges, software, sshd, watching
from .system import NotKnown

Section = Callable[[], object]

MODULES = (kernel, sshd, accounts, privileges, software, network, logs, watching, files)


def main() -> None:
    """Print the facts."""
    walk_s, only = options(sys.argv[1:])
    tree = functools.partial(files.collect_tree, walk_s)
    wanted: dict[str, Section] = {"tree": tree}
    for module in MODULES:
        wanted.update(module.SECTIONS)
    if only:
        wanted = {name: wanted[name] for name in only}
    facts = {**collect(wanted), "at": time.time(), "shared_kernel": os.path.exists("/run/systemd/container")}
    json.dump(facts, sys.stdout, separators=(",", ":"), sort_keys=True)
    sys.stdout.write("\n")


def options(words: list[str]) -> tuple[float, list[str]]:
    """Read for how many seconds to walk, and the sections that alone are wanted; none: all."""
    walk_s, only = 20.0, []
    if words[:1] == ["--walk-s"]:
        walk_s, words = float(words[1]), words[2:]
    if words[:1] == ["--only"]:
        only, words = words[1:], []
    if words:
        raise SystemExit(f"{words[0]} is no option: [--walk-s SECONDS] [--only SECTION ...]")
    return walk_s, only


def collect(wanted: Mapping[str, Section]) -> dict[str, object]:
    """Collect each section on its own; what a file holds is never part of a reason."""
    sections, unknown, took = {}, {}, {}
    for name, section in wanted.items():
        began = time.monotonic()
        try:
            sections[name] = section()
        except NotKnown as exc:
            unknown[name] = str(exc)[:300]
        except Exception as exc:  # one section never costs the others
            unknown[name] = f"the collector failed: {type(exc).__name__} at {place_of(exc)}"
        took[name] = round(time.monotonic() - began, 3)
    return {"sections": sections, "unknown": unknown, "took_s": took}


def place_of(exc: BaseException) -> str:
    """Give the file and line where it was raised."""
    at = exc.__traceback__
    while at and at.tb_next:
        at = at.tb_next
    return f"{os.path.basename(at.tb_frame.f_code.co_filename)}:{at.tb_lineno}" if at else "no line"


if __name__ == "__main__":
    main()
