"""What a playbook's run says at its end; that it ends is seen in tests/lab."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from automation.adapters.ansible.child import describe
from automation.adapters.ansible.playbooks import Log
from automation.commands._servers import converged_in_words
from automation.model.actions import RunPlaybook
from automation.model.evidence import PlaybookRun
from automation.model.records import Outcome, StepEnded


def outcome(folder: Path, *, check: bool, changed: int) -> Outcome:
    ctx = SimpleNamespace(artifacts=folder, step_id="converge", say=print)
    log = Log(RunPlaybook(playbook="playbooks/site.yml", check=check), ctx)  # type: ignore[arg-type]
    log.take({"event": "end", "exit_code": 0, "hosts": {"pg-a": {"changed": changed, "ok": 9}}})
    return log.outcome()


def test_a_check_changes_nothing_and_says_what_would_change(tmp_path: Path) -> None:
    seen = outcome(tmp_path, check=True, changed=3)
    assert (seen.changed, "3 tasks would change something" in seen.summary) == (False, True)
    assert isinstance(seen.evidence, PlaybookRun)
    assert (seen.evidence.check, seen.evidence.changed) == (True, {"pg-a": 3})
    assert outcome(tmp_path, check=False, changed=3).changed is True


@pytest.mark.parametrize(("module", "told"), [("host_settings", True), ("other", False), ("", False)])
def test_of_one_module_the_result_is_told_without_what_it_was_given(module: str, told: bool) -> None:
    result = {"changed": True, "armed": False, "invocation": {"module_args": {}}, "diff": [{"after": "all"}]}
    content = {"host": "web", "task": "Apply", "task_action": "host_settings", "res": result}
    said = describe({"event": "runner_on_ok", "event_data": content}, module)
    assert said is not None
    assert said.get("result") == ({"changed": True, "armed": False} if told else None)


@pytest.mark.parametrize(
    ("check", "changed", "words"),
    [
        (True, 3, "checked; converge would change something; nothing changed"),
        (True, 0, "checked; converge would change nothing; nothing changed"),
        (False, 3, "converged; changed"),
        (False, 0, "converged; nothing changed"),
    ],
)
def test_what_converge_tells_at_its_end(tmp_path: Path, check: bool, changed: int, words: str) -> None:
    ended = StepEnded(
        step="converge", status="succeeded", outcome=outcome(tmp_path, check=check, changed=changed)
    )
    assert converged_in_words([SimpleNamespace(body=ended)], check=check) == words  # type: ignore[list-item]
