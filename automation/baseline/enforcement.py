"""What is changed so that failed controls hold, what is left out and why, and the plan of it. Pure.

Only what failed is changed: never what is not known, waived, or does not apply.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from pydantic import Field, JsonValue

from automation.baseline.asking import Asker, NoAnswer
from automation.baseline.checks import Check, asks_of, resolve
from automation.baseline.controls import Control
from automation.baseline.fights import Fight
from automation.baseline.guards import NOT_FOUGHT_OVER, Scene, facts_of, guards_of, refusals
from automation.baseline.remedies import ProviderCall
from automation.baseline.settings import Baseline
from automation.baseline.settings_shown import is_so, key, shown, wanted, what
from automation.baseline.verdicts import Assessment, Verdict
from automation.model.base import Model
from automation.model.facts import Facts, Platform
from automation.model.host_settings import HostSetting, PackageState, Risk, WantedSetting
from automation.model.provider_settings import WantedCall

MOST_CALLS = 200  # for one control and one subject; more is a mistake somewhere
_BY_PEOPLE: Mapping[Risk, str] = {
    "R3": "needs a window and a boot, which people plan",
    "R4": "cannot be taken back: people do it",
}


class LeftOut(Model):
    """A control that does not hold on a subject, and is not enforced there."""

    subject: str
    control: str
    why: str
    guards: tuple[str, ...] = Field(default=(), description="that a person may answer: --accept-guard")


class Enforced(Model):
    """All that is changed on one host, account or vCenter."""

    subject: str
    platform: Platform
    settings: tuple[WantedSetting, ...] = ()
    calls: tuple[WantedCall, ...] = ()
    expected: Mapping[str, JsonValue] = Field(
        default_factory=dict, description="JMESPath over its facts, to what it gave"
    )
    accepted: tuple[str, ...] = Field(default=(), description="guards that a person has answered with yes")

    @property
    def risks(self) -> frozenset[Risk]:
        return frozenset((*(one.risk for one in self.settings), *(one.risk for one in self.calls)))

    @property
    def controls(self) -> tuple[str, ...]:
        names = (*(one.control for one in self.settings), *(one.control for one in self.calls))
        return tuple(dict.fromkeys(names))


class Decided(NamedTuple):
    """What becomes of one subject."""

    enforced: Enforced
    left_out: tuple[LeftOut, ...]


class Case(NamedTuple):
    """One subject: what was found there, and what was done there before."""

    facts: Facts
    assessment: Assessment
    scene: Scene
    fights: Collection[Fight] = ()
    also_called: tuple[str, ...] = ()  # an account by the names of its providers

    @property
    def names(self) -> tuple[str, ...]:
        """Every name by which baseline.yml may mean it."""
        return (*self.facts.roles, self.facts.subject, *self.also_called)


class Wish(NamedTuple):
    """What a person asked for: `only` are ids of controls or patterns, all without any."""

    settings: Baseline
    only: tuple[str, ...] = ()
    accepted: frozenset[str] = frozenset()

    def asks_for(self, control: str) -> bool:
        return not self.only or any(fnmatchcase(control, one) for one in self.only)


def decide(case: Case, controls: Mapping[str, Control], wish: Wish) -> Decided:
    """Decide what is changed on one subject; every failure is either among it or left out with a reason."""
    taken: list[_Taken] = []
    left_out: list[LeftOut] = []
    for verdict in case.assessment.verdicts:
        if wish.asks_for(verdict.control):
            found = _weigh(verdict, controls[verdict.control], case, wish)
            if isinstance(found, _Taken) and (other := _contradicted(found, taken)):
                found = _left(verdict, f"{other.control} wants {what(other.setting)} otherwise")
            if isinstance(found, _Taken):
                taken.append(found)
            elif found is not None:
                left_out.append(found)
    enforced = Enforced(
        subject=case.facts.subject,
        platform=case.facts.platform,
        settings=tuple(_each_once(taken)),
        calls=tuple(call for one in taken for call in one.calls),
        expected={fact: value for one in taken for fact, value in one.stands_on.items()},
        accepted=tuple(sorted({guard for one in taken for guard in one.accepted})),
    )
    return Decided(enforced, tuple(left_out))


class _Taken(NamedTuple):
    """One control that is enforced: by what, what that stands on, and what a person answered for it."""

    settings: tuple[WantedSetting, ...]
    calls: tuple[WantedCall, ...]
    stands_on: Mapping[str, JsonValue]
    accepted: frozenset[str]


def _weigh(verdict: Verdict, control: Control, case: Case, wish: Wish) -> _Taken | LeftOut | None:
    """Give what changes a control that failed, or why it is left out; None where it did not fail."""
    why = _why_not(verdict, control, case, wish)
    if why or verdict.state != "fail":
        return why
    own, made = tuple(_settings(verdict, control, case)), tuple(_calls(control, case))
    if packages := [one.setting for one in own if isinstance(one.setting, PackageState)]:
        return _left(verdict, "; ".join(map(_by_hand, packages)))
    if not own and not made:
        return _left(verdict, "people change it: nothing that a program may change is at fault")
    fought = (NOT_FOUGHT_OVER,) if _fight(control, case) else ()
    accepted = {*guards_of(control), *fought} & wish.accepted
    guarded = [
        fact for one in guards_of(control) if one not in accepted for fact in facts_of(one, case.scene)
    ]
    return _Taken(own, made, _stands_on(verdict, control, case.facts, guarded), frozenset(accepted))


def _each_once(taken: Sequence[_Taken]) -> Iterator[WantedSetting]:
    """Give every setting once; of several controls that want it, by the one that reaches furthest."""
    found: dict[str, WantedSetting] = {}
    for one in sorted((each for some in taken for each in some.settings), key=lambda each: each.risk):
        found[what(one.setting)] = one
    names = (what(each.setting) for some in taken for each in some.settings)
    yield from (found[name] for name in dict.fromkeys(names))


# --- what is left out ------------------------------------------------------------------------------


def _why_not(verdict: Verdict, control: Control, case: Case, wish: Wish) -> LeftOut | None:
    remedy = control.remedy
    if verdict.state in ("waived", "unknown", "error"):
        words = f"waived by {verdict.waiver}" if verdict.state == "waived" else f"not known: {verdict.reason}"
        return _left(verdict, words) if remedy else None
    if verdict.state != "fail":
        return None
    if remedy is None:
        return _left(verdict, "people change it")
    if not wish.settings.may_enforce(control.id, case.names):
        return _left(verdict, "audited alone: baseline.yml does not let it be enforced here")
    if remedy.risk in _BY_PEOPLE:
        return _left(verdict, _BY_PEOPLE[remedy.risk])
    fight = _fight(control, case)
    if fight and NOT_FOUGHT_OVER not in wish.accepted:
        return _left(verdict, fight.words, (NOT_FOUGHT_OVER,))
    refused = tuple(refusals(control, case.facts, case.scene, wish.accepted))
    if not refused:
        return None
    why, guards = "; ".join(one.why for one in refused), tuple(one.guard for one in refused)
    return _left(verdict, why, guards)


def _fight(control: Control, case: Case) -> Fight | None:
    return next(
        (one for one in case.fights if (one.control, one.host) == (control.id, case.facts.subject)), None
    )


def _left(verdict: Verdict, why: str, guards: tuple[str, ...] = ()) -> LeftOut:
    return LeftOut(subject=verdict.subject, control=verdict.control, why=why, guards=guards)


def _by_hand(package: PackageState) -> str:
    """Say what a person does first: what a package's own scripts do is undone by nothing."""
    does = "install --no-install-recommends" if package.state == "present" else "remove"
    return f"people change packages, and plan again: apt-get {does} {package.name}"


