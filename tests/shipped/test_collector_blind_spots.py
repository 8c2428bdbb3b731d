"""What the collector must not overlook: each is a host that looked well and was not."""

import pytest

from automation.shipped.collector import accounts

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
