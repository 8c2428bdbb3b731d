"""A host's settings, applied at once by a module of ours, proved by a login, and taken back.

Invariant: what may lock people out is confirmed only over a login that was made after it, with sudo. Whatever
else happens, the host takes it back by itself; from its marker everybody who comes later reads which it was.
"""

import time
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from automation.adapters.ansible.markers import Marker, ask, prove_sudo
from automation.adapters.ansible.playbooks import Log, Module, play
from automation.model.actions import EnforceSettings, RunPlaybook, UndoSettings
from automation.model.baseline_evidence import SettingSeen, SettingsEnforced, SettingsUndone, Switch
from automation.model.errors import AdapterError, OutcomeUnknown
from automation.model.host_settings import CHANGES
from automation.model.records import Context, Outcome, Progress

PLAYBOOK = "playbooks/baseline.yml"
MODULE = "host_settings"
# Beyond the switch's own time: what a host needs to boot and to put everything back.
GRACE_S = 45.0
LEAST_FOR_CHANGES_S = 30.0
_PAUSES_S = (0.3, 0.5, 1.0, 2.0)
_MOST_TOLD = 5


# --- enforcing ------------------------------------------------------------------------------------


def enforce_settings(action: EnforceSettings, ctx: Context) -> Outcome:
    """Apply settings; what may lock people out stays only if a fresh login with sudo confirms it.

    Called again after a controller died it waits until the host has taken its change back, and says so.

    Raises:
        AdapterError: refused, or failed and taken back; the message says which, `evidence` too.
        OutcomeUnknown: the host did not answer in the switch's time and some more.
    """
    _refuse(action, ctx)
    host = action.host
    before = ask(ctx.remote(host), host, ctx.run_id, "state")
    if before.state == "undone":
        raise AdapterError(f"change {ctx.run_id} of {host} was undone by somebody; nothing was changed")
    if before.state == "armed":
        before = _settled(action, ctx, "the one who made it is gone")
        if not before.is_final:
            raise _not_kept(action, ctx, before)
    if before.is_final:
        return _enforced(action, ctx, before)
    if before.failed:  # what is half back would be taken for what was there before
        raise _not_kept(action, ctx, before)
    playbook = RunPlaybook(playbook=PLAYBOOK, limit=host)
    log = play(playbook, ctx, ctx.timeout_s - _after_s(action), _module(action, ctx))
    try:
        log.outcome()
    except (AdapterError, OutcomeUnknown) as exc:
        return _after_failure(action, ctx, exc)
    return _after_change(action, ctx, log)


def verify_enforce_settings(action: EnforceSettings, ctx: Context) -> Progress:
    """Read on the host what became of the change."""
    try:
        with ctx.fresh(action.host) as remote:
            marker = ask(remote, action.host, ctx.run_id, "state")
    except AdapterError as exc:
        return Progress(state="unknown", why=str(exc))
    if marker.is_final:
        return Progress(state="done", outcome=_enforced(action, ctx, marker))
    if marker.state == "armed":
        how = f"; {_how_well(marker)}" if marker.failed else ""
        return Progress(
            state="in_progress", why=f"nobody confirmed it; {action.host} takes it back by itself{how}"
        )
    if marker.state == "undone":
        return Progress(state="unknown", why=f"change {ctx.run_id} was made and undone since")
    begun = (
        "it was begun and goes on from there" if marker.state == "none" else "the host knows no such change"
    )
    return Progress(state="not_done", why=marker.why or begun)


def _refuse(action: EnforceSettings, ctx: Context) -> None:
    """Stop before anything happens.

    Raises:
        AdapterError: a setting needs a switch, or must not be made by a program, or there is no time.
    """
    for one in action.settings:
        name = f"{one.control} on {action.host}"
        if one.risk in ("R3", "R4"):
            raise AdapterError(f"{name} is of {one.risk}, which no program changes; nothing was changed")
        if one.risk == "R2" and not action.switch_s:
            raise AdapterError(f"{name} may lock people out and has no switch; nothing was changed")
    if ctx.timeout_s < _after_s(action) + LEAST_FOR_CHANGES_S:
        raise AdapterError(
            f"{action.host}: a step of {ctx.timeout_s:g} s leaves no time for "
            f"a switch of {action.switch_s:g} s; nothing was changed"
        )


def _after_s(action: EnforceSettings) -> float:
    """Give the time that is kept back for what follows the playbook."""
    return action.switch_s + GRACE_S if action.switch_s else 0.0


def _module(action: EnforceSettings, ctx: Context) -> Module:
    settings: list[JsonValue] = [one.model_dump(mode="json", exclude={"shown"}) for one in action.settings]
    return Module(
        MODULE,
        {
            "settings": settings,
            "change": ctx.run_id,
            "switch_s": action.switch_s,
            "login": _login(action.host, ctx),
        },
    )


