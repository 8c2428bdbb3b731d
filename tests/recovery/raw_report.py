"""What a report's numbers must be, worked out anew from the raw lines of a run: nothing of ours but json.

It shares no function with the report: events are dicts, times are parsed here, outages and losses are found
by the definitions in the README, in the plainest way.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

Lines = Sequence[dict[str, Any]]
Numbers = dict[str, object]
SUSTAINED = 10


def when(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every number and every moment of a document, by its path."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from leaves(one, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from leaves(one, f"{path}[{number}]")
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int | float):
        yield path, value
    elif isinstance(value, str) and len(value) >= 10 and value[:4].isdigit() and value[4] == "-":
        try:
            yield path, when(value)
        except ValueError:
            return


class Raw:
    """A run as its files have it."""

    def __init__(self, journal: str, plan: str, witness: str | None, lists: Mapping[str, str]) -> None:
        self.events: Lines = [json.loads(line) for line in journal.splitlines()]
        self.steps: Lines = json.loads(plan)["steps"]
        self.witness: Lines = [json.loads(line) for line in (witness or "").splitlines()]
        self.lists = lists
        self.ends = {e["body"]["step"]: e for e in self.events if e["body"]["kind"] == "step-ended"}

    def evidence(self, kind: str) -> list[dict[str, Any]]:
        """Evidence of one kind, of each step's last end, in the order in which the steps were first named."""
        named = dict.fromkeys(e["body"]["step"] for e in self.events if e["body"].get("step"))
        ends = [self.ends[step]["body"] for step in named if step in self.ends]
        found = [(end.get("outcome") or end.get("failure") or {}).get("evidence") for end in ends]
        return [one for one in found if one and one["kind"] == kind]

    # --- what the journal says ----------------------------------------------------------------

    def of_run(self) -> Numbers:
        kinds = [event["body"]["kind"] for event in self.events]
        closings = [i for i, kind in enumerate(kinds) if kind in ("run-closed", "run-resumed")]
        closed = bool(closings) and kinds[closings[-1]] == "run-closed"
        found: Numbers = {"format": 2, "started_at": when(self.events[0]["at"])}
        if closed:
            found["ended_at"] = when(self.events[closings[-1]]["at"])
        found |= {
            "evidence.events": len(kinds),
            "evidence.seals": kinds.count("run-sealed"),
            "evidence.files": 0,
        }
        for number, (before, event) in enumerate(
            (a, b) for a, b in pairwise(self.events) if b["body"]["kind"] == "run-resumed"
        ):
            found[f"standstills[{number}].from_at"] = when(before["at"])
            found[f"standstills[{number}].until_at"] = when(event["at"])
        return found

    def of_evidence(self) -> Numbers:
        copied = {"faults": "fault", "proofs": "fence-proof", "promotions": "promotion", "dns": "dns-change"}
        found: Numbers = {}
        for name, kind in copied.items():
            found |= dict(leaves(self.evidence(kind), name))
        for name, kind in (("declaration", "declaration"), ("checks", "checks-run")):
            for one in self.evidence(kind)[:1]:
                found |= dict(leaves(one, name))
        read = [*self.evidence("server-state"), *self.evidence("fence-proof")]
        if read:
            found["sources.real"] = len(read)
        return found

    def of_steps(self) -> Numbers:
        found: Numbers = {}
        for number, step in enumerate(self.steps):
            path = f"steps[{number}]"
            own = [e for e in self.events if e["body"].get("step") == step["id"]]
            tries = self._tries(own)
            found[f"{path}.retries"] = sum(e["body"]["kind"] == "step-retried" for e in own)
            for place, (began, ended) in enumerate(tries[:-1]):
                found[f"{path}.earlier[{place}].started_at"] = began
                if ended:
                    found[f"{path}.earlier[{place}].ended_at"] = ended
            if tries:
                began, ended = tries[-1]
                found[f"{path}.started_at"] = began
                if ended:
                    found[f"{path}.ended_at"] = ended
                    found[f"{path}.seconds"] = (ended - began).total_seconds()
        return found

    @staticmethod
    def _tries(own: Lines) -> list[tuple[datetime, datetime | None]]:
        tries: list[tuple[datetime, datetime | None]] = []
        for event in own:
            if event["body"]["kind"] == "step-started":
                tries.append((when(event["at"]), None))
            elif event["body"]["kind"] == "step-ended" and tries:
                tries[-1] = (tries[-1][0], when(event["at"]))
        return tries

    def ended(self, does: str) -> list[datetime]:
        """When steps that do something succeeded, in plan order."""
        steps = [step["id"] for step in self.steps if step["run"]["do"] == does]
        ends = [self.ends[step] for step in steps if step in self.ends]
        return [when(end["at"]) for end in ends if end["body"]["status"] == "succeeded"]

    def of_fences(self) -> Numbers:
        at = [*self.ended("nspawn.power_off_server"), *self.ended("nspawn.block_server")]
        promoted = [
            when(
                [e["at"] for e in self.events if e["body"] == {"kind": "step-started", "step": step["id"]}][
                    -1
                ]
            )
            for step in self.steps
            if step["run"]["do"] == "postgresql.promote"
            and any(e["body"] == {"kind": "step-started", "step": step["id"]} for e in self.events)
        ]
        found: Numbers = {f"fences[{number}].at": one for number, one in enumerate(at)}
        return found | {f"safety.takeovers[{n}].started_at": one for n, one in enumerate(promoted)}

    def of_marks(self, services: Sequence[str]) -> Numbers:
        faults = [when(one["at"]) for one in self.evidence("fault")]
        detected = self.ended("witness.await_failed")
        declared = [when(one["declared_at"]) for one in self.evidence("declaration")]
        found: Numbers = {}
        if faults:
            found |= {"marks.fault_at": min(faults), "marks.last_fault_at": max(faults)}
        if detected:
            found["marks.detected_at"] = detected[0]
        if declared:
            found["marks.declared_at"] = declared[0]
            good = [when(one["at"]) for one in self.evidence("probes-seen") if one["verdict"] == "good"]
            if later := [at for at in good if at > declared[0]]:
                found["served_again_at"] = max(later)
        if moved := self.moved(services):
            found["marks.run_ended_at"] = moved
        return found

    def moved(self, services: Sequence[str]) -> datetime | None:
        """The end of the last change to some services, if all of their changes succeeded."""
        changing = ("nspawn.power_off", "nspawn.block", "postgresql.promote", "dns.swap", "systemd.start")
        own = [s for s in self.steps if s["service"] in services and s["run"]["do"].startswith(changing)]
        ends = [self.ends.get(step["id"]) for step in own]
        if any(end is None or end["body"]["status"] != "succeeded" for end in ends):
            return None
        return max((when(end["at"]) for end in ends if end), default=None)

    # --- what the witness says ----------------------------------------------------------------

    def probes(self) -> dict[str, list[tuple[int, datetime, datetime, bool]]]:
        if not self.witness or not self.evidence("witness-record"):
            return {}
        clock = self.witness[0]["clock"]
        zero = when("1970-01-01T00:00:00+00:00") + timedelta(microseconds=clock["wall_ns"] / 1000)
        found: dict[str, list[tuple[int, datetime, datetime, bool]]] = {}
        for line in self.witness:
            if line["record"] == "probe":
                began, ended = (
                    zero + timedelta(microseconds=(line[key] - clock["mono_ns"]) / 1000)
                    for key in ("start_mono_ns", "end_mono_ns")
                )
                one = (line["seq"], began, ended, line["error"] is None)
                found.setdefault(line["probe"], []).append(one)
        return {name: sorted(lines) for name, lines in sorted(found.items())}

    def outage(self, lines: Sequence[tuple[int, datetime, datetime, bool]]) -> dict[str, Any]:
        """First failure, first of ten good ones after the loss and the declaration, what lies between."""
        faults = [when(one["at"]) for one in self.evidence("fault")]
        declared = [when(one["declared_at"]) for one in self.evidence("declaration")]
        lost, latest = min(faults), max([*faults, *declared])
        before = max(i for i, (_, _, ended, good) in enumerate(lines) if good and ended <= lost)
        first = next(i for i, (_, _, ended, good) in enumerate(lines) if not good and ended > lost)
        back = next(
            (
                i
                for i in range(first, len(lines) - SUSTAINED + 1)
                if lines[i][2] > latest and all(one[3] for one in lines[i : i + SUSTAINED])
            ),
            None,
        )
        end = back if back is not None else len(lines) - 1
        last_at = lines[end][2] if back is not None else max(one[2] for one in lines[first:])
        down = self._longest_without_an_answer(lines[first : end + 1], last_at)
        gaps = [b[1] - a[1] for a, b in pairwise(lines[min(before, first) : end + 1])]
        failed_after = sum(not one[3] for one in lines[end + 1 :])
        return {
            "from": lines[first][1],
            "until": last_at,
            "back": back is not None,
            "down": down,
            "gap_s": max(gaps, default=timedelta(0)).total_seconds(),
            "failed_after": failed_after,
        }

    @staticmethod
    def _longest_without_an_answer(
        window: Sequence[tuple[int, datetime, datetime, bool]], last_at: datetime
    ) -> tuple[datetime, datetime]:
        spans, since = [], None
        for _, began, ended, good in window:
            if not good:
                since = since or began
            elif since:
                spans.append((since, min(ended, last_at)))
                since = None
        if since:
            spans.append((since, last_at))
        return max(spans, key=lambda span: span[1] - span[0])

    def of_probes(self) -> Numbers:
        found: Numbers = {}
        for number, (_, lines) in enumerate(self.probes().items()):
            path = f"probes[{number}]"
            groups: list[list[tuple[int, datetime, datetime, bool]]] = []
            for one in lines:
                joins = groups and groups[-1][-1][3] == one[3] and groups[-1][-1][0] + 1 == one[0]
                groups[-1].append(one) if joins else groups.append([one])
            for place, group in enumerate(groups):
                found[f"{path}.stretches[{place}].from_at"] = group[0][1]
                found[f"{path}.stretches[{place}].until_at"] = group[-1][2]
                found[f"{path}.stretches[{place}].probes"] = len(group)
            out = self.outage(lines)
            found |= {f"{path}.out_from": out["from"]} | (
                {f"{path}.out_until": out["until"]} if out["back"] else {}
            )
            found |= {f"{path}.down_from": out["down"][0], f"{path}.down_until": out["down"][1]}
        return found

    def of_measurement(self) -> Numbers:
        names = ("beat_s", "timeout_s", "sustained", "clock_offset_s", "clock_uncertainty_s")
        found: Numbers = dict.fromkeys(
            (f"measurement.{name}" for name in (*names, "missed_beats", "witness_starts")), 0
        )
        records = self.evidence("witness-record")
        if self.witness and records:
            config = self.witness[0]["config"]
            found |= {
                "measurement.beat_s": config["beat_ms"] / 1000,
                "measurement.timeout_s": config["timeout_ms"] / 1000,
                "measurement.sustained": SUSTAINED,
                "measurement.clock_offset_s": records[0]["clock_offset_s"],
                "measurement.clock_uncertainty_s": records[0]["clock_uncertainty_s"],
                "measurement.missed_beats": sum(one.get("beats", 0) for one in self.witness),
                "measurement.witness_starts": sum(one["record"] == "header" for one in self.witness),
            }
        return found

    # --- services -----------------------------------------------------------------------------

    def of_service(
        self, path: str, name: str, service: Mapping[str, Any], target: Mapping[str, Any]
    ) -> Numbers:
        found: Numbers = {f"{path}.tier": service["tier"], f"{path}.wrt_s": 0.0}
        found |= {f"{path}.rto_s": target["rto_s"], f"{path}.rpo_s": target["rpo_s"]}
        return found | self._outage_of(f"{path}.outage", name) | self._loss_of(f"{path}", name)

    def _outage_of(self, path: str, name: str) -> Numbers:
        seen = [self.outage(lines) for probe, lines in self.probes().items() if probe.startswith(f"{name}/")]
        if not seen:
            return {f"{path}.failed_afterwards": 0}
        began, ended = min(one["from"] for one in seen), max(one["until"] for one in seen)
        brown = max((o["until"] - o["from"]) - (o["down"][1] - o["down"][0]) for o in seen)
        whole = (ended - began).total_seconds()
        found: Numbers = {
            f"{path}.rta_s": whole,
            f"{path}.first_failed_at": began,
            f"{path}.brownout_s": brown.total_seconds(),
            f"{path}.hard_down_s": whole - brown.total_seconds(),
            f"{path}.resolution_s": max(one["gap_s"] for one in seen),
            f"{path}.failed_afterwards": sum(one["failed_after"] for one in seen),
        }
        if all(one["back"] for one in seen):
            found[f"{path}.client_good_at"] = ended
            found |= self._split(path, name, began, ended)
        return found

    def _split(self, path: str, name: str, began: datetime, ended: datetime) -> Numbers:
        marks = self.of_marks([name])
        found: Numbers = {}
        since = began
        for place, mark in enumerate(("detected_at", "declared_at", "approved_at", "run_ended_at")):
            at = marks.get(f"marks.{mark}")
            if isinstance(at, datetime):
                until = min(max(at, since), ended)
                found[f"{path}.split[{place}].seconds"] = (until - since).total_seconds()
                since = until
        return found | {f"{path}.split[4].seconds": (ended - since).total_seconds()}

    def _loss_of(self, path: str, name: str) -> Numbers:
        counts = (
            "acknowledged",
            "missing_after_loss",
            "in_doubt_present",
            "in_doubt_absent",
            "refused_absent",
        )
        found: Numbers = dict.fromkeys((f"{path}.loss.{one}" for one in counts), 0)
        if (
            "writes-payments.txt" not in {one["file"] for one in self.evidence("writes-listed")}
            or not self.witness
        ):
            return found
        kept = set(self.lists["writes-payments.txt"].split())
        lost_at = max(when(one["at"]) for one in self.evidence("fault"))
        written = [line for line in self.witness if line["record"] == "probe" and "reference" in line]
        sent = {line["reference"]: "in_doubt" for line in self.witness if line["record"] == "sending"}
        fates = sent | {line["reference"]: line["write"] for line in written}
        ended = {seq: end for seq, _, end, _ in self.probes()["payments/pay"]}
        at = {line["reference"]: ended[line["seq"]] for line in written}
        good = [ref for ref, fate in fates.items() if fate == "acknowledged"]
        missing = sorted((at[ref], ref) for ref in good if ref not in kept)
        found[f"{path}.loss.acknowledged"] = len(good)
        for name, fate, there in (
            ("refused_absent", "refused", False),
            ("in_doubt_present", "in_doubt", True),
            ("in_doubt_absent", "in_doubt", False),
        ):
            found[f"{path}.loss.{name}"] = sum(
                one == fate and (ref in kept) == there for ref, one in fates.items()
            )
        oldest = max(0.0, (lost_at - missing[0][0]).total_seconds()) if missing else 0.0
        found[f"{path}.loss.rpa_s"] = oldest
        if missing:
            found[f"{path}.loss.oldest_missing_at"] = missing[0][0]
        files = {one["file"] for one in self.evidence("command-output") if one["exit_code"] == 0}
        if "writes-payments-lost-primary.txt" in files:
            on_disk = set(self.lists["writes-payments-lost-primary.txt"].split())
            found[f"{path}.found_on_lost_primary"] = len(on_disk & {ref for _, ref in missing})
        return found
