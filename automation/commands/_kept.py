"""Old data directories that failbacks kept: nothing removes them but a person."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Literal

from automation.commands._session import Session
from automation.model.base import Model
from automation.model.errors import AdapterError
from automation.model.evidence import DataKept


class KeptSeen(Model):
    """One data directory that was kept, and whether it is there."""

    run_id: str
    data: DataKept
    state: Literal["there", "gone", "no answer"]
    expired: bool

    @property
    def words(self) -> str:
        """What a person is told of it."""
        kept, day = self.data, f"{self.data.keep_until:%Y-%m-%d}"
        size = f"{kept.size_bytes / 2**20:.0f} MiB"
        due = f"a person may remove it since {day}" if self.expired else f"to be kept until {day}"
        seen = "" if self.state == "there" else f" ({kept.server}: no answer)"
        return f"old data: {kept.server}:{kept.path}, {size}, of run {self.run_id}; {due}{seen}"


def list_kept(session: Session) -> tuple[KeptSeen, ...]:
    """Give every data directory that was kept and is not known to be gone; changes nothing."""
    from automation.adapters.postgresql import KEPT

    notes = sorted((session.state / KEPT).glob("*.json"))
    known = [(path.stem, DataKept.model_validate_json(path.read_bytes())) for path in notes]
    with ThreadPoolExecutor(max_workers=8) as pool:
        rows = pool.map(lambda item: _see(session, *item), known)
        return tuple(row for row in rows if row.state != "gone")


def _see(session: Session, note: str, data: DataKept) -> KeptSeen:
    state: Literal["there", "gone", "no answer"] = "there"
    try:
        done = session.remote(data.server).run(["sudo", "-n", "test", "-d", data.path], timeout_s=10.0)
        state = "gone" if done.exit_code else "there"
    except AdapterError:
        state = "no answer"
    run_id = note.removesuffix(f"-{data.server}")
    return KeptSeen(run_id=run_id, data=data, state=state, expired=datetime.now(UTC) > data.keep_until)
