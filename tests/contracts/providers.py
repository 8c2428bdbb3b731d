"""What every provider of servers must keep to: a city on one of them, and what is really there afterwards.

A `Cloud` is a provider that runs: a simulator, or a real one. What it says of itself (`look`) is never taken
for what is there: `Census` is counted apart from the adapter.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from automation.adapters.ansible.inventory import parse_inventory
from automation.commands._providers import Around, look_around
from automation.commands._session import Session
from automation.engine.context import RunContext
from automation.engine.finished import Finished
from automation.engine.journal import read_journal
from automation.model.environment import load_environment
from automation.model.errors import AdapterError
from automation.model.machine_evidence import ProviderChange
from automation.model.plan import Plan
from automation.model.records import Event, GateAnswered, StepEnded
from automation.model.servers import Size
from automation.provisioning.compiling import Allowed
from automation.provisioning.composing import Wanted, compose

_NUMBERS = count(1)
NOTHING_NAMED = Allowed()
HOSTS = "hosts.json"


class Census(NamedTuple):
    """What bears an environment's mark at a provider, counted by other means than the adapter's."""

    servers: tuple[str, ...]
    disks: int
    networks: int
    snapshots: int = 0


class Change(NamedTuple):
    """What of a server is declared anew, and how far that reaches."""

    before: Mapping[str, object]
    after: Mapping[str, object]
    restarting: frozenset[str]
    replacing: Mapping[str, object]

    def size(self) -> Size:
        """Give the size that it has in the end."""
        told = self.after["size"]
        return Size.model_validate({"type": told} if isinstance(told, str) else told)

    def more_disks(self) -> int:
        """Give how many disks are declared beside those that were."""
        many = [len(list(one.get("disks", ()))) for one in (self.before, self.after)]  # type: ignore[call-overload]
        return many[1] - many[0]


DISK = {"name": "data", "size": "10 GiB"}
GROWN = {"disks": [{**DISK, "size": "12 GiB"}, {"name": "more", "size": "1 GiB"}], "tags": {"team": "sea"}}


def change_of_cloud(larger: object, *restarting: str) -> Change:
    """Give the change of a server at AWS or vSphere: disks and tags in place, its size with a restart."""
    return Change(
        before={"disks": [DISK], "tags": {"team": "web"}},
        after={**GROWN, "size": larger},
        restarting=frozenset(restarting),
        replacing={"disks": [{**DISK, "size": "2 GiB"}], "tags": {"team": "web"}},
    )


@dataclass(frozen=True)
class Cloud:
    """One provider that runs, and how its city is declared."""

    kind: str
    provider: Mapping[str, object]
    simulator: Mapping[str, object]
    keys: Mapping[str, Path]
    network: Mapping[str, object]
    size: object
    image: str
    change: Change
    census: Callable[[str], Census]
    size_of: Callable[[str], Size]
    # What tells one server from the next of its name, which may have the same id.
    identity_of: Callable[[str], str]
    make_stranger: Callable[[str, str], str]
    stop: Callable[[str], None]
    faults: Callable[..., None]
    no_faults: Callable[[], None]
    calls: Callable[[], dict[str, int]]
    lost: Sequence[Mapping[str, object]] = ()


@dataclass
class City:
    """An environment of one cloud, in a folder of its own."""

    cloud: Cloud
    root: Path
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    networks: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name = self.named()
        self.site = "here"
        self.state = self.root / "state" / self.name
        self.folder = self.root / "inventories" / self.name
        self.folder.mkdir(parents=True)
        for name, path in self.cloud.keys.items():
            copy = self.state / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
        self.one, self.two, self.network = (f"{self.name}-{what}" for what in ("one", "two", "app"))
        if self.cloud.network:
            self.networks[self.network] = {
                "provider": self.cloud.kind,
                "site": self.site,
                **self.cloud.network,
            }
        self._write("environment.yml", self._environment())

    def named(self) -> str:
        """Give its environment a name that no other city of this process has."""
        return f"city{next(_NUMBERS)}"

    def _write(self, name: str, content: object) -> None:
        (self.folder / name).write_text(yaml.safe_dump(content))

    def _environment(self) -> dict[str, object]:
        return {
            "kind": "lab",
            "inventory": ["hosts.yml"],
            "automation_user": "ops",
            "witness": {"host": "client-1"},
            "dns": {"zone": "city.lab", "key_name": "k", "key": {"file": "secrets/tsig"}},
            "lab": {
                "id": "none",
                "prefix": "127.0.0.0/16",
                "control_subnet": "127.0.0.0/24",
                "sites": {self.site: "127.0.1.0/24"},
                "simulators": {"cloud": {**self.cloud.simulator}},
            },
            "providers": {"cloud": {**self.cloud.provider, "site": self.site}},
        }

    def declare(self, name: str, **more: object) -> None:
        """Declare a server, or declare it anew."""
        self.hosts[name] = {
            "server_provider": self.cloud.kind,
            "server_site": self.site,
            "server_image": self.cloud.image,
            "server_size": self.cloud.size,
            "server_networks": [self.network],
            **{f"server_{key}": value for key, value in more.items()},
        }

    def session(self) -> Session:
        """Open the environment as a command would, without connections to hosts."""
        self._write("networks.yml", {"networks": self.networks})
        (self.folder / HOSTS).write_text(json.dumps(self.hosts))
        return open_city(self.root, self.name)

    def look(self) -> Around:
        return look_around(self.session(), None)

    def plan(self, allowed: Allowed = NOTHING_NAMED) -> Wanted:
        """Look, and plan; changes nothing."""
        return plan_city(self.session(), allowed)

    def apply(self, allowed: Allowed = NOTHING_NAMED) -> Finished | None:
        """Plan and run; None where nothing is to do."""
        wanted = self.plan(allowed)
        assert wanted.obstacles == ()
        if not wanted.plan.steps:
            return None
        finished = self.session().run(wanted.plan)
        finished.raise_for_status()
        return finished

    def apply_patiently(self, attempts: int = 6) -> int:
        """Apply and resume, as a person would, until nothing is to do; give the runs that it took."""
        for number in range(1, attempts + 1):
            wanted = self.plan()
            if not (wanted.plan.steps or wanted.unseen):
                return number - 1
            if wanted.plan.steps:
                self.run_patiently(wanted.plan)
        raise AssertionError(
            f"after {attempts} runs there is still something to do: {self.plan().plan.steps}"
        )

    def run_patiently(self, plan: Plan, resumes: int = 3) -> Finished:
        """Run a plan, and resume it as long as it stops."""
        session = self.session()
        finished = session.run(plan)
        for _ in range(resumes):
            if finished.closed.status == "succeeded":
                break
            finished = session.resume(finished.folder.name)
        return finished

    def say_yes(self, run_id: str, step: str) -> Finished:
        """Answer a run's gate, as a person at a terminal does."""
        answer = GateAnswered(step=step, answer="yes", by="tester")
        return self.session().resume(run_id, [answer])

    def runs(self) -> list[str]:
        """Name every run, in the order in which they began."""
        found = {path.parent.name: path for path in self.state.glob("runs/*/journal.jsonl")}
        first = {name: next(iter(read_journal(path)), None) for name, path in found.items()}
        began = {name: event.at for name, event in first.items() if event is not None}
        return sorted(began, key=began.__getitem__)

    def events(self) -> list[Event]:
        """Every event of every run."""
        return [
            event
            for run in self.runs()
            for event in read_journal(self.state / "runs" / run / "journal.jsonl")
        ]

    def recorded(self) -> Census:
        """What the journals say is there: the sum of all that steps made, less what they removed."""
        servers: dict[str, dict[str, str]] = {}
        networks: dict[str, dict[str, str]] = {}
        snapshots: set[str] = set()
        for event in self.events():
            outcome = event.body.outcome if isinstance(event.body, StepEnded) else None
            evidence = outcome.evidence if outcome else None
            if isinstance(evidence, ProviderChange):
                kept = servers if evidence.what == "server" else networks
                told = {id_ for part, id_ in evidence.ids.items() if part.startswith("snapshot:")}
                if evidence.what == "snapshots":
                    snapshots -= told
                    continue
                snapshots |= told
                if evidence.verb == "deleted":
                    kept.pop(evidence.name, None)
                else:
                    kept.setdefault(evidence.name, {}).update(evidence.ids)
        disks = sum(part.startswith("disk:") for ids in servers.values() for part in ids)
        ids = tuple(sorted(ids["server"] for ids in servers.values()))
        return Census(ids, disks, len(networks), len(snapshots))

    def census(self) -> Census:
        """What is there."""
        return self.cloud.census(self.name)


