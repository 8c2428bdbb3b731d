"""What an outage cost, from what clients saw: RTA and RPA of a service. Pure.

RTA, recovery time actual: from the start of the first probe that failed to the end of the first of so
many good probes in a row. RPA, recovery point actual: acknowledged writes that are missing afterwards, as
a count and as the seconds from the oldest of them to the loss. What was not seen is `not-measured`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal, NamedTuple

from automation.model.base import Model
from automation.recovery.history import History, ProbeRecord

Verdict = Literal["met", "missed", "not-measured"]
SegmentName = Literal["detect", "declare", "approve", "run", "client-good"]
# An acknowledgement may be on the wire when the site is lost.
IN_FLIGHT_NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Milestones(Model):
    """When a run passed its marks, on the clock of the control node; None where it has no such mark."""

    fault_at: datetime | None = None
    last_fault_at: datetime | None = None
    detected_at: datetime | None = None
    declared_at: datetime | None = None
    approved_at: datetime | None = None
    run_ended_at: datetime | None = None


class Segment(Model):
    """A part of the RTA; None when its end was not marked: the next one then holds its time."""

    name: SegmentName
    seconds: float | None


class Outage(Model):
    """The outage of one service as its clients saw it.

    `brownout_s` is what a probe saw beside its longest stretch without a good answer: failures mixed with
    successes; `hard_down_s` is the rest. `resolution_s` is the widest gap between probes where the
    outage began or ended.
    `rta_s` of a service that did not recover is what had passed when the record ended: at least that.
    """

    status: Literal["measured", "none-seen", "not-recovered", "not-measured"]
    reason: str = ""
    rta_s: float | None = None
    first_failed_at: datetime | None = None
    client_good_at: datetime | None = None
    hard_down_s: float | None = None
    brownout_s: float | None = None
    resolution_s: float | None = None
    deciding_probe: str | None = None
    failed_afterwards: int = 0
    split: tuple[Segment, ...] = ()


class Loss(Model):
    """What became of the numbered writes of one service; every one is counted once."""

    status: Literal["measured", "not-measured"]
    reason: str = ""
    acknowledged: int = 0
    missing: tuple[str, ...] = ()
    rpa_s: float | None = None
    oldest_missing_at: datetime | None = None
    missing_after_loss: int = 0
    in_doubt_present: int = 0
    in_doubt_absent: int = 0
    refused_absent: int = 0
    refused_present: tuple[str, ...] = ()

    @property
    def is_by_age(self) -> bool:
        """Whether it is known by the age of what came back alone: no write was counted."""
        return self.status == "measured" and not self.acknowledged


# --- RTA -----------------------------------------------------------------------------------------


def measure_outage(
    history: History, probes: Collection[str], marks: Milestones, *, sustained: int = 10
) -> Outage:
    """Give the outage of the service behind some probes: it is back when all of them are.

    Args:
        history: on the control node's clock.
        probes: ids; without a fault time, the loss is the last one before the declaration.
        marks: those of the run; a part of the split without an end mark is not guessed.
        sustained: good probes in a row that end an outage.
    """
    found = {name: find_outage(history.probes.get(name, ()), marks, sustained) for name in sorted(probes)}
    if not found:
        return Outage(status="not-measured", reason="no probe watches this service")
    for name, seen in found.items():
        if seen.reason:
            return Outage(status="not-measured", reason=f"{name}: {seen.reason}")
    outages = {name: seen for name, seen in found.items() if seen.failed}
    if not outages:
        widest = max(seen.gap_ns for seen in found.values())
        return Outage(status="none-seen", rta_s=0.0, resolution_s=widest / 1e9, reason="no probe failed")
    return _worst(outages, marks)


class ProbeOutage(NamedTuple):
    """The outage as one probe saw it; `reason` when it could not see, no `failed` when there was none."""

    reason: str = ""
    failed: ProbeRecord | None = None
    good: ProbeRecord | None = None
    brownout_ns: int = 0
    down_ns: tuple[int, int] | None = None
    gap_ns: int = 0
    last_ns: int = 0
    failed_afterwards: int = 0


def find_outage(records: Sequence[ProbeRecord], marks: Milestones, sustained: int) -> ProbeOutage:
    """Find the outage in the records of one probe, in order of their sequence numbers."""
    loss_ns = _ns(marks.fault_at) or _last_well(records, _ns(marks.declared_at), sustained)
    before = [index for index, one in enumerate(records) if one.good and loss_ns and one.end_ns <= loss_ns]
    if not records:
        return ProbeOutage(reason="there is no record of it")
    if loss_ns is None or not before:
        return ProbeOutage(reason="no witness saw it well before the loss")
    if records[-1].start_ns < loss_ns:
        return ProbeOutage(reason="the witness ended before the loss")
    first = next((i for i, one in enumerate(records) if not one.good and one.end_ns > loss_ns), None)
    if first is None:
        return ProbeOutage(gap_ns=_widest_gap(records[before[-1] :]))
    # A good answer from before the loss, or before a person declared it, ends no outage.
    lost_ns = max(loss_ns, *(_ns(at) or 0 for at in (marks.last_fault_at, marks.declared_at)))
    answered = max((i for i, one in enumerate(records) if one.end_ns <= lost_ns), default=-1)
    back = last_recovery(records, max(first, answered + 1), sustained)
    end = back if back is not None else len(records) - 1
    good = records[back] if back is not None else None
    last_ns = good.end_ns if good else max(one.end_ns for one in records[first:])
    window = records[first : end + 1]
    down_ns = _hard_down(window, last_ns)
    return ProbeOutage(
        failed=records[first],
        good=good,
        brownout_ns=last_ns - window[0].start_ns - (down_ns[1] - down_ns[0]),
        down_ns=down_ns,
        gap_ns=_widest_gap(records[min(before[-1], first) : end + 1]),
        last_ns=last_ns,
        failed_afterwards=sum(not one.good for one in records[end + 1 :]),
    )


def last_recovery(records: Sequence[ProbeRecord], start: int, sustained: int) -> int | None:
    """Index of the first sustained good probe after which it did not fail as long again; None if it did."""
    back = first_sustained(records, start, sustained)
    while back is not None:
        bad = 0
        for index in range(back, len(records)):
            bad = 0 if records[index].good else bad + 1
            if bad == sustained:
                break
        else:
            return back
        back = first_sustained(records, index, sustained)
    return None


def first_sustained(records: Sequence[ProbeRecord], start: int, sustained: int) -> int | None:
    """Index of the first of so many good probes with unbroken numbers, at or after `start`."""
    run = 0
    for index in range(start, len(records)):
        follows = run > 0 and records[index].seq == records[index - 1].seq + 1
        run = (run + 1 if follows else 1) if records[index].good else 0
        if run == sustained:
            return index - sustained + 1
    return None


def _last_well(records: Sequence[ProbeRecord], by_ns: int | None, sustained: int) -> int | None:
    """End of the last sustained good probes that had ended before a time."""
    known = [one for one in records if by_ns is not None and one.end_ns <= by_ns]
    for index in range(len(known) - sustained, -1, -1):
        if first_sustained(known[: index + sustained], index, sustained) == index:
            return max(one.end_ns for one in known[: index + sustained])
    return None


def _hard_down(window: Sequence[ProbeRecord], last_ns: int) -> tuple[int, int]:
    """Longest time from the start of a failure to the end of the next good probe: its begin and end."""
    found = [(last_ns, last_ns)]
    since = None
    for one in window:
        if not one.good and since is None:
            since = one.start_ns
        elif one.good and since is not None:
            found.append((since, min(one.end_ns, last_ns)))
            since = None
    if since is not None:
        found.append((since, last_ns))
    return max(found, key=lambda span: span[1] - span[0])


def _widest_gap(records: Iterable[ProbeRecord]) -> int:
    return max((later.start_ns - earlier.start_ns for earlier, later in pairwise(records)), default=0)


def _worst(outages: Mapping[str, ProbeOutage], marks: Milestones) -> Outage:
    """The service is out from the first probe's failure until the last probe is good."""
    first_ns = min(seen.failed.start_ns for seen in outages.values() if seen.failed)
    recovered = all(seen.good for seen in outages.values())
    deciding = max(outages, key=lambda name: (outages[name].good is None, outages[name].last_ns))
    last_ns = max(first_ns, *(seen.last_ns for seen in outages.values()))
    brownout_ns = max(seen.brownout_ns for seen in outages.values())
    lost = sorted(name for name, seen in outages.items() if seen.good is None)
    return Outage(
        status="measured" if recovered else "not-recovered",
        reason="" if recovered else f"not good again before the record ended: {', '.join(lost)}",
        rta_s=(last_ns - first_ns) / 1e9,
        first_failed_at=at_ns(first_ns),
        client_good_at=at_ns(last_ns) if recovered else None,
        hard_down_s=(last_ns - first_ns - brownout_ns) / 1e9,
        brownout_s=brownout_ns / 1e9,
        resolution_s=max(seen.gap_ns for seen in outages.values()) / 1e9,
        deciding_probe=deciding,
        failed_afterwards=sum(seen.failed_afterwards for seen in outages.values()),
        split=split_outage(first_ns, last_ns, marks) if recovered else (),
    )


