"""One drill of a demo, of whichever kind: prepared, told while it runs, concluded as its own command does."""

import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import partial

from automation.commands._command import progress
from automation.commands._drill import about, finish_drill, play_drill
from automation.commands._isolated import finish_isolated, prepare_isolated
from automation.commands._moved import conclude_move
from automation.commands._moving import prepare_drilled, subject_of_move
from automation.commands._onlooker import Story
from automation.commands._session import Session, actor
from automation.commands._story import Said, Scene
from automation.commands._teller import Teller
from automation.engine.finished import Finished
from automation.model.errors import NotMet
from automation.model.plan import Plan, Step
from automation.model.records import Event, GateAnswered
from automation.recovery.report import Report

SetLines = Callable[[Said], Sequence[str]]
# What it did not reach or see; of anything else a story cannot go on.
MISSED = ("missed", "not-measured")


def play_act(session: Session, scene: Scene, set_lines: SetLines) -> Report:
    """Play a drill, print what it measured; one that only missed an objective is judged by whoever reads on.

    Raises:
        NotMet: it failed otherwise.
        StepFailed: the run stopped part-way.
    """
    if scene.drill.mode == "failback":
        _make_well(session, scene, set_lines)
    finished, conclude = _run(session, scene, set_lines)
    progress("")
    try:
        conclude()
    except NotMet:
        if _report(finished).verdict not in MISSED:
            raise
    return _report(finished)


def _run(session: Session, scene: Scene, set_lines: SetLines) -> tuple[Finished, Callable[[], object]]:
    """Run a drill to its end; give with it what writes its report and raises its error."""
    name, story = scene.drill.name, partial(_story, scene, set_lines)
    match scene.drill.mode:
        case "test-failover":
            tried = prepare_isolated(session, name)
            finished = session.run(tried.plan, subject=about(tried), story=story(tried.plan))
            return finished, partial(finish_isolated, session, tried, finished)
        case "failback" | "planned-migration":
            move = prepare_drilled(session, name)
            subject = subject_of_move(move, session)
            finished = session.run(move.plan, subject=subject, story=story(move.plan))
            return finished, partial(conclude_move, session, finished)
        case _:
            prepared, finished = play_drill(session, name, story=story)
            return finished, partial(finish_drill, session, prepared, finished)


def _report(finished: Finished) -> Report:
    return Report.model_validate_json((finished.folder / "report.json").read_bytes())


def _story(scene: Scene, set_lines: SetLines, plan: Plan) -> Story:
    teller = Teller(plan, scene)

    def tell(event: Event) -> Sequence[str]:
        said = teller(event)
        return set_lines(said) if said else ()

    return Story(tell, answers=agree)


def agree(step: Step) -> GateAnswered:
    """Answer a gate in a lab of the demo's own: nobody sits there to be asked."""
    by, reason = f"./inv demo of {actor()}", "an exercise in a lab of its own"
    return GateAnswered(step=step.id, answer="yes", by=by, reason=reason)


def quietly() -> Story:
    """Tell nothing of a run but what goes wrong."""
    return Story(tell=lambda event: (), view_stays=False)


def _make_well(session: Session, scene: Scene, set_lines: SetLines) -> None:
    """Bring the lost site's power back, as lab.heal does."""
    from automation.commands._healing import heal

    site = scene.drill.site
    with redirect_stdout(sys.stderr):
        heal(session, "power-loss", (site,), story=quietly())
    well = (
        f"{scene.title(site)} has power and network again. What was shut out stays so until it is prepared."
    )
    for line in set_lines(Said("before", well)):
        progress(line)