def open_city(root: Path, name: str) -> Session:
    """Open a city's environment as it was written down, in this process or another."""
    environment, state = load_environment(root, name), root / "state" / name
    hosts = json.loads((environment.folder / HOSTS).read_text())
    inventory = parse_inventory({"all": {"hosts": list(hosts)}, "_meta": {"hostvars": hosts}})

    def context(run_id: str) -> RunContext:
        return RunContext(
            run_id=run_id,
            environment=environment,
            inventory=inventory,
            state=state,
            images=state,
            artifacts=state / "runs" / run_id / "artifacts",
            connections=_Nobody(),
            progress=lambda step, text: None,
        )

    return Session(environment, inventory, state, state, _Nobody().remote, context, _silent)


def plan_city(session: Session, allowed: Allowed = NOTHING_NAMED) -> Wanted:
    """Look at a city's provider, and plan; changes nothing."""
    around = look_around(session, None)
    return compose(session.environment, around.declared, None, around.seen, allowed)


class _Nobody:
    """No host answers: none stands behind a simulated server here."""

    def remote(self, host: str) -> Any:
        raise AdapterError(f"no host stands behind {host} here")

    def terminal(self, *args: object) -> Any:
        raise AdapterError("no host stands behind anything here")

    def close(self) -> None:
        pass


def _silent(text: str) -> None:
    del text
