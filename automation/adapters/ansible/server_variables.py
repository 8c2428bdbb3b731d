"""What the inventory's variables server_* say of a server that a provider of ours makes. Pure."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import ValidationError

from automation.model.refusals import explain
from automation.model.servers import ProviderKind, ServerSpec

PROVIDERS = get_args(ProviderKind)
_READ = ("image", "size", "disks", "networks", "address", "tags", "cloud_init")
_KNOWN = (*_READ, "provider", "site", "on_demand")
# What is as near as this to a variable of ours, and is none, was meant to be it.
_MEANT = 0.85


def read_spec(
    name: str, variables: Mapping[str, Any], *, site: str, groups: tuple[str, ...]
) -> ServerSpec | None:
    """Give what a server is to be; None where no provider of ours makes it.

    Raises:
        ValueError: names every variable that is wrong, and why.
    """
    if variables.get("server_provider") not in PROVIDERS:
        return None
    problems = [*_misspelt(variables), *_templates(variables)]
    given = {key: variables[f"server_{key}"] for key in _READ if variables.get(f"server_{key}") is not None}
    if isinstance(given.get("size"), str):
        given["size"] = {"type": given["size"]}
    known = {"name": name, "provider": variables["server_provider"], "site": site, "groups": groups}
    try:
        spec = ServerSpec.model_validate({**given, **known})
    except ValidationError as exc:
        problems += [_words(fault.where, fault.message) for fault in explain(ServerSpec, exc)]
    if problems:
        raise ValueError("; ".join(problems))
    return spec


def _words(where: tuple[str | int, ...], message: str) -> str:
    key = ".".join(map(str, where)) or "spec"
    return f"server_{key}: {message}" if key != "name" else f"its name: {message}"


def _misspelt(variables: Mapping[str, Any]) -> Iterator[str]:
    """Variables that are nearly ours; any other of the city's own may begin with server_ as well."""
    for variable in sorted(variables):
        key = variable.removeprefix("server_")
        if key != variable and key not in _KNOWN:
            for meant in get_close_matches(key, _KNOWN, n=1, cutoff=_MEANT):
                yield f"{variable}: unknown; did you mean server_{meant}?"


def _templates(variables: Mapping[str, Any]) -> Iterator[str]:
    for key in _READ:
        if "{{" in str(variables.get(f"server_{key}", "")):
            yield f"server_{key}: is a template; give it as it is"
