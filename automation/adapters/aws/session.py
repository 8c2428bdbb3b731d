"""One region of AWS as a step speaks to it: one session, and the one door through which it is asked.

A session is kept for the life of the process, one for each provider and login: making one costs 0.2 s of
processor time and 25 MiB, and a run has hundreds of steps. Making clients is not safe in threads, using them
is.
"""

import hashlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import create_loader

from automation.adapters.aws.faults import Refusal, in_words, read_refusal
from automation.model.environment import Environment
from automation.model.errors import AdapterError
from automation.model.providers import AwsProvider
from automation.model.records import Context
from automation.model.secrets import SecretRef
from automation.model.servers import Source
from automation.model.simulators import AwsSimulator

Shown = Mapping[str, Any]  # an answer of AWS, as boto3 gives it; it stays within this adapter
_ATTEMPTS = 5
_AT_ONCE = 32
_THROTTLED_FOR_S = 120.0  # a minute of it is common when another job of the account runs wild
_SETTLES_S = 15.0  # until EC2 shows what it has just made; its documents promise no number
_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0


class Region:
    """Speaks to one region by one login; whatever it is refused becomes an AdapterError."""

    def __init__(
        self, environment: Environment, provider: AwsProvider, login: Mapping[str, str], state: Path
    ) -> None:
        self.environment, self.provider = environment.name, provider
        simulator = _simulator_of(environment, provider)
        self.source: Source = "real" if simulator is None else "simulated"
        # What stands in one process shows at once what it did.
        self.settles_s = 0.0 if provider.endpoint else _SETTLES_S
        self.round_trips, self.clock_skew_s = 0, 0.0
        self._endpoint = _reached_at(provider, simulator)
        self._trusted = None if provider.ca is None else str(state / provider.ca)
        self._lock, self._login = threading.RLock(), login
        self._clients: dict[tuple[str, bool], Any] = {}
        self._session: Any = None
        self._source: Any = None
        self._account_is_right = False
        self.one_at_a_time = threading.Lock()

    # --- the door --------------------------------------------------------------------------------

    def read(self, call: str, what: str, **parameters: object) -> Shown:
        """Ask for something: `read("ec2.describe_vpcs", "VPCs could not be listed")`."""
        return self._patiently(call, what, parameters, changing=False, once=False)

    def find(self, call: str, what: str, absent: frozenset[str], **parameters: object) -> Shown | None:
        """Ask for something that need not be there: None when the answer is one of the codes for that."""
        try:
            return self.read(call, what, **parameters)
        except AdapterError as exc:
            if isinstance(exc.__cause__, ClientError) and read_refusal(exc.__cause__).code in absent:
                return None
            raise

    def pages(
        self, call: str, key: str, what: str, *, page: int = 1000, **parameters: object
    ) -> Iterator[Shown]:
        """List what stands below a key of every page; `page` is the most that AWS gives of that kind."""
        more: dict[str, object] = {}
        while True:
            answer = self.read(call, what, MaxResults=page, **parameters, **more)
            yield from answer.get(key, ())
            if not answer.get("NextToken"):
                return
            more = {"NextToken": answer["NextToken"]}

    def change(self, call: str, what: str, *, once: bool = False, **parameters: object) -> Shown:
        """Change something, in the account that the environment names and in no other.

        Args:
            once: without a token of its own the call is not safe to repeat, so botocore does not; a lost
                answer is then an error that says `unknown`, and the caller looks what became of it.
        """
        self.require_account()
        return self._patiently(call, what, parameters, changing=True, once=once)

    def refusal_of(self, call: str, **parameters: object) -> Refusal | None:
        """Ask whether a call would be allowed (DryRun); None when it would."""
        try:
            self._call(call, {**parameters, "DryRun": True}, once=False)
        except (BotoCoreError, ClientError) as exc:
            refusal = read_refusal(exc)
            return None if refusal.code == "DryRunOperation" else refusal
        return None

    def own_key(self) -> str:
        """Name the access key that we log in by, or by which we take our role; empty: it has no name."""
        self.require_account()
        return "" if self._source is None else str(self._source.access_key)

    def require_account(self) -> None:
        """Refuse any account but the one that is declared; asks once."""
        with self._lock:
            if self._account_is_right:
                return
            found = str(
                self.read("sts.get_caller_identity", "who we are could not be asked").get("Account", "")
            )
            if found != self.provider.account:
                raise AdapterError(
                    f"the login of region {self.provider.region} is of account {found}, declared is "
                    f"{self.provider.account}; nothing was changed",
                    hint="correct providers: account or login in environment.yml, then "
                    f"./inv provision.plan --env {self.environment}",
                )
            self._account_is_right = True

    def settled(self, least_s: float = 0.0) -> Iterator[None]:
        """Pause and go on, until what was made just now is certain to be shown."""
        deadline, pause_s = time.monotonic() + max(self.settles_s, least_s), _PAUSE_S
        yield
        while time.monotonic() < deadline:
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            yield

    # --- behind it -------------------------------------------------------------------------------

    def _patiently(
        self, call: str, what: str, parameters: Mapping[str, object], *, changing: bool, once: bool
    ) -> Shown:
        """Call, and call again for as long as AWS only says that we ask too often."""
        deadline, pause_s = time.monotonic() + _THROTTLED_FOR_S, _PAUSE_S
        while True:
            try:
                return self._call(call, parameters, once=once)
            except (BotoCoreError, ClientError) as exc:
                refusal = read_refusal(exc)
                if refusal.kind != "throttled" or time.monotonic() > deadline:
                    subject = f"{what} ({self.provider.region}, {call})"
                    raise in_words(refusal, subject, self.environment, changing=changing) from exc
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _call(self, call: str, parameters: Mapping[str, object], *, once: bool) -> Shown:
        service, _, name = call.partition(".")
        answer: Shown = getattr(self._client(service, once=once), name)(**parameters)
        return answer

    def _client(self, service: str, *, once: bool) -> Any:
        with self._lock:
            if (service, once) not in self._clients:
                client = self._open().client(
                    service, config=_config(once=once, endpoint=self._endpoint), **self._where()
                )
                client.meta.events.register("before-send", self._count)
                if self._endpoint:
                    client.meta.events.register("before-call", _at_one_name)
                client.meta.events.register("response-received", self._compare_clocks)
                self._clients[service, once] = client
            return self._clients[service, once]

    def _where(self) -> dict[str, object]:
        return {
            "region_name": self.provider.region,
            "endpoint_url": self._endpoint or None,
            "verify": True if self._trusted is None else self._trusted,
        }

    def _open(self) -> Any:
        if self._session is None:
            core = botocore.session.get_session()
            core.register_component("data_loader", _models())
            session = boto3.session.Session(
                botocore_session=core,
                aws_access_key_id=self._login.get("AWS_ACCESS_KEY_ID"),
                aws_secret_access_key=self._login.get("AWS_SECRET_ACCESS_KEY"),
                aws_session_token=self._login.get("AWS_SESSION_TOKEN"),
                profile_name=None if self._login else self.provider.profile or None,
                region_name=self.provider.region,
            )
            self._source = session.get_credentials()
            if self.provider.role:
                self._take_role(session)
            self._session = session
        return self._session

    def _take_role(self, session: Any) -> None:
        """Act by the role, renewed by botocore before it ends."""

        def client(service: str, **login: object) -> Any:
            config = _config(once=False, endpoint=self._endpoint)
            return session.client(service, config=config, **{**login, **self._where()})

        fetcher = AssumeRoleCredentialFetcher(
            client_creator=client,
            source_credentials=session.get_credentials(),
            role_arn=self.provider.role,
            extra_args={"RoleSessionName": f"mainstay-{self.environment}"[:64]},
        )
        taken = DeferredRefreshableCredentials(refresh_using=fetcher.fetch_credentials, method="assume-role")
        session._session._credentials = taken  # boto3 has no other way to hand it in

    def _count(self, **_more: object) -> None:
        with self._lock:
            self.round_trips += 1

    def _compare_clocks(self, response_dict: Shown | None, **_more: object) -> None:
        if response_dict is None:  # the answer was lost
            return
        headers = {str(name).lower(): value for name, value in response_dict.get("headers", {}).items()}
        with suppress(TypeError, ValueError):
            self.clock_skew_s = skew_s(parsedate_to_datetime(headers.get("date", "")), datetime.now(UTC))