def split_outage(first_ns: int, last_ns: int, marks: Milestones) -> tuple[Segment, ...]:
    """Cut the outage at the run's marks; the parts add up to the whole, none is negative."""
    ends: tuple[tuple[SegmentName, datetime | None], ...] = (
        ("detect", marks.detected_at),
        ("declare", marks.declared_at),
        ("approve", marks.approved_at),
        ("run", marks.run_ended_at),
    )
    segments, since = [], first_ns
    for name, ended_at in ends:
        end_ns = _ns(ended_at)
        until = since if end_ns is None else min(max(end_ns, since), last_ns)
        segments.append(Segment(name=name, seconds=None if end_ns is None else (until - since) / 1e9))
        since = until
    return (*segments, Segment(name="client-good", seconds=(last_ns - since) / 1e9))


# --- RPA -----------------------------------------------------------------------------------------


def measure_loss(
    history: History, ledgers: Collection[str], present: Collection[str] | None, loss_at: datetime | None
) -> Loss:
    """Compare the witness's ledger with the writes that the new primary holds.

    Args:
        history: on the control node's clock.
        ledgers: ids of the probes that wrote.
        present: references found afterwards; None when nobody could look.
        loss_at: when the old primary was lost.
    """
    writes = {ref: one for name in sorted(ledgers) for ref, one in history.writes.get(name, {}).items()}
    loss_ns = _ns(loss_at)
    acknowledged = {ref: one.at_ns for ref, one in writes.items() if one.fate == "acknowledged"}
    if not ledgers:
        return Loss(status="not-measured", reason="no probe writes to this service")
    if present is None:
        return Loss(status="not-measured", reason="the writes kept afterwards were not listed")
    if loss_ns is None or not any(at_ns <= loss_ns for at_ns in acknowledged.values()):
        return Loss(status="not-measured", reason="no witness wrote before the loss")
    there = set(present)
    missing = sorted((at_ns, ref) for ref, at_ns in acknowledged.items() if ref not in there)
    doubtful = [ref for ref, one in writes.items() if one.fate == "in_doubt"]
    refused = [ref for ref, one in writes.items() if one.fate == "refused"]
    return Loss(
        status="measured",
        acknowledged=len(acknowledged),
        missing=tuple(ref for _, ref in missing),
        rpa_s=max(0, loss_ns - missing[0][0]) / 1e9 if missing else 0.0,
        oldest_missing_at=at_ns(missing[0][0]) if missing else None,
        missing_after_loss=sum(at_ns > loss_ns + IN_FLIGHT_NS for at_ns, _ in missing),
        in_doubt_present=sum(ref in there for ref in doubtful),
        in_doubt_absent=sum(ref not in there for ref in doubtful),
        refused_absent=sum(ref not in there for ref in refused),
        refused_present=tuple(sorted(ref for ref in refused if ref in there)),
    )


# --- verdicts ------------------------------------------------------------------------------------


def judge_rto(outage: Outage, rto_s: float) -> Verdict:
    """Met when clients were served again within the target; never met by what was not measured."""
    if outage.status == "not-measured" or outage.rta_s is None:
        return "not-measured"
    return "met" if outage.status != "not-recovered" and outage.rta_s <= rto_s else "missed"


def judge_rpo(loss: Loss, rpo_s: float) -> Verdict:
    """Met when the lost writes are no older than the target; a target of zero allows none at all.

    A write that was acknowledged well after the loss and is missing is no data loss in time: somebody else
    took it. No target allows that.
    """
    if loss.status == "not-measured" or loss.rpa_s is None:
        return "not-measured"
    return (
        "missed" if loss.rpa_s > rpo_s or loss.missing_after_loss or (rpo_s == 0 and loss.missing) else "met"
    )


def _ns(at: datetime | None) -> int | None:
    """Whole nanoseconds since 1970, without the rounding of a float."""
    return None if at is None else (at - _EPOCH) // timedelta(microseconds=1) * 1000


def at_ns(ns: int) -> datetime:
    """Give the moment so many nanoseconds after 1970."""
    return _EPOCH + timedelta(microseconds=ns // 1000)
