"""What a lost answer of a step's unit means: unless it surely never began, nobody knows."""

from collections.abc import Iterable, Sequence

import pytest

from automation.engine.units import RECONNECT_S, Unit
from automation.model.errors import AdapterError, OutcomeUnknown
from automation.model.records import Completed


class Answers:
    """A host that gives one answer after the other."""

    def __init__(self, answers: Iterable[Completed | AdapterError]) -> None:
        self._answers = iter(answers)

    def run(self, argv: Sequence[str], stdin: str | None = None, timeout_s: float = 30.0) -> Completed:
        answer = next(self._answers)
        if isinstance(answer, AdapterError):
            raise answer
        return answer

    def put(self, path: str, content: bytes, mode: int = 0o600) -> None:
        raise AssertionError(path)

    def get(self, path: str) -> bytes:
        raise AssertionError(path)


def run(*answers: Completed | AdapterError) -> Completed:
    return Unit("mainstay-r1-a", "pg-a", Answers(answers)).run(["true"], None, 30.0)


def ended(code: int) -> Completed:
    return Completed(exit_code=code, stdout="", stderr="why")


@pytest.mark.parametrize("code", [-9, 137, 143, 124], ids=str)
def test_whoever_waited_was_ended_so_the_unit_may_have_begun(code: int) -> None:
    with pytest.raises(OutcomeUnknown, match="state unknown"):
        run(ended(code))


@pytest.mark.parametrize("code", [1, 74, 127], ids=str)
def test_a_unit_that_could_not_be_started_changed_nothing(code: int) -> None:
    with pytest.raises(AdapterError, match=r"not started .* nothing was changed"):
        run(ended(code))


def test_a_refusal_after_a_lost_answer_says_nothing_of_the_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way to the host went dark while the unit ran: a second one must not begin beside it."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert RECONNECT_S > 0
    lost = AdapterError("connection lost", transient=True, unknown=True)
    refused = AdapterError("the management does not answer")
    with pytest.raises(OutcomeUnknown, match="may have begun before"):
        run(lost, refused)
    with pytest.raises(AdapterError, match="the management does not answer"):
        run(refused)
