"""Settings of the kernel: what runs, and what counts after the next boot."""

from __future__ import annotations

import os
from pathlib import Path

from ansible.module_utils.baseline.drafts import Key, Refused, find, get_key, set_key
from ansible.module_utils.baseline.revert import Host
from ansible.module_utils.baseline.wanted import Item, Setting, Wanted, as_text, decoded

_SWAPPED = str.maketrans("./", "/.")  # sysctl(8): net.ipv4.conf.eth0/100.rp_filter is of eth0.100
FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
SYSCTL_FILE = "/etc/sysctl.d/60-baseline.conf"
HEADER = "# Settings of the baseline, kept by Mainstay; a line of its own for each.\n"
# Writing the first makes the kernel set the others, so they are part of what was before.
FOLLOWING = {
    "net.ipv4.ip_forward": ("net.ipv4.conf.*.forwarding", "net.ipv4.conf.all.accept_redirects"),
    "net.ipv6.conf.all.forwarding": ("net.ipv6.conf.*.forwarding",),
}


def kernel_path(name: str) -> str:
    return f"/proc/sys/{name.translate(_SWAPPED)}"


def kernel_value(host: Host, name: str) -> str:
    return " ".join(host.at(kernel_path(name)).read_text().split())


def kernel_names(host: Host, pattern: str) -> list[str]:
    """Name the settings of the running kernel that a pattern stands for."""
    found = find(host, kernel_path(pattern))
    return [path.removeprefix("/proc/sys/").translate(_SWAPPED) for path in found if host.at(path).is_file()]


def write_value(host: Host, name: str, value: str) -> None:
    host.at(kernel_path(name)).write_text(value)


def write_all(host: Host, wanted: Wanted) -> None:
    """Write what differs; what the kernel sets with that, and nobody wanted otherwise, is as before again.

    Forwarding of each interface is no such thing: it is what the setting is about.

    Raises:
        OSError: the kernel refuses a value, or makes another of it.
    """
    for name in sorted(wanted.kernel, key=lambda name: (name not in FOLLOWING, name)):
        following = [
            one
            for pattern in FOLLOWING.get(name, ())
            for one in kernel_names(host, pattern)
            if one not in wanted.kernel and not one.endswith(".forwarding")
        ]
        before = {one: kernel_value(host, one) for one in following}
        write_value(host, name, wanted.kernel[name][1])
        for one, value in before.items():
            if kernel_value(host, one) != value:
                write_value(host, one, value)
    for name, (_, value) in wanted.kernel.items():
        now = kernel_value(host, name)
        if now != value:
            raise OSError(f"the kernel made {now} of {name} = {value}")


def plan_sysctl(wanted: Wanted, item: Item, setting: Setting) -> None:
    host, name, value = wanted.host, str(setting["name"]), " ".join(as_text(setting["value"], " ").split())
    names = kernel_names(host, name)
    if not names:
        raise Refused(f"this kernel has no {name}")
    before = {one: kernel_value(host, one) for one in names}
    differ = [one for one in names if before[one] != value]
    for one in differ:
        if not os.access(host.at(kernel_path(one)), os.W_OK):
            raise Refused(f"{one} cannot be written here: the kernel is shared with another machine")
    text = decoded(wanted.drafts.read(SYSCTL_FILE)) or HEADER
    key = Key(name, " = ")
    kept = get_key(text, key)
    item.after = value
    item.before = " ".join(sorted(set(before.values())))
    if not differ and kept != value:
        item.before = f"{value} until the next boot"
    if kept != value:
        wanted.drafts.write(SYSCTL_FILE, set_key(text, key, value).encode(errors="surrogateescape"))
    for one in differ:
        wanted.kernel[one] = (before[one], value)
    item.problem = _overridden(host, name, value)


def _overridden(host: Host, name: str, value: str) -> str:
    """Say which file that is read after ours gives another value at the next boot."""
    by_name = {
        Path(path).name: path for folder in reversed(FOLDERS) for path in find(host, f"{folder}/*.conf")
    }
    for file in sorted(by_name):
        if file <= Path(SYSCTL_FILE).name:
            continue
        text = host.at(by_name[file]).read_text(errors="replace").replace("/", ".")
        found = get_key(text.replace("\n-", "\n"), Key(name, "="))
        if found is not None and " ".join(found.split()) != value:
            return f"{file} is read later and says {found}: at the next boot that counts"
    return ""
