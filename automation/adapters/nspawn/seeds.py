"""The first files of a new server: who it is, whom it asks for names, whose key it accepts. Pure."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from automation.adapters.nspawn.hostkeys import HostKey
from automation.model.environment import Inventory, Server

USER_ID = 1000  # of the automation user in the golden image


def first_files(
    server: Server,
    resolvers: Sequence[str],
    host_key: HostKey,
    authorized_key: str,
    *,
    machine_id: str,
    names: Mapping[str, str] = MappingProxyType({}),
) -> list[dict[str, object]]:
    """Give what is written onto a server's disk before its first boot, in order.

    Args:
        names: name to address, for a server that no DNS server answers.
    """
    own = {"uid": USER_ID, "gid": USER_ID}
    hosts = f"127.0.0.1 localhost\n{server.address} {server.name}\n"
    hosts += "".join(f"{where} {name}\n" for name, where in names.items())
    servers = "".join(f"nameserver {address}\n" for address in resolvers)
    return [
        {"path": "/etc/hostname", "text": f"{server.name}\n"},
        {"path": "/etc/hosts", "text": hosts},
        {"path": "/etc/resolv.conf", "text": f"{servers}options timeout:1 attempts:2\n"},
        {"path": "/etc/machine-id", "text": f"{machine_id}\n", "mode": 0o444},
        {"path": "/etc/ssh/ssh_host_ed25519_key", "text": host_key.private, "mode": 0o600},
        {"path": "/etc/ssh/ssh_host_ed25519_key.pub", "text": f"{host_key.public}\n"},
        {"path": "/home/ops/.ssh", "mode": 0o700, **own},
        {"path": "/home/ops/.ssh/authorized_keys", "text": authorized_key, "mode": 0o600, **own},
    ]


def resolvers_of(server: Server, inventory: Inventory) -> tuple[str, ...]:
    """Give the addresses of the DNS servers a server asks: its own site's first."""
    dns = [other for other in inventory.servers.values() if "dns" in other.groups]
    return tuple(other.address for other in sorted(dns, key=lambda other: other.site != server.site))
