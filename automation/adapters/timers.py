"""Timers and services of this machine's own systemd."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from automation.model.errors import AdapterError, PreflightError
from automation.model.timers import ServiceSeen, TimerSeen

UNITS = Path("/etc/systemd/system")
BOOTED = Path("/run/systemd/system")  # sd_booted(3)
PATIENCE_S = 60.0
_TIMER = ("UnitFileState", "ActiveState", "NextElapseUSecRealtime", "LastTriggerUSec", "ActiveEnterTimestamp")
_SERVICE = (
    *("ActiveState", "Result", "ExecMainStatus", "ExecMainStartTimestamp", "ExecMainExitTimestamp"),
    *("ActiveEnterTimestamp", "InvocationID"),
)

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def run(argv: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run one program of this machine."""
    return subprocess.run(
        argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=PATIENCE_S
    )


def require_systemd(booted: Path = BOOTED) -> None:
    """See that this machine's systemd starts things.

    Raises:
        PreflightError: another program is PID 1.
    """
    if not booted.is_dir():
        raise PreflightError(
            "systemd is not PID 1 of this machine, so no timer would ever start; nothing was changed",
            hint="install the schedule on a control node whose PID 1 is systemd",
        )


@dataclass(frozen=True)
class Systemd:
    """The system manager: its folder of units, and how it is asked."""

    units: Path = UNITS
    run: Run = run

    def read(self, marker: str) -> dict[str, str]:
        """Give the text of every unit of ours that bears a marker line, by name."""
        found = {}
        for path in sorted(self.units.glob("mainstay-*")):
            if path.suffix in (".service", ".timer") and not path.is_symlink() and path.is_file():
                text = path.read_text(errors="replace")
                if marker in text.splitlines():
                    found[path.name] = text
        return found

    def foreign(self, names: Sequence[str], marker: str) -> list[str]:
        """Name those units that are there and do not bear the marker: somebody else's."""
        ours = self.read(marker)
        return [name for name in names if name not in ours and os.path.lexists(self.units / name)]

    def write(self, name: str, text: str) -> None:
        """Put a unit in its place, whole or not at all."""
        draft = self.units / f".{name}.new"
        with draft.open("w") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.units / name)

    def delete(self, name: str) -> None:
        """Delete the file of a unit."""
        (self.units / name).unlink(missing_ok=True)

    def ask(self, *words: str) -> str:
        """Call systemctl; give what it prints.

        Raises:
            AdapterError: it says no, or does not answer.
        """
        what = f"systemctl {' '.join(words)}"
        try:
            done = self.run(("env", "TZ=UTC", "systemctl", "--no-pager", *words))
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise AdapterError(f"{what}: {exc}") from exc
        if done.returncode:
            raise AdapterError(f"{what}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def timer(self, name: str) -> TimerSeen:
        """Look at a timer; one that systemd does not know is not enabled."""
        seen = self._show(name, _TIMER)
        return TimerSeen(
            enabled=seen["UnitFileState"] in ("enabled", "enabled-runtime"),
            active=seen["ActiveState"] == "active",
            since=_instant(seen["ActiveEnterTimestamp"]),
            next_at=_instant(seen["NextElapseUSecRealtime"]),
            last_at=_instant(seen["LastTriggerUSec"]),
        )

    def service(self, name: str) -> ServiceSeen:
        """Look at how a service goes, or how it ended last since the machine was booted."""
        seen = self._show(name, _SERVICE)
        return ServiceSeen(
            state=seen["ActiveState"],
            result=seen["Result"],
            exit_code=int(seen["ExecMainStatus"] or 0),
            began_at=_instant(seen["ExecMainStartTimestamp"]),
            ended_at=_instant(seen["ExecMainExitTimestamp"]),
            invocation=seen["InvocationID"],
        )

    def said(self, invocation: str, lines: int) -> tuple[str, ...]:
        """Give the last lines that one start of a service wrote; none where the journal cannot be read."""
        argv = ("journalctl", "--no-pager", "--output=cat", f"--lines={lines}")
        try:
            done = self.run((*argv, f"_SYSTEMD_INVOCATION_ID={invocation}"))
        except (OSError, subprocess.TimeoutExpired):
            return ()
        return tuple(done.stdout.splitlines()) if done.returncode == 0 else ()

    def _show(self, name: str, properties: Sequence[str]) -> Mapping[str, str]:
        shown = self.ask("show", "--timestamp=unix", f"--property={','.join(properties)}", name)
        return dict.fromkeys(properties, "") | dict(_pairs(shown))


def _pairs(shown: str) -> Iterator[tuple[str, str]]:
    for line in shown.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            yield key, value


def _instant(text: str) -> datetime | None:
    """Read `@1795333293`, or `Sun 2026-11-22 08:16:18 UTC`, as systemd 252 writes when timers elapse."""
    if text.startswith("@") and text[1:].isdigit():
        return datetime.fromtimestamp(int(text[1:]), UTC)
    match = re.fullmatch(r"[A-Z][a-z]{2} (\S+ \S+) UTC", text)
    return datetime.fromisoformat(match[1]).replace(tzinfo=UTC) if match else None
