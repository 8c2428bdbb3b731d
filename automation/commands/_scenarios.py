"""What can be run under the checker: drills, real failovers after a fault, and a standby copied anew."""

from typing import Literal

from automation.commands._campaign import needs_synchronous
from automation.commands._command import ROOT
from automation.model.base import Model
from automation.model.errors import ConfigError, StepFailed
from automation.recovery.spec import DarkSite, DrillFault, PowerLoss, WanPartition, load_drill

ALL = "all"
COPY = "standby-copy"
_FAILOVER = "failover-"
_FAULTS: dict[str, type[PowerLoss | WanPartition | DarkSite]] = {
    "power-loss": PowerLoss,
    "wan-partition": WanPartition,
    "dark-site": DarkSite,
}


class Scenario(Model):
    """One thing to run under the checker, the faults it leaves, and how it must end.

    `expect`: `handover`, the standby takes over and the primary is off; `exchange`, both run and the primary
    is the standby; `no-promotion`, the primary cannot be fenced and stays the one that is written to; `copy`,
    the same, and its standby is made anew.
    """

    name: str
    kind: Literal["drill", "migration", "failover", "copy"]
    expect: Literal["handover", "exchange", "no-promotion", "copy"]
    faults: tuple[DrillFault, ...] = ()
    synchronous: bool = False

    @property
    def ends_with(self) -> int:
        """The last controller's exit code: a drill that stops is met, a failover that stops is not done."""
        stops = self.kind == "failover" and self.expect == "no-promotion"
        return StepFailed.exit_code if stops else 0

    @property
    def verdict(self) -> str:
        """What its run's own record must say."""
        if self.kind == "drill":
            return "met"
        return {"no-promotion": "not promoted", "copy": "copied"}.get(self.expect, "recovered")

    @property
    def hands_over(self) -> bool:
        """Whether the standby takes over."""
        return self.expect in ("handover", "exchange")


def choose_scenarios(words: str, *, site: str) -> tuple[Scenario, ...]:
    """Give what a list with commas names; `all` names everything there is.

    Args:
        site: the one that a failover loses.

    Raises:
        ConfigError: there is no such drill or scenario, or none was named.
    """
    names = [name for word in words.split(",") if (name := word.strip())]
    if names == [ALL]:
        names = list_names()
    if not names:
        raise ConfigError("--drill names nothing; nothing was run", hint=_known())
    return tuple(find_scenario(name, site) for name in dict.fromkeys(names))


def find_scenario(name: str, site: str) -> Scenario:
    """Give the scenario of a name.

    Raises:
        ConfigError: there is none.
    """
    if name == COPY:
        return Scenario(name=name, kind="copy", expect="copy")
    fault = name.removeprefix(_FAILOVER)
    if name.startswith(_FAILOVER) and fault in _FAULTS:
        broken = _FAULTS[fault].model_validate({"fault": fault, "site": site})
        expect: Literal["handover", "no-promotion"] = "no-promotion" if fault == "dark-site" else "handover"
        return Scenario(name=name, kind="failover", expect=expect, faults=(broken,))
    return _of_drill(name)


def list_names() -> list[str]:
    """Name everything that can be run: drills that begin in a city that is well, failovers, the copy."""
    files = sorted((ROOT / "drtests/drills").glob("*.yml"))
    drills = [file.stem for file in files if load_drill(ROOT, file.stem).mode != "failback"]
    return [*drills, *(f"{_FAILOVER}{fault}" for fault in _FAULTS), COPY]


def _of_drill(name: str) -> Scenario:
    try:
        drill = load_drill(ROOT, name)
    except ConfigError as exc:
        raise ConfigError(str(exc), hint=_known()) from exc
    if drill.mode == "failback":
        raise ConfigError(
            f"drill {name} begins in a city that has failed over; nothing was run", hint="--drill round-trip"
        )
    if drill.mode == "planned-migration":
        return Scenario(name=name, kind="migration", expect="exchange")
    return Scenario(
        name=name,
        kind="drill",
        expect="handover" if drill.expect == "recovered" else "no-promotion",
        faults=drill.faults,
        synchronous=needs_synchronous(drill),
    )


def _known() -> str:
    return f"--drill {ALL}, or some of: {','.join(list_names())}"
