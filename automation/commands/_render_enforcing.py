"""Enforcements for people: per host what is how, and how it is to be; then what is left out, and why."""

from collections.abc import Iterable, Iterator, Sequence
from textwrap import fill
from typing import NamedTuple

from rich.text import Text

from automation.baseline.enforcement import Enforced, LeftOut
from automation.baseline.verdicts import Verdict
from automation.commands._enforcing import Planned, Result
from automation.commands._render import _console
from automation.commands._undoing import Undoable, Undone
from automation.model.baseline_evidence import SettingsEnforced
from automation.model.host_settings import Risk

_RISKS: dict[Risk, str] = {
    "R0": "changes nothing that runs",
    "R1": "reloads something",
    "R2": "may lock people out",
}
_STYLES = {"R2": "bold yellow"}
_MOST = 8  # names in a line


def print_planned(planned: Planned) -> None:
    """Print what would be changed on whom, in which order, and what is left out."""
    _print((*_subjects(planned), *_order(planned), *_left(planned)))
    _print((f"{host}: NO FACTS: {why}", "red") for host, why in planned.not_collected.items())


def print_result(result: Result, env: str) -> None:
    """Print what was changed, what does not hold though it was changed, and how it is taken back."""
    _print(_result(result, env))


def print_undoable(undoable: Undoable) -> None:
    """Print what would be put back."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for subject, rows in undoable.subjects.items():
        alike.setdefault(rows, []).append(subject)
    for rows, subjects in alike.items():
        _print([(_names(subjects), "bold"), *((f"  {row}", "") for row in rows)])


def print_undone(undone: Undone) -> None:
    """Print what was put back, and what was left as it is."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for one in undone.settings:
        alike.setdefault(one.restored, []).append(one.host)
    for restored, hosts in alike.items():
        _print([(f"{_names(hosts)}: put back: {', '.join(restored) or 'nothing'}", "")])
    for one in undone.settings:
        _print((f"{one.host}: LEFT AS IT IS: {what}: {why}", "yellow") for what, why in one.left.items())
    for calls in undone.calls:
        names = ", ".join(f"{one.call.replace('_', ' ')} {one.on}".strip() for one in calls.saved)
        _print([(f"{calls.subject}: put back: {names or 'nothing'}", "")])
        _print(
            (f"{calls.subject}: LEFT AS IT IS: {what}: {why}", "yellow") for what, why in calls.left.items()
        )


def _print(lines: Iterable[tuple[str, str]]) -> None:
    console = _console()
    for text, style in lines:
        first = len(text) - len(text.lstrip())
        words = fill(text, console.width, subsequent_indent=" " * (first + 2), break_long_words=False)
        console.print(Text(words, style=style))


def _subjects(planned: Planned) -> Iterator[tuple[str, str]]:
    """Tell alike hosts together: of a hundred hosts most want the same."""
    alike: dict[tuple[str, ...], list[Enforced]] = {}
    for one in planned.enforced:
        alike.setdefault(tuple(f"{text}|{risk}" for text, risk in _rows(one)), []).append(one)
    for every in alike.values():
        yield _names([one.subject for one in every]), "bold"
        for text, risk in _rows(every[0]):
            yield f"  {text}", _STYLES.get(risk, "")
        if every[0].accepted:
            yield f"  a person answered for: {', '.join(every[0].accepted)}", "yellow"
    if not planned.enforced:
        yield "nothing is to be changed", ""


def _rows(one: Enforced) -> Iterator[tuple[str, Risk]]:
    by_control: dict[str, list[str]] = {}
    risks: dict[str, Risk] = {}
    for setting in one.settings:
        by_control.setdefault(setting.control, []).append(setting.shown)
        risks[setting.control] = setting.risk
    for call in one.calls:
        words = f"{call.call.replace('_', ' ')}{f' of {call.on}' if call.on else ''}"
        by_control.setdefault(call.control, []).append(words)
        risks[call.control] = call.risk
    for control, rows in by_control.items():
        risk = risks[control]
        yield f"{risk} {control} ({_RISKS.get(risk, '')})", risk
        for row in rows:
            yield f"   {row}", "R0"


