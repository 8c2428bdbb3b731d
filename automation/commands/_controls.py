"""The controls that Mainstay brings: read, and told apart by their ids."""

from pathlib import Path

from automation.baseline.controls import Control, ControlFile
from automation.commands._command import ROOT
from automation.model.errors import ConfigError
from automation.model.loading import load_model

FOLDER = ROOT / "automation/baseline/controls"


def load_controls(folder: Path = FOLDER) -> dict[str, Control]:
    """Read every control, by id, in the order of the files.

    Raises:
        ConfigError: a file has faults, or two controls have one id.
    """
    found: dict[str, Control] = {}
    for path in sorted(folder.rglob("*.yml")):
        for control in load_model(path, ControlFile).controls:
            if control.id in found:
                raise ConfigError(f"{path}: controls: two have the id {control.id}; nothing was touched")
            found[control.id] = control
    return found
