"""What AWS refuses: of which kind, whether to try again, and whether anything changed."""

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)

from automation.adapters.aws.faults import Kind, in_words, read_refusal

URL = "https://ec2.us-east-1.amazonaws.com"


def refused(code: str, status: int = 400) -> ClientError:
    answer = {"Error": {"Code": code, "Message": "words"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "RunInstances")  # type: ignore[arg-type]


def in_short(value: object) -> str:
    if isinstance(value, ClientError):
        return str(value.response["Error"]["Code"])
    return type(value).__name__ if isinstance(value, BotoCoreError) else str(value)


@pytest.mark.parametrize(
    ("exc", "kind", "transient"),
    [
        (refused("UnauthorizedOperation", 403), "denied", False),
        (refused("ExpiredToken"), "login", False),
        (refused("RequestExpired"), "clock", False),
        (refused("RequestLimitExceeded", 503), "throttled", True),
        (refused("InsufficientInstanceCapacity", 500), "capacity", True),
        (refused("VcpuLimitExceeded"), "quota", False),
        (refused("InvalidSnapshot.NotFound"), "missing", False),
        (refused("InvalidGroup.Duplicate"), "exists", False),
        (refused("DependencyViolation"), "in-use", True),
        (refused("InternalError", 500), "internal", True),
        (refused("502", 502), "internal", True),
        (refused("InvalidParameterValue"), "refused", False),
        (SSLError(endpoint_url=URL, error="certificate verify failed"), "tls", False),
        (EndpointConnectionError(endpoint_url=URL), "unreachable", True),
        (ConnectionClosedError(endpoint_url=URL), "lost", True),
        (ReadTimeoutError(endpoint_url=URL), "lost", True),
        (NoCredentialsError(), "login", False),
    ],
    ids=in_short,
)
def test_a_refusal_is_of_one_kind(exc: BotoCoreError | ClientError, kind: Kind, transient: bool) -> None:
    refusal = read_refusal(exc)
    assert (refusal.kind, refusal.transient) == (kind, transient)


@pytest.mark.parametrize("code", ["InternalError", "InsufficientInstanceCapacity", "UnauthorizedOperation"])
def test_only_a_lost_answer_leaves_open_whether_it_was_done(code: str) -> None:
    error = in_words(read_refusal(refused(code, 500)), "server web-1", "city", changing=True)
    assert error.unknown == (code == "InternalError")
    assert ("not known" in str(error)) == error.unknown


def test_a_read_changes_nothing_however_it_ends() -> None:
    error = in_words(read_refusal(ReadTimeoutError(endpoint_url=URL)), "servers", "city", changing=False)
    assert not error.unknown
    assert "nothing was changed" in str(error)


def test_a_hint_names_the_environment() -> None:
    error = in_words(read_refusal(refused("AccessDenied")), "servers", "city", changing=False)
    assert error.hint is not None
    assert "--env city" in error.hint
