"""What is at an environment's providers, and how it differs from what is declared; changes nothing."""

from collections.abc import Sequence

from automation.commands._lab_hosts import with_lab
from automation.commands._providers import Around, look_around
from automation.commands._servers import look_at_lab
from automation.commands._session import Session
from automation.model.base import Model
from automation.model.errors import EXIT_PARTIAL, AdapterError, NotMet
from automation.model.servers import FoundNetwork, FoundServer, KeptDisk, KeptSnapshot
from automation.provisioning.decisions import Decision, Verdict, decide

# Decisions that say that what is there is as it should be, or nobody's business here.
_AS_IT_SHOULD: tuple[Verdict, ...] = ("nothing", "on-demand", "retiring", "trust", "unseen")


class ServersShown(Model):
    """Every server at the environment's providers."""

    environment: str
    servers: tuple[FoundServer, ...]
    networks: tuple[FoundNetwork, ...]
    kept: tuple[KeptSnapshot, ...] = ()
    kept_disks: tuple[KeptDisk, ...] = ()
    notes: tuple[str, ...] = ()
    unseen: bool = False


class DriftRow(Model):
    """One thing that is not as declared."""

    what: str
    name: str
    provider: str
    site: str
    key: str
    declared: str
    found: str


class DriftShown(Model):
    """Everything that is not as declared."""

    environment: str
    looked_at: int
    rows: tuple[DriftRow, ...]
    unseen: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """It in one line."""
        names = {(row.what, row.name) for row in self.rows}
        if names:
            return f"{len(names)} of {self.looked_at} are not as declared"
        seen = " that could be looked at" if self.unseen else ""
        return f"all {self.looked_at}{seen} are as declared"


def look(session: Session) -> Around:
    """Look at every provider of an environment, and at its lab's own hosts."""
    if session.environment.lab is None:
        return look_around(session, None)
    lab = look_at_lab(session)
    return with_lab(session, look_around(session, lab), lab)


def list_servers(around: Around, *, every: bool) -> ServersShown:
    """List what is at the providers: what is ours, or all."""
    name = around.declared.environment
    servers = [one for view in around.seen.views for one in view.servers if every or one.owner == name]
    networks = [one for view in around.seen.views for one in view.networks if every or one.owner == name]
    trips = [
        f"{view.provider} at {view.site}: {len(view.servers)} servers in {view.round_trips} round trips"
        f"{', simulated' if view.source == 'simulated' else ''}"
        for view in around.seen.views
        if view.round_trips
    ]
    unseen = [f"not looked at: {provider}: {why}" for provider, why in around.seen.unseen.items()]
    return ServersShown(
        environment=name,
        servers=tuple(sorted(servers, key=lambda one: (one.owner != name, one.provider, one.site, one.name))),
        networks=tuple(networks),
        notes=(*trips, *unseen),
        unseen=bool(unseen),
    )


def with_kept(session: Session, around: Around, shown: ServersShown) -> ServersShown:
    """Add what is kept of servers that went, at AWS and at vCenters; one that does not tell is a note."""
    kept, silent = look_at_kept(session, around)
    disks, more = _look_at_disks(session, around)
    notes = (*silent, *more)
    found = {"kept": kept, "kept_disks": disks, "notes": (*shown.notes, *notes)}
    return shown.model_copy(update={**found, "unseen": shown.unseen or bool(notes)})


def look_at_kept(session: Session, around: Around) -> tuple[tuple[KeptSnapshot, ...], tuple[str, ...]]:
    """List the snapshots that AWS keeps of servers that went, and say which regions did not tell."""
    sites = [one.site for one in session.environment.providers.values() if one.kind == "aws"]
    kept: list[KeptSnapshot] = []
    notes: list[str] = []
    for site in sites:  # also where nothing is declared any more
        if _is_silent(around, "aws", site):
            continue
        try:
            kept += _list_kept(session, site)
        except AdapterError as exc:
            notes.append(f"what is kept of retired servers is not known: aws at {site}: {exc}")
    return tuple(kept), tuple(notes)


def _look_at_disks(session: Session, around: Around) -> tuple[tuple[KeptDisk, ...], tuple[str, ...]]:
    """List the disks that were moved aside, by the journals, and are there still; say who did not tell."""
    there, notes = set[tuple[str, str]](), list[str]()
    for one in session.environment.providers.values():
        files = [disk.file for disk in around.past.kept if disk.site == one.site]
        if one.kind != "vsphere" or not files or _is_silent(around, "vsphere", one.site):
            continue
        try:
            there |= {(one.site, file) for file in _still_kept(session, one.site, files)}
        except AdapterError as exc:
            notes.append(f"what is kept of retired VMs is not known: vsphere at {one.site}: {exc}")
    disks = {(disk.site, disk.file): disk for disk in around.past.kept}
    return tuple(disk for place, disk in disks.items() if place in there), tuple(notes)


def _is_silent(around: Around, kind: str, site: str) -> bool:
    """Whether a provider is known not to answer: a note says so already, or it does not run yet."""
    return (kind, site) in around.seen.assumed or f"{kind} at {site}" in around.seen.unseen


def _still_kept(session: Session, site: str, files: Sequence[str]) -> frozenset[str]:
    from automation.adapters import vsphere

    return vsphere.still_kept(session.environment, site, session.state, files)


def _list_kept(session: Session, site: str) -> tuple[KeptSnapshot, ...]:
    from automation.adapters import aws

    return aws.list_kept(session.environment, site, session.state)


def find_drift(around: Around) -> DriftShown:
    """Hold everything declared against everything found."""
    decisions = decide(around.declared, around.seen.views)
    rows = [row for one in decisions for row in _rows(one)]
    unseen = tuple(f"{provider}: {why}" for provider, why in around.seen.unseen.items())
    looked_at = sum(one.verdict != "unseen" for one in decisions)
    return DriftShown(
        environment=around.declared.environment, looked_at=looked_at, rows=tuple(rows), unseen=unseen
    )


def _rows(decision: Decision) -> list[DriftRow]:
    known = {key: getattr(decision, key) for key in ("what", "name", "provider", "site")}
    rows = [
        DriftRow(key=one.key, declared=one.declared, found=one.found, **known) for one in decision.differences
    ]
    if rows or decision.verdict in _AS_IT_SHOULD:
        return rows
    declared = "not declared" if decision.verdict == "undeclared" else "declared"
    found = decision.id or "not there"
    if decision.verdict in ("start", "fenced"):
        return [DriftRow(key="power", declared="on", found="off", **known)]
    return [DriftRow(key="existence", declared=declared, found=found, **known)]


def refuse_drift(shown: DriftShown) -> int:
    """Give the exit code.

    Raises:
        NotMet: something is not as declared.
    """
    if shown.rows:
        env = f"--env {shown.environment}"
        raise NotMet(
            shown.summary,
            hint=f"./inv provision.plan {env} says what each needs; ./inv provision.apply {env} does it",
        )
    return EXIT_PARTIAL if shown.unseen else 0
