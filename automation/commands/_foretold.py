"""What the past says of a run before it starts: predicted, said on the terminal, kept with its subject."""

from collections.abc import Mapping

from automation.commands._past import read_past
from automation.commands._session import Session
from automation.model.catalog import Service
from automation.model.plan import Plan
from automation.recovery.planner import rto_s
from automation.recovery.prediction import PredictedService, Prediction, predict
from automation.recovery.report_subject import Subject
from automation.recovery.spec import Drill, Failover

FEW = 8


def foresee(
    session: Session, spec: Drill | Failover, services: Mapping[str, Service], plan: Plan
) -> Prediction:
    """Predict a drill or a failover from the past runs of its environment; says nothing."""
    targets = {name: rto_s(spec, name, service) for name, service in services.items()}
    return predict(plan, services, targets, read_past(session.state))


def foretell(
    session: Session, spec: Drill | Failover, services: Mapping[str, Service], plan: Plan
) -> Prediction:
    """Predict a drill or a failover, and say it before it starts."""
    prediction = foresee(session, spec, services, plan)
    for line in spoken(prediction):
        session.say(line)
    return prediction


def keep(subject: Subject, prediction: Prediction) -> Subject:
    """Note with what a run is about what it was expected to take."""
    expected = {one.service: one.median_s for one in prediction.services}
    targets = {
        name: target.model_copy(update={"predicted_s": expected.get(name)})
        for name, target in subject.targets.items()
    }
    return subject.model_copy(update={"targets": targets})


def spoken(prediction: Prediction) -> list[str]:
    """Say a prediction in a few lines: each of a few services, how many and the late ones of many."""
    known = [one for one in prediction.services if one.median_s is not None]
    if not known:
        return ["predicted: no history of these steps"]
    runs = f"{prediction.runs} past run{'' if prediction.runs == 1 else 's'}"
    past = f"predicted from {runs}, from {prediction.since}"
    if len(prediction.services) <= FEW:
        return [f"{past}:", *(f"  {_words(one)}" for one in prediction.services)]
    late = [one for one in known if one.late]
    unknown = len(prediction.services) - len(known)
    count = f"{len(known) - len(late)} services in time, {len(late)} late, {unknown} without history"
    return [f"{past}: {count}", *(f"  {_words(one)}" for one in late[:FEW])]


def _words(one: PredictedService) -> str:
    from automation.commands._render_plan import format_target, predicted_words

    mark = "; would be late" if one.late else "; may be late" if one.tight else ""
    return f"{one.service}: {predicted_words(one)}, RTO {format_target(one.rto_s)}{mark}"
