"""Rules of audit, programs that compare files, and places that logs are sent to: which of them work."""

from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from automation.shipped.collector import logs, watching
from automation.shipped.collector.forwarding import destinations


@pytest.mark.parametrize(
    ("rule", "files", "calls"),
    [
        ("-w /etc/passwd -p wa -k identity", ["/etc/passwd"], []),
        ("-w /etc/sudoers.d/ -p rwxa", ["/etc/sudoers.d"], []),
        ("-w /etc/passwd -p r -k passwatch", [], []),
        ("-a always,exit -F path=/etc/shadow -F perm=wa -F key=id", ["/etc/shadow"], []),
        ("-a always,exit -S all -F path=/etc/shadow -F perm=wa -F key=id", ["/etc/shadow"], []),
        ("-a always,exit -S openat -F path=/etc/shadow -F success=0", [], []),
        ("-a always,exit -F path=/etc/shadow -F perm=wa -F uid=33", [], []),
        ("-a exit,always -F arch=b64 -S adjtimex,settimeofday -k time", [], ["adjtimex", "settimeofday"]),
        ("-a always,exit -F arch=b64 -S init_module -F auid>=1000 -F auid!=-1", [], ["init_module"]),
        ("-a always,exit -F arch=b64 -S settimeofday -F exe=/usr/bin/date", [], []),
        ("-a always,exit -F arch=b64 -S settimeofday -C uid!=euid", [], []),
        ("-a always,exit -F arch=b64 -S init_module -F auid=1000", [], []),
        ("-a always,exit -F arch=b32 -S settimeofday -F key=time", [], []),
        ("-a always,exit -F arch=b64 -S clock_settime -F a0=0x0 -F key=time", [], ["clock_settime"]),
        ("-a always,exit -F arch=b64 -S settimeofday -F a0=0x0", [], []),
        ("-a never,exit -F arch=b64 -S settimeofday", [], []),
        ("-a always,exit -F path=/etc/shadow -F perm=wa -F auid>=60000", [], []),
        ("-a always,exit -F path=/etc/shadow -F perm=wa -F auid!=1000", [], []),
        ("-a always,exit -F path=/etc/shadow -F perm=wa -F auid!=unset", ["/etc/shadow"], []),
        ("-a", [], []),
    ],
)
def test_a_rule_records_what_nobody_is_left_out_of(rule: str, files: list[str], calls: list[str]) -> None:
    assert watching.recorded([rule]) == {"files": files, "calls": calls}


WATCH = "-w /etc/passwd -p wa"
CLOCK = "-a always,exit -F arch=b64 -S settimeofday"


@pytest.mark.parametrize(
    ("rules", "files", "calls"),
    [
        (["-a never,exit -S all", WATCH, CLOCK], [], []),
        (["-a never,exit -F auid>=1000", WATCH, CLOCK], [], []),
        ([WATCH, CLOCK, "-a never,exit -S all"], ["/etc/passwd"], ["settimeofday"]),
        ([WATCH, CLOCK, "-A exit,never -S all"], [], []),
        (["-a never,exit -F dir=/etc/", WATCH, CLOCK], [], ["settimeofday"]),
        (["-a never,exit -F path=/etc/passwd-", WATCH], ["/etc/passwd"], []),
        (["-a never,exit -F path=/etc/sudoers.d/ops", "-w /etc/sudoers.d -p wa"], [], []),
        (["-a never,exit -S openat", WATCH, CLOCK], [], ["settimeofday"]),
        (["-a never,exit -S settimeofday -F uid=33", WATCH, CLOCK], ["/etc/passwd"], []),
        (["-a never,exit -S adjtimex", WATCH, CLOCK], ["/etc/passwd"], ["settimeofday"]),
    ],
)
def test_the_first_rule_that_matches_counts(rules: list[str], files: list[str], calls: list[str]) -> None:
    assert watching.recorded(rules) == {"files": files, "calls": calls}


