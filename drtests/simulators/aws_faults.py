"""Faults that a test or a bench orders of the simulated AWS, and the count of calls. No clock, no socket."""

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from aws_access import Call, RefusedCallError, denied, expired
from tls_server import DroppedError

Mode = Literal[
    "throttle", "capacity", "500", "503", "denied", "expired", "latency", "drop", "skew",
    "applied-then-500", "applied-then-drop",
]  # fmt: skip
AFTERWARDS = ("applied-then-500", "applied-then-drop")


@dataclass
class Rule:
    """What happens to which calls, how often, and for how long."""

    mode: Mode
    service: str = ""
    action: str = ""
    login: str = ""
    region: str = ""
    times: int | None = 1
    after: int = 0
    seconds: float = 0.0
    ordered_at: float = 0.0
    met: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ValueError(f"mode {self.mode!r} is none of {', '.join(get_args(Mode))}")

    @property
    def lasts_s(self) -> float:
        """How long it holds; with `latency` and `skew`, seconds say how much instead."""
        return self.seconds if self.seconds and self.mode not in ("latency", "skew") else float("inf")

    def is_for(self, call: Call) -> bool:
        pairs = (
            (self.service, call.service),
            (self.action, call.action),
            (self.login, call.login.name),
            (self.region, call.region),
        )
        return all(wanted in ("", seen) for wanted, seen in pairs)


class Faults:
    """The rules that hold, and how often each call was made."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._calls: Counter[str] = Counter()
        self._changing = threading.Lock()

    def order(self, told: Any, now_s: float) -> int:
        """Add rules; give how many hold.

        A rule is `{mode, service?, action?, login?, region?, times?, after?, seconds?}`: `after` calls that
        it fits pass first, then it meets `times` of them (null: all). `seconds` is the delay of `latency` and
        the shift of `skew`; for every other mode it is how long the rule holds, `times` being null then.
        """
        rules = [Rule(**self._without_count(one), ordered_at=now_s) for one in _listed(told)]
        with self._changing:
            self._rules += rules
            return len(self._rules)

    def drop(self) -> None:
        with self._changing:
            self._rules.clear()

    def forget_calls(self) -> None:
        with self._changing:
            self._calls.clear()

    def calls(self) -> dict[str, int]:
        with self._changing:
            return dict(sorted(self._calls.items()))

    def meeting(self, call: Call, now_s: float) -> list[Rule]:
        """Count a call, and give what is to happen to it."""
        with self._changing:
            self._calls[call.name] += 1
            self._rules = [rule for rule in self._rules if now_s - rule.ordered_at < rule.lasts_s]
            met = []
            for rule in [rule for rule in self._rules if rule.is_for(call)]:
                rule.met += 1
                if rule.met > rule.after:
                    met.append(rule)
                if rule.times is not None and rule.met >= rule.after + rule.times:
                    self._rules.remove(rule)
            return met

    @staticmethod
    def _without_count(told: dict[str, Any]) -> dict[str, Any]:
        lasts = told.get("seconds") and told.get("mode") not in ("latency", "skew")
        return {"times": None} | told if lasts else told


def strike(mode: Mode, call: Call) -> None:
    """Let a fault happen.

    Raises:
        DroppedError: the connection is cut.
        RefusedCallError: the error that a service of AWS answers with.
    """
    if mode.endswith("drop"):
        raise DroppedError
    if mode in ("latency", "skew"):
        return
    raise _refusal(mode, call)


def _refusal(mode: Mode, call: Call) -> RefusedCallError:
    match mode:
        case "denied":
            return denied(call)
        case "expired":
            return expired(call.service)
        case "throttle":
            code, status = _throttled(call)
            return RefusedCallError(code, "Request limit exceeded.", status)
        case "capacity":
            return _no_capacity(call)
        case "503":
            return RefusedCallError("Unavailable", "The service is unavailable.", "503 Service Unavailable")
    code = "InternalError" if call.service in ("ec2", "s3") else "InternalFailure"
    return RefusedCallError(code, "An internal error has occurred", "500 Internal Server Error")


def _throttled(call: Call) -> tuple[str, str]:
    if call.service == "ec2":
        return "RequestLimitExceeded", "503 Service Unavailable"
    return ("ThrottlingException" if call.words == "json" else "Throttling"), "400 Bad Request"


def _no_capacity(call: Call) -> RefusedCallError:
    if call.service == "rds":
        message = "The requested DB instance class is not available in the specified Availability Zone."
        return RefusedCallError("InsufficientDBInstanceCapacity", message, "400 Bad Request")
    message = (
        "We currently do not have sufficient capacity in the Availability Zone you requested. "
        "Our system will be working on provisioning additional capacity."
    )
    return RefusedCallError("InsufficientInstanceCapacity", message, "500 Internal Server Error")


def _listed(told: Any) -> list[dict[str, Any]]:
    return told if isinstance(told, list) else [told]
