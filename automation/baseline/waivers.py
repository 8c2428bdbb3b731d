"""Who has agreed that something is not as wanted: on what, for how long, and for which value. Pure.

A waiver counts where the role that approves it signed `words_of` it; that is seen to where files are read.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal, NamedTuple

from pydantic import AwareDatetime, Field, JsonValue, model_validator

from automation.baseline.controls import Control, ControlId
from automation.baseline.verdicts import Found, Verdict
from automation.model.base import Model
from automation.model.strategy import Name, Role

LONGEST = timedelta(days=365)
WARN_DAYS = 14
Subject = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,252}$")]


class _Exception(Model):
    id: Name = Field(description="its name in reports, and that of its signature's file")
    control: ControlId = Field(description="lin.ssh.root-login: baseline.explain tells what it wants")
    subjects: tuple[Subject, ...] = Field(min_length=1, description="hosts, accounts, vCenters, each by name")
    reason: str = Field(min_length=10, description="why it is so, for those who come later")
    ticket: str = Field(default="", description="where it is written about")
    starts: AwareDatetime = Field(description="2026-11-01T00:00:00Z")
    expires: AwareDatetime = Field(description="2026-12-01T00:00:00Z; at most 365 days later")

    def holds(self, now: datetime) -> bool:
        """Whether it is in force."""
        return self.starts <= now < self.expires

    @model_validator(mode="after")
    def _ends(self) -> "_Exception":
        if not self.starts < self.expires <= self.starts + LONGEST:
            raise ValueError("expires: after starts, and at most 365 days later")
        return self


class Waiver(_Exception):
    """That a control fails in one known way, is known, and is accepted until a day."""

    kind: Literal["waiver"] = Field(default="waiver", description="waiver")
    observed: Mapping[str, JsonValue] = Field(
        min_length=1, description="fact to the value that is accepted; another bad value is not"
    )
    compensated_by: str = Field(min_length=10, description="what protects instead")
    requested_by: Role = Field(description="role that asks for it")
    approved_by: Role = Field(description="another role, which signs it by baseline.waive")

    @model_validator(mode="after")
    def _two_people(self) -> "Waiver":
        if self.requested_by == self.approved_by:
            raise ValueError("approved_by: nobody approves what they ask for themselves")
        return self

    def covers(self, found: Iterable[Found]) -> bool:
        """Whether all that was found against the control is what was accepted, and nothing else was."""
        every = tuple(found)
        seen = {one.fact: one.observed for one in every}
        against = {one.fact for one in every if one.met == "no"}
        return against <= self.observed.keys() and all(
            fact in seen and _canonical(seen[fact]) == _canonical(value)
            for fact, value in self.observed.items()
        )


class Attestation(_Exception):
    """That people looked at what no program can judge, and found it as it should be."""

    kind: Literal["attestation"] = Field(default="attestation", description="attestation")
    by: Role = Field(description="role that looked, and signs it by baseline.waive")


class Exceptions(Model):
    """`inventories/<env>/waivers.yml`."""

    waivers: tuple[Waiver, ...] = Field(default=(), description="failures that are accepted until a day")
    attestations: tuple[Attestation, ...] = Field(
        default=(), description="what people looked at because no program can judge it"
    )

    @property
    def every(self) -> tuple[Waiver | Attestation, ...]:
        """All of them, waivers first."""
        return (*self.waivers, *self.attestations)

    @model_validator(mode="after")
    def _are_told_apart(self) -> "Exceptions":
        ids = [one.id for one in (*self.waivers, *self.attestations)]
        if twice := sorted({one for one in ids if ids.count(one) > 1}):
            raise ValueError(f"two have the id {', '.join(twice)}")
        return self


def words_of(one: Waiver | Attestation, environment: str) -> str:
    """Give what is signed: the environment and all that is written in it, in one form whatever its file's."""
    told = one.model_dump(mode="json", exclude_defaults=True)
    return json.dumps({"environment": environment, one.kind: told}, sort_keys=True, indent=1) + "\n"


class Problem(NamedTuple):
    """What is wrong with one of them."""

    id: str
    words: str
    fault: bool
    key: str = ""
    by_time: bool = False  # it was right when it was written


def lint(
    exceptions: Exceptions, controls: Mapping[str, Control], subjects: Sequence[str], now: datetime
) -> Iterator[Problem]:
    """Find what is wrong with waivers and attestations; some of it only needs to be looked at.

    Args:
        subjects: every host; accounts and vCenters are named by their providers and stand in no inventory.
    """
    for one in exceptions.every:
        control = controls.get(one.control)
        if control is None:
            yield Problem(one.id, f"there is no control {one.control}", True, "control")
            continue
        strangers = sorted(set(one.subjects) - set(subjects)) if control.platform == "linux" else []
        if strangers:
            yield Problem(one.id, f"there is no {', '.join(strangers)}", True, "subjects")
        yield from _of_rules(one, control)
        if now >= one.expires:
            yield Problem(one.id, f"it ended on {one.expires:%Y-%m-%d}", True, "expires", True)
        elif now >= one.expires - timedelta(days=WARN_DAYS):
            yield Problem(one.id, f"it ends on {one.expires:%Y-%m-%d}", False, "expires", True)


def _of_rules(one: Waiver | Attestation, control: Control) -> Iterator[Problem]:
    days = (one.expires - one.starts) / timedelta(days=1)
    if isinstance(one, Attestation):
        if not control.attest_days:
            yield Problem(one.id, f"{control.id} is judged by its check, not by people", True, "control")
        elif days > control.attest_days:
            words = f"an attestation of {control.id} holds {control.attest_days} days"
            yield Problem(one.id, words, True, "expires")
        return
    if not control.waiver.allowed:
        yield Problem(one.id, f"{control.id} may not be waived", True, "control")
    elif days > control.waiver.max_days:
        words = f"{control.id} is waived for {control.waiver.max_days} days at most"
        yield Problem(one.id, words, True, "expires")


def unused(exceptions: Exceptions, verdicts: Iterable[Verdict], now: datetime) -> Iterator[Problem]:
    """Find waivers in force that no failure needed: what they accept is gone, or is another value by now."""
    used = {one.waiver for one in verdicts if one.waiver}
    for waiver in exceptions.waivers:
        if waiver.holds(now) and waiver.id not in used:
            yield Problem(
                waiver.id, "nothing that was found needs it: that is gone, or another value by now", False
            )


def needless(
    counted: Sequence[Waiver | Attestation], verdicts: Sequence[Verdict], now: datetime
) -> Iterator[Problem]:
    """Find waivers that count and that nothing needs, as far as these verdicts can tell.

    One of a subject that was not judged, or of a control that is not known there, may be needed.
    """
    said = {(one.control, one.subject) for one in verdicts if one.state not in ("unknown", "error")}
    known = tuple(
        one
        for one in counted
        if isinstance(one, Waiver) and all((one.control, subject) in said for subject in one.subjects)
    )
    yield from unused(Exceptions(waivers=known), verdicts, now)


def _canonical(value: JsonValue) -> str:
    return json.dumps(value, sort_keys=True)
