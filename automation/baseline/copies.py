"""Is a recovered host as well secured as the one it stands in for? Verdict by verdict. Pure.

What passes on every original must pass on the copy. What is not known there is weaker, too: a drill that
lost sight of a control has not shown that the copy has it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from pydantic import Field

from automation.baseline.controls import PROFILES, Control, Profile, Severity
from automation.baseline.judge import SHARED_KERNEL, judge
from automation.baseline.settings import Baseline
from automation.baseline.verdicts import Found, Verdict
from automation.baseline.waivers import Exceptions
from automation.model.base import Model
from automation.model.copies import CopyCompared, Weaker
from automation.model.facts import Facts

GOOD = ("pass", "attested")
# Of what applies to an original, so much must be known of it, or what is compared is what is left by chance.
LEAST_KNOWN = 0.5
LONGEST = 300
_ORDER: tuple[Severity, ...] = ("critical", "high", "medium", "low")


class Earlier(Model):
    """Facts of a host that could not be asked by the run itself, and the run that kept them."""

    run: str
    facts: Facts


class Standard(Model):
    """What hosts are held against, as it stood when the run began: kept with it, and sealed."""

    settings: Baseline
    controls: tuple[Control, ...]
    counted: Exceptions = Field(default=Exceptions(), description="those whose signatures were found good")
    refused: Mapping[str, str] = Field(default_factory=dict, description="of the others: id to why not")
    earlier: Mapping[str, Earlier] = Field(default_factory=dict, description="by host")
    simulated: tuple[str, ...] = Field(default=(), description="hosts whose provider is not real")


def compare(
    service: str, originals: Sequence[Facts], copy: Facts, standard: Standard, kept_by: str = ""
) -> CopyCompared:
    """Hold the verdicts on a copy against those on its originals.

    Each is judged as of the moment of its facts, so that what is folded again later says the same.

    Args:
        originals: at least one; with several, what one of them fails is not asked of the copy.
        kept_by: earlier run that the originals' facts are from.
    """
    profile = _profile(originals, standard)
    before = [_verdicts(one, standard, profile) for one in originals]
    passed = set.intersection(*({one.control for one in every if one.state in GOOD} for every in before))
    titles = {one.id: one.title for one in standard.controls}
    verdicts = _verdicts(copy, standard, profile)
    there = [one for one in verdicts if one.control in passed]
    told = sorted(
        (_weaker(one, titles[one.control]) for one in there if one.state not in (*GOOD, "not_applicable")),
        key=lambda one: (_ORDER.index(one.severity), one.control),
    )
    hosts = (*(one.subject for one in originals), copy.subject)
    return CopyCompared(
        service=service,
        originals=tuple(one.subject for one in originals),
        host=copy.subject,
        profile=profile,
        original_at=min(one.collected_at for one in originals),
        copy_at=copy.collected_at,
        kept_by=kept_by,
        asked=len(verdicts),
        controls=len(passed),
        alike=sum(one.state in GOOD for one in there),
        not_applicable=tuple(one.control for one in there if one.state == "not_applicable"),
        not_walked=tuple(sorted({one.control for every in before for one in every if _is_of_cut_walk(one)})),
        weaker=tuple(one for one in told if one.state != "waived"),
        waived=tuple(one for one in told if one.state == "waived"),
        simulated=_simulated(hosts, (*originals, copy), standard),
    )


def newest(known: Iterable[Earlier], since: datetime) -> Earlier | None:
    """Give the newest facts of a host that are not older than a moment."""
    young = (one for one in known if one.facts.collected_at >= since)
    return max(young, key=lambda one: one.facts.collected_at, default=None)


def known_shares(originals: Sequence[Facts], standard: Standard) -> dict[str, float]:
    """Give by host how much is known of what applies to it; what a shared kernel hides does not count."""
    profile = _profile(originals, standard)
    return {one.subject: _known_share(one, standard, profile) for one in originals}


def _profile(originals: Sequence[Facts], standard: Standard) -> Profile:
    return max((standard.settings.profile_of(one.roles) for one in originals), key=PROFILES.index)


def _known_share(facts: Facts, standard: Standard, profile: Profile) -> float:
    applies = [
        one
        for one in _verdicts(facts, standard, profile)
        if one.state != "not_applicable" and one.reason != SHARED_KERNEL
    ]
    known = [one for one in applies if one.state not in ("unknown", "error")]
    return len(known) / len(applies) if applies else 0.0


def _is_of_cut_walk(verdict: Verdict) -> bool:
    cut = any(one.fact == "tree.whole" and one.met == "unknown" for one in verdict.found)
    return verdict.state == "unknown" and cut


def _verdicts(facts: Facts, standard: Standard, profile: Profile) -> tuple[Verdict, ...]:
    counted = standard.counted.every
    return judge(facts, standard.controls, profile, facts.collected_at, counted).verdicts


def _weaker(verdict: Verdict, title: str) -> Weaker:
    against = [one for one in verdict.found if one.met != "yes"]
    observed = "; ".join(_seen(one) for one in against) if verdict.state in ("fail", "waived") else ""
    return Weaker.model_validate(
        {
            "control": verdict.control,
            "title": title,
            "severity": verdict.severity,
            "state": verdict.state,
            "observed": _plain(observed or verdict.reason),
            "wanted": _plain("; ".join(dict.fromkeys(one.wanted for one in against))),
            "waiver": verdict.waiver,
        }
    )


def _seen(one: Found) -> str:
    return f"{one.fact} is {json.dumps(one.observed, ensure_ascii=False)}"


def _plain(text: str) -> str:
    """Give what a host said without signs that act on what shows it, and not longer than people read."""
    clean = "".join(sign if sign.isprintable() else "?" for sign in text[: LONGEST + 1])
    return clean if len(clean) <= LONGEST else f"{clean[:LONGEST]}..."


def _simulated(hosts: Sequence[str], facts: Sequence[Facts], standard: Standard) -> tuple[str, ...]:
    said = {one.subject for one in facts if one.source == "simulated"}
    return tuple(host for host in hosts if host in said or host in standard.simulated)
