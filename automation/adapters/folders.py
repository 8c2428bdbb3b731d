"""What stands in folders of a host; changes nothing."""

from automation.model.actions import ListFolders
from automation.model.drill_evidence import Listing
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome

# A folder that is not there is as good as empty, and stays out of the list.
_LIST = r"""
for folder in "$@"; do
  [ ! -d "$folder" ] || find "$folder" -mindepth 1 -maxdepth 1 -printf '%p\t%y\n'
done
"""


def list_entries(action: ListFolders, ctx: Context) -> Outcome:
    """List the entries of folders by path, with what each is."""
    argv = ["sudo", "-n", "sh", "-c", _LIST, "list", *action.folders]
    done = ctx.remote(action.host).run(argv, timeout_s=ctx.timeout_s)
    if done.exit_code:
        raise AdapterError(f"cannot list {', '.join(action.folders)} on {action.host}: {done.stderr.strip()}")
    pairs = (line.split("\t") for line in done.stdout.splitlines())
    items = {path: {"d": "folder", "f": "file"}.get(kind, kind) for path, kind in pairs}
    return Outcome(
        changed=False,
        summary=f"{len(items)} entries in {', '.join(action.folders)} of {action.host}",
        evidence=Listing(of="folders", where=action.host, items=items),
    )
