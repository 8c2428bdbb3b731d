"""The witness's probes while it writes them: copied beside the journal for those who watch.

No evidence: the record that counts is fetched whole when the witness ends.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

from automation.commands._live import ProbeSeen
from automation.engine.fold import Folded
from automation.model.actions import CollectWitness, StartWitness
from automation.model.errors import AutomationError
from automation.model.plan import Plan
from automation.model.records import Event as JournalEvent
from automation.model.records import Remote, RunClosed, StepEnded, StepStarted

Follow = Callable[[Remote, str, int], str]

FILE = "progress.probes"
BEAT_S = 0.5
# A copy for the eye needs no more; a long run must not fill the disk with it.
MAX_BYTES = 64 * 2**20


class ProbeFeed:
    """Copies what the witness writes from its start to its end; `on_event` drives it."""

    def __init__(self, plan: Plan, folder: Path, remote: Callable[[str], Remote], follow: Follow) -> None:
        """`follow` gives whole lines of the witness's record from a byte on."""
        self._folder, self._remote, self._follow = folder, remote, follow
        starts = [step for step in plan.steps if isinstance(step.run, StartWitness)]
        self._starts = {step.id: step.run.host for step in starts if isinstance(step.run, StartWitness)}
        self._ends = {step.id for step in plan.steps if isinstance(step.run, CollectWitness)}
        self._over: Event | None = None

    def on_event(self, event: JournalEvent) -> None:
        """Begin when the witness has started, end before it is collected or with the run."""
        body = event.body
        if isinstance(body, StepEnded) and body.failure is None:
            self._begin(body.step)
        elif isinstance(body, RunClosed) or (isinstance(body, StepStarted) and body.step in self._ends):
            self.stop()

    def catch_up(self, folded: Folded) -> None:
        """Begin where a resumed run has a witness that was started and not collected."""
        if not self._ends & folded.succeeded.keys():
            for step in folded.succeeded:
                self._begin(step)

    def stop(self) -> None:
        """End; what was copied stays."""
        if self._over is not None:
            self._over.set()

    def _begin(self, step: str) -> None:
        if self._over is None and step in self._starts:
            self._over = Event()
            arguments = (self._starts[step], self._over)
            Thread(target=self._copy, args=arguments, name="probes", daemon=True).start()

    def _copy(self, host: str, over: Event) -> None:
        offset = 0
        with suppress(OSError), (self._folder / FILE).open("a") as copy:
            while not over.wait(BEAT_S) and copy.tell() < MAX_BYTES:
                with suppress(AutomationError):  # a vantage that does not answer now may do so later
                    lines = self._follow(self._remote(host), self._folder.name, offset)
                    offset += len(lines.encode())
                    copy.writelines(_copied(probe) for probe in _parse(lines))
                    copy.flush()


def _copied(probe: ProbeSeen) -> str:
    return f"{probe.at_s:.3f}\t{probe.probe}\t{'good' if probe.good else 'failed'}\n"


def _parse(lines: str) -> Iterator[ProbeSeen]:
    for line in lines.splitlines():
        with suppress(ValueError, KeyError, TypeError):
            record = json.loads(line)
            if record["record"] == "probe":
                yield ProbeSeen(record["end_wall_ns"] / 1e9, record["probe"], record["error"] is None)


class ProbeReader:
    """Reads the copy as it grows."""

    def __init__(self, folder: Path) -> None:
        self._path, self._offset = folder / FILE, 0

    def new(self) -> list[ProbeSeen]:
        """Give the probes that were copied since the last call."""
        try:
            with self._path.open("rb") as copy:
                copy.seek(self._offset)
                content = copy.read()
        except OSError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        seen = []
        for line in whole.decode(errors="replace").splitlines():
            parts = line.split("\t")
            with suppress(ValueError, IndexError):
                seen.append(ProbeSeen(float(parts[0]), parts[1], parts[2] == "good"))
        return seen
