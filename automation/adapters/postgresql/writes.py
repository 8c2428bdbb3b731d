"""The writes that a database holds, listed."""

from automation.adapters.postgresql.door import psql
from automation.model.actions import ListWrites
from automation.model.evidence import WritesListed
from automation.model.records import Context, Outcome


def list_writes(action: ListWrites, ctx: Context) -> Outcome:
    """Write the reference of every write that the database holds into an artifact, one a line."""
    remote = ctx.remote(action.host)
    sql = f"COPY ({action.query}) TO STDOUT;\n"
    listed = psql(remote, action.host, action.cluster, action.database, sql, ctx.timeout_s)
    (ctx.artifacts / action.artifact).write_text(listed)
    count = len(listed.splitlines())
    evidence = WritesListed(server=action.host, file=action.artifact, count=count)
    return Outcome(changed=False, summary=f"{action.host} holds {count} writes", evidence=evidence)
