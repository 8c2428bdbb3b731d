"""The timers of jobs, on a real systemd: they begin, never overlap, are tried again, and tell people."""

import io
import json
import shlex
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from automation.adapters import nspawn
from automation.adapters.timers import Systemd
from automation.backups.timetable import ScheduledJob
from automation.commands._jobs import judge
from automation.commands._schedule import Change, carry_out
from automation.commands._told_jobs import tell_of_job
from automation.commands._units import Place, marker, render_units, unit_of
from automation.model.environment import Environment, NotifyTarget
from automation.model.secrets import SecretRef
from automation.model.timers import JobSeen
from tests.commands.test_notify import Mailbox
from tests.lab.small import Small, until

pytestmark = pytest.mark.lab

HOST, NAME = "pg-a", "timers"
# Stands in for ./inv: writes down when it begins and ends, and ends as the test wants, once for each word.
STAND_IN = """#!/bin/sh
cd /run/stand-in || exit 1
[ "$1" != schedule.notify ] || { echo "$5" >> notices; exit 0; }
echo begin >> "$1.log"
read -r code < "$1.codes" || code=0
sed -i 1d "$1.codes"
[ "$1" != backup.run ] || sleep 2
[ "$code" = 0 ] || echo "error: the repository nas is not there; nothing was changed" >&2
echo end >> "$1.log"
exit "$code"
"""
EVERY_SECOND = {"calendar": "*:*:*", "beat_s": 1.0, "jitter_s": 0, "longest_s": 60}
NEVER_HERE = {"calendar": "2099-01-01", "beat_s": 86400.0, "jitter_s": 0, "longest_s": 60}
RUN = ScheduledJob(command="backup.run", words=("--due",), **EVERY_SECOND)
ROTATE = ScheduledJob(command="backup.rotate", retry_s=1, tries=3, **NEVER_HERE)
AUDIT = ScheduledJob(command="baseline.audit", authorised=False, finds=True, **NEVER_HERE)
JOBS = (RUN, ROTATE, AUDIT)


