"""The golden image of the lab's servers: its recipe, and how it is built and kept."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from automation.model.base import Model
from automation.model.errors import AdapterError, ConfigError

# Packages may be in the image, configuration may not: the roles put that there.
FINISH = """\
pg_dropcluster 15 main || true
rm -f /etc/ssh/ssh_host_* /var/lib/dbus/machine-id /etc/resolv.conf /etc/apt/sources.list
: > /etc/machine-id
echo 127.0.0.1 localhost > /etc/hosts
echo localhost > /etc/hostname
systemctl list-unit-files --state=enabled --no-legend | while read -r unit rest; do
  [ "$unit" = ssh.service ] || systemctl --quiet disable "$unit"
done
systemctl --quiet mask systemd-logind.service dbus-org.freedesktop.login1.service \
systemd-udevd.service systemd-udev-trigger.service \
  systemd-timesyncd.service console-getty.service getty@.service getty.target
install -d /etc/systemd/journald.conf.d
printf '[Journal]\\nStorage=volatile\\nRuntimeMaxUse=8M\\n' > /etc/systemd/journald.conf.d/small.conf
useradd --uid 1000 --create-home --shell /bin/bash --password '*' ops
echo 'ops ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/ops
chmod 0440 /etc/sudoers.d/ops
"""

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Recipe(Model):
    """What an image is made of; its digest is the image's name."""

    name: str
    suite: str
    packages: tuple[str, ...]
    finish: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


RECIPES = {
    "debian-12": Recipe(
        name="debian-12",
        suite="bookworm",
        packages=(
            *(
                "systemd",
                "systemd-sysv",
                "dbus",
                "libpam-systemd",
                "openssh-server",
                "sudo",
                "procps",
                "less",
            ),
            *("python3", "python3-psycopg2", "python3-flask", "gunicorn", "ca-certificates"),
            *("postgresql-15", "postgresql-client", "bind9", "bind9-dnsutils"),
            *("iproute2", "iputils-ping", "nftables"),
            *("restic", "pgbackrest", "frr", "frr-pythontools", "faketime", "openssl"),
        ),
        finish=FINISH,
    )
}


def recipe_of(image: str) -> Recipe:
    """Give the recipe of a named image.

    Raises:
        ConfigError: there is none.
    """
    if image not in RECIPES:
        raise ConfigError(
            f"server_image {image!r}: no lab has a recipe for it; nothing was changed",
            hint=f"known: {', '.join(RECIPES)}",
        )
    return RECIPES[image]


def root_of(images: Path, image: str) -> Path:
    """Give the folder of an image's file system; it exists only when the image is complete."""
    return images / recipe_of(image).digest / "root"


def name_of(root: str) -> str:
    """Give the name of the image that a file system is of; empty: no recipe of this version makes it."""
    digest = Path(root).parent.name
    return next((name for name, recipe in RECIPES.items() if recipe.digest == digest), "")


def build(images: Path, image: str, say: Callable[[str], None]) -> bool:
    """Build an image unless it is there; tell whether it was built.

    Built beside its place and renamed when complete, so a build that was killed leaves no image;
    one that runs already is waited for.

    Raises:
        AdapterError: mmdebstrap failed; its last lines are in the message.
    """
    recipe, target = recipe_of(image), root_of(images, image)
    if target.is_dir():
        return False
    images.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = images / f".building-{recipe.digest}"
    with (images / f".lock-{recipe.digest}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.is_dir():
            return False
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o755)
        _debootstrap(recipe, draft, say)
        (draft / "recipe.json").write_text(recipe.model_dump_json(indent=1) + "\n")
        os.sync()
        draft.rename(target.parent)
    return True


def debian_sources(texts: Iterable[str], suite: str) -> tuple[str, ...]:
    """Give the sources of a Debian suite, on the mirrors that a machine's own sources name.

    Third-party sources and Ubuntu's are passed over; without any of Debian's own there are none, and
    mmdebstrap takes its default. Understands the one-line format and deb822.
    """
    addresses = [address.rstrip("/") for text in texts for address in _addresses(text)]
    archive = next((a for a in addresses if a.endswith("/debian")), None)
    security = next((a for a in addresses if a.endswith("/debian-security")), None)
    if archive is None:
        return ()
    suites = [(archive, suite), (archive, f"{suite}-updates")]
    suites += [(security, f"{suite}-security")] if security else []
    return tuple(f"deb [signed-by={KEYRING}] {address} {name} main" for address, name in suites)


def machine_sources(folder: Path = Path("/etc/apt")) -> tuple[str, ...]:
    """Read the texts of a machine's apt sources."""
    listed = sorted((folder / "sources.list.d").glob("*"))
    files = [folder / "sources.list", *(path for path in listed if path.suffix in (".list", ".sources"))]
    return tuple(path.read_text() for path in files if path.is_file())


def build_command(recipe: Recipe, root: Path, finish: Path, sources: Sequence[str]) -> list[str]:
    """Give the argument vector that builds an image.

    In namespaces of its own that end with this program, so that killing it leaves no mount and no
    process.
    """
    return [
        *("setpriv", "--pdeathsig", "KILL"),
        *(
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child=KILL",
            "--mount-proc",
            "--propagation",
            "private",
        ),
        *("mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(recipe.packages)}"),
        '--aptopt=Apt::Install-Recommends "false"',
        f'--customize-hook=chroot "$1" sh -eu < {finish}',
        *(recipe.suite, str(root), *sources),
    ]


def _addresses(text: str) -> list[str]:
    found: list[str] = []
    for line in text.splitlines():
        if match := re.match(r"deb(?:-src)?\s+(?:\[[^]]*\]\s+)?(\S+)", line):
            found.append(match[1])
        elif match := re.match(r"URIs:\s*(.+)", line, re.IGNORECASE):
            found.extend(match[1].split())
    return found


def _debootstrap(recipe: Recipe, draft: Path, say: Callable[[str], None]) -> None:
    say(f"image {recipe.name}: building it once from {recipe.suite} packages; about a minute")
    finish, log = draft / "finish.sh", draft / "build.log"
    finish.write_text(recipe.finish)
    command = build_command(recipe, draft / "root", finish, debian_sources(machine_sources(), recipe.suite))
    lines: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as builder:
        assert builder.stdout is not None
        for line in builder.stdout:
            lines.append(line)
            if line.startswith("I: "):
                say(f"image {recipe.name}: {line[3:].strip()}")
    log.write_text("".join(lines))
    if builder.returncode != 0:
        raise AdapterError(
            f"image {recipe.name}: mmdebstrap ended with {builder.returncode}: {''.join(lines[-5:]).strip()}",
            transient=True,
            hint=f"{log} has everything; the machine must reach its Debian package sources",
        )
