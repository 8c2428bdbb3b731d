"""Whatever a file holds, reading it gives a model or an error that says where; never anything else."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from automation.model.catalog import Catalog, read_catalog
from automation.model.environment import Environment
from automation.model.errors import ConfigError
from automation.model.loading import load_model, read_document
from automation.recovery.spec import RecoveryPlan

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = {
    Catalog: REPOSITORY / "inventories/lab/services.yml",
    Environment: REPOSITORY / "inventories/lab/environment.yml",
    RecoveryPlan: REPOSITORY / "drtests/plans/city.yml",
}
TEXTS = {model: path.read_text() for model, path in SOURCES.items()}
PIECES = (
    *("&a ", "*a", "!!python/none ", "<<: ", "? ", ": ", "- ", "[", "]", "{", "}", "|\n", ">\n", "'", '"'),
    *("\t", "\n", "\r", "---\n", "...\n", "%YAML 1.2\n", "#", "!", "@", "`", "\\", "\0", "\ufeff", "\u2028"),
    *("yes", "~", ".nan", "1:30", "0x1f", "9" * 400, "1e999", "2026-01-01", "password: x", "-----BEGIN"),
    *("rto: 1 h\n", "  depends_on: [payments]\n", "\ud7ff", "\U0010ffff", "=", "<<", "null", "é"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@settings(deadline=None)
@given(st.binary(max_size=300))
@example(b"\xef\xbb\xbf")
@example(b"a: &a [*a]")
@example(b"? {}\n: 1")
@example(b"? &k v\n: *k")
@example(b"a: !<tag:yaml.org,2002:int> x")
@example(b"%TAG ! tag:x,2000:\n---\n!a b: c")
def test_any_bytes_are_read_or_refused(folder: Path, data: bytes) -> None:
    path = folder / "any.yml"
    path.write_bytes(data)
    for problem in read_document(path).problems:
        assert problem.file == str(path)
        assert 1 <= problem.line <= data.count(b"\n") + data.count(b"\r") + 2
        assert problem.message


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=30).map("".join))
def test_signs_of_yaml_in_any_order_are_read_or_refused(folder: Path, text: str) -> None:
    path = folder / "signs.yml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(ConfigError):
        load_model(path, RecoveryPlan)
    read_catalog(path)


@settings(deadline=None)
@given(st.data())
@pytest.mark.parametrize("model", SOURCES, ids=lambda model: model.__name__)
def test_a_valid_file_with_anything_changed_is_read_or_refused(
    folder: Path, model: type[Catalog | Environment | RecoveryPlan], data: st.DataObject
) -> None:
    text = TEXTS[model]
    for _ in range(data.draw(st.integers(1, 3))):
        begin = data.draw(st.integers(0, len(text)))
        end = min(len(text), begin + data.draw(st.integers(0, 30)))
        text = (
            text[:begin] + data.draw(st.sampled_from(PIECES) | st.just("") | st.text(max_size=3)) + text[end:]
        )
    path = folder / "changed.yml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    known = {"name": "fuzz", "folder": folder} if model is Environment else {}
    with contextlib.suppress(ConfigError):
        load_model(path, model, **known)
    if model is Catalog:
        read_catalog(path)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    )
)
def test_any_value_under_a_service_is_explained(folder: Path, value: object) -> None:
    path = folder / "value.yml"
    path.write_text('{"sites": {}, "services": {"x": ' + json.dumps(value) + "}}")
    files = read_catalog(path)
    assert files.problems
    assert all(problem.line == 1 for problem in files.problems)
