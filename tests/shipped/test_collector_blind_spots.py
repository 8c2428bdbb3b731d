"""What the collector must not overlook: each is a host that looked well and was not."""

import os
from pathlib import Path
from typing import Any

import pytest

from automation.shipped.collector import accounts, files

ROOT = ["root", "", "0", "0", "root", "/root", "/bin/bash"]
SHADOW = {"root": ["root", "!", "1", "0", "", "", "", "", ""]}


@pytest.mark.parametrize(
    ("field", "entry", "algorithm"),
    [("x", "none", ""), ("", "empty", ""), ("abJnggxhB/yWI", "set", "des"), ("*", "none", "")],
)
def test_a_password_that_stands_in_passwd_is_the_one_that_counts(
    field: str, entry: str, algorithm: str
) -> None:
    told = accounts.account([ROOT[0], field, *ROOT[2:]], SHADOW, 1000)
    assert (told["entry"], told["algorithm"]) == (entry, algorithm)


class Entry:
    """An entry of a folder that answers as a disk does, or does not."""

    def __init__(self, entry: Any, error: OSError) -> None:
        self.path, self._entry, self._error = entry.path, entry, error

    def stat(self, *, follow_symlinks: bool) -> os.stat_result:
        if self.path.endswith("odd"):
            raise self._error
        told: os.stat_result = self._entry.stat(follow_symlinks=follow_symlinks)
        return told


class Entries:
    """A folder whose odd entry comes first."""

    def __init__(self, folder: str, error: OSError) -> None:
        self._folder, self._error = folder, error

    def __enter__(self) -> list[Entry]:
        with SCAN(self._folder) as entries:
            every = sorted(entries, key=lambda one: not one.path.endswith("odd"))
        return [Entry(one, self._error) for one in every]

    def __exit__(self, *_: object) -> None:
        return None


SCAN = os.scandir


@pytest.mark.parametrize(
    ("error", "cut"), [(FileNotFoundError(), False), (OSError(5, "Input/output error"), True)], ids=str
)
def test_a_file_that_cannot_be_looked_at_hides_none_of_the_others(
    error: OSError, cut: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("odd", "open"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o666)
    monkeypatch.setattr(os, "scandir", lambda folder: Entries(folder, error))
    walk = files.Walk(until=float("inf"))
    walk.below(str(tmp_path))
    assert (walk.writable, walk.cut) == ([str(tmp_path / "open")], cut)


def test_the_root_of_a_disk_is_looked_at_too(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    walk = files.Walk(until=float("inf"))
    walk.below(str(tmp_path))
    assert walk.folders == [str(tmp_path)]


def test_keys_of_the_host_are_told_from_files_that_others_may_read(monkeypatch: pytest.MonkeyPatch) -> None:
    key, config = "/etc/ssh/ssh_host_rsa_key", "/etc/ssh/sshd_config"
    monkeypatch.setattr(files, "KEPT", (config, key))
    monkeypatch.setattr(files, "PATTERNS", ())
    monkeypatch.setattr(os.path, "exists", lambda _: True)
    monkeypatch.setattr(os, "stat", lambda _: os.lstat("/"))
    told = files.collect_files()
    assert {path: one["private"] for path, one in told.items()} == {config: False, key: True}


@pytest.mark.parametrize(
    ("files", "sessions"),
    [
        ({}, []),
        ({"/etc/pam.d/common-session": "session optional pam_umask.so\n"}, [("pam_umask", "022")]),
        ({"/etc/pam.d/common-session": "session optional pam_umask.so umask=027\n"}, [("pam_umask", "027")]),
        ({"/etc/pam.d/common-session": "# session optional pam_umask.so\n"}, []),
        ({"/etc/profile": "  [ -n x ] && umask 002; true\n"}, [("/etc/profile", "002")]),
        ({"/etc/bash.bashrc": "umask\t-S u=rwx,g=,o=\n"}, [("/etc/bash.bashrc", "u=rwx,g=,o=")]),
        ({"/etc/profile": "umask -S\n# umask 077\n"}, []),
    ],
    ids=[
        "nobody asks",
        "PAM asks",
        "by its argument",
        "commented",
        "on a condition",
        "in words",
        "only shown",
    ],
)
def test_a_umask_is_told_where_sessions_take_it_from(
    files: dict[str, str], sessions: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"/etc/login.defs": "UMASK\t\t022\n", **files}
    monkeypatch.setattr(accounts, "read_if_there", known.get)
    monkeypatch.setattr(accounts, "read", known.__getitem__)
    monkeypatch.setattr(accounts.glob, "glob", lambda pattern: [])
    told = accounts.collect_shells()["sessions"]
    assert [(one["by"], one["value"]) for one in told] == sessions
