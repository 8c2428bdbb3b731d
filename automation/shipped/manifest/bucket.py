"""Whether anything lies, or ever lay, at a place of an object store: `python3 -m manifest.bucket s3:URL`.

Prints some of the names, deleted ones too where the bucket keeps versions: an attacker who deleted all that
can be seen leaves a place that looks empty. Credentials come as restic reads them, from the environment.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import os
import re
import ssl
import sys
import urllib.error
import urllib.request
from urllib.parse import quote, urlencode, urlsplit

SHOWN = 5
_EMPTY = hashlib.sha256(b"").hexdigest()


def names_there(url: str, now: datetime.datetime) -> list[str]:
    """Give some names at a place; none: nothing is or was there."""
    place = url.removeprefix("s3:")
    parts = urlsplit(place if "://" in place else f"https://{place}")
    bucket, _, prefix = parts.path.strip("/").partition("/")
    asked = {"max-keys": str(SHOWN), "prefix": f"{prefix}/" if prefix else "", "versions": ""}
    request = _signed(parts.scheme, parts.netloc, f"/{bucket}", asked, now)
    with urllib.request.urlopen(request, timeout=30, context=_trust()) as answer:
        return re.findall(r"<Key>([^<]*)</Key>", answer.read().decode())


def _trust() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=os.environ.get("RESTIC_CACERT") or None)


def _signed(
    scheme: str, host: str, path: str, asked: dict[str, str], now: datetime.datetime
) -> urllib.request.Request:
    """Sign a request by version 4 of AWS's rule, for the service s3."""
    region = os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    at, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    query = urlencode(sorted(asked.items()), quote_via=quote)
    headers = {"host": host, "x-amz-content-sha256": _EMPTY, "x-amz-date": at}
    if token := os.environ.get("AWS_SESSION_TOKEN"):
        headers["x-amz-security-token"] = token
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    asked_for = "\n".join(["GET", quote(path), query, lines, names, _EMPTY])
    scope = f"{day}/{region}/s3/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", at, scope, hashlib.sha256(asked_for.encode()).hexdigest()])
    key = b"AWS4" + os.environ.get("AWS_SECRET_ACCESS_KEY", "").encode()
    for word in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    who = f"{os.environ.get('AWS_ACCESS_KEY_ID', '')}/{scope}"
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={who}, SignedHeaders={names}, Signature={signature}"
    )
    return urllib.request.Request(f"{scheme}://{host}{quote(path)}?{query}", headers=headers)


def main(url: str) -> int:
    """Print the names; 1 where the store does not answer, or has no such bucket."""
    try:
        names = names_there(url, datetime.datetime.now(datetime.UTC))
    except (urllib.error.URLError, OSError) as exc:
        print(f"the object store of {url} cannot be asked what lies there: {exc}", file=sys.stderr)
        return 1
    for name in names:
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
