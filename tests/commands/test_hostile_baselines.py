"""Broken and hostile declarations and facts: an error with file, line and key, or `unknown`; never a pass."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree

import pytest

from automation.adapters import collector
from automation.baseline.judge import judge
from automation.baseline.verdicts import tally
from automation.commands import _lint_baseline
from automation.commands._baseline_formats import Reported, render_jsonl, render_junit
from automation.commands._baseline_report import render_page
from automation.commands._baselines import Audited, _score
from automation.commands._controls import load_controls
from automation.commands._lint_baseline import lint_baseline
from automation.commands._render_baseline import print_audited
from automation.commands._session import Session
from automation.model.environment import Inventory
from automation.model.errors import AdapterError
from automation.model.facts import Facts
from automation.model.kept_facts import keep_facts, read_facts
from tests.baseline.examples import NOW
from tests.commands.test_lint_baseline import SERVERS
from tests.commands.test_report_page import Page
from tests.commands.test_waivers import TEXT

CONTROLS = load_controls()
CONTROL = """\
controls:
  - id: lin.ssh.one
    title: One that people look at
    why: So that there is one that is well formed.
    severity: low
    check: {effective: {fact: sshd.effective.usepam, eq: "yes"}}
    fixtures: {pass: [{sshd: {effective: {usepam: "yes"}}}], fail: [{sshd: {effective: {usepam: "no"}}}]}
