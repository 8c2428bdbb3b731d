"""What lies in files of approvals: requests and answers in a run's folder, and what was used up."""

import os
from collections.abc import Collection
from pathlib import Path

from automation.model.approvals import Approval, Request, SignedApproval
from automation.model.errors import PreflightError

FOLDER = "approvals"


class UsedNonces:
    """Nonces that were used, one file each; they outlive the run's folder."""

    def __init__(self, folder: Path, *, mine: Collection[str] = ()) -> None:
        self._folder = folder
        self._mine = mine

    def user_of(self, nonce: str) -> str | None:
        """Name the run that used a nonce; those that this run itself recorded count as unused."""
        if nonce in self._mine:
            return None
        try:
            return (self._folder / nonce).read_text() or "a run that was cut off"
        except FileNotFoundError:
            return None

    def claim(self, nonce: str, run_id: str) -> None:
        """Use a nonce up; it is on the disk when this returns.

        Raises:
            PreflightError: it is used already.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(self._folder / nonce, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise PreflightError(f"approval {nonce[:8]} was used already; nothing was changed") from None
        with os.fdopen(descriptor, "w") as file:
            file.write(run_id)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(self._folder)


def ask(folder: Path, request: Request) -> Request:
    """Leave a request in a run's folder for `run.approve`; who asked first stays the requester."""
    path = _request_path(folder, request)
    if path.is_file():
        first = Request.model_validate_json(path.read_bytes())
        request = request.model_copy(update={"requester": first.requester})
        if request == first:
            return first
    _write(path, request.model_dump_json(indent=1))
    return request


def requests(folder: Path) -> tuple[Request, ...]:
    """Give every request of a run's folder, sorted by file name."""
    paths = sorted((folder / FOLDER).glob("request-*.json"))
    return tuple(Request.model_validate_json(path.read_bytes()) for path in paths)


def keep(folder: Path, signed: SignedApproval) -> Path:
    """Put an approval into a run's folder: `<nonce>.json` and, as ssh-keygen names it, `<nonce>.json.sig`."""
    nonce = Approval.model_validate_json(signed.content).nonce
    path = folder / FOLDER / f"{nonce}.json"
    _write(path.with_name(f"{path.name}.sig"), signed.signature)
    _write(path, signed.content)
    return path


def gather(folder: Path, request: Request | None = None) -> tuple[SignedApproval, ...]:
    """Give the approvals that lie in a run's folder; one without its signature has an empty one.

    Args:
        request: only those that say they answer it, and those that cannot be read.
    """
    found = []
    for path in sorted((folder / FOLDER).glob("*.json")):
        if not path.name.startswith("request-"):
            signature = path.with_name(f"{path.name}.sig")
            words = signature.read_text(errors="replace") if signature.is_file() else ""
            signed = SignedApproval(content=path.read_text(errors="replace"), signature=words)
            if request is None or signed.answers(request):
                found.append(signed)
    return tuple(found)


def _request_path(folder: Path, request: Request) -> Path:
    parts = ("request", request.kind, *([request.step.replace("/", "-")] if request.step else []))
    return folder / FOLDER / f"{'-'.join(parts)}.json"


def _write(path: Path, content: str) -> None:
    """Write a file whole or not at all, and sync it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    with partial.open("w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
