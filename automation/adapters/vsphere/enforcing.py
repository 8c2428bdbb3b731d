"""Making the calls that a vCenter's controls ask for, and taking them back: look, change, read back.

What was before stands on the disk before the first change, so that a run that was killed can be undone too.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from pydantic import JsonValue

from automation.adapters.vsphere.calls import reach_of, setting_of
from automation.adapters.vsphere.errors import FAULTS
from automation.adapters.vsphere.host_settings import Setting, State
from automation.adapters.vsphere.sessions import Vcenter, named
from automation.adapters.vsphere.settling import settle
from automation.model.actions import EnforceVcenter, UndoVcenter
from automation.model.baseline_evidence import CallsMade
from automation.model.errors import AdapterError
from automation.model.kept_calls import keep_calls, read_calls
from automation.model.provider_settings import SavedCall, WantedCall
from automation.model.records import Context, Outcome, Progress

_SETTLES_S = 60.0
_SHOWN_S, _PAUSE_S = 15.0, 0.2  # a vCenter shows what it told a host when the host has told it back
_BY_PEOPLE = ("R3", "R4")


class Wish(NamedTuple):
    """One call: what it sets, how that was before, and how it is to be."""

    control: str
    call: str
    on: str
    setting: Setting
    before: State
    wanted: State
    seen: State  # when it was looked at first

    @property
    def what(self) -> str:
        return f"{self.call} {self.on}"

    @property
    def so(self) -> bool:
        return self.seen == self.wanted

    def saved(self, after: State) -> SavedCall:
        return SavedCall(
            control=self.control, call=self.call, on=self.on, before=dict(self.before), after=dict(after)
        )


def enforce_calls(action: EnforceVcenter, ctx: Context) -> Outcome:
    """Set what controls ask for and is not so; the evidence holds what was before.

    Raises:
        AdapterError: one cannot be set, or must not be; the evidence says what was changed before it.
    """
    _refuse(action.calls)
    with named(ctx, action.vcenter, f"the baseline of {action.vcenter} could not be enforced") as vcenter:
        wishes = _wishes(vcenter, action.calls, read_calls(ctx.artifacts, ctx.step_id))
        if not all(wish.so for wish in wishes):
            keep_calls([wish.saved(wish.wanted) for wish in wishes], ctx.artifacts, ctx.step_id)
        done = _bring_all(vcenter, action.vcenter, wishes)
        evidence = _evidence(vcenter, action.vcenter, done)
        return Outcome(changed=bool(done), summary=_summary(evidence, "changed"), evidence=evidence)


def verify_enforce_calls(action: EnforceVcenter, ctx: Context) -> Progress:
    """See whether all is as it was to be; what was before is known from the disk."""
    found = read_calls(ctx.artifacts, ctx.step_id)
    if found is None:
        return Progress(state="not_done", why="nothing was begun")
    with named(ctx, action.vcenter, f"the baseline of {action.vcenter} could not be looked at") as vcenter:
        wishes = _wishes(vcenter, action.calls, found)
        if open_ := [wish.what for wish in wishes if not wish.so]:
            return Progress(state="not_done", why=f"not so: {', '.join(open_)}")
        done = [wish.saved(wish.wanted) for wish in wishes if wish.wanted != wish.before]
        evidence = _evidence(vcenter, action.vcenter, done)
        outcome = Outcome(changed=bool(done), summary=_summary(evidence, "changed"), evidence=evidence)
        return Progress(state="done", outcome=outcome)


def undo_calls(action: UndoVcenter, ctx: Context) -> Outcome:
    """Put back what an earlier run changed, the last first; what somebody changed since is left as it is.

    Raises:
        AdapterError: something cannot be put back; the evidence says what was before it.
    """
    with named(ctx, action.vcenter, f"the baseline of {action.vcenter} could not be undone") as vcenter:
        back, left = _sorted_out(vcenter, action.saved)
        done = _bring_all(vcenter, action.vcenter, back, left)
        evidence = _evidence(vcenter, action.vcenter, done, left)
        return Outcome(changed=vcenter.changed, summary=_summary(evidence, "put back"), evidence=evidence)


def verify_undo_calls(action: UndoVcenter, ctx: Context) -> Progress:
    """See whether nothing stands any more as the earlier run left it."""
    with named(ctx, action.vcenter, f"the baseline of {action.vcenter} could not be looked at") as vcenter:
        back, left = _sorted_out(vcenter, action.saved)
        if still := [wish.what for wish in back if not wish.so]:
            return Progress(state="not_done", why=f"not put back: {', '.join(still)}")
        done = [wish.saved(wish.wanted) for wish in back]
        evidence = _evidence(vcenter, action.vcenter, done, left)
        outcome = Outcome(changed=bool(done), summary=_summary(evidence, "put back"), evidence=evidence)
        return Progress(state="done", outcome=outcome)


# --- what is to be --------------------------------------------------------------------------------


def _refuse(calls: Sequence[WantedCall]) -> None:
    """Refuse what needs a window, and what cannot be taken back: both are people's."""
    for one in calls:
        if one.risk in _BY_PEOPLE:
            raise AdapterError(
                f"{one.call} {one.on} of {one.control} is of risk {one.risk}, which people do; nothing was "
                "changed"
            )


