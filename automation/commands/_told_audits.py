"""Telling people what a scheduled audit found: when it turns worse, not each day the same.

What failed at the last audit that people know of is kept in the state folder; what fails beyond that is news.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from automation.baseline.verdicts import Verdict
from automation.commands._baseline_formats import plain
from automation.commands._baselines import Audited, audit, ranked
from automation.commands._notify import alarm, well
from automation.commands._session import Session
from automation.model.base import Model
from automation.model.errors import NotMet
from automation.model.notices import Delivery

# Neither is the name of a job: its unit says of that that it is well again, for exit 6 is a success there.
ABOUT, FACTS = "security baseline", "facts of the security baseline"
SHOWN = 12
Failure = tuple[str, str]  # control and subject


class Known(Model):
    """`baseline/told.json` of an environment's state: what people know."""

    failed: tuple[Failure, ...] = ()
    dark: tuple[str, ...] = ()  # too little is known of them: of some there always is
    silent: tuple[str, ...] = ()  # gave no facts


class News(Model):
    """What an audit found beyond what people know, and what they know when they were told."""

    failed: tuple[Failure, ...]
    dark: tuple[str, ...]  # or silent
    known: Known


def audit_and_tell(session: Session, limit: str, profile: str) -> Audited:
    """Audit, and tell people what is news; that facts were altered is told, too.

    Raises:
        ConfigError: files or flags have faults.
        PreflightError: refused; nothing was run.
        NotMet: facts are not those that were collected.
    """
    try:
        audited = audit(session, limit, profile)
    except NotMet as exc:
        alarm(session.environment, session.state, FACTS, f"the audit cannot be believed: {exc}")
        raise
    well(session.environment, session.state, FACTS, "they are those that were collected")
    tell_audit(session, audited)
    return audited


def tell_audit(session: Session, audited: Audited) -> Delivery:
    """Tell people what failed newly, or that nothing fails any more; if nobody took it, it stays news."""
    path = session.state / "baseline" / "told.json"
    news = find_news(audited, _read(path))
    delivery = Delivery()
    if news.failed or news.dark:
        delivery = _alarm(session, audited, news)
    elif not (news.known.failed or news.known.dark or news.known.silent):
        delivery = well(session.environment, session.state, ABOUT, "nothing fails any more")
    if delivery.took or not (news.failed or news.dark):
        _write(path, news.known)
    return delivery


def find_news(audited: Audited, before: Known) -> News:
    """Hold an audit against what people know. Pure.

    Of a host that was not judged, and of a control that is not known there, what they know stays.
    """
    verdicts = {(one.control, one.subject): one for one in _verdicts(audited)}
    judged = {one.subject for one in audited.scores}
    failed = {key for key, one in verdicts.items() if one.state in ("fail", "error")}
    stays = {
        key
        for key in before.failed
        if key[1] not in judged or (key in verdicts and verdicts[key].state == "unknown")
    }
    dark = {one.subject for one in audited.scores if not one.trusted}
    silent = set(audited.not_collected)
    return News(
        failed=tuple(sorted(failed - set(before.failed))),
        dark=tuple(sorted((dark - set(before.dark)) | (silent - set(before.silent)))),
        known=Known(
            failed=tuple(sorted(failed | stays)),
            dark=tuple(sorted(dark | (set(before.dark) - judged))),
            silent=tuple(sorted(silent | (set(before.silent) - judged))),
        ),
    )


def _alarm(session: Session, audited: Audited, news: News) -> Delivery:
    env = session.environment.name
    words = []
    if news.failed:
        hosts = len({subject for _, subject in news.failed})
        words.append(f"{len(news.failed)} controls failed newly on {hosts} hosts")
    if news.dark:
        words.append(f"too little is known of {len(news.dark)} more hosts")
    return alarm(
        session.environment,
        session.state,
        ABOUT,
        f"the baseline turned worse: {' and '.join(words)}",
        said=tuple(_said(audited, news)),
        next_acts=(
            f"./inv baseline.report --env {env} --run {audited.run} --to audit.html",
            f"./inv baseline.drift --env {env}",
        ),
        repeats=False,
    )


def _said(audited: Audited, news: News) -> Iterator[str]:
    new = [one for one in _verdicts(audited) if (one.control, one.subject) in news.failed]
    lines = list(_by_control(ranked(new)))
    for subject in news.dark:
        why = audited.not_collected.get(subject, "less is known than a score needs")
        lines.append(f"{plain(subject)}: {plain(why, 200)}")
    yield from lines[:SHOWN]
    if len(lines) > SHOWN:
        yield f"and {len(lines) - SHOWN} more"


def _by_control(failed: Sequence[Verdict]) -> Iterator[str]:
    found: dict[str, list[Verdict]] = {}
    for one in failed:
        found.setdefault(one.control, []).append(one)
    for control, ones in found.items():
        hosts = ", ".join(plain(one.subject) for one in ones[:SHOWN])
        more = f" and {len(ones) - SHOWN} more" if len(ones) > SHOWN else ""
        yield f"{ones[0].severity}: {control} on {hosts}{more}"


def _verdicts(audited: Audited) -> Iterator[Verdict]:
    for one in audited.assessments:
        yield from one.verdicts


def _read(path: Path) -> Known:
    """Read what people know; without it they know nothing, and are told all."""
    with suppress(OSError, ValueError):
        return Known.model_validate_json(path.read_text())
    return Known()


def _write(path: Path, known: Known) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(known.model_dump_json(indent=1) + "\n")
    draft.replace(path)