@pytest.mark.parametrize(
    ("rule", "silent"),
    [
        ("-a never,task", True),
        ("-a never,task -F key=x", True),
        ("-a always,exclude -F msgtype=SYSCALL", True),
        ("-a exclude,never -F msgtype>=1300", True),
        ("-a always,exclude -F auid=1000", True),
        ("-a always,exclude -F msgtype=CWD", False),
        ("-a never,filesystem -F fstype=0xEF53", True),
        ("-a never,filesystem -F fstype=tracefs", False),
        ("-a never,user -F uid=33", False),
        ("-e 0", True),
        ("-e 2", False),
        ("-W /etc/passwd -p wa", True),
        ("-d always,exit -S settimeofday", True),
        ("-b 8192", False),
    ],
)
def test_what_silences_all_rules_lets_none_record(rule: str, silent: bool) -> None:
    assert watching.recorded([WATCH, rule]) == {"files": [] if silent else ["/etc/passwd"], "calls": []}


@pytest.mark.parametrize(
    ("text", "leaves", "tls", "logins"),
    [
        ("*.* @@logs:6514", True, False, True),
        ("$DefaultNetstreamDriver gtls\n$ActionSendStreamDriverMode 1\n*.* @@(o)logs:6514", True, True, True),
        ("$DefaultNetstreamDriver gtls\n*.* @@logs", True, False, True),
        ("$DefaultNetstreamDriver gtls\n$ActionSendStreamDriverMode 1\n*.* @logs", True, False, True),
        ("*.* @@logs\n$DefaultNetstreamDriver ossl\n$ActionSendStreamDriverMode 1", True, False, True),
        ("*.* @127.0.0.1:1514", False, False, True),
        ("mail.info @@logs", True, False, False),
        ("*.*;auth,authpriv.none @@logs", True, False, False),
        (
            '*.* action(type="omfwd" target="l" protocol="tcp" StreamDriver="ossl" StreamDriverMode="1")',
            True,
            True,
            True,
        ),
        ('action(type="omfwd" target="l" protocol="tcp" StreamDriver="gtls")', True, False, True),
        ('action(type="omfwd" target="l" StreamDriver="gtls" StreamDriverMode="1")', True, False, True),
        (
            'global(DefaultNetstreamDriver="gtls")\naction(\n  type="omfwd"\n  target="l"\n  protocol="tcp"\n'
            '  streamDriverMode="1" # on\n)',
            True,
            True,
            True,
        ),
        ('action(type="omrelp" target="l" tls="on")', True, True, True),
        (
            'action(type="omfwd" target="l" protocol="tcp" StreamDriver="gtls" StreamDriverMode="1"'
            ' StreamDriverAuthMode="anon")',
            True,
            False,
            True,
        ),
        (
            "$DefaultNetstreamDriver gtls\n$ActionSendStreamDriverMode 1\n"
            "$ActionSendStreamDriverAuthMode anon\n*.* @@logs",
            True,
            False,
            True,
        ),
        ("if $programname == 'x' then {\n  @logs\n}", True, False, False),
        ("if $programname == 'x' then { @@logs }", True, False, False),
        ('if $programname == "x" then action(type="omrelp" target="l" tls="on")', True, True, False),
    ],
)
def test_a_place_is_told_with_how_messages_go_there(text: str, leaves: bool, tls: bool, logins: bool) -> None:
    (one,) = destinations(text)
    assert (not one["local"], one["tls"], one["logins"]) == (leaves, tls, logins)


SAFE = 'action(type="omrelp" target="l" tls="on")'
DEBIANS = "auth,authpriv.* /var/log/auth.log\n*.*;auth,authpriv.none -/var/log/syslog\n"


