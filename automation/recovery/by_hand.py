"""A step done by hand: the exact commands, and what a person sees when it is done. Pure.

For the day when Mainstay itself is down: nothing here needs more than ssh, psql, dig and nsupdate.
"""

import shlex
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from automation.model.actions import (
    AcceptLag,
    AwaitGood,
    AwaitReady,
    BaseAction,
    BlockServer,
    CiteDeclaration,
    CollectWitness,
    Confirm,
    ListWrites,
    LookAtHost,
    LookAtRecords,
    PowerOffServer,
    Promote,
    ProveRefused,
    ReconcileServer,
    RestoreCluster,
    RunChecks,
    RunPlaybook,
    StartUnit,
    StartWitness,
    StopUnit,
    SuspectSplitBrain,
    SwapAddress,
)
from automation.model.environment import Environment, Inventory
from automation.model.moves import stamp_name
from automation.recovery import by_hand_clouds

# Put into a here-document by the person's own shell: the stamp that lets a server see what it missed.
STAMP_BY_HAND = "$(date +%s%3N) by-hand"


class ByHand(NamedTuple):
    """What to type, or do where nothing can be typed, and what must be seen afterwards."""

    expect: str
    commands: tuple[str, ...] = ()
    note: str = ""


class Around(NamedTuple):
    """What commands need to know of an environment."""

    environment: Environment
    inventory: Inventory

    def address(self, host: str) -> str:
        """A host's address: its name may not resolve on such a day."""
        server = self.inventory.servers.get(host)
        return server.address if server and server.address else host

    def ssh(self, host: str, *words: str) -> str:
        """A command on a host, as the automation user."""
        where = f"{self.environment.automation_user}@{self.address(host)}"
        return f"ssh {where} {shlex.join(words)}" if words else f"ssh {where}"

    def psql(self, host: str, cluster: str, sql: str, database: str = "postgres") -> str:
        """One statement on a cluster, as its owner."""
        words = ("sudo", "-u", "postgres", "psql", "--cluster", cluster, "-XAt", "-d", database)
        return f'echo "{sql}" | {self.ssh(host, *words)}'

    def provider(self, host: str) -> str:
        server = self.inventory.servers.get(host)
        return server.provider if server else "its provider"


def by_hand(action: BaseAction, around: Around) -> ByHand:
    """Say how people do what an action does, in the order of the commands."""
    for kinds, words in (_PEOPLE, _SERVERS, _DATABASES, _CLIENTS, _VMS, _AWS):
        if type(action) in kinds:
            return words(action, around)
    return ByHand("as the reason above says", note=f"Nothing to type is known for {type(action).__name__}.")


def _people(action: BaseAction, around: Around) -> ByHand:
    match action:
        case Confirm():
            return ByHand(action.expect or "it is done", note=action.task)
        case CiteDeclaration():
            said = f"Somebody who may has said that {action.site} is lost; write down who, when and why."
            return ByHand("a name and a time stand here", note=said)
        case AcceptLag() | SuspectSplitBrain():
            roles = " and ".join(action.roles)
            said = f"{roles} accept: {action.observed}. Both sign here before anything else is done."
            return ByHand("two signatures stand here", note=said)
        case _:
            return ByHand("it is written down")


def _servers(action: BaseAction, around: Around) -> ByHand:
    match action:
        case PowerOffServer():
            note = (
                f"In the console of {around.provider(action.host)}: turn off the automatic start of "
                f"{action.host}, cut its power, and read both back."
            )
            return ByHand(f"{action.host} is off and stays off when power returns", note=note)
        case BlockServer():
            address = around.address(action.host)
            note = (
                f"In the console of {around.provider(action.host)}, or at the switch or firewall of its "
                f"site: shut the port of {action.host} ({address}), or forbid all traffic from and to it, "
                "so that it lasts; read it back. This must be another means than the power."
            )
            return ByHand(f"the port of {action.host} is shut, and its configuration is saved", note=note)
        case AwaitReady():
            return ByHand("the host's name", (around.ssh(action.host, "hostname"),))
        case LookAtHost():
            return ByHand("room on the disk", (around.ssh(action.host, "df", "-h", action.folder),))
        case StartUnit() | StopUnit():
            verb, state = ("start", "active") if isinstance(action, StartUnit) else ("stop", "inactive")
            commands = (
                around.ssh(action.host, "sudo", "systemctl", verb, action.unit),
                around.ssh(action.host, "systemctl", "is-active", action.unit),
            )
            return ByHand(state, commands)
        case RunPlaybook():
            return _playbook(action, around)
        case _:
            return ByHand("")


