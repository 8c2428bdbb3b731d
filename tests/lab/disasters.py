"""What goes wrong with backups, done to a city for the length of a test, and put right again."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

from tests.lab.checkout import Checkout
from tests.lab.oracles import seal

MAIN = "/srv/restic/main"
PG_DUMP = "/usr/lib/postgresql/15/bin/pg_dump"
_RESTIC = (
    "set -a; . /etc/mainstay/stores/hall-nas.env; set +a; export XDG_CACHE_HOME=/var/cache; "
    'restic() { command restic -r sftp:backup@bk-a:/srv/restic/main "$@"; }; '
)


def restic(city: Checkout, host: str, script: str) -> str:
    """Run a script in which `restic` is the first store, past Mainstay."""
    return city.sh(host, _RESTIC + script)


def listed(city: Checkout) -> set[str]:
    """Give the full ids of all points that there are: the repository names its files by them."""
    return set(city.sh("bk-a", f"ls {MAIN}/snapshots").split())


_EARLIER = """
set -a; . /etc/mainstay/stores/hall-nas.env; set +a
install -d -o backup /tmp/cache
for day in {days}; do
  runuser -u backup -- env RESTIC_CACHE_DIR=/tmp/cache restic -q -r {main} backup --host {resource} \
    --time "$(date -d "$day days ago" '+%F %T')" /etc/hostname
done
"""


def save_earlier(city: Checkout, resource: str, days: int) -> None:
    """Save something past Mainstay on each of the last days."""
    named = " ".join(str(day) for day in range(days, 0, -1))
    city.sh("bk-a", _EARLIER.format(days=named, main=MAIN, resource=resource))


def let_grace_pass(city: Checkout) -> None:
    """Let what was noted of policies and marks have been noted two days earlier."""
    city.inv("backup.list")  # the ledger takes in what the last runs noted
    ledger = city.state / "backups/ledger.jsonl"
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    for line in lines:
        if line.get("noted", {}).get("kind") in ("points-marked", "policy-accepted"):
            line["at"] = (datetime.fromisoformat(line["at"]) - timedelta(days=2)).isoformat()
    ledger.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


@contextmanager
def instead(city: Checkout, host: str, program: str, script: str) -> Iterator[None]:
    """Put a script in a program's place; it finds that as $real."""
    city.sh(host, f"mv {program} {program}.real")
    text = f"#!/bin/sh\nreal={program}.real\n{script}\n"
    city.sh(host, f"cat >{program} <<'END'\n{text}END\nchmod 755 {program}")
    try:
        yield
    finally:
        city.sh(host, f"mv {program}.real {program}")


@contextmanager
def a_flipped_bit(city: Checkout) -> Iterator[str]:
    """Flip one bit of the largest pack; give the pack's name. Its twin from elsewhere is put back."""
    find = f"find {MAIN}/data -type f -printf '%s %p\\n' | sort -n | tail -n 1 | cut -d' ' -f2"
    pack = city.sh("bk-a", find)
    flip = (
        "import sys; f = open(sys.argv[1], 'r+b'); f.seek(999); b = f.read(1)[0]; f.seek(999);"
        " f.write(bytes([b ^ 1]))"
    )
    city.sh("bk-a", f'cp -p {pack} /root/twin; python3 -c "{flip}" {pack}')
    try:
        yield Path(pack).name
    finally:
        city.sh("bk-a", f"cp -p /root/twin {pack}")


@contextmanager
def a_small_disk(city: Checkout, free_kib: int) -> Iterator[None]:
    """Let the repository lie on a file system of its own, with little room left; then as it was again.

    The device is the machine's own: hosts of a lab have none.
    """
    used = int(city.sh("bk-a", f"du -sk {MAIN} | cut -f1"))
    image = city.signers.parent / "small.ext4"
    with image.open("wb") as file:
        file.truncate((used + free_kib) * 1024 + (2 << 20))
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", "-N", "4096", image], check=True)
    attach = ["losetup", "--find", "--show", str(image)]
    loop = subprocess.run(attach, check=True, capture_output=True, text=True).stdout.strip()
    enter = ["nsenter", "-t", str(_init(city, "bk-a")), "-m", "--", "sh", "-euc"]
    device = Path(loop).stat().st_rdev
    mount = f"""
    mknod /dev/small b {os.major(device)} {os.minor(device)}
    mkdir /mnt/small
    mount -t ext4 /dev/small /mnt/small
    cp -a {MAIN}/. /mnt/small
    mount --bind /mnt/small {MAIN}
    """
    try:
        subprocess.run([*enter, mount], check=True)
        yield
        subprocess.run([*enter, f"cp -a {MAIN} /srv/restic/moved"], check=True)
    finally:
        back = f"umount {MAIN} /mnt/small; rm /dev/small; rmdir /mnt/small; [ ! -e /srv/restic/moved ] || "
        back += f"{{ rm -rf {MAIN}; mv /srv/restic/moved {MAIN}; }}"
        subprocess.run([*enter, back], check=False)
        subprocess.run(["losetup", "--detach", loop], check=True)
        image.unlink()


def _init(city: Checkout, host: str) -> int:
    """Give the machine's PID of a host's own systemd."""
    (folder,) = Path("/sys/fs/cgroup").glob(f"**/mainstay-{city.name}/host-{host}/payload/init.scope")
    for pid in (folder / "cgroup.procs").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):
            found = re.search(r"^NSpid:.*\s1$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
            if found:
                return int(pid)
    raise AssertionError(f"{host} has no process 1")


_KILLED = """
restic check >/dev/null 2>&1 & pid=$!
until ls {main}/locks | grep -qxE '[0-9a-f]{{64}}'; do :; done  # not its temporary file
pkill -KILL -P "$pid" -x restic || kill -KILL "$pid"
wait "$pid" || :
ls {main}/locks | grep -xE '[0-9a-f]{{64}}'
"""


def leave_a_lock(city: Checkout) -> str:
    """Kill a restic that holds the repository alone; give the lock that it leaves."""
    (lock,) = restic(city, "bk-a", _KILLED.format(main=MAIN)).split()
    return lock


def age_the_lock(city: Checkout, lock: str, by: timedelta) -> None:
    """Let a lock be of an earlier time, as if somebody had waited."""
    told = json.loads(restic(city, "bk-a", f"restic cat lock {lock} --no-lock -q"))
    key = json.loads(restic(city, "bk-a", "restic cat masterkey --no-lock -q"))
    then = datetime.fromisoformat(re.sub(r"\.(\d{6})\d*", r".\1", told["time"])) - by
    stored = seal(key, json.dumps({**told, "time": then.isoformat()}).encode())
    name = sha256(stored).hexdigest()
    write = f"import sys; open(sys.argv[1], 'wb').write(bytes.fromhex('{stored.hex()}'))"
    city.sh("bk-a", f'cd {MAIN}/locks && python3 -c "{write}" {name} && chown backup: {name} && rm {lock}')
