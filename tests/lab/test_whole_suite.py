"""Run last: what the whole suite, with all its labs, let be seen of their passwords and keys."""

import pytest

from automation.model.environment import state_root
from tests.lab.secrecy import Secrets, SuiteWatch, search


@pytest.fixture
def watch(suite_watch: SuiteWatch) -> SuiteWatch:
    """The watch, if a host of a lab ran before."""
    if not suite_watch.booted:
        pytest.skip("no host of a lab ran before: these tests judge a suite that has been run")
    return suite_watch


def test_no_file_of_any_lab_held_a_secret(watch: SuiteWatch) -> None:
    """Runs, artifacts, logs, consoles, caches: of labs that are gone by now, too."""
    assert watch.files > 10 * len(watch.labs), "hardly a file was looked into"
    assert watch.in_files == {}


def test_no_host_of_any_lab_logged_a_secret(watch: SuiteWatch) -> None:
    assert watch.journal_lines > 50 * len(watch.booted), "hardly a journal was read"
    assert watch.in_journals == {}


def test_no_process_list_and_no_environment_ever_showed_a_secret(watch: SuiteWatch) -> None:
    processes = watch.processes
    assert {"systemd-nspawn", "systemd"} <= processes.programs, "no host was seen to run"
    assert processes.samples > 100
    assert watch.in_processes() == {}


def test_the_state_that_the_suite_leaves_behind_holds_no_secret() -> None:
    """The lab environment's own state, after all that was ever run in it."""
    state = state_root() / "lab"
    if not list(state.glob("runs/*/journal.jsonl")):
        pytest.skip("no run of the lab environment has been made on this machine")
    assert search(state, Secrets(state)) == {}
