"""What people write for recovery: plans and drills."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from automation.model.approvals import ApprovalRule
from automation.model.base import DurationS, Model
from automation.model.errors import ConfigError
from automation.model.loading import load_model


class PlanApprovals(Model):
    """Whose signatures a real failover by this plan needs before it starts."""

    failover: tuple[str, ...] = Field(min_length=1, description="one person for each role")
    not_requester: bool = Field(default=True, description="who asks for it is none of them")

    @property
    def rule(self) -> ApprovalRule:
        return ApprovalRule(roles=self.failover, requester_may_approve=not self.not_requester)


_DAY_S = 86400.0


class Cadence(Model):
    """How long each level of exercise may lie back; after that it is overdue."""

    tabletop_s: DurationS = Field(default=365 * _DAY_S, alias="tabletop", gt=0)
    test_failover_s: DurationS = Field(default=90 * _DAY_S, alias="test-failover", gt=0)
    failover_s: DurationS = Field(default=365 * _DAY_S, alias="failover", gt=0)
    readiness_s: DurationS = Field(default=_DAY_S, alias="readiness", gt=0)


class RecoveryPlan(Model):
    """`drtests/plans/<name>.yml`: which services, the checks that judge them, and who must agree."""

    title: str
    services: Literal["all"] | tuple[str, ...]
    checks: tuple[str, ...] = Field(min_length=1)
    approvals: PlanApprovals | None = None
    exercise: Cadence = Cadence()
    overrides: tuple[str, str] = Field(
        default=("dr-coordinator", "service-owner"),
        description="the two roles that sign when lag or a missing fence is accepted",
    )


class PowerLoss(Model):
    """The hosts and the network of a site are gone at once."""

    fault: Literal["power-loss"]
    site: str
    wait_s: DurationS = Field(default=0.0, alias="wait")


class LinkCut(Model):
    """The WAN between two sites is cut."""

    fault: Literal["link-cut"]
    between: tuple[str, str]
    wait_s: DurationS = Field(default=0.0, alias="wait")


class WanPartition(Model):
    """A site is cut off from all others; its hosts run on, its management answers."""

    fault: Literal["wan-partition"]
    site: str
    wait_s: DurationS = Field(default=0.0, alias="wait")


class DarkSite(Model):
    """Nothing of a site answers, its management neither; its hosts may run on."""

    fault: Literal["dark-site"]
    site: str
    wait_s: DurationS = Field(default=0.0, alias="wait")


DrillFault = Annotated[PowerLoss | LinkCut | WanPartition | DarkSite, Field(discriminator="fault")]


class Objective(Model):
    """Targets of one service for one drill; what is not given is the catalog's."""

    rto_s: DurationS | None = Field(default=None, alias="rto")
    rpo_s: DurationS | None = Field(default=None, alias="rpo")


class Drill(Model):
    """`drtests/drills/<name>.yml`: a plan, in a mode, against faults."""

    name: str
    title: str
    plan: str
    mode: Literal["failover"]
    site: str = Field(description="the site that is lost")
    faults: tuple[DrillFault, ...] = Field(min_length=1)
    objectives: Mapping[str, Objective] = Field(default_factory=dict)
    expect: Literal["recovered", "stopped-before-promotion"] = "recovered"
    detect_after: int = Field(default=3, ge=1, description="failed probes in a row that raise the alarm")
    inspect_old_primary: bool = Field(
        default=False, description="list the writes on the lost primary's disk too (lab only)"
    )


class Failover(Model):
    """A real failover, as it was asked for: one site is lost, a person has declared it."""

    plan: str
    site: str = Field(description="the site that is lost")
    title: str = Field(description="what the declaration says")
    declaration: str = Field(description="the run that recorded it")
    accept_unfenced: str = Field(default="", description="why a primary that is not fenced is accepted")
    accept_lag: Mapping[str, str] = Field(default_factory=dict, description="service to the lag observed")
    objectives: Mapping[str, Objective] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"failover-{self.site}"


def load_plan(repository: Path, name: str) -> RecoveryPlan:
    """Read `drtests/plans/<name>.yml`."""
    return load_model(_existing(repository / "drtests/plans", name, "--plan"), RecoveryPlan)


def load_drill(repository: Path, name: str) -> Drill:
    """Read `drtests/drills/<name>.yml`."""
    return load_model(_existing(repository / "drtests/drills", name, "--drill"), Drill, name=name)


def _existing(folder: Path, name: str, flag: str) -> Path:
    path = folder / f"{name}.yml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yml")))
        raise ConfigError(
            f"there is no {path.name} in {folder.name}; nothing was touched", hint=f"{flag}: {known}"
        )
    return path
