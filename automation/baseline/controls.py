"""What a control is: what is wanted, why, how it is judged, what changes it, and how far that reaches."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from automation.baseline.checks import Ask, Check, asks_of
from automation.baseline.comparing import fault_of
from automation.baseline.remedies import Remedy
from automation.model.base import Model
from automation.model.facts import Platform

Severity = Literal["critical", "high", "medium", "low"]
# From what everybody should have to what is asked of police data; each takes over the values of that before.
Profile = Literal["standard", "cis-l1", "cjis"]
PROFILES: tuple[Profile, ...] = ("standard", "cis-l1", "cjis")
ControlId = Annotated[str, Field(pattern=r"^(lin|aws|vsp)(\.[a-z0-9]+(-[a-z0-9]+)*){2}$")]
_PLATFORM_OF: Mapping[str, Platform] = {"lin": "linux", "aws": "aws", "vsp": "vsphere"}


class Applies(Model):
    """For whom a control is; for the others it does not apply, and the report says why."""

    when: Check
    otherwise: str = Field(min_length=1, max_length=80, description="why it does not apply: no sshd here")


class Checks(Model):
    """What must hold now, and what must hold after the next boot or reload."""

    effective: Check | None = Field(default=None, description="as it is in effect now")
    persistent: Check | None = Field(default=None, description="as it is written down")

    @model_validator(mode="after")
    def _asks_something(self) -> "Checks":
        if self.effective is None and self.persistent is None:
            raise ValueError("give effective, persistent, or both")
        return self


class WaiverRule(Model):
    """Whether a control may be waived, and for how long."""

    allowed: bool = True
    max_days: int = Field(default=90, ge=1, le=365)


class References(Model):
    """Where others ask for the same."""

    cis: tuple[str, ...] = Field(default=(), description="section numbers of the CIS Benchmark")
    nist: tuple[str, ...] = Field(default=(), description="controls of NIST SP 800-53r5")
    cjis: tuple[str, ...] = Field(default=(), description="sections of the CJIS Security Policy")
    other: tuple[str, ...] = Field(default=(), description="vSphere SCG, STIG: with their names")


class Fixtures(Model):
    """Facts on which the control must give a known verdict; tests hold it to them."""

    passes: tuple[Mapping[str, JsonValue], ...] = Field(alias="pass", min_length=1)
    fails: tuple[Mapping[str, JsonValue], ...] = Field(alias="fail", min_length=1)
    not_applicable: tuple[Mapping[str, JsonValue], ...] = Field(default=())
    unknown: tuple[Mapping[str, JsonValue], ...] = Field(default=({},))


class Control(Model):
    """One thing that is wanted of a host, an account or a vCenter."""

    id: ControlId = Field(description="never changes and is never used again")
    revision: int = Field(default=1, ge=1)
    title: str = Field(min_length=5, max_length=100)
    why: str = Field(min_length=20, max_length=400)
    severity: Severity
    profiles: tuple[Profile, ...] = Field(default=PROFILES, min_length=1, description="that ask for it")
    applies: Applies | None = None
    shared_kernel: bool = Field(default=True, description="false: it cannot be judged in a container")
    parameters: Mapping[str, Mapping[Profile, JsonValue]] = Field(
        default_factory=dict, description="by name and profile; a profile without one takes that before it"
    )
    check: Checks | None = Field(default=None, description="none: people look, and attest")
    attest_days: int = Field(default=0, ge=0, le=366, description="how long an attestation holds")
    remedy: Remedy | None = Field(default=None, description="none: people change it")
    impact: str = Field(default="", max_length=300, description="what stops working where it is enforced")
    waiver: WaiverRule = WaiverRule()
    references: References = References()
    fixtures: Fixtures | None = None

    @property
    def platform(self) -> Platform:
        return _PLATFORM_OF[self.id.partition(".")[0]]

    def values(self, profile: Profile) -> dict[str, JsonValue]:
        """Give every parameter as a profile wants it: its own, else that of the profile before it."""
        order = PROFILES[: PROFILES.index(profile) + 1]
        return {
            name: next(by[one] for one in reversed(order) if one in by)
            for name, by in self.parameters.items()
        }

    @model_validator(mode="after")
    def _is_whole(self) -> "Control":
        problems = [*_judged(self), *_parameters(self), *_faulty_values(self)]
        if problems:
            raise ValueError("; ".join(problems))
        return self


class ControlFile(Model):
    """A file of controls, `controls/<platform>/<subject>.yml`."""

    controls: tuple[Control, ...] = Field(min_length=1)


def _judged(control: Control) -> Iterator[str]:
    if control.check is None and not control.attest_days:
        yield "give check, or attest_days where people have to look"
    if control.check is not None and control.fixtures is None:
        yield "a check has fixtures: pass, fail"
    if control.check is None and control.remedy is not None:
        yield "what nothing checks is not changed: remedy without check"


def _parameters(control: Control) -> Iterator[str]:
    first = min(PROFILES.index(one) for one in control.profiles)
    for name, by in control.parameters.items():
        if not any(one in by for one in PROFILES[: first + 1]):
            yield f"parameter {name} has no value for profile {PROFILES[first]}"
    asked = set(_names(control)) - control.parameters.keys()
    if asked:
        yield f"no such parameter: {', '.join(sorted(asked))}"
    if unused := control.parameters.keys() - set(_names(control)):
        yield f"nothing uses parameter {', '.join(sorted(unused))}"


def _names(control: Control) -> Iterator[str]:
    for ask in _asks(control):
        if isinstance(ask.value, str) and ask.value.startswith("$"):
            yield ask.value[1:]
    if control.remedy is not None:
        yield from control.remedy.parameters()


def _faulty_values(control: Control) -> Iterator[str]:
    for ask in _asks(control):
        name = ask.value[1:] if isinstance(ask.value, str) and ask.value.startswith("$") else ""
        for profile, value in control.parameters.get(name, {}).items():
            if fault := fault_of(ask.word, value):
                yield f"parameter {name} of {profile}: {fault}"


def _asks(control: Control) -> Iterator[Ask]:
    checks = control.check
    for check in (checks.effective, checks.persistent) if checks else ():
        if check is not None:
            yield from asks_of(check)
    if control.applies is not None:
        yield from asks_of(control.applies.when)
