"""What documents of policies allow and deny. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

Document = Mapping[str, JsonValue]
TLS_ONLY = "MainstayTlsOnly"
_EVERYBODY: tuple[JsonValue, ...] = ("*", {"AWS": "*"}, {"AWS": ["*"]})


def allows_everything(document: JsonValue) -> bool | None:
    """Whether a policy allows every action on everything, be it on a condition; None: it cannot be read.

    All actions but some count as every action: what AWS brings next is among them.
    """
    held = document.get("Statement") if isinstance(document, dict) else None
    if not isinstance(held, dict | list) or len(list(_statements(document))) != len(_as_list(held)):
        return None
    return any(
        one.get("Effect") == "Allow"
        and ("NotAction" in one or any(_is_all(word) for word in _listed(one.get("Action"))))
        and ("Resource" not in one or any(_is_all(word) for word in _listed(one["Resource"])))
        for one in _statements(document)
    )


def is_tls_only(document: JsonValue, bucket: str) -> bool:
    """Whether a bucket's policy denies everybody all that does not come by TLS."""
    wanted = {bucket, f"{bucket}/*"}
    return any(
        one.get("Effect") == "Deny"
        and one.get("Principal") in _EVERYBODY
        and any(word in ("*", "s3:*") for word in _listed(one.get("Action")))
        and _covers(_listed(one.get("Resource")), wanted)
        and _is_of_clear_text(one.get("Condition"))
        for one in _statements(document)
    )


def with_tls_only(document: JsonValue, bucket_arn: str) -> Document:
    """Add one statement to a bucket's policy, or begin one; what it has stays."""
    ours: JsonValue = {
        "Sid": TLS_ONLY,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket_arn, f"{bucket_arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    known: dict[str, JsonValue] = (
        document if isinstance(document, dict) else {"Version": "2012-10-17", "Statement": []}
    )
    others: list[JsonValue] = [one for one in _statements(known) if one.get("Sid") != TLS_ONLY]
    return {**known, "Statement": [*others, ours]}


def _statements(document: JsonValue) -> Iterator[dict[str, JsonValue]]:
    held = document.get("Statement") if isinstance(document, dict) else None
    yield from (one for one in _as_list(held) if isinstance(one, dict))


def _as_list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else [value]


def _listed(value: JsonValue) -> Sequence[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)] if value else []


def _is_all(word: str) -> bool:
    return bool(word) and not word.strip("*:")


def _covers(resources: Sequence[str], wanted: set[str]) -> bool:
    named = {word.rpartition(":::")[2] for word in resources}
    return "*" in resources or wanted <= named or {one.rstrip("/*") + "*" for one in wanted} <= named


def _is_of_clear_text(condition: JsonValue) -> bool:
    """Whether a condition is that of no TLS and nothing more, by which it would hold less often."""
    if not isinstance(condition, dict) or len(condition) != 1:
        return False
    ((word, asked),) = condition.items()
    if word not in ("Bool", "BoolIfExists") or not isinstance(asked, dict) or len(asked) != 1:
        return False
    ((key, value),) = asked.items()
    return key.lower() == "aws:securetransport" and [one.lower() for one in _listed_words(value)] == ["false"]


def _listed_words(value: JsonValue) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]
