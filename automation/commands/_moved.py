"""How a planned move ended: what serves now, what clients saw, and what was taken back."""

from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple, TypeVar

from automation.commands._command import print_json, progress
from automation.commands._kept import list_kept
from automation.commands._observations import keep_position
from automation.commands._report import make_report, write_report
from automation.commands._session import Session
from automation.engine.finished import Finished
from automation.engine.fold import Folded, fold
from automation.engine.journal import read_journal
from automation.engine.run import read_plan
from automation.model.actions import (
    Demote,
    PowerOnVm,
    Promote,
    PromoteReplica,
    ShutDownVm,
    StopInstance,
    StopUnit,
)
from automation.model.base import Model, format_duration
from automation.model.errors import AdapterError, NotMet, OutcomeUnknown, StepFailed
from automation.model.evidence import Synchrony, WitnessRecord, WritesExported
from automation.model.plan import Plan
from automation.model.records import Event, StepEnded, StepStarted
from automation.recovery.history import read_history
from automation.recovery.pauses import Pause, measure_pause
from automation.recovery.pilot_resting import SERVED
from automation.recovery.report import Report

_E = TypeVar("_E", bound=Model)


STOPS = StopUnit | Demote | ShutDownVm | StopInstance  # what clients are without a service from


class Ending(NamedTuple):
    """A planned move as its journal tells it."""

    session: Session
    finished: Finished
    plan: Plan
    events: tuple[Event, ...]
    folded: Folded

    @property
    def word(self) -> str:
        return f"{'failback' if self.plan.mode == 'failback' else 'migration'} {self.plan.name}"

    @property
    def promoted(self) -> tuple[Promote, ...]:
        """Promotions that are done."""
        runs = [step.run for step in self.plan.steps if step.id in self.folded.succeeded]
        return tuple(run for run in runs if isinstance(run, Promote))

    @property
    def perhaps_promoted(self) -> tuple[str, ...]:
        """Hosts and managed databases whose promotion began and whose end nobody knows."""
        unsure = {name for name, one in self.folded.failed.items() if one.transient or not one.known}
        doubtful = unsure | set(self.folded.started)
        runs = tuple(step.run for step in self.plan.steps if step.id in doubtful)
        hosts = tuple(run.host for run in runs if isinstance(run, Promote))
        return (*hosts, *(run.database for run in runs if isinstance(run, PromoteReplica)))

    @property
    def powered_on(self) -> tuple[str, ...]:
        """VMs that were powered on at the other site, or seen to be on: clients may have written there."""
        return self._powered({*self.folded.succeeded, *self.folded.ran})

    @property
    def perhaps_powered_on(self) -> tuple[str, ...]:
        """VMs whose power-on began and did not come to its end: it fails also where the VM runs."""
        return self._powered({*self.folded.failed, *self.folded.started})

    def _powered(self, among: Container[str]) -> tuple[str, ...]:
        runs = (step.run for step in self.plan.steps if step.id in among)
        return tuple(run.host for run in runs if isinstance(run, PowerOnVm))

    @property
    def replicas(self) -> tuple[str, ...]:
        """Managed databases that were promoted."""
        runs = (step.run for step in self.plan.steps if step.id in self.folded.succeeded)
        return tuple(run.database for run in runs if isinstance(run, PromoteReplica))

    @property
    def serving(self) -> str:
        """Say what serves now: the databases that were promoted; without any, the services that moved."""
        databases = (*(run.host for run in self.promoted), *self.replicas)
        names = databases or tuple(dict.fromkeys(step.service for step in self.plan.steps if step.service))
        return f"{', '.join(names)} {'serve' if len(names) > 1 else 'serves'}"

    @property
    def cleaning_up(self) -> bool:
        """Whether clients are served at the other site, and what has served begins to be made a pilot light.

        It is done then: to take it back would lead clients to what is stopped, or is there no more.
        """
        known = {*self.folded.succeeded, *self.folded.failed, *self.folded.started}
        steps = (step for step in self.plan.steps if step.service and step.id in known)
        return any(SERVED in self.plan.stands_on(step.id) for step in steps)

    @property
    def lasts(self) -> bool:
        """Whether it goes on, and is not taken back."""
        promoted = self.promoted or self.replicas or self.perhaps_promoted
        return bool(promoted or self.powered_on or self.perhaps_powered_on or self.cleaning_up)

    @property
    def paused_at(self) -> datetime | None:
        """When the first service was stopped, or a database."""
        stops = {step.id for step in self.plan.steps if isinstance(step.run, STOPS)}
        began = (e.at for e in self.events if isinstance(e.body, StepStarted) and e.body.step in stops)
        return next(began, None)

    def evidence(self, kind: type[_E]) -> Iterable[_E]:
        """Give the evidence of one kind, in the order of its steps' ends."""
        for event in self.events:
            outcome = event.body.outcome if isinstance(event.body, StepEnded) else None
            if outcome is not None and isinstance(outcome.evidence, kind):
                yield outcome.evidence


