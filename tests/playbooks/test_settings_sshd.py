"""What sshd would do, as far as it can be told without one: who is let in, and which files it reads first."""

from pathlib import Path

import pytest
from ansible.module_utils.baseline import sshd
from ansible.module_utils.baseline.drafts import Drafts, Refused

from tests.playbooks.folder import Folder

OPS = sshd.Login("ops", "10.1.2.3")
OPEN = {"pubkeyauthentication": ("yes",), "authenticationmethods": ("any",), "permitrootlogin": ("no",)}


@pytest.mark.parametrize(
    ("effective", "keeps_out"),
    [
        ({}, ""),
        ({"allowusers": ("nobody-at-all",)}, "allowusers"),
        ({"allowusers": ("eve", "op?")}, ""),
        ({"allowusers": ("ops@10.1.*",)}, ""),
        ({"allowusers": ("ops@10.1.2.0/24",)}, ""),
        ({"allowusers": ("ops@10.1.2.1/24",)}, "allowusers"),
        ({"allowusers": ("ops@!10.1.2.3,10.*",)}, "allowusers"),
        ({"allowusers": ("ops@gate.example",)}, "allowusers"),
        ({"allowusers": ("OPS",)}, "allowusers"),
        ({"allowusers": ("o[p]s",)}, "allowusers"),
        ({"denyusers": ("*@10.1.2.3",), "allowusers": ("ops",)}, "denyusers"),
        ({"denyusers": ("ops@192.0.2.*",)}, ""),
        ({"allowgroups": ("wheel", "adm*")}, ""),
        ({"allowgroups": ("sudo",)}, "allowgroups"),
        ({"denygroups": ("ops",), "allowgroups": ("ops",)}, "denygroups"),
        ({"pubkeyauthentication": ("no",)}, "pubkeyauthentication"),
        ({"authenticationmethods": ("publickey,password password",)}, "authenticationmethods"),
        ({"authenticationmethods": ("publickey,password publickey",)}, ""),
        ({"authorizedkeysfile": ("none",)}, "authorizedkeysfile"),
        ({"authorizedkeysfile": ("none",), "authorizedkeyscommand": ("/usr/bin/keys",)}, ""),
        ({"forcecommand": ("internal-sftp",)}, "forcecommand"),
        ({"permitrootlogin": ("no",)}, ""),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(f"{k} {v[0]}" for k, v in value.items()),
)
def test_who_would_be_kept_out_is_told_with_the_rule_that_does_it(
    effective: dict[str, tuple[str, ...]], keeps_out: str
) -> None:
    why = sshd.lets_in({**OPEN, **effective}, OPS, ["ops", "admins"])
    assert why.partition(" ")[0] == keeps_out


@pytest.mark.parametrize(
    ("permits", "in_"), [("no", False), ("forced-commands-only", False), ("without-password", True)]
)
def test_root_is_let_in_with_a_key_unless_sshd_says_otherwise(permits: str, in_: bool) -> None:
    why = sshd.lets_in({**OPEN, "permitrootlogin": (permits,)}, sshd.Login("root", "10.1.2.3"), ["root"])
    assert (why == "") is in_


@pytest.mark.parametrize(
    ("main", "first"),
    [
        ("# words\n\nInclude /etc/ssh/sshd_config.d/*.conf\nPermitRootLogin yes\n", True),
        ("include sshd_config.d/*.conf\n", True),
        ("Include /etc/ssh/none/*.conf\nInclude = /etc/ssh/sshd_config.d/*.conf\n", True),
        ("PermitRootLogin yes\nInclude /etc/ssh/sshd_config.d/*.conf\n", False),
        ("Include /etc/ssh/sshd_config.d/50-*.conf /etc/ssh/sshd_config.d/*.conf\n", False),
        ("PermitRootLogin yes\n", False),
    ],
    ids=[
        "Debian's",
        "relative, in lower case",
        "after an empty one",
        "too late",
        "after a file",
        "not at all",
    ],
)
def test_a_drop_in_counts_only_where_it_is_read_before_all_else(host: Folder, main: str, first: bool) -> None:
    host.write(sshd.MAIN, main)
    host.write("/etc/ssh/sshd_config.d/50-cloud.conf", "PermitRootLogin yes\n")
    drafts = Drafts(host)
    drafts.write(sshd.DROP_IN, b"PermitRootLogin no\n")
    assert sshd.read_first(drafts) is first


def test_a_copy_of_the_tree_holds_the_drafts_and_reads_nothing_of_the_real_one(
    host: Folder, tmp_path: Path
) -> None:
    host.write(
        sshd.MAIN,
        'Include "/etc/ssh/sshd_config.d/*.conf"\nMatch User eve\n  Include rules/eve\nX11Forwarding no\n',
    )
    host.write("/etc/ssh/sshd_config.d/50-a.conf", "Port 22\n")
    host.write("/etc/ssh/sshd_config.d/.hidden.conf", "Port 1\n")
    host.write("/etc/ssh/rules/eve", "ForceCommand true\n")
    drafts = Drafts(host)
    drafts.write(sshd.DROP_IN, b"PermitRootLogin no\n")
    with sshd.tree(host, drafts) as folder:
        lines = (folder / "etc/ssh/sshd_config").read_text().split("\n")
        copies = [f"{folder}{sshd.DROP_IN}", f"{folder}/etc/ssh/sshd_config.d/50-a.conf"]
        assert lines == [
            f"Include {' '.join(copies)}",
            "Match User eve",
            f"Include {folder}/etc/ssh/rules/eve",
            "X11Forwarding no",
            "",
        ]
        assert Path(copies[0]).read_text() == "PermitRootLogin no\n"
    assert not folder.exists()


def test_files_that_include_each_other_end_in_words(host: Folder) -> None:
    host.write(sshd.MAIN, "Include /etc/ssh/other\n")
    host.write("/etc/ssh/other", "Include /etc/ssh/sshd_config\n")
    with pytest.raises(Refused, match="16 files deep"), sshd.tree(host, Drafts(host)):
        pass
