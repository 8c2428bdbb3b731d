"""What the collector must not overlook: each is a host that looked well and was not."""

import glob
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from automation.shipped.collector import accounts, files, logs

ROOT = ["root", "", "0", "0", "root", "/root", "/bin/bash"]
SHADOW = {"root": ["root", "!", "1", "0", "", "", "", "", ""]}
# Of base-files 12.4+deb12u11, as far as it has blocks.
DEBIANS_PROFILE = """
if [ "$(id -u)" -eq 0 ]; then
  PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
else
  PATH="/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
fi
export PATH
if [ "${PS1-}" ]; then
  if [ "${BASH-}" ] && [ "$BASH" != "/bin/sh" ]; then
    if [ -f /etc/bash.bashrc ]; then
      . /etc/bash.bashrc
    fi
  else
    if [ "$(id -u)" -eq 0 ]; then
      PS1='# '
    else
      PS1='$ '
    fi
  fi
fi
if [ -d /etc/profile.d ]; then
  for i in /etc/profile.d/*.sh; do
    if [ -r $i ]; then
      . $i
    fi
  done
  unset i
fi
"""


@pytest.fixture
def shells(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], dict[str, Any]]:
    """Collect of a host that has these files, and a umask of 022 in login.defs."""

    def collect(files: dict[str, str]) -> dict[str, Any]:
        known = {"/etc/login.defs": "UMASK\t\t022\n", **files}
        monkeypatch.setattr(accounts, "read_if_there", known.get)
        monkeypatch.setattr(accounts, "read", known.__getitem__)
        return accounts.collect_shells()

    monkeypatch.setattr(glob, "glob", lambda pattern: [])
    return collect


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
    ("written", "kept"),
    [
        ({}, False),
        ({"/var/log/journal/m1/system.journal": 7.0}, True),
        ({"/var/log/journal/m1/system.journal": 7.0, "/run/log/journal/m1/system.journal": 8.0}, False),
        ({"/var/log/journal/m1/system.journal": 7.0, "/run/log/journal/m1/system.journal": 6.0}, True),
        ({"/var/log/journal/m2/system.journal": 7.0}, False),
    ],
    ids=["nothing", "on the disk", "since then in memory", "since then on the disk", "of another machine"],
)
def test_a_journal_is_kept_where_journald_writes_to_the_disk(
    written: dict[str, float], kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def getmtime(path: str) -> float:
        if path not in written:
            raise FileNotFoundError(path)
        return written[path]

    monkeypatch.setattr(os.path, "getmtime", getmtime)
    monkeypatch.setattr(logs, "read_if_there", lambda _: "m1\n")
    assert logs.journal_is_on_disk() is kept


@pytest.mark.parametrize(
    ("files", "sessions"),
    [
        ({}, []),
        ({"/etc/pam.d/common-session": "session optional pam_umask.so\n"}, [("pam_umask", "022", True)]),
        (
            {"/etc/pam.d/common-session": "session optional pam_umask.so umask=027\n"},
            [("pam_umask", "027", True)],
        ),
        ({"/etc/pam.d/common-session": "# session optional pam_umask.so\n"}, []),
        ({"/etc/profile": "  [ -n x ] && umask 002; true\n"}, [("/etc/profile", "002", False)]),
        ({"/etc/bash.bashrc": "umask\t-S u=rwx,g=,o=\n"}, [("/etc/bash.bashrc", "u=rwx,g=,o=", False)]),
        ({"/etc/profile": "umask -S\n# umask 077\n"}, []),
        ({"/etc/profile": "key=$(umask 077)"}, [("/etc/profile", "077", False)]),
    ],
    ids=[
        "nobody asks",
        "PAM asks",
        "by its argument",
        "commented",
        "on a condition",
        "in words",
        "only shown",
        "in brackets",
    ],
)
def test_a_umask_is_told_where_sessions_take_it_from(
    files: dict[str, str], sessions: list[tuple[str, str, bool]], shells: Any
) -> None:
    told = shells(files)["sessions"]
    assert [(one["by"], one["value"], one["sure"]) for one in told] == sessions


@pytest.mark.parametrize(
    ("text", "sure"),
    [
        ("umask 027", True),
        ("  umask -S 027;  # of the city", True),
        (DEBIANS_PROFILE + "umask 027", True),
        ("pathmunge () {\n  PATH=$1:$PATH\n}\numask 027", True),
        ("echo 'it is \\' # in { \"if (\"\n[ $# = ${x#y} ] # don't\numask 027", True),
        ("(umask 077; touch x)", False),
        ("(\n  umask 077\n  touch x\n)", False),
        ("key=$(\n  umask 077\n  mktemp\n)", False),
        ("private() {\n  umask 077\n}", False),
        ("private()\n{\n  umask 077\n}", False),
        ("if [ $UID -ge 1000 ]; then\n  umask 077\nfi", False),
        ("if a; then b; fi; if c; then\n  umask 077\nfi", False),
        ("for x in a b\ndo\n  umask 077\ndone", False),
        ("case $USER in\n  ana)\n  umask 077\n  ;;\nesac", False),
        ("[ $UID = 0 ] ||\n  umask 077", False),
        ("[ $UID = 0 ] && \\\n  umask 077", False),
        ('[ -z "$PS1" ] && return\numask 077', False),
        ("cat <<END\numask 077\nEND", False),
        ("echo '\numask 077\n'", False),
        ("echo umask 077", False),
        ("umask 077 | cat", False),
        ("umask 077 && touch x", False),
    ],
)
def test_a_umask_is_sure_where_every_login_shell_comes_by_it(text: str, sure: bool, shells: Any) -> None:
    told = shells({"/etc/profile": text})
    (one,) = told["sessions"]
    assert (one["sure"], [each["value"] for each in told["umasks"]]) == (sure, [one["value"]])


def test_a_umask_that_stands_in_a_file_of_pam_is_one_that_people_wrote(shells: Any) -> None:
    told = shells({"/etc/pam.d/common-session": "session optional pam_umask.so umask=022\n"})
    assert told["umasks"] == [{"file": "/etc/pam.d/common-session", "value": "022"}]
    assert shells({"/etc/pam.d/common-session": "session optional pam_umask.so\n"})["umasks"] == []
