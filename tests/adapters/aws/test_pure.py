"""Marks, tokens, clocks, console output and quotas: what needs no AWS."""

from datetime import UTC, datetime, timedelta

import pytest

from automation.adapters.aws.hostkeys import read_key
from automation.adapters.aws.looking import fit
from automation.adapters.aws.marks import (
    DISKS,
    Marks,
    adopted_marks,
    disk_marks,
    disk_names,
    others,
    tags_of,
    token,
    with_disk,
)
from automation.adapters.aws.session import parse_login, skew_s
from automation.adapters.aws.vpcs import around
from automation.model.errors import AdapterError
from automation.model.servers import Disk

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAOWn7DTn+8Lh3ghm32pyEpMJAsY2Qy7gTS0hJdOaFdE"
ECDSA = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBMRm3q+xk9h7"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMoZc0n6v0gLr3cEoVg7Cqk3kS3cG1k6Dm0Xr0mE8b9F"
BEGIN, END = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"


def block(*keys: str, start: str = "") -> str:
    return "\r\n".join([BEGIN, *(f"{start}{key} root@web-1" for key in keys), END])


# --- tokens and marks ---------------------------------------------------------------------------------


def test_a_token_is_the_same_for_the_same_step_and_no_other() -> None:
    told = {token("run", "step", "web-1"), token("run", "step", "web-2"), token("run", "ste", "pweb-1")}
    assert token("run", "step", "web-1") in told
    assert len(told) == 3
    assert {len(one) for one in told} == {64}  # the most that EC2 takes


def test_what_is_read_of_tags_leaves_our_own_out() -> None:
    tags = Marks("city", "web-1", "run").tags({"team": "portal", "mainstay:disks": "data"})
    assert others(tags_of({"Tags": tags}) | {"aws:cloudformation:stack": "x"}) == {"team": "portal"}


def test_a_name_that_people_gave_is_kept() -> None:
    assert others({"Name": "old portal"}) == {"Name": "old portal"}


def test_disks_are_named_by_their_devices() -> None:
    disks = [Disk(name=name, size_bytes=2**30) for name in ("data", "wal")]
    assert disk_names(disk_marks("db-1", disks)) == {"/dev/sdf": "data", "/dev/sdg": "wal"}
    assert disk_names({}) == {}


def test_disks_of_an_adopted_server_are_named_with_their_devices_and_further_ones_follow() -> None:
    tags = adopted_marks("db-1", {"/dev/sdb": "data", "/dev/xvdc": "wal"})
    assert disk_names(tags) == {"/dev/sdb": "data", "/dev/xvdc": "wal"}
    more = {DISKS: with_disk(tags, "more", "/dev/sdf")}
    assert disk_names(more) == {**disk_names(tags), "/dev/sdf": "more"}
    assert with_disk({DISKS: "data"}, "wal", "/dev/sdg") == "data,wal"
    with pytest.raises(AdapterError, match="nothing was changed"):
        adopted_marks("db-1", {f"/dev/sd{letter}": letter * 60 for letter in "bcdef"})


@pytest.mark.parametrize(
    "names", [[f"d{number}" for number in range(12)], ["x" * 63] * 5], ids=["too many", "too long"]
)
def test_disks_that_ec2_cannot_take_are_refused(names: list[str]) -> None:
    with pytest.raises(AdapterError, match="nothing was changed"):
        disk_marks("db-1", [Disk(name=name, size_bytes=2**30) for name in names])


# --- host keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("console", "key"),
    [
        ("", None),
        (f"{ED25519} root@web-1", None),
        (f"{BEGIN}\r\n{ED25519} root", None),
        (block(ECDSA, ED25519), ED25519),
        (f"boot\r\n{block(ED25519)}\r\nlogin:", ED25519),
        (block(ED25519, start="[   12.3] cloud-init[512]: "), ED25519),
        (block(ED25519) + block(ED25519), ED25519),
        (block(ECDSA), ECDSA),
    ],
    ids=["nothing", "outside", "not ended", "newest kind", "among others", "with a start", "twice", "ecdsa"],
)
def test_a_key_counts_only_between_the_marks(console: str, key: str | None) -> None:
    assert read_key(console, "web-1") == key


def test_two_different_keys_are_trusted_neither() -> None:
    with pytest.raises(AdapterError, match="different host keys"):
        read_key(block(ED25519) + block(OTHER), "web-1")


# --- the rest -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ahead_s", "told_s"), [(0.0, 0.0), (-0.9, 0.0), (-301.0, -300.0), (300.0, 300.0)])
def test_clocks_differ_by_what_is_certain(ahead_s: float, told_s: float) -> None:
    assert skew_s(NOON + timedelta(seconds=ahead_s), NOON) == told_s


def test_a_login_is_read_as_a_shell_would() -> None:
    text = "# of the city\nexport AWS_ACCESS_KEY_ID='AKIA'\nAWS_SECRET_ACCESS_KEY=a=b\nEMPTY=\n"
    assert parse_login(text) == {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "a=b"}


@pytest.mark.parametrize(
    ("needs", "room", "fitting"), [([2, 2, 8], 4, 2), ([8], 4, 0), ([], 0, 0), ([2, 2], 4, 2)]
)
def test_what_fits_into_a_quota(needs: list[float], room: float, fitting: int) -> None:
    assert fit(needs, room) == fitting


@pytest.mark.parametrize(
    ("cidr", "block_"), [("10.20.1.0/24", "10.20.0.0/16"), ("10.0.0.0/16", "10.0.0.0/16")]
)
def test_a_vpc_has_room_for_neighbours(cidr: str, block_: str) -> None:
    assert around(cidr) == block_
