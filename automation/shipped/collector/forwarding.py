"""Where rsyslog sends messages, and whether by TLS: read from its files, in both of its languages.

What a filter, a ruleset or a template lets through is not judged: only what stands before an action is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .system import TYPE_CHECKING, lines

if TYPE_CHECKING:
    from typing import Any

TLS_DRIVERS = ("gtls", "ossl", "mbedtls")
# `*.* @@host:514`, `& @host`: a filter, one at sign for UDP or two for TCP, and where to.
OLD = re.compile(r"([^$].*?)\s+(@@?)(?:\([^)]*\))?(\[[^\]]*\]|[^\s:;]+)\S*")
NEW = re.compile(r'\b(action|global)\s*\(((?:[^()"]|"[^"]*")*)\)', re.IGNORECASE)
SETTING = re.compile(r'([\w.]+)\s*=\s*"([^"]*)"')
# A comment of C; the star of `/etc/rsyslog.d/*.conf` begins none.
COMMENT = re.compile(r"(?:^|(?<=\s))/\*.*?\*/", re.DOTALL)
EVERYTHING = ("*.*", "*.debug", "*.info", "*.notice", "auth.*", "authpriv.*", "auth,authpriv.*")
LOGINS = {"*", "auth", "authpriv"}


def destinations(text: str) -> list[dict[str, Any]]:
    """Give each place that messages are sent to: what is sent, whether it leaves this host, and by TLS."""
    said = "\n".join(lines(COMMENT.sub(" ", text)))
    driver = default_driver(said)
    return [*old_ones(said, driver), *new_ones(said, driver)]


def default_driver(said: str) -> str:
    """Name the driver of streams that an action takes which names none."""
    old = re.findall(r"(?im)^\$DefaultNetstreamDriver\s+(\S+)", said)
    new = [told(body).get("defaultnetstreamdriver", "") for kind, body in NEW.findall(said)]
    return next((one for one in reversed([*old, *new]) if one), "")


def old_ones(said: str, driver: str) -> Iterator[dict[str, Any]]:
    """Give the places of lines with a selector; the mode of TLS is what was last said before."""
    mode = selector = ""
    for line in said.splitlines():
        words = line.split()
        if words[0].lower() == "$actionsendstreamdrivermode":
            mode = words[-1]
        found = OLD.fullmatch(line)
        if words[0] != "&":
            selector = found[1] if found else words[0]
        if found:
            tls = found[2] == "@@" and mode == "1" and driver.lower() in TLS_DRIVERS
            yield place(found[3], selector, tls)


def new_ones(said: str, driver: str) -> Iterator[dict[str, Any]]:
    """Give the places of actions, which stand after a selector or on their own."""
    for found in NEW.finditer(said):
        settings = told(found[2])
        kind = settings.get("type", "").lower()
        before = said[: found.start()].rpartition("\n")[2].strip(" \t{")
        if kind == "omfwd":
            own = settings.get("streamdriver", settings.get("streamdriver.name", driver)).lower()
            mode = settings.get("streamdrivermode", settings.get("streamdriver.mode", "0"))
            tls = settings.get("protocol", "udp").lower() == "tcp" and mode == "1" and own in TLS_DRIVERS
            yield place(settings.get("target", ""), before, tls)
        elif kind == "omrelp":
            yield place(settings.get("target", ""), before, settings.get("tls", "off").lower() == "on")


def told(body: str) -> dict[str, str]:
    """Read the settings of an object; their names have no case."""
    return {name.lower(): value for name, value in SETTING.findall(body)}


def place(target: str, selector: str, tls: bool) -> dict[str, Any]:
    """Give one place; everything: nobody chose among the messages, or those of logins are among them."""
    host = target.strip("[]").lower()
    return {
        "target": target,
        "selector": selector,
        "everything": not selector or has_logins(selector.split(";")),
        "local": host in ("localhost", "::1") or host.startswith("127."),
        "tls": tls,
    }


def has_logins(parts: list[str]) -> bool:
    """Whether a selector of these parts lets messages of logins through."""
    left_out = [one[: -len(".none")].split(",") for one in parts if one.endswith(".none")]
    return any(one in EVERYTHING for one in parts) and not any(LOGINS & set(one) for one in left_out)
