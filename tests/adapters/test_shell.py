"""Dialogues with the command lines of devices, which misbehave as devices do."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import pytest

from automation.adapters.devices.vendors import vendor_kind
from automation.adapters.ssh.shell import Shell
from automation.model.actions.devices import Vendor
from automation.model.errors import AdapterError
from automation.model.terminals import readable, unwiped
from tests.adapters.device_configs import IOS, JUNOS
from tests.adapters.talking_device import JUNOS_WIPE, Script, talking

SETTLE_S = 0.01
IOS_WHOLE = vendor_kind("cisco-ios").is_whole
SHOW = "show running-config"
IOS_SCRIPT = Script(prompt="gear#", answers={SHOW: IOS}, banner=b"\r\nStaff only.\r\n\r\n")
JUNOS_SCRIPT = Script(
    prompt="ops@gear> ",
    answers={"show configuration": JUNOS + b"\n"},
    banner=b"--- JUNOS 21.4R3 Kernel 64-bit\r\n",
    pager=b"---(more 45%)---",
    wipe=JUNOS_WIPE,
    unknown=b"                   ^\r\nunknown command.\r\n",
)


def ask(
    script: Script,
    line: str,
    *,
    vendor: Vendor = "cisco-ios",
    whole: Callable[[str], bool] | None = None,
    timeout_s: float = 5.0,
    enable: str | None = None,
    heard: list[str] | None = None,
) -> str:
    """Log in, ask once; `heard` gets what the device heard."""
    manners = vendor_kind(vendor).manners.model_copy(update={"settle_s": SETTLE_S})
    with talking(script) as (wire, hears):
        try:
            with closing(Shell.begin("gear", wire, manners, enable)) as shell:
                return shell.ask(line, whole=whole, timeout_s=timeout_s)
        finally:
            if heard is not None:
                heard += hears


def shown(content: bytes) -> str:
    return content.decode(errors="surrogateescape")


def test_an_answer_is_what_came_between_echo_and_prompt() -> None:
    heard: list[str] = []
    assert ask(IOS_SCRIPT, SHOW, heard=heard) == shown(IOS)
    assert heard == ["terminal length 0", "terminal width 511", SHOW]


@pytest.mark.parametrize(
    "script",
    [
        replace(IOS_SCRIPT, echoes=False),
        replace(IOS_SCRIPT, chunk_bytes=1),
        replace(IOS_SCRIPT, page_lines=24, turns_pager_off=False),
        replace(IOS_SCRIPT, page_lines=24, turns_pager_off=False, chunk_bytes=7),
    ],
    ids=["no echo", "byte by byte", "a pager that stays", "the same in pieces"],
)
def test_however_it_comes_the_answer_is_the_same(script: Script) -> None:
    assert ask(script, SHOW, whole=IOS_WHOLE) == shown(IOS)


def test_the_pager_of_junos_eats_no_indentation() -> None:
    script = replace(JUNOS_SCRIPT, page_lines=9, turns_pager_off=False)
    assert ask(script, "show configuration", vendor="junos") == shown(JUNOS + b"\n")


def test_a_prompt_in_the_text_is_not_believed_even_if_silence_follows() -> None:
    text = b"hostname gear\nbanner motd ^C\ngear#\n^C\nend\n"
    until_it = len(b"hostname gear\r\nbanner motd ^C\r\ngear#")
    script = Script(prompt="gear#", answers={SHOW: text}, chunk_bytes=until_it, pause_s=SETTLE_S * 5)
    assert ask(script, SHOW, whole=IOS_WHOLE) == shown(text)


def test_another_devices_prompt_ends_no_answer() -> None:
    text = b"hostname gear\nother#\nmore\n"
    until_it = len(b"hostname gear\r\nother#")
    script = Script(prompt="gear#", answers={SHOW: text}, chunk_bytes=until_it, pause_s=SETTLE_S * 5)
    assert ask(script, SHOW) == shown(text)


@pytest.mark.parametrize("cut", [5, 40, 400, 1200])
def test_a_connection_that_ends_in_the_middle_is_a_failure(cut: int) -> None:
    with pytest.raises(AdapterError, match="closed the connection") as told:
        ask(replace(IOS_SCRIPT, hangs_up_after=cut), SHOW, whole=IOS_WHOLE)
    assert told.value.transient


def test_an_answer_without_its_end_is_a_failure_that_shows_nothing_of_it() -> None:
    cut_off = IOS[: IOS.index(b"!\ntacacs server")]
    assert b"S3CRET" in cut_off
    with pytest.raises(AdapterError, match="no whole answer") as told:
        ask(replace(IOS_SCRIPT, answers={SHOW: cut_off}), SHOW, whole=IOS_WHOLE, timeout_s=0.1)
    assert "S3CRET" not in str(told.value)


def test_garbage_is_no_answer() -> None:
    script = replace(IOS_SCRIPT, answers={SHOW: bytes(range(128, 256)) * 40 + b"\n"})
    with pytest.raises(AdapterError, match="no whole answer"):
        ask(script, SHOW, whole=IOS_WHOLE, timeout_s=0.1)


@pytest.mark.parametrize(
    ("vendor", "script", "said"),
    [
        ("cisco-ios", replace(IOS_SCRIPT, answers={}), "% Invalid input"),
        ("junos", replace(JUNOS_SCRIPT, answers={}), "unknown command"),
        ("frr", Script(prompt="gear# ", unknown=b"% Unknown command: show all\r\n"), "% Unknown command"),
    ],
    ids=["cisco-ios", "junos", "frr"],
)
def test_what_a_device_refuses_is_told_at_once(vendor: Vendor, script: Script, said: str) -> None:
    with pytest.raises(AdapterError, match=f"gear refused `show all`: {said}"):
        ask(script, "show all", vendor=vendor, whole=lambda text: False, timeout_s=60.0)


def test_more_rights_are_asked_for_by_password() -> None:
    assert ask(replace(IOS_SCRIPT, enable="S3CRET"), SHOW, enable="S3CRET") == shown(IOS)


@pytest.mark.parametrize(("enable", "said"), [(None, "may not read"), ("wrong", "refused more rights")])
def test_without_the_rights_nothing_is_read(enable: str | None, said: str) -> None:
    heard: list[str] = []
    with pytest.raises(AdapterError, match=said):
        ask(replace(IOS_SCRIPT, enable="S3CRET"), SHOW, enable=enable, heard=heard)
    assert SHOW not in heard


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ("\x1b[?2004hgear# \x1b[1mbold\x1b[0m\r\n", "gear# bold\n"),
        ("\x1b]0;title\x07text\r\r\n", "text\n"),
        ("ab\x08\x08cd", "cd"),
        ("a long line\rshort", "shortg line"),
        ("plain\n", "plain\n"),
    ],
    ids=["escapes", "title", "backspaces", "return", "plain"],
)
def test_what_a_person_would_read(raw: str, read: str) -> None:
    assert readable(raw) == read


@pytest.mark.parametrize(
    "wipe",
    ["", "\r", "\r\x1b[K", "\r" + " " * 40 + "\r", "\x08" * 9 + " " * 8 + "\x08" * 9, "\x1b[2K\r"],
    ids=["nothing", "return", "return and erase", "blanks", "backspaces", "erase and return"],
)
def test_after_a_pager_a_lines_own_indentation_stays(wipe: str) -> None:
    assert unwiped(f"{wipe}    login {{\r\n") == "    login {\r\n"
