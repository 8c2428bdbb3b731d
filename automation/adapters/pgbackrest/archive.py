"""Every backup and every WAL file of a repository, by name and size: what a drill must leave as it was."""

import json

from automation.model.actions import ListArchive
from automation.model.drill_evidence import Listing
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome

PARTS = ("archive", "backup")


def list_archive(action: ListArchive, ctx: Context) -> Outcome:
    """List the files of a stanza in one repository into an artifact, one `path<tab>size` a line.

    Of backups the labels are listed, of the archive every file.
    """
    lines = [line for part in PARTS for line in _list(action, ctx, part)]
    (ctx.artifacts / action.artifact).write_text("".join(f"{line}\n" for line in sorted(lines)))
    archived = sum(line.startswith("archive/") for line in lines)
    return Outcome(
        changed=False,
        summary=f"{action.of.store}: {archived} files in the archive, {len(lines) - archived} backups",
        evidence=Listing(of="archive", where=action.of.store, file=action.artifact),
    )


def _list(action: ListArchive, ctx: Context, part: str) -> list[str]:
    recurse = ["--recurse"] if part == "archive" else []
    argv = [
        "sudo",
        "-n",
        "-u",
        "postgres",
        "pgbackrest",
        f"--repo={action.of.repo}",
        "--log-level-console=error",
    ]
    argv += ["--output=json", "--sort=none", *recurse, "repo-ls", f"{part}/{action.of.stanza}"]
    done = ctx.remote(action.host).run(argv, timeout_s=ctx.timeout_s)
    try:
        found = json.loads(done.stdout)
    except ValueError as exc:
        said = done.stderr.strip() or done.stdout.strip()
        raise AdapterError(
            f"cannot list {part} of {action.of.store} on {action.host}: {said[-400:]}; nothing was changed"
        ) from exc
    return [
        f"{part}/{action.of.stanza}/{path}\t{about.get('size', about['type'])}"
        for path, about in found.items()
        if _is_told(part, path, about["type"])
    ]


def _is_told(part: str, path: str, kind: str) -> bool:
    if part == "archive":
        return kind == "file"
    return kind == "path" and path not in (".", "backup.history")
