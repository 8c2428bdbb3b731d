"""How checks are answered, written as plainly as they read: JMESPath as it is, every list searched through.

What the judge answers is held to it; the judge may know less than this, and never anything else.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import jmespath
from jmespath.functions import Functions, signature

from automation.baseline.checks import All, Ask, Check, Either, Not
from automation.baseline.controls import Control, Profile
from automation.model.facts import Facts


class _Moments(Functions):  # type: ignore[misc]
    def __init__(self, now_s: float) -> None:
        self._now_s = now_s

    @signature({"types": ["number", "null"]})  # type: ignore[untyped-decorator]
    def _func_days_since(self, moment_s: float | None) -> float | None:
        return None if moment_s is None else (self._now_s - moment_s) / 86400


def state_of(control: Control, facts: Facts, profile: Profile) -> str:
    """Give the state of a control that has a check, without waivers."""
    wanted = control.values(profile)
    applies = "yes" if control.applies is None else truth(control.applies.when, facts, wanted)
    if applies != "yes":
        return "not_applicable" if applies == "no" else "unknown"
    if control.check is None or (facts.shared_kernel and not control.shared_kernel):
        return "unknown"
    asked = [one for one in (control.check.effective, control.check.persistent) if one is not None]
    said = [truth(one, facts, wanted) for one in asked]
    return "fail" if "no" in said else "unknown" if "unknown" in said else "pass"


def truth(check: Check, facts: Facts, wanted: Mapping[str, Any]) -> str:
    """Answer one check: yes, no or unknown."""
    match check:
        case All(all=parts):
            said = [truth(one, facts, wanted) for one in parts]
            return "no" if "no" in said else "unknown" if "unknown" in said else "yes"
        case Either(any=parts):
            said = [truth(one, facts, wanted) for one in parts]
            return "yes" if "yes" in said else "unknown" if "unknown" in said else "no"
        case Not(not_=part):
            return {"yes": "no", "no": "yes", "unknown": "unknown"}[truth(part, facts, wanted)]
    return _asked(check, facts, wanted)


def _asked(ask: Ask, facts: Facts, wanted: Mapping[str, Any]) -> str:
    value: Any = ask.value
    if isinstance(value, str) and value.startswith("$"):
        value = wanted[value[1:]]
    named = re.search(r'"([^"]+)"|([A-Za-z_][A-Za-z0-9_]*)(?!\w*\()', ask.fact)
    section = (named[1] or named[2]) if named else ""
    options = jmespath.Options(custom_functions=_Moments(facts.collected_at.timestamp()))
    try:
        seen: Any = jmespath.search(ask.fact, facts.tree(), options)
        if seen is None and section not in facts.tree():
            return "unknown"
        if ask.word == "present":
            return "yes" if (seen is not None) == value else "no"
        if seen is None:
            return ask.missing
        return "yes" if _holds(ask.word, seen, value) else "no"
    except (ArithmeticError, TypeError, ValueError):  # JMESPath's own errors are such, too
        return "unknown"


def _holds(word: str, seen: Any, wanted: Any) -> bool:
    if word == "named_by":
        return all(_is_named(one, wanted) for one in _list(seen))
    if word in ("contains", "lacks", "subset_of"):
        return _holds_of_lists(word, seen, wanted)
    if word in ("eq", "ne"):
        return _same(seen if word == "eq" else _comparable(seen, [wanted]), wanted) == (word == "eq")
    if word in ("in", "not_in"):
        found = any(_same(seen, one) for one in _list(wanted))
        return found if word == "in" else not found and _comparable(seen, wanted) is seen
    if word in ("at_most", "at_least"):
        number, limit = _number(seen), _number(wanted)
        return number <= limit if word == "at_most" else number >= limit
    if word == "matches":
        if not isinstance(seen, str) or len(seen) > 4096:
            raise ValueError
        return re.fullmatch(wanted, seen) is not None
    if not isinstance(seen, list | dict | str):
        raise ValueError
    return (not seen) == wanted


def _is_named(one: Any, wanted: Any) -> bool:
    if not isinstance(one, str):
        raise ValueError
    return one in wanted or (one.count(":") == 1 and one.split(":")[0] in wanted)


def _holds_of_lists(word: str, seen: Any, wanted: Any) -> bool:
    if word == "subset_of":
        return all(any(_same(one, other) for other in _list(wanted)) for one in _list(seen))
    found = [any(_same(one, other) for other in _list(seen)) for one in _list(wanted)]
    return all(found) if word == "contains" else not any(found)


def _same(one: Any, other: Any) -> bool:
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (one, other))
    return (numbers or type(one) is type(other)) and one == other


def _comparable(seen: Any, known: Any) -> Any:
    if not any(type(seen) is type(one) for one in known):
        raise ValueError
    return seen


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number
