"""Taking over a server that was there before Mainstay: by its provider's id, once a person asks for it."""

from collections.abc import Collection, Mapping
from pathlib import Path

from automation.commands._providers import Around
from automation.commands._session import Session
from automation.engine.journal import read_journal
from automation.model.actions import AdoptInstance, AdoptVm
from automation.model.errors import ConfigError, PreflightError
from automation.model.machine_evidence import ProviderChange
from automation.model.plan import Plan, Step
from automation.model.records import StepEnded
from automation.model.servers import FoundServer, ServerSpec
from automation.provisioning.decisions import compare

_WORDS: Mapping[str, type[AdoptInstance] | type[AdoptVm]] = {"aws": AdoptInstance, "vsphere": AdoptVm}
TIMEOUT_S = 120.0


def adopt(session: Session, around: Around, host: str, id_: str) -> tuple[str, ...]:
    """Mark the server as ours; say what of it is not as declared.

    Args:
        around: what was seen a moment ago; the step looks again before it marks anything.

    Raises:
        ConfigError: the inventory has no such server of a provider.
        PreflightError: there is no such server, it is somebody's, or we have one of that name.
    """
    name = session.environment.name
    spec = session.inventory.specs.get(session.inventory.server(host).name)
    if spec is not None and spec.provider == "nspawn":
        raise PreflightError(
            f"{host} is a server of a lab (nspawn), which has none that it did not make itself: there is "
            f"nothing to take over; nothing was changed",
            hint=f"./inv provision.apply --env {name} makes it",
        )
    if spec is None or spec.provider not in _WORDS:
        raise ConfigError(
            f"{host} is no server of AWS or vSphere in the inventory; nothing was touched",
            hint="server_provider, server_site and what it is to be stand in the inventory first",
        )
    found = find_adoptable(around, spec, id_, name)
    step = Step(
        id=f"adopt/{host}",
        run=_WORDS[spec.provider](host=host, site=spec.site, id=id_),
        why=f"{found.name} ({id_}) bears nobody's mark and is taken over as {host}",
        timeout_s=TIMEOUT_S,
    )
    finished = session.run(Plan(name="adopt", environment=name, mode="apply", steps=(step,)))
    finished.raise_for_status()
    images = {image: known for view in around.seen.views for image, known in view.images.items()}
    taken_over = _with_names(found, {disk.name for disk in spec.disks}, finished.folder)
    return tuple(
        f"{one.key}: {one.found} is to be {one.declared}" for one in compare(spec, taken_over, images)
    )


def _with_names(found: FoundServer, declared: Collection[str], run: Path) -> FoundServer:
    """Give a server with the names that its disks got of those declared, as the run's journal tells."""
    named: dict[str, str] = {}
    for event in read_journal(run / "journal.jsonl"):
        if isinstance(event.body, StepEnded) and event.body.outcome is not None:
            told = event.body.outcome.evidence
            if isinstance(told, ProviderChange):
                named |= {id_: part.removeprefix("disk:") for part, id_ in told.ids.items()}
    names = {id_: name for id_, name in named.items() if name in declared}
    disks = tuple(one.model_copy(update={"name": names.get(one.id, "")}) for one in found.disks)
    return found.model_copy(update={"disks": disks})


def find_adoptable(around: Around, spec: ServerSpec, id_: str, environment: str) -> FoundServer:
    """Give the server of an id, if it is nobody's and none of ours has the name.

    Raises:
        PreflightError: it is not so; nothing was changed.
    """
    place = f"{spec.provider} at {spec.site}"
    view = next((v for v in around.seen.views if (v.provider, v.site) == (spec.provider, spec.site)), None)
    if view is None:
        why = around.seen.unseen.get(place, "nothing of it is declared")
        raise PreflightError(f"{place} cannot be looked at: {why}; nothing was changed")
    found = next((server for server in view.servers if server.id == id_), None)
    if found is None:
        raise PreflightError(
            f"{place} has no server {id_}; nothing was changed",
            hint=f"./inv provision.show --env {environment} --all lists them",
        )
    if found.owner:
        whose = f"ours already, as {found.name}" if found.owner == environment else f"of {found.owner}"
        raise PreflightError(f"{id_} is {whose}; nothing was changed")
    other = next((s for s in view.servers if s.owner == environment and s.name == spec.name), None)
    if other is not None:
        raise PreflightError(
            f"{spec.name} is {other.id} already, and one server bears a name; nothing was changed",
            hint=f"./inv provision.retire --env {environment} --host {spec.name} retires the other",
        )
    return found
