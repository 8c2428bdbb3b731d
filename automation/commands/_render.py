"""Results for people: tables on a terminal, the drill's page in HTML.

Plain when the output is no terminal: one line a row, no colours, nothing cut off.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from automation.commands._command import ROOT
from automation.model.base import format_duration
from automation.model.plan import Plan, Step
from automation.recovery.report import Report
from automation.recovery.report_copies import lines_of
from automation.recovery.report_words import format_rpa, format_rta, format_target, notes

if TYPE_CHECKING:
    from automation.adapters.nspawn.status import LabServer, LabStatus
    from automation.commands._runs import RunRow
    from automation.commands._standing import NodeSeen, Standing
    from automation.model.environment import Inventory
    from automation.recovery.readiness import Readiness
    from automation.recovery.report_review import Finding

TEMPLATES = ROOT / "templates"
PLAIN_WIDTH = 1000
NARROW = 100
LISTED_WRITES = 500
STYLES = {
    "met": "bold green",
    "ready": "green",
    "not-ready": "bold red",
    "not-known": "bold yellow",
    "succeeded": "green",
    "on": "green",
    "missed": "bold red",
    "failed": "bold red",
    "halted": "bold red",
    "damaged": "bold red",
    "off": "red",
    "blocked": "red",
    "not-measured": "bold yellow",
    "paused": "yellow",
    "open": "yellow",
    "unfinished": "yellow",
    "not-started": "dim",
    "read": "dim",
    "fault": "bold yellow",
    "destroy": "bold red",
}


def print_result(report: Report) -> None:
    """Print what a drill showed: targets beside what was measured, and where the time went."""
    console = _console()
    table = _table("Service", "RTO", "RTA", "RPO", "RPA", "Verdict", right={1, 2, 3, 4})
    for row in report.services:
        table.add_row(
            row.service,
            format_target(row.rto_s),
            format_rta(row.outage),
            format_target(row.rpo_s),
            format_rpa(row.loss),
            _word(row.verdict),
        )
    console.print(table)
    for row in report.services:
        for note in notes(row):
            console.print(Text(f"{row.service}: {note}"))
    for line in lines_of(report.copies):
        console.print(Text(line))
    console.print(Text.assemble(_word(report.verdict), f": {report.headline}"))


def print_plan(plan: Plan) -> None:
    """Print the steps of a plan in the order in which they could start."""
    console = _console()
    console.print(Text(f"{plan.name}: {len(plan.steps)} steps, mode {plan.mode}, digest {plan.digest[:12]}"))
    narrow = console.width < NARROW
    table = _table("Wave", "Step", "Effect", "Why", *(() if narrow else ("Does",)), right={0})
    for number, wave in enumerate(plan.waves(), start=1):
        for step in wave:
            row = (str(number), Text(step.id, no_wrap=True), _word(step.run.effect), Text(step.why))
            table.add_row(*row, *(() if narrow else (_does(step),)))
    console.print(table)


def print_runs(runs: Sequence["RunRow"]) -> None:
    """Print runs, one a line."""
    table = _table("Run", "Plan", "Mode", "By", "Started (UTC)", "Took", "Status", right={5})
    for run in runs:
        began = f"{run.started_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(run.run_id, run.plan, run.mode, run.actor, began, _took(run.seconds), _word(run.status))
    _console().print(table if runs else Text("no runs"))


def print_run(run: "RunRow") -> None:
    """Print one run with its steps."""
    console = _console()
    took = f", took {_took(run.seconds)}" if run.seconds is not None else ""
    console.print(
        Text.assemble(f"{run.run_id}: {run.plan} ({run.mode}) by {run.actor}{took}, ", _word(run.status))
    )
    table = _table("At", "Took", "Step", "Status", "What it says", right={0, 1})
    table.columns[2].no_wrap = True  # a step's id is typed into other commands
    for step in run.steps:
        offset_s = (step.started_at - run.started_at).total_seconds()
        table.add_row(
            f"{offset_s:.2f} s", _took(step.seconds), step.step, _word(step.status), Text(step.text)
        )
    console.print(table)


def print_findings(findings: Sequence["Finding"]) -> None:
    """Print what is to be mended, by whom, until when."""
    table = _table("Finding", "Severity", "Status", "Due", "Owner", "What was seen", "What to do")
    for one in findings:
        words = (Text(one.observation), Text(one.act if not one.note else f"{one.act} ({one.note})"))
        table.add_row(one.id, one.severity, _word(one.status), one.due.isoformat(), one.owner, *words)
    _console().print(table if findings else Text("nothing was found to mend"))


def print_readiness(readiness: "Readiness") -> None:
    """Print every finding, what is not ready first with what to do about it."""
    console = _console()
    table = _table("Check", "What", "Status", "Seen", "What to do")
    for finding in sorted(readiness.findings, key=lambda one: one.status == "ready"):
        status = _word(finding.status)
        table.add_row(finding.check, finding.subject, status, Text(finding.seen), Text(finding.act))
    console.print(table)
    open_ = sum(finding.status != "ready" for finding in readiness.findings)
    word = "ready" if readiness.ready else f"not ready: {open_} of {len(readiness.findings)} findings"
    console.print(Text(f"failover of {readiness.site} by plan {readiness.plan}: {word}"))


def print_standing(standing: "Standing") -> None:
    """Print where every service is, what is declared, and how the last drill and failover ended."""
    console = _console()
    table = _table("Service", "Primary", "Hosts", "Doubt")
    for row in standing.services:
        hosts = "; ".join(f"{node.host}: {_node_words(node)}" for node in row.nodes)
        doubt = Text("SPLIT_BRAIN_SUSPECTED" if row.suspicion else "", style="bold red")
        table.add_row(row.service, row.primary, Text(hosts), doubt)
    console.print(table)
    for server in standing.names:
        what = f": {', '.join(server.names)}" if server.names else ""
        console.print(Text(f"names at {server.site}: {server.server}: {server.state}{what}"))
        if server.act:
            console.print(Text(f"hint: {server.act}"))
    for kept in standing.kept:
        console.print(Text(kept.words))
    for run, one in standing.declarations.items():
        kind = "exercise" if one.exercise else "disaster"
        at = f"{one.declared_at:%Y-%m-%d %H:%M} UTC"
        said = f"{', '.join(one.sites)} lost, {one.declared_by}: {one.reason}"
        console.print(Text(f"declared {at} ({kind}, run {run}): {said}"))
    for last in standing.last:
        console.print(Text(f"last {last.mode}: {last.run_id} {last.name}: {last.verdict or last.status}"))
    for row in standing.services:
        if row.suspicion:
            console.print(Text(f"{row.service}: {row.suspicion.reason} (run {row.suspicion.run_id})"))


def _node_words(node: "NodeSeen") -> str:
    """What is said of a host; one that is fenced and answers all the same is told as both."""
    if node.fence and node.role != "no answer":
        return f"{node.fence}, and yet {node.role}"
    return node.fence or node.role


def print_lab(lab: "LabStatus", inventory: "Inventory") -> None:
    """Print the servers, sites and links of a lab."""
    console = _console()
    state = f"runs, WAN by {lab.wan}" if lab.running else "does not run"
    console.print(Text(f"lab {lab.lab_id} {state}"))
    table = _table("Server", "Site", "Address", "Power", "Network", "Autostart")
    for name, server in inventory.servers.items():
        if server.on_demand and name not in lab.servers:
            continue
        table.add_row(name, server.site, server.address, *_lab_state(lab.servers.get(name)))
    console.print(table)
    for name, simulator in lab.simulators.items():
        state = "runs" if simulator.power == "on" else "has ended"
        silent = {site for site in simulator.places if site not in simulator.answers_for}
        where = ", ".join(
            f"{site} at {address}{' (silent)' if site in silent and simulator.power == 'on' else ''}"
            for site, address in simulator.places.items()
        )
        console.print(Text(f"simulator {name} for {where}: {state}; it is not real"))
    for name, site in lab.sites.items():
        if (site.power, site.network, site.management) != ("on", "up", "up"):
            seen = f"power {site.power}, network {site.network}, management {site.management}"
            console.print(Text(f"site {name}: {seen}"))
    for name, link in lab.links.items():
        if not link.up:
            console.print(Text(f"link {name}: cut"))


# --- small parts ---------------------------------------------------------------------------------


def _console() -> Console:
    terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, width=None if terminal else PLAIN_WIDTH, highlight=False, emoji=False)


def _table(*columns: str, right: set[int] | frozenset[int] = frozenset()) -> Table:
    terminal = sys.stdout.isatty()
    table = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        justify = "right" if index in right else "left"
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    return table


def _word(word: str) -> Text:
    return Text(word, style=STYLES.get(word, ""))


def _took(seconds: float | None) -> str:
    return "" if seconds is None else format_duration(seconds)


def _does(step: Step) -> str:
    target = next((str(v) for name in ("host", "site", "name") if (v := getattr(step.run, name, None))), "")
    return f"{step.run.do} {target}".strip()


def _lab_state(server: "LabServer | None") -> tuple[Text, Text, Text]:
    if server is None:
        return Text("absent", style="dim"), Text(""), Text("")
    network = _word(server.network) if server.isolated_to is None else Text("isolated")
    return _word(server.power), network, Text("yes" if server.autostart else "no")
