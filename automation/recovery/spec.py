"""What people write for recovery: plans and drills."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, field_validator, model_validator

from automation.model.actions import Action
from automation.model.approvals import ApprovalRule
from automation.model.base import DurationS, Model
from automation.model.catalog import Service
from automation.model.errors import ConfigError
from automation.model.loading import load_model
from automation.model.plan import Gate, Limits, Mode, OnFailure
from automation.model.recurrence import Rrule
from automation.model.strategy import HostName, Name

_DAY_S = 86400.0


Roles = Annotated[tuple[str, ...], Field(min_length=1, description="one person for each role")]


class PlanApprovals(Model):
    """Whose signatures a run by this plan needs before it starts, mode by mode."""

    failover: Roles | None = Field(
        default=None, description="roles that sign a real failover, one person each"
    )
    planned_migration: Roles | None = Field(
        default=None, alias="planned-migration", description="roles that sign a planned migration"
    )
    failback: Roles | None = Field(default=None, description="roles that sign the way home")
    test_failover: Roles | None = Field(
        default=None, alias="test-failover", description="roles that sign a test in isolation"
    )
    not_requester: bool = Field(default=True, description="who asks for it is none of them")

    model_config = Model.model_config | {"populate_by_name": True}

    def rule(self, mode: Mode) -> ApprovalRule | None:
        """Who must sign before a run in a mode; None when nobody must."""
        roles: Roles | None = {
            "failover": self.failover,
            "planned-migration": self.planned_migration,
            "failback": self.failback,
            "test-failover": self.test_failover,
        }.get(mode)
        return (
            None if roles is None else ApprovalRule(roles=roles, requester_may_approve=not self.not_requester)
        )


class Cadence(Model):
    """How long each level of exercise may lie back; after that it is overdue."""

    tabletop_s: DurationS = Field(
        default=365 * _DAY_S, alias="tabletop", gt=0, description="a tabletop is due again after this: 365 d"
    )
    test_failover_s: DurationS = Field(
        default=90 * _DAY_S,
        alias="test-failover",
        gt=0,
        description="a test failover is due again after this: 90 d",
    )
    failover_s: DurationS = Field(
        default=365 * _DAY_S,
        alias="failover",
        gt=0,
        description="a drill that fails over is due again after this: 365 d",
    )
    readiness_s: DurationS = Field(
        default=_DAY_S,
        alias="readiness",
        gt=0,
        description="a look at readiness is due again after this: 1 d",
    )


class Selection(Model):
    """Which services: those of these tiers and these sites, those named beside them, but for some."""

    tiers: tuple[Annotated[int, Field(ge=0, le=5)], ...] = Field(default=(), description="none: every tier")
    sites: tuple[str, ...] = Field(default=(), description="primary sites; none: every site")
    names: tuple[str, ...] = Field(default=(), description="chosen whatever their tier and site")
    but: tuple[str, ...] = Field(default=(), alias="except", description="never chosen")

    @property
    def named(self) -> tuple[str, ...]:
        """Every service that is named, to be chosen or left out."""
        return (*self.names, *self.but)

    def chooses(self, name: str, service: Service) -> bool:
        """Whether a service is chosen; tiers and sites narrow down together."""
        if name in self.names or name in self.but:
            return name not in self.but
        if self.names and not self.tiers and not self.sites:
            return False
        tier = not self.tiers or service.tier in self.tiers
        return tier and (not self.sites or service.primary in self.sites)


def _read_selection(value: object) -> object:
    """Take the two short forms: `all`, and a list of names."""
    if value == "all":
        return {}
    if isinstance(value, list | tuple):
        if not value:
            raise ValueError("chooses no service; write all, a list of names, or tiers and sites")
        return {"names": value}
    if isinstance(value, str):
        raise ValueError(
            f"{value!r} is no choice of services; write all, a list of names, or tiers and sites"
        )
    return value


Services = Annotated[
    Selection,
    BeforeValidator(_read_selection, json_schema_input_type=Literal["all"] | tuple[str, ...] | Selection),
]


class PlanGate(Model):
    """A question that a person answers before something of the plan begins."""

    before: str = Field(
        description="a service, a step, or every step of a kind: fence, promote, names", min_length=1
    )
    role: str = Field(description="who answers")
    ask: str = Field(description="the question, to be answered with yes")
    modes: tuple[Mode, ...] = Field(default=(), description="none: every mode")


class Freeze(Model):
    """A time in which runs by this plan are refused: payroll, tax day, election night."""

    name: str = Field(description="what goes on then")
    rrule: Rrule = Field(description="when it begins, by the clock of `tz`")
    duration_s: DurationS = Field(alias="for", gt=0, le=366 * _DAY_S, description="how long it lasts: 3 d")
    tz: str = Field(default="UTC", description="time zone: America/Chicago")
    modes: tuple[Mode, ...] = Field(
        default=("exercise", "test-failover", "planned-migration", "failback"),
        min_length=1,
        description="a real failover is refused only where it stands here",
    )
    reason: str = Field(default="", description="why nothing may move then")

    @field_validator("tz")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            return ZoneInfo(name).key
        except (KeyError, OSError, ValueError) as exc:
            raise ValueError(f"{name!r} is not a time zone; write for example America/Chicago") from exc


class PlanLimits(Limits):
    """How much may run at once, and the most that a run may touch."""

    max_hosts: int | None = Field(default=None, ge=1, description="hosts that may be changed, in all")
    deny: tuple[str, ...] = Field(default=(), description="hosts that are never changed: cad-*")

    @property
    def at_once(self) -> Limits:
        return Limits(total=self.total, per_host=self.per_host, per_provider=self.per_provider)


class PlanStep(Model):
    """A step of the plan's own, beside those of the strategies."""

    id: str = Field(
        pattern=r"^[a-z0-9][a-z0-9./-]*$", description="its name: lower case, digits, dots, slashes, dashes"
    )
    run: Action = Field(description="the action, by its address")
    why: str = Field(description="the reason, for people")
    service: str | None = Field(default=None, description="the service that it belongs to")
    needs: tuple[str, ...] = Field(default=(), description="steps, or services that must be recovered")
    after: tuple[str, ...] = Field(
        default=(), description="the same, order only; absent ones are passed over"
    )
    before: tuple[str, ...] = Field(default=(), description="what waits for it, as with a gate's `before`")
    gate: Gate | None = Field(default=None, description="a question that is asked before it")
    timeout_s: DurationS = Field(
        default=60.0, alias="timeout", gt=0, description="of all attempts together: 1 min"
    )
    on_failure: OnFailure = Field(
        default="pause", description="pause: what needs it waits; halt: nothing new starts; continue: go on"
    )
    undo: Action | None = Field(default=None, description="the action that takes it back")
    no_undo: str = Field(default="", description="why it is not taken back, where `undo` is not given")
    retries: int = Field(default=0, ge=0, le=10, description="of transient errors alone")
    modes: tuple[Mode, ...] = Field(default=(), description="none: every mode")