def _wishes(vcenter: Vcenter, calls: Sequence[WantedCall], known: Sequence[SavedCall] | None) -> list[Wish]:
    """Look at all before the first change: one that must not be made stops the others too."""
    reach = reach_of(vcenter)
    kept = {(one.control, one.call, one.on): one.before for one in known or ()}
    wishes = []
    for one in calls:
        setting = setting_of(reach, one.call, one.on)
        now = setting.read()
        before = _state(kept.get((one.control, one.call, one.on), dict(now)), one.call)
        wanted = setting.wanted(now, one.arguments)
        wishes.append(Wish(one.control, one.call, one.on, setting, before, wanted, now))
    return wishes


def _sorted_out(vcenter: Vcenter, saved: Sequence[SavedCall]) -> tuple[list[Wish], dict[str, str]]:
    """Part what is to be put back, or already is, from what somebody changed since."""
    reach, back, left = reach_of(vcenter), [], {}
    for one in reversed(saved):
        before, after = _state(one.before, one.call), _state(one.after, one.call)
        try:
            setting = setting_of(reach, one.call, one.on)
            now = setting.read()
        except AdapterError as exc:
            left[f"{one.call} {one.on}"] = str(exc)
            continue
        if now in (before, after):
            back.append(Wish(one.control, one.call, one.on, setting, after, before, now))
        else:
            left[f"{one.call} {one.on}"] = f"it is {now} and not {after}: changed since"
    return back, left


def _state(value: JsonValue, call: str) -> State:
    if not isinstance(value, dict):
        raise AdapterError(f"{call}: {value!r} is no state that it leaves; nothing was changed")
    return value


# --- bringing it about ----------------------------------------------------------------------------


def _bring_all(
    vcenter: Vcenter, name: str, wishes: Sequence[Wish], left: Mapping[str, str] | None = None
) -> list[SavedCall]:
    done: list[SavedCall] = []
    for wish in wishes:
        try:
            _bring(vcenter, wish)
        except (AdapterError, *FAULTS):
            vcenter.made(_evidence(vcenter, name, [*done, *_half_done(wish)], left))
            raise
        if wish.before != wish.wanted:
            done.append(wish.saved(wish.wanted))
            vcenter.made(_evidence(vcenter, name, done, left))
    return done


def _half_done(wish: Wish) -> list[SavedCall]:
    """Give what a call did that failed, as far as that can still be read."""
    with suppress(AdapterError, *FAULTS):
        now = wish.setting.read()
        return [wish.saved(now)] if now != wish.before else []
    return []


def _bring(vcenter: Vcenter, wish: Wish) -> None:
    """Change one setting until it is read as wanted; what is so already is not touched.

    Raises:
        AdapterError: somebody changed it since it was looked at, perhaps to what is stricter.
    """
    acted, now = False, wish.setting.read()
    if now not in (wish.seen, wish.wanted):
        raise AdapterError(f"{wish.what}: it is not what it was a moment ago; it was left as it is")

    def look() -> bool | None:
        nonlocal now
        deadline = time.monotonic() + (_SHOWN_S if acted else 0.0)
        while (now := wish.setting.read()) != wish.wanted:
            if time.monotonic() >= deadline:
                return None
            time.sleep(_PAUSE_S)
        return True

    def act() -> None:
        nonlocal acted
        wish.setting.put(now, wish.wanted)
        acted = True

    settle(vcenter, f"{wish.what} could not be set", look, act, timeout_s=_SETTLES_S)


def _evidence(
    vcenter: Vcenter, name: str, done: Sequence[SavedCall], left: Mapping[str, str] | None = None
) -> CallsMade:
    return CallsMade(subject=name, saved=tuple(done), left=left or {}, source=vcenter.source)


def _summary(evidence: CallsMade, verb: str) -> str:
    words = f"{evidence.subject}: {len(evidence.saved)} settings {verb}"
    if not evidence.left:
        return words
    return f"{words}, {len(evidence.left)} left as they are: {', '.join(evidence.left)}"
