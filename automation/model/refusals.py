"""Say in words, with what to do, why a model refused values that people wrote. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

Where = tuple[str | int, ...]

LISTED = 12
COMPARED = 200
_WANTED = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "dict_type": "must be a mapping, key: value",
    "mapping_type": "must be a mapping, key: value",
    "model_type": "must be a mapping, key: value",
    "model_attributes_type": "must be a mapping, key: value",
    "tuple_type": "must be a list; write [a, b]",
    "list_type": "must be a list; write [a, b]",
    "date_type": "must be a date such as 2026-12-31",
    "date_parsing": "must be a date such as 2026-12-31",
    "date_from_datetime_parsing": "must be a date such as 2026-12-31",
    "path_type": "must be a path",
}


class Fault(NamedTuple):
    """One refused value: the path of its key, and why."""

    where: Where
    message: str


def explain(model: type[BaseModel], exc: ValidationError) -> tuple[Fault, ...]:
    """Give every fault once, in the order the model found them, with keys as people wrote them."""
    said: dict[Where, list[str]] = {}
    for error in exc.errors(include_url=False):
        where, message = _fault(model, error)
        messages = said.setdefault(where, [])
        if message not in messages:
            messages.append(message)
    return tuple(Fault(where, "; or ".join(messages)) for where, messages in said.items())


def near(name: str, known: Sequence[str]) -> str:
    """Suggest what was meant: the nearest known name, else what is known, if that is short."""
    found = get_close_matches(name, _alike(name, known), n=1)
    if found:
        return f"did you mean {found[0]}?"
    if not known:
        return "none is declared"
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return f"known: {', '.join(sorted(known)[:LISTED])}{more}"


def _alike(name: str, known: Sequence[str]) -> Sequence[str]:
    """Take few of many names, those that begin or end alike: comparing all of 10,000 takes 0.2 s."""
    if len(known) <= COMPARED:
        return known
    alike = (one for one in known if one[:3] == name[:3] or one[-3:] == name[-3:])
    return [one for one in alike if abs(len(one) - len(name)) <= 3][:COMPARED]


def shorten(text: str) -> str:
    """Cut a text that would fill a screen."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def _fault(model: type[BaseModel], error: Mapping[str, Any]) -> Fault:
    path, fields, described = _walk(model, error["loc"])
    kind, given, ctx = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return Fault(path, f"unknown key; {near(str(path[-1]), fields)}")
    if kind == "missing":
        return Fault(path, f"is missing; add it{described}")
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        expected = str(ctx.get("expected_tags", "")).replace("'", "").split(", ")
        key = str(ctx["discriminator"]).strip("'")
        if kind == "union_tag_not_found":
            return Fault((*path, key), f"is missing; {near('', expected) if expected[0] else 'add it'}")
        return Fault((*path, key), f"{shorten(str(ctx['tag']))!r} is none; {near(str(ctx['tag']), expected)}")
    return Fault(path, _message(kind, given, ctx, error["msg"]) + described)


def _message(kind: str, given: object, ctx: Mapping[str, Any], said: str) -> str:
    if kind in _WANTED:
        return f"{_WANTED[kind]}; {_is(given, kind)}"
    if kind == "literal_error":
        return f"must be one of {ctx['expected']}; {_is(given, kind)}"
    if kind == "string_pattern_mismatch":
        return f"does not have the form {ctx['pattern']}"
    if kind in ("too_short", "string_too_short"):
        return f"needs at least {ctx.get('min_length')}; it has {ctx.get('actual_length', 'fewer')}"
    return said.removeprefix("Value error, ").removeprefix("Input ")


def _is(given: object, kind: str) -> str:
    quote = "; quote it" if kind == "string_type" else ""
    if given is None:
        return "it is empty"
    if isinstance(given, bool):
        return f"it is read as {'true' if given else 'false'}{quote}"
    if isinstance(given, int | float):
        return f"it is a number{quote}"
    if isinstance(given, str):
        return "it is text"
    return "it is a list" if isinstance(given, list | tuple) else "it is a mapping"


def _walk(model: Any, loc: Where) -> tuple[Where, tuple[str, ...], str]:
    """Follow a location: give the keys alone, the fields known beside the last, and what that is for.

    Pydantic puts the tag or the type of a union's member into a location; people wrote no such key.
    """
    here: Any = model
    path: list[str | int] = []
    fields: dict[str, FieldInfo] = {}
    field: FieldInfo | None = None
    for part in loc:
        here = _plain(here)
        if get_origin(here) in (Union, UnionType):
            here = _member(here, part)
            if here is not None:
                continue
        if part == "[key]":
            continue
        fields = _fields(here)
        field = fields.get(str(part), field)
        path.append(part)
        here = fields[part].annotation if part in fields else _child(here, part)
    described = f" ({field.description})" if field and field.description else ""
    return tuple(path), tuple(fields), described


def _plain(here: Any) -> Any:
    """Take off Annotated, and a union with None."""
    while get_origin(here) is Annotated:
        here = get_args(here)[0]
    if get_origin(here) in (Union, UnionType):
        members = [member for member in get_args(here) if member is not type(None)]
        return _plain(members[0]) if len(members) == 1 else here
    return here


def _member(union: Any, part: str | int) -> Any:
    """Give the member of a union that a part of a location stands for."""
    for member in map(_plain, get_args(union)):
        if isinstance(member, type) and issubclass(member, BaseModel):
            tags = [get_args(f.annotation) for f in member.model_fields.values()]
            if (part,) in tags or part == member.__name__:
                return member
        elif isinstance(part, str) and part.split("[")[0] in _spellings(member):
            return member
    return None


def _spellings(member: Any) -> Iterator[str]:
    yield str(getattr(member, "__name__", ""))
    if get_origin(member) is Literal:
        yield "literal"
    elif get_origin(member) is not None:
        yield str(getattr(get_origin(member), "__name__", ""))
    yield from {"str": ("string",), "int": ("integer",)}.get(getattr(member, "__name__", ""), ())


def _fields(here: Any) -> dict[str, FieldInfo]:
    if isinstance(here, type) and issubclass(here, BaseModel):
        return {info.alias or name: info for name, info in here.model_fields.items()}
    return {}


def _child(here: Any, part: str | int) -> Any:
    """Give the type of what a mapping or a list holds."""
    arguments = get_args(here)
    if not arguments:
        return None
    return arguments[-1] if isinstance(part, str) else arguments[0]
