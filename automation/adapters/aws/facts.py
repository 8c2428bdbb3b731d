"""Facts of an account of AWS, as its controls ask for them: every region that is on, every section by itself.

A section of which anything was denied or lost is not told at all, and says why: what was not seen is no pass
and no failure. A region that gave no answer to anything is named in `all_regions`, and what the others said
is told all the same.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from pydantic import JsonValue

from automation.adapters.aws import (
    facts_backup,
    facts_iam,
    facts_logs,
    facts_network,
    facts_stores,
)
from automation.adapters.aws.account import Account, account_of, no_answer, understood
from automation.adapters.aws.session import Region
from automation.model.actions import CollectAccountFacts
from automation.model.errors import AdapterError
from automation.model.facts import Facts
from automation.model.kept_facts import keep_facts
from automation.model.records import Context, Outcome

_OF_PARTS = ("iam", "s3", "flow_logs")
_REASON = 300  # letters of why something is not known


class Answers(NamedTuple):
    """What one region said to each question, and to which it said nothing."""

    told: Mapping[str, list[object]]
    refused: Mapping[str, str]


class Seen(NamedTuple):
    """What all regions said together."""

    told: dict[str, list[object]]
    unknown: dict[str, str]  # question to why
    lost: dict[str, str]  # region to why


def collect_facts(action: CollectAccountFacts, ctx: Context) -> Outcome:
    """Collect the facts of an account and keep them.

    Raises:
        AdapterError: the login is of another account, or its regions cannot be listed.
    """
    account = account_of(ctx, action.account)
    facts = read_account(account, datetime.now(UTC))
    evidence = keep_facts(facts, ctx.artifacts)
    missing = f", {len(facts.unknown)} not known" if facts.unknown else ""
    regions = f"{len(account.names)} regions"
    return Outcome(
        changed=False,
        summary=f"AWS account {account.id}: {len(facts.sections)} sections of {regions}{missing}",
        evidence=evidence,
    )


def read_account(account: Account, now: datetime) -> Facts:
    """Read all that controls ask for, part by part."""
    gathered = _Gathered()
    seen = _merged(account.in_each(_ask))
    gathered.ask("iam/root", lambda: facts_iam.root(account))
    gathered.ask("iam/password_rules", lambda: facts_iam.password_rules(account))
    gathered.ask("iam/users", lambda: facts_iam.users(account, now))
    gathered.ask("iam/policies", lambda: facts_iam.policies(account))
    gathered.ask("s3/account_block", lambda: facts_stores.account_block(account))
    _add_buckets(gathered, account)
    for question, part in _PARTS.items():
        gathered.take(part, question, seen)
    _add_logs(gathered, seen, account)
    if seen.lost:
        gathered.unknown["all_regions"] = _short("; ".join(f"{one}: {why}" for one, why in seen.lost.items()))
    else:
        gathered.told["all_regions"] = True
    return Facts(
        subject=account.id,
        platform="aws",
        collected_at=now,
        source=account.source,
        sections=gathered.sections(),
        unknown=gathered.unknown,
    )


class _Gathered:
    """Parts of facts as they come, `section/part` or `section`, and those that did not."""

    def __init__(self) -> None:
        self.told: dict[str, JsonValue] = {}
        self.unknown: dict[str, str] = {}

    def ask(self, part: str, question: Callable[[], JsonValue]) -> None:
        """Ask for a part; what is refused is not known."""
        try:
            self.told[part] = understood(question)
        except AdapterError as exc:
            self.unknown[_name_of(part)] = _short(str(exc))

    def take(self, part: str, question: str, seen: Seen) -> None:
        """Take a part from what all regions said."""
        if question in seen.unknown:
            self.unknown[_name_of(part)] = _short(seen.unknown[question])
        else:
            self.ask(part, lambda: _TOGETHER.get(question, _as_listed)(seen.told[question]))

    def sections(self) -> dict[str, JsonValue]:
        """Give the parts as sections."""
        found: dict[str, JsonValue] = {}
        for part, value in self.told.items():
            section, _, inside = part.partition("/")
            held = found.setdefault(section, {}) if inside else None
            if isinstance(held, dict):
                held[inside] = value
            else:
                found[section] = value
        return found


def _ask(region: Region) -> Answers:
    told: dict[str, list[object]] = {}
    refused: dict[str, str] = {}
    for question, ask in _QUESTIONS.items():
        try:
            told[question] = understood(partial(ask, region))
        except AdapterError as exc:
            refused[question] = str(exc)
            if not told and no_answer(exc):  # nor will it to the others, each after minutes
                return Answers({}, dict.fromkeys(_QUESTIONS, str(exc)))
    return Answers(told, refused)


def _merged(answers: Mapping[str, Answers]) -> Seen:
    """Put together what regions said; a question that one of them refused is not known."""
    lost = {name: next(iter(one.refused.values())) for name, one in answers.items() if not one.told}
    told: dict[str, list[object]] = {question: [] for question in _QUESTIONS}
    unknown: dict[str, str] = {}
    for name, one in answers.items():
        for question in _QUESTIONS:
            told[question] += one.told.get(question, ())
            is_needed = name not in lost or question in _WHOLE or len(lost) == len(answers)
            if question in one.refused and is_needed:
                unknown.setdefault(question, one.refused[question])
    return Seen(told, unknown, lost)


def _add_buckets(gathered: _Gathered, account: Account) -> None:
    try:
        found, problems = understood(lambda: facts_stores.buckets(account))
    except AdapterError as exc:
        gathered.unknown[_name_of("s3/buckets")] = gathered.unknown["all_buckets"] = _short(str(exc))
        return
    gathered.told["s3/buckets"] = found
    if problems:
        gathered.unknown["all_buckets"] = _short("; ".join(problems))
    else:
        gathered.told["all_buckets"] = True


def _add_logs(gathered: _Gathered, seen: Seen, account: Account) -> None:
    """Add trails, and for how long what they and networks write is kept; each trail is asked by itself."""
    trails = [one for one in seen.told["trails"] if isinstance(one, dict)]
    logs = [one for one in seen.told["flow_logs"] if isinstance(one, dict)]
    if "trails" in seen.unknown:
        gathered.unknown["cloudtrail"] = _short(seen.unknown["trails"])
    else:
        gathered.ask("cloudtrail/trails", lambda: facts_logs.trail_facts(account, trails))
    for question in ("trails", "flow_logs"):
        if question in seen.unknown:
            gathered.unknown[_name_of("flow_logs/stores")] = _short(seen.unknown[question])
            return
    stores = facts_logs.stores_of(logs, trails, account)
    gathered.ask("flow_logs/stores", lambda: facts_logs.store_facts(account, stores))


def _as_listed(rows: list[object]) -> JsonValue:
    return [row for row in rows if isinstance(row, dict)]


def _as_protected(rows: list[object]) -> JsonValue:
    return facts_backup.protected(
        row for row in rows if isinstance(row, facts_backup.Kept | facts_backup.Copied)
    )


def _name_of(part: str) -> str:
    """Name what is not known: a whole section, or its part where the others of it are told."""
    section = part.partition("/")[0]
    return part.replace("/", ".") if section in _OF_PARTS else section


def _short(words: str) -> str:
    return words if len(words) <= _REASON else f"{words[:_REASON]} ..."


_QUESTIONS: Mapping[str, Callable[[Region], list[object]]] = {
    "encryption": lambda region: list(facts_stores.encryption(region)),
    "databases": lambda region: list(facts_stores.databases(region)),
    "public": lambda region: list(facts_stores.public_snapshots(region)),
    "groups": lambda region: list(facts_network.security_groups(region)),
    "servers": lambda region: list(facts_network.servers(region)),
    "trails": lambda region: list(facts_logs.trails(region)),
    "networks": lambda region: list(facts_logs.networks(region)),
    "flow_logs": lambda region: [
        {**one, "Region": region.provider.region} for one in facts_logs.flow_logs(region)
    ],
    "points": lambda region: list(facts_backup.points(region)),
}
_PARTS: Mapping[str, str] = {
    "encryption": "ec2/regions",
    "databases": "rds/instances",
    "public": "snapshots/public",
    "groups": "security_groups",
    "servers": "servers",
    "networks": "flow_logs/networks",
    "points": "backup/protected",
}
_WHOLE = ("points",)  # the copy that would be the right one may lie in the region that says nothing
_TOGETHER: Mapping[str, Callable[[list[object]], JsonValue]] = {"points": _as_protected}
