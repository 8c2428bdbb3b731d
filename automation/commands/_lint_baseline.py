"""Controls, baseline.yml and waivers.yml, read and held against each other; no host is asked."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from automation.baseline.controls import Control, ControlFile
from automation.baseline.guards import unknown_guards
from automation.baseline.settings import ALL, Baseline
from automation.baseline.waivers import Exceptions, Waiver
from automation.baseline.waivers import Problem as Wrong
from automation.baseline.waivers import lint as lint_waivers
from automation.commands._baseline_subjects import accounts_of
from automation.commands._baselines import FILE as BASELINE
from automation.commands._controls import FOLDER as CONTROLS
from automation.commands._lint import Fault
from automation.commands._session import Session
from automation.commands._waivers import FILE as WAIVERS
from automation.commands._waivers import FOLDER as SIGNATURES
from automation.commands._waivers import refusals
from automation.model.base import Model
from automation.model.errors import ConfigError, NotMet, Problem
from automation.model.loading import Document, load_model, read_document

_Written = TypeVar("_Written", bound=Model)
Note = Callable[[Problem], None]


class BaselineLint(Model):
    """What was read, and what is wrong with it.

    `problems` are faults of what is written; `findings` came with time or lack a signature; `notes` are
    worth a look.
    """

    environment: str
    controls: tuple[str, ...]
    waivers: int
    problems: tuple[Fault, ...]
    findings: tuple[Fault, ...]
    notes: tuple[Fault, ...]

    def raise_for_faults(self) -> None:
        """See that nothing is wrong.

        Raises:
            ConfigError: what is written has faults.
            NotMet: it has none, but waivers do not count.
        """
        if self.problems:
            words = f"{self.environment}: problems: {len(self.problems)}; nothing was touched"
            raise ConfigError(words, hint="every line above says what to do")
        if self.findings:
            words = f"{self.environment}: {len(self.findings)} reasons for which waivers do not count"
            env = self.environment
            raise NotMet(words, hint=f"./inv baseline.waive --env {env} --waiver ID --key FILE signs one")


def lint_baseline(session: Session, now: datetime, folder: Path = CONTROLS) -> BaselineLint:
    """Read all that a baseline is made of, and give everything that is wrong with it.

    Args:
        folder: where the controls are.

    Raises:
        ConfigError: allowed_signers has faulty lines.
    """
    problems: list[Problem] = []
    findings: list[Problem] = []
    notes: list[Problem] = []
    controls = _controls(folder, problems.append)
    _baseline(session, controls, problems.append)
    path = session.environment.folder / WAIVERS
    exceptions = _read(path, Exceptions, problems.append) if path.exists() else Exceptions()
    if exceptions is not None:
        document = read_document(path)
        hosts = tuple(session.inventory.servers)
        for one in lint_waivers(exceptions, controls, hosts, now):
            kind = notes if not one.fault else findings if one.by_time else problems
            kind.append(_at(document, exceptions, one))
        for name, words in refusals(session.environment, exceptions, now).items():
            findings.append(_at(document, exceptions, Wrong(name, words, True, key="(signature)")))
        notes += _orphans(session.environment.folder / SIGNATURES, exceptions)
    return BaselineLint(
        environment=session.environment.name,
        controls=tuple(controls),
        waivers=len(exceptions.every) if exceptions else 0,
        problems=_in_order(problems),
        findings=_in_order(findings),
        notes=_in_order(notes),
    )


def _controls(folder: Path, note: Note) -> dict[str, Control]:
    """Read every control; an id that stands twice is a fault of the second."""
    found: dict[str, Control] = {}
    for path in sorted(folder.rglob("*.yml")):
        read = _read(path, ControlFile, note)
        for place, control in enumerate(read.controls if read else ()):
            if control.id in found:
                words = f"another control has the id {control.id}; ids are never used again"
                note(read_document(path).problem(("controls", place, "id"), words))
            for guard in unknown_guards(control):
                words = f"there is no guard {guard}; those there are stand in automation/baseline/guards.py"
                note(read_document(path).problem(("controls", place, "remedy", "guards"), words))
            found.setdefault(control.id, control)
    return found


def _baseline(session: Session, controls: Mapping[str, Control], note: Note) -> None:
    path = session.environment.folder / BASELINE
    if not path.exists():
        note(Problem(str(path), 1, "(file)", "is not there; its first line: profile: standard"))
        return
    settings = _read(path, Baseline, note)
    for group in settings.profiles if settings else ():
        if group not in session.inventory.groups:
            words = f"no host of the inventory is in a group {group}; delete it, or write the group's name"
            note(read_document(path).problem(("profiles", group), words))
    for problem in _enforced(session, path, settings, controls) if settings else ():
        note(problem)


def _enforced(
    session: Session, path: Path, settings: Baseline, controls: Mapping[str, Control]
) -> Iterator[Problem]:
    """Find what is to be enforced and is nothing: a pattern, a group, a host, an account, a provider."""
    environment = session.environment
    names = {ALL, *session.inventory.groups, *session.inventory.servers, *environment.providers}
    names |= accounts_of(environment).keys()
    document = read_document(path)
    for place, one in enumerate(settings.enforce):
        for pattern in one.controls:
            if not any(fnmatchcase(control, pattern) for control in controls):
                words = f"no control is {pattern}; write its id, or a pattern: lin.ssh.*"
                yield document.problem(("enforce", place, "controls"), words)
        for name in one.groups:
            if name not in names:
                words = f"{name} is no group, host, account or provider; write {ALL}, or its name"
                yield document.problem(("enforce", place, "groups"), words)
    for group in settings.together:
        if group not in session.inventory.groups:
            words = f"no host of the inventory is in a group {group}; delete it, or write the group's name"
            yield document.problem(("together",), words)


def _read(path: Path, model: type[_Written], note: Note) -> _Written | None:
    try:
        return load_model(path, model)
    except ConfigError as exc:
        for problem in exc.problems:
            note(problem)
        return None


def _at(document: Document, exceptions: Exceptions, wrong: Wrong) -> Problem:
    """Say where in waivers.yml something is wrong."""
    lists: Mapping[str, tuple[str, ...]] = {
        "waivers": tuple(one.id for one in exceptions.waivers),
        "attestations": tuple(one.id for one in exceptions.attestations),
    }
    name, ids = next((name, ids) for name, ids in lists.items() if wrong.id in ids)
    key = wrong.key if wrong.key != "(signature)" else _signer(exceptions, wrong.id)
    return document.problem((name, ids.index(wrong.id), key), f"{wrong.id}: {wrong.words}")


def _signer(exceptions: Exceptions, name: str) -> str:
    one = next(one for one in exceptions.every if one.id == name)
    return "approved_by" if isinstance(one, Waiver) else "by"


def _orphans(folder: Path, exceptions: Exceptions) -> Iterator[Problem]:
    known = {f"{one.id}.sig" for one in exceptions.every}
    for path in sorted(folder.glob("*.sig")):
        if path.name not in known:
            yield Problem(str(path), 1, "(file)", f"nothing in {WAIVERS} has this id; delete the signature")


def _in_order(problems: list[Problem]) -> tuple[Fault, ...]:
    ordered = sorted(problems, key=lambda one: (one.file, one.line))
    return tuple(Fault(file=p.file, line=p.line, key=p.key, problem=p.message) for p in ordered)