def _order(planned: Planned) -> Iterator[tuple[str, str]]:
    if not planned.enforced:
        return
    for wave in planned.waves:
        yield f"wave {wave.number}: {', '.join(wave.subjects)}", ""
    yield f"plan {planned.digest[:16]}, made from the facts of run {planned.audit}", ""
    if planned.watched_by:
        yield f"before each wave, and after the last, these must be well: {', '.join(planned.watched_by)}", ""
    else:
        yield "no service with a probe stands on these: nobody sees whether all stays well", "yellow"
    risky = [one for one in planned.enforced if "R2" in one.risks]
    if hosts := [one.subject for one in risky if one.platform == "linux"]:
        yield (
            f"{_names(hosts)}: may lock people out; a host takes it back by itself unless a fresh login with "
            "sudo confirms it",
            "yellow",
        )
    if others := [one.subject for one in risky if one.platform != "linux"]:
        yield f"{_names(others)}: may cut somebody off, and nothing takes it back by itself", "bold yellow"


def _left(planned: Planned) -> Iterator[tuple[str, str]]:
    """Tell every reason once, with the controls and subjects that it is the reason for."""
    reasons: dict[_Reason, dict[str, list[str]]] = {}
    for one in planned.left_out:
        reasons.setdefault(_reason(one, planned), {}).setdefault(one.control, []).append(one.subject)
    for reason, controls in sorted(reasons.items(), key=lambda item: (item[0].place, -len(item[1]))):
        yield f"left out: {reason.why}", "dim" if reason.place else ""
        every: dict[tuple[str, ...], list[str]] = {}
        for control, subjects in controls.items():
            every.setdefault(tuple(subjects), []).append(control)
        for subjects_, names in every.items():
            yield f"  {_names(subjects_)}: {', '.join(names)}", "dim"
        if reason.guards:
            yield f"  who has seen to it says so: --accept-guard {','.join(reason.guards)}", ""


class _Reason(NamedTuple):
    """Why controls are left out; `place`: first what people can do something about."""

    place: int
    why: str
    guards: tuple[str, ...] = ()


def _reason(one: LeftOut, planned: Planned) -> _Reason:
    if one.why.startswith("waived by"):
        return _Reason(1, one.why)
    if not one.why.startswith("not known"):
        return _Reason(0, one.why, one.guards)
    if one.why.startswith("not known: shared-kernel"):
        return _Reason(2, one.why)
    return _Reason(2, f"not known; why is told by baseline.reassess of run {planned.audit}")


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return f"{', '.join(names[:_MOST])}{more}"


def _result(result: Result, env: str) -> Iterator[tuple[str, str]]:
    yield from _changes(result)
    yield from _told(result.unmet, "DOES NOT HOLD", "bold red")
    yield from _told(result.worse, "HELD BEFORE", "bold red")
    yield from _told(result.lost, "is not known any more", "yellow")
    undo = f"./inv baseline.undo --env {env} --change {result.run}"
    failed = any(one.failed for one in result.settings)
    if failed:
        yield f"what was not put back: see what stands in its way, then {undo}", ""
    if result.changed:
        yield f"{result.changed} settings are another way than before; {undo} takes them back", ""
    elif not failed:
        yield "nothing is another way than before", ""


def _told(verdicts: Sequence[Verdict], word: str, style: str) -> Iterator[tuple[str, str]]:
    alike: dict[tuple[str, str], list[str]] = {}
    for one in verdicts:
        alike.setdefault((one.control, one.reason), []).append(one.subject)
    for (control, reason), subjects in alike.items():
        yield f"{control} {word} on {_names(subjects)}: {reason}", style


def _changes(result: Result) -> Iterator[tuple[str, str]]:
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for host in result.settings:
        if host.switch == "reverted":
            yield f"{host.host}: TAKEN BACK by the host itself: {host.why}", "bold yellow"
            for what, why in host.failed.items():
                yield f"{host.host}: NOT PUT BACK: {what}: {why}", "bold red"
        elif rows := tuple(_of_host(host)):
            alike.setdefault(rows, []).append(host.host)
    for rows, hosts in alike.items():
        yield _names(hosts), "bold"
        yield from ((f"  {text}", style) for text, style in rows)
    for calls in result.calls:
        for saved in calls.saved:
            on = f" of {saved.on}" if saved.on else ""
            yield f"{calls.subject}: {saved.call.replace('_', ' ')}{on} ({saved.control})", ""


def _of_host(host: SettingsEnforced) -> Iterator[tuple[str, str]]:
    for one in host.settings:
        if one.changed:
            yield f"{one.what}: {one.before} -> {one.after} ({one.control})", ""
        if one.problem:
            yield f"{one.what}: {one.problem} ({one.control})", "yellow"