"""
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


def linted(folder: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: str | bytes) -> list[Any]:
    """Lint a well-formed baseline of which one file has other content."""
    monkeypatch.setattr(_lint_baseline, "refusals", lambda *_: {})
    (folder / "controls").mkdir()
    files: dict[str, str | bytes] = {
        "baseline.yml": "profile: standard\n",
        "waivers.yml": "waivers: []\n",
        "controls/one.yml": CONTROL,
    }
    for name, text in {**files, file: content}.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    session = SimpleNamespace(
        environment=SimpleNamespace(name="city", folder=folder, providers={}),
        inventory=Inventory(servers=SERVERS),
    )
    return list(lint_baseline(cast(Session, session), NOW, folder / "controls").problems)


def waiver(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new, 1)


EXPIRES = next(line for line in TEXT.splitlines() if "expires:" in line).strip()
REASON = next(line for line in TEXT.splitlines() if "reason:" in line).strip()
FILES: dict[str, tuple[str, str | bytes, int, str, str]] = {
    "no end": ("waivers.yml", waiver(f"    {EXPIRES}\n", ""), 2, "waivers.0.expires", ""),
    "an end without a zone": (
        "waivers.yml",
        waiver(EXPIRES, "expires: 2026-11-30T00:00:00"),
        11,
        "waivers.0.expires",
        "",
    ),
    "an end that is no moment": (
        "waivers.yml",
        waiver(EXPIRES, "expires: never"),
        11,
        "waivers.0.expires",
        "",
    ),
    "an end that is true": ("waivers.yml", waiver(EXPIRES, "expires: yes"), 11, "waivers.0.expires", ""),
    "an end beyond time": (
        "waivers.yml",
        waiver(EXPIRES, "expires: 99999-11-30T00:00:00Z"),
        11,
        "waivers.0.expires",
        "",
    ),
    "for everybody": ("waivers.yml", waiver("[pg-a]", '["*"]'), 4, "waivers.0.subjects.0", ""),
    "for a pattern": ("waivers.yml", waiver("[pg-a]", "['pg-[ab]']"), 4, "waivers.0.subjects.0", ""),
    "for nobody": ("waivers.yml", waiver("[pg-a]", "[]"), 4, "waivers.0.subjects", ""),
    "subjects as a text": ("waivers.yml", waiver("[pg-a]", "pg-a"), 4, "waivers.0.subjects", ""),
    "an id that leaves its folder": (
        "waivers.yml",
        waiver("root-on-pg-a", "../../root"),
        2,
        "waivers.0.id",
        "",
    ),
    "an id as long as a book": ("waivers.yml", waiver("root-on-pg-a", "a" * 100_000), 2, "waivers.0.id", ""),
    "a sign for terminals": (
        "waivers.yml",
        waiver(REASON, 'reason: "it is so \\e[2J here"'),
        5,
        "reason",
        "delete",
    ),
    "a raw sign for terminals": ("waivers.yml", waiver(REASON, "reason: it is\x1b[2J so"), 5, "(text)", ""),
    "a text that turns round": ("waivers.yml", waiver(REASON, "reason: it is \u202e so here"), 5, "", ""),
    "no approver": ("waivers.yml", waiver("    approved_by: security-officer\n", ""), 2, "approved_by", ""),
    "waivers as a mapping": ("waivers.yml", "waivers: {root: yes}\n", 1, "waivers", ""),
    "a list of texts": ("waivers.yml", "waivers: [root-on-pg-a]\n", 1, "waivers.0", ""),
    "twice the same key": ("waivers.yml", waiver(REASON, f"{REASON}\n    {REASON}"), 6, "reason", "twice"),
    "a bomb of aliases": ("waivers.yml", f"{BOMB}waivers: *h\n", 6, "", "aliases expand"),
    "an alias of itself": ("waivers.yml", "waivers: &a [*a]\n", 1, "waivers.0", "inside of what it names"),
    "a program as a tag": (
        "waivers.yml",
        "waivers: !!python/object:os.system []\n",
        1,
        "waivers",
        "plain values",
    ),
    "a merge key": ("waivers.yml", "a: &a {x: 1}\nwaivers: [{<<: *a}]\n", 2, "waivers.0", "merge keys"),
    "a second document": ("waivers.yml", "waivers: []\n---\nwaivers: []\n", 2, "", "second document"),
    "not UTF-8": ("waivers.yml", b"waivers: []\n# \xff\xfe\n", 2, "", "UTF-8"),
    "nothing but zeros": ("waivers.yml", b"\0" * 4096, 1, "", ""),
    "a tower of brackets": ("waivers.yml", f"waivers: {'[' * 5000}\n", 1, "", "nested deeper"),
    "an open bracket": ("waivers.yml", "waivers: [\n", 2, "waivers", "YAML syntax"),
    "an empty baseline": ("baseline.yml", "", 1, "", "is empty"),
    "a list for a baseline": ("baseline.yml", "- standard\n", 1, "", "mapping"),
    "a profile of several": ("baseline.yml", "profile: [standard, cjis]\n", 1, "profile", ""),
    "a profile with a sign": ("baseline.yml", 'profile: "standard\\e[0m"\n', 1, "profile", ""),
    "a walk without an end": ("baseline.yml", "profile: cjis\nwalk: .inf\n", 2, "walk", ""),
    "a walk into the past": ("baseline.yml", "profile: cjis\nwalk: -1\n", 2, "walk", ""),
    "a key nobody knows": ("baseline.yml", "profile: cjis\nignore: [lin.ssh]\n", 2, "ignore", "unknown key"),
    "a tab": ("baseline.yml", "profile: cjis\n\twalk: 1 s\n", 2, "", ""),
    "a control that runs": (
        "controls/one.yml",
        CONTROL.replace('eq: "yes"', 'shell: "rm -rf /"'),
        6,
        "shell",
        "",
    ),
    "a control without fixtures": (
        "controls/one.yml",
        CONTROL[: CONTROL.index("    fixtures")],
        2,
        "controls.0",
        "fixtures",
    ),
    "an expression of brackets": (
        "controls/one.yml",
        CONTROL.replace("sshd.effective.usepam,", f"'{'[' * 400}',"),
        6,
        "fact",
        "JMESPath",
    ),
    "a pattern that is none": (
        "controls/one.yml",
        CONTROL.replace('eq: "yes"', 'matches: "(a"'),
        6,
        "",
        "regular",
    ),
    "an id of another platform": ("controls/one.yml", CONTROL.replace("lin.ssh", "win.ssh"), 2, "id", ""),
    "a severity of one's own": ("controls/one.yml", CONTROL.replace("low", "none"), 5, "severity", ""),
}


@pytest.mark.parametrize(("file", "content", "line", "key", "words"), FILES.values(), ids=FILES)
def test_a_hostile_file_is_refused_at_its_line_and_key(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    content: str | bytes,
    line: int,
    key: str,
    words: str,
) -> None:
    found = linted(tmp_path, monkeypatch, file, content)
    ours = [one for one in found if one.file == str(tmp_path / file)]
    told = [one for one in ours if one.line == line and key in one.key and words in one.problem]
    assert told, ours
    shown = "".join(f"{one.key}: {one.problem}" for one in found)
    assert shown.isprintable()
    assert len(shown) < 20_000


# --- what hosts say ----------------------------------------------------------------------------------

ESCAPES = "\x1b[2J\x1b]0;mine\x07\x9b31m\u202e\u2066<script>alert(1)</script>{{ 7 * 7 }}\r\n\x00"


def said(sections: Any = None, **more: Any) -> str:
    return json.dumps(
        {"at": 1795000000, "shared_kernel": False, "sections": sections or {}, "unknown": {}, **more}
    )


NO_FACTS = {
    "nothing": "",
    "half of it": said({"os": {"id": "debian"}})[:60],
    "a login's greeting before it": f"Welcome!\n{said()}",
    "two of them": said() + said(),
    "a number": "7",
    "sections as a list": said([["sshd"]]),
    "reasons that are no texts": said(unknown={"sshd": 1}),
    "a moment that is no number": said(at="now"),
    "a moment that is true for nobody": '{"at": NaN, "shared_kernel": false, "sections": {}, "unknown": {}}',
    "no moment": '{"shared_kernel": false, "sections": {}, "unknown": {}}',
    "a tower of brackets": f'{{"sections": {"[" * 100_000}',
    "a number of 5000 digits": said().replace("1795000000", "9" * 5000),
    "half a sign": said({"os": "\ud800"}),
    "nothing of its kernel": '{"at": 1, "sections": {}, "unknown": {}}',
}


@pytest.mark.parametrize("text", NO_FACTS.values(), ids=NO_FACTS)
def test_what_is_no_facts_is_an_error_that_names_the_host(text: str) -> None:
    with pytest.raises(AdapterError, match="on web said are no facts; nothing was changed"):
        collector._facts(text, "web", ())


USERS = {"name": ESCAPES, "uid": 0, "entry": "empty", "can_log_in": True, "system": False}
STRANGE = {
    "names that act on a terminal": {
        "accounts": {"users": [USERS]},
        "tree": {"suid": [ESCAPES], "whole": True},
    },
    "a name of a megabyte": {"accounts": {"users": [{**USERS, "name": "a" * 2**20}]}},
    "a hundred thousand names": {"tree": {"suid": [f"/x/{i}" for i in range(100_000)], "whole": True}},
    "sections that are texts": dict.fromkeys(("accounts", "sshd", "tree", "sysctl", "packages"), ESCAPES),
    "sections that are numbers": dict.fromkeys(("accounts", "sshd", "tree", "sysctl", "packages"), 10**300),
    "sections that are null": dict.fromkeys(("accounts", "sshd", "tree", "sysctl", "packages"), None),
    "lists of lists": {"accounts": {"users": [[[[USERS]]]]}, "sshd": [[["effective"]]]},
    "no number and without an end": {
        "updates": {"lists_age_days": float("nan"), "periodic": {}},
        "login_defs": {"PASS_MAX_DAYS": float("inf"), "UMASK": 7},
    },
    "a tower within the bounds": {"sshd": {"effective": json.loads("[" * 150 + "]" * 150)}},
    "a section of another name": {ESCAPES: {"effective": {"permitrootlogin": "no"}}},
}


OF_WELL_FORMED_USERS = {
    "lin.accounts.inactive-lock",
    "lin.accounts.system-accounts",
    "lin.accounts.dormant",
}


def _uids(sections: Any) -> list[Any]:
    users = sections.get("accounts")
    return (
        [one.get("uid") for one in users["users"] if isinstance(one, dict)] if isinstance(users, dict) else []
    )


def audited(facts: Facts, why: str = "") -> Audited:
    one = judge(facts, tuple(CONTROLS.values()), "cjis", NOW)
    missing = {"gone": why} if why else {}
    scores = (_score(one, tally(one.verdicts)),)
    return Audited(run="run-1", assessments=(one,), scores=scores, not_collected=missing)


@pytest.mark.parametrize("sections", STRANGE.values(), ids=STRANGE)
def test_strange_facts_pass_nothing_and_are_shown_as_text(
    sections: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = collector._facts(said(sections, unknown={"pam": ESCAPES}), "web", ())
    keep_facts(told, tmp_path)
    found = audited(read_facts(tmp_path / "facts/web.json.gz"), why=ESCAPES)
    passed = {one.control for one in found.assessments[0].verdicts if one.state == "pass"}
    assert passed <= (OF_WELL_FORMED_USERS if USERS["uid"] in _uids(sections) else set())
    print_audited(found)
    shown = capsys.readouterr().out
    assert shown.replace("\n", "").isprintable()
    assert len(shown) < 200_000


@pytest.mark.parametrize("sections", STRANGE.values(), ids=STRANGE)
def test_reports_of_strange_facts_are_whole_and_harmless(sections: Any) -> None:
    told = collector._facts(said(sections, unknown={"pam": ESCAPES}), "web", ())
    reported = Reported("city", audited(told, why=ESCAPES))
    text = render_page(reported, CONTROLS)
    page = Page(text)
    assert (page.open, page.fetched) == ([], [])
    assert "script" not in page.tags
    assert text.replace("\n", "").isprintable()
    assert ElementTree.fromstring(render_junit(reported)) is not None
    lines = render_jsonl(reported).splitlines()
    assert all(line.isascii() and line.isprintable() and json.loads(line) for line in lines)
