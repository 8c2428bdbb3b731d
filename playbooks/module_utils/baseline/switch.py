"""The dead-man switch of a host: armed before a change, so that what locks people out does not last."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

from ansible.module_utils.baseline import revert as program
from ansible.module_utils.baseline.revert import Host, replace, sync_folder

# What could not be put back is tried again until it is. The timer's service is of type simple, as systemd-run
# makes them, so that any systemd starts it again, and so is the unit at boot.
NO_LIMIT = "StartLimitIntervalSec=0"
AGAIN = ("Restart=on-failure", "RestartSec=15s")


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
            *(f"--property={one}" for one in (*AGAIN, NO_LIMIT)),
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
    # Before nothing, sshd neither: of a cycle, as with an sshd that starts before basic.target, systemd drops
    # a job, ours or sshd's own. An sshd that starts meanwhile reads its files again once they are back.
    again = "\n".join(AGAIN)
    content = (
        f"[Unit]\nDescription=Put change {change} back, which nobody confirmed before this boot\n"
        f"After=local-fs.target\n{NO_LIMIT}\n\n"
        f"[Service]\nType=simple\nExecStart={command}\n{again}\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )
    uid, gid = host.owner
    replace(unit, content.encode(), {"mode": 0o644, "uid": uid, "gid": gid, "xattrs": {}})
    link.unlink(missing_ok=True)
    link.symlink_to(f"../{unit.name}")
    sync_folder(link.parent)
