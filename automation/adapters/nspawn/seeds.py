"""The first files of a new server: who it is, whom it asks for names, whose key it accepts. Pure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from automation.adapters.nspawn.hostkeys import HostKey
from automation.model.environment import Inventory, Server
from automation.model.errors import AdapterError

USER_ID = 1000  # of the automation user in the golden image


def first_files(
    server: Server,
    resolvers: Sequence[str],
    host_key: HostKey | None,
    authorized_key: str,
    *,
    machine_id: str,
    names: Mapping[str, str] = MappingProxyType({}),
) -> list[dict[str, object]]:
    """Give what is written onto a server's disk before its first boot, in order.

    Args:
        host_key: none: the machine makes one at its first boot.
        names: name to address, which it is to know without asking anybody.
    """
    own = {"uid": USER_ID, "gid": USER_ID}
    hosts = f"127.0.0.1 localhost\n{server.address} {server.name}\n"
    hosts += "".join(f"{where} {name}\n" for name, where in names.items())
    servers = "".join(f"nameserver {address}\n" for address in resolvers)
    keys: list[dict[str, object]] = (
        [
            {"path": "/etc/ssh/ssh_host_ed25519_key", "text": host_key.private, "mode": 0o600},
            {"path": "/etc/ssh/ssh_host_ed25519_key.pub", "text": f"{host_key.public}\n"},
        ]
        if host_key
        else []
    )
    return [
        {"path": "/etc/hostname", "text": f"{server.name}\n"},
        {"path": "/etc/hosts", "text": hosts},
        {"path": "/etc/resolv.conf", "text": f"{servers}options timeout:1 attempts:2\n"},
        {"path": "/etc/machine-id", "text": f"{machine_id}\n", "mode": 0o444},
        *keys,
        {"path": "/home/ops/.ssh", "mode": 0o700, **own},
        {"path": "/home/ops/.ssh/authorized_keys", "text": authorized_key, "mode": 0o600, **own},
    ]


def authorized_key(state: Path) -> str:
    """Read the public key of the automation user, which every server lets in.

    Raises:
        AdapterError: it cannot be read.
    """
    path = state / "ssh/id_ed25519.pub"
    try:
        return path.read_text()
    except OSError as exc:
        raise AdapterError(f"cannot read {path}: {exc.strerror}; no server was made") from exc


def resolvers_of(server: Server, inventory: Inventory) -> tuple[str, ...]:
    """Give the addresses of the DNS servers a server asks: its own site's first."""
    dns = [other for other in inventory.servers.values() if "dns" in other.groups]
    return tuple(other.address for other in sorted(dns, key=lambda other: other.site != server.site))
