"""pytest checks of the recovered services, as a step of a run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from automation.model.actions import RunChecks
from automation.model.errors import AdapterError, NotMet
from automation.model.evidence import ChecksRun
from automation.model.records import Context, Outcome

REPOSITORY = Path(__file__).resolve().parents[2]
_NO_TEST_COLLECTED = 5


def run(action: RunChecks, ctx: Context) -> Outcome:
    """Run the checks in a child process; a failed check, or none collected, fails the step."""
    results = ctx.artifacts / f"{ctx.step_id.replace('/', '-')}.xml"
    asked = {
        "environment": ctx.environment.name,
        "services": list(action.services),
        "site": action.site,
        "host": action.host,
        "run_id": ctx.run_id,
    }
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--junitxml={results}",
        *action.paths,
    ]
    environ = {**os.environ, "MAINSTAY_CHECKS": json.dumps(asked), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            argv,
            cwd=REPOSITORY,
            env=environ,
            capture_output=True,
            text=True,
            timeout=ctx.timeout_s,
            check=False,
            start_new_session=True,  # a Ctrl-C at the terminal waits for steps, it does not end them
        )
    except subprocess.TimeoutExpired as exc:
        raise AdapterError(f"checks {' '.join(action.paths)}: not ended in {ctx.timeout_s:g} s") from exc
    (ctx.artifacts / "checks.txt").write_text(done.stdout + done.stderr)
    if done.returncode == _NO_TEST_COLLECTED:
        raise NotMet(
            f"checks {' '.join(action.paths)}: no check was collected",
            hint="a drill without checks proves nothing",
        )
    if not results.exists():
        raise AdapterError(f"checks could not run: {(done.stdout + done.stderr).strip()[-400:]}")
    evidence = _read_results(results)
    if done.returncode or evidence.passed == 0:
        said = f"{evidence.passed} passed, {evidence.failed} failed, {evidence.skipped} skipped"
        failures = f": {'; '.join(evidence.failures)}" if evidence.failures else ""
        raise NotMet(f"checks {' '.join(action.paths)}: {said}{failures}", evidence=evidence)
    return Outcome(changed=False, summary=f"{evidence.passed} checks passed", evidence=evidence)


def _read_results(path: Path) -> ChecksRun:
    cases = list(ElementTree.parse(path).iter("testcase"))
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    return ChecksRun(
        passed=len(cases) - len(bad) - len(skipped),
        failed=len(bad),
        skipped=len(skipped),
        failures=tuple(case.get("name", "unnamed") for case in bad),
    )
