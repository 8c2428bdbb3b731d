"""What is asked of facts: a small language of data, answered with yes, no or not known. Pure.

A check is a mapping. One that asks names a fact by a JMESPath expression and compares it by one word:

    {fact: sshd.effective.permitrootlogin, in: [no, prohibit-password]}
    {fact: 'sysctl.running."net.ipv4.ip_forward"', eq: "0"}
    {fact: "length(users[?uid == `0`])", at_most: 1}

Others join checks: `all`, `any`, `not`. A value that is written `$name` is the control's parameter of that
name. A fact that is not there is not known, unless `missing` says that it counts as yes or no in a section
that was collected; what is not known never becomes a yes by being joined.

Beside JMESPath's own functions there is `days_since(seconds)`: from a moment of a fact to when the facts were
collected, in days; of what is null it is null.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions, signature
from pydantic import Discriminator, Field, JsonValue, Tag, field_validator, model_validator

from automation.model.base import Model
from automation.model.facts import Facts

Truth = Literal["yes", "no", "unknown"]
LONGEST_TEXT = 4096  # of a fact that a pattern is held against
_SHOWN = 200
_DAY_S = 24 * 3600
_WORDS = (
    "eq",
    "ne",
    "in",
    "not_in",
    "at_most",
    "at_least",
    "matches",
    "contains",
    "lacks",
    "subset_of",
    "empty",
    "present",
)


class Ask(Model):
    """One fact, compared with one value."""

    fact: str = Field(min_length=1, max_length=500, description="JMESPath expression over the facts")
    eq: JsonValue = Field(default=None, description="is equal to it")
    ne: JsonValue = Field(default=None, description="is not equal to it")
    in_: JsonValue = Field(default=None, alias="in", description="is one of a list")
    not_in: JsonValue = Field(default=None, description="is none of a list")
    at_most: JsonValue = Field(default=None, description="is a number, and not larger")
    at_least: JsonValue = Field(default=None, description="is a number, and not smaller")
    matches: JsonValue = Field(default=None, description="is a text that a regular expression covers whole")
    contains: JsonValue = Field(default=None, description="is a list that has all of these")
    lacks: JsonValue = Field(default=None, description="is a list that has none of these")
    subset_of: JsonValue = Field(default=None, description="is a list that has nothing but these")
    empty: JsonValue = Field(default=None, description="is a list, mapping or text without content: true")
    present: JsonValue = Field(default=None, description="is there: true or false")
    missing: Truth = Field(default="unknown", description="the answer when its section lacks it")

    @field_validator("fact")
    @classmethod
    def _is_an_expression(cls, text: str) -> str:
        return valid_expression(text)

    @model_validator(mode="after")
    def _compares_once(self) -> "Ask":
        if len(self.model_fields_set - {"fact", "missing"}) != 1:
            raise ValueError(f"give exactly one of {', '.join(_WORDS)}")
        return self

    @property
    def word(self) -> str:
        """The word it compares by."""
        (name,) = self.model_fields_set - {"fact", "missing"}
        return name.rstrip("_")

    @property
    def value(self) -> JsonValue:
        """What it compares with."""
        (name,) = self.model_fields_set - {"fact", "missing"}
        value: JsonValue = getattr(self, name)
        return value


class All(Model):
    """Yes when every one is."""

    all: tuple["Check", ...] = Field(min_length=1, description="checks that all hold")


class Either(Model):
    """Yes when one is."""

    any: tuple["Check", ...] = Field(min_length=1, description="checks of which one holds")


class Not(Model):
    """Yes when it is no."""

    not_: "Check" = Field(alias="not", description="check that does not hold")


def _kind(value: object) -> str:
    if isinstance(value, Mapping):
        return next((word for word in ("all", "any", "not") if word in value), "ask")
    kinds: tuple[tuple[type, str], ...] = ((All, "all"), (Either, "any"), (Not, "not"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "ask")


Check = Annotated[
    Annotated[All, Tag("all")]
    | Annotated[Either, Tag("any")]
    | Annotated[Not, Tag("not")]
    | Annotated[Ask, Tag("ask")],
    Discriminator(_kind),
]
for model in (All, Either, Not):
    model.model_rebuild()


class Seen(NamedTuple):
    """What one question found: the fact, what was wanted of it, and the answer."""

    fact: str
    observed: JsonValue
    wanted: str
    truth: Truth
    reason: str = ""


class Answer(NamedTuple):
    """The answer to a check, and the questions that it stands on."""

    truth: Truth
    seen: tuple[Seen, ...]

    @property
    def reason(self) -> str:
        """Why it is not yes: the questions that were not answered so."""
        return "; ".join(dict.fromkeys(one.reason for one in self.seen if one.truth != "yes" and one.reason))


def valid_expression(text: str) -> str:
    """Give a JMESPath expression back.

    Raises:
        ValueError: it is none.
    """
    try:
        jmespath.compile(text)
    except JMESPathError as exc:
        raise ValueError(f"{text!r} is no JMESPath expression: {exc}".splitlines()[0]) from exc
    return text


def answer(check: Check, facts: Facts, parameters: Mapping[str, JsonValue]) -> Answer:
    """Answer a check by facts.

    Args:
        parameters: what `$name` stands for.

    Raises:
        ValueError: the check names a parameter that there is not, or compares with what cannot be compared.
    """
    match check:
        case All(all=parts):
            return _joined([answer(part, facts, parameters) for part in parts], "no", "yes")
        case Either(any=parts):
            return _joined([answer(part, facts, parameters) for part in parts], "yes", "no")
        case Not(not_=part):
            inner = answer(part, facts, parameters)
            turned: Mapping[Truth, Truth] = {"yes": "no", "no": "yes", "unknown": "unknown"}
            seen = (one._replace(truth=turned[one.truth], wanted=f"not: {one.wanted}") for one in inner.seen)
            return Answer(turned[inner.truth], tuple(seen))
    seen_one = _ask(check, facts, parameters)
    return Answer(seen_one.truth, (seen_one,))


def _joined(answers: Sequence[Answer], decides: Truth, otherwise: Truth) -> Answer:
    truths = [one.truth for one in answers]
    truth: Truth = decides if decides in truths else "unknown" if "unknown" in truths else otherwise
    return Answer(truth, tuple(seen for one in answers for seen in one.seen))


def _ask(check: Ask, facts: Facts, parameters: Mapping[str, JsonValue]) -> Seen:
    wanted = resolve(check.value, parameters)
    words = f"{check.word.replace('_', ' ')} {show(wanted)}"
    try:
        observed: Any = jmespath.search(check.fact, facts.tree(), _options(check, facts))
    except (JMESPathError, RecursionError) as exc:
        said = str(exc).splitlines()[0][:_SHOWN]
        known = _section(check.fact) not in facts.unknown
        why = f"{check.fact}: {said}" if known else _why_missing(check, facts)
        return Seen(check.fact, None, words, "unknown", why)
    if check.word == "present":
        return _of_presence(check, observed, wanted, facts)
    if observed is None:
        collected = _section(check.fact) in facts.tree()
        truth = check.missing if collected else "unknown"
        return Seen(check.fact, None, words, truth, _why_missing(check, facts))
    try:
        held = _COMPARE[check.word](observed, wanted)
    except _Uncomparable as exc:
        return Seen(check.fact, observed, words, "unknown", f"{check.fact} is {show(observed)}: {exc}")
    reason = "" if held else _difference(check, observed, wanted, words)
    return Seen(check.fact, observed, words, "yes" if held else "no", reason)


class _Moments(Functions):  # type: ignore[misc]  # jmespath has no types, and finds functions by their class
    """What checks may ask of moments, as seen when facts were collected."""

    def __init__(self, collected_s: float) -> None:
        self._collected_s = collected_s

    @signature({"types": ["number", "null"]})  # type: ignore[untyped-decorator]
    def _func_days_since(self, moment_s: float | None) -> float | None:
        return None if moment_s is None else (self._collected_s - moment_s) / _DAY_S


def _options(check: Ask, facts: Facts) -> jmespath.Options | None:
    if "days_since" not in check.fact:  # few ask for it, and a judge asks millions of questions
        return None
    return jmespath.Options(custom_functions=_Moments(facts.collected_at.timestamp()))


def _difference(check: Ask, observed: Any, wanted: Any, words: str) -> str:
    """Say what is not as wanted; of a list only what makes the difference."""
    match check.word:
        case "subset_of":
            return f"{check.fact} has {show([one for one in observed if not _among(one, wanted)])}"
        case "lacks":
            return f"{check.fact} has {show([one for one in wanted if _among(one, observed)])}"
        case "contains":
            return f"{check.fact} lacks {show([one for one in wanted if not _among(one, observed)])}"
    return f"{check.fact} is {show(observed)}, wanted: {words}"


def _of_presence(check: Ask, observed: JsonValue, wanted: JsonValue, facts: Facts) -> Seen:
    words = "is there" if wanted is True else "is not there"
    if observed is None and _section(check.fact) not in facts.tree():
        return Seen(check.fact, None, words, "unknown", _why_missing(check, facts))
    held = (observed is not None) == wanted
    return Seen(
        check.fact, observed, words, "yes" if held else "no", "" if held else f"{check.fact}: {words}"
    )


def _why_missing(check: Ask, facts: Facts) -> str:
    section = _section(check.fact)
    if section in facts.unknown:
        return f"{section} could not be read: {facts.unknown[section][:_SHOWN]}"
    return f"{check.fact} is not in the facts"


def _section(expression: str) -> str:
    found = re.search(r'"([^"]+)"|([A-Za-z_][A-Za-z0-9_]*)(?!\w*\()', expression)
    return "" if found is None else found[1] or found[2]


def resolve(value: JsonValue, parameters: Mapping[str, JsonValue]) -> JsonValue:
    """Put a parameter in the place of `$name`.

    Raises:
        ValueError: there is none of that name.
    """
    if not isinstance(value, str) or not value.startswith("$"):
        return value
    if value[1:] not in parameters:
        raise ValueError(f"{value} is no parameter of the control")
    return parameters[value[1:]]


def show(value: object) -> str:
    """Give a fact in a line, without signs that a terminal would act on, and not longer than people read."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=True)
    clean = "".join(sign if sign.isprintable() else "?" for sign in text[: _SHOWN + 1])
    return clean if len(clean) <= _SHOWN else f"{clean[:_SHOWN]}..."


