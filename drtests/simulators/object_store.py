"""Simulates an S3 object store with versions and Object Lock: moto behind TLS, told by a settings file.

`python object_store.py FOLDER`: the folder holds `settings.json` and gets `objects.pickle`. What is stored
is in memory; it is written to the disk every half minute and at SIGTERM, so that a killed one loses what was
stored last. Real are TLS, signatures, versions and locks; not real are durability, regions and prices.
"""

import json
import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import moto.s3.utils
import moto.settings
from moto.moto_server.werkzeug_app import create_backend_app
from moto.s3.exceptions import AccessDeniedByLock, S3ClientError
from moto.s3.models import FakeKey, S3Backend, s3_backends
from s3_access import Login, RefusedError, Request, authenticate, check_body, check_rights, parse_login
from tls_server import Answer, TlsServer, environ_of

ACCOUNT, PARTITION, REGION = "123456789012", "aws", "us-east-1"
SAVE_EVERY_S = 30.0


class StrictBackend(S3Backend):  # type: ignore[misc]  # moto has no types
    """moto's store, held to what it leaves out: every new version gets the bucket's default lock, and a lock
    is never shortened or lifted."""

    def put_object(self, bucket_name: str, key_name: str, *args: Any, **more: Any) -> FakeKey:
        key = super().put_object(bucket_name, key_name, *args, **more)
        bucket = self.get_bucket(bucket_name)
        if bucket.has_default_lock and not key.lock_until:
            key.lock_mode, key.lock_until = bucket.default_lock_mode, bucket.default_retention()
        return key

    def put_object_retention(
        self,
        bucket_name: str,
        key_name: str,
        version_id: str | None,
        retention: tuple[str | None, str | None],
    ) -> None:
        key = self.get_object(bucket_name, key_name, version_id=version_id)
        if key is not None and key.lock_mode == "COMPLIANCE" and key.is_locked(False):
            mode, until = retention
            if mode != "COMPLIANCE" or until is None or _moment(until) < _moment(key.lock_until):
                raise AccessDeniedByLock
        super().put_object_retention(bucket_name, key_name, version_id, retention)

    def put_bucket_versioning(self, bucket_name: str, status: str) -> None:
        if self.get_bucket(bucket_name).object_lock_enabled and status != "Enabled":
            raise S3ClientError("InvalidBucketState", "a bucket with Object Lock stays versioned")
        super().put_bucket_versioning(bucket_name, status)


class Store:
    """The objects, and the file that they are kept in between two lives."""

    def __init__(self, path: Path) -> None:
        self.path, self.changing = path, threading.Lock()
        self._changed = False
        s3_backends.backend = StrictBackend
        if path.exists():
            for name, bucket in pickle.loads(path.read_bytes()).items():
                self.backend.buckets[name] = bucket
                s3_backends.bucket_accounts[name] = (PARTITION, ACCOUNT)

    @property
    def backend(self) -> StrictBackend:
        return s3_backends[ACCOUNT][PARTITION]

    def make_bucket(self, name: str, mode: str, days: int) -> None:
        """Make a versioned bucket with Object Lock and a default of so many days, unless it is there."""
        if name in self.backend.buckets:
            return
        bucket = self.backend.create_bucket(name, REGION)
        bucket.versioning_status, bucket.object_lock_enabled = "Enabled", True
        bucket.default_lock_mode, bucket.default_lock_days = mode.upper(), days

    def retention_of(self, request: Request) -> str:
        """Give the lock of one version, which moto tells only beside its content."""
        bucket, version = request.bucket, request.parameters.get("versionId")
        key = self.backend.get_object(bucket, request.key, version_id=version)
        if key is None:
            raise RefusedError("NoSuchKey", "there is no such object", "404 Not Found")
        if not key.lock_mode:
            raise RefusedError("NoSuchObjectLockConfiguration", "it is not locked", "404 Not Found")
        until = f"<RetainUntilDate>{key.lock_until}</RetainUntilDate>"
        return f"<Retention><Mode>{key.lock_mode}</Mode>{until}</Retention>"

    def touch(self) -> None:
        self._changed = True

    def save(self) -> None:
        """Write everything, whole or not at all, if anything was changed."""
        with self.changing:
            if not self._changed:
                return
            content = pickle.dumps(dict(self.backend.buckets))
            self._changed = False
        draft = self.path.with_name(f".{self.path.name}.new")
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self.path)


class Guarded:
    """Lets a request through to the store when its signature, its body and its login's rights are right."""

    def __init__(self, store: Store, logins: Iterable[Login]) -> None:
        self.store, self.application = store, create_backend_app("s3")
        self.logins = {login.key_id: login for login in logins}

    def answer(self, request: Request) -> Answer:
        """Carry a request out, or say in S3's words why not."""
        try:
            check_rights(request, authenticate(request, self.logins))
            check_body(request)
            if request.method == "GET" and "retention" in request.parameters:
                return Answer.of_xml("200 OK", self.store.retention_of(request))
        except RefusedError as refused:
            text = f"<Error><Code>{refused.code}</Code><Message>{escape(str(refused))}</Message></Error>"
            return Answer.of_xml(refused.status, text)
        if request.method in ("GET", "HEAD"):
            return self._ask(request)
        with self.store.changing:
            self.store.touch()
            return self._ask(request)

    def _ask(self, request: Request) -> Answer:
        return Answer.of_application(self.application, environ_for_moto(request))


def environ_for_moto(request: Request) -> dict[str, Any]:
    """Give a request as moto reads it."""
    environ = environ_of(request)
    if "x-amz-copy-source" in request.headers:  # moto asks copies, too, for what S3 asks only of uploads
        environ.setdefault("HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM", "CRC32")
    return environ


def main() -> None:
    """Serve until SIGTERM, which saves what is stored."""
    folder = Path(sys.argv[1])
    settings = json.loads((folder / "settings.json").read_text())
    # The endpoint's first word is no bucket: buckets stand in the path.
    moto.settings.S3_IGNORE_SUBDOMAIN_BUCKETNAME = moto.s3.utils.S3_IGNORE_SUBDOMAIN_BUCKETNAME = "yes"
    store = Store(folder / "objects.pickle")
    for name, lock in settings["buckets"].items():
        store.make_bucket(name, lock["mode"], lock["days"])
    logins = [parse_login(role, Path(path).read_text()) for role, path in settings["logins"].items()]
    address = (settings["address"], settings["port"])
    server = TlsServer(address, settings["certificate"], settings["key"], Guarded(store, logins).answer)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while not ended.wait(SAVE_EVERY_S):
        store.save()
    server.shutdown()
    store.save()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


if __name__ == "__main__":
    main()
