"""What is written down of what happens, where it goes, and whether the clock it bears is right."""

import configparser
import glob
import os
from typing import Any

from .system import NotKnown, attempt, drop_ins, has_unit, is_here, lines, pairs, read, read_if_there


def collect_journald() -> dict[str, Any]:
    """Give journald's settings, whether it keeps what it writes, and who passes it on."""
    settings: dict[str, str] = {}
    for path in drop_ins("/etc/systemd/journald.conf"):
        settings.update(section(read(path), "Journal"))
    upload = {}
    for path in drop_ins("/etc/systemd/journal-upload.conf"):
        upload.update(section(read(path), "Upload"))
    return {
        "settings": settings,
        "persistent": os.path.isdir("/var/log/journal"),
        "upload": {key: value for key, value in upload.items() if key in ("URL", "TrustedCertificateFile")},
        "rsyslog": rsyslog(),
    }


def section(text: str, name: str) -> dict[str, str]:
    """Read one section of an INI file; of a key that stands twice, the last one counts."""
    parser = configparser.ConfigParser(interpolation=None, strict=False, comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        parser.read_string(text)
    except configparser.Error as exc:
        raise NotKnown(str(exc).splitlines()[0]) from exc
    return dict(parser[name]) if parser.has_section(name) else {}


def rsyslog() -> dict[str, Any]:
    """Tell whether rsyslog passes messages on, by TLS, and with which stamps."""
    text = "\n".join(
        read(path)
        for path in ("/etc/rsyslog.conf", *sorted(glob.glob("/etc/rsyslog.d/*.conf")))
        if os.path.exists(path)
    )
    said = "\n".join(lines(text))
    return {
        "installed": is_here("rsyslogd"),
        "forwards": "@" in said or "omfwd" in said,
        "by_tls": "gtls" in said or "ossl" in said,
        "old_stamps": "RSYSLOG_TraditionalFileFormat" in said,
    }


def collect_audit() -> dict[str, Any]:
    """Give the rules in force, those written down, and what happens when the disk is full."""
    if not is_here("auditctl"):
        raise NotKnown("auditd is not here")
    done = attempt(["auditctl", "-l"])
    if done.returncode:
        raise NotKnown(f"auditctl: {(done.stderr.strip().splitlines() or ['it refused'])[0][:200]}")
    state = attempt(["auditctl", "-s"]).stdout
    written: list[str] = []
    for path in sorted(glob.glob("/etc/audit/rules.d/*.rules")):
        written += list(lines(read(path)))
    return {
        "rules": [line for line in done.stdout.splitlines() if line.startswith("-")],
        "written": written,
        "status": dict(line.split(None, 1) for line in state.splitlines() if " " in line),
        "settings": pairs(read_if_there("/etc/audit/auditd.conf") or "", "="),
    }


def collect_time() -> dict[str, Any]:
    """Tell whether the clock is held right, and by what."""
    done = attempt(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
    known = ("chrony", "systemd-timesyncd", "ntpsec", "openntpd")
    services = [one for one in known if has_unit(f"{one}.service")]
    asked = ["systemctl", "is-active", *(f"{one}.service" for one in services)]
    states = attempt(asked).stdout.split() if services else []
    active = [name for name, state in zip(services, states) if state == "active"]  # noqa: B905  # Python 3.9
    return {
        "synchronised": done.stdout.strip() == "yes" if done.returncode == 0 else None,
        "services": active,
    }


def collect_banners() -> dict[str, str]:
    """Give what is shown before a login."""
    return {path: read_if_there(path) or "" for path in ("/etc/issue", "/etc/issue.net", "/etc/motd")}


def collect_integrity() -> dict[str, Any]:
    """Tell what watches files for changes, and how often."""
    tools = [name for name in ("aide", "samhain", "tripwire", "debsums") if is_here(name)]
    timers = [
        name
        for name in ("dailyaidecheck.timer", "aidecheck.timer")
        if has_unit(name) and attempt(["systemctl", "is-enabled", "--quiet", name]).returncode == 0
    ]
    jobs = [
        path
        for path in glob.glob("/etc/cron.*/*")
        if os.path.basename(path) in ("aide", "debsums", "samhain")
    ]
    database = next(
        (path for path in ("/var/lib/aide/aide.db", "/var/lib/aide/aide.db.gz") if os.path.exists(path)), ""
    )
    return {"tools": tools, "planned": sorted(timers + jobs), "database": database}


SECTIONS = {
    "journald": collect_journald,
    "audit": collect_audit,
    "time": collect_time,
    "banners": collect_banners,
    "integrity": collect_integrity,
}
