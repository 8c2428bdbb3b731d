"""Making the calls that an account's controls ask for, and taking them back.

What was before is written into the run's artifacts, and synced, before anything is changed: a controller that
dies between a change and its journal loses nothing that is needed to undo it.
"""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import JsonValue

from automation.adapters.aws import changes_iam, changes_logs, changes_network, changes_stores
from automation.adapters.aws.account import Account, account_of
from automation.adapters.aws.calls import Kind, State
from automation.model.actions import EnforceAccount, UndoAccount
from automation.model.baseline_evidence import CallsMade
from automation.model.errors import AdapterError
from automation.model.provider_settings import SavedCall, WantedCall
from automation.model.records import Context, Outcome, Progress

_FOLDER = "calls"
KINDS: Mapping[str, Kind] = {
    **changes_iam.KINDS,
    **changes_logs.KINDS,
    **changes_network.KINDS,
    **changes_stores.KINDS,
}


def enforce_calls(action: EnforceAccount, ctx: Context) -> Outcome:
    """Make every call whose thing is not as wanted; one that fails stops no other.

    Raises:
        AdapterError: some failed; its evidence is what was changed all the same.
    """
    account, kept = account_of(ctx, action.account), _Kept(ctx)
    made: list[SavedCall] = []
    failed: list[AdapterError] = []
    for wanted in action.calls:
        try:
            saved = _make(account, wanted, kept)
        except AdapterError as exc:
            failed.append(exc)
            saved = kept.of(wanted) if exc.unknown else None  # undo compares before it puts anything back
        made += [] if saved is None else [saved]
    evidence = CallsMade(subject=account.id, saved=tuple(made), source=account.source)
    if failed:
        raise _together(
            failed, f"{len(made)} of {len(action.calls)} calls changed account {account.id}", evidence
        )
    return _outcome(evidence, f"{len(made)} of {len(action.calls)} calls changed something")


def verify_enforce_calls(action: EnforceAccount, ctx: Context) -> Progress:
    """Say whether everything is as wanted; if not, calling it again goes on where it ended."""
    account, kept = account_of(ctx, action.account), _Kept(ctx)
    made: list[SavedCall] = []
    for wanted in action.calls:
        saved = kept.of(wanted)
        now = _kind(wanted.call).read(account, wanted.on, None if saved is None else _state(saved.before))
        if now != (_kind(wanted.call).want(now, wanted) if saved is None else saved.after):
            return Progress(state="not_done", why=f"{_words(wanted)} is not as wanted")
        made += [] if saved is None else [saved]
    evidence = CallsMade(subject=account.id, saved=tuple(made), source=account.source)
    return Progress(state="done", outcome=_outcome(evidence, f"{len(made)} calls changed something"))


def undo_calls(action: UndoAccount, ctx: Context) -> Outcome:
    """Put back what was before, the last change first; what somebody changed since is left alone and told.

    Raises:
        AdapterError: some could not be put back; its evidence is what was all the same.
    """
    account = account_of(ctx, action.account)
    back: list[SavedCall] = []
    left: dict[str, str] = {}
    failed: list[AdapterError] = []
    for saved in reversed(action.saved):
        try:
            why = _put_back(account, saved)
        except AdapterError as exc:
            failed.append(exc)
            continue
        if why is None:
            back.append(saved.model_copy(update={"before": saved.after, "after": saved.before}))
        elif why:
            left[_words(saved)] = why
    evidence = CallsMade(subject=account.id, saved=tuple(back), left=left, source=account.source)
    if failed:
        raise _together(failed, f"{len(back)} calls of account {account.id} were taken back", evidence)
    return _outcome(
        evidence, f"{len(back)} calls taken back" + (f", {len(left)} left as they are" if left else "")
    )


def verify_undo_calls(action: UndoAccount, ctx: Context) -> Progress:
    """Say whether all that can be put back is as it was; if not, to call it again is safe."""
    account = account_of(ctx, action.account)
    for saved in action.saved:
        kind, before = _kind(saved.call), _state(saved.before)
        if not kind.lasting and kind.read(account, saved.on, before) != before:
            return Progress(state="not_done", why=f"{_words(saved)} is not as it was")
    back = tuple(
        one.model_copy(update={"before": one.after, "after": one.before})
        for one in action.saved
        if not _kind(one.call).lasting
    )
    left = {_words(one): why for one in action.saved if (why := _kind(one.call).lasting)}
    evidence = CallsMade(subject=account.id, saved=back, left=left, source=account.source)
    return Progress(state="done", outcome=_outcome(evidence, "all is as it was"))


