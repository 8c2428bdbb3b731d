"""What came of an enforcement: mended as far as anybody knows is not done, and no failure either."""

from typing import Any

import pytest

from automation.baseline.verdicts import Assessment, Found, State, Verdict
from automation.commands._enforced import compare
from tests.baseline.examples import NOW


def judged(state: State, **met: Any) -> list[Assessment]:
    found = tuple(Found(fact=fact, observed=None, wanted="", met=one) for fact, one in met.items())
    verdict = Verdict(
        control="vsp.accounts.lockout", subject="hall", severity="high", state=state, reason="", found=found
    )
    told = {"subject": "hall", "profile": "standard", "judged_at": NOW, "collected_at": NOW}
    return [Assessment.model_validate({**told, "verdicts": (verdict,)})]


BEFORE = judged("fail", sso="unknown", hosts="no", clock="yes")


@pytest.mark.parametrize(
    ("after", "unmet", "lost"),
    [
        (judged("pass", sso="yes", hosts="yes", clock="yes"), 0, 0),
        (judged("unknown", sso="unknown", hosts="yes", clock="yes"), 0, 1),
        (judged("unknown", sso="unknown", hosts="unknown", clock="yes"), 1, 0),
        (judged("unknown", sso="unknown", hosts="yes", clock="unknown"), 1, 0),
        (judged("fail", sso="unknown", hosts="no", clock="yes"), 1, 0),
        (judged("unknown"), 1, 0),
    ],
    ids=["holds", "mended", "not known any more", "another is not known", "still fails", "says nothing"],
)
def test_what_failed_must_hold_and_only_what_was_not_known_may_stay_so(
    after: list[Assessment], unmet: int, lost: int
) -> None:
    found = compare(BEFORE, after, {"hall": ["vsp.accounts.lockout"]})
    assert (len(found.unmet), len(found.lost), found.worse) == (unmet, lost, ())