class RecoveryPlan(Model):
    """`drtests/plans/<name>.yml`: which services, the checks that judge them, and who must agree."""

    title: str = Field(description="what the plan is called")
    environments: tuple[str, ...] = Field(default=(), description="those it is written for; none: every one")
    services: Services = Field(description="all, a list of names, or tiers and sites")
    checks: tuple[str, ...] = Field(
        min_length=1, description="pytest files or folders that judge the recovered services"
    )
    approvals: PlanApprovals | None = Field(default=None, description="who must sign, mode by mode")
    exercise: Cadence = Field(default=Cadence(), description="how often it is exercised")
    overrides: tuple[str, str] = Field(
        default=("dr-coordinator", "service-owner"),
        description="the two roles that sign when lag or a missing fence is accepted",
    )
    gates: tuple[PlanGate, ...] = Field(
        default=(), description="questions that a person answers before something begins"
    )
    freezes: tuple[Freeze, ...] = Field(default=(), description="times in which runs are refused")
    limits: PlanLimits = Field(
        default=PlanLimits(), description="how much may run at once, and the most that may be touched"
    )
    steps: tuple[PlanStep, ...] = Field(default=(), description="steps of the plan's own")

    def rule(self, mode: Mode) -> ApprovalRule | None:
        """Who must sign before a run in a mode; None when nobody must."""
        return self.approvals.rule(mode) if self.approvals else None


class PowerLoss(Model):
    """The hosts and the network of a site are gone at once."""

    fault: Literal["power-loss"] = Field(description="what breaks")
    site: str = Field(description="where")
    wait_s: DurationS = Field(default=0.0, alias="wait", description="time before it")


class LinkCut(Model):
    """The WAN between two sites is cut."""

    fault: Literal["link-cut"] = Field(description="what breaks")
    between: tuple[str, str] = Field(description="the two sites")
    wait_s: DurationS = Field(default=0.0, alias="wait", description="time before it")


