"""What is written down of what happens, where it goes, and whether the clock it bears is right."""

from __future__ import annotations

import contextlib
import glob
import os
import re

from .forwarding import destinations
from .system import (
    TYPE_CHECKING,
    NotKnown,
    attempt,
    drop_ins,
    has_unit,
    is_here,
    lines,
    read,
    read_if_there,
    systemd_runs,
)

if TYPE_CHECKING:
    from typing import Any

INCLUDE = re.compile(r"(?m)^[ \t]*(?:\$IncludeConfig|include\()[^#\n]*/etc/rsyslog\.d/.*$")


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
        "persistent": journal_is_on_disk(),
        "upload": {key: value for key, value in upload.items() if key in ("URL", "TrustedCertificateFile")},
        "rsyslog": rsyslog(),
    }


def journal_is_on_disk() -> bool:
    """Whether journald writes to the disk: what it has in /run is gone with a boot.

    It leaves a file in the place that it wrote to before; the later one is the one that it writes to.
    """
    machine = (read_if_there("/etc/machine-id") or "").strip()
    written = dict.fromkeys(("/var", "/run"), 0.0)
    for at in written:
        with contextlib.suppress(FileNotFoundError):
            written[at] = os.path.getmtime(f"{at}/log/journal/{machine}/system.journal")
    return written["/var"] > written["/run"]


def section(text: str, name: str) -> dict[str, str]:
    """Read one section of an INI file; of a key that stands twice, the last one counts."""
    if all(line[0] in "[;" for line in lines(text)):
        return {}
    import configparser  # most of these files say nothing

    parser = configparser.ConfigParser(interpolation=None, strict=False, comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        parser.read_string(text)
    except configparser.Error as exc:
        raise NotKnown(str(exc).splitlines()[0]) from exc
    return dict(parser[name]) if parser.has_section(name) else {}


def rsyslog() -> dict[str, Any]:
    """Tell where rsyslog sends messages, and with which stamps."""
    paths = sorted(glob.glob("/etc/rsyslog.d/*.conf"))
    others = "\n".join(read(path) for path in paths if os.path.exists(path))
    text = included(read_if_there("/etc/rsyslog.conf") or "", others)
    return {
        "installed": is_here("rsyslogd"),
        "to": destinations(text),
        "old_stamps": "RSYSLOG_TraditionalFileFormat" in "\n".join(lines(text)),
    }


def included(text: str, others: str) -> str:
    """Put files where they are included, as their order decides what is dropped before it is sent."""
    before, asked, after = text, "", ""
    if found := INCLUDE.search(text):
        before, asked, after = text[: found.start()], found[0], text[found.end() :]
    return "\n".join((before, asked, others, after))


def collect_time() -> dict[str, Any]:
    """Tell whether the clock is held right, and by what."""
    synchronised = ["timedatectl", "show", "--property=NTPSynchronized", "--value"]
    told = attempt(synchronised).stdout.strip() if systemd_runs() else ""
    known = ("chrony", "systemd-timesyncd", "ntpsec", "openntpd")
    services = [one for one in known if has_unit(f"{one}.service")]
    asked = ["systemctl", "is-active", *(f"{one}.service" for one in services)]
    states = attempt(asked).stdout.split() if services and systemd_runs() else []
    active = [name for name, state in zip(services, states) if state == "active"]  # noqa: B905  # Python 3.9
    return {
        "synchronised": told == "yes" if told else None,
        "services": active,
    }


def collect_banners() -> dict[str, str]:
    """Give what is shown before a login."""
    return {path: read_if_there(path) or "" for path in ("/etc/issue", "/etc/issue.net", "/etc/motd")}


SECTIONS = {
    "journald": collect_journald,
    "time": collect_time,
    "banners": collect_banners,
}
