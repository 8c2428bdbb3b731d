"""Where rsyslog sends messages, and whether by TLS: read from its files, in both of its languages.

Not judged is what a template leaves out, or a filter on the text of messages drops; a ruleset lets no logins
through, whoever calls it, and drops none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .system import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

TLS_DRIVERS = ("gtls", "ossl", "mbedtls")
QUOTED = r'"(?:[^"\\]|\\.)*"'
TEXT = re.compile(rf"{QUOTED}|'(?:[^'\\\n]|\\.)*'", re.DOTALL)
# A comment of C; the star of `/etc/rsyslog.d/*.conf` begins none.
COMMENT = re.compile(rf"{TEXT.pattern}|#[^\n]*|(?:^|(?<=\s))/\*.*?\*/", re.DOTALL)
# `*.* @@host:514`, `& @host`: one at sign for UDP or two for TCP, and where to.
OLD = re.compile(r"(?<![^\s{])(@@?)(?:\([^)]*\))?(\[[^\]\s]*\]|[^\s:;{}]+)")
NEW = re.compile(rf'\b(\w+)\s*\(((?:[^()"]|{QUOTED})*)\)', re.DOTALL)
SETTING = re.compile(rf"([\w.]+)\s*=\s*({QUOTED})", re.DOTALL)
STOP = re.compile(r"(?<![^\s{])(?:stop|~)(?![^\s}])")
EVERYTHING = ("*.*", "*.debug", "*.info", "*.notice", "auth.*", "authpriv.*", "auth,authpriv.*")
LOGINS = {"*", "auth", "authpriv"}
# Levels that messages of logins are of.
LEVELS = ("*", "debug", "info", "notice", "=info", "=notice")
SELECTOR = re.compile(r"[\w*,;.=!]+\.[\w*=!]+")
# A filter whose action stands on the next line.
ALONE = re.compile(rf'{SELECTOR.pattern}|(?:.*\W)?(?:then|else)|:[^"]*{QUOTED}')
# What a filter says that may be about messages of logins.
NAMED = re.compile(r"auth|sshd|sudo|login|127\.|localhost|!|\b(?:not|else)\b", re.IGNORECASE)


def destinations(text: str) -> list[dict[str, Any]]:
    """Give each place that messages are sent to: whether logins are, whether it is elsewhere, and by TLS."""
    said = bare_lines(text)
    driver = default_driver(said)
    heard_until = dropped_at(said)
    found = []
    for at, target, tls in (*old_ones(said, driver), *new_ones(said, driver)):
        host = target.strip("[]").lower()
        filters = filters_of(said, at)
        logins = all(not one or has_logins(one.split(";")) for one in filters)
        found.append(
            {
                "target": target,
                "selector": " ".join(one for one in filters if one),
                "logins": logins and at < heard_until,
                "local": host in ("localhost", "::1") or host.startswith("127."),
                "tls": tls,
            }
        )
    return found


def bare_lines(text: str) -> str:
    """Give lines without comments, each object on one line."""
    said = COMMENT.sub(lambda found: found[0] if found[0][0] in "\"'" else " ", text)
    said = NEW.sub(lambda found: " ".join(found[0].split()), said.replace("\\\n", " "))
    return "\n".join(line.strip() for line in said.splitlines() if line.strip())


def without_text(said: str) -> str:
    """Give the same with nothing in quotes, and every sign where it was."""
    return TEXT.sub(lambda found: "_" * len(found[0]), said)


def default_driver(said: str) -> str:
    """Name the driver of streams that an action takes which names none."""
    old = re.findall(r"(?im)^\$DefaultNetstreamDriver\s+(\S+)", said)
    every = [told(body) for kind, body in NEW.findall(said) if kind.lower() == "global"]
    new = [one.get("defaultnetstreamdriver", "") for one in every]
    return next((one for one in reversed([*old, *new]) if one), "")


def old_ones(said: str, driver: str) -> Iterator[tuple[int, str, bool]]:
    """Give the places after at signs; the mode of TLS is what was last said before."""
    for found in OLD.finditer(without_text(said)):
        if line_of(said, found.start()).startswith("$"):
            continue
        before = said[: found.start()]
        mode = last(before, "ActionSendStreamDriverMode") == "1"
        anonymous = last(before, "ActionSendStreamDriverAuthMode").lower() == "anon"
        tls = found[1] == "@@" and mode and not anonymous and driver.lower() in TLS_DRIVERS
        yield found.start(), found[2], tls


def last(before: str, directive: str) -> str:
    """Give what a directive was last set to; empty: never."""
    said = re.findall(rf"(?im)^\${directive}\s+(\S+)", before)
    return said[-1] if said else ""


def new_ones(said: str, driver: str) -> Iterator[tuple[int, str, bool]]:
    """Give the places of actions, which stand after a filter or on their own."""
    for found in NEW.finditer(said):
        settings = told(found[2]) if found[1].lower() == "action" else {}
        kind, target = settings.get("type", "").lower(), settings.get("target", "")
        if kind == "omfwd":
            own = settings.get("streamdriver", settings.get("streamdriver.name", driver)).lower()
            mode = settings.get("streamdrivermode", settings.get("streamdriver.mode", "0"))
            who = settings.get("streamdriverauthmode", settings.get("streamdriver.authmode", ""))
            tcp = settings.get("protocol", "udp").lower() == "tcp"
            yield found.start(), target, tcp and mode == "1" and who.lower() != "anon" and own in TLS_DRIVERS
        elif kind == "omrelp":
            yield found.start(), target, settings.get("tls", "off").lower() == "on"


def told(body: str) -> dict[str, str]:
    """Read the settings of an object; their names have no case."""
    return {name.lower(): value[1:-1] for name, value in SETTING.findall(body)}


# --- which messages come there ---------------------------------------------------------------------


def dropped_at(said: str) -> int:
    """Tell before what sign messages of logins may be dropped; the length: nowhere."""
    for found in STOP.finditer(without_text(said)):
        if all(drops_logins(one) for one in filters_of(said, found.start())):
            return found.start()
    return len(said)


def drops_logins(asked: str) -> bool:
    """Whether what is dropped by a filter may be messages of logins."""
    if not SELECTOR.fullmatch(asked):
        return not asked or bool(NAMED.search(asked))
    parts = [one.rpartition(".") for one in asked.split(";")]
    kept = {one for names, _, level in parts if level == "none" for one in names.split(",")}
    low = [names for names, _, level in parts if level in LEVELS or level.startswith("!")]
    named = LOGINS & {one for names in low for one in names.split(",")}
    return bool((LOGINS - {"*"} if "*" in named else named) - kept)


def has_logins(parts: list[str]) -> bool:
    """Whether a selector of these parts lets messages of logins through."""
    left_out = [one[: -len(".none")].split(",") for one in parts if one.endswith(".none")]
    return any(one in EVERYTHING for one in parts) and not any(LOGINS & set(one) for one in left_out)


def filters_of(said: str, at: int) -> list[str]:
    """Give the filters of what stands at a sign: of every block around it, and its own."""
    bare, opened = without_text(said), []
    for found in re.finditer(r"[{}]", bare[:at]):
        if found[0] == "{":
            opened.append(found.start())
        elif opened:
            opened.pop()
    return [filter_before(said, bare, one) for one in (*opened, at)]


def filter_before(said: str, bare: str, at: int) -> str:
    """Give the filter right before a sign: on its line or, where nothing is, on the line before."""
    start = max(bare.rfind(sign, 0, at) for sign in "\n{}") + 1
    own = said[start:at].strip()
    earlier = said[: max(start - 1, 0)].splitlines()
    if own == "&":
        first = next((line for line in reversed(earlier) if line[0] != "&"), "").split() or [""]
        return first[0] if SELECTOR.fullmatch(first[0]) else " ".join(first)
    if own or not earlier or bare[start - 1] != "\n":
        return own
    return earlier[-1] if bare[at] == "{" or ALONE.fullmatch(earlier[-1]) else ""


def line_of(said: str, at: int) -> str:
    """Give the line of a sign from its beginning to there."""
    return said[:at].rpartition("\n")[2]
