"""What a test on copies proves of the recovery points that they were made of. Pure.

Invariant: a point is proven only by a copy that this run made of it, and after that copy was made. The proof
comes too when none could be made: of a point that cannot be brought up it says that it is bad.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from automation.model.actions import Action, CreateInstance, ProveImage, ProveSnapshot, RestoreDatabase
from automation.model.plan import Step
from automation.recovery.strategies.scope import Scope

# AWS checks a new instance for some minutes before it says anything.
PROOF_TIMEOUT_S = 900.0


class Kept(NamedTuple):
    """Where a resource of backups.yml keeps its points in the region that a test copies from."""

    resource: str
    store: str


class Provable(NamedTuple):
    """Whose points a test of one service proves: those of its image, and those of its database."""

    images: tuple[Kept, ...] = ()
    snapshots: tuple[Kept, ...] = ()


def prove_points(scope: Scope, made: Sequence[Step], provable: Provable) -> Iterator[Step]:
    """Give a proof of every point that copies were made of; none of what backups.yml does not keep."""
    for kept in provable.images:
        launched = {step.id: step.run for step in made if isinstance(step.run, CreateInstance)}
        run = _prove_image(scope, kept, list(launched.values()))
        yield _prove(scope, kept, run, tuple(launched))
    for kept in provable.snapshots:
        for step in made:
            if isinstance(step.run, RestoreDatabase):
                yield _prove(scope, kept, _prove_snapshot(scope, kept, step.run), (step.id,))


def _prove_image(scope: Scope, kept: Kept, launched: Sequence[CreateInstance]) -> ProveImage:
    """All instances of a service are launched from the one image that was seen."""
    return ProveImage(
        site=scope.service.recovery,
        resource=kept.resource,
        store=kept.store,
        image=launched[0].spec.image,
        servers=tuple(one.host for one in launched),
    )


def _prove_snapshot(scope: Scope, kept: Kept, restored: RestoreDatabase) -> ProveSnapshot:
    return ProveSnapshot(
        site=scope.service.recovery,
        resource=kept.resource,
        store=kept.store,
        snapshot=restored.snapshot,
        database=restored.database,
    )


def _prove(scope: Scope, kept: Kept, run: Action, made: tuple[str, ...]) -> Step:
    return Step(
        id=scope.step_id(f"proven-{kept.resource}"),
        service=scope.name,
        run=run,
        why=f"a copy that is well is the best proof of the point in {kept.store} that it was made of (L4)",
        after=made,
        timeout_s=PROOF_TIMEOUT_S,
    )