class WanPartition(Model):
    """A site is cut off from all others; its hosts run on, its management answers."""

    fault: Literal["wan-partition"] = Field(description="what breaks")
    site: str = Field(description="where")
    wait_s: DurationS = Field(default=0.0, alias="wait", description="time before it")


class DarkSite(Model):
    """Nothing of a site answers, its management neither; its hosts may run on."""

    fault: Literal["dark-site"] = Field(description="what breaks")
    site: str = Field(description="where")
    wait_s: DurationS = Field(default=0.0, alias="wait", description="time before it")


DrillFault = Annotated[PowerLoss | LinkCut | WanPartition | DarkSite, Field(discriminator="fault")]


class Objective(Model):
    """Targets of one service for one drill; what is not given is the catalog's."""

    rto_s: DurationS | None = Field(
        default=None, alias="rto", description="recovery time objective in this drill"
    )
    rpo_s: DurationS | None = Field(
        default=None, alias="rpo", description="recovery point objective in this drill"
    )


LinkPlace = Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+:[0-9]{1,5}$")]


class Isolation(Model):
    """Where a test failover rebuilds services, and from what; production is neither used nor touched."""

    services: tuple[Name, ...] = Field(min_length=1, description="databases first, then what runs on them")
    host: HostName = Field(description="server on demand, which the drill makes and removes")
    store: Name = Field(description="the copy of backups.yml that is restored; not of the site that is lost")
    moment: Literal["random", "latest"] = Field(
        default="random", description="random: any second that can be reached"
    )
    prepare: str = Field(
        default="playbooks/drill.yml", description="playbook that sets the server up, with links out cut"
    )
    links: Mapping[Name, LinkPlace] = Field(
        default_factory=dict, description="mail relays, banks: name to HOST:PORT; out of reach as well"
    )
    checks: tuple[str, ...] = Field(
        default=("drtests/isolated",), min_length=1, description="pytest files or folders that judge the copy"
    )


class Copies(Model):
    """What a test failover copies: VMs or instances, into the isolated network of their strategy."""

    services: tuple[Name, ...] = Field(min_length=1, description="of vm-replica or aws-pilot-light")


class Drill(Model):
    """`drtests/drills/<name>.yml`: a plan, in a mode, against faults or in isolation."""

    name: str
    title: str = Field(description="what the drill is called")
    plan: str = Field(description="a file of drtests/plans, without .yml")
    mode: Literal["failover", "planned-migration", "failback", "test-failover"] = Field(
        description="what is exercised; test-failover: on a copy in isolation"
    )
    site: str = Field(description="the site that is lost, is left, or is come home to")
    isolation: Isolation | None = Field(default=None, description="of a test-failover: where, from what")
    copies: Copies | None = Field(default=None, description="of a test-failover of VMs or instances")
    faults: tuple[DrillFault, ...] = Field(default=(), description="a failover has one or more, others none")
    pause_s: DurationS = Field(
        default=30.0, alias="pause", gt=0, description="the longest pause announced, where it is planned"
    )
    objectives: Mapping[str, Objective] = Field(
        default_factory=dict, description="service to its targets in this drill; else the catalog's count"
    )
    expect: Literal["recovered", "stopped-before-promotion"] = Field(
        default="recovered", description="how it must end"
    )
    detect_after: int = Field(default=3, ge=1, description="failed probes in a row that raise the alarm")
    inspect_old_primary: bool = Field(
        default=False, description="list the writes on the lost primary's disk too (lab only)"
    )

    @model_validator(mode="after")
    def _breaks_what_it_recovers(self) -> "Drill":
        if (self.mode == "failover") != bool(self.faults):
            raise ValueError(
                f"a drill of mode {self.mode} has {'a fault' if not self.faults else 'no faults'}"
            )
        tested = [one for one in (self.isolation, self.copies) if one is not None]
        if (self.mode == "test-failover") != (len(tested) == 1) or len(tested) > 1:
            raise ValueError(
                "isolation or copies is of mode test-failover: that mode has one, no other has any"
            )
        return self


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


class Switch(Model):
    """A planned move of services from one site to their other one, as it was asked for."""

    name: str
    title: str
    plan: str
    site: str = Field(description="the site that is left; of a failback, the home")
    pause_s: DurationS = Field(gt=0, description="the longest pause that clients were told of")
    rebuild: Literal["rewind", "basebackup"] = Field(
        default="rewind", description="failback: how the old primary becomes a standby"
    )
    keep_s: DurationS = Field(default=30 * _DAY_S, gt=0, description="failback: how long old data is kept")
    objectives: Mapping[str, Objective] = Field(default_factory=dict)


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