def conclude_move(session: Session, finished: Finished, *, json: bool = False) -> int:
    """Say how a planned move ended; one that failed before its promotion is taken back first.

    Raises:
        StepFailed: it stopped; what was taken back, or how it goes on, is said.
        OutcomeUnknown: a promotion may or may not have happened.
        NotMet: it is done, and checks, losses or the pause were not as announced.
        KeyboardInterrupt: a person stopped it.
    """
    events = tuple(read_journal(finished.folder / "journal.jsonl"))
    ending = Ending(session, finished, read_plan(finished.folder), events, fold(events))
    if finished.closed.status == "succeeded":
        return _moved(ending, json=json)
    if finished.closed.status == "interrupted" or ending.lasts:
        _raise_stopped(ending)
    if ending.folded.failed and (ending.paused_at is not None or ending.plan.mode == "planned-migration"):
        _take_back(ending)
    finished.raise_for_status()
    return 0


# --- it stopped ------------------------------------------------------------------------------------


def _take_back(ending: Ending) -> None:
    """Undo all of it, because clients wait and nothing was promoted.

    Raises:
        StepFailed: it was taken back, or could not be in part.
    """
    failed = dict(ending.folded.failed)
    told = " | ".join(f"{step}: {failure.message}" for step, failure in failed.items())
    progress(f"{ending.word} failed before anything was promoted: taking it back")
    run_id = ending.finished.folder.name
    reason = "failed before the promotion; taken back by itself"
    back = ending.session.abort(run_id, reason=reason, undo=True)
    _refuse_done(ending, back, told)
    again = f"./inv run.abort --env {ending.plan.environment} --run {run_id} --undo --reason '...'"
    left = {step: failure for step, failure in back.failures.items() if step not in failed}
    if back.closed.status != "aborted" or left:
        stuck = (
            " | ".join(f"{step}: {failure.message}" for step, failure in left.items()) or back.closed.status
        )
        raise StepFailed(
            f"{ending.word} failed before the promotion and could not be taken back in part (run {run_id}): "
            f"{told}; left: {stuck}",
            hint=f"mend it, then {again}",
        )
    undone = fold(read_journal(back.folder / "journal.jsonl")).undone
    how = "was taken back" if undone else "had nothing to be taken back"
    raise StepFailed(
        f"{ending.word} failed before the promotion and {how} (run {run_id}): {told}; "
        "every service runs where it ran, nothing was lost",
        hint=next((failure.hint for failure in failed.values() if failure.hint), None)
        or "mend it, then ask for it again",
    )


def _refuse_done(ending: Ending, back: Finished, told: str) -> None:
    """Call nothing taken back where the look before it found a promotion done that was told as failed."""
    after = fold(read_journal(back.folder / "journal.jsonl"))
    lasting = {step.id for step in ending.plan.steps if step.run.irreversible}
    done = [name for name in ending.folded.failed if name in lasting & after.succeeded.keys()]
    if done:
        env, run_id = ending.plan.environment, back.folder.name
        raise StepFailed(
            f"{ending.word} failed (run {run_id}): {told}; but {', '.join(done)} is done: what it stands on "
            "was not taken back, and what stands on it was not started",
            hint=f"./inv run.show --env {env} --run {run_id}: it is promoted, and nobody is led to it",
        )


def _raise_stopped(ending: Ending) -> None:
    """Say on which side of the point of no return it stopped."""
    side = _side(ending)
    try:
        ending.finished.raise_for_status()
    except KeyboardInterrupt as exc:
        env, run_id = ending.plan.environment, ending.finished.folder.name
        back = f"; ./inv run.abort --env {env} --run {run_id} --undo --reason '...' takes it back"
        exc.add_note(f"({side}{'' if ending.lasts else back})")
        raise
    except OutcomeUnknown as exc:
        raise OutcomeUnknown(f"{ending.word}: {side}: {exc}", hint=exc.hint) from exc
    except NotMet as exc:
        raise NotMet(f"{ending.word}: {side}: {exc}", hint=exc.hint) from exc
    except StepFailed as exc:
        raise StepFailed(f"{ending.word} stopped: {side}: {exc}", hint=exc.hint) from exc