def _contradicted(one: _Taken, taken: Sequence[_Taken]) -> WantedSetting | None:
    """Give the setting of another control that wants the same thing otherwise."""
    others = {what(each.setting): each for some in taken for each in some.settings}
    for own in one.settings:
        other = others.get(what(own.setting))
        if other is not None and wanted(other.setting) != wanted(own.setting):
            return other
    return None


# --- what is changed -------------------------------------------------------------------------------


def _settings(verdict: Verdict, control: Control, case: Case) -> Iterator[WantedSetting]:
    """Give the settings that are at fault: what is right already, and perhaps stricter, is not touched."""
    assert control.remedy is not None
    values = control.values(case.assessment.profile)
    for one in control.remedy.settings:
        setting = _filled(one, values)
        if not _is_at_fault(setting, verdict) or is_so(setting, case.facts):
            continue
        yield WantedSetting(
            control=control.id,
            risk=control.remedy.risk,
            setting=setting,
            shown=shown(setting, case.facts),
        )


def _is_at_fault(setting: HostSetting, verdict: Verdict) -> bool:
    """Whether a fact that is not as wanted speaks of a setting, or none tells how it is."""
    word = re.compile(rf"(?<![\w-]){re.escape(key(setting))}(?![\w-])")
    speak = [one for one in verdict.found if word.search(one.fact)]
    told = [one for one in speak if one.observed is not None or one.met == "no"]
    return not told or any(one.met == "no" for one in told)


def _filled(setting: HostSetting, values: Mapping[str, JsonValue]) -> HostSetting:
    """Put the profile's values into the place of parameters."""
    names = {"value", "content"} & set(type(setting).model_fields)
    return setting.model_copy(update={name: resolve(getattr(setting, name), values) for name in names})


def _calls(control: Control, case: Case) -> Iterator[WantedCall]:
    assert control.remedy is not None
    values = control.values(case.assessment.profile)
    for call in control.remedy.calls:
        arguments = {name: resolve(value, values) for name, value in call.arguments.items()}
        for name in _names(call, case.facts):
            yield WantedCall(
                control=control.id, risk=control.remedy.risk, call=call.call, on=name, arguments=arguments
            )


def _names(call: ProviderCall, facts: Facts) -> tuple[str, ...]:
    """Name what a call is made for; what facts do not name, or name in thousands, is left to people."""
    if not call.each:
        return ("",)
    found: Any = None
    with suppress(NoAnswer):
        found = Asker(facts).search(call.each)
    names = found if isinstance(found, list) else []
    told = tuple(dict.fromkeys(name for name in names if isinstance(name, str) and name))
    return told if len(told) <= MOST_CALLS else ()


# --- what must still be so -------------------------------------------------------------------------


def _stands_on(
    verdict: Verdict, control: Control, facts: Facts, guarded: Sequence[str]
) -> dict[str, JsonValue]:
    """Give the facts that a verdict stands on, those for which it applies, and its guards', as they were."""
    asked = [*(one.fact for one in verdict.found if one.met != "unknown"), *guarded]
    if control.applies is not None:
        asked += _asked_of(control.applies.when)
    found: dict[str, JsonValue] = {}
    asker = Asker(facts)
    for fact in asked:
        if "days_since" not in fact:  # a moment later it is another number
            with suppress(NoAnswer):
                found[fact] = asker.search(fact)
    return found


def _asked_of(check: Check) -> Iterator[str]:
    """Give the questions of a check; of a long list, only whether what counts is in it."""
    for ask in asks_of(check):
        if ask.word != "contains" or not isinstance(ask.value, str | list):
            yield ask.fact
            continue
        for one in ask.value if isinstance(ask.value, list) else [ask.value]:
            if isinstance(one, str) and "'" not in one:
                yield f"contains({ask.fact}, '{one}')"
