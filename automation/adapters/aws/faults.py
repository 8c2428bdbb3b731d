"""What AWS refuses, in words: why, whether anything changed, whether to try again. Pure."""

from typing import Literal, NamedTuple

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ProfileNotFound,
    ProxyConnectionError,
    ReadTimeoutError,
    ResponseStreamingError,
    SSLError,
)

from automation.model.errors import AdapterError

Kind = Literal[
    "denied",
    "login",
    "clock",
    "throttled",
    "capacity",
    "quota",
    "missing",
    "exists",
    "in-use",
    "state",
    "protected",
    "tls",
    "unreachable",
    "lost",
    "internal",
    "refused",
]
THROTTLES = frozenset(
    {
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "TooManyRequestsException",
        "SlowDown",
        "PriorRequestNotComplete",
        "EC2ThrottledException",
    }
)
_BY_CODE: dict[Kind, frozenset[str]] = {
    "throttled": THROTTLES,
    "denied": frozenset(
        {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"}
    ),
    "login": frozenset(
        {
            "AuthFailure",
            "ExpiredToken",
            "ExpiredTokenException",
            "IncompleteSignature",
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "MissingAuthenticationToken",
            "OptInRequired",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
        }
    ),
    "clock": frozenset({"RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"}),
    "capacity": frozenset(
        {
            "InsufficientInstanceCapacity",
            "InsufficientHostCapacity",
            "InsufficientReservedInstanceCapacity",
            "InsufficientCapacity",
            "InsufficientDBInstanceCapacity",
            "InsufficientVolumeCapacity",
            "InsufficientFreeAddressesInSubnet",
        }
    ),
    "in-use": frozenset({"DependencyViolation", "VolumeInUse", "InvalidIPAddress.InUse"}),
    "state": frozenset({"IncorrectInstanceState", "IncorrectState", "IncorrectSpotRequestState"}),
    "protected": frozenset({"OperationNotPermitted"}),
}
_NEVER_JUDGED: frozenset[Kind] = frozenset({"denied", "login", "clock", "throttled", "unreachable"})
_QUOTA_WORDS = ("LimitExceeded", "QuotaExceeded", "MaxIOPSLimitExceeded")
_TRANSIENT: frozenset[Kind] = frozenset(
    {"throttled", "capacity", "unreachable", "lost", "internal", "in-use"}
)
_HINTS: dict[Kind, str] = {
    "denied": "./inv provision.permissions --env {env} prints the policy that this login needs",
    "login": "renew the login that environment.yml names at providers, then ./inv provision.plan --env {env}",
    "clock": "set this machine's clock (chronyc tracking), then again",
    "capacity": "another server_type or availability_zone, or again later",
    "quota": "have it raised (Service Quotas), or retire some: ./inv provision.show --env {env}",
    "tls": "providers: ca in environment.yml names the trusted certificates; the endpoint's must bear its "
    "name and be valid now",
    "unreachable": "see whether this machine reaches the endpoint (route, proxy, DNS), then again",
}


class Refusal(NamedTuple):
    """Why a call did not succeed."""

    kind: Kind
    code: str
    words: str

    @property
    def transient(self) -> bool:
        return self.kind in _TRANSIENT

    @property
    def lost(self) -> bool:
        """Whether the call may have been carried out all the same."""
        return self.kind in ("lost", "internal")


def read_refusal(exc: BotoCoreError | ClientError) -> Refusal:
    """Say what an exception of botocore means."""
    if isinstance(exc, ClientError):
        return _of_answer(exc)
    name, words = type(exc).__name__, str(exc)
    if isinstance(exc, SSLError):
        return Refusal("tls", name, f"its certificate is not trusted: {words}")
    if isinstance(exc, EndpointConnectionError | ConnectTimeoutError | ProxyConnectionError):
        return Refusal("unreachable", name, words)
    if isinstance(exc, ConnectionClosedError | ReadTimeoutError | ResponseStreamingError):
        return Refusal("lost", name, f"the answer was lost: {words}")
    if isinstance(exc, ProfileNotFound) or any(word in name for word in ("Credential", "Token", "SSO")):
        return Refusal("login", name, words)
    return Refusal("lost" if "HTTPClient" in name or "Parser" in name else "refused", name, words)


def was_never_judged(exc: AdapterError) -> bool:
    """Whether a call surely did nothing: it did not reach AWS, or was turned away before it was looked at."""
    cause = exc.__cause__
    return isinstance(cause, BotoCoreError | ClientError) and read_refusal(cause).kind in _NEVER_JUDGED


def _of_answer(exc: ClientError) -> Refusal:
    error = exc.response.get("Error", {})
    code, words = str(error.get("Code", "")), str(error.get("Message", "")).strip()
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return Refusal(_kind_of(code, status), code, f"{code}: {words}" if words else code)


def _kind_of(code: str, status: int) -> Kind:
    known = next((kind for kind, codes in _BY_CODE.items() if code in codes), None)
    if known is not None:
        return known
    if any(word in code for word in _QUOTA_WORDS):
        return "quota"
    if code.endswith((".NotFound", "NotFoundFault", "NotFoundException")) or code.startswith("NoSuch"):
        return "missing"
    if "Duplicate" in code or code.endswith((".Conflict", "AlreadyExists")) or "AlreadyExists" in code:
        return "exists"
    return "internal" if status >= 500 or code in ("InternalError", "Unavailable") else "refused"


def in_words(refusal: Refusal, what: str, environment: str, *, changing: bool) -> AdapterError:
    """Give the error that a step ends with.

    Args:
        what: the attempt and its object: "server web-1 could not be made".
        changing: whether the call would have changed something.
    """
    unknown = changing and refusal.lost
    ends = "whether it was done is not known" if unknown else "nothing was changed by this call"
    hint = _HINTS.get(refusal.kind)
    return AdapterError(
        f"{what}: {refusal.words}; {ends}",
        transient=refusal.transient,
        unknown=unknown,
        hint=None if hint is None else hint.format(env=environment),
    )
