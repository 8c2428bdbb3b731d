"""What a step of a recovery, of a way home, or of a test on copies changes, in words of a newcomer. Pure."""

from automation.commands._story import Scene
from automation.model.actions import (
    AwaitReplayed,
    AwaitReplica,
    AwaitStreaming,
    CopyReplica,
    CreateInstance,
    CreateReplica,
    Declare,
    Demote,
    ExportWrites,
    HoldDown,
    KeepData,
    PowerOnVm,
    Promote,
    PromoteReplica,
    ProvePortGroup,
    ProveSubnet,
    RegisterReplica,
    RemoveCopy,
    RemoveDatabase,
    RemoveInstance,
    RestoreDatabase,
    Rewind,
    SaveDatabase,
    ShutDownVm,
    StartFenced,
    StartInstance,
    StartUnit,
    StopInstance,
    StopUnit,
    SwapAddress,
    TerminateInstance,
)
from automation.model.evidence import WritesExported
from automation.model.plan import Step
from automation.model.records import StepEnded
from automation.model.simulators import AwsSimulator


def lost(step: Step, scene: Scene) -> str:
    """Say what a step does for those whose site is lost."""
    match step.run:
        case Declare():
            return (
                "The site is declared lost. That is for a person to say, because two sites cannot tell a "
                "neighbour that is dead from a line that is cut; in this exercise the drill says it."
            )
        case StartUnit(host=host):
            return f"The payments service that was switched off is started on {host}."
        case SwapAddress(name=name):
            return f"The name {name} leads there now."
        case RegisterReplica(host=host, site=site):
            return f"The replica of {host} is known at {scene.title(site)} now."
        case PowerOnVm(host=host):
            return f"Only now the replica of {host} is powered on."
        case CreateInstance(host=host):
            return f"{host} is launched from the newest image, and runs."
        case _:
            return _promoted(step)


def _promoted(step: Step) -> str:
    match step.run:
        case Promote(host=host):
            return f"Only now the copy on {host} becomes the database that takes payments."
        case PromoteReplica(database=name):
            return f"Only now the copy {name} becomes a database of its own."
        case _:
            return ""


# --- the way home ------------------------------------------------------------------------------------


def returned(step: Step, end: StepEnded, scene: Scene) -> str:
    """Say what a step does for services that come home."""
    return _prepared(step, end) or _copies(step, scene) or _moved(step, end) or _promoted(step)


def _prepared(step: Step, end: StepEnded) -> str:
    """What is done to the old database while people are served at the other site, and afterwards again."""
    match step.run:
        case StartFenced(host=host):
            return f"The old database server {host} is started where nobody can reach it."
        case HoldDown():
            return (
                "Its database is held down first: whatever comes, it does not take payments beside the other."
            )
        case KeepData():
            return "What it held when the power went is kept aside."
        case ExportWrites():
            return _only_there(end)
        case Rewind(host=host, primary=primary):
            return f"The database of {host} is turned back to where both were the same, to follow {primary}."
        case AwaitStreaming(standby=standby, primary=primary):
            return f"{standby} follows {primary}, a moment behind."
        case _:
            return ""


def _copies(step: Step, scene: Scene) -> str:
    """What is done to databases of AWS meanwhile, and when people are served at home again."""
    match step.run:
        case SaveDatabase(database=name, site=site):
            return f"The database {name} at {scene.title(site)} is kept whole, as a snapshot."
        case CreateReplica(database=name, source=source, site=site):
            return f"At {scene.title(site)} a copy of {source} is made, and called {name}."
        case AwaitReplica(database=name):
            return f"{name} has caught up.{_hasty(scene)}"
        case TerminateInstance(host=host):
            return f"{host} has done its work and is removed; its snapshots stay."
        case _:
            return ""


def _only_there(end: StepEnded) -> str:
    found = end.outcome.evidence if end.outcome else None
    if not isinstance(found, WritesExported):
        return ""
    kept = (
        "so nothing is to be sorted out by people"
        if not found.count
        else "they are kept for people to sort out"
    )
    return f"Payments that the old database alone holds: {found.count}; {kept}."


def _hasty(scene: Scene) -> str:
    """Say that what stands for RDS tells a lag more often than RDS does, if so."""
    lab = scene.environment.require_lab()
    told = [one.lag_told_s for one in lab.simulators.values() if isinstance(one, AwsSimulator)]
    if not told or min(told) >= AwsSimulator.model_fields["lag_told_s"].default:
        return ""
    return f" AWS tells that once a minute; what stands for it here, every {min(told):g} s."


def _moved(step: Step, end: StepEnded) -> str:
    """What is done while people wait."""
    match step.run:
        case StopUnit(host=host):
            return f"The payments service on {host} is stopped: no payment is taken half."
        case Demote(host=host):
            return f"The database on {host} is stopped in good order, and can only come back as a copy."
        case AwaitReplayed(standby=standby):
            return f"{standby} has every last write of it. Nothing can be lost."
        case ShutDownVm(host=host) | StopInstance(host=host):
            return f"{host} is stopped in good order."
        case PowerOnVm(host=host):
            return f"{host} is powered on at home, on the disk that it was stopped with."
        case StartInstance(host=host):
            return f"{host} is started at home."
        case StartUnit(host=host) if end.outcome is not None and end.outcome.changed:
            return f"The payments service is started on {host}."
        case SwapAddress(name=name):
            return f"The name {name} leads home."
        case _:
            return ""


# --- a test on copies --------------------------------------------------------------------------------


def copied(step: Step, end: StepEnded) -> str:
    """Say what a step does with copies that nobody is served by."""
    match step.run:
        case ProvePortGroup(name=network) | ProveSubnet(name=network):
            return f"The network {network}, for copies alone, leads nowhere: its provider reads it back."
        case CopyReplica(of=vm):
            return f"The replica of {vm} is copied; the replica itself stays as it is."
        case PowerOnVm(host=host):
            return f"{host} runs."
        case RestoreDatabase(database=name):
            return f"The database {name} is made of the newest snapshot."
        case CreateInstance(host=host):
            return f"{host} is launched from the newest image, and runs."
        case RemoveCopy(host=host) | RemoveInstance(host=host):
            return f"{host} is removed."
        case RemoveDatabase(database=name):
            return f"{name} is removed."
        case _:
            return ""
