"""Every request that the lab takes, by its name.

One JSON object a line: `request`, `lab_id`, and the arguments of the function of that name. All but one come
from Mainstay. `power_machine` comes from a simulator, for the hosts that its machines power; what it says and
what it is answered stands in automation/model/simulators.py.
"""

from collections.abc import Callable, Mapping

from .keeping import inspect_disk, restore_disks, save_disks
from .lab import Answer, Lab
from .powering import power_machine
from .resizing import resize_server


def start_simulator(lab: Lab, **arguments: object) -> Answer:
    """Run a simulator unless it runs."""
    return lab.simulators.start(**arguments, lost=lab.without_management)  # type: ignore[arg-type]


REQUESTS: Mapping[str, Callable[..., Answer]] = {
    method.__name__: method
    for method in (
        Lab.identify,
        Lab.status, Lab.server_state,
        Lab.create_server, Lab.remove_server, Lab.start_server, Lab.start_fenced, Lab.power_off_server,
        Lab.run_on_console,
        Lab.block_server, Lab.unblock_server,
        Lab.fail_site, Lab.heal_site, Lab.isolate_site, Lab.restore_management, Lab.rejoin_site,
        Lab.cut_link, Lab.heal_link,
        resize_server,
        start_simulator, power_machine,
        save_disks, restore_disks, inspect_disk,
    )
}  # fmt: skip
