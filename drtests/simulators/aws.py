"""Simulates regions of AWS for one account, and accounts whose roles it assumes: moto behind TLS.

`python aws.py FOLDER`: the folder holds `settings.json` and gets `state.pickle`. What there is is in memory;
it is written to the disk every half minute and at SIGTERM, so that a killed one loses what changed last. Real
are TLS, signatures, expiry, client tokens, states that take their time, the order of errors, and what managed
policies allow users at EC2; not real are other permissions (logins of settings and roles may do all, unless a
fault says so; a dry run looks at nothing else), prices, durability, and what no instance runs: an instance is
a row in a table, unless `powers` names the host of the lab that it starts.
"""

import copyreg
import json
import os
import pickle
import re
import signal
import sys
import threading
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"  # ours alone, by the names that settings tell

import moto.backends
import moto.s3.utils
import moto.settings
from aws_access import Login
from aws_account import forget_root, install_account, login_of_user, plant
from aws_changes import Changes
from aws_door import Door
from aws_ec2 import Ec2, install_ec2
from aws_names import install_names
from aws_power import Powers
from aws_quotas import install_quotas
from aws_rds import install_rds
from aws_seeds import measure_replicas, seed_database, tell_measurements_every
from aws_speed import hasten
from aws_tokens import Tokens
from cryptography.hazmat.bindings._rust import openssl
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from moto.core.base_backend import BackendDict
from moto.ec2.models import ec2_backends
from moto.sts.models import sts_backends
from s3_access import parse_login
from tls_server import TlsServer

SAVE_EVERY_S, A_MINUTE_S = 30.0, 60.0
IMAGES = ("debian-13",)


class Accounts:
    """All state, the logins to it, and the file that it is kept in between two lives."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.account, self.regions = settings["account"], tuple(settings["regions"])
        self.images = tuple(settings.get("images") or IMAGES)
        self.databases: Mapping[str, str] = settings.get("databases", {})
        self.changes, self.tokens = Changes(float(settings["changes_take_s"])), Tokens()
        self._pace_s = float(settings["changes_take_s"])
        self._lag_told_s = float(settings.get("lag_told_s", A_MINUTE_S))
        self.path, self._changed = folder / "state.pickle", False
        self.logins = {}
        for name, path in settings["logins"].items():
            told = parse_login("owner", Path(path).read_text())
            self.logins[told.key_id] = Login(name, told.key_id, told.secret, self.account)
        _keep_private_keys()
        install_ec2(self.changes, Powers(settings))
        install_rds(self.changes)
        install_names(self.changes)
        install_quotas(settings.get("quotas", {}))
        install_account(self.regions)
        if self._lag_told_s < A_MINUTE_S:
            tell_measurements_every(self._lag_told_s)
        if self.path.exists():
            self._restore()
        self._seed()

    def login_of(self, key_id: str) -> Login | None:
        """Give the login of an access key: of the settings, of a role that was assumed, of a user."""
        if key_id in self.logins:
            return self.logins[key_id]
        for account in list(sts_backends):
            role = sts_backends[account]["aws"].get_assumed_role_from_access_key(key_id)
            if role is not None:
                name, until = role.role_arn.rpartition("/")[2], role.expiration
                until = until if until.tzinfo else until.replace(tzinfo=UTC)
                token = role.session_token
                return Login(name, key_id, role.secret_access_key, role.account_id, until, token)
        return login_of_user(self.account, key_id)

    def is_gone(self, content: bytes) -> bool:
        """Tell whether an answer speaks of an instance that was terminated since."""
        ids = set(re.findall(rb"<instanceId>(i-[0-9a-f]+)</instanceId>", content))
        return any(
            instance.id.encode() in ids and instance.state in ("shutting-down", "terminated")
            for _, _, backend in (ec2_backends.iter_backends() if ids else ())
            for instance in backend.all_instances()
        )

    def touch(self) -> None:
        self._changed = True

    def reset(self) -> None:
        """Forget everything but the images that settings name."""
        with self.changes.lock:
            self.changes.forget()
            self.changes.takes_s = self._pace_s
            self.tokens.answers.clear()
            BackendDict.reset()
            forget_root()
            self._seed()
            self.touch()

    def plant(self, told: Mapping[str, Any]) -> None:
        """Let the account be what no call makes it."""
        with self.changes.lock:
            plant(self.account, told)
            self.touch()

    def measure(self) -> None:
        """Write down what AWS measures by itself."""
        with self.changes.lock:
            for region in self.regions:
                measure_replicas(self.account, region)

    def measure_until(self, ended: threading.Event) -> None:
        """Measure twice in the time after which a lag is told."""
        while not ended.wait(self._lag_told_s / 2):
            self.measure()

    def save(self) -> None:
        """Write everything, whole or not at all, if anything was changed."""
        with self.changes.lock:
            if not self._changed:
                return
            self._changed = False
            content = pickle.dumps((_backends(), self.changes.kept(), self.tokens.answers))
        draft = self.path.with_name(f".{self.path.name}.new")
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self.path)

    def _restore(self) -> None:
        """Put back what the life before left, with what was under way in it."""
        kept, changes, self.tokens.answers = pickle.loads(self.path.read_bytes())
        for (service, account, region), backend in kept.items():
            moto.backends.get_backend(service)[account][region] = backend
        for after_s, become, of in changes:
            self.changes.after(after_s, become, *of)

    def _seed(self) -> None:
        for region in self.regions:
            backend: Ec2 = ec2_backends[self.account][region]
            for name in self.images:
                backend.seed_image(name)
        if not self.path.exists():  # one that was deleted since stays so
            for place, source in sorted(self.databases.items(), key=lambda one: one[1]):  # sources first
                seed_database(self.account, place, source)
        if self.databases:
            self.measure()


def _keep_private_keys() -> None:
    """Have the keys of KMS, which encrypt every disk that wants to be, be written down with all else."""

    def reduced(key: RSAPrivateKey) -> tuple[Any, ...]:
        form = (Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return _private_key, (key.private_bytes(*form),)

    copyreg.pickle(openssl.rsa.RSAPrivateKey, reduced)


def _private_key(content: bytes) -> Any:
    return load_der_private_key(content, None)


def _backends() -> dict[tuple[str, str, str], Any]:
    return {
        (services.service_name, account, region): backend
        for services in BackendDict._instances
        for account, regions in services.items()
        for region, backend in regions.items()
    }


def main() -> None:
    """Serve until SIGTERM, which saves what there is."""
    folder = Path(sys.argv[1])
    settings = json.loads((folder / "settings.json").read_text())
    moto.settings.EC2_ENABLE_INSTANCE_TYPE_VALIDATION = True
    # The endpoint's first word is no bucket: buckets stand in the path.
    moto.settings.S3_IGNORE_SUBDOMAIN_BUCKETNAME = moto.s3.utils.S3_IGNORE_SUBDOMAIN_BUCKETNAME = "yes"
    hasten()
    accounts = Accounts(folder, settings)
    address = (settings["address"], settings["port"])
    server = TlsServer(address, settings["certificate"], settings["key"], Door(accounts).respond)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    threading.Thread(target=accounts.changes.run, daemon=True).start()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if accounts.databases:  # a lab's; tests measure themselves
        threading.Thread(target=accounts.measure_until, args=(ended,), daemon=True).start()
    while not ended.wait(SAVE_EVERY_S):
        accounts.save()
    server.shutdown()
    accounts.save()


if __name__ == "__main__":
    main()