# --- comparing ---------------------------------------------------------------------------------------


class _Uncomparable(ValueError):
    """A fact that is not of the kind that the word compares."""


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _Uncomparable("that is no number")
    try:
        number = float(value)
    except ValueError:
        raise _Uncomparable("that is no number") from None
    if number != number:
        raise _Uncomparable("that is no number")
    return number


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise _Uncomparable("that is no list")
    return value


def _same(first: object, second: object) -> bool:
    return (type(first) is type(second) and first == second) or _both_numbers(first, second)


def _both_numbers(first: object, second: object) -> bool:
    kinds = (first, second)
    if any(isinstance(one, bool) or not isinstance(one, int | float) for one in kinds):
        return False
    return first == second


def _alike(value: object, known: Sequence[object]) -> object:
    """Give a value of the kind of those it must not be; garbage is none of them, and proves nothing."""
    if not any(type(value) is type(one) for one in known):
        raise _Uncomparable("that is of another kind")
    return value


def _among(value: object, known: Iterable[object]) -> bool:
    return any(_same(value, one) for one in known)


def _covers(pattern: object, text: object) -> bool:
    if not isinstance(text, str):
        raise _Uncomparable("that is no text")
    if len(text) > LONGEST_TEXT:
        raise _Uncomparable(f"that is longer than {LONGEST_TEXT} characters")
    return re.fullmatch(str(pattern), text) is not None


def _is_empty(value: object) -> bool:
    if not isinstance(value, list | dict | str):
        raise _Uncomparable("that has no content")
    return not value


_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": _same,
    "ne": lambda observed, wanted: not _same(_alike(observed, [wanted]), wanted),
    "in": lambda observed, wanted: _among(observed, _list(wanted)),
    "not_in": lambda observed, wanted: not _among(_alike(observed, _list(wanted)), _list(wanted)),
    "at_most": lambda observed, wanted: _number(observed) <= _number(wanted),
    "at_least": lambda observed, wanted: _number(observed) >= _number(wanted),
    "matches": lambda observed, wanted: _covers(wanted, observed),
    "contains": lambda observed, wanted: all(_among(one, _list(observed)) for one in _list(wanted)),
    "lacks": lambda observed, wanted: not any(_among(one, _list(observed)) for one in _list(wanted)),
    "subset_of": lambda observed, wanted: all(_among(one, _list(wanted)) for one in _list(observed)),
    "empty": lambda observed, wanted: _is_empty(observed) == wanted,
}
