"""The collector of facts: what it makes of files and answers, and that one section never costs another."""

import base64
import json
import os
import socket
import subprocess
import sys
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any

import pytest

from automation.adapters import collector as adapter
from automation.shipped.collector import accounts, files, kernel, network, privileges, software, sshd
from automation.shipped.collector.__main__ import collect, options
from automation.shipped.collector.system import NotKnown, attempt

SHIPPED = Path(accounts.__file__).parents[1]


def test_a_section_that_fails_says_why_and_what_it_read_is_no_part_of_it() -> None:
    def absent() -> object:
        raise NotKnown("sshd is not here")

    def broken() -> object:
        return int("the hash of a password")

    told: Any = collect({"one": lambda: [1], "two": absent, "three": broken})
    assert told["sections"] == {"one": [1]}
    assert told["unknown"]["two"] == "sshd is not here"
    assert told["unknown"]["three"].startswith("the collector failed: ValueError at test_collector.py:")
    assert "hash" not in json.dumps(told)


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("", ("empty", "")),
        ("*", ("none", "")),
        ("!", ("none", "")),
        ("!!", ("none", "")),
        ("$y$j9T$abc$def", ("set", "yescrypt")),
        ("!$6$abc$def", ("locked", "sha512")),
        ("abJnggxhB/yWI", ("set", "des")),
        ("$1$abc$def", ("set", "md5")),
        ("$zz$abc", ("set", "other")),
    ],
)
def test_of_a_password_only_its_kind_is_told(field: str, told: tuple[str, str]) -> None:
    assert accounts.password(field) == told


def test_a_key_is_told_by_its_fingerprint(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    argv = ["ssh-keygen", "-l", "-f", tmp_path / "key.pub"]
    shown = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()[1]
    public = (tmp_path / "key.pub").read_text()
    text = f'# ours\n\n{public}command="a b",no-pty {public}ssh-ed25519 !!!\nnonsense\n'
    told = list(accounts.keys(text))
    assert [one["fingerprint"] for one in told] == [shown, shown, "", ""]
    assert [one["restricted"] for one in told] == [False, True, False, False]
    assert told[3]["type"] == "unreadable"


def test_match_blocks_are_found_in_what_is_included(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("Match User bob,!root Address 10.0.0.0/8\n  PermitRootLogin yes\n")
    main = tmp_path / "sshd_config"
    main.write_text(f"Port 22\ninclude {tmp_path}/*.conf\nMatch all\n")
    found = list(sshd.config_files(str(main)))
    assert found == [str(main), str(tmp_path / "a.conf")]
    assert list(sshd.conditions(found[1])) == [{"user": "bob,!root", "address": "10.0.0.0/8"}]
    assert ("bob", "10.0.0.1") in sshd.asked(found)
    assert ("root", "10.0.0.1") in sshd.asked(found)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Match User bob", ("match", "User bob")),
        ("PERMITROOTLOGIN=no", ("permitrootlogin", "no")),
        ("Include\t/etc/x", ("include", "/etc/x")),
        ("UsePAM = yes", ("usepam", "yes")),
        ("Broken", ("broken", "")),
    ],
)
def test_a_line_is_split_as_sshd_does(line: str, told: tuple[str, str]) -> None:
    assert sshd.keyword(line) == told


def test_a_configuration_that_includes_itself_is_read_once(tmp_path: Path) -> None:
    main = tmp_path / "sshd_config"
    main.write_text(f"Include {main}\nPort 22\n")
    assert list(sshd.config_files(str(main))) == [str(main)]


def test_kernels_are_sorted_as_people_count() -> None:
    names = ["6.1.0-10-amd64", "6.1.0-9-amd64", "6.2.0-1-amd64"]
    assert sorted(names, key=kernel.natural) == [names[1], names[0], names[2]]


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("net.ipv4.ip_forward", "net.ipv4.ip_forward"),
        ("net/ipv4/ip_forward", "net.ipv4.ip_forward"),
        ("-net.ipv4.conf.all.rp_filter ", "net.ipv4.conf.all.rp_filter"),
        ("net/ipv4/conf/eth0.1/rp_filter", "net.ipv4.conf.eth0/1.rp_filter"),
    ],
)
def test_a_kernel_setting_is_read_in_each_spelling(written: str, key: str) -> None:
    assert kernel.dotted(written) == key


