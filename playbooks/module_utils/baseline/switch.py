"""The dead-man switch of a host: armed before a change, so that what locks people out does not last."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

from ansible.module_utils.baseline import revert as program
from ansible.module_utils.baseline.revert import Host, replace, sync_folder

# What could not be put back is tried again until it is. The timer's service is of type simple, as systemd-run
# makes them, so that any systemd starts it again. The unit at boot tries once: sshd waits for it.
AGAIN = ("Restart=on-failure", "RestartSec=15s", "StartLimitIntervalSec=0")


def arm(host: Host, folder: Path, switch_s: float) -> None:
    """Have the change put back in time, and at the next boot, unless somebody says that he still gets in.

    Raises:
        OSError: that cannot be; nothing waits any more then.
    """
    change = folder.name
    command = f"{sys.executable} -I {folder}/revert.py revert"
    until = datetime.now(timezone.utc) + timedelta(seconds=switch_s)  # noqa: UP017
    try:
        _enable_at_boot(host, change, command)
        host.must(
            "systemd-run",
            "--quiet",
            "--collect",
            f"--unit={program.timer_unit(change).removesuffix('.timer')}",
            f"--description=Put change {change} back unless it is confirmed",
            f"--on-active={switch_s:g}",
            "--timer-property=AccuracySec=1s",
            "--timer-property=RemainAfterElapse=no",
            *(f"--property={one}" for one in AGAIN),
            *command.split(),
        )
        host.must("systemctl", "is-active", program.timer_unit(change))
        program.mark(folder, "armed", until=until.isoformat(timespec="seconds"))
    except OSError as error:
        program.disarm(host, change)
        raise OSError(f"the dead-man switch cannot be armed: {error}") from error


def _enable_at_boot(host: Host, change: str, command: str) -> None:
    unit, link = program.boot_paths(host, change)
    link.parent.mkdir(parents=True, exist_ok=True)
    # Never before ssh.socket: sockets.target, and by it basic.target, comes after that, and this unit after
    # basic.target; of such a cycle systemd drops a job, ours or the socket's. A connection that the socket
    # takes starts ssh.service, which waits for us.
    content = (
        f"[Unit]\nDescription=Put change {change} back, which nobody confirmed before this boot\n"
        "After=local-fs.target\nBefore=ssh.service sshd.service\n\n"
        f"[Service]\nType=oneshot\nExecStart={command}\nTimeoutStartSec=60\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )
    uid, gid = host.owner
    replace(unit, content.encode(), {"mode": 0o644, "uid": uid, "gid": gid, "xattrs": {}})
    link.unlink(missing_ok=True)
    link.symlink_to(f"../{unit.name}")
    sync_folder(link.parent)
