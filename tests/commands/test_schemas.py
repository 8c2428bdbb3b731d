"""Schemas for editors: as the models are, with a word for every key, and true of the files that are there."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from automation.commands._command import ROOT
from automation.commands._schemas import FILES, make_schemas, write_schemas
from automation.commands.dev import SCHEMAS
from automation.model.loading import read_document

each_kind = pytest.mark.parametrize("kind", FILES)


@pytest.fixture(scope="module")
def schemas() -> dict[str, dict[str, Any]]:
    return {name.removesuffix(".json"): json.loads(text) for name, text in make_schemas().items()}


def test_the_schemas_of_the_checkout_are_those_of_the_models() -> None:
    kept = {path.name: path.read_text() for path in SCHEMAS.glob("*.json")}
    assert kept == make_schemas(), "./inv dev.schemas writes them anew"


@each_kind
def test_every_key_that_people_write_says_what_it_is(kind: str, schemas: dict[str, dict[str, Any]]) -> None:
    silent = [
        f"{name}.{key}"
        for name, part in written_parts(schemas[kind]).items()
        for key, field in part.get("properties", {}).items()
        if not field.get("description")
    ]
    assert silent == []


def written_parts(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The mappings of a file; a step's actions, and what only they hold, are described by their classes."""
    found = {"": schema}
    open_ = [{**schema, "$defs": {}}]
    while open_:
        for ref in references(open_.pop()):
            name = ref.removeprefix("#/$defs/")
            part = schema["$defs"][name]
            if name not in found and "do" not in part.get("properties", {}):
                found[name] = part
                open_.append(part)
    return found


def references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_durations_and_sizes_are_words_of_a_pattern(schemas: dict[str, dict[str, Any]]) -> None:
    parts = schemas["services"]["$defs"]
    rto = parts["Service"]["properties"]["rto"]
    lag = parts["PostgresqlStandby"]["properties"]["max_lag"]
    assert [option["type"] for option in rto["anyOf"]] == ["string", "number"]
    assert "min" in rto["anyOf"][0]["pattern"]
    assert "MiB" in lag["anyOf"][0]["pattern"]


@each_kind
def test_a_key_that_comes_from_the_files_place_is_not_asked_for(
    kind: str, schemas: dict[str, dict[str, Any]]
) -> None:
    schema = schemas[kind]
    assert not set(FILES[kind].known) & (set(schema["properties"]) | set(schema["required"]))
    assert schema["additionalProperties"] is False


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    assert len(write_schemas(tmp_path)) == len(FILES)
    (tmp_path / "plan.json").write_text("{}")
    assert write_schemas(tmp_path) == (tmp_path / "plan.json",)


def written_files() -> Iterator[tuple[str, Path]]:
    """Every file of the checkout that people wrote, with its kind."""
    for folder in (path.parent for path in ROOT.glob("inventories/*/environment.yml")):
        yield "environment", folder / "environment.yml"
        yield "services", folder / "services.yml"
        yield from (("services", path) for path in sorted((folder / "services").glob("*.yml")))
        yield from (("backups", path) for path in sorted(folder.glob("backups.yml")))
        yield from (("networks", path) for path in sorted(folder.glob("networks.yml")))
    for kind in ("plan", "drill", "tabletop"):
        yield from ((kind, path) for path in sorted(ROOT.glob(f"drtests/{kind}s/*.yml")))


@pytest.mark.parametrize(
    ("kind", "path"), tuple(written_files()), ids=lambda word: word.name if isinstance(word, Path) else word
)
def test_an_editor_finds_no_fault_in_what_mainstay_reads(
    kind: str, path: Path, schemas: dict[str, dict[str, Any]]
) -> None:
    jsonschema.validate(dict(read_document(path).require()), schemas[kind])


def test_an_editor_sees_a_wrong_key_and_a_wrong_duration(schemas: dict[str, dict[str, Any]]) -> None:
    tree = json.loads(json.dumps(read_document(ROOT / "inventories/lab/services.yml").require()))
    for key, value in (("teir", 1), ("rto", "soon")):
        wrong = json.loads(json.dumps(tree))
        wrong["services"]["payments"][key] = value
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schemas["services"])
