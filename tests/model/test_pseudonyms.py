"""Pseudonyms: one for one thing everywhere, and nothing known is left."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.model.pseudonyms import Pseudonyms, find_accounts, find_people

KNOWN = {
    "host": ["pg-a", "pg-b", "city.lab"],
    "person": ["mira", "root"],
    "account": ["4711-22"],
    "address": ["10.77.1.20"],
}


@pytest.fixture
def pseudonyms() -> Pseudonyms:
    return Pseudonyms(KNOWN, salt="run")


def test_the_same_thing_has_the_same_pseudonym_in_every_file(pseudonyms: Pseudonyms) -> None:
    first = pseudonyms.of_file("a.json", '{"host": "pg-a", "PG-A": 1}')
    host = json.loads(first)["host"]
    assert host.startswith("host-")
    assert json.loads(first) == {"host": host, host: 1}
    assert pseudonyms.of_file("b.log", "on pg-a:5432, not pg-ab") == f"on {host}:5432, not pg-ab"


def test_two_exports_of_one_run_agree(pseudonyms: Pseudonyms) -> None:
    again = Pseudonyms({kind: reversed(values) for kind, values in KNOWN.items()}, salt="run")
    text = "pg-a pg-b mira root 4711-22"
    assert again.of_text(text) == pseudonyms.of_text(text)


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("at 10.77.1.20:5432", "10.77.1.20"),
        ("from 192.0.2.7", "192.0.2.7"),
        ("2001:db8::7 answers", "2001:db8::7"),
        ("via fe80:0:0:0:1:2:3:4.", "fe80:0:0:0:1:2:3:4"),
        ("link 02:42:ac:11:00:02", "02:42:ac:11:00:02"),
        ("write to mira.k@city.example", "mira.k@city.example"),
        ("pay-db.city.lab", "city.lab"),
        ("\x1b[0;32mpg-a\x1b[0m", "pg-a"),
        ("IBAN DE89 3704 0044 0532 0130 00", "3704"),
        ("ssn 078-05-1120", "078-05-1120"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGk mira", "AAAAC3"),
        ("SHA256:" + "x" * 43, "x" * 43),
        ("digest " + "0f" * 32, "0f" * 32),
        ("-----BEGIN SSH SIGNATURE-----\nU1NI\n-----END SSH SIGNATURE-----", "U1NI"),
        ("mira's account 4711-22", "4711-22"),
    ],
)
def test_what_tells_who_or_where_is_replaced(text: str, gone: str, pseudonyms: Pseudonyms) -> None:
    assert gone not in pseudonyms.of_text(text)


@pytest.mark.parametrize(
    "text", ["2026-03-01T03:00:12.345Z", "127.0.0.1:5432", "version 15.4.2", "0/3000148", "03:00:12"]
)
def test_what_is_no_address_stays(text: str, pseudonyms: Pseudonyms) -> None:
    assert pseudonyms.of_text(text) == text


def test_names_behind_escapes_in_json_are_found(pseudonyms: Pseudonyms) -> None:
    line = json.dumps({"message": "first\npg-a\tpg-b\u001b[0mmira"})
    redacted = pseudonyms.of_file("journal.jsonl", line + "\n" + line + "\n")
    assert pseudonyms.remaining(redacted) == []
    assert "pg-a" not in redacted
    assert len(redacted.splitlines()) == 2


def test_a_number_that_is_an_account_is_replaced() -> None:
    pseudonyms = Pseudonyms({"account": ["123456"]}, salt="run")
    assert json.loads(pseudonyms.of_file("a.json", '{"account": 123456, "n": 7}')) == {
        "account": "account-1",
        "n": 7,
    }


def test_what_remains_is_named(pseudonyms: Pseudonyms) -> None:
    assert pseudonyms.remaining("on PG-A by mira") == ["PG-A", "mira"]


def test_people_and_accounts_are_found_by_the_words_of_records() -> None:
    record = {"body": {"actor": "mira", "principals": ["alex", "kim"], "step": "x"}, "account_number": 12}
    assert sorted(find_people(record)) == ["alex", "kim", "mira"]
    assert list(find_accounts(record)) == ["12"]


@given(st.text(max_size=60), st.text(max_size=20))
def test_nothing_known_remains_in_any_text(before: str, after: str) -> None:
    pseudonyms = Pseudonyms(KNOWN, salt="run")
    text = f"{before} pg-a {after} mira 10.77.1.20"
    assert pseudonyms.remaining(pseudonyms.of_text(text)) == []
    document = pseudonyms.of_file("a.json", json.dumps({before: [text, after]}))
    assert pseudonyms.remaining(document) == []
