"""Questions to facts: yes, no, or not known; and never a yes on what is not known."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from automation.baseline.checks import Answer, Check, answer, lay_out, show
from automation.baseline.comparing import fault_of
from tests.baseline.examples import NOW, facts

CHECKS: TypeAdapter[Any] = TypeAdapter(Check)
SECTIONS: dict[str, Any] = {
    "sshd": {"maxauthtries": "4", "ciphers": ["a", "b"], "banner": "", "usepam": "yes"},
    "users": [{"name": "root", "uid": 0}, {"name": "toor", "uid": 0}],
    "sysctl": {"running": {"net.ipv4.ip_forward": "0"}},
    "time": {"offset_s": 0.2},
    "open": ["sshd:22", "nginx:80"],
    "disguised": ["sshd:22:31337"],
    "long": "a" * 5000,
}


def ask(check: object, **parameters: Any) -> Answer:
    return answer(
        CHECKS.validate_python(check), lay_out(facts(SECTIONS, unknown={"pam": "no such file"})), parameters
    )


@pytest.mark.parametrize(
    ("check", "truth"),
    [
        ({"fact": "sshd.usepam", "eq": "yes"}, "yes"),
        ({"fact": "sshd.usepam", "ne": "yes"}, "no"),
        ({"fact": "sshd.usepam", "in": ["no", "yes"]}, "yes"),
        ({"fact": "sshd.usepam", "not_in": ["no", "yes"]}, "no"),
        ({"fact": "sshd.ciphers", "ne": "yes"}, "unknown"),
        ({"fact": "sshd", "not_in": ["yes"]}, "unknown"),
        ({"fact": "sshd.maxauthtries", "at_most": 4}, "yes"),
        ({"fact": "sshd.maxauthtries", "at_least": "5"}, "no"),
        ({"fact": "sshd.usepam", "at_most": 4}, "unknown"),
        ({"fact": "time.offset_s", "at_most": 0.5}, "yes"),
        ({"fact": "sshd.usepam", "matches": "y.."}, "yes"),
        ({"fact": "sshd.usepam", "matches": "y"}, "no"),
        ({"fact": "long", "matches": "a*"}, "unknown"),
        ({"fact": "sshd.ciphers", "contains": ["a"]}, "yes"),
        ({"fact": "sshd.ciphers", "lacks": ["a"]}, "no"),
        ({"fact": "sshd.ciphers", "subset_of": ["a", "b", "c"]}, "yes"),
        ({"fact": "sshd.ciphers", "subset_of": ["a"]}, "no"),
        ({"fact": "open", "named_by": ["sshd:22", "nginx"]}, "yes"),
        ({"fact": "open", "named_by": ["sshd", "nginx"]}, "yes"),
        ({"fact": "open", "named_by": ["sshd:2222", "nginx"]}, "no"),
        ({"fact": "open", "named_by": ["sshd:22", "nginx:443"]}, "no"),
        ({"fact": "disguised", "named_by": ["sshd:22", "sshd"]}, "no"),
        ({"fact": "users[].uid", "named_by": ["sshd:22"]}, "unknown"),
        ({"fact": "sshd.usepam", "contains": ["y"]}, "unknown"),
        ({"fact": "sshd.banner", "empty": True}, "yes"),
        ({"fact": "sshd.ciphers", "empty": False}, "yes"),
        ({"fact": "sshd.banner", "present": True}, "yes"),
        ({"fact": "sshd.nothing", "present": True}, "no"),
        ({"fact": "sshd.nothing", "present": False}, "yes"),
        ({"fact": "pam.auth", "present": False}, "unknown"),
        ({"fact": "pam.auth", "eq": 1}, "unknown"),
        ({"fact": "sshd.nothing", "eq": "yes"}, "unknown"),
        ({"fact": "sshd.nothing", "eq": "yes", "missing": "no"}, "no"),
        ({"fact": "sshd.nothing", "eq": "yes", "missing": "yes"}, "yes"),
        ({"fact": "nothing.at_all", "eq": "yes", "missing": "yes"}, "unknown"),
        ({"fact": "pam.auth", "eq": "yes", "missing": "yes"}, "unknown"),
        ({"fact": 'sysctl.running."net.ipv4.ip_forward"', "eq": "0"}, "yes"),
        ({"fact": 'sysctl.running."net.ipv4.ip_forward"', "eq": 0}, "no"),
        ({"fact": "users[?uid == `0`].name", "subset_of": ["root"]}, "no"),
        ({"fact": "length(users[?uid == `0`])", "eq": 2}, "yes"),
        ({"fact": "length(nothing)", "eq": 0}, "unknown"),
        ({"fact": "host.roles", "empty": True}, "yes"),
    ],
    ids=str,
)
def test_a_question_is_answered(check: object, truth: str) -> None:
    assert ask(check).truth == truth


@pytest.mark.parametrize(
    ("word", "truths", "truth"),
    [
        ("all", "yes yes", "yes"),
        ("all", "yes no unknown", "no"),
        ("all", "yes unknown", "unknown"),
        ("any", "no no", "no"),
        ("any", "no yes unknown", "yes"),
        ("any", "no unknown", "unknown"),
    ],
)
def test_what_is_joined_is_known_only_if_what_it_hangs_on_is(word: str, truths: str, truth: str) -> None:
    parts = [{"fact": "sshd.nothing", "eq": 1, "missing": one} for one in truths.split()]
    assert ask({word: parts}).truth == truth


@pytest.mark.parametrize(("inner", "truth"), [("yes", "no"), ("no", "yes"), ("unknown", "unknown")])
def test_not_known_turned_round_is_not_known(inner: str, truth: str) -> None:
    assert ask({"not": {"fact": "sshd.nothing", "eq": 1, "missing": inner}}).truth == truth


@pytest.mark.parametrize(
    ("moment_s", "truth"),
    [
        (NOW.timestamp() - 89 * 86400, "yes"),
        (NOW.timestamp() - 91 * 86400, "no"),
        (None, "unknown"),
        ("yesterday", "unknown"),
    ],
)
def test_days_are_counted_to_when_facts_were_collected(moment_s: Any, truth: str) -> None:
    check = CHECKS.validate_python({"fact": "days_since(door.used)", "at_most": 90})
    assert answer(check, lay_out(facts({"door": {"used": moment_s}})), {}).truth == truth


def test_a_parameter_stands_for_its_value() -> None:
    assert ask({"fact": "sshd.maxauthtries", "at_most": "$tries"}, tries=3).truth == "no"
    with pytest.raises(ValueError, match="no parameter"):
        ask({"fact": "sshd.maxauthtries", "at_most": "$tries"})


def test_a_reason_names_the_fact_its_value_and_what_was_wanted() -> None:
    said = ask({"fact": "sshd.usepam", "eq": "no"}).reason
    assert said == "sshd.usepam is yes, wanted: eq no"
    assert ask({"fact": "sshd.ciphers", "subset_of": ["a"]}).reason == 'sshd.ciphers has ["b"]'
    assert ask({"fact": "sshd.ciphers", "contains": ["a", "c"]}).reason == 'sshd.ciphers lacks ["c"]'
    assert ask({"fact": "sshd.ciphers", "lacks": ["b", "c"]}).reason == 'sshd.ciphers has ["b"]'
    assert ask({"fact": "pam.auth", "eq": 1}).reason == "pam could not be read: no such file"
    assert ask({"fact": "length(pam)", "eq": 1}).reason == "pam could not be read: no such file"


def test_a_part_of_a_section_that_could_not_be_read_says_why_and_no_other_part_does() -> None:
    known = lay_out(facts({"iam": {"users": []}}, unknown={"iam.root": "denied"}))
    root = answer(CHECKS.validate_python({"fact": "iam.root.mfa", "eq": True}), known, {})
    assert (root.truth, root.reason) == ("unknown", "iam.root could not be read: denied")
    assert answer(CHECKS.validate_python({"fact": "iam.users", "empty": True}), known, {}).truth == "yes"
    roots = answer(CHECKS.validate_python({"fact": "iam.roots", "empty": True}), known, {})
    assert roots.reason == "iam.roots is not in the facts"


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({"fact": "a"}, "exactly one of"),
        ({"fact": "a", "eq": 1, "ne": 2}, "exactly one of"),
        ({"fact": "a[", "eq": 1}, "JMESPath"),
        ({"fact": "a", "eqq": 1}, "Extra inputs"),
        ({"fact": "a", "matches": "(a+"}, "regular expression"),
        ({"fact": "a", "matches": ["a"]}, "regular expression"),
        ({"fact": "a", "in": "no"}, "in wants a list"),
        ({"fact": "a", "subset_of": None}, "subset_of wants a list"),
        ({"fact": "a", "at_most": "many"}, "at_most wants a number"),
        ({"fact": "a", "empty": "yes"}, "empty wants true or false"),
        ({"fact": "a", "present": 1}, "present wants true or false"),
        ({"all": []}, "at least 1"),
        ({"any": [], "fact": "a"}, "Extra inputs"),
        ("yes", "valid dictionary"),
        ({"fact": "a" * 600, "eq": 1}, "at most 500"),
    ],
    ids=str,
)
def test_a_faulty_check_is_refused(check: object, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        CHECKS.validate_python(check)


def test_what_a_host_says_cannot_act_on_a_terminal() -> None:
    assert show("\x1b[31m\u202eabc\n") == "?[31m?abc?"
    assert show(["\x1b"]) == '["\\u001b"]'
    assert len(show("x" * 10_000)) < 210


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
WORDS = [
    "eq",
    "ne",
    "in",
    "not_in",
    "at_most",
    "at_least",
    "contains",
    "lacks",
    "subset_of",
    "named_by",
    "empty",
]
ASKED = [(word, one) for word in WORDS for one in (4, "no", ["no", 1], True) if not fault_of(word, one)]


@settings(deadline=None)
@given(observed=JSON, asked=st.sampled_from(ASKED))
def test_whatever_a_host_says_the_answer_is_one_of_three(observed: Any, asked: tuple[str, Any]) -> None:
    word, wanted = asked
    check = CHECKS.validate_python({"fact": "section.fact", word: wanted})
    said = answer(check, lay_out(facts({"section": {"fact": observed}})), {})
    assert said.truth in ("yes", "no", "unknown")
    assert said.truth != "yes" or observed is not None
    assert said.truth == "yes" or said.reason
