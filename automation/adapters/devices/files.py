"""The two files of a device on a host, `<device>.conf` and `<device>.secrets`: of root alone, 0600."""

import base64
import binascii
from hashlib import sha256
from typing import NamedTuple

from automation.adapters.devices.secrets import Secrets, as_bytes, read_secrets, written
from automation.model.errors import AdapterError
from automation.model.records import Remote

_READ = 'for file in "$@"; do if [ -e "$file" ]; then base64 -w 0 -- "$file" || exit; fi; echo; done'
# The hash tells a content that was cut off; the file is on the disk before it has its name. What a killed one
# left must not be saved with the others.
_WRITE = """
umask 077
mkdir -p -- "$1" || exit
rm -f -- "$1/.$2".??????
t=$(mktemp "$1/.$2.XXXXXX") || exit
base64 -d >"$t" && [ "$(sha256sum <"$t" | cut -c 1-64)" = "$3" ] && sync "$t" && mv -f -- "$t" "$1/$2" && exit
rm -f -- "$t"
echo "cut off or not writable" >&2
exit 1
"""


class Pair(NamedTuple):
    """A configuration without its secrets, and these."""

    text: str
    secrets: Secrets


def read_pair(remote: Remote, folder: str, device: str) -> Pair | None:
    """Read both files; None when one is not there.

    Raises:
        AdapterError: the host does not answer.
        DoNotFit: what is there is no such pair.
    """
    files = [f"{folder}/{device}.conf", f"{folder}/{device}.secrets"]
    done = remote.run(["sudo", "-n", "sh", "-c", _READ, "read", *files], timeout_s=60.0)
    if done.exit_code:
        raise AdapterError(f"cannot read {files[0]}: {done.stderr.strip()}; nothing was changed")
    try:
        configuration, secrets = map(base64.b64decode, done.stdout.split("\n")[:2])
    except (ValueError, binascii.Error):
        raise AdapterError(f"cannot read {files[0]}: the answer was cut off", transient=True) from None
    if not configuration or not secrets:
        return None
    return Pair(configuration.decode(errors="surrogateescape"), read_secrets(secrets))


def write_pair(remote: Remote, folder: str, device: str, pair: Pair) -> None:
    """Write both files, each whole or not at all.

    The secrets first: whoever finds new ones beside an old configuration sees by their hash that they do not
    fit, and the next fetch writes both.
    """
    _write(remote, folder, f"{device}.secrets", written(pair.secrets))
    _write(remote, folder, f"{device}.conf", as_bytes(pair.text))


def _write(remote: Remote, folder: str, name: str, content: bytes) -> None:
    words = [folder, name, sha256(content).hexdigest()]
    encoded = base64.b64encode(content).decode()
    done = remote.run(["sudo", "-n", "sh", "-c", _WRITE, "write", *words], stdin=encoded, timeout_s=60.0)
    if done.exit_code:
        raise AdapterError(f"cannot write {folder}/{name}: {done.stderr.strip()}; the file is unchanged")
