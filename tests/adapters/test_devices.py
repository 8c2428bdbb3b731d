"""Configurations: what is whole, what only looks changed, and how secrets leave them and come back."""

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.adapters.devices.secrets import (
    DoNotFit,
    Secrets,
    as_bytes,
    put_together,
    read_secrets,
    split,
    written,
)
from automation.adapters.devices.vendors import vendor_kind
from automation.model.actions.devices import WITH_CHECKER, Vendor
from tests.adapters.device_configs import ALL

each_vendor = pytest.mark.parametrize("vendor", ALL)


def configuration(vendor: Vendor) -> str:
    return vendor_kind(vendor).configuration(ALL[vendor].decode(errors="surrogateescape"))


@each_vendor
def test_no_secret_stays_and_every_byte_comes_back(vendor: Vendor) -> None:
    text = configuration(vendor)
    apart = split(text, vendor_kind(vendor).hidden, {})
    assert "S3CRET" not in apart.text
    assert "S3CRET" not in repr(apart.secrets)
    assert text.count("S3CRET") == sum(value.count("S3CRET") for value in apart.secrets.values.values())
    back = read_secrets(written(apart.secrets))
    assert as_bytes(put_together(apart.text, back)) == as_bytes(text)


@each_vendor
def test_what_is_no_secret_stays(vendor: Vendor) -> None:
    before = configuration(vendor).split("\n")
    after = split(configuration(vendor), vendor_kind(vendor).hidden, {}).text.split("\n")
    hidden = [line for line, now in zip(before, after, strict=True) if line != now]
    # The one line too many: a description that speaks of a password.
    assert [line for line in hidden if "S3CRET" not in line] == [
        line for line in before if "description the password is kept" in line
    ]


LINES = st.sampled_from(
    [
        "password S3CRET",
        "enable secret 9 <secret-1>",
        " neighbor 10.0.0.2 password 7 a b ",
        "<secret-2>",
        "<secret-<secret-1>>",
        "snmp-server community <secret-1> RO",
        'secret "$9$x"; ## SECRET-DATA',
        "-----BEGIN PRIVATE KEY-----\nab\n-----END PRIVATE KEY-----",
        "\udcff\x00 password \udcfe",
    ]
)


@given(
    st.lists(LINES | st.binary(max_size=30).map(lambda raw: raw.decode(errors="surrogateescape"))),
    st.sampled_from(sorted(ALL)),
    st.dictionaries(
        st.integers(1, 40).map(lambda number: f"<secret-{number}>"), st.sampled_from(["S3CRET", "a b ", "x"])
    ),
)
def test_put_together_is_the_original_byte_for_byte(
    lines: list[str], vendor: Vendor, known: dict[str, str]
) -> None:
    text = "\n".join(lines)
    apart = split(text, vendor_kind(vendor).hidden, known)
    assert as_bytes(put_together(apart.text, read_secrets(written(apart.secrets)))) == as_bytes(text)


def test_a_secret_keeps_its_number_though_others_come_and_go() -> None:
    patterns = vendor_kind("frr").hidden
    first = split("password one\npassword two\n", patterns, {})
    assert first.text == "password <secret-1>\npassword <secret-2>\n"
    second = split("password new\npassword two\npassword two\n", patterns, first.secrets.values)
    assert second.text == "password <secret-3>\npassword <secret-2>\npassword <secret-4>\n"


def test_where_two_patterns_overlap_all_of_it_is_hidden() -> None:
    apart = split("abcd", [r"a(?P<secret>bc)", r"b(?P<secret_2>cd)"], {})
    assert (apart.text, dict(apart.secrets.values)) == ("a<secret-1>", {"<secret-1>": "bcd"})


def test_files_that_do_not_belong_together_are_found_out() -> None:
    patterns = vendor_kind("frr").hidden
    old, new = split("password old\n!\n", patterns, {}), split("password new\n", patterns, {})
    with pytest.raises(DoNotFit, match="not what was fetched"):
        put_together(old.text, new.secrets)
    with pytest.raises(DoNotFit, match="missing: <secret-1>"):
        put_together(old.text, Secrets(old.secrets.sha256, {}))
    with pytest.raises(DoNotFit, match="not what was fetched"):
        put_together(old.text.upper(), Secrets(old.secrets.sha256, old.secrets.values))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"sha256": "x"}', b'{"sha256": "x", "values": {"S3CRET": "y"}}', b"\xff"],
)
def test_a_broken_file_of_secrets_is_told_without_its_content(content: bytes) -> None:
    with pytest.raises(DoNotFit) as told:
        read_secrets(content)
    assert "S3CRET" not in str(told.value)


def test_the_file_of_secrets_is_plain_json() -> None:
    apart = split("password a\n", vendor_kind("frr").hidden, {})
    assert json.loads(written(apart.secrets))["values"] == {"<secret-1>": "a"}


@each_vendor
def test_whatever_is_cut_off_is_not_whole(vendor: Vendor) -> None:
    kind, answer = vendor_kind(vendor), ALL[vendor].decode(errors="surrogateescape")
    assert kind.is_whole(answer)
    lines = answer.rstrip("\n").split("\n")
    depth_0 = [n for n in range(len(lines)) if vendor == "junos" and kind.is_whole("\n".join(lines[:n]))]
    assert [n for n in range(len(lines)) if kind.is_whole("\n".join(lines[:n])) and n not in depth_0] == []
    # Between two top-level blocks alone a cut cannot be seen from braces; the prompt must follow there, too.
    assert all(lines[n - 1] == "}" for n in depth_0)


def test_junos_may_be_followed_by_its_role() -> None:
    answer = ALL["junos"].decode() + "\n{master:0}\n"
    assert vendor_kind("junos").configuration(answer) == ALL["junos"].decode()


@pytest.mark.parametrize(
    ("vendor", "old", "new"),
    [
        ("cisco-ios", "10:21:07 UTC Mon Nov 2", "11:00:00 UTC Tue Nov 3"),
        ("cisco-ios", "ntp clock-period 36028797", "ntp clock-period 36028801"),
        ("cisco-ios", ": 4242 bytes", ": 4243 bytes"),
        ("junos", "10:21:07 UTC by ops", "11:00:00 UTC by root"),
    ],
)
def test_what_varies_by_itself_is_no_change(vendor: Vendor, old: str, new: str) -> None:
    kind, answer = vendor_kind(vendor), ALL[vendor].decode()
    assert old in answer
    other = answer.replace(old, new)
    assert kind.lasting(kind.configuration(other)) == kind.lasting(kind.configuration(answer))


@each_vendor
def test_any_other_line_is_a_change(vendor: Vendor) -> None:
    kind, text = vendor_kind(vendor), configuration(vendor)
    other = text.replace("gear", "geer", 1)
    assert kind.lasting(other) != kind.lasting(text)


def test_what_can_be_declared_at_l4_is_what_has_a_checker() -> None:
    assert {vendor for vendor in get_args(Vendor) if vendor_kind(vendor).checker} == WITH_CHECKER
