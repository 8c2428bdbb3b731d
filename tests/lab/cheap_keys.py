"""Repositories of restic whose key costs nothing to open.

restic makes each key so that trying a password takes half a second of a CPU, at every call; tests make
hundreds. The key's own file says how hard it is, so these have the least that scrypt knows. All else is
restic's own.
"""

import base64
import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from cryptography.hazmat.primitives.poly1305 import Poly1305

_PASSWORD = "of-the-template"
_NONCE = _MAC = 16
_CHEAP = {"N": 2, "r": 1, "p": 1}


def make_repository(program: str, folder: Path, password: str) -> None:
    """Make an empty repository that opens at once."""
    template, master = _template(program)
    shutil.copytree(template, folder)
    (old,) = (folder / "keys").iterdir()
    words = json.loads(old.read_text())
    words |= _CHEAP | {"salt": base64.b64encode(os.urandom(64)).decode()}
    words["data"] = base64.b64encode(_sealed(master, _user_key(password, words))).decode()
    content = json.dumps(words).encode()
    old.unlink()
    (folder / "keys" / hashlib.sha256(content).hexdigest()).write_bytes(content)


@functools.cache
def _template(program: str) -> tuple[Path, bytes]:
    """Let restic make a repository, once; give it with its master key."""
    folder = Path(tempfile.mkdtemp(prefix="mainstay-test-repository-"))
    environ = {**os.environ, "RESTIC_PASSWORD": _PASSWORD, "RESTIC_CACHE_DIR": f"{folder}/cache"}
    argv = [program, "--repo", f"{folder}/made", "init"]
    subprocess.run(argv, env=environ, check=True, capture_output=True)
    (key,) = (folder / "made/keys").iterdir()
    words = json.loads(key.read_text())
    return folder / "made", _opened(base64.b64decode(words["data"]), _user_key(_PASSWORD, words))


def _user_key(password: str, words: Mapping[str, Any]) -> bytes:
    salt, n, r, p = base64.b64decode(words["salt"]), words["N"], words["r"], words["p"]
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, dklen=64, maxmem=2**28)


def _opened(data: bytes, key: bytes) -> bytes:
    nonce, text, mac = data[:_NONCE], data[_NONCE:-_MAC], data[-_MAC:]
    assert _mac(text, nonce, key) == mac
    return _ciphered(text, nonce, key)


def _sealed(text: bytes, key: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    ciphered = _ciphered(text, nonce, key)
    return nonce + ciphered + _mac(ciphered, nonce, key)


def _ciphered(text: bytes, nonce: bytes, key: bytes) -> bytes:
    turned = Cipher(AES(key[:32]), CTR(nonce)).encryptor()
    return turned.update(text) + turned.finalize()


def _mac(text: bytes, nonce: bytes, key: bytes) -> bytes:
    """Poly1305-AES: the one-time half of the key is the nonce, encrypted."""
    once = Cipher(AES(key[32:48]), ECB()).encryptor()
    return Poly1305.generate_tag(key[48:64] + once.update(nonce) + once.finalize(), text)
