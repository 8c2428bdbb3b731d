"""Which keys are pinned for a host: those that the whole of known_hosts would give; no other is parsed."""

from pathlib import Path

import paramiko
import pytest

from automation.adapters.ssh import _pin
from automation.model.environment import Server

KEYS = [paramiko.ECDSAKey.generate() for _ in range(3)]
FIRST, SECOND, THIRD = (f"{key.get_name()} {key.get_base64()}" for key in KEYS)
KNOWN = f"""\
# 10.0.0.9 {FIRST}

10.0.0.1,city-web {FIRST} of ops\tand others
10.0.0.1 {SECOND}
  10.0.0.10 {SECOND}
10.0.0.1,10.0.0.11 {FIRST}
[10.0.0.1]:2222 {THIRD}
{paramiko.HostKeys.hash_host("10.0.0.12")} {THIRD}
fd00::1\t{FIRST}
broken
"""
NAMES = ["10.0.0.1", "city-web", "10.0.0.10", "10.0.0.11", "10.0.0.12", "10.0.0.9", "fd00::1"]


@pytest.mark.parametrize("port", [22, 2222])
@pytest.mark.parametrize("address", NAMES)
def test_a_host_has_the_keys_that_the_whole_file_gives_it(address: str, port: int, tmp_path: Path) -> None:
    name = address if port == 22 else f"[{address}]:{port}"
    (tmp_path / "known_hosts").write_text(KNOWN)
    whole = paramiko.HostKeys(str(tmp_path / "known_hosts")).lookup(name)
    ours = pinned(tmp_path / "known_hosts", address, port).lookup(name)
    assert (ours and {kind: key.get_base64() for kind, key in ours.items()}) == (
        whole and {kind: key.get_base64() for kind, key in whole.items()}
    )
    assert (whole is not None) is (name in {"[10.0.0.1]:2222", *NAMES[:5], NAMES[6]})


def test_of_two_keys_of_one_kind_the_first_counts(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").write_text(KNOWN)
    told = pinned(tmp_path / "known_hosts", "10.0.0.1", 22).lookup("10.0.0.1")
    assert told is not None
    assert told[KEYS[0].get_name()] == KEYS[0]


def test_lines_of_others_are_not_even_parsed(tmp_path: Path) -> None:
    """Nor does one of them that is broken keep anybody from logging in elsewhere."""
    (tmp_path / "known_hosts").write_bytes(b"other ssh-ed25519 A\n\xff\n" + f"10.0.0.2 {FIRST}\n".encode())
    assert pinned(tmp_path / "known_hosts", "10.0.0.2", 22).keys() == ["10.0.0.2"]


def test_a_file_that_is_not_there_pins_nothing_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        pinned(tmp_path / "known_hosts", "10.0.0.1", 22)


def pinned(known_hosts: Path, address: str, port: int) -> paramiko.HostKeys:
    client = paramiko.SSHClient()
    _pin(client, known_hosts, Server(name="web", address=address, port=port))
    return client.get_host_keys()