def skew_s(theirs: datetime, ours: datetime) -> float:
    """Say by how much their clock is surely ahead of ours; a Date header has whole seconds. Pure."""
    ahead = (theirs - ours).total_seconds()
    return ahead if ahead > 0 else min(0.0, ahead + 1.0)


def region_of(ctx: Context, site: str) -> Region:
    """Give the region that is a site, as a step of a run uses it."""
    provider = aws_provider(ctx.environment, site)
    return _kept(ctx.environment, provider, _lines(ctx, provider), ctx.state)


def region_named(ctx: Context, provider: AwsProvider, region: str) -> Region:
    """Give another region of a provider's account, by the same login."""
    there = provider.model_copy(update={"region": region, "availability_zone": ""})
    return _kept(ctx.environment, there, _lines(ctx, provider), ctx.state)


def region_seen(environment: Environment, site: str, state: Path) -> Region:
    """Give the region that is a site to one who reads outside of a run."""
    provider = aws_provider(environment, site)
    login = {} if provider.login is None else parse_login(_read_secret(provider.login, state))
    return _kept(environment, provider, login, state)


def aws_provider(environment: Environment, site: str) -> AwsProvider:
    """Give the provider of a site.

    Raises:
        ConfigError: environment.yml names none there.
    """
    found = environment.provider("aws", site)
    if not isinstance(found, AwsProvider):
        raise AdapterError(f"the provider of {site} is not AWS; nothing was changed")
    return found


