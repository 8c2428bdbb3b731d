"""What is asked of facts: a small language of data, answered with yes, no or not known. Pure.

A check is a mapping. One that asks names a fact by a JMESPath expression and compares it by one word:

    {fact: sshd.effective.permitrootlogin, in: [no, prohibit-password]}
    {fact: 'sysctl.running."net.ipv4.ip_forward"', eq: "0"}
    {fact: "length(users[?uid == `0`])", at_most: 1}

Others join checks: `all`, `any`, `not`. A value that is written `$name` is the control's parameter of that
name. A fact that is not there is not known, unless `missing` says that it counts as yes or no in a section
that was collected; what is not known never becomes a yes by being joined.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Discriminator, Field, JsonValue, Tag, field_validator, model_validator

from automation.baseline.asking import Asker, NoAnswer, valid_expression
from automation.baseline.comparing import COMPARE, Known, Uncomparable, fault_of, unnamed
from automation.model.base import Model
from automation.model.facts import Facts

Truth = Literal["yes", "no", "unknown"]
_SHOWN = 200
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
    "named_by",
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
    named_by: JsonValue = Field(
        default=None, description="is a list like sshd:22 of which each stands here, whole or without its end"
    )
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
        is_name = isinstance(self.value, str) and self.value.startswith("$")
        if not is_name and (fault := fault_of(self.word, self.value)):
            raise ValueError(fault)
        return self

    @cached_property
    def word(self) -> str:
        """The word it compares by."""
        (name,) = self.model_fields_set - {"fact", "missing"}
        return name.rstrip("_")

    @cached_property
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


def asks_of(check: "Check") -> Iterator[Ask]:
    """Give every question of a check, whatever joins them."""
    match check:
        case All(all=parts) | Either(any=parts):
            for part in parts:
                yield from asks_of(part)
        case Not(not_=part):
            yield from asks_of(part)
        case Ask():
            yield check


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


class Ground(NamedTuple):
    """Facts, laid out once for all that is asked of them."""

    facts: Facts
    asker: Asker

    @property
    def sections(self) -> Mapping[str, JsonValue]:
        """What was collected."""
        return self.asker.tree


def lay_out(facts: Facts) -> Ground:
    """Make facts ready to be asked."""
    return Ground(facts, Asker(facts))


def answer(check: Check, ground: Ground, parameters: Mapping[str, JsonValue]) -> Answer:
    """Answer a check by facts.

    Args:
        parameters: what `$name` stands for.

    Raises:
        ValueError: the check names a parameter that there is not, or compares with what cannot be compared.
    """
    match check:
        case All(all=parts):
            return _joined([answer(part, ground, parameters) for part in parts], "no", "yes")
        case Either(any=parts):
            return _joined([answer(part, ground, parameters) for part in parts], "yes", "no")
        case Not(not_=part):
            inner = answer(part, ground, parameters)
            turned: Mapping[Truth, Truth] = {"yes": "no", "no": "yes", "unknown": "unknown"}
            seen = (one._replace(truth=turned[one.truth], wanted=f"not: {one.wanted}") for one in inner.seen)
            return Answer(turned[inner.truth], tuple(seen))
    seen_one = _ask(check, ground, parameters)
    return Answer(seen_one.truth, (seen_one,))


def _joined(answers: Sequence[Answer], decides: Truth, otherwise: Truth) -> Answer:
    truths = [one.truth for one in answers]
    truth: Truth = decides if decides in truths else "unknown" if "unknown" in truths else otherwise
    return Answer(truth, tuple(seen for one in answers for seen in one.seen))


def _ask(check: Ask, ground: Ground, parameters: Mapping[str, JsonValue]) -> Seen:
    wanted = resolve(check.value, parameters)
    words = f"{check.word.replace('_', ' ')} {show(wanted)}"
    try:
        observed = ground.asker.search(check.fact)
    except NoAnswer as exc:
        known = _section(check.fact) not in ground.facts.unknown
        why = f"{check.fact}: {show(str(exc))}" if known else _why_missing(check, ground)
        return Seen(check.fact, None, words, "unknown", why)
    if check.word == "present":
        return _of_presence(check, observed, wanted, ground)
    if observed is None:
        collected = _section(check.fact) in ground.sections
        truth = check.missing if collected else "unknown"
        return Seen(check.fact, None, words, truth, _why_missing(check, ground))
    try:
        held = COMPARE[check.word](observed, wanted)
    except Uncomparable as exc:
        return Seen(check.fact, observed, words, "unknown", f"{check.fact} is {show(observed)}: {exc}")
    reason = "" if held else _difference(check, observed, wanted, words)
    return Seen(check.fact, observed, words, "yes" if held else "no", reason)


def _difference(check: Ask, observed: Any, wanted: Any, words: str) -> str:
    """Say what is not as wanted; of a list only what makes the difference."""
    match check.word:
        case "subset_of":
            return f"{check.fact} has {show(Known(wanted).lacking(observed))}"
        case "named_by":
            return f"{check.fact} has {show(unnamed(observed, wanted))}"
        case "lacks":
            return f"{check.fact} has {show(Known(observed).having(wanted))}"
        case "contains":
            return f"{check.fact} lacks {show(Known(observed).lacking(wanted))}"
    return f"{check.fact} is {show(observed)}, wanted: {words}"


def _of_presence(check: Ask, observed: JsonValue, wanted: JsonValue, ground: Ground) -> Seen:
    words = "is there" if wanted is True else "is not there"
    if observed is None and _section(check.fact) not in ground.sections:
        return Seen(check.fact, None, words, "unknown", _why_missing(check, ground))
    held = (observed is not None) == wanted
    if held:
        return Seen(check.fact, observed, words, "yes")
    found = "is not there" if wanted is True else "is there"
    return Seen(check.fact, observed, words, "no", f"{check.fact} {found}, wanted: it {words}")


def _why_missing(check: Ask, ground: Ground) -> str:
    section, unknown = _section(check.fact), ground.facts.unknown
    for name in unknown:  # a section, or a part of one whose other parts are there
        if name == section or re.match(rf"{re.escape(name)}(?!\w)", check.fact):
            return f"{name} could not be read: {show(unknown[name])}"
    return f"{check.fact} is not in the facts"


@lru_cache(maxsize=4096)
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
    clean = text[: _SHOWN + 1]
    if not clean.isprintable():
        clean = "".join(sign if sign.isprintable() else "?" for sign in clean)
    return clean if len(clean) <= _SHOWN else f"{clean[:_SHOWN]}..."
