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
from automation.backups.spec import Backups
from automation.backups.stores import PgbackrestStore
from automation.backups.verifying import Duty, Wanted, history_of, list_duties
from automation.commands._authorisations import ALL, JobFlags, look_again, unattended
from automation.commands._backups import Area, choose, find_places, ledger_of, load_area, look
from automation.commands._clouds import simulated_stores
from automation.commands._hosts_seen import free_bytes, moments_of
from automation.commands._session import Session
from automation.commands._unfinished import settle_unfinished
from automation.engine.finished import Finished
from automation.engine.journal import read_journal
from automation.model.errors import EXIT_PARTIAL, AdapterError, ConfigError, NotMet, StepFailed
from automation.model.recovery_points import Level

COMMAND = "backup.verify"
_NAMED = 3
_SAID = 200  # characters of each; the journal and the table have all of it


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
    if flags.due and not _is_anything_due(session, flags):
        return Proved(run="", seed=0, rows=())
    area = look(session, [flags.resource] if flags.resource else ())
    wanted = _wanted(flags, area.backups)
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
    events = read_journal(finished.folder / "journal.jsonl")
    rows = fold_results(proofs.units, proofs.left_out, events, simulated_stores(session, area.backups))
    proved = Proved(run=finished.folder.name, seed=seed, rows=rows)
    if finished.closed.status == "interrupted":
        finished.raise_for_status()
    return proved


def judge(session: Session, proved: Proved) -> int:
    """Tell what follows from a run of proofs; give the exit code. With nobody at the terminal, tell people.

    Raises:
        NotMet: something was found bad.
        StepFailed: a proof came to no verdict, or something restored could not be removed.
    """
    env = session.environment.name
    if not sys.stdin.isatty():
        _tell(session, proved)
    if failed := proved.of("failed"):
        raise _consequence(failed, env)
    if broken := [row for row in proved.rows if row.result == "broken off" or row.left_behind]:
        count = f"{len(broken)} of {len(proved.rows)}"
        raise StepFailed(
            f"{count} proofs came to no end (run {proved.run}): {_listed(broken)}",
            hint=f"look: ./inv run.show --env {env} --run {proved.run}\n"
            f"      and again: ./inv {COMMAND} --env {env} --due",
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


def _is_anything_due(session: Session, flags: VerifyFlags) -> bool:
    """Ask the ledger alone: a timer that comes every hour bothers no host for nothing."""
    backups, _ = load_area(session)
    choose(backups, [flags.resource])
    history = history_of(ledger_of(session, backups), backups)
    return bool(list_duties(backups, history, _wanted(flags, backups), datetime.now(UTC)))


def _wanted(flags: VerifyFlags, backups: Backups) -> Wanted:
    if flags.store and flags.store not in backups.stores:
        raise ConfigError(
            f"there is no store {flags.store}; nothing was touched",
            hint=f"--store {', '.join(backups.stores)}",
        )
    level = Level[flags.level] if flags.level else None
    wanted = Wanted(flags.resource, flags.store, level, due_only=flags.due)
    if not any(
        wanted.takes(name, store, rule)
        for name, resource in backups.resources.items()
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
    blind: dict[tuple[str, str], str] = {}
    for duty in duties:
        if any(pick.moment == "random" for pick in duty.rule.pick) and not silent[duty.store]:
            known = area.backups.stores[duty.store]
            assert isinstance(known, PgbackrestStore)
            try:
                found = moments_of(session, area.backups, duty.store, known.keeper.host)
                moments[duty.resource, duty.store] = found
            except AdapterError as exc:
                blind[duty.resource, duty.store] = str(exc)
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
        blind=blind,
        simulated=simulated_stores(session, area.backups),
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
    stores = list(dict.fromkeys(row.store for row in failed))
    return NotMet(
        f"a proof failed: {_listed(failed)}. Every proof of {', '.join(stores)} is suspended and nothing is "
        "deleted there, until all of it was read well again or a person clears it",
        hint="\n      ".join(_next_acts(failed, stores[0], env)),
    )


def _next_acts(failed: Sequence[ProofRow], store: str, env: str) -> tuple[str, ...]:
    named = next((row.resource for row in failed if row.resource), "")
    other = f"./inv {COMMAND} --env {env} --resource {named}" if named else f"./inv backup.status --env {env}"
    return (
        f"see if the other copies are good: {other}",
        f"read all of {store}: ./inv {COMMAND} --env {env} --store {store} --level L2",
        f"once a person has looked: ./inv backup.clear --env {env} --store {store} --reason '...'",
    )


def _listed(rows: Sequence[ProofRow]) -> str:
    told = "; ".join(
        f"{row.subject} in {row.store} ({row.level.name}): {_short(row)}" for row in rows[:_NAMED]
    )
    return f"{told}; and {len(rows) - _NAMED} more" if len(rows) > _NAMED else told


def _short(row: ProofRow) -> str:
    text = row.left_behind or ", ".join(row.said[:2])
    return text if len(text) <= _SAID else f"{text[: _SAID - 3]}..."


def _tell(session: Session, proved: Proved) -> None:
    """Tell people of each store what is wrong with its proofs, or that all is well again."""
    from automation.commands._notify import alarm, well

    environment, state = session.environment, session.state
    for store in dict.fromkeys(row.store for row in proved.rows):
        rows = [row for row in proved.rows if row.store == store]
        about = f"proofs in {store}"
        bad = [row for row in rows if row.result in ("failed", "broken off") or row.left_behind]
        failed = [row for row in bad if row.result == "failed"]
        if bad:
            what = "a proof failed" if failed else "a proof came to no end"
            acts = _next_acts(bad, store, environment.name)
            alarm(environment, state, about, what, said=(_listed(failed or bad),), next_acts=acts)
        elif all(row.result == "proven" for row in rows):
            well(environment, state, about, "all that was due there is proven")
