"""Proofs of backups: what is due is planned, carried out and told; what fails stops no other."""

import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from automation.backups.proof_results import ProofRow, Proved, fold_results
from automation.backups.proving import PLAN_NAME, Draw, Moments, Proofs, Seen, plan_proofs
from automation.backups.resources import DeviceConfig
from automation.backups.verifying import Duty, Wanted, history_of, list_duties
from automation.commands._authorisations import ALL, JobFlags, look_again, unattended
from automation.commands._backups import Area, find_places, look
from automation.commands._command import progress
from automation.commands._hosts_seen import free_bytes, moments_of
from automation.commands._session import Session
from automation.commands._unfinished import settle_unfinished
from automation.engine.finished import Finished
from automation.engine.journal import read_journal
from automation.model.errors import EXIT_PARTIAL, AdapterError, ConfigError, NotMet, StepFailed
from automation.model.recovery_points import Level

COMMAND = "backup.verify"
_NAMED = 3


class VerifyFlags(NamedTuple):
    """How proofs were asked for on the command line."""

    resource: str = ""
    store: str = ""
    level: str = ""
    due: bool = False
    point: str = ""
    seed: str = ""
    authorisation: str = ""


def verify(session: Session, flags: VerifyFlags) -> Proved:
    """Finish what was cut off, then prove what was asked for.

    Raises:
        ConfigError: the flags or files have faults.
        PreflightError: refused; nothing was changed.
        KeyboardInterrupt: a person stopped it.
    """
    _refuse_flags(flags)
    settle_unfinished(session, PLAN_NAME)
    area = look(session, [flags.resource] if flags.resource else ())
    wanted = _wanted(flags, area)
    seed = int(flags.seed) if flags.seed else secrets.randbelow(2**31)
    now = datetime.now(UTC)
    duties = list_duties(area.backups, history_of(area.ledger, area.backups), wanted, now)
    duties = _with_point(duties, flags, area)
    seen = _look_further(session, area, duties)
    draw = Draw(seed, now, _full_id(flags.point, area))
    proofs = plan_proofs(area.backups, duties, seen, draw, environment=session.environment.name)
    if not proofs.units:
        return Proved(run="", seed=seed, rows=fold_results((), proofs.left_out, ()))
    finished = _run(session, proofs, flags)
    rows = fold_results(proofs.units, proofs.left_out, read_journal(finished.folder / "journal.jsonl"))
    proved = Proved(run=finished.folder.name, seed=seed, rows=rows)
    if finished.closed.status == "interrupted":
        finished.raise_for_status()
    return proved


def judge(session: Session, proved: Proved) -> int:
    """Tell what follows from a run of proofs; give the exit code.

    Raises:
        NotMet: something was found bad.
        StepFailed: a proof came to no verdict, or something restored could not be removed.
    """
    env = session.environment.name
    if failed := proved.of("failed"):
        raise _alarmed(session, _consequence(failed, env))
    if broken := [row for row in proved.rows if row.result == "broken off" or row.left_behind]:
        said = "; ".join(
            f"{row.subject} in {row.store}: {row.left_behind or row.said[0]}" for row in broken[:_NAMED]
        )
        more = f"; and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
        raise _alarmed(
            session,
            StepFailed(
                f"{len(broken)} of {len(proved.rows)} proofs came to no end (run {proved.run}): {said}{more}",
                hint=f"./inv run.show --env {env} --run {proved.run}; ./inv {COMMAND} tries them again",
            ),
        )
    return EXIT_PARTIAL if proved.of("not tried") else 0


# --- what was asked for ----------------------------------------------------------------------------


def _refuse_flags(flags: VerifyFlags) -> None:
    if not (flags.due or flags.resource or flags.store or flags.level):
        raise ConfigError(
            "nothing says what to prove; nothing was touched",
            hint="--due for all that is due, or --resource, --store, --level for what you want proven now",
        )
    if flags.point and not flags.resource:
        raise ConfigError("--point needs --resource; nothing was touched")
    if flags.level and flags.level not in ("L1", "L2", "L3", "L4"):
        raise ConfigError(
            f"--level {flags.level} is none; nothing was touched", hint="--level L1, L2, L3 or L4"
        )
    if flags.seed and not flags.seed.isdecimal():
        raise ConfigError(f"--seed {flags.seed} is no number; nothing was touched")


def _wanted(flags: VerifyFlags, area: Area) -> Wanted:
    if flags.store and flags.store not in area.backups.stores:
        raise ConfigError(
            f"there is no store {flags.store}; nothing was touched",
            hint=f"--store {', '.join(area.backups.stores)}",
        )
    level = Level[flags.level] if flags.level else None
    wanted = Wanted(flags.resource, flags.store, level, due_only=flags.due)
    if not any(
        wanted.takes(name, store, rule)
        for name, resource in area.backups.resources.items()
        for store in resource.to
        for rule in resource.verify
    ):
        raise ConfigError(
            "no rule of backups.yml asks for such a proof; nothing was touched",
            hint="see `to` and `verify` of the resource",
        )
    return wanted


