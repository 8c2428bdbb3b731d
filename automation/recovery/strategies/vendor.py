"""Nothing of ours recovers it: call the vendor, then wait until it answers, or until its owner says so."""

from automation.model.actions import AwaitGood, Confirm
from automation.model.base import format_duration
from automation.model.catalog import Vendor
from automation.model.plan import Gate, Step
from automation.recovery.strategies.scope import Scope


def compile_failover(scope: Scope, strategy: Vendor) -> tuple[Step, ...]:
    """Give the steps of a service that another recovers, with the risk that somebody accepted."""
    call = _call(scope, strategy)
    return (call, _answers(scope, call.id) if scope.service.probes else _sign_off(scope, strategy, call.id))


def _call(scope: Scope, strategy: Vendor) -> Step:
    reached = "; ".join(f"{contact.role}: {contact.reach}" for contact in scope.service.contacts)
    by = f" ({reached})" if reached else ""
    return Step(
        id=scope.step_id("call"),
        service=scope.name,
        run=Confirm(
            of="call", task=f"call {strategy.vendor}{by}", expect="a case number and when it is back"
        ),
        why=f"accepted by {strategy.accepted_by} until {strategy.review_by}: {strategy.accepted_risk}",
        needs=(scope.declared,),
        gate=Gate(
            role=scope.service.owner,
            ask=scope.question(f"Call {strategy.vendor}{by}: {scope.service.title} is lost. Called?"),
        ),
    )


def _answers(scope: Scope, called: str) -> Step:
    witness, service = scope.environment.witness, scope.service
    return Step(
        id=scope.step_id("answers"),
        service=scope.name,
        run=AwaitGood(
            host=witness.host,
            probes=tuple(f"{scope.name}/{probe}" for probe in service.probes),
            count=witness.sustained,
        ),
        why=f"{scope.name} is back when clients see it; its target is {format_duration(service.rto_s)}",
        needs=(called,),
        after=("witness/start",),
        timeout_s=service.rto_s + 60,
    )


def _sign_off(scope: Scope, strategy: Vendor, called: str) -> Step:
    task = f"{scope.service.title} of {strategy.vendor} is back"
    return Step(
        id=scope.step_id("sign-off"),
        service=scope.name,
        run=Confirm(of="sign-off", task=task),
        why=f"no probe watches {scope.name}, so its owner says when it is back",
        needs=(called,),
        gate=Gate(role=scope.service.owner, ask=scope.question(f"{task}?")),
    )
