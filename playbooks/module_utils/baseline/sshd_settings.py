"""Settings of sshd: a drop-in that is read first, and what sshd makes of it."""

from __future__ import annotations

from ansible.module_utils.baseline import sshd
from ansible.module_utils.baseline.drafts import Drafts, Key, Refused, get_key, set_key
from ansible.module_utils.baseline.revert import Host
from ansible.module_utils.baseline.wanted import Item, Setting, Wanted, as_text, decoded

HEADER = "# Settings of the baseline, kept by Mainstay. sshd takes the first value it reads.\n"


def plan_sshd(wanted: Wanted, item: Item, setting: Setting) -> None:
    keyword = str(setting["keyword"])
    if keyword.lower() in ("match", "include"):
        raise Refused(f"{keyword} is no setting of its own")
    value = as_text(sshd.spelled(keyword, setting["value"]))
    item.after = value
    now = get_key(_before_match(decoded(wanted.drop_in))[0], Key(keyword, any_case=True))
    item.before = value if now == value else "" if now is None else now
    if not sshd_reads_drop_in(wanted):
        raise Refused(
            f"{sshd.MAIN} does not include {sshd.DROP_IN} before all else, so a value there may not count"
        )
    wanted.sshd.append((item, keyword, value))
    _draft_drop_in(wanted)


def sshd_reads_drop_in(wanted: Wanted) -> bool:
    """Tell whether sshd reads our file before anything else, be it there yet or not."""
    seen = Drafts(wanted.host, dict(wanted.drafts.files))
    if seen.read(sshd.DROP_IN) is None:
        seen.write(sshd.DROP_IN, b"")
    return sshd.read_first(seen)


def _draft_drop_in(wanted: Wanted) -> None:
    """Write our file anew from what it was, with every setting that is not refused."""
    wanted.drafts.forget(sshd.DROP_IN)
    text = decoded(wanted.drop_in) or HEADER
    head, rest = _before_match(text)
    for item, keyword, value in wanted.sshd:
        if not item.problem:
            head = set_key(head, Key(keyword, any_case=True), value)
    if head + rest != text or wanted.drop_in is not None:
        wanted.drafts.write(sshd.DROP_IN, (head + rest).encode(errors="surrogateescape"))


def _before_match(text: str) -> tuple[str, str]:
    """Part a file of sshd where its first Match begins: what follows holds for some logins alone."""
    lines = text.splitlines(keepends=True)
    for at, line in enumerate(lines):
        if line.split()[:1] and line.split()[0].lower() == "match":
            return "".join(lines[:at]), "".join(lines[at:])
    return text, ""


def settle_sshd(wanted: Wanted) -> None:
    """Ask sshd what it makes of the settings that differ.

    What is in effect already is left out; what would not be in effect is refused.
    """
    if not any(item.changed for item, _, _ in wanted.sshd):
        return
    try:
        _settle(wanted)
    except Refused as error:  # the configuration is faulty already, or would be
        for item, _, _ in wanted.sshd:
            item.problem, item.changed = item.problem or str(error), False
        _draft_drop_in(wanted)


def _settle(wanted: Wanted) -> None:
    host = wanted.host
    with sshd.tree(host, Drafts(host)) as folder:
        now = sshd.ask(host, folder)
    meant = {
        keyword: _understood(host, item, f"{keyword} {value}", now) for item, keyword, value in wanted.sshd
    }
    wanted.sshd = [one for one in wanted.sshd if not _in_effect(one, now, meant[one[1]])]
    _draft_drop_in(wanted)
    with sshd.tree(host, wanted.drafts) as folder:
        then = sshd.ask(host, folder)
    for item, keyword, value in wanted.sshd:
        if not item.problem and _values(then, keyword) != _values(meant[keyword], keyword):
            said = " ".join(_values(then, keyword)) or "nothing"
            item.problem = f"{said} would stay in effect, not {value}: another file of {sshd.FOLDER} says so"
            item.changed = False
    _draft_drop_in(wanted)


def _understood(host: Host, item: Item, line: str, now: sshd.Effective) -> sshd.Effective:
    try:
        return sshd.alone(host, line, now.get("hostkey", ()))
    except Refused as error:
        item.problem, item.changed = str(error), False
        return {}


def _in_effect(setting: tuple[Item, str, str], now: sshd.Effective, meant: sshd.Effective) -> bool:
    """Tell whether a setting that differs in our file is in effect all the same; say what is so now."""
    item, keyword, value = setting
    if not item.changed:
        return False
    item.before = " ".join(_values(now, keyword))
    if _values(now, keyword) != _values(meant, keyword):
        return False
    item.before, item.changed = value, False
    return True


def _values(effective: sshd.Effective, keyword: str) -> list[str]:
    return sorted(effective.get(keyword.lower(), ()))
