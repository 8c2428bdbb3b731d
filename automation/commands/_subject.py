"""What a run is about, kept beside its plan when it begins, and read back for its report."""

import os
from contextlib import suppress
from pathlib import Path

from automation.commands._command import ROOT
from automation.engine.approval import inventory_digest
from automation.model.actions import CiteDeclaration, StartWitness
from automation.model.catalog import Service, load_catalog
from automation.model.environment import Environment, Inventory
from automation.model.errors import ConfigError, PreflightError
from automation.model.plan import Plan
from automation.recovery.report_subject import SUBJECT_FILE, Subject, Target, subject_of
from automation.recovery.spec import load_drill, load_plan

LOCALTIME = Path("/etc/localtime")
ZONES = "zoneinfo/"


def describe(
    environment: Environment, inventory: Inventory, plan: Plan, subject: Subject | None = None
) -> Subject:
    """Give what a run of a plan is about, with what stands in its environment today.

    Args:
        subject: what a drill or a failover says of itself; without it, what today's files say of the plan.
    """
    known = subject or _by_files(environment, plan)
    return known.model_copy(
        update={
            "lab": environment.kind == "lab",
            "timezone": environment.timezone or machine_timezone(),
            "sustained": environment.witness.sustained,
            "inventory_digest": inventory_digest(environment, inventory),
        }
    )


def leave_subject(folder: Path, subject: Subject) -> None:
    """Write it into a run's folder, where it is sealed with all else.

    Raises:
        PreflightError: the folder cannot be written; nothing was changed.
    """
    try:
        descriptor = os.open(folder / SUBJECT_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(subject.model_dump_json(indent=1, by_alias=True))
    except OSError as exc:
        raise PreflightError(
            f"the state folder of {folder} cannot be written ({exc.strerror or exc}); nothing was changed",
            hint="free space on its disk, then try again",
        ) from exc


def read_subject(folder: Path) -> Subject | None:
    """Give what a run's folder says it was about; None for a run that kept nothing.

    Raises:
        ConfigError: the file was changed or is of another version.
    """
    path = folder / SUBJECT_FILE
    if not path.is_file():
        return None
    try:
        return Subject.model_validate_json(path.read_bytes())
    except ValueError as exc:
        problem = str(exc).splitlines()[0]
        raise ConfigError(f"{path} cannot be read: {problem}; nothing was written") from exc


def machine_timezone() -> str:
    """Name the time zone of this machine; UTC where it does not say."""
    target = os.path.realpath(LOCALTIME)
    return target.split(ZONES, 1)[1] if ZONES in target else "UTC"


def _by_files(environment: Environment, plan: Plan) -> Subject:
    """What the files of today say of a plan: its drill, if it has one, and its services."""
    services = _services(environment, plan)
    if plan.mode in ("exercise", "test-failover"):
        with suppress(ConfigError):
            drill = load_drill(ROOT, plan.name)
            return subject_of(drill, services, load_plan(ROOT, drill.plan).exercise)
    targets = {name: Target(rto_s=one.rto_s, rpo_s=one.rpo_s) for name, one in services.items()}
    sites = [step.run.site for step in plan.steps if isinstance(step.run, CiteDeclaration)]
    return Subject(name=plan.name, site=sites[0] if sites else "", services=services, targets=targets)


def _services(environment: Environment, plan: Plan) -> dict[str, Service]:
    """The services that a plan recovers before clients' eyes; of another plan, none."""
    path = environment.folder / "services.yml"
    if not path.is_file() or not any(isinstance(step.run, StartWitness) for step in plan.steps):
        return {}
    catalog = load_catalog(path)
    names = dict.fromkeys(step.service for step in plan.steps if step.service)
    return {name: catalog.services[name] for name in names if name in catalog.services}