def _with_point(duties: Sequence[Duty], flags: VerifyFlags, area: Area) -> tuple[Duty, ...]:
    """Of a point that a person names, keep the highest proof, in the stores that have it."""
    if not flags.point:
        return tuple(duties)
    point = _full_id(flags.point, area)
    there = [
        duty
        for duty in duties
        if duty.resource and any(p.id == point for p in area.observed.points(duty.resource, duty.store) or ())
    ]
    best: dict[str, Duty] = {}
    for duty in there:
        before = best.get(duty.store)
        if before is None or (duty.level, duty.rule.sample in (None, "all")) > (
            before.level,
            before.rule.sample in (None, "all"),
        ):
            best[duty.store] = duty
    return tuple(best.values())


def _full_id(prefix: str, area: Area) -> str:
    """Give the whole id that a person began.

    Raises:
        ConfigError: none, or more than one, begins so.
    """
    if not prefix:
        return ""
    found = sorted({point.id for point in area.observed.find(prefix)})
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} points begin" if found else "no point begins"
    raise ConfigError(f"{what} with {prefix}; nothing was touched", hint="give more of its id")


# --- what must be seen before planning -------------------------------------------------------------


def _look_further(session: Session, area: Area, duties: Sequence[Duty]) -> Seen:
    """Look at devices, primaries, windows and the room on the scratch host, of what is to be proven."""
    named = tuple(dict.fromkeys(duty.resource for duty in duties if duty.resource))
    places = find_places(session, area, named)
    scratch = area.backups.scratch
    silent = {store: area.observed.problem(store) for store in area.backups.stores}
    moments: dict[tuple[str, str], tuple[Moments, ...]] = {}
    for duty in duties:
        if any(pick.moment == "random" for pick in duty.rule.pick) and not silent[duty.store]:
            try:
                keeper = area.backups.stores[duty.store].keeper.host
                found = moments_of(session, area.backups, duty.store, keeper)
                moments[duty.resource, duty.store] = found
            except AdapterError as exc:
                silent[duty.store] = str(exc)
    return Seen(
        points={(d.resource, d.store): area.observed.points(d.resource, d.store) or () for d in duties},
        moments=moments,
        devices={
            name: devices
            for name, devices in places.devices.items()
            if isinstance(area.backups.resources[name].source, DeviceConfig)
        },
        primaries=places.primaries,
        silent={store: why for store, why in silent.items() if why and why != "it was not looked at"},
        free_bytes=free_bytes(session, scratch, "/var/lib") if named and scratch else None,
    )


# --- the run ---------------------------------------------------------------------------------------


def _run(session: Session, proofs: Proofs, flags: VerifyFlags) -> Finished:
    restores = len({unit.steps[0] for unit in proofs.units if unit.resource})
    job = JobFlags(COMMAND, flags.authorisation, flags.resource or ALL)
    granted = unattended(session, proofs.plan, job, {"restores": float(restores)})
    look_ = partial(look_again, session, proofs.plan, granted)
    return session.run(proofs.plan, look=look_, granted=granted)


def _consequence(failed: Sequence[ProofRow], env: str) -> NotMet:
    """Say what was found bad, what that stops, and what a person does now."""
    told = "; ".join(
        f"{row.subject} in {row.store} ({row.level.name}): {', '.join(row.said[:2])}"
        for row in failed[:_NAMED]
    )
    more = f"; and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    stores = list(dict.fromkeys(row.store for row in failed))
    named = ", ".join(stores)
    first = stores[0]
    return NotMet(
        f"a proof failed: {told}{more}. Every proof of {named} is suspended and nothing is deleted there, "
        "until all of it was read well again or a person clears it",
        hint=f"what was saved may still be good in another store: ./inv {COMMAND} --env {env} "
        f"--resource {next((row.resource for row in failed if row.resource), 'NAME')}\n"
        f"      read all of it: ./inv {COMMAND} --env {env} --store {first} --level L2\n"
        f"      once a person has looked: ./inv backup.clear --env {env} --store {first} --reason '...'",
    )


def _alarmed(session: Session, error: NotMet | StepFailed) -> NotMet | StepFailed:
    """Tell people, where nobody sits at the terminal."""
    if not sys.stdin.isatty():
        from automation.commands._notify import alarm

        try:
            alarm(session.environment, session.state, "proofs of backups", str(error)[:500])
        except OSError as exc:
            progress(f"nobody could be told: {exc}")
    return error