def test_an_address_is_read_as_the_kernel_writes_it() -> None:
    assert network.endpoint("0100007F:0016") == ("127.0.0.1", 22)
    assert network.endpoint("00000000000000000000000001000000:01BB") == ("::1", 443)


def test_who_needs_no_password_is_found_in_rules_and_in_defaults() -> None:
    told = {
        "Defaults": [{"Options": [{"authenticate": False}]}],
        "User_Specs": [
            {
                "User_List": [{"username": "ops"}, {"usergroup": "wheel"}],
                "Cmnd_Specs": [{"Options": [{"authenticate": False}], "Commands": [{"command": "ALL"}]}],
            },
            {"User_List": [{"username": "bob"}], "Cmnd_Specs": [{"Commands": [{"command": "/bin/ls"}]}]},
        ],
    }
    assert list(privileges.without_password(told)) == ["ops", "%wheel", "everyone by Defaults"]
    assert list(privileges.everything(told)) == ["ops", "%wheel"]


def test_one_walk_finds_what_is_loose_and_does_not_follow_links(tmp_path: Path) -> None:
    for name, mode in (("suid", 0o4755), ("open", 0o666), ("fine", 0o644)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder").chmod(0o777)
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    (tmp_path / "link").symlink_to("open")
    walk = files.Walk(until=float("inf"))
    walk.below(str(tmp_path))
    assert walk.suid == [str(tmp_path / "suid")]
    assert walk.writable == [str(tmp_path / "open")]
    assert walk.folders == [str(tmp_path / "folder")]
    assert (walk.files, walk.cut) == (7, False)


def test_a_walk_that_was_cut_short_says_so(tmp_path: Path) -> None:
    walk = files.Walk(until=0.0)
    walk.below(str(tmp_path))
    assert walk.cut


def test_it_runs_alone_and_says_what_it_could_not_read() -> None:
    """As it is shipped: by a bare Python, on whatever machine this is."""
    argv = [sys.executable, "-I", "-S", "-c", f"import sys, runpy; sys.path.insert(0, {str(SHIPPED)!r}); "]
    argv[-1] += "sys.argv = ['collector', '--walk-s', '0', '--only', 'os', 'accounts', 'sshd', 'tree']; "
    argv[-1] += "runpy.run_module('collector', run_name='__main__')"
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    told = json.loads(done.stdout)
    assert told["sections"]["os"]["kernel"] == os.uname().release
    assert {"os", "accounts", "sshd", "tree"} == {*told["sections"], *told["unknown"]}
    assert all(told["unknown"].values())


@pytest.mark.parametrize("magic", [MAGIC_NUMBER, b"\0\0\r\n"], ids=["of our version", "of another"])
def test_it_runs_from_memory_whatever_version_it_was_compiled_by(
    magic: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "MAGIC_NUMBER", magic)
    adapter._packed.cache_clear()
    sent = base64.b64encode(adapter._packed(compiled=True))
    adapter._packed.cache_clear()
    argv = [sys.executable, "-I", "-S", "-c", adapter._BEGIN, "--only", "os", "accounts"]
    done = subprocess.run(argv, input=sent, check=True, capture_output=True)
    assert json.loads(done.stdout)["sections"].keys() == {"os", "accounts"}


def test_every_host_is_spared_what_a_collector_need_not_import() -> None:
    """Each of these costs a host more than most sections do."""
    spared = {"argparse", "configparser", "inspect", "runpy", "shutil", "traceback", "typing"}
    said = f"import sys; sys.path.insert(0, {str(SHIPPED)!r}); import collector.__main__; print(*sys.modules)"
    argv = [sys.executable, "-I", "-S", "-c", said]
    loaded = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    assert "collector.files" in loaded
    assert spared.isdisjoint(loaded)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ([], (20.0, [])),
        (["--walk-s", "1.5"], (1.5, [])),
        (["--only", "os", "sshd"], (20.0, ["os", "sshd"])),
        (["--walk-s", "0", "--only", "tree"], (0.0, ["tree"])),
    ],
)
def test_what_is_asked_of_it_is_read(words: list[str], meant: tuple[float, list[str]]) -> None:
    assert options(words) == meant


def test_what_it_does_not_know_of_it_does_not_do() -> None:
    with pytest.raises(SystemExit, match="--walk is no option"):
        options(["--walk", "1"])


def test_a_program_may_say_more_than_a_pipe_holds_on_both_streams() -> None:
    many = "head -c 300000 /dev/zero | tr '\\0'"
    said = f"{many} x; {many} y >&2; printf '\\377'; exit 3"
    done = attempt(["sh", "-c", said])
    assert (done.returncode, done.stdout, done.stderr) == (3, "x" * 300_000 + "\ufffd", "y" * 300_000)


