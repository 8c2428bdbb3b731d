"""What laxer profiles say of a failure: why a host that passes one of them fails a stricter one. Pure."""

from collections.abc import Mapping
from datetime import datetime

from automation.baseline.controls import PROFILES, Control, Profile
from automation.baseline.judge import judge
from automation.baseline.verdicts import Assessment, Beside, Verdict
from automation.model.facts import Facts


def set_beside(
    assessment: Assessment, facts: Facts, controls: Mapping[str, Control], now: datetime
) -> Assessment:
    """Give an assessment in which every failure tells what the profiles before its own say of it."""
    laxer = PROFILES[: PROFILES.index(assessment.profile)]
    failed = [controls[one.control] for one in assessment.verdicts if one.state == "fail"]
    if not laxer or not failed:
        return assessment
    said: dict[Profile, dict[str, Verdict]] = {
        profile: {one.control: one for one in judge(facts, failed, profile, now).verdicts}
        for profile in laxer
    }
    verdicts = tuple(
        one.model_copy(update={"beside": tuple(_beside(one, name, said[name]) for name in laxer)})
        if one.state == "fail"
        else one
        for one in assessment.verdicts
    )
    return assessment.model_copy(update={"verdicts": verdicts})


def beside_words(verdict: Verdict) -> str:
    """Tell what is wanted of a host and what laxer profiles say; empty where all of them want the same."""
    here = _wanted(verdict)
    told: dict[str, list[str]] = {}
    for one in reversed(verdict.beside):
        if one.state is None:
            told.setdefault("not asked for", []).append(one.profile)
        elif one.wanted != here:
            passes = ", which it meets" if one.state == "pass" else ""
            told.setdefault(f"{_listed(one.wanted)}{passes}", []).append(one.profile)
    if not told:
        return ""
    others = (f"by {' and '.join(profiles)}: {words}" for words, profiles in told.items())
    asked = PROFILES[len(verdict.beside)]  # every laxer one stands beside it
    return "; ".join([f"wanted by {asked}: {_listed(here)}", *others])


def _beside(failed: Verdict, profile: Profile, said: Mapping[str, Verdict]) -> Beside:
    other = said.get(failed.control)
    if other is None:
        return Beside(profile=profile)
    against = _wanted(failed)
    wanted = {one.fact: one.wanted for one in other.found if one.fact in against}
    return Beside(profile=profile, state=other.state, wanted=wanted)


def _wanted(verdict: Verdict) -> dict[str, str]:
    return {one.fact: one.wanted for one in verdict.found if one.met == "no"}


def _listed(wanted: Mapping[str, str]) -> str:
    if len(wanted) == 1:
        return next(iter(wanted.values()))
    return ", ".join(f"{fact} {words}" for fact, words in wanted.items())
