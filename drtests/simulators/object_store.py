"""Simulates an S3 object store with versions and Object Lock: moto behind TLS, told by a settings file.

`python object_store.py FOLDER`: the folder holds `settings.json` and gets `objects.pickle`. What is stored
is in memory; it is written to the disk every half minute and at SIGTERM, so that a killed one loses what was
stored last. Real are TLS, signatures, versions and locks; not real are durability, regions and prices.
"""

import json
import os
import pickle
import signal
import ssl
import sys
import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

import moto.s3.utils
import moto.settings
from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from moto.s3.exceptions import AccessDeniedByLock, S3ClientError
from moto.s3.models import FakeKey, S3Backend, s3_backends
from s3_access import Login, RefusedError, Request, authenticate, check_body, check_rights, parse_login
from werkzeug.serving import BaseWSGIServer, make_server

ACCOUNT, PARTITION, REGION = "123456789012", "aws", "us-east-1"
SAVE_EVERY_S = 30.0
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


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

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = read_request(environ)
        try:
            login = authenticate(request, self.logins)
            check_body(request)
            check_rights(request, login)
            if request.method == "GET" and "retention" in request.parameters:
                return answer(start_response, "200 OK", self.store.retention_of(request))
        except RefusedError as refused:
            text = f"<Error><Code>{refused.code}</Code><Message>{escape(str(refused))}</Message></Error>"
            return answer(start_response, refused.status, text)
        if "x-amz-copy-source" in request.headers:  # moto asks copies, too, for what S3 asks only of uploads
            environ.setdefault("HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM", "CRC32")
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(request.body), str(len(request.body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        if request.method in ("GET", "HEAD"):
            return self.application(environ, start_response)
        with self.store.changing:
            self.store.touch()
            return list(self.application(environ, start_response))


class TlsServer:
    """Serves over TLS; a handshake is its connection's own, so that a silent client keeps nobody waiting."""

    def __init__(self, address: str, port: int, certificate: Path, key: Path, application: Wsgi) -> None:
        self.server: BaseWSGIServer = make_server(
            address, port, application, threaded=True, request_handler=QuietHandler
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(
            self.server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.server.ssl_context = context


class QuietHandler(MotoRequestHandler):  # type: ignore[misc]  # moto has no types
    """Writes a line for what was refused or failed, no other; gives a connection up that is idle."""

    timeout = 120

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        if str(code) == "403" or str(code).startswith("5"):
            self.log_message('"%s" %s', self.requestline, code)

    def log_message(self, format: str, *args: Any) -> None:
        print(self.log_date_time_string(), self.address_string(), format % args, file=sys.stderr, flush=True)


def read_request(environ: dict[str, Any]) -> Request:
    """Read a request with its whole body, however it is sent."""
    url = urlsplit(environ["REQUEST_URI"])
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH")
    }
    in_pieces = environ.get("wsgi.input_terminated", False)
    body = environ["wsgi.input"].read(-1 if in_pieces else int(environ.get("CONTENT_LENGTH") or 0))
    return Request(environ["REQUEST_METHOD"], url.path, url.query, headers, body)


def answer(start_response: Callable[..., Any], status: str, xml: str) -> list[bytes]:
    """Answer as S3 does."""
    body = f"<?xml version='1.0' encoding='UTF-8'?>{xml}".encode()
    start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


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
    certificate, key = Path(settings["certificate"]), Path(settings["key"])
    tls = TlsServer(settings["address"], settings["port"], certificate, key, Guarded(store, logins))
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    threading.Thread(target=tls.server.serve_forever, daemon=True).start()
    while not ended.wait(SAVE_EVERY_S):
        store.save()
    tls.server.shutdown()
    store.save()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


if __name__ == "__main__":
    main()
