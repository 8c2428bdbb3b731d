"""The way into the simulated AWS: who asks, which faults meet the call, then tokens, then moto."""

import itertools
import json
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Protocol
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import moto.backends
from aws_access import (
    GLOBAL_SERVICES,
    Call,
    Login,
    RefusedCallError,
    Words,
    authenticate,
    identity,
    parameters_of,
    refused,
    scope_of,
    words_of,
)
from aws_changes import Changes
from aws_faults import AFTERWARDS, Faults, Rule, strike
from aws_policies import refuse_unless_allowed
from aws_tokens import Tokens
from moto.core.request import Request as MotoRequest
from moto.core.responses import get_service_router
from moto.moto_server.werkzeug_app import SIGNING_ALIASES, create_backend_app
from s3_access import Request
from tls_server import Answer, DroppedError, environ_of

CONTROL = "/_mainstay/"
READS = ("Describe", "Get", "List", "Lookup")
REST_SERVICES = {"route53", "backup", "s3", "s3control"}
S3_OF_ACCOUNTS = "/v20180820/"  # signed as S3; AWS knows it by the name it is asked at, which we have not
OTHER_NAMES = {"monitoring": "cloudwatch"}  # which moto finds by its host name


class Account(Protocol):
    """What the door needs of all that stands behind it."""

    regions: tuple[str, ...]
    changes: Changes
    tokens: Tokens

    def login_of(self, key_id: str) -> Login | None: ...
    def is_gone(self, content: bytes) -> bool: ...
    def touch(self) -> None: ...
    def reset(self) -> None: ...
    def plant(self, told: dict[str, Any]) -> None: ...


