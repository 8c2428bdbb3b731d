"""One account of AWS as a step speaks to it: every region that is on, by one login."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TypeVar

from botocore.exceptions import BotoCoreError

from automation.adapters.aws.marks import token
from automation.adapters.aws.session import Region, Shown, region_named
from automation.model.errors import AdapterError, ConfigError
from automation.model.providers import AwsProvider
from automation.model.records import Context
from automation.model.servers import Source

_AT_ONCE = 8  # regions, users or buckets that are asked at the same time
_PAGE = 100
Found = TypeVar("Found")
Thing = TypeVar("Thing")


class Account:
    """An account, asked through those providers of environment.yml that are of it."""

    def __init__(self, ctx: Context, providers: tuple[AwsProvider, ...]) -> None:
        self._ctx, self._providers = ctx, providers
        self.id = providers[0].account
        self.home = self.region(providers[0].region)

    @property
    def source(self) -> Source:
        return self.home.source

    @property
    def partition(self) -> str:
        starts = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
        name = self.home.provider.region
        return next((one for start, one in starts.items() if name.startswith(start)), "aws")

    @property
    def logins(self) -> tuple[Region, ...]:
        """Every region that environment.yml names of it, each by its own login."""
        return tuple(region_named(self._ctx, one, one.region) for one in self._providers)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every region that is on, by name, as EC2 lists them."""
        answer = self.home.read("ec2.describe_regions", f"regions of account {self.id} could not be listed")
        return tuple(sorted(one["RegionName"] for one in answer["Regions"]))

    def region(self, name: str) -> Region:
        """Give one region, by the provider that is declared for it, else by the first."""
        own = next((one for one in self._providers if one.region == name), self._providers[0])
        return region_named(self._ctx, own, name)

    def each(self, things: Sequence[Thing], ask: Callable[[Thing], Found]) -> list[Found]:
        """Ask for each of many things, several at the same time; in their order."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(ask, things))

    def in_each(self, ask: Callable[[Region], Found]) -> dict[str, Found]:
        """Ask every region that is on, several at the same time."""
        regions = [self.region(name) for name in self.names]
        return dict(zip(self.names, self.each(regions, ask), strict=True))

    def find(self, found_in: Callable[[Region], Shown | None]) -> tuple[Region, Shown] | None:
        """Find the region that has something, and what it shows of it; None: no region has it.

        Raises:
            AdapterError: one could not be asked.
        """
        for name, shown in self.in_each(found_in).items():
            if shown is not None:
                return self.region(name), shown
        return None

    def where(self, what: str, found_in: Callable[[Region], Shown | None]) -> tuple[Region, Shown]:
        """Find what has to be there.

        Raises:
            AdapterError: no region has it, or one could not be asked.
        """
        found = self.find(found_in)
        if found is None:
            raise AdapterError(
                f"{what} is in no region of account {self.id}; nothing was changed by this call",
                hint=f"plan anew from what is there: ./inv baseline.plan --env {self._ctx.environment.name}",
            )
        return found

    def token(self, name: str) -> str:
        """Make a call that this step repeats the same call."""
        return token(self._ctx.run_id, self._ctx.step_id, name)

    @property
    def run_id(self) -> str:
        return self._ctx.run_id

    def region_of_arn(self, arn: str) -> Region:
        """Give the region that an ARN names.

        Raises:
            AdapterError: it is of another account, or names no region that is on.
        """
        parts = arn.split(":", 5)
        if len(parts) < 6 or parts[4] not in ("", self.id) or parts[3] not in self.names:
            raise AdapterError(f"{arn} is not in account {self.id}; nothing was changed by this call")
        return self.region(parts[3])


def account_of(ctx: Context, account: str) -> Account:
    """Give an account, after the login was seen to be of it.

    Raises:
        ConfigError: no provider of environment.yml is of it.
        AdapterError: the login is of another account, or AWS cannot be asked.
    """
    every = ctx.environment.providers.values()
    ours = tuple(one for one in every if isinstance(one, AwsProvider) and one.account == account)
    if not ours:
        raise ConfigError(
            f"environment.yml names no provider of AWS account {account}; nothing was touched",
            hint="providers: kind: aws, account: of one of its regions",
        )
    away: AdapterError | None = None
    for first in ours:
        found = Account(ctx, (first, *(one for one in ours if one is not first)))
        try:
            found.home.require_account()
        except AdapterError as exc:
            if not no_answer(exc):
                raise
            away = exc  # a site that is lost may be a region; the others know the account as well
        else:
            return found
    raise away or AdapterError(f"AWS account {account} has no region")


def no_answer(exc: AdapterError) -> bool:
    """Whether AWS did not answer at all, be it to refuse."""
    return isinstance(exc.__cause__, BotoCoreError)


def understood(ask: Callable[[], Found]) -> Found:
    """Ask; an answer in a form that AWS does not document is an error as any other, and no fact.

    Raises:
        AdapterError: so it was.
    """
    try:
        return ask()
    except (LookupError, TypeError, ValueError, AttributeError) as exc:
        raise AdapterError(f"AWS answered in a form that is not known: {exc!r}; nothing was changed") from exc


def by_marker(
    region: Region, call: str, key: str, what: str, parameters: Mapping[str, object] | None = None
) -> Iterator[Shown]:
    """List what IAM and RDS give by the page."""
    more: dict[str, object] = {}
    while True:
        answer = region.read(call, what, **(parameters or {}), **more)
        yield from answer.get(key) or ()
        if not answer.get("Marker"):
            return
        more = {"Marker": answer["Marker"]}


def by_token(
    region: Region, call: str, key: str, what: str, parameters: Mapping[str, object] | None = None
) -> Iterator[Shown]:
    """List what AWS Backup gives by the page."""
    yield from region.pages(call, key, what, page=_PAGE, **(parameters or {}))
