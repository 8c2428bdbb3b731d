"""Drift for people: one line for a thing, with all hosts on which it is another way."""

from collections import Counter
from collections.abc import Iterator
from textwrap import fill

from rich.text import Text

from automation.baseline.checks import show
from automation.baseline.drift import Change, rank
from automation.commands._drift import Drifted
from automation.commands._render import _console

MOST_OF_A_KIND = 15  # an upgrade changes hundreds of packages; --json has all
_STYLES = {"appeared": "bold red", "changed": "yellow", "gone": "", "unreadable": "red"}


def print_drift(found: Drifted) -> None:
    """Print what is another way, those kinds first that let somebody in."""
    console = _console()
    for line in _changes(found, console.width):
        console.print(line)
    for words in _notes(found):
        console.print(Text(fill(words, console.width, subsequent_indent="  "), style="dim"))
    changes = sum(len(one.changes) for one in found.hosts)
    compared = f"{len(found.drifted)} of {len(found.hosts)} hosts"
    console.print(Text(f"{found.before} -> {found.after}: {changes} changes on {compared}"))


def _changes(found: Drifted, width: int) -> Iterator[Text]:
    by_change: dict[tuple[str, str, str, str], list[str]] = {}
    for host in found.hosts:
        for one in host.changes:
            key = (one.kind, one.how, show(one.name), _values(one))
            by_change.setdefault(key, []).append(host.subject)
    told: Counter[str] = Counter()
    for kind, how, name, values in sorted(by_change, key=lambda key: (rank(key[0]), key)):
        told[kind] += 1
        if told[kind] <= MOST_OF_A_KIND:
            hosts = ", ".join(by_change[kind, how, name, values])
            words = f"{kind} {name}" if name != kind else kind
            yield Text(
                fill(f"{hosts}: {words}: {how}{values}", width, subsequent_indent="  "), style=_STYLES[how]
            )
    for kind, count in told.items():
        if count > MOST_OF_A_KIND:
            yield Text(f"{kind}: and {count - MOST_OF_A_KIND} more; --json has all")


def _values(one: Change) -> str:
    if one.how == "unreadable":
        return f": {show(one.after)}"
    if one.how == "gone":
        return ""
    if one.how == "appeared":
        return "" if one.after is True else f": {show(one.after)}"
    if isinstance(one.before, dict) and isinstance(one.after, dict):
        keys = sorted(one.before.keys() | one.after.keys())
        differing = [key for key in keys if one.before.get(key) != one.after.get(key)]
        said = (f"{key} {show(one.before.get(key))} -> {show(one.after.get(key))}" for key in differing)
        return f": {show(', '.join(said))}"
    return f": {show(one.before)} -> {show(one.after)}"


def _notes(found: Drifted) -> Iterator[str]:
    for name, hosts in (("after", found.only_before), ("before", found.only_after)):
        if hosts:
            yield f"not compared, no facts {name}: {', '.join(hosts)}"
    reasons: dict[str, list[str]] = {}
    for host in found.hosts:
        for section, why in host.not_compared.items():
            reasons.setdefault(f"{section}: {show(why)}", []).append(host.subject)
    for reason, subjects in sorted(reasons.items()):
        yield f"not compared: {reason} ({', '.join(subjects)})"
    if any(not one.same_collector for one in found.hosts):
        yield "the collector is another one since; some of this may be what it tells, not what is there"
    if any(one.source == "simulated" for one in found.hosts):
        yield "some of these facts are simulated"
