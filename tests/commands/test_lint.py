"""Broken declarations: each is refused with file, line, key and what to do; nothing is written."""
# ruff: noqa: E501 - a row of the table is a line

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pytest
from invoke import Context, Exit

from automation.commands import _lint, _lint_plans, dr
from automation.model.environment import Inventory, Server
from automation.model.errors import ConfigError
from automation.model.loading import read_document

ENVIRONMENT = "inventories/city/environment.yml"
SERVICES = "inventories/city/services.yml"
FINANCE = "inventories/city/services/finance.yml"
PLAN = "drtests/plans/all.yml"
DRILL = "drtests/drills/loss.yml"
TODAY = date(2026, 11, 22)

TREE = {
    ENVIRONMENT: """\
kind: lab
inventory: [hosts.yml]
automation_user: ops
timezone: America/Chicago
witness: {host: client-1, beat: 100 ms}
dns:
  zone: city.example
  key_name: mainstay
  key: {file: secrets/tsig_key}
lab:
  id: city
  prefix: 10.1.0.0/16
  control_subnet: 10.1.0.0/24
  sites: {hall: 10.1.1.0/24, eoc: 10.1.2.0/24}
""",
    SERVICES: """\
sites:
  hall: {title: City Hall, dns_server: dns-a}
  eoc: {title: Operations centre, dns_server: dns-b}
services:
  names:
    title: Directory
    owner: infrastructure
    tier: 0
    rto: 10 min
    rpo: 1 h
    primary: hall
    recovery: eoc
    strategy: {kind: playbooks, hosts: {hall: [dc-a], eoc: [dc-b]}, recover: playbooks/directory.yml}
  telephony:
    title: Telephony
    owner: communications
    tier: 3
    rto: 8 h
    rpo: 1 d
    primary: hall
    recovery: hall
    strategy:
      kind: vendor
      vendor: A carrier
      accepted_risk: offices use mobile telephones for a day
      accepted_by: city-manager
      review_by: 2027-06-30
""",
    FINANCE: """\
services:
  ledger-db:
    title: Ledger
    owner: finance-systems
    tier: 1
    rto: 15 min
    rpo: 5 s
    mtd: 1 d
    wrt: 2 h
    primary: hall
    recovery: eoc
    depends_on: [names]
    endpoints:
      sql: {name: ledger.city.example, port: 5432}
    strategy:
      kind: postgresql-standby
      cluster: 15/main
      hosts: {hall: pg-a, eoc: pg-b}
      max_lag: 16 MiB
  payments:
    title: Payments
    owner: finance-systems
    tier: 2
    rto: 1 h
    rpo: 5 s
    primary: hall
    recovery: eoc
    depends_on: [ledger-db]
    contacts:
      - {role: treasurer, reach: "555 0100"}
    controls: ["NIST-800-53:CP-4(1)"]
    endpoints:
      web: {name: pay.city.example, port: 443}
    probes:
      pay:
        kind: http-write
        endpoint: web
        stored_in: ledger-db
        database: ledger
        query: select reference from payments
    strategy: {kind: redeploy, unit: pay.service, hosts: {hall: app-a, eoc: app-b}}
""",
    PLAN: """\
title: All of it
services: all
checks: [drtests/checks]
freezes:
  - name: payroll
    rrule: FREQ=MONTHLY;BYMONTHDAY=14,28
    for: 1 d
""",
    DRILL: """\
title: Loss of City Hall
plan: all
mode: failover
site: hall
faults:
  - {fault: power-loss, site: hall}
""",
}
TREE |= dict.fromkeys(("drtests/checks/test_it.py", "playbooks/directory.yml"), "")
HOSTS = {"hall": ("dns-a", "dc-a", "pg-a", "app-a"), "eoc": ("dns-b", "dc-b", "pg-b", "app-b")}
LEVELS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))


class Broken(NamedTuple):
    """One file made wrong: what is put for what, and the line (that begins `at`), key and words expected."""

    file: str
    old: str
    new: str
    at: str
    key: str
    words: str


def case(name: str, file: str, old: str, new: str, at: str, key: str, words: str) -> object:
    return pytest.param(Broken(file, old, new, at, key, words), id=name)


