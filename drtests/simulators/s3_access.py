"""Who may do what in the simulated object store: AWS signatures of version 4, two kinds of login. Pure."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote

ALGORITHM = "AWS4-HMAC-SHA256"
Role = Literal["writer", "owner"]

# What a writer may put, beside objects and their parts: nothing that changes a lock, a bucket or its rules.
WRITERS_PUTS = {"partNumber", "uploadId", "x-id"}
WRITERS_POSTS = {"uploads", "uploadId", "delete", "x-id"}


@dataclass(frozen=True)
class Login:
    """An access key, its secret, and whose it is."""

    role: Role
    key_id: str
    secret: str


@dataclass(frozen=True)
class Request:
    """One request as it came over the wire; header names in lower case."""

    method: str
    raw_path: str
    raw_query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def parameters(self) -> dict[str, str]:
        return dict(parse_qsl(self.raw_query, keep_blank_values=True))

    @property
    def bucket(self) -> str:
        return unquote(self.raw_path).lstrip("/").partition("/")[0]

    @property
    def key(self) -> str:
        """The object's key; empty for a bucket, or for the service itself."""
        return unquote(self.raw_path).lstrip("/").partition("/")[2]


class RefusedError(Exception):
    """A request that is not carried out: S3's own error code, why, and the answer's status."""

    def __init__(self, code: str, message: str, status: str = "403 Forbidden") -> None:
        super().__init__(message)
        self.code, self.status = code, status


def parse_login(role: Role, text: str) -> Login:
    """Read a login as it is kept: lines AWS_ACCESS_KEY_ID= and AWS_SECRET_ACCESS_KEY=."""
    pairs = dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)
    return Login(role, pairs["AWS_ACCESS_KEY_ID"].strip(), pairs["AWS_SECRET_ACCESS_KEY"].strip())


def authenticate(request: Request, logins: Mapping[str, Login]) -> Login:
    """Give the login that signed a request.

    Args:
        logins: by access key.

    Raises:
        RefusedError: it is not signed, by nobody known, or the signature is not that of the request.
    """
    kind, _, rest = request.headers.get("authorization", "").partition(" ")
    if kind != ALGORITHM:
        raise RefusedError("AccessDenied", "the request is not signed with AWS Signature Version 4")
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    key_id, _, scope = parts.get("Credential", "").partition("/")
    login = logins.get(key_id)
    if login is None:
        raise RefusedError("InvalidAccessKeyId", "the access key does not exist")
    wanted = signature(request, login.secret, scope, parts.get("SignedHeaders", ""))
    if not hmac.compare_digest(wanted, parts.get("Signature", "")):
        raise RefusedError("SignatureDoesNotMatch", "the signature does not match the request")
    return login


def signature(
    request: Request, secret: str, scope: str, signed: str, *, path: str = "", body_sha256: str = ""
) -> str:
    """Sign a request.

    Args:
        path: as it is signed; empty: as S3 signs it.
        body_sha256: empty: as a header of the request tells it.

    Source: "Authenticating Requests (AWS Signature Version 4)" of the S3 API reference.
    """
    lines = [
        request.method,
        path or quote(unquote(request.raw_path), safe="/~"),
        _canonical_query(request.raw_query),
        *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in signed.split(";")),
        "",
        signed,
        body_sha256 or request.headers.get("x-amz-content-sha256", ""),
    ]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    when = request.headers.get("x-amz-date", "")
    key = f"AWS4{secret}".encode()
    for word in scope.split("/"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    return hmac.new(key, "\n".join((ALGORITHM, when, scope, digest)).encode(), hashlib.sha256).hexdigest()


def check_body(request: Request) -> None:
    """Refuse a body that is not the one that was signed.

    Raises:
        RefusedError: its hash is another one.
    """
    told = request.headers.get("x-amz-content-sha256", "")
    if len(told) == 64 and told != hashlib.sha256(request.body).hexdigest():
        raise RefusedError("XAmzContentSHA256Mismatch", "the body is not the one that was signed")


def check_rights(request: Request, login: Login) -> None:
    """Refuse a writer what only the owner may: versions, locks, buckets, and anything but the objects.

    A writer puts, reads and lists objects, and deletes them so that a marker hides them.

    Raises:
        RefusedError: it may not.
    """
    if login.role == "owner" or _writer_may(request):
        return
    raise RefusedError("AccessDenied", "a writer puts, gets, lists, and deletes without a version")


def _writer_may(request: Request) -> bool:
    parameters = request.parameters
    if any(name.startswith(("x-amz-bypass-", "x-amz-object-lock-")) for name in request.headers):
        return False
    match request.method:
        case "GET" | "HEAD":
            return True
        case "PUT":
            return bool(request.key) and parameters.keys() <= WRITERS_PUTS
        case "POST":
            asked = parameters.keys() <= WRITERS_POSTS and bool(request.key or "delete" in parameters)
            return asked and b"<VersionId>" not in request.body
        case "DELETE":
            return bool(request.key) and parameters.keys() <= {"uploadId", "x-id"}
    return False


def _canonical_query(raw: str) -> str:
    pairs = parse_qsl(raw, keep_blank_values=True)
    return "&".join(sorted(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs))
