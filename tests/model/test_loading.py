"""Faulty YAML: every fault is shown together, each with file, line and key."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.model.base import Model, format_duration, parse_duration_s
from automation.model.errors import ConfigError
from automation.model.loading import load_model


class Sample(Model):
    """A model with something to get wrong."""

    name: str
    sizes: tuple[int, ...] = ()


def load(tmp_path: Path, text: str | bytes) -> Sample:
    path = tmp_path / "sample.yml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_model(path, Sample)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        pytest.param("name: a\nnmae: b\n", 2, "nmae", id="unknown key"),
        pytest.param("name: a\nname: b\n", 2, "twice", id="duplicate key"),
        pytest.param("name: a\nsizes:\n  - 1\n  - big\n", 4, "sizes.1", id="wrong type"),
        pytest.param("name: a\n\tsizes: 1\n", 2, "syntax", id="tab"),
        pytest.param("sizes: []\n", 1, "name", id="missing key"),
        pytest.param("", 1, "empty", id="empty"),
        pytest.param("- a\n", 1, "mapping", id="list"),
        pytest.param(b"name: a\nsizes: \xff\n", 2, "UTF-8", id="not UTF-8"),
        pytest.param("name: " + "[" * 60 + "]" * 60 + "\n", 1, "nested", id="deep nesting"),
    ],
)
def test_a_fault_names_line_and_key(tmp_path: Path, text: str | bytes, line: int, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert caught.value.problems[0].line == line
    assert words in str(caught.value)


def test_all_faults_are_shown_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "nmae: a\nsizes: [x, y]\n")
    assert len(caught.value.problems) == 4


def test_an_alias_bomb_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automation.model.loading.MAX_ALIASED", 20_000)
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
    with pytest.raises(ConfigError, match="aliases"):
        load(tmp_path, "a0: &a0 [x]\n" + levels)


@given(st.text(max_size=200))
def test_any_text_loads_or_is_refused_clearly(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    with contextlib.suppress(ConfigError):  # any other exception is a traceback for the user
        load(folder, text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    ("words", "seconds"), [("300 ms", 0.3), ("30 s", 30), ("15min", 900), ("4 h", 14400), ("2 d", 172800)]
)
def test_durations_are_words(words: str, seconds: float) -> None:
    assert parse_duration_s(words) == pytest.approx(seconds)


@pytest.mark.parametrize("words", ["15m", "1 week", "", "-5 s", "five s"])
def test_a_doubtful_duration_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration_s(words)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.524, "0.52 s"), (41.26, "41.3 s"), (725, "12 min 05 s"), (15000, "4 h 10 min")]
)
def test_durations_are_printed_as_people_say_them(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words
