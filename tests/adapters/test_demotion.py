"""A primary is brought back only beside its own standby; a promotion that was asked for may still happen."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from automation.adapters.postgresql import promote, restore_primary
from automation.model.actions import Promote, RestorePrimary
from automation.model.errors import AdapterError, OutcomeUnknown
from automation.model.records import Completed

PAIR = {"cluster": "15/main", "expect_system_identifier": "7", "expect_timeline": 3}


class Host:
    """Answers every psql with one identity, and every script as if it had done it."""

    def __init__(self, **seen: object) -> None:
        self.seen = {"system_identifier": "7", "timeline": 3, "in_recovery": True, **seen}
        self.scripts = 0

    def run(self, argv: list[str], stdin: str | None = None, timeout_s: float = 30.0) -> Completed:
        if "psql" in argv:
            return Completed(exit_code=0, stdout=json.dumps(self.seen), stderr="")
        self.scripts += 1
        return Completed(exit_code=0, stdout="restored\n", stderr="")


def world(done: Completed | None = None, **hosts: Host) -> Any:
    return SimpleNamespace(
        remote=lambda name: hosts[name.replace("-", "_")],
        run_id="r1",
        timeout_s=10.0,
        run_unit=lambda host, argv, stdin=None: done,
    )


@pytest.mark.parametrize(
    "other",
    [{"in_recovery": False, "timeline": 4}, {"timeline": 4}, {"system_identifier": "8"}],
    ids=["promoted", "another timeline", "another cluster"],
)
def test_a_primary_stays_demoted_beside_anything_but_its_own_standby(other: dict[str, object]) -> None:
    old = Host()
    with pytest.raises(AdapterError, match="there would be two primaries; nothing was changed"):
        restore_primary(
            RestorePrimary.model_validate({"host": "pg-a", "standby": "pg-b", **PAIR}),
            world(pg_a=old, pg_b=Host(**other)),
        )
    assert old.scripts == 0


def test_a_primary_comes_back_beside_its_standby() -> None:
    action = RestorePrimary.model_validate({"host": "pg-a", "standby": "pg-b", **PAIR})
    assert restore_primary(action, world(pg_a=Host(), pg_b=Host())).changed


@pytest.mark.parametrize(("said", "error"), [("", AdapterError), ("asked to promote\n", OutcomeUnknown)])
def test_a_session_that_died_after_it_asked_does_not_tell_that_nothing_happens(
    said: str, error: type[Exception]
) -> None:
    """The server finishes a promotion by itself: to bring the old primary back meanwhile would make two."""
    cut = Completed(exit_code=2, stdout=said, stderr="server closed the connection unexpectedly")
    with pytest.raises(error) as caught:
        promote(Promote.model_validate({"host": "pg-b", **PAIR}), world(cut, pg_b=Host()))
    assert type(caught.value) is error
