"""One bucket of an object store: where it is, its versions and locks. The only boto3 of this adapter.

TLS is always verified; boto3 itself tries again what a store refuses for a moment.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from automation.model.errors import AdapterError
from automation.model.evidence import Source
from automation.model.records import Context
from automation.model.secrets import SecretRef

AT_ONCE = 16
_LARGEST_COPY_BYTES = 5 * 2**30  # of one request of S3; what is larger goes in parts
_ATTEMPTS = 5
_REGION = re.compile(r"(?:^|\.)s3[.-]([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com$")
_URL = re.compile(
    r"(?:s3:)?(?:https://)?(?P<endpoint>[A-Za-z0-9.-]+(?::\d+)?)/(?P<name>[^/]+)/?(?P<prefix>.*)"
)
_MISSING = frozenset({"404", "NoSuchBucket", "NotFound", "NoSuchKey", "NoSuchVersion"})
_REFUSED = frozenset({"AccessDenied", "403"})
_PAGE = 1000  # of a listing; more no store gives
_WITHOUT_LOCK = frozenset(
    {"ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration", "InvalidRequest"}
)


class Place(NamedTuple):
    """A bucket, or what is below a prefix of it; the prefix is empty or ends with a slash."""

    endpoint: str
    name: str
    prefix: str = ""

    @property
    def url(self) -> str:
        return f"{self.endpoint}/{self.name}/{self.prefix}"


class ObjectVersion(NamedTuple):
    """One version of one object, or the marker that it was deleted."""

    key: str
    version: str
    modified: datetime
    latest: bool
    size_bytes: int = 0
    etag: str = ""
    marker: bool = False


class Retention(NamedTuple):
    """Until when the store refuses to delete a version."""

    mode: str
    until: datetime


class Default(NamedTuple):
    """How long a bucket locks what is written to it without further words."""

    mode: str
    span: timedelta


def place_of(url: str) -> Place:
    """Read a bucket's URL: https://endpoint/bucket[/prefix], or as restic writes it, s3:https://...

    Raises:
        AdapterError: it is none, or it is not by TLS.
    """
    found = _URL.fullmatch(url.strip())
    if found is None:
        raise AdapterError(
            f"{url!r} is no bucket; nothing was changed", hint="write https://ENDPOINT/BUCKET[/PREFIX]"
        )
    prefix = found["prefix"].strip("/")
    return Place(f"https://{found['endpoint']}", found["name"], f"{prefix}/" if prefix else "")


def login_of(ctx: Context, ref: SecretRef | None) -> Mapping[str, str]:
    """Give the lines NAME=value of a login; none of a missing one, for which boto3 looks around itself."""
    if ref is None:
        return {}
    named = (line.partition("=") for line in ctx.secret(ref).splitlines() if not line.startswith("#"))
    return {name.strip().removeprefix("export "): value.strip().strip("'\"") for name, _, value in named}


def source_of(url: str, ctx: Context) -> Source:
    """Say whether what a store shows is of a real one."""
    return "real" if ctx.environment.simulator_at(url) is None else "simulated"


class Bucket:
    """Speaks to one bucket; whatever it is refused becomes an AdapterError."""

    def __init__(
        self, place: Place, login: Mapping[str, str], trusted: Path | None, *, reached_at: str | None = None
    ) -> None:
        self.place = place
        region = _REGION.search(place.endpoint)
        self._client: Any = boto3.session.Session().client(
            "s3",
            endpoint_url=reached_at or place.endpoint,
            region_name=login.get("AWS_REGION") or (region[1] if region else "us-east-1"),
            aws_access_key_id=login.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=login.get("AWS_SECRET_ACCESS_KEY"),
            aws_session_token=login.get("AWS_SESSION_TOKEN"),
            verify=True if trusted is None else str(trusted),
            config=Config(
                retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                connect_timeout=10,
                read_timeout=60,
                max_pool_connections=AT_ONCE,
                s3={"addressing_style": "path"},
                # Stores other than AWS's do not know the newer checksums; what we write carries its MD5.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    @classmethod
    def of(cls, url: str, login: SecretRef | None, ctx: Context) -> "Bucket":
        """Open a bucket as a step of a run does."""
        place, trusted = place_of(url), ctx.environment.trusted_by_stores(ctx.state)
        at = ctx.environment.from_control_node(place.endpoint)
        return cls(place, login_of(ctx, login), trusted, reached_at=at)

    def elsewhere(self, place: Place) -> "Bucket":
        """Give another bucket of the same endpoint, by the same login."""
        other = object.__new__(Bucket)
        other.place, other._client = place, self._client
        return other

    # --- the bucket ------------------------------------------------------------------------------

    def is_there(self) -> bool:
        with self._asking("looked for", none=_MISSING) as asked:
            self._client.head_bucket(Bucket=self.place.name)
        return not asked.missing

    def make(self) -> None:
        region = self._client.meta.region_name
        where = {} if region == "us-east-1" else {"LocationConstraint": region}
        with self._asking("made"):
            more = {"CreateBucketConfiguration": where} if where else {}
            self._client.create_bucket(Bucket=self.place.name, **more)

    def keeps_versions(self) -> bool:
        with self._asking("asked for its versioning"):
            answer = self._client.get_bucket_versioning(Bucket=self.place.name)
        return bool(answer.get("Status") == "Enabled")

    def keep_versions(self) -> None:
        with self._asking("told to keep versions"):
            self._client.put_bucket_versioning(
                Bucket=self.place.name, VersioningConfiguration={"Status": "Enabled"}
            )

    def default_lock(self) -> Default | None:
        """Give the lock of what is written without further words; None when there is none."""
        answer: Mapping[str, Any] = {}
        with self._asking("asked for its lock", none=_WITHOUT_LOCK):
            answer = self._client.get_object_lock_configuration(Bucket=self.place.name)
        rule = answer.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention")
        if not rule:
            return None
        return Default(rule["Mode"].lower(), timedelta(days=rule.get("Days", 0) + 365 * rule.get("Years", 0)))

    # --- objects ---------------------------------------------------------------------------------

    def versions(self, below: str = "") -> Iterator[ObjectVersion]:
        """List every version and every delete marker, in no order."""
        pages = self._client.get_paginator("list_object_versions")
        with self._asking("listed"):
            below = self.place.prefix + below
            for page in pages.paginate(
                Bucket=self.place.name, Prefix=below, PaginationConfig={"PageSize": _PAGE}
            ):
                yield from map(_version, page.get("Versions", ()))
                yield from map(_marker, page.get("DeleteMarkers", ()))

    def put(self, key: str, content: bytes) -> str:
        """Write one small object; give its version, empty when the bucket keeps none."""
        digest = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        with self._asking(f"given {key}"):
            answer = self._client.put_object(Bucket=self.place.name, Key=key, Body=content, ContentMD5=digest)
        return str(answer.get("VersionId", ""))

    def retention(self, key: str, version: str) -> Retention | None:
        """Give the lock of one version; None when it has none."""
        answer: Mapping[str, Any] = {}
        with self._asking(f"asked for the lock of {key}", none=_WITHOUT_LOCK):
            answer = self._client.get_object_retention(Bucket=self.place.name, Key=key, VersionId=version)
        kept = answer.get("Retention")
        return Retention(kept["Mode"].lower(), kept["RetainUntilDate"].astimezone(UTC)) if kept else None

    def lock(self, key: str, version: str, retention: Retention) -> bool:
        """Lock one version; whether the store did so, and did not refuse it to this login."""
        words = {"Mode": retention.mode.upper(), "RetainUntilDate": retention.until}
        with self._asking(f"told to lock {key}", none=_REFUSED) as asked:
            self._client.put_object_retention(
                Bucket=self.place.name, Key=key, VersionId=version, Retention=words
            )
        return not asked.missing

    def has(self, key: str, version: str) -> bool:
        with self._asking(f"asked for {key}", none=_MISSING) as asked:
            self._client.head_object(Bucket=self.place.name, Key=key, VersionId=version)
        return not asked.missing

    def sha256(self, key: str, version: str) -> str:
        """Read one version whole; give the hash of its content."""
        digest = hashlib.sha256()
        with self._asking(f"asked for {key}"):
            answer = self._client.get_object(Bucket=self.place.name, Key=key, VersionId=version)
            for chunk in answer["Body"].iter_chunks(2**20):
                digest.update(chunk)
        return digest.hexdigest()

    def delete(self, key: str, version: str, *, lift_governance: bool = False) -> str:
        """Try to delete one version for good; give what the store refused with, empty when it did it.

        Raises:
            AdapterError: it answered neither.
        """
        more = {"BypassGovernanceRetention": True} if lift_governance else {}
        try:
            self._client.delete_object(Bucket=self.place.name, Key=key, VersionId=version, **more)
        except ClientError as exc:
            status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if not 400 <= status < 500 or status == 429:
                raise self._failed(f"asked to delete {key}", exc) from exc
            error = exc.response["Error"]
            return f"{error.get('Code', status)}: {error.get('Message', '')}".rstrip(": ")
        except BotoCoreError as exc:
            raise self._failed(f"asked to delete {key}", exc) from exc
        return ""

    def hide(self, key: str) -> str:
        """Delete an object without naming a version; give the marker that hides it, empty when refused."""
        answer: Mapping[str, Any] = {}
        with self._asking(f"asked to hide {key}", none=_REFUSED):
            answer = self._client.delete_object(Bucket=self.place.name, Key=key)
        return str(answer.get("VersionId", ""))

    def copy(self, source: ObjectVersion, of: Place, key: str) -> None:
        """Have the store copy one version into this bucket."""
        where = {"Bucket": of.name, "Key": source.key, "VersionId": source.version}
        with self._asking(f"asked to copy {source.key}"):
            if source.size_bytes > _LARGEST_COPY_BYTES:
                self._client.copy(where, self.place.name, key)
            else:
                self._client.copy_object(CopySource=where, Bucket=self.place.name, Key=key)

    # --- refusals --------------------------------------------------------------------------------

    @contextmanager
    def _asking(self, what: str, none: frozenset[str] = frozenset()) -> Iterator["_Asked"]:
        """Translate what the store refuses; codes that only say that there is none are noted."""
        asked = _Asked()
        try:
            yield asked
        except ClientError as exc:
            if exc.response.get("Error", {}).get("Code") not in none:
                raise self._failed(what, exc) from exc
            asked.missing = True
        except BotoCoreError as exc:
            raise self._failed(what, exc) from exc

    def _failed(self, what: str, exc: Exception) -> AdapterError:
        """Say what failed; boto3 has tried again already whatever was worth it."""
        response = exc.response if isinstance(exc, ClientError) else {}
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return AdapterError(
            f"bucket {self.place.name} at {self.place.endpoint} could not be {what}: {exc}",
            transient=not response or status >= 500 or status == 429,
        )


class _Asked:
    """Whether what was asked for is missing."""

    missing = False


def _version(shown: Mapping[str, Any]) -> ObjectVersion:
    return ObjectVersion(
        key=shown["Key"],
        version=shown["VersionId"],
        modified=shown["LastModified"].astimezone(UTC),
        latest=shown["IsLatest"],
        size_bytes=shown["Size"],
        etag=shown["ETag"].strip('"'),
    )


def _marker(shown: Mapping[str, Any]) -> ObjectVersion:
    return ObjectVersion(
        key=shown["Key"],
        version=shown["VersionId"],
        modified=shown["LastModified"].astimezone(UTC),
        latest=shown["IsLatest"],
        marker=True,
    )
