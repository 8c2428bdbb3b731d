"""The catalog: sites, services, their objectives, and how each is recovered; one file or several."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, ValidationError

from automation.model.base import Model
from automation.model.catalog_checks import Declared, Finding, check_catalog
from automation.model.errors import ConfigError, Problem
from automation.model.loading import Document, read_document, validation_problems
from automation.model.refusals import Where, near
from automation.model.services import Contact, Endpoint, Service, ServiceProbe, Site
from automation.model.strategy import (
    AwsPilotLight,
    Manual,
    ManualStep,
    Name,
    Playbooks,
    PostgresqlStandby,
    Redeploy,
    RestoreFromBackup,
    SizeBytes,
    Strategy,
    Vendor,
    VmReplica,
    parse_size_bytes,
)

__all__ = [
    "AwsPilotLight",
    "Catalog",
    "CatalogFiles",
    "Contact",
    "Endpoint",
    "Manual",
    "ManualStep",
    "Playbooks",
    "PostgresqlStandby",
    "Redeploy",
    "RestoreFromBackup",
    "Service",
    "ServiceProbe",
    "Site",
    "SizeBytes",
    "Strategy",
    "Vendor",
    "VmReplica",
    "find_catalog",
    "load_catalog",
    "parse_size_bytes",
    "read_catalog",
]

_Tree = dict[str, dict[str, object]]
MOST_FINDINGS = 1000  # of a catalog that a file is missing from, every service may be at fault
_SECTIONS = ("sites", "services")


class Catalog(Model):
    """Every site and service of an environment: `services.yml` and `services/*.yml` beside it."""

    sites: Mapping[Name, Site] = Field(default_factory=dict, description="places, each of which fails as one")
    services: Mapping[Name, Service] = Field(default_factory=dict, description="what people use, by name")


class CatalogFiles(NamedTuple):
    """The files of a catalog as they were read: what they declare, and all that is wrong with them."""

    documents: tuple[Document, ...]
    origins: Mapping[Where, Document]
    catalog: Catalog
    problems: tuple[Problem, ...]

    def locate(self, findings: Iterable[Finding]) -> tuple[Problem, ...]:
        """Say of each finding in which file and line it stands."""
        return tuple(
            self.origins.get(finding.where[:2], self.documents[0]).problem(finding.where, finding.message)
            for finding in findings
        )

    def in_order(self, problems: Iterable[Problem]) -> tuple[Problem, ...]:
        """Sort problems by file, as the files are read, then by line."""
        files = {str(document.path): number for number, document in enumerate(self.documents)}
        return tuple(sorted(problems, key=lambda problem: (files.get(problem.file, -1), problem.line)))


def load_catalog(path: Path) -> Catalog:
    """Read `services.yml` and every `services/*.yml` beside it, as one catalog.

    Raises:
        ConfigError: every fault of all files, each with file, line and key.
    """
    files = read_catalog(path)
    if files.problems:
        raise ConfigError("the catalog is not valid; nothing was touched", problems=files.problems)
    return files.catalog


def find_catalog(folder: Path) -> Catalog:
    """Read the catalog of an environment's folder; empty where it has none.

    Raises:
        ConfigError: every fault of all files, each with file, line and key.
    """
    path = folder / "services.yml"
    is_there = path.exists() or path.is_symlink() or path.with_suffix("").is_dir()
    return load_catalog(path) if is_there else Catalog()


def read_catalog(path: Path) -> CatalogFiles:
    """Read a catalog's files; what is wrong stands in `problems`, what is right in `catalog`."""
    documents = tuple(read_document(file) for file in _files(path))
    problems = [problem for document in documents for problem in document.problems]
    whole = not problems  # else names that could not be read would be missed everywhere
    tree, origins = _merge(documents, problems)
    try:
        catalog = Catalog.model_validate(tree)
    except ValidationError:
        catalog = _valid_part(tree, origins, problems)
    files = CatalogFiles(documents, origins, catalog, ())
    if whole:
        problems += _undeclared(documents)
        declared = Declared(tuple(tree["sites"]), tuple(tree["services"]))
        problems += files.locate(islice(check_catalog(catalog.services, declared), MOST_FINDINGS))
    return files._replace(problems=files.in_order(problems))


def _files(path: Path) -> tuple[Path, ...]:
    more = tuple(sorted(path.with_suffix("").glob("*.yml")))
    return (path, *more) if not more or path.exists() or path.is_symlink() else more


def _merge(documents: Sequence[Document], problems: list[Problem]) -> tuple[_Tree, dict[Where, Document]]:
    """Put the sections of all files together; what stands in two files is a problem that names both."""
    tree: _Tree = {section: {} for section in _SECTIONS}
    origins: dict[Where, Document] = {}
    for document in documents:
        for section, entries in document.tree.items():
            if section not in _SECTIONS:
                problems.append(document.problem((section,), f"unknown key; {near(section, _SECTIONS)}"))
            elif not isinstance(entries, dict):
                problems.append(document.problem((section,), "must be a mapping of names; write NAME: {...}"))
            else:
                problems += _add(tree[section], origins, section, entries, document)
    return tree, origins


def _add(
    known: dict[str, object],
    origins: dict[Where, Document],
    section: str,
    entries: Mapping[str, object],
    document: Document,
) -> Iterator[Problem]:
    for name, entry in entries.items():
        where = (section, name)
        first = origins.setdefault(where, document)
        if first is document:
            known[name] = entry
        else:
            place = f"{first.path}:{first.line(where)}"
            yield document.problem(where, f"stands in {place} too; delete one")


def _undeclared(documents: Sequence[Document]) -> Iterator[Problem]:
    for section in _SECTIONS:
        if not any(section in document.tree for document in documents):
            yield documents[0].problem((section,), f"is missing; no file of the catalog declares {section}")


def _valid_part(tree: _Tree, origins: Mapping[Where, Document], problems: list[Problem]) -> Catalog:
    """Give the entries that are right; say of each other one what is wrong, each fault at its line."""
    right: dict[str, dict[str, object]] = {section: {} for section in _SECTIONS}
    for section, entries in tree.items():
        for name, entry in entries.items():
            try:
                alone = Catalog.model_validate({section: {name: entry}})
                right[section].update(getattr(alone, section))
            except ValidationError as exc:
                problems += validation_problems(origins[section, name], Catalog, exc)
    return Catalog.model_validate(right)