def parse_login(text: str) -> Mapping[str, str]:
    """Read lines NAME=value, as a shell would. Pure."""
    named = (line.partition("=") for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {
        name.strip().removeprefix("export "): value.strip().strip("'\"") for name, _, value in named if value
    }


def _lines(ctx: Context, provider: AwsProvider) -> Mapping[str, str]:
    return {} if provider.login is None else parse_login(ctx.secret(provider.login))


def _read_secret(ref: SecretRef, state: Path) -> str:
    try:
        return os.environ[ref.env] if ref.env is not None else (state / str(ref.file)).read_text()
    except (KeyError, OSError) as exc:
        named = ref.model_dump(exclude_none=True)
        raise AdapterError(f"secret {named} cannot be read; nothing was changed") from exc


_KEPT: dict[tuple[str, str], Region] = {}
_KEEPING = threading.Lock()


def _kept(environment: Environment, provider: AwsProvider, login: Mapping[str, str], state: Path) -> Region:
    """Give the session of a provider and login; another login or declaration is another session."""
    said = f"{provider.model_dump_json()} {sorted(login.items())} {state}"
    key = (environment.name, hashlib.sha256(said.encode()).hexdigest())
    with _KEEPING:
        if key not in _KEPT:
            _KEPT[key] = Region(environment, provider, login, state)
        return _KEPT[key]


@cache
def _models() -> Any:
    """Give what botocore knows of services, read once for all sessions: most of what one costs."""
    return create_loader()


def forget_sessions() -> None:
    """Open every session anew: a process that was forked must not speak over the sockets of its parent."""
    with _KEEPING:
        _KEPT.clear()


def _config(*, once: bool, endpoint: str) -> Config:
    return Config(
        retries={"mode": "adaptive", "total_max_attempts": 1 if once else _ATTEMPTS},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=_AT_ONCE,
        user_agent_extra="mainstay",
        # A proxy of this machine is for the world; a simulator on it has one name for all buckets.
        proxies={} if endpoint else None,
        s3={"addressing_style": "path"} if endpoint else None,
    )


def _at_one_name(params: dict[str, Any], **_more: object) -> None:
    """Ask a simulator at its own name, where AWS has one for each account."""
    where = urlsplit(params["url"])
    account, _, name = where.netloc.partition(".")
    if account.isdigit() and len(account) == 12 and name:
        params["url"] = where._replace(netloc=name).geturl()


def _simulator_of(environment: Environment, provider: AwsProvider) -> AwsSimulator | None:
    host = urlsplit(provider.endpoint).hostname or ""
    known = environment.lab.simulators.values() if environment.lab else ()
    ours = (one for one in known if isinstance(one, AwsSimulator))
    return next((one for one in ours if host and host in (one.name, *one.places.values())), None)


def _reached_at(provider: AwsProvider, simulator: AwsSimulator | None) -> str:
    """Where the control node reaches it, which does not ask the lab's DNS for a simulator's name."""
    place = None if simulator is None else simulator.regions.get(provider.region)
    if simulator is None or place is None:
        return provider.endpoint
    return provider.endpoint.replace(simulator.name, place.address, 1)
