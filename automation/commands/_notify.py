"""Telling people: each thing that is wrong once, again after a day or when it changes, and its end.

A command that finds something wrong with nobody at the terminal calls `alarm`; what it says goes to every
target of `notify` in environment.yml.
"""

import hashlib
import os
import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from automation.commands._command import ROOT, progress
from automation.engine.context import read_secret
from automation.model.environment import Environment
from automation.model.errors import AdapterError
from automation.model.notices import Delivery, Notice, Told
from automation.model.templating import render

FOLDER = "told"
_GROWS = re.compile(
    r"\b[0-9]{8}-[0-9]{6}-[0-9a-f]{4}\b|[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9:.]+)?|\b[0-9a-f]{8,64}\b"
    r"|\b[0-9.]+ ?(%|[KMGT]iB\b|bytes\b|(ms|s|min|h|d)\b( [0-9]+ (s|min)\b)?)|\bpid [0-9]+"
)
REPEAT = timedelta(days=1)
# What was not seen for so long, and is there again, is new; the rarest job comes once a week.
FORGOTTEN = timedelta(days=15)

Send = Callable[[str, str, str, bool], None]


def alarm(
    environment: Environment,
    state: Path,
    about: str,
    what: str,
    *,
    said: tuple[str, ...] = (),
    next_acts: tuple[str, ...] = (),
    repeats: bool = True,
    now: datetime | None = None,
) -> Delivery:
    """Tell people that something is wrong, unless they were told so within a day; who cannot be told is said.

    Args:
        about: names the thing, and stays the same as long as it is wrong: `share in nas: frozen`.
        what: what is wrong, in one line: `rotation is frozen: 83 % of the files changed`.
        said: the reasons, in words.
        next_acts: commands to type, with their flags.
        repeats: whether it is told again after a day; else the caller comes with news alone.
    """
    now = now or datetime.now(UTC)
    before = recall(state, about)
    if before is not None and now - before.told_at > FORGOTTEN:
        before = None
    words = _hash_of(what, *said)
    since, times = (before.since, before.times + 1) if before else (now, 1)
    notice = Notice(
        kind="alarm",
        environment=environment.name,
        about=about,
        what=what,
        node=socket.gethostname(),
        since=since,
        said=said,
        next_acts=next_acts,
        repeats=repeats,
    )
    known = before is not None and before.words == words and now - before.told_at < REPEAT
    delivery = Delivery() if known else deliver(environment, state, notice, times=times)
    told_at = before.told_at if known and before else now
    if known or delivery.took or not environment.notify:
        invocation = os.environ.get("INVOCATION_ID", "")
        told = Told(
            about=about, since=since, told_at=told_at, words=words, times=times, invocation=invocation
        )
        _keep(state, told)
    return delivery


def well(environment: Environment, state: Path, about: str, what: str) -> Delivery:
    """Tell those who want to know everything that something is well again, if it was told to be wrong."""
    before = recall(state, about)
    if before is None:
        return Delivery()
    notice = Notice(
        kind="well",
        environment=environment.name,
        about=about,
        what=what,
        node=socket.gethostname(),
        since=before.since,
    )
    delivery = deliver(environment, state, notice, times=before.times)
    memory_of(state, about).unlink(missing_ok=True)
    return delivery


def deliver(environment: Environment, state: Path, notice: Notice, *, times: int = 1) -> Delivery:
    """Send a notice to everyone who wants it; one that fails does not keep it from the others."""
    from automation.adapters import notify

    title, body = in_words(notice, times=times)
    took, failed = [], {}
    for name, target in environment.notify.items():
        if notice.kind == "well" and target.wants != "all":
            continue
        try:
            url = read_secret(target.url, state)
            notify.send(url, title, body, is_alarm=notice.kind == "alarm")
            took.append(name)
        except AdapterError as exc:
            failed[name] = str(exc)
            progress(f"NOT TOLD: notify target {name} of {environment.name}: {exc}")
    if notice.kind == "alarm" and not environment.notify:
        progress(f"NOT TOLD: environment.yml of {environment.name} names nobody in `notify`: {title}")
    return Delivery(took=tuple(took), failed=failed)


def in_words(notice: Notice, *, times: int = 1) -> tuple[str, str]:
    """Give the title and the text of a notice."""
    text = render(
        ROOT / "templates/notify",
        f"{notice.kind}.txt.j2",
        notice=notice,
        since=f"{notice.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        times=times,
        repeat=f"{REPEAT.total_seconds() / 3600:.0f} hours",
    )
    title, _, body = text.partition("\n")
    return title, body


def recall(state: Path, about: str) -> Told | None:
    """Give what people were last told of something; None when it is well, or nobody knows any more."""
    try:
        return Told.model_validate_json(memory_of(state, about).read_text())
    except (FileNotFoundError, ValueError):
        return None


def memory_of(state: Path, about: str) -> Path:
    """Where it is kept what people were told; the name is what it is about, as far as a name can say it."""
    return state / FOLDER / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', about)}.json"


def _keep(state: Path, told: Told) -> None:
    path = memory_of(state, told.about)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(told.model_dump_json(indent=1) + "\n")
    draft.replace(path)


def _hash_of(*lines: str) -> str:
    """Hash what is said without ages, times, shares, sizes and ids: an age that grows is no news."""
    return hashlib.sha256(_GROWS.sub("#", "\n".join(lines)).encode()).hexdigest()
