"""Do one thing; print one line of JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys

from .comparing import compare, size_of
from .drawing import draw, pattern_of
from .listing import Listing, listed
from .making import make

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .entries import Told


def main(argv: Sequence[str]) -> None:
    """Do one thing; print one line of JSON."""
    parser = argparse.ArgumentParser(description="What stands in folders, with hashes.")
    commands = parser.add_subparsers(dest="command", required=True)
    names = ("make", "listed", "draw", "compare", "size")
    made, against, drawn, compared, sized = map(commands.add_parser, names)
    for command in (made, against, drawn, compared, sized):
        command.add_argument("--manifest", required=True)
    made.add_argument("--exclude", action="append", default=[])
    made.add_argument("paths", nargs="+")
    for command in (drawn, compared):
        command.add_argument("--listing", help="file of `restic ls --json` of the point")
        command.add_argument("--only", help="file of the chosen paths, each ended by NUL")
    drawn.add_argument("--patterns", help="file of arguments for restic, each ended by NUL")
    drawn.add_argument("--files", type=int)
    drawn.add_argument("--bytes", type=int)
    drawn.add_argument("--newest", type=float, default=0.5)
    drawn.add_argument("--seed", default="")
    drawn.add_argument("--must", action="append", default=[])
    compared.add_argument("--root", required=True)
    for command in (compared, sized):
        command.add_argument("--below", action="append", default=[])
    asked = parser.parse_args(argv)
    print(size_of(asked.manifest, asked.below) if asked.command == "size" else json.dumps(_perform(asked)))


def _perform(asked: argparse.Namespace) -> Told:
    if asked.command == "make":
        return make(asked.paths, asked.manifest, asked.exclude)
    if asked.command == "listed":
        return listed(asked.manifest, Listing(sys.stdin))
    listing = _read_listing(asked.listing)
    if asked.command == "compare":
        only = _read_paths(asked.only) if asked.only else None
        return compare(asked.manifest, asked.root, only, asked.below, listing)
    limits = {"files": asked.files, "max_bytes": asked.bytes, "newest": asked.newest}
    chosen = draw(asked.manifest, listing, **limits, seed=asked.seed, must=asked.must)
    _write_paths(asked.only, chosen)
    _write_paths(asked.patterns, [f"--include={pattern_of(path)}" for path in chosen])
    return {"record": "drawn", "files": len(chosen), "bytes": sum(chosen.values())}


def _read_listing(file: str | None) -> Listing | None:
    if file is None:
        return None
    with open(file, encoding="utf-8", errors="replace") as lines:
        return Listing(lines)


def _read_paths(file: str) -> list[str]:
    with open(file, "rb") as content:
        return [os.fsdecode(path) for path in content.read().split(b"\0") if path]


def _write_paths(file: str, paths: Iterable[str]) -> None:
    with open(file, "wb") as content:
        content.write(b"".join(os.fsencode(path) + b"\0" for path in paths))


if __name__ == "__main__":
    main(sys.argv[1:])
