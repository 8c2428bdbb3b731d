"""Who a request to the simulated AWS is from, and what it asks for: signatures, expiry. Pure."""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import parse_qsl, quote

from s3_access import ALGORITHM, Request, signature

CLOCKS_MAY_DIFFER_S = 300.0
Words = Literal["ec2", "query", "json", "s3"]
GLOBAL_SERVICES = {"iam", "route53", "sts", "organizations", "budgets"}


@dataclass(frozen=True)
class Login:
    """An access key, its secret, the account that it acts in, and until when."""

    name: str
    key_id: str
    secret: str
    account: str
    until: datetime | None = None
    token: str = ""


@dataclass(frozen=True)
class Call:
    """What one request asks for, and in which account and region."""

    request: Request
    service: str
    region: str
    action: str
    parameters: Mapping[str, str]
    login: Login

    @property
    def words(self) -> Words:
        return words_of(self.request, self.service)

    @property
    def name(self) -> str:
        return f"{self.service}.{self.action}"


class RefusedCallError(Exception):
    """A request that is not carried out: AWS's own error code, words and status."""

    def __init__(self, code: str, message: str, status: str) -> None:
        super().__init__(message)
        self.code, self.status = code, status


def scope_of(request: Request) -> tuple[str, str, str]:
    """Give access key, region and service of a signed request; three blanks if it is not signed."""
    match = re.search(r"Credential=([^/,\s]+)/\d{8}/([^/]+)/([^/]+)/aws4_request", _authorization(request))
    return (match[1], match[2], match[3]) if match else ("", "", "")


def words_of(request: Request, service: str) -> Words:
    """Tell in which form a service tells its errors."""
    if "json" in request.headers.get("content-type", ""):
        return "json"
    return "ec2" if service == "ec2" else "s3" if service == "s3" else "query"


def authenticate(request: Request, logins: Mapping[str, Login], now: datetime) -> Login:
    """Give the login that signed a request.

    Args:
        logins: by access key.

    Raises:
        RefusedCallError: in the words that AWS has for it.

    Source: "Signature Version 4 signing process", and each service's list of common errors.
    """
    key_id, _, service = scope_of(request)
    if not key_id:
        raise refused("MissingAuthenticationToken", "Request is missing Authentication Token", service)
    login = logins.get(key_id)
    if login is None:
        message = "The security token included in the request is invalid."
        raise refused("InvalidClientTokenId", message, service)
    if login.token and not hmac.compare_digest(login.token, request.headers.get("x-amz-security-token", "")):
        message = "The security token included in the request is invalid"
        raise refused("InvalidClientTokenId", message, service)
    _check_signature(request, login, service)
    _check_clock(request, now, service)
    if login.until is not None and now >= login.until:
        raise expired(service)
    return login


def expired(service: str) -> RefusedCallError:
    """Say that the credentials of a request were good once."""
    if service == "ec2":
        return RefusedCallError("RequestExpired", "Request has expired.", "400 Bad Request")
    message = "The security token included in the request is expired"
    return RefusedCallError("ExpiredToken", message, "403 Forbidden")


def denied(call: Call) -> RefusedCallError:
    """Say that a login may not make a call."""
    if call.service == "ec2":
        return RefusedCallError(
            "UnauthorizedOperation",
            "You are not authorized to perform this operation. "
            f"User: {arn_of(call.login)} is not authorized to perform: ec2:{call.action} "
            "because no identity-based policy allows the action.",
            "403 Forbidden",
        )
    message = f"User: {arn_of(call.login)} is not authorized to perform: {call.service}:{call.action}"
    code = "AccessDeniedException" if call.words == "json" else "AccessDenied"
    return RefusedCallError(code, message, "400 Bad Request" if call.words == "json" else "403 Forbidden")


def arn_of(login: Login) -> str:
    """Name a login as AWS does."""
    if login.token:
        return f"arn:aws:sts::{login.account}:assumed-role/{login.name}/mainstay"
    return f"arn:aws:iam::{login.account}:user/{login.name}"


def identity(call: Call) -> str:
    """Say who is asking, as STS does; moto names the same user to all."""
    who = (
        f"<Arn>{arn_of(call.login)}</Arn><UserId>{call.login.key_id}</UserId>"
        f"<Account>{call.login.account}</Account>"
    )
    space = "https://sts.amazonaws.com/doc/2011-06-15/"
    return (
        f'<GetCallerIdentityResponse xmlns="{space}"><GetCallerIdentityResult>{who}</GetCallerIdentityResult>'
        "<ResponseMetadata><RequestId>00000000-0000-4000-8000-000000000000</RequestId></ResponseMetadata>"
        "</GetCallerIdentityResponse>"
    )


def parameters_of(request: Request) -> dict[str, str]:
    """Give the parameters of a call of the query kind; of the JSON kind, those that are plain text."""
    if "json" in request.headers.get("content-type", ""):
        told = json.loads(request.body or b"{}")
        return {name: value for name, value in told.items() if isinstance(value, str)}
    both = [*parse_qsl(request.raw_query, keep_blank_values=True)]
    if "x-www-form-urlencoded" in request.headers.get("content-type", ""):
        both += parse_qsl(request.body.decode(), keep_blank_values=True)
    return dict(both)


def _check_signature(request: Request, login: Login, service: str) -> None:
    parts = dict(part.strip().partition("=")[::2] for part in _authorization(request).split(","))
    scope = _authorization(request).partition("/")[2].partition(",")[0].strip()
    if service == "s3":
        wanted = signature(request, login.secret, scope, parts.get("SignedHeaders", ""))
    else:  # everything but S3 encodes the path once more, and says the body's hash in no header
        digest = hashlib.sha256(request.body).hexdigest()
        path = quote(request.raw_path, safe="/~")
        signed = parts.get("SignedHeaders", "")
        wanted = signature(request, login.secret, scope, signed, path=path, body_sha256=digest)
    if not hmac.compare_digest(wanted, parts.get("Signature", "")):
        message = "The request signature we calculated does not match the signature you provided."
        raise refused("SignatureDoesNotMatch", message, service)


def _check_clock(request: Request, now: datetime, service: str) -> None:
    told = request.headers.get("x-amz-date", "")
    try:
        at = datetime.strptime(told, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise refused("IncompleteSignature", f"{told!r} is no date", service) from None
    if abs((now - at).total_seconds()) > CLOCKS_MAY_DIFFER_S:
        if service == "ec2":
            raise expired(service)
        message = f"Signature expired: {told} is now earlier or later than 5 min. from now"
        raise RefusedCallError("SignatureDoesNotMatch", message, "403 Forbidden")


def refused(code: str, message: str, service: str) -> RefusedCallError:
    """Say that a request is from nobody known; EC2 says nothing more of it."""
    if service == "ec2":
        message = "AWS was not able to validate the provided access credentials"
        return RefusedCallError("AuthFailure", message, "401 Unauthorized")
    return RefusedCallError(code, message, "403 Forbidden")


def _authorization(request: Request) -> str:
    kind, _, rest = request.headers.get("authorization", "").partition(" ")
    return rest if kind == ALGORITHM else ""