def test_a_program_that_does_not_end_is_not_known() -> None:
    with pytest.raises(NotKnown, match="sleep did not end in 0 s"):
        attempt(["sleep", "60"], patience_s=0.05)


def test_the_program_that_holds_a_port_is_named() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as ours,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        other.bind(("127.0.0.1", 0))
        ports = {ours.getsockname()[1]: "tcp", other.getsockname()[1]: "udp"}
        told = {one["port"]: one for one in network.collect_listeners() if one["port"] in ports}
    name = Path("/proc/self/comm").read_text().strip()
    assert {port: (one["protocol"], one["program"], one["local"]) for port, one in told.items()} == {
        port: (protocol, name, True) for port, protocol in ports.items()
    }


def test_programs_that_share_a_port_and_an_address_are_all_named_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [f"{n}: 00000000:0050 00000000:0000 0A 0:0 0:0 0 0 0 {inode}" for n, inode in enumerate((7, 8, 9))]
    table = "\n".join(["sl", *rows])
    monkeypatch.setattr(network, "read_if_there", lambda path: table if path.endswith("/tcp") else None)
    monkeypatch.setattr(network, "programs", lambda inodes: {"7": "nc", "8": "nginx", "9": "nginx"})
    told = [(one["address"], one["port"], one["program"]) for one in network.collect_listeners()]
    assert told == [("0.0.0.0", 80, "nc"), ("0.0.0.0", 80, "nginx")]


def test_a_file_that_a_program_closes_meanwhile_hides_no_socket_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = os.listdir
    monkeypatch.setattr(os, "listdir", lambda where: ["999999", *there(where)])
    with socket.create_server(("127.0.0.1", 0)) as ours:
        assert f"socket:[{os.fstat(ours.fileno()).st_ino}]" in set(network.open_files(os.getpid()))


def test_a_program_that_ends_meanwhile_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(where: int) -> list[str]:
        raise ProcessLookupError

    monkeypatch.setattr(os, "listdir", ended)
    assert list(network.open_files(os.getpid())) == []


def test_what_would_be_upgraded_is_read_of_the_versions_above_the_installed_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(software, "run", lambda *_, **__: POLICY)
    assert dict(software.candidates(["apt", "bash", "curl", "held", "gone"])) == {
        "apt": ["bookworm-security/main"],
        "curl": ["bookworm/main", "bookworm-updates/main"],
    }


POLICY = """\
apt:
  Installed: 2.6.1
  Candidate: 2.6.2
  Version table:
     2.6.2 500
        500 http://packages.example/debian-security bookworm-security/main amd64 Packages
 *** 2.6.1 500
        500 http://packages.example/debian bookworm/main amd64 Packages
        100 /var/lib/dpkg/status
bash:
  Installed: 5.2.15
  Candidate: 5.2.15
  Version table:
 *** 5.2.15 500
        500 http://packages.example/debian-security bookworm-security/main amd64 Packages
        100 /var/lib/dpkg/status
curl:i386:
  Installed: 7.88.1
  Candidate: 7.88.2+b1
  Version table:
     7.99.0 100
        100 http://packages.example/debian bookworm-backports/main i386 Packages
     7.88.2+b1 500
        500 http://packages.example/debian bookworm/main i386 Packages
        500 http://packages.example/debian bookworm-updates/main i386 Packages
 *** 7.88.1 100
        100 /var/lib/dpkg/status
held:
  Installed: 2.0
  Candidate: 1.0
  Version table:
 *** 2.0 100
        100 /var/lib/dpkg/status
     1.0 1001
        500 http://packages.example/debian-security bookworm-security/main amd64 Packages
gone:
  Installed: 1.0
  Candidate: (none)
  Version table:
 *** 1.0 100
        100 /var/lib/dpkg/status
"""


def test_settings_of_the_kernel_are_what_sysctl_says() -> None:
    read = dict(kernel.in_effect())
    assert len(read) > 30
    argv = ["sysctl", "-e", *(name for name in read if not name.endswith("stable_secret"))]
    said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    told = dict(
        line.split(" = ", 1) if " = " in line else (line.rstrip(" ="), "") for line in said.splitlines()
    )
    assert {name: value.strip() for name, value in told.items()} == {name: read[name] for name in told}
