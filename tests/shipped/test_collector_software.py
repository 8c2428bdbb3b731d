"""How fresh the lists of packages are, and which sources are not signed."""

import glob
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from automation.shipped.collector import software
from automation.shipped.collector.system import NotKnown


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """Forget what apt said: a collector asks it once."""
    yield
    software.settings.cache_clear()


@pytest.mark.parametrize(
    ("ages", "told"),
    [
        ({"deb_dists_bookworm_InRelease": 0}, None),
        ({"deb_dists_bookworm_InRelease": 0, "deb_dists_bookworm-security_InRelease": 9}, 9.0),
        ({"a_dists_bookworm-security_InRelease": 1, "b_dists_bookworm-security_Release": 30}, 30.0),
        ({"deb_dists_bookworm_InRelease": 90, "deb_dists_bookworm-security_InRelease": 1}, 1.0),
    ],
)
def test_lists_are_as_old_as_the_oldest_that_tells_of_security(
    ages: dict[str, int], told: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, days in ages.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, time.time() - days * 86400))
    monkeypatch.setattr(software, "LISTS", f"{tmp_path}/*Release")
    monkeypatch.setattr(software, "installed", list)
    monkeypatch.setattr(software, "periodic", dict)
    assert software.collect_updates()["lists_age_days"] == told


@pytest.mark.parametrize(
    ("line", "unsigned"),
    [
        ("deb [trusted=yes] http://a b main", True),
        ("deb\t[ arch=amd64\tTrusted = YES ] http://a b main", True),
        ("deb [trusted=true] http://a b main", True),
        ("deb [allow-insecure=yes] http://a b main", True),
        ("deb [trusted=no signed-by=/yes.gpg] http://a b main", False),
        ("deb http://a b main", False),
    ],
)
def test_a_line_that_takes_unsigned_packages_is_found_in_each_spelling(line: str, unsigned: bool) -> None:
    (told,) = software.one_line_sources("x.list", f"# ours\n{line}\ndeb-src http://a b main\n")
    assert (told["address"], told["unsigned_accepted"]) == ("http://a", unsigned)


@pytest.mark.parametrize(
    ("lines", "unsigned"),
    [("TRUSTED:\tYes", True), ("Trusted: 1", True), ("Allow-Insecure: yes", True), ("Trusted: no", False)],
)
def test_a_block_that_takes_unsigned_packages_is_found_in_each_spelling(lines: str, unsigned: bool) -> None:
    text = f"Types: deb\nuris:\n http://a\n http://b\n{lines}\n \nTypes: deb\nURIs: http://c\n"
    told = [(one["address"], one["unsigned_accepted"]) for one in software.block_sources("x", text)]
    assert told == [("http://a", unsigned), ("http://b", unsigned), ("http://c", False)]


def test_where_apt_takes_unsigned_packages_everywhere_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "APT::Get::allowunauthenticated=True\nAcquire::AllowInsecureRepositories=0\n"
    monkeypatch.setattr(software, "run", lambda _: said)
    monkeypatch.setattr(
        software, "read_if_there", lambda path: "deb http://a b main" if path[-1] == "t" else ""
    )
    monkeypatch.setattr(glob, "glob", lambda _: [])
    told = [(one["file"], one["unsigned_accepted"]) for one in software.collect_sources()]
    assert told == [
        ("/etc/apt/sources.list", False),
        ("apt.conf: APT::Get::allowunauthenticated", True),
    ]


def test_a_host_without_sources_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "read_if_there", lambda _: None)
    monkeypatch.setattr(glob, "glob", lambda _: [])
    with pytest.raises(NotKnown, match="no source"):
        software.collect_sources()


def test_apt_is_asked_once_for_its_settings_in_whatever_case_they_are_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def answered(argv: list[str]) -> str:
        asked.append(argv)
        return (
            "APT::Periodic=\napt::periodic::Unattended-Upgrade=1\nAPT::Periodical=no\n"
            "APT::Get::AllowUnauthenticated=0\nacquire::AllowInsecureRepositories= True\n"
        )

    monkeypatch.setattr(software, "run", answered)
    assert software.periodic() == {"apt::periodic::Unattended-Upgrade": "1"}
    assert list(software.unsigned_everywhere()) == ["acquire::AllowInsecureRepositories"]
    assert len(asked) == 1


@pytest.mark.parametrize("said", ["", "apt:\n  Installiert: 2.6.1\n"], ids=["nothing", "in another language"])
def test_where_apt_tells_no_versions_it_is_not_said_that_nothing_is_pending(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(software, "run", lambda *_, **__: said)
    with pytest.raises(NotKnown, match="no version"):
        list(software.candidates(["apt"]))
    assert list(software.candidates([])) == []