def _playbook(action: RunPlaybook, around: Around) -> ByHand:
    inventory = [word for path in around.environment.inventory_files for word in ("-i", _short(path, around))]
    limit = ["--limit", action.limit] if action.limit else []
    variables = [word for name, value in action.variables.items() for word in ("-e", f"{name}={value}")]
    command = shlex.join(["ansible-playbook", *inventory, *limit, *variables, action.playbook])
    note = f"With its secrets: {', '.join(action.secrets)}." if action.secrets else ""
    return ByHand("failed=0 and unreachable=0 for every host", (command,), note)


def _short(path: Any, around: Around) -> str:
    root = around.environment.folder.parents[1]
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _databases(action: BaseAction, around: Around) -> ByHand:
    match action:
        case Promote():
            return _promote(action, around)
        case RestoreCluster():
            return _restore(action, around)
        case ListWrites():
            listed = around.psql(action.host, action.cluster, action.query, action.database)
            return ByHand("one line a write; keep the file", (f"{listed} > {action.artifact}",))
        case LookAtRecords():
            asked = [f"dig +short @{around.address(s)} {n}" for s in action.servers for n in action.names]
            return ByHand("an address for every name", tuple(asked))
        case SwapAddress():
            return _swap(action, around)
        case ReconcileServer():
            stopped = around.ssh(action.server, "sudo", "systemctl", "stop", "named")
            note = (
                f"Stop {action.server}, take over every record in which it differs from "
                f"{', '.join(action.sources)}, start it again: it must not answer with old addresses."
            )
            return ByHand("both servers give the same addresses", (stopped,), note)
        case _:
            return ByHand("")


def _promote(action: Promote, around: Around) -> ByHand:
    identity = "select system_identifier, pg_is_in_recovery() from pg_control_system()"
    after = "select pg_is_in_recovery(), current_setting('synchronous_standby_names')"
    known = action.expect_system_identifier
    before = known if known.isdigit() else "the system identifier of the old primary's cluster"
    return ByHand(
        f"first: {before}|t (anything else: stop); after the promotion: t; last: f and an empty list",
        (
            around.psql(action.host, action.cluster, identity),
            around.psql(action.host, action.cluster, "select pg_promote()"),
            around.psql(action.host, action.cluster, after),
        ),
        "Point of no return. Only once the old primary is fenced by two means and a client was refused.",
    )


def _restore(action: RestoreCluster, around: Around) -> ByHand:
    version, _, name = action.cluster.partition("/")
    words = ["pgbackrest", f"--stanza={action.of.stanza}", f"--repo={action.of.repo}"]
    there = ["sudo", "-u", "postgres"]
    data = f"--pg1-path=/var/lib/postgresql/{version}/{name}"
    return ByHand(
        "status: ok; after the start: f, and every table that you ask for",
        (
            around.ssh(action.host, *there, *words, "info"),
            around.ssh(action.host, "sudo", "pg_createcluster", version, name, "--port", str(action.port)),
            around.ssh(action.host, *there, *words, data, "--delta", "--archive-mode=off", "restore"),
            around.ssh(action.host, "sudo", "pg_ctlcluster", version, name, "start"),
            around.psql(action.host, action.cluster, "select pg_is_in_recovery()"),
        ),
        "Point of no return. Only once the old primary is fenced by two means. With --archive-mode=off: what "
        "was restored must not write into the archive that it came from before somebody has decided so.",
    )


