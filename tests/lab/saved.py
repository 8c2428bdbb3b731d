"""A share, its repositories and the steps on them, for tests of restic that need no lab."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

from automation.adapters import restic
from automation.model.actions.restic import SCRATCH, CopyPoints, ProveFiles, Repository, TakeFiles
from automation.model.errors import OutcomeUnknown
from automation.model.records import Outcome
from automation.model.recovery_points import RecoveryPoint
from tests.lab.here import Here, OneStep, restic_in_path, this_machine

RESOURCE = "city-share"
HOST = "files-a"


class Saved:
    """A host with a share, and two stores on its disk."""

    def __init__(self, host: Here, folder: Path, program: str) -> None:
        self.host, self.folder, self.program = host, folder, shutil.which(program) or program
        self.share, self.artifacts = folder / "share", folder / "artifacts"
        self.nas = Repository(store="nas", url=str(folder / "nas"))
        self.eoc = Repository(store="eoc", url=str(folder / "eoc"))
        self._steps = count(1)
        host.environ["PATH"] = restic_in_path(self.program, folder / "bin")
        for store in ("nas", "eoc"):
            host.sh('echo "RESTIC_PASSWORD=of-$1" >"/etc/mainstay/stores/$1.env"', store)
        self.artifacts.mkdir()
        self.share.mkdir()
        self._fill()

    def _fill(self) -> None:
        for number in range(8):
            (self.share / f"file-{number}").write_bytes(os.urandom(60_000))
        (self.share / ".sentinel").write_text("mounted")
        (self.share / "a folder").mkdir()
        (self.share / "a folder" / "o*d [x]\n").write_text("odd")
        Path(os.fsdecode(bytes(self.share) + b"/not \xff utf-8")).write_text("bytes")
        (self.share / "link").symlink_to("file-1")
        os.link(self.share / "file-2", self.share / "second name")
        os.mkfifo(self.share / "pipe")

    def step(self, timeout_s: float = 300.0) -> OneStep:
        """Give the context of a new step; the process table knows the machine by its own name."""
        hosts = {HOST: self.host, os.uname().nodename: self.host}
        made = OneStep(hosts, self.artifacts, f"step-{next(self._steps)}")
        made.timeout_s = timeout_s
        return made

    def do(self, action: Any, timeout_s: float = 300.0) -> Outcome:
        """Perform one action in a step of its own."""
        perform: Callable[[Any, Any], Outcome] = getattr(restic, action.do.partition(".")[2])
        return perform(action, self.step(timeout_s))

    def taking(self, *paths: str, to: Repository | None = None) -> TakeFiles:
        """Give the action that saves the share, or other paths."""
        return TakeFiles(
            host=HOST,
            resource=RESOURCE,
            to=to or self.nas,
            paths=paths or (str(self.share),),
            must_exist=(str(self.share / ".sentinel"),),
        )

    def take(self, text: str = "") -> str:
        """Save the share, after a change; give the point's id."""
        if text:
            (self.share / "file-0").write_text(text)
        evidence = self.do(self.taking()).evidence
        assert evidence is not None
        assert evidence.kind == "point-taken"
        return evidence.point

    def points(self, repository: Repository | None = None) -> tuple[RecoveryPoint, ...]:
        """List the points of a store."""
        return restic.list_points(self.host, repository or self.nas)

    def ids(self, repository: Repository | None = None) -> list[str]:
        return [point.id for point in self.points(repository)]

    def copying(self, **more: Any) -> CopyPoints:
        return CopyPoints(host=HOST, resource=RESOURCE, source=self.nas, target=self.eoc, **more)

    def proving(self, point: str, of: Repository | None = None, **more: Any) -> ProveFiles:
        """Give the action that proves a point in a scratch folder of its own."""
        folder = f"{SCRATCH}/proof-{next(self._steps)}"
        return ProveFiles(
            host=HOST, resource=RESOURCE, of=of or self.nas, point=point, folder=folder, seed=7, **more
        )

    @contextmanager
    def restic_is(self, script: str) -> Iterator[None]:
        """Put a script in front of restic, $REAL; what it does happens at that very moment of the work."""
        link = self.folder / "bin/restic"
        link.unlink()
        link.write_text(f"#!/bin/sh\nREAL={self.program}\n{script}\n")
        link.chmod(0o755)
        try:
            yield
        finally:
            link.unlink()
            link.symlink_to(self.program)

    def cut_off(self, action: Any, command: str, folder: str) -> OneStep:
        """Cut the power when a file of a folder appears, or goes, during a command; give the step."""
        step, moment = self.step(), self.folder / "moment"
        perform = getattr(restic, action.do.partition(".")[2])

        def until_lost() -> None:
            with suppress(OutcomeUnknown):
                perform(action, step)

        stop = _STOP_WHEN.format(command=command, folder=folder, moment=moment)
        with self.restic_is(stop):
            thread = Thread(target=until_lost)
            thread.start()
            while thread.is_alive() and not moment.exists():
                thread.join(0.01)
            step.cut_power()
            thread.join(60)
        assert moment.exists()
        return step


# restic is halted at that moment, so that it goes no further until it is killed.
_STOP_WHEN = """
case " $* " in *" {command} "*) ;; *) exec "$REAL" "$@" ;; esac
count() {{ find "{folder}" -type f 2>/dev/null | sort | cksum; }}
before=$(count)
"$REAL" "$@" &
while [ "$(count)" = "$before" ]; do :; done
kill -STOP "$!"
touch "{moment}"
exec sleep 600
"""


@contextmanager
def saved(folder: Path, program: str) -> Iterator[Saved]:
    """Give a host with a share, nothing saved yet."""
    with this_machine(folder / "machine") as host:
        yield Saved(host, folder, program)
