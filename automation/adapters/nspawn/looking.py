"""The lab as a provider shows its servers: one view a site."""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path

from automation.adapters.nspawn import image, status
from automation.model.environment import Environment
from automation.model.servers import FoundServer, ProviderView


def look(state: Path, environment: Environment, others: Collection[str] = ()) -> tuple[ProviderView, ...]:
    """Give what is recorded and running at each site, whether its management answers or not.

    Args:
        others: hosts that simulated machines power: they are those providers' to tell.
    """
    lab = environment.require_lab()
    seen, now = status.read(state, lab.id), datetime.now(UTC)
    return tuple(
        ProviderView(
            provider="nspawn",
            site=site,
            at=now,
            servers=tuple(_servers_at(site, seen, environment.name, others)),
        )
        for site in lab.sites
    )


def _servers_at(
    site: str, seen: status.LabStatus, owner: str, others: Collection[str]
) -> Iterator[FoundServer]:
    for name, server in seen.servers.items():
        if server.site == site and name not in others:
            yield FoundServer(
                name=name,
                id=status.id_of(seen.lab_id, name),
                provider="nspawn",
                site=site,
                owner=owner,
                power=server.power,
                image=image.name_of(server.image),
                size=status.size_of(server),
                addresses=(server.address,),
            )
