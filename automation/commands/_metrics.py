"""How backups and their jobs stand, as a textfile for Prometheus' node exporter."""

import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from automation.adapters.timers import Systemd
from automation.backups.standing import BackupStanding, ResourceStanding
from automation.commands._jobs import look_at_jobs
from automation.commands._session import Session
from automation.model.errors import ConfigError, PreflightError
from automation.model.timers import JobSeen

# Every one is a gauge; what is not known is left out, and is no zero.
HELP: Mapping[str, str] = {
    "backup_status_timestamp_seconds": "When this file was made; alarm when it grows old.",
    "backup_red": "1: something is wrong with the resource, its copies or its proofs.",
    "backup_unknown": "1: a store of the resource could not be looked at.",
    "backup_frozen": "1: nothing of the resource is deleted, because something is wrong.",
    "backup_rpo_seconds": "What may be lost of the resource.",
    "backup_last_good_timestamp_seconds": "When the newest good recovery point was taken.",
    "backup_restorable_to_timestamp_seconds": "The newest moment a database can be restored to.",
    "backup_rpo_achieved_seconds": "Age of the newest moment that is proven to be restorable.",
    "backup_rto_sample_seconds": "How long the last proven restore took.",
    "backup_proof_timestamp_seconds": "When the best proof that is believed was made.",
    "backup_proof_expires_timestamp_seconds": "Until when that proof is believed.",
    "backup_next_due_timestamp_seconds": "When the next backup is due.",
    "backup_immutable_copies": "Copies with the newest point whose lock was tried and lengthened lately.",
    "backup_copy_newest_timestamp_seconds": "When the newest point of a copy was taken.",
    "backup_copy_points": "Recovery points of a copy.",
    "backup_copy_current": "1: the copy has a point that is new enough.",
    "job_red": "1: the job is missing, disabled, silent, not authorised, or failed.",
    "job_last_start_timestamp_seconds": "When the job last began.",
    "job_last_end_timestamp_seconds": "When the job last ended, since the machine was booted.",
    "job_last_exit_code": "How it ended: an exit code of ./inv.",
    "job_authorised_until_timestamp_seconds": "Until when the job may run with nobody watching.",
}


class Sample(NamedTuple):
    """One number, and what it is of."""

    name: str
    value: float
    labels: Mapping[str, str]


def leave_metrics(session: Session, standing: BackupStanding, path: Path) -> None:
    """Write how backups stand, and the jobs of this machine where it has any.

    Raises:
        ConfigError: the file cannot be written, or a declaration has faults.
    """
    try:
        jobs = look_at_jobs(session, Systemd()).jobs
    except PreflightError:  # no systemd, no jobs
        jobs = ()
    write_metrics(path, render_metrics(standing, jobs))


def render_metrics(standing: BackupStanding, jobs: Iterable[JobSeen] = ()) -> str:
    """Give the text of the file: grouped by name, each with its help and type. Pure.

    Source: the text format 0.0.4 of Prometheus' "Exposition formats".
    """
    found: dict[str, list[Sample]] = {name: [] for name in HELP}
    env = {"environment": standing.environment}
    found["backup_status_timestamp_seconds"].append(
        Sample("backup_status_timestamp_seconds", standing.at.timestamp(), env)
    )
    for row in standing.resources:
        for sample in _of_resource(row, env):
            found[sample.name].append(sample)
    for job in jobs:
        for sample in _of_job(job, env):
            found[sample.name].append(sample)
    return "".join(_family(name, samples) for name, samples in found.items() if samples)


def write_metrics(path: Path, text: str) -> None:
    """Put the file in its place at once, for everyone to read.

    Raises:
        ConfigError: its folder is not there, or cannot be written to.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")  # the exporter reads *.prom alone
    try:
        with draft.open("w") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
        draft.replace(path)
    except OSError as exc:
        draft.unlink(missing_ok=True)
        raise ConfigError(
            f"metrics cannot be written to {path}: {exc.strerror}; nothing was changed",
            hint="make the folder that the node exporter's --collector.textfile.directory names",
        ) from exc


def _of_resource(row: ResourceStanding, env: Mapping[str, str]) -> Iterator[Sample]:
    labels = {**env, "resource": row.resource}
    proof = row.proof
    proven = {**labels, "store": proof.store, "level": proof.level.name} if proof else labels
    numbers: Iterable[tuple[str, float | datetime | None, Mapping[str, str]]] = (
        ("backup_red", row.state == "red", {**labels, "service": row.service or "", "kind": row.kind}),
        ("backup_unknown", bool(row.unknown), labels),
        ("backup_frozen", bool(row.frozen), labels),
        ("backup_rpo_seconds", row.rpo_s, labels),
        ("backup_last_good_timestamp_seconds", row.last_good_at, labels),
        ("backup_restorable_to_timestamp_seconds", row.restorable_to, labels),
        ("backup_rpo_achieved_seconds", row.rpo_achieved_s, labels),
        ("backup_rto_sample_seconds", row.rto_sample_s, labels),
        ("backup_proof_timestamp_seconds", proof.at if proof else None, proven),
        ("backup_proof_expires_timestamp_seconds", proof.expires if proof else None, proven),
        ("backup_next_due_timestamp_seconds", row.due_at, labels),
        ("backup_immutable_copies", row.immutable, labels),
    )
    yield from _samples(numbers)
    for copy in row.copies:
        here = {**labels, "store": copy.store}
        if not copy.problem:
            yield from _samples(
                (
                    ("backup_copy_newest_timestamp_seconds", copy.newest_at, here),
                    ("backup_copy_points", copy.points, here),
                    ("backup_copy_current", copy.current, here),
                )
            )


def _of_job(job: JobSeen, env: Mapping[str, str]) -> Iterator[Sample]:
    labels = {**env, "job": job.job}
    yield from _samples(
        (
            ("job_red", job.state == "red", labels),
            ("job_last_start_timestamp_seconds", job.last_at, labels),
            ("job_last_end_timestamp_seconds", job.ended_at, labels),
            ("job_last_exit_code", job.exit_code, labels),
            ("job_authorised_until_timestamp_seconds", job.authorised_until, labels),
        )
    )


def _samples(
    numbers: Iterable[tuple[str, float | datetime | None, Mapping[str, str]]],
) -> Iterator[Sample]:
    for name, value, labels in numbers:
        if value is not None:
            yield Sample(name, value.timestamp() if isinstance(value, datetime) else float(value), labels)


def _family(name: str, samples: Iterable[Sample]) -> str:
    head = f"# HELP mainstay_{name} {HELP[name]}\n# TYPE mainstay_{name} gauge\n"
    return head + "".join(f"mainstay_{name}{_labels(one.labels)} {one.value!r}\n" for one in samples)


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
