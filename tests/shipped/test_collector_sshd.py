"""Whom a Match block means: sshd is asked for them, and of whom it cannot be asked nothing is said."""

import os
from pathlib import Path
from typing import Any

import pytest

from automation.shipped.collector import sshd


def test_of_more_match_blocks_than_sshd_is_asked_about_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = (told_of_match(tmp_path, monkeypatch, count) for count in (23, 24))
    assert (len(few["contexts"]), few["matches"]) == (24, 23)
    assert ("contexts" in many, many["matches"]) == (False, 24)


def told_of_match(folder: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> Any:
    lines = [f"Match User a{number}\n  PermitRootLogin yes\n" for number in range(count)]
    return told_of(folder, monkeypatch, "".join(lines))


def told_of(folder: Path, monkeypatch: pytest.MonkeyPatch, config: str) -> Any:
    """Collect of a configuration, with no sshd to ask."""
    main = folder / "sshd_config"
    main.write_text(config)
    monkeypatch.setattr(sshd, "is_here", lambda _: True)
    monkeypatch.setattr(os, "makedirs", lambda *_, **__: None)
    monkeypatch.setattr(sshd, "config_files", lambda: iter([str(main)]))
    monkeypatch.setattr(sshd, "effective", lambda words: {})
    monkeypatch.setattr(sshd, "is_stale", lambda _: False)
    monkeypatch.setattr(sshd, "host_key_types", lambda: iter(()))
    return sshd.collect_sshd()


@pytest.mark.parametrize(
    ("criteria", "known"),
    [
        ("Address 10.89.0.0/16", True),
        ("User nobody", True),
        ("User op*,!root", True),
        ("Group root", True),
        ("all", True),
        ("Address 10.*", False),
        ("Address 10.0.0.0/8,!10.0.0.1", False),
        ("Group ro*", False),
        ("Group of-the-directory", False),
        ("User bob Group of-the-directory", False),
        ("Host *.example", False),
        ("user=bob", False),
    ],
)
def test_nothing_is_said_of_those_for_whom_sshd_cannot_be_asked(
    criteria: str, known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = told_of(tmp_path, monkeypatch, f"Match {criteria}\n  PermitRootLogin yes\n")
    assert ("contexts" in told) is known


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("10.0.0.0/8", "10.0.0.1"),
        ("10.0.0.0/32", "10.0.0.0"),
        ("10.0.0.0", "10.0.0.0"),
        ("fd00::/8", "fd00::1"),
    ],
)
def test_the_address_that_is_asked_for_is_one_of_the_range(network: str, address: str) -> None:
    assert sshd.first_of(network) == address


PLAIN = "# Match User root\nInclude /etc/ssh/sshd_config.d/*.conf\n  PermitRootLogin no\n"


@pytest.mark.parametrize(
    ("config", "for_all"),
    [
        (PLAIN, True),
        (f"{PLAIN}Match User bob\n  Banner none\n", False),
        (f'{PLAIN}"MATCH" user root\n  PermitRootLogin yes\n', False),
        ('Include "/etc/ssh/some where/*"\n', False),
        ("include=/etc/ssh/other\n", False),
        ("Include /etc/ssh/a#b.conf\n", False),
    ],
    ids=[
        "none",
        "a block",
        "one that we would not see",
        "a quoted file",
        "by a sign",
        "a name that we would cut",
    ],
)
def test_sshd_is_asked_for_root_alone_unless_nothing_can_be_for_some_people_alone(
    config: str, for_all: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, asked = tmp_path / "sshd_config", []
    main.write_text(config)

    def answered(words: list[str]) -> dict[str, Any]:
        asked.append(words)
        return {"permitrootlogin": "yes" if words else "no"}

    monkeypatch.setattr(sshd, "effective", answered)
    general = answered([]) if sshd.is_for_all([str(main)]) else None
    (root,) = sshd.contexts([("root", "192.0.2.1")], general)
    assert asked == ([[]] if for_all else [["-C", "user=root,host=192.0.2.1,addr=192.0.2.1"]])
    assert (root["user"], root["permitrootlogin"]) == ("root", "no" if for_all else "yes")