PAYMENTS = "services.payments"
LEDGER = "services.ledger-db"
# fmt: off
BROKEN = [
    # --- words that no model knows, and values of another type
    case("unknown key", FINANCE, "tier: 2", "teir: 2", "teir", f"{PAYMENTS}.teir", "did you mean tier"),
    case("missing objective", FINANCE, "    rto: 1 h\n", "", "payments:", f"{PAYMENTS}.rto", "is missing; add it"),
    case("missing owner", FINANCE, "    owner: finance-systems\n    tier: 2\n", "    tier: 2\n", "payments:", f"{PAYMENTS}.owner", "is missing; add it"),
    case("unknown section", FINANCE, "services:\n", "service: {}\nservices:\n", "service: {}", "service", "did you mean services"),
    case("word for number", FINANCE, "tier: 2", "tier: high", "tier: high", f"{PAYMENTS}.tier", "whole number; it is text"),
    case("yes for number", FINANCE, "tier: 2", "tier: yes", "tier: yes", f"{PAYMENTS}.tier", "read as true"),
    case("yes for text", FINANCE, "title: Payments", "title: yes", "title: yes", f"{PAYMENTS}.title", "read as true; quote it"),
    case("number for text", FINANCE, "title: Payments", "title: 911", "title: 911", f"{PAYMENTS}.title", "it is a number; quote it"),
    case("nothing for text", FINANCE, "title: Payments", "title:", "title:\n    owner: finance-systems\n    tier: 2", f"{PAYMENTS}.title", "it is empty"),
    case("word for list", FINANCE, "[ledger-db]", "ledger-db", "depends_on: ledger-db", f"{PAYMENTS}.depends_on", "must be a list"),
    case("list for mapping", FINANCE, "hosts: {hall: app-a, eoc: app-b}", "hosts: [app-a, app-b]", "strategy: {kind: redeploy", f"{PAYMENTS}.strategy.hosts", "must be a mapping"),
    case("word for service", FINANCE, "  payments:\n", "  permits: later\n  payments:\n", "permits", "services.permits", "must be a mapping"),
    case("list for services", FINANCE, "services:\n", "services: []\nold:\n", "services: []", "services", "must be a mapping of names"),
    case("unknown strategy", FINANCE, "kind: redeploy", "kind: redeplyo", "strategy: {kind: redeplyo", f"{PAYMENTS}.strategy.kind", "did you mean redeploy"),
    case("no strategy kind", FINANCE, "kind: redeploy, ", "", "strategy: {unit", f"{PAYMENTS}.strategy.kind", "is missing"),
    case("unknown probe kind", FINANCE, "kind: http-write", "kind: ping", "kind: ping", f"{PAYMENTS}.probes.pay.kind", "must be one of"),
    case("unknown key of a strategy", FINANCE, "unit: pay.service", "units: pay.service", "strategy: {kind", f"{PAYMENTS}.strategy.units", "did you mean unit"),
    case("tier out of range", FINANCE, "tier: 2", "tier: 9", "tier: 9", f"{PAYMENTS}.tier", "less than or equal to 5"),
    case("port out of range", FINANCE, "port: 443", "port: 70000", "web: {name", f"{PAYMENTS}.endpoints.web.port", "65535"),
    case("bad duration", FINANCE, "rto: 1 h", "rto: 1 hour", "rto: 1 hour", f"{PAYMENTS}.rto", "write for example"),
    case("negative duration", FINANCE, "rto: 1 h", "rto: -5 min", "rto: -5", f"{PAYMENTS}.rto", "not a duration"),
    case("truth value for a duration", FINANCE, "rto: 1 h", "rto: no", "rto: no", f"{PAYMENTS}.rto", "not a duration"),
    case("zero RTO", FINANCE, "rto: 1 h", "rto: 0 s", "rto: 0", f"{PAYMENTS}.rto", "greater than 0"),
    case("bad size", FINANCE, "max_lag: 16 MiB", "max_lag: 16 MB", "max_lag", f"{LEDGER}.strategy.max_lag", "not a size"),
    case("bad date", SERVICES, "review_by: 2027-06-30", "review_by: soon", "review_by: soon", "services.telephony.strategy.review_by", "must be a date"),
    case("bad name", FINANCE, "  payments:\n", "  Payments Office:\n", "Payments Office", "services.Payments Office", "does not have the form"),
    case("bad control", FINANCE, '["NIST-800-53:CP-4(1)"]', "[CP-4]", "controls: [CP-4]", f"{PAYMENTS}.controls.0", "FRAMEWORK:ID"),
    case("host that is a flag", FINANCE, "hall: app-a", "hall: -oProxyCommand=x", "strategy: {kind", f"{PAYMENTS}.strategy.hosts.hall", "does not have the form"),
    case("owner that is a sentence", FINANCE, "owner: finance-systems", "owner: Finance", "owner: Finance", f"{LEDGER}.owner", "role that answers"),
    case("empty checklist", SERVICES, "strategy: {kind: playbooks, hosts: {hall: [dc-a], eoc: [dc-b]}, recover: playbooks/directory.yml}", "strategy: {kind: manual, checklist: [], sign_off: chief}", "strategy: {kind: manual", "services.names.strategy.checklist", "at least 1"),
    # --- what does not hang together
    case("cycle", SERVICES, "recovery: eoc\n", "recovery: eoc\n    depends_on: [payments]\n", "depends_on: [payments]", "services.names.depends_on.0", "names -> payments -> ledger-db -> names"),
    case("itself", FINANCE, "[ledger-db]", "[payments]", "depends_on: [payments]", f"{PAYMENTS}.depends_on.0", "payments -> payments"),
    case("unknown service", FINANCE, "[ledger-db]", "[ledger]", "depends_on: [ledger]", f"{PAYMENTS}.depends_on.0", "did you mean ledger-db"),
    case("unknown site", FINANCE, "recovery: eoc", "recovery: moon", "recovery: moon", f"{LEDGER}.recovery", "no site 'moon'; known: eoc, hall"),
    case("one site", FINANCE, "recovery: eoc", "recovery: hall", "recovery: hall", f"{LEDGER}.recovery", "losing it loses both"),
    case("unknown host", FINANCE, "hall: pg-a", "hall: pg-z", "hosts: {hall: pg-z", f"{LEDGER}.strategy.hosts.hall", "did you mean pg-"),
    case("host of another site", FINANCE, "hall: pg-a", "hall: dc-b", "hosts: {hall: dc-b", f"{LEDGER}.strategy.hosts.hall", "stands at eoc"),
    case("unknown name server", SERVICES, "dns_server: dns-a", "dns_server: dns-x", "hall: {title", "sites.hall.dns_server", "did you mean dns-"),
    case("RTO over MTD", FINANCE, "mtd: 1 d", "mtd: 10 min", "rto: 15 min", f"{LEDGER}.rto", "over the MTD of 10 min"),
    case("RTO and WRT over MTD", FINANCE, "wrt: 2 h", "wrt: 1 d", "wrt: 1 d", f"{LEDGER}.wrt", "together are over the MTD"),
    case("dependency too late", FINANCE, "rto: 15 min", "rto: 5 min", "depends_on: [names]", f"{LEDGER}.depends_on.0", "names may take 10 min"),
    case("no host at a site", FINANCE, "hosts: {hall: app-a, eoc: app-b}", "hosts: {hall: app-a}", "strategy: {kind: redeploy", f"{PAYMENTS}.strategy.hosts", "no host at site eoc"),
    case("one host at two sites", FINANCE, "eoc: app-b", "eoc: app-a", "strategy: {kind: redeploy", f"{PAYMENTS}.strategy.hosts", "one host stands at two sites"),
    case("no endpoints", FINANCE, "    endpoints:\n      sql: {name: ledger.city.example, port: 5432}\n", "", "ledger-db:", f"{LEDGER}.endpoints", "name what clients reach"),
    case("unknown endpoint", FINANCE, "endpoint: web", "endpoint: wbe", "endpoint: wbe", f"{PAYMENTS}.probes.pay.endpoint", "did you mean web"),
    case("write probe without its query", FINANCE, "        query: select reference from payments\n", "", "pay:", f"{PAYMENTS}.probes.pay.query", "is missing; an http-write"),
    case("query of another probe", FINANCE, "kind: http-write", "kind: http", "query:", f"{PAYMENTS}.probes.pay.query", "is for http-write"),
    case("writes stored nowhere", FINANCE, "stored_in: ledger-db", "stored_in: names", "stored_in: names", f"{PAYMENTS}.probes.pay.stored_in", "recovered by playbooks"),
    case("endpoint name of two", FINANCE, "name: pay.city.example", "name: ledger.city.example", "web: {name", f"{PAYMENTS}.endpoints.web.name", "a name of ledger-db too"),
    case("service in two files", FINANCE, "  payments:\n", "  names:\n", "names:", "services.names", "services.yml:5 too; delete one"),
    case("unknown site of a stand", FINANCE, "    tier: 2\n", "    tier: 2\n    stands_on: {annexe: [app-a]}\n", "stands_on", f"{PAYMENTS}.stands_on.annexe", "no site 'annexe'"),
    # --- what is no plain YAML
    case("duplicate key", FINANCE, "tier: 2", "tier: 2\n    tier: 3", "tier: 3", f"{PAYMENTS}.tier", "key stands twice"),
    case("tab", FINANCE, "    tier: 2", "\ttier: 2", "\ttier", f"{PAYMENTS}.owner", "indent with spaces"),
    case("colon in a text", FINANCE, "title: Payments", "title: Payments: online", "title: Payments: online", "services.payments", "quote the text"),
    case("open bracket", FINANCE, "[ledger-db]", "[ledger-db", "depends_on: [ledger-db\n", f"{PAYMENTS}.depends_on", "bracket, quote or comma"),
    case("open quote", FINANCE, "title: Payments", "title: 'Payments", "title: 'Payments", f"{PAYMENTS}.title", "quote"),
    case("wrong indentation", FINANCE, "    tier: 2", "   tier: 2", "   tier: 2", "services", "wrong indentation"),
    case("python tag", FINANCE, "title: Payments", "title: !!python/object/apply:os.system [id]", "title: !!python", f"{PAYMENTS}.title", "is not read; write plain values"),
    case("tag of a word", FINANCE, "title: Payments", "title: !vault abc", "title: !vault", f"{PAYMENTS}.title", "tag !vault is not read"),
    case("merge key", FINANCE, "    tier: 2\n", "    tier: 2\n    <<: {}\n", "<<", f"{PAYMENTS}.<<", "write the keys out"),
    case("number as a key", FINANCE, "  payments:\n", "  311:\n", "311:", "services.311", "quote it"),
    case("truth value as a key", FINANCE, "  payments:\n", "  no:\n", "no:", "services.no", "quote it"),
    case("list as a key", FINANCE, "  payments:\n", "  ? [a]\n  : {}\n  payments:\n", "? [a]", "services", "key must be a word"),
    case("octal number", FINANCE, "tier: 2", "tier: 02", "tier: 02", f"{PAYMENTS}.tier", "in different ways"),
    case("clock for a number", FINANCE, "rto: 1 h", "rto: 1:30", "rto: 1:30", f"{PAYMENTS}.rto", "in different ways"),
    case("not a number", FINANCE, "rto: 1 h", "rto: .nan", "rto: .nan", f"{PAYMENTS}.rto", "no finite number"),
    case("endless", FINANCE, "rto: 1 h", "rto: .inf", "rto: .inf", f"{PAYMENTS}.rto", "no finite number"),
    case("unknown alias", FINANCE, "title: Payments", "title: *name", "title: *name", f"{PAYMENTS}.title", "names no &anchor"),
    case("cyclic alias", FINANCE, "[ledger-db]", "&loop [*loop]", "depends_on: &loop", f"{PAYMENTS}.depends_on.0", "inside of what it names"),
    case("alias bomb", FINANCE, "services:\n", f"a0: &a0 [x]\n{LEVELS}services:\n", "a6:", "a6.1", "aliases expand to more than"),
    case("deep nesting", FINANCE, "[ledger-db]", "[" * 5000, "depends_on: [[[", f"{PAYMENTS}.depends_on.0", "nested deeper than"),
    case("two documents", FINANCE, "  payments:\n", "---\n  payments:\n", "---", "(file)", "one file, one document"),
    case("control character", FINANCE, "title: Payments", "title: Pay\x07ments", "title: Pay", "(text)", "U+0007"),
    case("NUL", FINANCE, "title: Payments", "title: Pay\0ments", "title: Pay", "(text)", "U+0000"),
    case("escaped NUL", FINANCE, "title: Payments", r'title: "Pay\0ments"', 'title: "Pay', f"{PAYMENTS}.title", "U+0000"),
    case("text that turns", FINANCE, "title: Payments", "title: Pay\u202estnem", "title: Pay", "(text)", "U+202E"),
    case("byte order mark", FINANCE, "services:\n", "\ufeffservices:\n", "", "(text)", "without BOM"),
    case("long line", FINANCE, "title: Payments", f"title: {'P' * 10_001}", "title: PPP", f"{PAYMENTS}.title", "break it"),
    # --- secrets in clear
    case("password", FINANCE, "tier: 2", "tier: 2\n    db_password: hunter2", "db_password", f"{PAYMENTS}.db_password", "{file: path} or {env: NAME}"),
    case("key of DNS", ENVIRONMENT, "key: {file: secrets/tsig_key}", "key: c2VjcmV0", "key: c2V", "dns.key", "{file: path} or {env: NAME}"),
    case("private key", FINANCE, "title: Payments", "title: |\n      -----BEGIN OPENSSH PRIVATE KEY-----", "-----BEGIN", f"{PAYMENTS}.title", "a private key in clear"),
    case("AWS key in a comment", FINANCE, "tier: 2", "tier: 2 # AKIAIOSFODNN7EXAMPLE", "tier: 2 #", f"{PAYMENTS}.tier", "an AWS access key in clear"),
    case("password in a URL", FINANCE, "title: Payments", "title: https://me:hunter2@pay.example", "title: https", f"{PAYMENTS}.title", "a URL with a password"),
    # --- the other files
    case("environment: unknown key", ENVIRONMENT, "timezone:", "timezon:", "timezon", "timezon", "did you mean timezone"),
    case("environment: unknown kind", ENVIRONMENT, "kind: lab", "kind: labs", "kind: labs", "kind", "must be one of"),
    case("environment: own name", ENVIRONMENT, "kind: lab", "kind: lab\nname: other", "name: other", "name", "delete it"),
    case("environment: bad zone", ENVIRONMENT, "America/Chicago", "Chicago", "timezone", "timezone", "write for example"),
    case("plan: bad RRULE", PLAN, "FREQ=MONTHLY;BYMONTHDAY=14,28", "every payday", "rrule", "freezes.0.rrule", "write for example"),
    case("plan: RRULE that never happens", PLAN, "BYMONTHDAY=14,28", "BYMONTHDAY=32,33", "rrule", "freezes.0.rrule", "never happens"),
    case("plan: no choice", PLAN, "services: all", "services: []", "services", "services", "chooses no service"),
    case("plan: unknown key", PLAN, "checks:", "check:", "check:", "check", "did you mean checks"),
    case("drill: unknown fault", DRILL, "fault: power-loss", "fault: flood", "- {fault", "faults.0.fault", "'flood' is none"),
    case("drill: unknown mode", DRILL, "mode: failover", "mode: fialover", "mode", "mode", "must be"),
]
# fmt: on


