"""A host that passes cis-l1 and fails cjis: every reader is told why, and what cis-l1 wants of the same."""

import json
from functools import cache
from typing import Any

import pytest
from pydantic import JsonValue

from automation.baseline.beside import beside_words, set_beside
from automation.baseline.controls import Profile
from automation.baseline.judge import judge
from automation.baseline.verdicts import Assessment, Verdict, tally
from automation.commands._baseline_formats import Reported, render_jsonl
from automation.commands._baseline_report import render_page
from automation.commands._baselines import Audited, _score
from automation.commands._controls import load_controls
from automation.commands._render_baseline import print_audited
from automation.model.facts import Facts
from tests.baseline.examples import NOW
from tests.commands.test_report_page import Page

CONTROLS = load_controls()
CHACHA = "chacha20-poly1305@openssh.com"
# Each is well by cis-l1: what it observes, what cjis wants of it, and what cis-l1 says.
WHY: dict[str, tuple[JsonValue, str, str]] = {
    "lin.accounts.lockout-release": ("900", 'in ["0", "never"]', "which it meets"),
    "lin.ssh.idle": ("900", "at most 600", "by cis-l1 and standard: at most 900, which it meets"),
    "lin.ssh.algorithms": ([CHACHA, "aes256-ctr"], "subset of", "which it meets"),
    "lin.logs.stamps": (True, "eq false", "by cis-l1 and standard: not asked for"),
}

HASHED = {"entry": "set", "algorithm": "yescrypt", "inactive_days": 30, "last_login": 1795000000}
ROOT = {
    "name": "root",
    "uid": 0,
    "system": True,
    "can_log_in": True,
    "entry": "locked",
    "algorithm": "",
    "inactive_days": None,
    "last_login": None,
}
PERSON = {"name": "ana", "uid": 1000, "system": False, "can_log_in": True, **HASHED}
FILE = {"owner": "root", "group": "root", "mode": "0600", "group_may_write": False, "private": True}


def merge(one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        return {**one, **{key: merge(one[key], new) if key in one else new for key, new in other.items()}}
    if isinstance(one, list) and isinstance(other, list):
        return [*one, *(new for new in other if new not in one)]
    return other


@cache
def host() -> Facts:
    """A host on which all fixtures that pass are so at once, but for what only cjis asks more of."""
    tree: Any = {}
    for control in CONTROLS.values():
        if control.platform == "linux" and control.fixtures is not None:
            tree = merge(tree, control.fixtures.passes[0])
    tree.pop("host", None)
    tree["accounts"]["users"] = [ROOT, PERSON]
    tree["files"] = {path: {**FILE, "others_may_write": False} for path in tree["files"]}
    tree["listeners"] = [{"program": "sshd", "local": False, "port": 22, "address": "0.0.0.0"}]
    tree["updates"]["lists_age_days"] = 1
    tree["pam"]["faillock"]["unlock_time"] = "900"
    tree["sshd"]["contexts"] = [{**tree["sshd"]["effective"], "user": "root"}]
    tree["sshd"]["effective"] |= {"ciphers": [CHACHA, "aes256-ctr"], "clientaliveinterval": "900"}
    tree["journald"]["rsyslog"]["old_stamps"] = True
    return Facts(subject="web", platform="linux", collected_at=NOW, sections=tree)


def assess(profile: Profile) -> Assessment:
    judged = judge(host(), tuple(CONTROLS.values()), profile, NOW)
    return set_beside(judged, host(), CONTROLS, NOW)


def failed(profile: Profile) -> dict[str, Verdict]:
    return {one.control: one for one in assess(profile).verdicts if one.state == "fail"}


@pytest.fixture(scope="module")
def audited() -> Audited:
    one = assess("cjis")
    return Audited(
        run="run-1", assessments=(one,), scores=(_score(one, tally(one.verdicts)),), not_collected={}
    )


def test_the_host_passes_cis_l1_in_all_and_fails_cjis_in_four() -> None:
    assert {one.state for one in assess("cis-l1").verdicts} <= {"pass", "not_applicable"}
    assert failed("cjis").keys() == WHY.keys()


@pytest.mark.parametrize("name", WHY)
def test_programs_are_told_what_was_observed_wanted_and_what_cis_l1_says(name: str, audited: Audited) -> None:
    observed, wanted, _ = WHY[name]
    lines = [json.loads(line) for line in render_jsonl(Reported("lab", audited)).splitlines()]
    (line,) = [one for one in lines if one["control"] == name]
    (found,) = [one for one in line["found"] if one["met"] == "no"]
    assert found["observed"] == observed
    assert wanted in found["wanted"]
    laxer = {one["profile"]: one for one in line["beside"]}
    if name == "lin.logs.stamps":
        assert {one["state"] for one in laxer.values()} == {None}
    else:
        assert laxer["cis-l1"]["state"] == "pass"
        assert laxer["cis-l1"]["wanted"].keys() == {found["fact"]}
        assert laxer["cis-l1"]["wanted"][found["fact"]] != found["wanted"]


@pytest.mark.parametrize("name", WHY)
def test_people_are_told_the_same_on_a_terminal_and_on_the_page(
    name: str, audited: Audited, capsys: pytest.CaptureFixture[str]
) -> None:
    _, wanted, said = WHY[name]
    print_audited(audited)
    shown = " ".join(capsys.readouterr().out.split())
    page = " ".join(" ".join(Page(render_page(Reported("lab", audited), CONTROLS)).words).split())
    for text in (shown, page):
        place = text.index(name)
        told = text[place : text.index("wanted by cjis: ", place) + 700]
        assert wanted in told
        assert said in told


def test_what_all_profiles_want_the_same_of_is_told_once() -> None:
    facts = host().model_copy(
        update={"sections": {**host().sections, "tree": {"unowned": ["/srv/x"], "whole": True}}}
    )
    judged = judge(facts, tuple(CONTROLS.values()), "cjis", NOW)
    told = {one.control: one for one in set_beside(judged, facts, CONTROLS, NOW).verdicts}
    assert [one.state for one in told["lin.files.unowned"].beside] == ["fail", "fail"]
    assert beside_words(told["lin.files.unowned"]) == ""


def test_nothing_is_laxer_than_the_first_profile() -> None:
    judged = judge(host(), tuple(CONTROLS.values()), "standard", NOW)
    assert set_beside(judged, host(), CONTROLS, NOW) == judged