def _side(ending: Ending) -> str:
    if ending.perhaps_promoted:
        return f"whether {', '.join(ending.perhaps_promoted)} was promoted is not known"
    if ending.promoted or ending.replicas:
        names = ", ".join((*(run.host for run in ending.promoted), *ending.replicas))
        return f"{names} is promoted: it goes on, it is not taken back"
    if ending.cleaning_up:
        return "clients are served where it moved to: it goes on, it is not taken back"
    if ending.powered_on:
        names = ", ".join(ending.powered_on)
        return f"{names} runs where it moved to and clients may have written there: it is not taken back"
    if ending.perhaps_powered_on:
        names, env = ", ".join(ending.perhaps_powered_on), ending.plan.environment
        again = f"./inv run.abort --env {env} --run {ending.finished.folder.name} --undo --reason '...'"
        return f"whether {names} runs where it moved to is not known; {again} takes it back only if it is off"
    return "nothing was promoted"


# --- it is done ------------------------------------------------------------------------------------


def _moved(ending: Ending, *, json: bool) -> int:
    """Print what serves and what clients saw.

    Raises:
        NotMet: an acknowledged write is missing, a write failed beyond the pause, it took too long.
    """
    from automation.commands._render import print_result

    report = make_report(ending.session, ending.finished.folder)
    page = write_report(report, ending.finished.folder)
    _keep_positions(ending)
    pause = _pause(ending)
    said = (*_say_pause(pause, report), *_say_kept(ending), *_say_synchrony(ending))
    if json:
        print_json(report)
    else:
        print_result(report)
    say = progress if json else print
    for line in (f"{ending.word}: {ending.serving}; run {report.run_id}", *said):
        say(line)
    progress(f"report: {page}")
    beyond = pause.failed_beyond if pause else 0
    if report.verdict != "met" or beyond:
        more = f"; {beyond} writes failed beyond the announced pause" if beyond else ""
        raise NotMet(f"{ending.word}: {report.headline}{more}", hint=f"the report is {page}")
    return 0


def _pause(ending: Ending) -> Pause | None:
    """Measure what writers saw of the pause, from the witness's own record."""
    record = next(iter(ending.evidence(WitnessRecord)), None)
    if record is None or ending.paused_at is None:
        return None
    text = (ending.finished.folder / "artifacts" / record.file).read_text()
    history = read_history(
        text.splitlines(), offset_s=record.clock_offset_s, uncertainty_s=record.clock_uncertainty_s
    )
    return measure_pause(history, set(history.writes), ending.paused_at, _announced_s(ending))


def _announced_s(ending: Ending) -> float:
    """The longest pause that was announced, as the run's own subject keeps it."""
    from automation.commands._subject import read_subject

    subject = read_subject(ending.finished.folder)
    targets: Mapping[str, object] = subject.targets if subject else {}
    return max((getattr(target, "rto_s", 0.0) for target in targets.values()), default=0.0)


def _say_pause(pause: Pause | None, report: Report) -> Iterable[str]:
    for row in report.services:
        if row.outage.rta_s is not None:
            yield f"{row.service}: clients were without it for {format_duration(row.outage.rta_s)}"
    if pause is None:
        yield "writes: not measured, nobody wrote meanwhile"
        return
    yield (
        f"writes: {pause.failed} of {pause.tried} failed, in {format_duration(pause.lasted_s)}; "
        f"{pause.failed_beyond} of them beyond the announced {format_duration(pause.announced_s)}"
    )
    losses = {row.loss for row in report.services if row.loss.acknowledged}
    missing = sum(len(loss.missing) for loss in losses)
    acknowledged = sum(loss.acknowledged for loss in losses)
    if losses:
        yield f"acknowledged writes: {missing} of {acknowledged} are missing"


def _say_kept(ending: Ending) -> Iterable[str]:
    artifacts = ending.finished.folder / "artifacts"
    for one in ending.evidence(WritesExported):
        where = artifacts / (one.export or one.references)
        yield f"{one.service}: {one.count} writes that only {one.server} held: {where}"
    for kept in list_kept(ending.session):
        if kept.run_id == ending.finished.folder.name:
            yield kept.words


def _say_synchrony(ending: Ending) -> Iterable[str]:
    for one in ending.evidence(Synchrony):
        how = f"wait for {one.standby}" if one.synchronous else "do not wait for a standby"
        yield f"{one.server}: commits {how}"


def _keep_positions(ending: Ending) -> None:
    """Note how far each new primary has written: a failover of its site would stand on it."""
    from automation.adapters import postgresql

    for run in ending.promoted:
        with suppress(AdapterError):
            remote = ending.session.remote(run.host)
            keep_position(ending.session.state, postgresql.observe_primary(run.host, run.cluster, remote))