@pytest.fixture
def city(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small environment without a fault; its inventory is at hand, so that no program is asked."""
    for name, text in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    servers = {
        host: Server(name=host, address="10.1.0.1", site=site, provider="nspawn", image="debian-12")
        for site, hosts in HOSTS.items()
        for host in hosts
    }
    for module in (_lint, _lint_plans):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(_lint, "list_inventory", lambda *asked: Inventory(servers=servers))
    monkeypatch.setenv("MAINSTAY_STATE", str(tmp_path / "state"))
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_whole_environment_has_no_problem(city: Path) -> None:
    assert _lint.lint_environment("city", TODAY).problems == ()


@pytest.mark.parametrize("broken", BROKEN)
def test_a_fault_is_told_with_file_line_key_and_what_to_do(city: Path, broken: Broken) -> None:
    path = city / broken.file
    text = path.read_text()
    assert broken.old in text
    text = text.replace(broken.old, broken.new, 1)
    path.write_text(text, newline="")
    before = contents(city)
    found = _lint.lint_environment("city", TODAY).problems
    line = text[: text.index(broken.at)].count("\n") + 1
    at_key = [f for f in found if (f.file, f.line, f.key) == (str(path), line, broken.key)]
    assert any(broken.words in fault.problem for fault in at_key), [*map(str, found)]
    assert contents(city) == before


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda path: path.write_bytes(b""), "is empty", id="empty"),
        pytest.param(lambda path: path.write_bytes(b"# nothing\n"), "is empty", id="comments alone"),
        pytest.param(lambda path: path.write_bytes(b"- a\n"), "must be a mapping", id="list"),
        pytest.param(lambda path: path.write_bytes(b"services\n"), "must be a mapping", id="word"),
        pytest.param(lambda path: path.write_bytes("services: {}\n".encode("utf-16")), "not UTF-8", id="UTF-16"),
        pytest.param(lambda path: path.write_bytes(b"services: \xff\n"), "not UTF-8", id="Latin-1"),
        pytest.param(lambda path: os.truncate(path, 33 * 2**20), "larger than 32 MiB", id="huge"),
        pytest.param(lambda path: (path.unlink(), path.mkdir()), "no regular file", id="folder"),
        pytest.param(lambda path: (path.unlink(), path.symlink_to("/")), "no regular file", id="link to a folder"),
        pytest.param(lambda path: (path.unlink(), path.symlink_to(path)), "cannot be read", id="link to itself"),
        pytest.param(lambda path: (path.unlink(), path.symlink_to("gone")), "cannot be read", id="link to nothing"),
        pytest.param(lambda path: (path.unlink(), os.mkfifo(path)), "no regular file", id="pipe that nobody writes"),
        pytest.param(lambda path: (path.unlink(), path.symlink_to("/dev/zero")), "no regular file", id="device without end"),
        pytest.param(
            lambda path: (path.unlink(), path.symlink_to("/proc/self/mem")), "cannot be read", id="file that gives an error"
        ),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_told(city: Path, make: Callable[[Path], object], words: str) -> None:
    path = city / FINANCE
    make(path)
    found = _lint.lint_environment("city", TODAY).problems
    assert [(fault.file, fault.line, fault.key) for fault in found] == [(str(path), 1, "(file)")]
    assert words in found[0].problem


def test_a_file_without_permission_is_told(city: Path) -> None:
    path = city / SERVICES
    path.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)  # root reads every file, nobody does not
    try:
        document = read_document(path)
    finally:
        if root:
            os.seteuid(0)
    assert "Permission denied" in document.problems[0].message


def test_problems_of_all_files_are_shown_together_in_their_order(city: Path) -> None:
    for name, old, new in (
        (ENVIRONMENT, "kind: lab", "kind: labs"),
        (SERVICES, "tier: 3", "tier: 8"),
        (FINANCE, "tier: 1", "tier: 8"),
        (FINANCE, "[ledger-db]", "[ledgre-db]"),
        (PLAN, "title", "tilte"),
        (DRILL, "mode: failover", "mode: none"),
    ):
        path = city / name
        path.write_text(path.read_text().replace(old, new, 1))
    found = _lint.lint_environment("city", TODAY).problems
    assert [Path(fault.file).name for fault in found] == [
        *("environment.yml", "services.yml", "finance.yml", "finance.yml"),
        *("all.yml", "all.yml", "loss.yml"),
    ]
    assert [fault.line for fault in found[2:4]] == sorted(fault.line for fault in found[2:4])


def test_a_faulty_service_makes_no_fault_of_those_that_need_it(city: Path) -> None:
    path = city / FINANCE
    path.write_text(path.read_text().replace("tier: 1", "tier: 8"))
    assert [fault.key for fault in _lint.lint_environment("city", TODAY).problems] == [
        "services.ledger-db.tier"
    ]


def test_a_secret_in_clear_is_never_repeated(city: Path) -> None:
    path = city / FINANCE
    path.write_text(path.read_text().replace("tier: 2", "tier: 2\n    token: hunter2 # redis://me:hunter2@x"))
    found = _lint.lint_environment("city", TODAY)
    assert len(found.problems) >= 2
    assert "hunter2" not in found.model_dump_json()


def test_an_environment_that_is_not_there_is_refused(city: Path) -> None:
    with pytest.raises(ConfigError, match="no environment"):
        _lint.lint_environment("town", TODAY)


def test_an_inventory_that_cannot_be_resolved_is_a_problem(
    city: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*asked: object) -> Inventory:
        raise ConfigError("the inventory is not complete")

    monkeypatch.setattr(_lint, "list_inventory", refuse)
    assert [fault.key for fault in _lint.lint_environment("city", TODAY).problems] == ["inventory"]


def test_the_command_prints_every_problem_and_ends_with_2(
    city: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = city / FINANCE
    path.write_text(path.read_text().replace("tier: 1", "tier: 8"))
    with pytest.raises(Exit) as caught:
        dr.lint(Context(), env="city", json=False)
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{path}:5: services.ledger-db.tier: ")
    assert "problems: 1; nothing was touched" in printed.err


def test_an_acceptance_that_has_ended_is_a_note_and_no_problem(city: Path) -> None:
    found = _lint.lint_environment("city", date(2028, 1, 1))
    assert found.problems == ()
    assert "services.telephony.strategy.review_by" in [note.key for note in found.notes]
