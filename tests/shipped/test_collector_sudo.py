"""What sudo's own programs say, and when they say nothing."""

import json
import subprocess
from typing import Any

import pytest

from automation.shipped.collector import privileges
from automation.shipped.collector.system import NotKnown


def collected(monkeypatch: pytest.MonkeyPatch, told: Any, code: int = 0) -> Any:
    """Collect where cvtsudoers says so."""

    def answered(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        said = ("", 0) if argv[0] == "visudo" else (json.dumps(told), code)
        return subprocess.CompletedProcess(argv, said[1], said[0], "no such option")

    monkeypatch.setattr(privileges, "is_here", lambda _: True)
    monkeypatch.setattr(privileges, "attempt", answered)
    monkeypatch.setattr("automation.shipped.collector.system.attempt", answered)
    return privileges.collect_sudo()


def test_rules_that_could_not_be_converted_are_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotKnown, match="cvtsudoers: exit code 1: no such option"):
        collected(monkeypatch, {}, code=1)


@pytest.mark.parametrize(
    ("binding", "who"),
    [
        (None, ["everyone by Defaults"]),
        ([{"username": "bob"}, {"usergroup": "wheel"}], ["%wheel", "bob"]),
        ([{"runasuser": "root"}], ["everyone by Defaults"]),
        ([{"hostname": "web"}], ["everyone by Defaults"]),
    ],
)
def test_defaults_are_for_those_whom_they_are_bound_to(
    binding: Any, who: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [{"use_pty": True}, {"authenticate": False}]
    bound = {"Binding": binding} if binding else {}
    told = collected(monkeypatch, {"Defaults": [{**bound, "Options": options}]})
    assert told["without_password"] == who
    assert told["defaults"] == ({} if binding else {"use_pty": True, "authenticate": False})