def _make(account: Account, wanted: WantedCall, kept: "_Kept") -> SavedCall | None:
    """Make one call; None where nothing was to be done."""
    kind, earlier = _kind(wanted.call), kept.of(wanted)
    if earlier is not None:
        now = kind.read(account, wanted.on, _state(earlier.before))
        if now == earlier.after:
            return earlier  # this step did it before the controller died
    else:
        now = kind.read(account, wanted.on, None)
    then = kind.want(now, wanted)
    if now == then:
        return None
    kind.check(account, wanted)
    saved = SavedCall(
        control=wanted.control, call=wanted.call, on=wanted.on, before=_json(now), after=_json(then)
    )
    kept.add(saved)
    _write(account, kind, wanted.on, now, then)
    return saved


def _put_back(account: Account, saved: SavedCall) -> str | None:
    """Put one back: None when it was, empty when it was already, else why it is left alone."""
    kind, before, after = _kind(saved.call), _state(saved.before), _state(saved.after)
    if kind.lasting:
        return kind.lasting
    now = kind.read(account, saved.on, before)
    if now == before:
        return ""
    if now != after:
        return f"somebody changed it since: it is {json.dumps(now, default=str)[:200]}"
    _write(account, kind, saved.on, now, before)
    return None


def _write(account: Account, kind: Kind, on: str, now: State, then: State) -> None:
    """Change a thing, and read back that it is so; AWS may show for some seconds what was before."""
    known, seen = then if now is None else now, now
    try:
        kind.write(account, on, now, then)
    except AdapterError:
        # An answer may be lost, and the same call again be refused because it was carried out.
        if not _is_so(account, kind, on, then, known):
            raise
    for _ in account.home.settled(kind.takes_s):
        seen = kind.read(account, on, known)
        if seen == then:
            return
    reads = json.dumps(seen, default=str)[:200]
    raise AdapterError(
        f"{on or account.id}: it was changed, and reads as {reads} and not as it was written",
        unknown=True,
        hint="look at it in the console; undo leaves what is not as it was written alone",
    )


def _is_so(account: Account, kind: Kind, on: str, then: State, known: State) -> bool:
    with suppress(AdapterError):
        return kind.read(account, on, known) == then
    return False


class _Kept:
    """What was before, of each call of a step: a line of JSON on the disk before it is made."""

    def __init__(self, ctx: Context) -> None:
        self._path = ctx.artifacts / _FOLDER / f"{ctx.step_id.replace('/', '-')}.jsonl"
        self._known = {(one.call, one.on): one for one in _read_lines(self._path)}

    def of(self, wanted: WantedCall) -> SavedCall | None:
        return self._known.get((wanted.call, wanted.on))

    def add(self, saved: SavedCall) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        with self._path.open("a") as file:
            file.write(f"{saved.model_dump_json()}\n")
            file.flush()
            os.fsync(file.fileno())
        for folder in (
            self._path.parent,
            self._path.parent.parent,
        ):  # else a new name may be lost with the power
            _sync(folder)
        self._known[saved.call, saved.on] = saved


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_lines(path: Path) -> Iterable[SavedCall]:
    """Read the whole lines of a file; one that was torn was followed by no change."""
    text = path.read_text() if path.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    return [SavedCall.model_validate_json(line) for line in whole.splitlines()]


def _kind(call: str) -> Kind:
    if call not in KINDS:
        raise AdapterError(
            f"aws: no call is named {call}; nothing was changed", hint=f"one of {sorted(KINDS)}"
        )
    return KINDS[call]


def _state(value: JsonValue) -> State:
    return value if isinstance(value, dict) else None


def _json(state: State) -> JsonValue:
    return None if state is None else dict(state)


def _words(call: WantedCall | SavedCall) -> str:
    return f"{call.call} {call.on}".strip()


def _outcome(evidence: CallsMade, words: str) -> Outcome:
    summary = f"AWS account {evidence.subject}: {words}"
    return Outcome(changed=bool(evidence.saved), summary=summary, evidence=evidence)


def _together(failed: list[AdapterError], changed: str, evidence: CallsMade) -> AdapterError:
    """Give one error for all that failed, and what was changed all the same."""
    words = "; ".join(str(one) for one in failed)
    return AdapterError(
        f"{words} - {changed}",
        unknown=any(one.unknown for one in failed),
        evidence=evidence,
        hint=next((one.hint for one in failed if one.hint), None),
    )
