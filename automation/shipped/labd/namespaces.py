"""Network namespaces by name, and commands of ip inside them."""

from pathlib import Path

from .system import in_namespace, run

NAMESPACES = Path("/run/netns")  # on the lab's private tmpfs


def path_of(namespace: str) -> str:
    """Give the file that stands for a network namespace."""
    return str(NAMESPACES / namespace)


def ip_in(namespace: str, *commands: str, sysctls: dict[str, str] | None = None) -> None:
    """Run commands of ip in a network namespace, after setting its switches."""

    def work() -> None:
        set_sysctls(sysctls or {})
        batch(list(commands))

    in_namespace(path_of(namespace), work)


def batch(commands: list[str]) -> None:
    """Run commands of ip in the current network namespace, all or up to the first that fails."""
    run(["ip", "-batch", "-"], text="\n".join(commands) + "\n")


def set_sysctls(values: dict[str, str]) -> None:
    """Set switches of the current network namespace."""
    for name, value in values.items():
        path = Path("/proc/sys") / name
        if path.exists():  # a kernel without IPv6 has none of its switches
            path.write_text(value)
