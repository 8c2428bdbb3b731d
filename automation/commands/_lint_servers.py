"""networks.yml and what the inventory says of servers at providers: read, and nothing is run."""

from automation.model.environment import Environment, Inventory
from automation.model.errors import ConfigError, Problem
from automation.provisioning.spec import check_servers, load_networks


def lint_servers(environment: Environment, inventory: Inventory) -> tuple[Problem, ...]:
    """Give every problem of networks and servers; none where no provider is declared."""
    if not environment.providers:
        return ()
    try:
        networks = load_networks(environment)
    except ConfigError as exc:
        return exc.problems
    path = str(environment.folder / "environment.yml")
    found = check_servers(environment, inventory.specs, networks)
    return tuple(Problem(path, 1, f"inventory.{host}", message) for host, message in found)
