"""The schedule of an environment: its units, putting them in place, judging how the jobs go."""

import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from automation.adapters.timers import Systemd, require_systemd
from automation.backups.timetable import ScheduledJob
from automation.commands._jobs import judge
from automation.commands._schedule import AUDIT, Change, ask_yes, carry_out, jobs_of
from automation.commands._told_jobs import tell_of_job, what_it_said
from automation.commands._units import Place, marker, render_units
from automation.model.environment import Environment, load_environment
from automation.model.errors import ConfigError, NotMet, PreflightError, StepFailed
from automation.model.timers import ServiceSeen, TimerSeen
from tests.conftest import ROOT

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
PLACE = Place(Path("/opt/mainstay"), Path("/var/lib/mainstay/lab"))
ROTATE = ScheduledJob(
    command="backup.rotate",
    calendar="*-*-* 03:30 America/Denver",
    beat_s=86400,
    jitter_s=1800,
    longest_s=86400,
    retry_s=300,
    tries=24,
)
STATUS = ScheduledJob(
    command="backup.status", calendar="*:0/15", beat_s=900, jitter_s=60, longest_s=900, authorised=False
)
JOBS = (ROTATE, STATUS)
SERVICE, TIMER = "mainstay-lab-backup-rotate.service", "mainstay-lab-backup-rotate.timer"


@pytest.fixture(scope="module")
def environment() -> Environment:
    return load_environment(ROOT, "lab")


def units(environment: Environment, place: Place = PLACE) -> dict[str, str]:
    return render_units(environment, JOBS, {"backup.rotate": "nightly"}, place)