@pytest.mark.parametrize(
    ("text", "logins"),
    [
        (f"if $programname == 'myapp' then {{\n {SAFE}\n}}", False),
        (f"if $programname == 'myapp' then\n  {SAFE}", False),
        (f"if $programname == 'x' then {{ stop }} else {{\n {SAFE}\n}}", False),
        (f':programname, isequal, "myapp"\n{SAFE}', False),
        (f"mail.*\n{SAFE}", False),
        (f"mail.* /var/log/mail\n& {SAFE}", False),
        (f'ruleset(name="unused") {{\n{SAFE}\n}}', False),
        (f'ruleset(\n name="unused"\n)\n{{\n{SAFE}\n}}', False),
        (f'template(name="t" string="# \\"{{\n")\nif $x == "y" then {{\n{SAFE}\n}}', False),
        (f"{DEBIANS}& stop\n*.* {SAFE}", True),
        (f"auth,authpriv.* /var/log/auth.log\n& stop\n*.* {SAFE}", False),
        (f"auth,authpriv.* ~\n*.* {SAFE}", False),
        (f"*.*;auth,authpriv.none ~\n*.* {SAFE}", True),
        (f"*.*;auth.none ~\n*.* {SAFE}", False),
        (f"mail.* /var/log/mail\n& stop\n*.* {SAFE}", True),
        (f':msg, contains, "a }} stop" ~\n*.* {SAFE}', True),
        (f"if $programname == 'haproxy' then {{\n /var/log/x\n stop\n}}\n*.* {SAFE}", True),
        (f"if $programname == 'sshd' then {{\n /var/log/x\n stop\n}}\n*.* {SAFE}", False),
        (f"if not ($programname == 'x') then\n stop\n*.* {SAFE}", False),
        (f"stop\n{SAFE}", False),
        (f"*.* {SAFE}\nauth.* stop", True),
        (f"*.* {{\n{SAFE}\n}}", True),
        (f"*.*\n{SAFE}", True),
        (f"{DEBIANS}{SAFE}", True),
        (f"if $x == 'y' then {{ /var/log/y }}\n{SAFE}", True),
    ],
)
def test_logins_go_where_no_filter_keeps_them_from(text: str, logins: bool) -> None:
    (one,) = destinations(text)
    assert (one["tls"], one["logins"]) == (True, logins)


@pytest.mark.parametrize(
    "text",
    [
        "#*.* @@logs",
        "/* until the audit\n*.* @@logs\n*/",
        "*.* /var/log/all # for ops@city.example",
        'module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1")',
        '$template mail,"to ops @@home"',
        'action(type="omfile" file="/var/log/omfwd")',
        'action(type="omfile"\n template="to \\" @home")',
    ],
    ids=["commented", "commented as in C", "an address", "what comes in", "a template", "a file", "text"],
)
def test_what_sends_nothing_is_no_place(text: str) -> None:
    assert destinations(text) == []


@pytest.mark.parametrize(
    ("include", "logins"),
    [
        ("$IncludeConfig /etc/rsyslog.d/*.conf", False),
        ('include(file="/etc/rsyslog.d/*.conf" mode="optional")', False),
        ("#$IncludeConfig /etc/rsyslog.d/*.conf", True),
    ],
)
def test_a_file_that_is_included_first_drops_what_is_sent_later(include: str, logins: bool) -> None:
    others = "auth,authpriv.* /var/log/auth.log\n& stop\n"
    (one,) = destinations(logs.included(f"{include}\n*.* {SAFE}\n", others))
    assert one["logins"] is logins


def test_all_files_of_a_folder_are_no_comment() -> None:
    text = "$IncludeConfig /etc/rsyslog.d/*.conf\n*.* @@logs\n*.* /var/log/*/x"
    assert [one["target"] for one in destinations(text)] == ["logs"]


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a host of cron alone, with jobs of aide and debsums; nothing lacks but what a test takes away."""
    (tmp_path / "cron.daily").mkdir()
    for name in ("aide", "debsums"):
        job = tmp_path / "cron.daily" / name
        job.write_text(f'#!/bin/sh\n[ "$CRON_CHECK" = daily ] && {name}\n')
        job.chmod(0o755)
    (tmp_path / "aide.db").touch()
    defaults = tmp_path / "debsums"
    defaults.write_text("CRON_CHECK=daily\n")
    monkeypatch.setattr(watching, "FOLDERS", (str(tmp_path / "cron.daily"),))
    monkeypatch.setattr(watching, "DATABASES", {"aide": (str(tmp_path / "aide.db"),)})
    monkeypatch.setattr(watching, "DEBSUMS", str(defaults))
    monkeypatch.setattr(watching, "AIDE", str(tmp_path / "aide"))
    monkeypatch.setattr(watching, "systemd_runs", lambda: False)
    monkeypatch.setattr(watching, "is_here", lambda name: name in ("aide", "debsums"))
    monkeypatch.setattr(watching, "has_unit", lambda name: name == "cron.service")
    monkeypatch.setattr(watching, "attempt", lambda argv: CompletedProcess(argv, 0))
    return tmp_path


def found() -> dict[str, str]:
    return {one["tool"]: one["idle"] for one in watching.collect_integrity()["ways"]}


def test_jobs_that_run_compare_files(etc: Path) -> None:
    assert found() == {"aide": "", "debsums": ""}


def test_what_debian_ships_switched_off_compares_nothing(etc: Path) -> None:
    (etc / "debsums").write_text("CRON_CHECK=never\n")
    assert found()["debsums"] == "CRON_CHECK of /etc/default/debsums is never"


def test_without_a_database_there_is_nothing_to_compare_with(etc: Path) -> None:
    (etc / "aide.db").unlink()
    assert "its database is not there" in found()["aide"]


# Of aide-common 0.18.3-1+deb12u5, without what it does with capabilities.
AIDE_OF_DEBIAN = """#!/bin/sh
# Skip if systemd is running.
if [ -d /run/systemd/system ]; then
    exit 0
