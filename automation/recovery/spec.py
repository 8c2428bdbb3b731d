"""What people write for recovery: plans and drills."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from automation.model.base import DurationS, Model
from automation.model.errors import ConfigError
from automation.model.loading import load_model


class RecoveryPlan(Model):
    """`drtests/plans/<name>.yml`: which services, and the checks that judge them."""

    title: str
    services: Literal["all"] | tuple[str, ...]
    checks: tuple[str, ...] = Field(min_length=1)


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


DrillFault = Annotated[PowerLoss | LinkCut, Field(discriminator="fault")]


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
    detect_after: int = Field(default=3, ge=1, description="failed probes in a row that raise the alarm")
    inspect_old_primary: bool = Field(
        default=False, description="list the writes on the lost primary's disk too (lab only)"
    )


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
