"""Client tokens of the simulated AWS: the same call under the same token is carried out once."""

import hashlib
import json
from collections.abc import Callable

from aws_access import Call, RefusedCallError
from tls_server import Answer

TOKENS = ("ClientToken", "clientToken", "ClientRequestToken")


class Tokens:
    """What was answered under which token; moto itself ignores them.

    The caller holds the lock of all state, so that two calls under one token come one after the other.
    """

    def __init__(self) -> None:
        self.answers: dict[tuple[str, ...], tuple[str, Answer]] = {}

    def once(
        self, call: Call, carry_out: Callable[[Call], Answer], is_gone: Callable[[bytes], bool]
    ) -> Answer:
        """Carry a call out, or give what was answered to its like.

        Args:
            is_gone: whether what an answer tells of was terminated since.

        Raises:
            RefusedCallError: the token was used for another call, or for what is gone.

        Source: "Ensuring idempotency in Amazon EC2 API requests" of the EC2 developer guide.
        """
        token = next((call.parameters[name] for name in TOKENS if call.parameters.get(name)), "")
        if not token:
            return carry_out(call)
        key = (call.login.account, call.region, call.service, call.action, token)
        digest = _digest(call)
        if key not in self.answers:
            answer = carry_out(call)
            if answer.code < 300:
                self.answers[key] = (digest, answer)
            return answer
        known, answer = self.answers[key]
        if known != digest:
            raise _mismatch()
        if is_gone(answer.content):
            message = "The client token was used for an instance that has been terminated."
            raise RefusedCallError("IdempotentInstanceTerminated", message, "400 Bad Request")
        return answer


def _mismatch() -> RefusedCallError:
    message = "The request uses the same client token as a previous, but non-identical request."
    return RefusedCallError("IdempotentParameterMismatch", message, "400 Bad Request")


def _digest(call: Call) -> str:
    """Tell calls apart by their parameters, in any order, or by their body."""
    if call.words == "json":
        return hashlib.sha256(call.request.body).hexdigest()
    return hashlib.sha256(json.dumps(sorted(call.parameters.items())).encode()).hexdigest()
