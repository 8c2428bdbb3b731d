"""Single lines of files of keys and values: set where they are, with all else as it was."""

import pytest
from ansible.module_utils.baseline.drafts import Key, get_key, set_key

LOGIN = "# UMASK is a mask\nPASS_MAX_DAYS\t99999\nUMASK\t\t022\nHOME_MODE 0700\n"
EQUALS = Key("minlen", " = ")
JOURNAL = Key("Storage", "=", "Journal")


@pytest.mark.parametrize(
    ("text", "key", "value", "wanted"),
    [
        (LOGIN, Key("UMASK"), "027", LOGIN.replace("UMASK\t\t022", "UMASK 027")),
        (LOGIN, Key("UMASK"), "022", LOGIN),
        ("# minlen = 8\n\ndcredit = 0\n", EQUALS, "14", "# minlen = 8\nminlen = 14\n\ndcredit = 0\n"),
        ("minlen=8\nx = 1\nminlen = 9\n", EQUALS, "14", "minlen = 14\nx = 1\nminlen = 14\n"),
        ("minlength = 3\n", EQUALS, "14", "minlength = 3\nminlen = 14\n"),
        ("no line feed", EQUALS, "14", "no line feed\nminlen = 14\n"),
        ("", EQUALS, "14", "minlen = 14\n"),
        ("", JOURNAL, "persistent", "[Journal]\nStorage=persistent\n"),
        (
            "[Other]\nStorage=x\n\n[Journal]\nSeal=yes\n\n[Last]\nA=1\n",
            JOURNAL,
            "persistent",
            "[Other]\nStorage=x\n\n[Journal]\nSeal=yes\nStorage=persistent\n\n[Last]\nA=1\n",
        ),
        ("[Journal]\n#Storage=auto\nA=1\n", JOURNAL, "none", "[Journal]\n#Storage=auto\nStorage=none\nA=1\n"),
        (
            "# even_deny_root\ndeny = 3\n",
            Key("even_deny_root", " = "),
            "",
            "# even_deny_root\neven_deny_root\ndeny = 3\n",
        ),
        ("permitrootlogin yes\n", Key("PermitRootLogin", any_case=True), "no", "PermitRootLogin no\n"),
        ("umask 022\n", Key("UMASK"), "027", "umask 022\nUMASK 027\n"),
    ],
    ids=[
        "in its place",
        "as it is already",
        "below the example",
        "every line of it",
        "a longer name is another",
        "a file without a last line feed",
        "an empty file",
        "a section that is missing",
        "in its own section alone",
        "below the example in its section",
        "a word without a value",
        "of sshd in any case",
        "elsewhere case counts",
    ],
)
def test_a_key_gets_its_value_and_all_else_stays(text: str, key: Key, value: str, wanted: str) -> None:
    once = set_key(text, key, value)
    assert once == wanted
    assert set_key(once, key, value) == once
    assert get_key(once, key) == value


def test_a_key_that_only_a_comment_has_is_not_set() -> None:
    assert get_key("#minlen = 8\n; minlen = 9\n", EQUALS) is None
