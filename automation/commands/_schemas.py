"""JSON Schemas of the files that people write, for their editors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from automation.backups.spec import Backups
from automation.baseline.settings import Baseline
from automation.baseline.waivers import Exceptions
from automation.model.base import Model
from automation.model.catalog import Catalog
from automation.model.environment import Environment
from automation.provisioning.spec import Networks
from automation.recovery.spec import Drill, RecoveryPlan
from automation.recovery.tabletop import Tabletop

DIALECT = "https://json-schema.org/draft/2020-12/schema"  # pydantic's


class Written(NamedTuple):
    """A kind of file: its model, and the keys that come from its place and not from its text."""

    model: type[Model]
    known: tuple[str, ...] = ()


FILES: Mapping[str, Written] = {
    "environment": Written(Environment, ("name", "folder")),
    "services": Written(Catalog),
    "backups": Written(Backups),
    "baseline": Written(Baseline),
    "waivers": Written(Exceptions),
    "networks": Written(Networks),
    "plan": Written(RecoveryPlan),
    "drill": Written(Drill, ("name",)),
    "tabletop": Written(Tabletop, ("name",)),
}


def make_schemas() -> dict[str, str]:
    """Give the text of every schema, by file name."""
    return {f"{kind}.json": _text(kind, written) for kind, written in FILES.items()}


def write_schemas(folder: Path) -> tuple[Path, ...]:
    """Write every schema; give the files that were not like that already."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for name, text in make_schemas().items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return tuple(changed)


def _text(kind: str, written: Written) -> str:
    schema: dict[str, Any] = {"required": []} | written.model.model_json_schema(mode="validation")
    for key in written.known:
        schema["properties"].pop(key)
        schema["required"] = [name for name in schema["required"] if name != key]
    for part in (schema, *schema.get("$defs", {}).values()):
        for field in part.get("properties", {}).values():
            field.pop("title", None)  # pydantic makes it of the field's name, which editors show anyway
    whole = {
        "$schema": DIALECT,
        "$comment": "made by ./inv dev.schemas",
        **schema,
        "title": f"Mainstay {kind}",
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"