fi
SCRIPT="/usr/share/aide/bin/dailyaidecheck"
"${SCRIPT}" --crondaily
"""


@pytest.mark.parametrize(("systemd", "why"), [(False, ""), (True, "it leaves that to a timer of systemd's")])
def test_the_job_of_debian_compares_nothing_where_systemd_runs(
    etc: Path, monkeypatch: pytest.MonkeyPatch, systemd: bool, why: str
) -> None:
    (etc / "cron.daily/aide").write_text(AIDE_OF_DEBIAN)
    monkeypatch.setattr(watching, "systemd_runs", lambda: systemd)
    assert found()["aide"] == why


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("#CRON_DAILY_RUN=no\n", ""),
        ("CRON_DAILY_RUN=\n", ""),
        ("CRON_DAILY_RUN='yes'\n", ""),
        ("CRON_DAILY_RUN=no\n", "CRON_DAILY_RUN of /etc/default/aide is no"),
    ],
)
@pytest.mark.parametrize("timer", ["", "dailyaidecheck.timer"])
def test_a_daily_script_of_aide_that_is_switched_off_compares_nothing(
    etc: Path, monkeypatch: pytest.MonkeyPatch, said: str, why: str, timer: str
) -> None:
    (etc / "aide").write_text(said)
    (etc / "cron.daily/aide").write_text(AIDE_OF_DEBIAN)
    if timer:
        (etc / "cron.daily/aide").unlink()
        monkeypatch.setattr(watching, "has_unit", lambda name: name in (timer, "cron.service"))
    assert found()["aide"] == why


@pytest.mark.parametrize(("database", "idle"), [("city.twd", False), ("city.twd.bak", True)])
def test_tripwire_without_a_database_compares_nothing(
    etc: Path, monkeypatch: pytest.MonkeyPatch, database: str, idle: bool
) -> None:
    job = etc / "cron.daily/tripwire"
    job.write_text("#!/bin/sh\n/usr/sbin/tripwire --check --quiet\n")
    job.chmod(0o755)
    (etc / database).touch()
    monkeypatch.setattr(watching, "DATABASES", {"tripwire": (str(etc / "*.twd"),)})
    monkeypatch.setattr(watching, "is_here", lambda name: name == "tripwire")
    assert bool(found()["tripwire"]) is idle


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        ("#!/bin/sh\n# aide --check\n", 0o755, "no line of it calls aide"),
        ("aide --check\n", 0o644, "not executable"),
    ],
)
def test_a_job_that_does_nothing_compares_nothing(etc: Path, text: str, mode: int, why: str) -> None:
    job = etc / "cron.daily/aide"
    job.write_text(text)
    job.chmod(mode)
    assert why in found()["aide"]


def test_where_cron_does_not_run_no_job_does(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "attempt", lambda argv: CompletedProcess(argv, 3))
    assert set(found().values()) == {"cron does not run"}


def test_a_program_that_was_removed_leaves_a_job_that_compares_nothing(
    etc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "is_here", lambda name: name == "debsums")
    assert found() == {"aide": "aide is not here", "debsums": ""}


@pytest.mark.parametrize(
    ("failing", "why"),
    [("", ""), ("is-enabled", "it is not enabled"), ("is-active", "it does not run")],
    ids=["well", "disabled", "stopped"],
)
def test_a_timer_starts_something_while_it_is_enabled_and_runs(
    etc: Path, monkeypatch: pytest.MonkeyPatch, failing: str, why: str
) -> None:
    def attempt(argv: list[str]) -> Any:
        return CompletedProcess(argv, int(argv[1] == failing))

    for job in (etc / "cron.daily").iterdir():
        job.unlink()
    monkeypatch.setattr(watching, "has_unit", lambda name: name == "dailyaidecheck.timer")
    monkeypatch.setattr(watching, "attempt", attempt)
    assert found() == {"aide": why}
