"""Judge facts by controls: a verdict for each, and never a pass on what is not known. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from pydantic import JsonValue

from automation.baseline.checks import Answer, Ground, Truth, answer, lay_out
from automation.baseline.controls import Control, Profile
from automation.baseline.verdicts import Assessment, Found, State, Verdict
from automation.baseline.waivers import Attestation, Waiver
from automation.model.facts import Facts

SHARED_KERNEL = "shared-kernel: a container cannot show what its host's kernel does"


def judge(
    facts: Facts,
    controls: Sequence[Control],
    profile: Profile,
    now: datetime,
    exceptions: Iterable[Waiver | Attestation] = (),
) -> Assessment:
    """Judge one subject by every control of its platform that a profile asks for.

    Args:
        now: when a waiver or an attestation counts; the facts may be old.
        exceptions: those whose signatures were found good; of any subject.
    """
    ground = lay_out(facts)
    ours = [one for one in exceptions if facts.subject in one.subjects and one.holds(now)]
    verdicts = tuple(
        _with(_judge(control, ground, profile), control, ours)
        for control in controls
        if control.platform == facts.platform and profile in control.profiles
    )
    return Assessment(
        subject=facts.subject,
        profile=profile,
        judged_at=now,
        collected_at=facts.collected_at,
        source=facts.source,
        collector=facts.collector,
        verdicts=verdicts,
    )


def _judge(control: Control, ground: Ground, profile: Profile) -> Verdict:
    facts, parameters = ground.facts, control.values(profile)
    if control.applies is not None:
        applies = answer(control.applies.when, ground, parameters)
        if applies.truth == "no":
            return _verdict(control, facts, "not_applicable", control.applies.otherwise)
        if applies.truth == "unknown":
            return _verdict(control, facts, "unknown", f"whether it applies: {applies.reason}")
    if facts.shared_kernel and not control.shared_kernel:
        return _verdict(control, facts, "unknown", SHARED_KERNEL)
    if control.check is None:
        return _verdict(control, facts, "unknown", "people have to look, and nobody attested it")
    return _by_checks(control, ground, parameters)


def _by_checks(control: Control, ground: Ground, parameters: Mapping[str, JsonValue]) -> Verdict:
    assert control.check is not None
    asked = {"in effect": control.check.effective, "written down": control.check.persistent}
    answers = {name: answer(check, ground, parameters) for name, check in asked.items() if check is not None}
    truths = {one.truth for one in answers.values()}
    state: State = "fail" if "no" in truths else "unknown" if "unknown" in truths else "pass"
    reason = "" if state == "pass" else _reason(answers, "no" if state == "fail" else "unknown")
    found = tuple(
        Found(fact=seen.fact, observed=seen.observed, wanted=seen.wanted, met=seen.truth)
        for one in answers.values()
        for seen in one.seen
    )
    return _verdict(control, ground.facts, state, reason, found=found, disagrees=truths == {"yes", "no"})


def _reason(answers: Mapping[str, Answer], truth: Truth) -> str:
    said = [f"{name}: {one.reason}" for name, one in answers.items() if one.truth == truth]
    if {one.truth for one in answers.values()} == {"yes", "no"}:
        said.append("what is in effect is not what is written down")
    return "; ".join(said)


def _with(verdict: Verdict, control: Control, exceptions: Sequence[Waiver | Attestation]) -> Verdict:
    for one in exceptions:
        if one.control != verdict.control:
            continue
        accepted = isinstance(one, Waiver) and control.waiver.allowed and one.covers(verdict.found)
        if verdict.state == "fail" and accepted:
            return verdict.model_copy(update={"state": "waived", "waiver": one.id})
        if isinstance(one, Attestation) and verdict.state == "unknown" and control.attest_days:
            by = f"attested by {one.by}"
            return verdict.model_copy(update={"state": "attested", "reason": by, "waiver": one.id})
    return verdict


def _verdict(
    control: Control,
    facts: Facts,
    state: State,
    reason: str,
    *,
    found: tuple[Found, ...] = (),
    disagrees: bool = False,
) -> Verdict:
    return Verdict(
        control=control.id,
        subject=facts.subject,
        severity=control.severity,
        state=state,
        reason=reason,
        found=found,
        disagrees=disagrees,
    )