class Machine:
    """A host of the lab as the control node: its systemd, asked through SSH."""

    def __init__(self, lab: Small, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self.units = folder / "units"
        self.units.mkdir()
        self.systemd = Systemd(self.units, self._run)
        targets = {"ops": NotifyTarget(url=SecretRef(file="ops"), wants="all")}
        self.environment: Environment = lab.environment.model_copy(update={"notify": targets})
        place = Place(Path("/opt/mainstay"), Path("/run/stand-in"))
        self.want = render_units(self.environment, JOBS, {"backup.rotate": "nightly"}, place)

    def _run(self, argv: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        """Bring the folder of units over, then run there."""
        self.sh("rm -f /etc/systemd/system/mainstay-*; tar x -C /etc/systemd/system", self._packed())
        return self._ssh(["sudo", *argv])

    def _packed(self) -> bytes:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for path in self.units.iterdir():
                archive.add(path, path.name)
        return packed.getvalue()

    def _ssh(self, argv: Sequence[str], stdin: bytes = b"") -> "subprocess.CompletedProcess[str]":
        state = self.lab.state
        options = [
            f"UserKnownHostsFile={state / 'known_hosts'}",
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
        ]
        options += ["ControlMaster=auto", f"ControlPath={self.folder}/ssh", "ControlPersist=60"]
        words = [word for option in options for word in ("-o", option)]
        to = f"ops@{self.lab.address(HOST)}"
        whole = ["ssh", "-i", str(state / "ssh/id_ed25519"), *words, to, shlex.join(argv)]
        done = subprocess.run(whole, capture_output=True, input=stdin, check=False)
        return subprocess.CompletedProcess(whole, done.returncode, done.stdout.decode(), done.stderr.decode())

    def close(self) -> None:
        """End the connection that all commands share."""
        path = f"ControlPath={self.folder}/ssh"
        subprocess.run(["ssh", "-o", path, "-O", "exit", "x"], capture_output=True, check=False)

    def sh(self, script: str, stdin: bytes = b"") -> str:
        done = self._ssh(["sudo", "sh", "-c", script], stdin)
        assert done.returncode == 0, f"{script}: {done.stderr}"
        return done.stdout

    def install(self) -> bool:
        have = self.systemd.read(marker(NAME))
        timers = [name for name in self.want if name.endswith(".timer") and name in have]
        asleep = tuple(name for name in timers if not self.systemd.timer(name).active)
        change = Change(self.units, have, self.want, asleep)
        return self._carry_out(change)

    def remove(self) -> bool:
        return self._carry_out(Change(self.units, self.systemd.read(marker(NAME)), {}))

    def _carry_out(self, change: Change) -> bool:
        return carry_out(change, self.environment, self.folder, self.systemd, confirm=lambda: True)

    def begin(self, job: ScheduledJob, *codes: int) -> None:
        """Start a job by hand, which will end so, one time after the other.

        A job that fails at once may end before systemd has noted that it began; `start` then
        fails too. What became of the job is for the test to look at.
        """
        text = "".join(f"{code}\n" for code in codes)
        unit = unit_of(NAME, job.command)
        self.sh(f"systemctl reset-failed {unit}.service; rm -f /run/stand-in/{job.command}.log")
        self.sh(f"printf '{text}' > /run/stand-in/{job.command}.codes")
        self.sh(f"systemctl start {unit}.service || true")

    def log(self, job: ScheduledJob) -> list[str]:
        return self.sh(f"cat /run/stand-in/{job.command}.log 2>/dev/null || true").split()

    def told(self) -> list[str]:
        return self.sh("cat /run/stand-in/notices 2>/dev/null || true").split()

    def state(self, job: ScheduledJob) -> str:
        return self.systemd.service(f"{unit_of(NAME, job.command)}.service").state

    def judged(self, job: ScheduledJob) -> JobSeen:
        unit = unit_of(NAME, job.command)
        timer, service = self.systemd.timer(f"{unit}.timer"), self.systemd.service(f"{unit}.service")
        return judge(job, unit, iter(()), timer, service, None, datetime.now(UTC))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    lab = Small(NAME, "10.79", tmp_path_factory.mktemp("timers"))
    try:
        lab.up()
        machine = Machine(lab, tmp_path_factory.mktemp("control-node"))
        machine.sh("mkdir -p /opt/mainstay /run/stand-in; cat > /opt/mainstay/inv", STAND_IN.encode())
        machine.sh("chmod +x /opt/mainstay/inv")
        assert machine.install()
        yield machine
        machine.close()
    finally:
        nspawn.remove_lab(lab.state, lab.lab.id)


@pytest.fixture(autouse=True)
def _nobody_was_told(machine: Machine) -> None:
    machine.sh("rm -rf /run/stand-in/notices /run/stand-in/told")


def test_systemd_takes_every_unit_without_a_word(machine: Machine) -> None:
    units = " ".join(name.replace("@.", "@backup.rotate.") for name in machine.want)
    assert machine.sh(f"cd /etc/systemd/system; systemd-analyze verify {units} 2>&1") == ""


def test_a_timer_begins_its_job_and_the_job_never_overlaps_itself(machine: Machine) -> None:
    until(lambda: machine.log(RUN).count("end") >= 2, "the timer began the job twice")
    words = machine.log(RUN)
    assert words[::2] == ["begin"] * len(words[::2])
    assert words[1::2] == ["end"] * len(words[1::2])
    seen = machine.judged(RUN)
    assert seen.state in ("ok", "running")
    assert seen.last_at is not None
    assert abs(datetime.now(UTC) - seen.last_at) < timedelta(minutes=5)
    assert machine.judged(ROTATE).next_at == datetime(2099, 1, 1, tzinfo=UTC)


def test_a_second_install_changes_nothing_and_mends_a_timer_that_was_disabled(machine: Machine) -> None:
    assert machine.install() is False
    machine.sh(f"systemctl disable --now {unit_of(NAME, 'backup.rotate')}.timer")
    seen = machine.judged(ROTATE)
    assert (seen.state, seen.faults) == ("red", ("its timer is disabled", "its timer is stopped"))
    assert machine.install() is True
    assert machine.judged(ROTATE).faults == ()


def test_what_others_hold_is_tried_again_and_nobody_is_told(machine: Machine) -> None:
    machine.begin(ROTATE, 7, 7, 0)
    until(lambda: machine.log(ROTATE).count("end") == 3, "the job was tried three times")
    until(lambda: machine.state(ROTATE) == "inactive", "it ended well")
    assert machine.told() == []


def test_what_others_hold_for_too_long_is_told(machine: Machine) -> None:
    machine.begin(ROTATE, 7, 7, 7, 7, 7)
    until(lambda: machine.told() == ["backup.rotate"], "people are told")
    assert machine.log(ROTATE).count("begin") == ROTATE.tries
    (fault,) = machine.judged(ROTATE).faults
    assert fault == "it failed: others held what it needs, until it gave up; nothing changed (exit 7)"


@pytest.mark.parametrize("code", [1, 5, 6])
def test_every_other_failure_is_told_at_once_and_not_tried_again(code: int, machine: Machine) -> None:
    machine.begin(ROTATE, code, 0)
    until(lambda: machine.told() == ["backup.rotate"], "people are told")
    assert machine.log(ROTATE) == ["begin", "end"]
    assert machine.state(ROTATE) == "failed"


@pytest.mark.parametrize("code", [3, 6])
def test_what_an_audit_finds_is_left_to_it_to_tell(code: int, machine: Machine) -> None:
    machine.begin(AUDIT, code)
    until(lambda: machine.log(AUDIT) == ["begin", "end"], "it ended")
    until(lambda: machine.state(AUDIT) == "inactive", "that is no failure")
    seen = machine.judged(AUDIT)
    assert (seen.state, seen.exit_code) == ("ok", code)
    assert machine.told() == []


def test_an_audit_that_could_not_be_made_is_told(machine: Machine) -> None:
    machine.begin(AUDIT, 2)
    until(lambda: machine.told() == ["baseline.audit"], "people are told")


def test_a_frequent_job_leaves_it_to_its_next_beat(machine: Machine) -> None:
    machine.sh("printf '7\n7\n' > /run/stand-in/backup.run.codes")
    until(lambda: machine.sh("cat /run/stand-in/backup.run.codes") == "", "it ended with 7 twice")
    assert machine.told() == []
    assert machine.judged(RUN).state in ("ok", "running")


def test_a_job_that_is_killed_is_told(machine: Machine) -> None:
    unit = unit_of(NAME, "backup.run")
    until(lambda: machine.state(RUN) == "active", "it runs")
    machine.sh(f"systemctl kill --signal=KILL {unit}.service")
    until(lambda: "backup.run" in machine.told(), "people are told")


def test_people_read_what_the_job_said_and_later_that_it_is_well_again(machine: Machine) -> None:
    mailbox, state = Mailbox(), machine.folder
    try:
        (state / "ops").write_text(mailbox.url())
        machine.begin(ROTATE, 5)
        until(lambda: machine.state(ROTATE) == "failed", "it failed")
        assert tell_of_job(machine.environment, state, "backup.rotate", machine.systemd) == 0
        assert tell_of_job(machine.environment, state, "backup.rotate", machine.systemd) == 0
        machine.begin(ROTATE, 0)
        until(lambda: machine.state(ROTATE) == "inactive", "it ended well")
        assert tell_of_job(machine.environment, state, "backup.rotate", machine.systemd) == 0
        failed, again = mailbox.messages
    finally:
        mailbox.close()
    assert "stopped part-way; the state is known (exit 5)" in failed["title"]
    assert "error: the repository nas is not there; nothing was changed" in failed["message"]
    assert f"journalctl -u {unit_of(NAME, 'backup.rotate')}.service" in failed["message"]
    assert again["title"] == f"[{NAME}] backup.rotate: well again"
    assert "T0KEN" not in json.dumps([failed, again])


def test_its_good_end_is_looked_at_only_if_people_were_told_of_a_bad_one(machine: Machine) -> None:
    machine.begin(ROTATE, 0)
    skipped = "journalctl -u mainstay-timers-well@backup.rotate.service"
    until(lambda: "unmet condition" in machine.sh(skipped), "its end was passed over")
    assert machine.told() == []
    machine.sh("mkdir /run/stand-in/told; touch /run/stand-in/told/backup.rotate.json")
    machine.begin(ROTATE, 0)
    until(lambda: machine.told() == ["backup.rotate"], "its end was looked at")


def test_nothing_is_left_when_it_is_removed(machine: Machine) -> None:
    assert machine.remove() is True
    assert machine.remove() is False
    machine.sh("test -z \"$(find /etc/systemd/system -name 'mainstay-*')\"")
    assert "mainstay" not in machine.sh("systemctl list-timers --all")
    assert machine.install() is True
