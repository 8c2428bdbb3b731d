"""Servers that are cut off from everything but a few addresses, for as long as they exist.

Such a server stands on no bridge: its cable ends at its site's router, and rules there pass what it exchanges
with those addresses and refuse all else, whatever source address it claims. Nothing inside it has a say, and
no other host of its site can reach it past the router. Only the router's own address, at which nothing
listens, answers it beside them.
"""

import ipaddress
import json
from collections.abc import Sequence

from .namespaces import ip_in, path_of
from .system import LabError, in_namespace, run
from .topology import Site

# Before the router's main table (32766): first what comes in, then what goes out, then all else.
INWARD, OUTWARD, REFUSED = 1000, 1001, 1002
FIRST_TABLE = 100_000

Rule = dict[str, object]


def isolate(site: Site, address: str, port: str, reach: Sequence[str]) -> None:
    """Make the router's rules for a server, then set its port up."""
    forget(site, address, port)
    table = table_of(address)
    ip_in(
        site.namespace,
        f"rule add priority {REFUSED} iif {port} prohibit",
        f"rule add priority {REFUSED} to {address} prohibit",
        *(f"rule add priority {OUTWARD} iif {port} to {other} lookup main" for other in reach),
        *(f"rule add priority {INWARD} from {other} to {address} lookup {table}" for other in reach),
        # The router itself, so that it can say no at once.
        f"rule add priority {INWARD} from {site.gateway} to {address} lookup {table}",
        f"link set {port} up",
        f"route replace {address} dev {port} table {table}",
        f"neigh replace proxy {address} dev br0",
        sysctls={f"net/ipv4/conf/{port}/rp_filter": "1", "net/ipv4/neigh/br0/proxy_delay": "0"},
    )


def let_through(site: Site, address: str, port: str) -> list[str]:
    """Read back with which addresses a server can exchange packets.

    Raises:
        LabError: nothing refuses all else, or a way leads in that leads not out.
    """
    rules = list_rules(site)
    refused = [rule for rule in rules if rule["priority"] == REFUSED and rule.get("action") == "prohibit"]
    inward = _others(rules, INWARD, "src", {"dst": address}) - {str(site.gateway)}
    outward = _others(rules, OUTWARD, "dst", {"iif": port})
    out = any(rule.get("iif") == port and "dst" not in rule for rule in refused)
    into = any(rule.get("dst") == address and "iif" not in rule for rule in refused)
    if not (out and into and inward == outward) or _is_on_bridge(site, port):
        raise LabError(f"{address} is not isolated: the rules of the router of {site.name} are not ours")
    return sorted(inward)


def forget(site: Site, address: str, port: str) -> None:
    """Remove every rule of a server from the router; there may be none."""
    commands = []
    for rule in list_rules(site):
        own = rule.get("iif") == port or rule.get("dst") == address
        if own and rule["priority"] in (INWARD, OUTWARD, REFUSED):
            commands.append(f"rule del priority {rule['priority']} {_words(rule)}")
    if _is_proxied(site, address):
        commands.append(f"neigh del proxy {address} dev br0")
    ip_in(site.namespace, *commands)  # the route went with the port


def list_rules(site: Site) -> list[Rule]:
    """Give the rules of a site's router, as the kernel has them."""
    shown = in_namespace(path_of(site.namespace), lambda: run(["ip", "-json", "-4", "rule", "show"]))
    rules: list[Rule] = json.loads(shown)
    return rules


def table_of(address: str) -> int:
    """Give the router's table that leads to one isolated server."""
    return FIRST_TABLE + (int(ipaddress.IPv4Address(address)) & 0xFFFF)


def _others(rules: Sequence[Rule], priority: int, key: str, wanted: Rule) -> set[str]:
    return {
        str(rule[key])
        for rule in rules
        if rule["priority"] == priority and all(rule.get(name) == value for name, value in wanted.items())
    }


def _words(rule: Rule) -> str:
    parts = [f"from {rule['src']}"] if rule.get("src", "all") != "all" else []
    parts += [f"to {rule['dst']}"] if "dst" in rule else []
    parts += [f"iif {rule['iif']}"] if "iif" in rule else []
    return " ".join([*parts, str(rule["action"]) if "action" in rule else f"lookup {rule['table']}"])


def _is_proxied(site: Site, address: str) -> bool:
    shown = in_namespace(path_of(site.namespace), lambda: run(["ip", "-json", "neigh", "show", "proxy"]))
    return any(one.get("dst") == address for one in json.loads(shown or "[]"))


def _is_on_bridge(site: Site, port: str) -> bool:
    links = in_namespace(
        path_of(site.namespace), lambda: run(["ip", "-json", "link", "show", "master", "br0"])
    )
    return any(link.get("ifname") == port for link in json.loads(links))
