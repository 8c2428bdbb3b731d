"""What a run of proofs showed, unit by unit, folded from its journal. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal

from automation.backups.proving import LeftOut, Unit
from automation.model.backup_evidence import (
    PointProven,
    PointRestored,
    ProofFailed,
    RepositoryChecked,
    Source,
)
from automation.model.base import Model
from automation.model.records import Event, StepEnded
from automation.model.recovery_points import Level

Result = Literal["proven", "failed", "not tried", "broken off"]


class ProofRow(Model):
    """One proof: of a resource in a store, or of a whole repository where `resource` is empty.

    proven: found good. failed: found bad. broken off: it came to no verdict. not tried: it did not begin.
    """

    resource: str
    store: str
    level: Level
    point: str = ""
    until: datetime | None = None
    result: Result
    seconds: float = 0.0
    size_bytes: int = 0
    said: tuple[str, ...] = ()
    left_behind: str = ""
    source: Source = "real"

    @property
    def subject(self) -> str:
        """What it was about, for people."""
        return self.resource or "the whole repository"


class Proved(Model):
    """Every proof of a run, and the seed of its random choices."""

    run: str
    seed: int
    rows: tuple[ProofRow, ...]

    def of(self, *results: Result) -> tuple[ProofRow, ...]:
        """Give the rows that ended in one of these ways."""
        return tuple(row for row in self.rows if row.result in results)


def fold_results(
    units: Sequence[Unit],
    left_out: Sequence[LeftOut],
    events: Iterable[Event],
    simulated: Collection[str] = (),
) -> tuple[ProofRow, ...]:
    """Give a row for every unit and for everything that was left out.

    Args:
        simulated: stores at which a simulator answers.
    """
    ends = {event.body.step: event.body for event in events if isinstance(event.body, StepEnded)}
    rows = [_row(unit, ends) for unit in units]
    rows += [
        ProofRow(
            resource=one.resource, store=one.store, level=one.level, result="not tried", said=(one.reason,)
        )
        for one in left_out
    ]
    marked = (
        row.model_copy(update={"source": "simulated"}) if row.store in simulated else row for row in rows
    )
    return tuple(sorted(marked, key=lambda row: (row.resource, row.level, row.store)))


def _row(unit: Unit, ends: Mapping[str, StepEnded]) -> ProofRow:
    ended = [ends[step] for step in unit.steps if step in ends]
    good = [one.outcome.evidence for one in ended if one.outcome is not None]
    bad = [one.failure for one in ended if one.failure is not None]
    result: Result
    failed = next((f.evidence for f in bad if isinstance(f.evidence, ProofFailed)), None)
    proven = next((one for one in good if isinstance(one, PointProven | RepositoryChecked)), None)
    restored = next((one for one in good if isinstance(one, PointRestored)), None)
    if failed is not None:
        result, said = "failed", failed.found
    elif proven is not None:
        result, said = "proven", proven.found if isinstance(proven, PointProven) else _read(proven)
    elif bad:
        result, said = "broken off", (bad[0].message,)
    else:
        result, said = "not tried", ("the run was stopped before",)
    seconds, size = (proven.seconds, proven.size_bytes) if proven is not None else (0.0, 0)
    return ProofRow(
        resource=unit.resource,
        store=unit.store,
        level=unit.level,
        point=unit.point,
        until=unit.until,
        result=result,
        seconds=seconds or (restored.seconds if restored else 0.0),
        size_bytes=size or (restored.size_bytes if restored else 0),
        said=said,
        left_behind=_left_behind(ended),
    )


def _read(checked: RepositoryChecked) -> tuple[str, ...]:
    if not checked.part:
        return ("its structure holds together",)
    part = f"part {checked.part} of {checked.parts}" if checked.parts > 1 else "all of it"
    return (f"{part} can be read",)


def _left_behind(ended: Sequence[StepEnded]) -> str:
    """Say what was not removed: the steps that remove end in remove or clear."""
    told = [
        one.failure.message
        for one in ended
        if one.failure is not None and one.step.rpartition("/")[2] in ("remove", "clear")
    ]
    return "; ".join(told)
