"""What authoritative servers answer; changes nothing."""

from concurrent.futures import ThreadPoolExecutor

from automation.adapters.dns.asking import read_addresses, read_stamp
from automation.model.actions import LookAtRecords
from automation.model.errors import AdapterError
from automation.model.evidence import DnsRecord, RecordsSeen
from automation.model.records import Context, Outcome


def look_at_records(action: LookAtRecords, ctx: Context) -> Outcome:
    """Ask every server for every name, side by side; silence is an answer, except of required ones."""
    answers: dict[str, dict[str, DnsRecord]] = {}
    silent: dict[str, str] = {}
    with ThreadPoolExecutor(max_workers=len(action.servers)) as pool:
        jobs = {name: pool.submit(_read_records, action, name, ctx) for name in action.servers}
    for name, job in jobs.items():
        try:
            answers[name] = job.result()
        except AdapterError as exc:
            if name in action.required:
                raise
            silent[name] = str(exc)
    summary = f"{len(answers)} of {len(action.servers)} DNS servers answer"
    return Outcome(changed=False, summary=summary, evidence=RecordsSeen(answers=answers, silent=silent))


def _read_records(action: LookAtRecords, server: str, ctx: Context) -> dict[str, DnsRecord]:
    address = ctx.inventory.server(server).address
    return {name: _read(action, server, address, name) for name in action.names}


def _read(action: LookAtRecords, server: str, address: str, name: str) -> DnsRecord:
    addresses, ttl_s = read_addresses(server, address, name)
    stamp = read_stamp(server, address, name) if action.moves else None
    return DnsRecord(addresses=addresses, ttl_s=ttl_s, moved=stamp)