def _login(host: str, ctx: Context) -> dict[str, JsonValue]:
    """Say as whom and from where the host sees us, which Match rules of sshd go by."""
    done = ctx.remote(host).run(["sh", "-c", "echo $SSH_CONNECTION"])
    address = (done.stdout.split() or [""])[0]
    if not address:
        raise AdapterError(f"{host} does not say from where we log in; nothing was changed")
    return {"user": ctx.environment.automation_user, "address": address}


def _after_change(action: EnforceSettings, ctx: Context, log: Log) -> Outcome:
    told = log.results.get(action.host)
    if told is None:
        raise OutcomeUnknown(f"{PLAYBOOK} on {action.host} ended without a word of what it changed")
    seen = _seen(told)
    if not told.get("armed"):
        return _outcome(action, ctx, seen, "none", changed=bool(told.get("changed")))
    ctx.say(f"{action.host}: changed; it takes that back in {action.switch_s:g} s unless a login succeeds")
    marker = _settled(action, ctx, "", confirm=True)  # at once: the module saw that sshd read its files again
    if marker.is_final:
        return _outcome(action, ctx, seen, "confirmed", changed=True)
    raise _not_kept(action, ctx, marker, seen)


def _after_failure(action: EnforceSettings, ctx: Context, failure: Exception) -> Outcome:
    """Find out what the host made of a change whose playbook failed, and say so."""
    first, *more = str(failure).splitlines()  # the first one sums up what Ansible counted, which is not so
    marker = _settled(action, ctx, " ".join(" ".join(more or [first]).split()))
    if marker.is_final:  # only its answer was lost on the way
        return _enforced(action, ctx, marker)
    if marker.state == "absent":
        raise failure
    if marker.state == "none":
        env, change = ctx.environment.name, ctx.run_id
        raise OutcomeUnknown(
            f"change {change} of {action.host} was begun and nobody saw it end: {failure}",
            hint=f"./inv run.resume --env {env} --run {change} goes on where nothing was changed yet; "
            f"./inv baseline.undo --env {env} --change {change} takes it back",
        ) from failure
    raise _not_kept(action, ctx, marker) from failure


def _settled(action: EnforceSettings, ctx: Context, why: str, *, confirm: bool = False) -> Marker:
    """Give what became of a change: fresh logins, until one finds that it is not armed any more.

    `confirm`: the first one that may use sudo confirms it. The marker's reason is the first that was met. It
    is armed still where the host could not put all of it back in that time, and goes on trying.

    Raises:
        OutcomeUnknown: none could, in the time in which the host takes everything back.
    """
    deadline = time.monotonic() + action.switch_s + GRACE_S
    tried = 0
    marker: Marker | None = None
    while True:
        try:
            with ctx.fresh(action.host) as remote:
                prove_sudo(remote, action.host)
                marker = ask(remote, action.host, ctx.run_id, "confirm" if confirm else "state")
            if marker.state != "armed":
                return marker.because(why)
        except AdapterError as exc:
            marker = None
            if not why:
                awaited = "take its change back" if action.switch_s else "answer"
                ctx.say(f"{action.host}: {exc}; waiting for it to {awaited}")
            why = why or str(exc).removesuffix("; nothing changed")
        if time.monotonic() > deadline:
            if marker and marker.failed:
                return marker.because(why)
            raise _unsettled(action, ctx, why, answers=marker is not None)
        time.sleep(_PAUSES_S[min(tried, len(_PAUSES_S) - 1)])
        tried += 1


def _unsettled(action: EnforceSettings, ctx: Context, why: str, *, answers: bool) -> OutcomeUnknown:
    """Say what is not known of a host, and what a person does at its console."""
    host, change = action.host, ctx.run_id
    if answers:
        words, do = f"answers, and has not taken change {change} back in its time", "revert"
    elif action.switch_s:
        words, do = f"cannot be asked, and should have taken change {change} back", "revert"
    else:
        words, do = f"cannot be asked how far change {change} came, and takes nothing back by itself", "undo"
    return OutcomeUnknown(
        f"{host} {words}{f': {why}' if why else ''}",
        hint=f"at its console: python3 -I {CHANGES}/{change}/revert.py {do}",
    )


def _not_kept(
    action: EnforceSettings, ctx: Context, marker: Marker, seen: tuple[SettingSeen, ...] = ()
) -> AdapterError:
    evidence = SettingsEnforced(
        host=action.host,
        change=ctx.run_id,
        settings=seen or marker.settings,
        switch="reverted",
        why=marker.why,
        failed=marker.failed,
    )
    env, change = ctx.environment.name, ctx.run_id
    look = f"./inv run.show --env {env} --run {change}"
    undo = f"see what stands in its way, then ./inv baseline.undo --env {env} --change {change}"
    how = "could not take all of change" if marker.failed else "took change"
    return AdapterError(
        f"{action.host} {how} {ctx.run_id} back by itself: {marker.why}; {_how_well(marker)}",
        evidence=evidence,
        hint=undo if marker.failed else look,
    )


