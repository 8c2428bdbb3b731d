"""The witness's record read back: every probe and every write on the clock of the control node. Pure.

Times are whole nanoseconds since 1970. Within one start of the witness they advance with its monotonic
clock from the wall time in its header, so a clock that is set during an outage does not bend the outage.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

WriteFate = Literal["acknowledged", "refused", "in_doubt"]


class ProbeRecord(NamedTuple):
    """One finished probe; `error` is its class, None when it was good."""

    seq: int
    start_ns: int
    end_ns: int
    error: str | None
    address: str | None = None

    @property
    def good(self) -> bool:
        return self.error is None


class WriteRecord(NamedTuple):
    """What became of one numbered write, when that was known (or when it was sent), and when it was sent."""

    fate: WriteFate
    at_ns: int
    sent_ns: int = 0


class History(NamedTuple):
    """All that one witness saw, probes of each id in order of their sequence numbers."""

    host: str = ""
    beat_s: float = 0.0
    timeout_s: float = 0.0
    resolver: str = ""
    offset_s: float = 0.0
    uncertainty_s: float = 0.0
    probes: Mapping[str, tuple[ProbeRecord, ...]] = {}
    writes: Mapping[str, Mapping[str, WriteRecord]] = {}
    missed_beats: int = 0
    starts: int = 0
    ended_in_order: bool = False


def read_history(lines: Iterable[str], *, offset_s: float = 0.0, uncertainty_s: float = 0.0) -> History:
    """Fold the lines of `witness.jsonl`.

    Args:
        lines: as written; a line that was cut off is passed over.
        offset_s: clock of the witness host minus the control node's.
        uncertainty_s: the most that this offset can be wrong by.
    """
    reader = _Reader(round(offset_s * 1e9))
    for line in lines:
        if record := _parse(line):
            reader.add(record)
    return reader.history(offset_s, uncertainty_s)


class _Reader:
    """What is known after some lines."""

    def __init__(self, offset_ns: int) -> None:
        self.offset_ns = offset_ns
        self.header: dict[str, Any] = {}
        self.origin_ns = 0
        self.probes: dict[str, dict[int, ProbeRecord]] = {}
        self.writes: dict[str, dict[str, WriteRecord]] = {}
        self.missed, self.starts, self.ended = 0, 0, False

    def add(self, record: dict[str, Any]) -> None:
        match record.get("record"):
            case "header":
                self.header = record
                self.origin_ns = record["clock"]["wall_ns"] - record["clock"]["mono_ns"] - self.offset_ns
                self.starts, self.ended = self.starts + 1, False
            case "probe":
                self._add_probe(record)
            case "sending":
                # In doubt until its probe's line says otherwise; a witness that dies leaves it so.
                sent_ns = record["wall_ns"] - self.offset_ns
                sent = WriteRecord("in_doubt", sent_ns, sent_ns)
                self.writes.setdefault(record["probe"], {}).setdefault(record["reference"], sent)
            case "missed":
                self.missed += record["beats"]
            case "end":
                self.ended = True

    def _add_probe(self, record: dict[str, Any]) -> None:
        start_ns, end_ns = (record[key] + self.origin_ns for key in ("start_mono_ns", "end_mono_ns"))
        probe = ProbeRecord(record["seq"], start_ns, end_ns, record["error"], record["address"])
        self.probes.setdefault(record["probe"], {})[probe.seq] = probe
        if "reference" in record:
            written = WriteRecord(record["write"], end_ns, start_ns)
            self.writes.setdefault(record["probe"], {})[record["reference"]] = written

    def history(self, offset_s: float, uncertainty_s: float) -> History:
        config = self.header.get("config", {})
        return History(
            host=self.header.get("host", ""),
            beat_s=config.get("beat_ms", 0) / 1000,
            timeout_s=config.get("timeout_ms", 0) / 1000,
            resolver=(self.header.get("resolver") or {}).get("/etc/resolv.conf") or "",
            offset_s=offset_s,
            uncertainty_s=uncertainty_s,
            probes={name: tuple(found[seq] for seq in sorted(found)) for name, found in self.probes.items()},
            writes=self.writes,
            missed_beats=self.missed,
            starts=self.starts,
            ended_in_order=self.ended,
        )


def _parse(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