class Door:
    """Answers requests, one at a time where they change or read state."""

    def __init__(self, account: Account) -> None:
        self.account, self.faults = account, Faults()
        self._applications: dict[str, Callable[..., Any]] = {}
        self._numbers = itertools.count(1)
        self._needed: dict[str, None] = {}  # permissions of users with policies, in their order

    def respond(self, request: Request) -> Answer:
        """Answer a request, or say in the service's words why not."""
        if request.raw_path.startswith(CONTROL):
            return self._control(request)
        key_id, _, service = scope_of(request)
        try:
            return self._respond_to(self._call(request, key_id))
        except RefusedCallError as error:
            return self._refusal(error, words_of(request, service))

    def _call(self, request: Request, key_id: str) -> Call:
        _, region, service = scope_of(request)
        login = self.account.login_of(key_id)
        login = authenticate(request, {key_id: login} if login else {}, datetime.now(UTC))
        if service == "s3" and request.raw_path.startswith(S3_OF_ACCOUNTS):
            service = "s3control"
        if service not in GLOBAL_SERVICES and region not in self.account.regions:
            raise refused("UnrecognizedClientException", f"region {region} is not enabled here", service)
        parameters = parameters_of(request)
        action = _action_of(request, service, parameters)
        return Call(request, service, region, action, parameters, login)

    def _respond_to(self, call: Call) -> Answer:
        rules = self.faults.meeting(call, time.monotonic())
        for rule in rules:
            if rule.mode == "latency":
                time.sleep(rule.seconds)
        for rule in rules:
            if rule.mode not in AFTERWARDS:
                strike(rule.mode, call)
        self._needed.update(dict.fromkeys(refuse_unless_allowed(call)))
        if call.service == "ec2" and call.parameters.get("DryRun") == "true":
            message = "Request would have succeeded, but DryRun flag is set."
            raise RefusedCallError("DryRunOperation", message, "412 Precondition Failed")
        answer = self._carry_out(call)
        for rule in rules:
            if rule.mode in AFTERWARDS:
                strike(rule.mode, call)
        return _shifted(answer, rules)

    def _carry_out(self, call: Call) -> Answer:
        with self.account.changes.lock:
            self.account.changes.settle()
            if not call.action.startswith(READS):
                self.account.touch()
            return self.account.tokens.once(call, self._ask_moto, self.account.is_gone)

    def _ask_moto(self, call: Call) -> Answer:
        if call.name == "sts.GetCallerIdentity":
            return Answer.of_xml("200 OK", identity(call))
        environ = environ_of(call.request) | {"HTTP_X_MOTO_ACCOUNT_ID": call.login.account}
        try:
            return Answer.of_application(self._application(call.service), environ)
        except NotImplementedError as error:
            message = f"the simulator does not know {call.name}: {error}"
            raise RefusedCallError("SimulatorLacksThis", message, "501 Not Implemented") from error
        except DroppedError:
            raise
        except Exception as error:  # a fault of the simulator's own, which a client must not take for AWS's
            traceback.print_exc(file=sys.stderr)
            message = f"the simulator failed at {call.name}: {error!r}"
            raise RefusedCallError("SimulatorFailed", message, "501 Not Implemented") from error

    def _application(self, service: str) -> Callable[..., Any]:
        name = OTHER_NAMES.get(service) or SIGNING_ALIASES.get(service, service)
        if name not in self._applications:
            if name not in moto.backends.list_of_moto_modules():
                raise NotImplementedError(f"no service {service}")
            self._applications[name] = create_backend_app(name)
        return self._applications[name]

    def _refusal(self, error: RefusedCallError, words: Words) -> Answer:
        request_id = f"00000000-0000-4000-8000-{next(self._numbers):012d}"
        code, message = escape(error.code), escape(str(error))
        if words == "json":
            content = json.dumps({"__type": error.code, "message": str(error)})
            return Answer.of(error.status, content, "application/x-amz-json-1.1")
        if words == "ec2":
            inner = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
            xml = f"<Response>{inner}<RequestID>{request_id}</RequestID></Response>"
        elif words == "s3":
            xml = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        else:
            inner = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            xml = f"<ErrorResponse>{inner}<RequestId>{request_id}</RequestId></ErrorResponse>"
        return Answer.of_xml(error.status, xml)

    def _take_needed(self) -> list[str]:
        needed, self._needed = list(self._needed), {}
        return needed

    def _control(self, request: Request) -> Answer:
        """Answer tests and benches: faults, calls, pace, reset."""
        try:
            match request.method, request.raw_path.removeprefix(CONTROL):
                case "POST", "faults":
                    told: Any = {"rules": self.faults.order(json.loads(request.body), time.monotonic())}
                case "DELETE", "faults":
                    told = self.faults.drop()
                case "GET", ("calls" | "permissions") as what:
                    told = self.faults.calls() if what == "calls" else self._take_needed()
                case "DELETE", "calls":
                    told = self.faults.forget_calls()
                case "POST", "pace":
                    self.account.changes.takes_s = float(json.loads(request.body)["changes_take_s"])
                    told = None
                case "POST", "plant":
                    told = self.account.plant(json.loads(request.body))
                case "POST", "settle":
                    told = self.account.changes.hasten()
                case "POST", "reset":
                    self.faults.drop()
                    self.faults.forget_calls()
                    told = self.account.reset()
                case _:
                    return Answer.of("404 Not Found", '"no such request"', "application/json")
        except (KeyError, TypeError, ValueError) as error:
            return Answer.of("400 Bad Request", json.dumps(str(error)), "application/json")
        return Answer.of("200 OK", json.dumps(told), "application/json")


def _action_of(request: Request, service: str, parameters: dict[str, str]) -> str:
    """Name a call as AWS does, or by its method where that is not cheap to know."""
    if target := request.headers.get("x-amz-target", ""):
        return target.rpartition(".")[2]
    if "Action" in parameters:
        return parameters["Action"]
    if service in REST_SERVICES:
        try:
            operation, _ = get_service_router(service).match(MotoRequest(environ_of(request)))
            return str(operation.name)
        except Exception:  # whatever it is, moto says so itself
            return request.method
    return parse_qs(request.raw_query).get("Action", [request.method])[0]


def _shifted(answer: Answer, rules: list[Rule]) -> Answer:
    """Give an answer with the clock that a rule of `skew` orders."""
    shift_s = sum(rule.seconds for rule in rules if rule.mode == "skew")
    if not shift_s:
        return answer
    at = datetime.fromtimestamp(time.time() + shift_s, UTC)
    shifted = Answer()
    shifted.content = answer.content
    kept = [pair for pair in answer.headers if pair[0].lower() != "date"]
    shifted.start(answer.status, [*kept, ("Date", format_datetime(at, usegmt=True))])
    return shifted