def _how_well(marker: Marker) -> str:
    if not marker.failed:
        return "it is as it was before"
    told = [f"{what}: {why}" for what, why in marker.failed.items()]
    more = [f"and {len(told) - _MOST_TOLD} more"] if len(told) > _MOST_TOLD else []
    return "not put back: " + "; ".join([*told[:_MOST_TOLD], *more])


def _enforced(action: EnforceSettings, ctx: Context, marker: Marker) -> Outcome:
    """Give the outcome of a change whose own answer nobody has any more."""
    switch: Switch = "confirmed" if marker.state == "confirmed" else "none"
    return _outcome(action, ctx, marker.settings, switch, changed=True)


def _outcome(
    action: EnforceSettings, ctx: Context, seen: tuple[SettingSeen, ...], switch: Switch, *, changed: bool
) -> Outcome:
    number, left = sum(one.changed for one in seen), sum(bool(one.problem) for one in seen)
    how = ", confirmed by a fresh login with sudo" if switch == "confirmed" else ""
    how += f"; {left} left out" if left else ""
    evidence = SettingsEnforced(host=action.host, change=ctx.run_id, settings=seen, switch=switch)
    summary = f"{action.host}: {number} of {len(action.settings)} settings changed{how}"
    return Outcome(changed=changed, summary=summary, evidence=evidence)


def _seen(told: Mapping[str, Any]) -> tuple[SettingSeen, ...]:
    return tuple(SettingSeen.model_validate(one) for one in told.get("settings", ()))


# --- undoing --------------------------------------------------------------------------------------


def undo_settings(action: UndoSettings, ctx: Context) -> Outcome:
    """Put back what a change found, in a unit of the host; a fresh login with sudo proves the way in.

    Raises:
        AdapterError: the host knows no such change, it is not settled yet, something could not be put back,
            or nobody can log in afterwards.
        OutcomeUnknown: as `run_unit` says.
    """
    host, change = action.host, action.change
    before = done = ask(ctx.remote(host), host, change, "state")
    if before.state == "absent" or (before.state == "armed" and not before.failed):
        what = "is not confirmed yet" if before.state == "armed" else "is not known"
        raise AdapterError(f"change {change} of {host} {what}; nothing was changed")
    if not _is_back(before, action):
        edited = [word for path in action.edited for word in ("--edited", path)]
        said = ctx.run_unit(host, ["python3", "-I", f"{CHANGES}/{change}/revert.py", "undo", *edited])
        done = Marker.of(said, host, change)
    undone = _undone(action, done, changed=done is not before and bool(done.restored))
    if done.failed:
        raise AdapterError(f"change {change} of {host}: {_how_well(done)}", evidence=undone.evidence)
    try:
        with ctx.fresh(host) as remote:
            prove_sudo(remote, host)
    except AdapterError as exc:
        why = str(exc).removesuffix("; nothing changed")
        raise AdapterError(
            f"change {change} of {host} is undone, and now {why}", evidence=undone.evidence
        ) from exc
    return undone


def verify_undo_settings(action: UndoSettings, ctx: Context) -> Progress:
    """Read on the host whether the change is undone."""
    try:
        with ctx.fresh(action.host) as remote:
            marker = ask(remote, action.host, action.change, "state")
        unit = ctx.unit_state(action.host)
    except AdapterError as exc:
        return Progress(state="unknown", why=str(exc))
    if unit in ("running", "ended"):
        return Progress(state="in_progress", why="its unit runs or ran; joining it reads its answer")
    if _is_back(marker, action):
        return Progress(state="done", outcome=_undone(action, marker, changed=True))
    if unit == "lost":
        return Progress(state="unknown", why="its unit began and left no result")
    return Progress(state="not_done", why=f"change {action.change} is {marker.state}")


def _is_back(marker: Marker, action: UndoSettings) -> bool:
    """Whether nothing is left to do: an undo may be asked for once more, for files that were left."""
    back = marker.state == "reverted" or (marker.state == "undone" and not action.edited)
    return back and not marker.failed


def _undone(action: UndoSettings, marker: Marker, *, changed: bool) -> Outcome:
    evidence = SettingsUndone(
        host=action.host, change=action.change, restored=marker.restored, left=marker.left
    )
    left = f", {len(marker.left)} left alone" if marker.left else ""
    summary = f"{action.host}: {len(marker.restored)} put back{left}"
    return Outcome(changed=changed, summary=summary, evidence=evidence)
