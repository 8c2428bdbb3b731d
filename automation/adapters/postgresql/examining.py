"""A restored cluster examined: its heaps and indexes, its checksums, and what the policy asserts."""

from automation.model.actions import ExamineCluster
from automation.model.records import Context, Outcome


def examine(action: ExamineCluster, ctx: Context) -> Outcome:
    """See that a restored cluster is whole and holds what it must."""
    raise NotImplementedError
