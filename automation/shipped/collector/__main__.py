"""Collect the facts of this host and print them as one JSON object.

`collector [--walk-s SECONDS] [--only SECTION ...]`: each section is collected on its own; one that cannot be
stands in `unknown` with the reason, and no other is worse for it.
"""

import argparse
import functools
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping

from . import accounts, files, kernel, logs, network, privileges, software, sshd, watching
from .system import NotKnown

Section = Callable[[], object]

MODULES = (kernel, sshd, accounts, privileges, software, network, logs, watching, files)


def main() -> None:
    """Print the facts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--walk-s", type=float, default=20.0)
    parser.add_argument("--only", nargs="+", default=[])
    options = parser.parse_args()
    tree = functools.partial(files.collect_tree, options.walk_s)
    wanted: dict[str, Section] = {"tree": tree}
    for module in MODULES:
        wanted.update(module.SECTIONS)
    if options.only:
        wanted = {name: wanted[name] for name in options.only}
    facts = {**collect(wanted), "at": time.time(), "shared_kernel": os.path.exists("/run/systemd/container")}
    json.dump(facts, sys.stdout, separators=(",", ":"), sort_keys=True)
    sys.stdout.write("\n")


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
            *_, last = traceback.extract_tb(exc.__traceback__)
            where = f"{os.path.basename(last.filename)}:{last.lineno}"
            unknown[name] = f"the collector failed: {type(exc).__name__} at {where}"
        took[name] = round(time.monotonic() - began, 3)
    return {"sections": sections, "unknown": unknown, "took_s": took}


if __name__ == "__main__":
    main()
