"""Servers and networks of providers as tables: what a plan would do, what is there, what differs."""

import sys
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from automation.commands._provision_views import DriftShown, ServersShown
from automation.commands._render import print_plan
from automation.model.base import format_size
from automation.model.servers import FoundServer, KeptDisk, KeptSnapshot, Size
from automation.provisioning.composing import Wanted
from automation.provisioning.decisions import Decision

PLAIN_WIDTH = 1000
STYLES = {
    "nothing": "dim",
    "create": "green",
    "replace": "bold red",
    "foreign": "bold red",
    "restart": "yellow",
}


def print_wanted(wanted: Wanted) -> None:
    """Print what is to be done about every server that is not as declared, then the steps."""
    console = _console()
    rows = [one for one in wanted.decisions if one.verdict != "nothing"]
    same = len(wanted.decisions) - len(rows)
    if wanted.decisions:
        _print_decisions(console, rows)
        if same:
            console.print(Text(f"{same} more as declared" if rows else f"all {same} as declared"))
    if wanted.plan.steps:
        print_plan(wanted.plan)
    elif not rows:
        console.print(Text(f"{wanted.environment}: nothing to change"))
    for provider, calls in wanted.round_trips.items():
        console.print(Text(f"{provider}: looked at in {calls} round trips"))


def _print_decisions(console: Console, rows: Iterable[Decision]) -> None:
    table = _table("What", "Name", "Provider", "Site", "Decision", "Why")
    for one in rows:
        verdict = Text(one.verdict, style=STYLES.get(one.verdict, ""))
        table.add_row(one.what, Text(one.name, no_wrap=True), one.provider, one.site, verdict, Text(one.why))
    if table.row_count:
        console.print(table)


def print_drift(shown: DriftShown) -> None:
    """Print declared beside found, a line for each thing that differs."""
    console = _console()
    table = _table("What", "Name", "Provider", "Site", "Key", "Declared", "Found")
    for row in shown.rows:
        table.add_row(
            row.what, Text(row.name, no_wrap=True), row.provider, row.site, row.key, row.declared, row.found
        )
    if table.row_count:
        console.print(table)
    console.print(Text(f"{shown.environment}: {shown.summary}"))
    for provider in shown.unseen:
        console.print(Text(f"not looked at: {provider}"))


def print_servers(shown: ServersShown) -> None:
    """Print every server that is there, ours first."""
    console = _console()
    table = _table(
        "Name", "Id", "Provider", "Site", "Whose", "Power", "Size", "Disks", "Networks", "Addresses"
    )
    for server in shown.servers:
        table.add_row(
            Text(server.name, no_wrap=True),
            server.id,
            server.provider,
            server.site,
            _whose(server, shown.environment),
            Text(server.power, style="green" if server.power == "on" else "red"),
            size_in_words(server.size),
            ", ".join(f"{disk.name or 'system'} {format_size(disk.size_bytes)}" for disk in server.disks),
            ", ".join(server.networks),
            ", ".join(server.addresses),
        )
    console.print(table if shown.servers else Text("no servers"))
    today = datetime.now(UTC).date()
    for kept in shown.kept:
        console.print(Text(f"kept: {kept_in_words(kept, today)}"))
    if ended := sorted({kept.server for kept in shown.kept if kept.is_over(today)}):
        command = f"./inv provision.retire --env {shown.environment} --kept --host"
        console.print(Text(f"{command} {ended[0]} asks, and deletes what is over of {', '.join(ended)}"))
    for disk in shown.kept_disks:
        console.print(Text(f"kept: {disk_in_words(disk)}"))
    for line in shown.notes:
        console.print(Text(line))


def kept_in_words(kept: KeptSnapshot, today: date) -> str:
    """Say what was kept of a disk, since when, by which run, and until when."""
    size = format_size(kept.size_bytes)
    return (
        f"{kept.id} at {kept.site}, disk {kept.disk} of {kept.server} ({size}), since {kept.at:%Y-%m-%d} "
        f"(run {kept.run_id}); {_end_in_words(kept, today)}"
    )


def disk_in_words(kept: KeptDisk) -> str:
    """Say what was moved aside of a VM, since when, and by which run."""
    return (
        f"{kept.file} at {kept.site}, disk {kept.disk} of {kept.server}, since {kept.at:%Y-%m-%d} (run "
        f"{kept.run_id}); a person removes it"
    )


def _end_in_words(kept: KeptSnapshot, today: date) -> str:
    if kept.until is None:
        return "kept for good: its tag mainstay:until tells no day"
    if kept.is_over(today):
        return f"over since {kept.until + timedelta(days=1)}"
    return f"kept until {kept.until}"


def size_in_words(size: Size) -> str:
    """Say how large a server is: t3.medium, or 2 CPUs with 4.0 GiB."""
    if size.type:
        return size.type
    return f"{size.cpus} CPUs, {format_size(size.memory_bytes)}" if size.cpus else ""


def _whose(server: FoundServer, environment: str) -> str:
    if server.owner == environment:
        return "ours"
    return server.owner or "nobody's"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)
