"""What past runs left at providers, from their journals: servers that are fenced, or being retired."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from automation.engine.journal import read_journal
from automation.model.errors import AutomationError
from automation.model.machine_evidence import ProviderChange
from automation.model.plan import Plan, Step
from automation.model.records import Outcome, StepEnded
from automation.model.servers import KeptDisk
from automation.provisioning.retiring import STOPPED, Leave

# Of a lab's own hosts only what makes one, or takes it out of service.
_MARKS = (b'"aws.', b'"vsphere.', b'"nspawn.create_server"', b'"retire-')
# What a server is after it, by the last part of an action's address.
_HELD = ("fence_instance", "fence_vm")
_FREED = (
    *("create_instance", "start_instance", "release_instance", "adopt_instance", "terminate_instance"),
    *("create_vm", "power_on_vm", "release_vm", "adopt_vm", "destroy_vm", "unregister_vm"),
    *("create_server", "release_server", "destroy_server"),
)
_STOPS = ("stop_instance", "shut_down_vm")
_LAB_STOPS = ("power_off_server",)
_KEPT = "snapshot:"  # what an outcome calls what is kept of a disk

Place = tuple[str, str]


class Past(NamedTuple):
    """What is still so: servers that a recovery holds off, by name and site, with its run; those on leave.

    And the disks of VMs that were moved aside.
    """

    fenced: Mapping[Place, str]
    leaves: Mapping[str, Leave]
    kept: tuple[KeptDisk, ...] = ()  # where they lay then; a person may have removed them


class _Done(NamedTuple):
    at: datetime
    run_id: str
    plan: Plan
    step: Step
    outcome: Outcome | None = None


def read_past(state: Path) -> Past:
    """Fold every run that did something at a provider, oldest first."""
    fenced, leaves, kept = dict[Place, str](), dict[str, Leave](), list[KeptDisk]()
    for done in sorted(_list_done(state / "runs"), key=lambda one: one.at):
        run = done.step.run
        host, site = getattr(run, "host", ""), getattr(run, "site", "")
        verb = run.do.partition(".")[2]
        if verb in _HELD or (verb in _STOPS and done.plan.mode != "apply"):
            fenced[host, site] = done.run_id
        elif verb in _FREED:
            fenced.pop((host, site), None)
            leaves.pop(host, None)
            kept += _kept_by(done)
        elif verb in (*_STOPS, *_LAB_STOPS) and done.plan.name == STOPPED:
            leaves[host] = Leave(name=host, site=site, since=done.at, run_id=done.run_id)
    return Past(fenced, leaves, tuple(kept))


def _kept_by(done: _Done) -> Iterator[KeptDisk]:
    """Give the disks that a step moved aside before it destroyed their VM."""
    told = done.outcome.evidence if done.outcome else None
    if isinstance(told, ProviderChange) and told.provider == "vsphere" and told.verb == "deleted":
        for part, file in told.ids.items():
            if part.startswith(_KEPT):
                disk = part.removeprefix(_KEPT)
                yield KeptDisk(
                    file=file, site=told.site, server=told.name, disk=disk, at=done.at, run_id=done.run_id
                )


def _list_done(runs: Path) -> Iterator[_Done]:
    """Give every step that succeeded in a run at a provider."""
    for folder in (path.parent for path in runs.glob("*/plan.json")):
        text = (folder / "plan.json").read_bytes()
        if any(mark in text for mark in _MARKS):
            try:
                plan = Plan.model_validate(json.loads(text))
            except ValueError:
                continue  # of another version's format
            yield from _done_in(folder, plan)


def _done_in(folder: Path, plan: Plan) -> Iterator[_Done]:
    """Give what one run did; of one whose journal cannot be believed, its fences count as done."""
    try:
        events = list(read_journal(folder / "journal.jsonl"))
    except FileNotFoundError:
        return  # never opened
    except (OSError, AutomationError):
        began = datetime.fromtimestamp((folder / "plan.json").stat().st_mtime, UTC)
        for step in plan.steps:
            if step.run.do.partition(".")[2] in _HELD:
                yield _Done(began, folder.name, plan, step)
        return
    for event in events:
        body = event.body
        if isinstance(body, StepEnded) and body.status == "succeeded" and body.step in plan.by_id:
            yield _Done(event.at, folder.name, plan, plan.step(body.step), body.outcome)