def _swap(action: SwapAddress, around: Around) -> ByHand:
    settings, commands = around.environment.dns, []
    for server in action.servers:
        script = (
            f"server {around.address(server)}",
            f"zone {settings.zone}",
            f"prereq yxrrset {action.name}. A {action.old}",
            f"update delete {action.name}. A",
            f"update add {action.name}. {settings.ttl_s:.0f} A {action.new}",
            f"update delete {stamp_name(action.name)}. TXT",
            f'update add {stamp_name(action.name)}. {settings.ttl_s:.0f} TXT "{STAMP_BY_HAND}"',
            "send",
        )
        lines = "\n".join(script)
        commands.append(f"nsupdate -k {settings.key_name}.key <<EOF\n{lines}\nEOF")
        commands.append(f"dig +short @{around.address(server)} {action.name}")
    required = ", ".join(action.required)
    note = f"{required} must take it. A server that does not answer must take it before it is used again."
    return ByHand(action.new, tuple(commands), note)


def _clients(action: BaseAction, around: Around) -> ByHand:
    match action:
        case ProveRefused():
            tried = around.ssh(action.host, "nc", "-z", "-v", "-w", "3", action.address, str(action.port))
            return ByHand(
                f"no connection to {action.server}; the others connect in the same ten seconds",
                (tried, *(_reach(action.host, target, around) for target in _witnesses(action))),
                "Silence alone is no proof: something else there must answer, or your own block must cut it.",
            )
        case StartWitness():
            seen = dict.fromkeys(f"{probe.name}:{probe.port}" for probe in action.probes)
            note = f"From now on write down every minute what clients see of {', '.join(seen)}."
            return ByHand("a first line stands there", note=note)
        case AwaitGood():
            note = f"As a client, from {action.host}: use {', '.join(action.probes)}, {action.count} times."
            return ByHand("it works every time", note=note)
        case CollectWitness():
            return ByHand("the time of the first good answer stands there", note="Close the list of minutes.")
        case RunChecks():
            command = shlex.join(["python3", "-m", "pytest", *action.paths])
            services = ", ".join(action.services)
            return ByHand(f"no failure for {services}", (command,), "Or look at each service by hand.")
        case _:
            return ByHand("")


def _vms(action: BaseAction, around: Around) -> ByHand:
    return ByHand(*by_hand_clouds.of_vms(action))


def _aws(action: BaseAction, around: Around) -> ByHand:
    return ByHand(*by_hand_clouds.of_aws(action, around.environment))


def _witnesses(action: ProveRefused) -> tuple[str, ...]:
    return (*action.reachable, *action.same_site)


def _reach(host: str, target: str, around: Around) -> str:
    address, _, port = target.rpartition(":")
    return around.ssh(host, "nc", "-z", "-v", "-w", "3", address, port)


_Words = Callable[[BaseAction, Around], ByHand]
_Kinds = frozenset[type[BaseAction]]
_PEOPLE: tuple[_Kinds, _Words] = (
    frozenset({Confirm, CiteDeclaration, AcceptLag, SuspectSplitBrain}),
    _people,
)
_SERVERS: tuple[_Kinds, _Words] = (
    frozenset({PowerOffServer, BlockServer, AwaitReady, LookAtHost, StartUnit, StopUnit, RunPlaybook}),
    _servers,
)
_DATABASES: tuple[_Kinds, _Words] = (
    frozenset({Promote, RestoreCluster, ListWrites, LookAtRecords, SwapAddress, ReconcileServer}),
    _databases,
)
_CLIENTS: tuple[_Kinds, _Words] = (
    frozenset({ProveRefused, StartWitness, AwaitGood, CollectWitness, RunChecks}),
    _clients,
)
_VMS: tuple[_Kinds, _Words] = (by_hand_clouds.VMS, _vms)
_AWS: tuple[_Kinds, _Words] = (by_hand_clouds.AWS, _aws)
KNOWN: Mapping[type[BaseAction], _Words] = {
    kind: words for kinds, words in (_PEOPLE, _SERVERS, _DATABASES, _CLIENTS, _VMS, _AWS) for kind in kinds
}
