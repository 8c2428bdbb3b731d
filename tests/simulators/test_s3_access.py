"""Signatures as AWS's own library makes them, and what each login may do."""

from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from drtests.simulators.s3_access import (
    Login,
    RefusedError,
    Request,
    authenticate,
    check_body,
    check_rights,
    parse_login,
)

WRITER = Login("writer", "W" * 20, "its+secret/=")
OWNER = Login("owner", "O" * 20, "another")
LOGINS = {login.key_id: login for login in (WRITER, OWNER)}
HOST = "https://s3.city.lab"


def signed(method: str, target: str, *, by: Login = WRITER, body: bytes = b"", **headers: str) -> Request:
    """Give a request that botocore has signed."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = AWSRequest(method, HOST + target, headers={"host": "s3.city.lab", **named}, data=body)
    S3SigV4Auth(Credentials(by.key_id, by.secret), "s3", "us-east-1").add_auth(asked)
    url = urlsplit(target)
    sent = {name.lower(): value for name, value in asked.headers.items()}
    return Request(method, url.path, url.query, sent, body)


@pytest.mark.parametrize(
    "target",
    [
        "/city-files/data/ab/abcd",
        "/city-files/clerk/odd%20ones/%C3%9Cber%2BStra%C3%9Fe.txt",
        "/city-files?list-type=2&prefix=data%2F&delimiter=&max-keys=1000",
        "/city-files/big?partNumber=1&uploadId=a.b_c-d~e",
        "/city-files?versions",
        "/",
    ],
)
def test_a_request_is_known_by_the_signature_of_its_login(target: str) -> None:
    assert authenticate(signed("GET", target), LOGINS) == WRITER


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"method": "DELETE"}, "SignatureDoesNotMatch"),
        ({"raw_path": "/city-files/b"}, "SignatureDoesNotMatch"),
        ({"raw_query": "versionId=1"}, "SignatureDoesNotMatch"),
        ({"headers": {}}, "AccessDenied"),
        ({"headers": {"authorization": "AWS nobody:signature"}}, "AccessDenied"),
        ({"headers": {"authorization": "AWS4-HMAC-SHA256 nonsense"}}, "InvalidAccessKeyId"),
    ],
)
def test_a_request_that_was_changed_or_not_signed_is_refused(change: dict[str, object], code: str) -> None:
    good = signed("GET", "/city-files/a")
    with pytest.raises(RefusedError) as refused:
        authenticate(Request(**{**vars(good), **change}), LOGINS)  # type: ignore[arg-type]
    assert refused.value.code == code


def test_an_unknown_key_and_a_wrong_secret_are_refused() -> None:
    for login, code in (
        (Login("owner", "X" * 20, "x"), "InvalidAccessKeyId"),
        (Login("owner", OWNER.key_id, WRITER.secret), "SignatureDoesNotMatch"),
    ):
        with pytest.raises(RefusedError) as refused:
            authenticate(signed("GET", "/city-files/a", by=login), LOGINS)
        assert refused.value.code == code


def test_a_body_that_is_not_the_signed_one_is_refused() -> None:
    good = signed("PUT", "/city-files/a", body=b"paid")
    check_body(good)
    with pytest.raises(RefusedError, match="not the one that was signed"):
        check_body(Request(**{**vars(good), "body": b"owed"}))


WRITERS = [
    ("GET", "/city-files/a", b""),
    ("HEAD", "/city-files", b""),
    ("GET", "/city-files?list-type=2", b""),
    ("PUT", "/city-files/a", b""),
    ("PUT", "/city-files/a?partNumber=1&uploadId=x", b""),
    ("POST", "/city-files/a?uploads", b""),
    ("POST", "/city-files/a?uploadId=x", b"<CompleteMultipartUpload/>"),
    ("DELETE", "/city-files/a", b""),
    ("DELETE", "/city-files/a?uploadId=x", b""),
    ("POST", "/city-files?delete", b"<Delete><Object><Key>a</Key></Object></Delete>"),
]
OWNERS = [
    ("DELETE", "/city-files/a?versionId=1", b""),
    (
        "POST",
        "/city-files?delete",
        b"<Delete><Object><Key>a</Key><VersionId>1</VersionId></Object></Delete>",
    ),
    ("PUT", "/city-files/a?retention", b""),
    ("PUT", "/city-files/a?legal-hold", b""),
    ("PUT", "/city-files?versioning", b""),
    ("PUT", "/city-files?object-lock", b""),
    ("PUT", "/city-files?lifecycle", b""),
    ("PUT", "/city-files?policy", b""),
    ("PUT", "/mine", b""),
    ("PUT", "/mine/", b""),
    ("DELETE", "/city-files", b""),
    ("PATCH", "/city-files/a", b""),
]


def may(login: Login, method: str, target: str, body: bytes, **headers: str) -> bool:
    try:
        check_rights(signed(method, target, by=login, body=body, **headers), login)
    except RefusedError:
        return False
    return True


@pytest.mark.parametrize(("method", "target", "body"), WRITERS)
def test_a_writer_puts_reads_lists_and_hides(method: str, target: str, body: bytes) -> None:
    assert may(WRITER, method, target, body)


@pytest.mark.parametrize(("method", "target", "body"), OWNERS)
def test_versions_locks_and_buckets_are_the_owners_alone(method: str, target: str, body: bytes) -> None:
    assert (may(WRITER, method, target, body), may(OWNER, method, target, body)) == (False, True)


@pytest.mark.parametrize("header", ["x_amz_bypass_governance_retention", "x_amz_object_lock_mode"])
def test_a_writer_sets_no_lock_and_passes_none(header: str) -> None:
    assert not may(WRITER, "PUT", "/city-files/a", b"", **{header: "true"})


def test_a_login_is_read_as_it_is_kept() -> None:
    text = f"AWS_ACCESS_KEY_ID={WRITER.key_id}\nAWS_SECRET_ACCESS_KEY={WRITER.secret}\n"
    assert parse_login("writer", text) == WRITER