class Answers:
    """Stands for systemctl: takes down what it is asked, and says no to one word."""

    def __init__(self, refuses: str = "", shows: str = "") -> None:
        self.asked: list[str] = []
        self.refuses, self.shows = refuses, shows

    def __call__(self, argv: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        words = " ".join(argv)
        self.asked.append(words.removeprefix("env TZ=UTC systemctl --no-pager "))
        no = bool(self.refuses) and self.refuses in words
        return subprocess.CompletedProcess(argv, int(no), self.shows, "Access denied" if no else "")


# --- units -----------------------------------------------------------------------------------------


def test_a_unit_starts_the_command_under_its_authorisation_by_an_absolute_path(
    environment: Environment,
) -> None:
    text = units(environment)[SERVICE].splitlines()
    assert "ExecStart=/opt/mainstay/inv backup.rotate --env lab --authorisation nightly" in text
    assert "OnFailure=mainstay-lab-notify@backup.rotate.service" in text
    assert "StandardError=journal" in text, "without it, it would go where the output goes: nowhere"
    assert not any(line.startswith("Environment=MAINSTAY_STATE") for line in text)


def test_the_state_folder_that_was_chosen_is_kept(environment: Environment) -> None:
    text = units(environment, PLACE._replace(chosen="/srv/state"))
    assert all("Environment=MAINSTAY_STATE=/srv/state\n" in text[name] for name in text if "service" in name)


def test_the_watchdog_writes_the_metrics_that_are_wanted(environment: Environment) -> None:
    wanted = environment.model_copy(update={"metrics": Path("/var/lib/node/mainstay.prom")})
    text = units(wanted)["mainstay-lab-backup-status.service"]
    assert "inv backup.status --env lab --metrics /var/lib/node/mainstay.prom\n" in text, (
        "and no authorisation"
    )


def test_a_weekly_timer_catches_up_and_every_machine_has_its_own_delay(environment: Environment) -> None:
    text = units(environment)[TIMER].splitlines()
    for line in (
        "OnCalendar=*-*-* 03:30 America/Denver",
        "Persistent=yes",
        "RandomizedDelaySec=1800",
        "FixedRandomDelay=yes",
    ):
        assert line in text


@pytest.mark.parametrize(
    "checkout", ["/opt/main stay", "/opt/%h/mainstay", "/opt/$(id)", '/opt/"x"', "/a\nb"]
)
def test_a_path_that_systemd_would_read_otherwise_is_refused(checkout: str, environment: Environment) -> None:
    with pytest.raises(PreflightError, match="cannot stand in a unit of systemd; nothing was changed"):
        units(environment, PLACE._replace(checkout=Path(checkout)))


def test_what_an_audit_finds_is_no_failure_of_its_job(environment: Environment) -> None:
    text = render_units(environment, (AUDIT, STATUS), {}, PLACE)
    lines = text["mainstay-lab-baseline-audit.service"].splitlines()
    assert "ExecStart=/opt/mainstay/inv baseline.audit --env lab --tell" in lines
    assert [one for one in lines if one.startswith("SuccessExitStatus")] == [
        "SuccessExitStatus=7",
        "SuccessExitStatus=3 6",
    ]
    assert "SuccessExitStatus=3 6" not in text["mainstay-lab-backup-status.service"]
    assert "RandomizedDelaySec=3600" in text["mainstay-lab-baseline-audit.timer"]


@pytest.mark.parametrize(
    ("files", "last"), [(("backups.yml",), "backup.status"), (("backups.yml", "baseline.yml"), AUDIT.command)]
)
def test_an_environment_with_a_baseline_is_audited_without_anybodys_signature(
    files: tuple[str, ...], last: str, environment: Environment, tmp_path: Path
) -> None:
    for name in files:
        (tmp_path / name).write_text((ROOT / "inventories/lab" / name).read_text())
    jobs = jobs_of(environment.model_copy(update={"folder": tmp_path}))
    assert jobs[-1].command == last
    assert not jobs[-1].authorised
    (tmp_path / "backups.yml").unlink()
    bare = environment.model_copy(update={"folder": tmp_path})
    if last == AUDIT.command:
        assert jobs_of(bare) == (AUDIT,)
    else:
        with pytest.raises(ConfigError, match=r"no backups.yml and no baseline.yml"):
            jobs_of(bare)


# --- putting them in place -------------------------------------------------------------------------


def change(environment: Environment, systemd: Systemd, asleep: tuple[str, ...] = ()) -> Change:
    return Change(systemd.units, systemd.read(marker("lab")), units(environment), asleep)


def put(change: Change, environment: Environment, systemd: Systemd, state: Path) -> bool:
    return carry_out(change, environment, state, systemd, confirm=lambda: True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "units").mkdir()
    return tmp_path / "units"


def test_an_install_shows_writes_and_starts_and_a_second_one_does_nothing(
    environment: Environment, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = Answers()
    systemd = Systemd(folder, asked)
    assert put(change(environment, systemd), environment, systemd, tmp_path) is True
    timers = "mainstay-lab-backup-rotate.timer mainstay-lab-backup-status.timer"
    assert asked.asked == ["daemon-reload", f"enable --quiet {timers}", f"restart {timers}"]
    assert {path.name: path.read_text() for path in folder.iterdir()} == units(environment)
    shown = capsys.readouterr().out
    assert "+ExecStart=/opt/mainstay/inv backup.rotate --env lab --authorisation nightly" in shown
    assert put(change(environment, systemd), environment, systemd, tmp_path) is False
    assert len(asked.asked) == 3
    assert capsys.readouterr().out == ""


def test_only_what_differs_is_shown_and_written_and_what_no_job_needs_is_deleted(
    environment: Environment, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = Answers()
    systemd = Systemd(folder, asked)
    put(change(environment, systemd), environment, systemd, tmp_path)
    (folder / SERVICE).write_text((folder / SERVICE).read_text().replace("Nice=10", "Nice=0"))
    old = "mainstay-lab-backup-canary.timer"
    (folder / old).write_text("[X-Mainstay]\nOf=lab\n")
    asked.asked.clear()
    capsys.readouterr()
    wanted = change(environment, systemd)
    assert (wanted.written, wanted.deleted) == ((SERVICE,), (old,))
    put(wanted, environment, systemd, tmp_path)
    shown = capsys.readouterr().out
    assert "-Nice=0\n+Nice=10\n" in shown
    assert asked.asked == [f"disable --now {old}", "daemon-reload"]
    assert {path.name for path in folder.iterdir()} == set(units(environment))


def test_units_of_others_are_neither_read_nor_replaced(environment: Environment, folder: Path) -> None:
    systemd = Systemd(folder, Answers())
    (folder / SERVICE).write_text("[Service]\nExecStart=/bin/true\n")
    (folder / "mainstay-lab-east-backup-run.timer").write_text("[X-Mainstay]\nOf=lab-east\n")
    (folder / TIMER).symlink_to("/dev/null")
    assert systemd.read(marker("lab")) == {}
    assert systemd.foreign([SERVICE, TIMER, "mainstay-lab-notify@.service"], marker("lab")) == [
        SERVICE,
        TIMER,
    ]


def test_who_says_no_changes_nothing(environment: Environment, folder: Path, tmp_path: Path) -> None:
    asked = Answers()
    systemd = Systemd(folder, asked)
    with pytest.raises(PreflightError, match="not agreed to; nothing was changed"):
        carry_out(change(environment, systemd), environment, tmp_path, systemd, confirm=lambda: False)
    assert (list(folder.iterdir()), asked.asked) == ([], [])


def test_without_a_terminal_the_flag_alone_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert ask_yes(yes=True)() is True
    with pytest.raises(PreflightError, match="nobody sits at a terminal"):
        ask_yes(yes=False)()


def test_where_systemd_says_no_the_rest_is_told_and_a_second_install_goes_on(
    environment: Environment, folder: Path, tmp_path: Path
) -> None:
    systemd = Systemd(folder, Answers(refuses="enable"))
    with pytest.raises(StepFailed, match=r"changed in part: systemctl .* Access denied") as caught:
        put(change(environment, systemd), environment, systemd, tmp_path)
    assert "./inv schedule.install --env lab goes on" in (caught.value.hint or "")
    asked = Answers()
    systemd = Systemd(folder, asked)
    timers = tuple(name for name in units(environment) if name.endswith(".timer"))
    put(change(environment, systemd, timers), environment, systemd, tmp_path)
    assert asked.asked[-1] == f"restart {' '.join(timers)}"


def test_a_machine_without_systemd_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"systemd is not PID 1 of this machine.*nothing was changed"):
        require_systemd(tmp_path / "none")
    require_systemd(tmp_path)


# --- how they go -----------------------------------------------------------------------------------

WELL = TimerSeen(
    enabled=True,
    active=True,
    since=NOW - timedelta(days=9),
    next_at=NOW + timedelta(hours=10),
    last_at=NOW - timedelta(hours=14),
)
DONE = ServiceSeen(state="inactive", result="success", exit_code=0, ended_at=NOW - timedelta(hours=13))
NEVER = ServiceSeen(state="inactive", result="success", exit_code=0)

SEEN: dict[str, tuple[TimerSeen, ServiceSeen, str, tuple[str, ...]]] = {
    "well": (WELL, DONE, "ok", ()),
    "new": (WELL.model_copy(update={"last_at": None, "since": NOW}), NEVER, "not-run-yet", ()),
    "under way": (WELL, DONE.model_copy(update={"state": "active"}), "running", ()),
    "waiting to be tried again": (WELL, DONE.model_copy(update={"state": "activating"}), "running", ()),
    "disabled": (WELL.model_copy(update={"enabled": False}), DONE, "red", ("its timer is disabled",)),
    "stopped": (WELL.model_copy(update={"active": False}), DONE, "red", ("its timer is stopped",)),
    "silent": (
        WELL.model_copy(update={"last_at": NOW - timedelta(hours=49)}),
        DONE,
        "red",
        ("silent for 49 h",),
    ),
    "never began": (
        WELL.model_copy(update={"last_at": None}),
        NEVER,
        "red",
        ("silent for 216 h",),
    ),
    "failed": (
        WELL,
        DONE.model_copy(update={"state": "failed", "result": "exit-code", "exit_code": 4}),
        "red",
        ("it failed: refused before the first step; nothing changed (exit 4)",),
    ),
    "found something": (
        WELL,
        DONE.model_copy(update={"exit_code": 6}),
        "ok",
        (),
    ),
    "killed": (
        WELL,
        DONE.model_copy(update={"state": "failed", "result": "oom-kill", "exit_code": 9}),
        "red",
        ("it failed: it was killed (oom-kill)",),
    ),
}


@pytest.mark.parametrize(("timer", "service", "state", "faults"), SEEN.values(), ids=SEEN)
def test_a_job_is_red_when_it_is_missing_silent_or_failed(
    timer: TimerSeen, service: ServiceSeen, state: str, faults: tuple[str, ...]
) -> None:
    seen = judge(ROTATE, "mainstay-lab-backup-rotate", iter(()), timer, service, None, NOW)
    assert (seen.state, seen.faults) == (state, faults)


def test_a_job_that_is_not_installed_says_only_that() -> None:
    off = TimerSeen(enabled=False, active=False)
    seen = judge(ROTATE, "mainstay-lab-backup-rotate", iter(["not installed"]), off, NEVER, None, NOW)
    assert (seen.state, seen.faults) == ("red", ("not installed",))


def test_what_systemd_says_is_read(folder: Path) -> None:
    said = (
        "LastTriggerUSec=Sun 2026-11-22 08:16:18 UTC\nActiveEnterTimestamp=@1795333293\n"
        "NextElapseUSecRealtime=\nUnitFileState=enabled\nActiveState=active\n"
    )
    seen = Systemd(folder, Answers(shows=said)).timer(TIMER)
    last, since = datetime(2026, 11, 22, 8, 16, 18, tzinfo=UTC), datetime.fromtimestamp(1795333293, UTC)
    assert seen == TimerSeen(enabled=True, active=True, last_at=last, since=since)


# --- telling ---------------------------------------------------------------------------------------


def test_the_last_error_of_a_job_is_told_with_its_hint_and_no_progress() -> None:
    said = (
        "run 1 begins",
        "error: first",
        "hint: no",
        "again",
        "error: nas is full",
        "hint: ./inv x",
        "at 3",
    )
    assert what_it_said(said) == ("error: nas is full", "hint: ./inv x", "at 3")
    assert what_it_said(("Killed",)) == ("Killed",)
    assert what_it_said(()) == ()


def failed(code: int) -> Answers:
    shown = (
        f"ActiveState=failed\nResult=exit-code\nExecMainStatus={code}\nExecMainExitTimestamp=@1795333293\n"
    )
    return Answers(shows=f"{shown}InvocationID=abc\n")


def test_what_a_job_told_itself_is_not_told_twice(
    environment: Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from automation.commands._notify import alarm, recall

    monkeypatch.setenv("INVOCATION_ID", "abc")
    alarm(environment, tmp_path, "rotation of share in nas", "frozen", now=NOW)
    monkeypatch.delenv("INVOCATION_ID")
    assert tell_of_job(environment, tmp_path, "backup.rotate", Systemd(tmp_path, failed(6))) == 0
    assert recall(tmp_path, "backup.rotate") is None
    tell_of_job(environment, tmp_path, "backup.rotate", Systemd(tmp_path, failed(5)))
    assert recall(tmp_path, "backup.rotate") is not None, "it stopped part-way as well, which it did not tell"


def test_when_nobody_can_be_told_the_notifier_fails_itself(environment: Environment, tmp_path: Path) -> None:
    from automation.model.environment import NotifyTarget, SecretRef

    nobody = {"ops": NotifyTarget(url=SecretRef(file="not-there"))}
    unreachable = environment.model_copy(update={"notify": nobody})
    with pytest.raises(NotMet, match="nobody could be told: ops of lab"):
        tell_of_job(unreachable, tmp_path, "backup.rotate", Systemd(tmp_path, failed(5)))


def test_every_unit_types_a_command_that_there_is_with_flags_that_it_has(environment: Environment) -> None:
    import inspect

    from automation.backups.spec import load_backups
    from automation.backups.timetable import plan_jobs
    from tasks import namespace

    wanted = environment.model_copy(update={"metrics": Path("/var/lib/node/mainstay.prom")})
    jobs = (*plan_jobs(load_backups(ROOT / "inventories/example-city/backups.yml")), AUDIT)
    granted = {job.command: "name" for job in jobs if job.authorised}
    for text in render_units(wanted, jobs, granted, PLACE).values():
        for line in text.splitlines():
            if line.startswith("ExecStart="):
                command, *words = line.removeprefix("ExecStart=/opt/mainstay/inv ").split()
                flags = set(inspect.signature(namespace[command].body).parameters)
                assert {word[2:] for word in words if word.startswith("--")} <= flags, line
