"""The file for Prometheus: read by its own parser; unknown is left out, names are of the practice."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from automation.backups.standing import BackupStanding, CopyStanding, ProofSeen, ResourceStanding
from automation.commands._metrics import HELP, render_metrics, write_metrics
from automation.model.errors import ConfigError
from automation.model.recovery_points import Level
from automation.model.timers import JobSeen

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
TAKEN = NOW - timedelta(hours=3)
PROOF = ProofSeen(
    level=Level.L3,
    store="hall-nas",
    at=NOW - timedelta(days=2),
    expires=NOW + timedelta(days=12),
    point="a" * 64,
    by="run",
    seconds=41.5,
    size_bytes=7,
)
COPIES = (
    CopyStanding(store="hall-nas", site="a", medium="disk", points=21, newest_at=TAKEN, current=True),
    CopyStanding(store="vault", site="cloud", medium="object-store", problem="no answer"),
)
SHARE = ResourceStanding(
    resource="city-share",
    service="files",
    kind="files",
    state="red",
    rpo_s=14400.0,
    last_good_at=TAKEN,
    restorable_to=None,
    age_s=10800.0,
    proof=PROOF,
    rpo_achieved_s=172800.0,
    rto_sample_s=41.5,
    copies=COPIES,
    immutable=0,
    due_at=NOW + timedelta(hours=1),
    frozen=("83 % changed",),
    wrong=("83 % changed",),
    unknown=("vault cannot be looked at: no answer",),
)
NOTHING = SHARE.model_copy(
    update={
        "resource": 'odd "name"\\with\nsigns',
        "service": None,
        "last_good_at": None,
        "proof": None,
        "rpo_achieved_s": None,
        "rto_sample_s": None,
        "copies": (),
        "due_at": None,
    }
)
ROTATE = JobSeen(
    job="backup.rotate", unit="u", state="ok", last_at=TAKEN, ended_at=TAKEN, exit_code=0, ended="done"
)
STANDING = BackupStanding(environment="city", at=NOW, resources=(SHARE, NOTHING))


def read(text: str) -> dict[tuple[str, str], float]:
    """Every sample by name and by what it is of."""
    return {
        (one.name, one.labels.get("resource", one.labels.get("job", ""))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_every_number_is_where_an_alarm_looks_for_it() -> None:
    found = read(render_metrics(STANDING, (ROTATE,)))
    assert found["mainstay_backup_status_timestamp_seconds", ""] == NOW.timestamp()
    assert found["mainstay_backup_last_good_timestamp_seconds", "city-share"] == TAKEN.timestamp()
    assert found["mainstay_backup_proof_timestamp_seconds", "city-share"] == PROOF.at.timestamp()
    assert found["mainstay_backup_rpo_seconds", "city-share"] == 14400
    assert found["mainstay_backup_rpo_achieved_seconds", "city-share"] == 172800
    assert found["mainstay_backup_frozen", "city-share"] == 1
    assert found["mainstay_job_last_exit_code", "backup.rotate"] == 0
    assert found["mainstay_job_red", "backup.rotate"] == 0


def test_what_is_not_known_is_left_out_and_is_no_zero() -> None:
    text = render_metrics(STANDING)
    found = read(text)
    odd = NOTHING.resource
    assert found["mainstay_backup_red", odd] == 1
    assert ("mainstay_backup_last_good_timestamp_seconds", odd) not in found
    assert ("mainstay_backup_proof_timestamp_seconds", odd) not in found
    assert 'store="vault"' not in text, "nobody could look at it"
    assert "job_" not in text


def test_each_metric_is_a_gauge_with_help_and_its_samples_stand_together() -> None:
    families = list(text_string_to_metric_families(render_metrics(STANDING, (ROTATE,))))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert set(names) <= {f"mainstay_{name}" for name in HELP}
    for family in families:
        assert (family.type, bool(family.documentation)) == ("gauge", True)
        assert all(one.name == family.name and "environment" in one.labels for one in family.samples)
        assert len({tuple(one.labels.items()) for one in family.samples}) == len(family.samples)


def test_a_name_says_its_unit() -> None:
    counts = ("red", "unknown", "frozen", "copies", "points", "current", "exit_code")
    assert all(name.endswith(("_seconds", *counts)) for name in HELP)


def test_the_file_is_put_in_place_whole_for_everyone_to_read(tmp_path: Path) -> None:
    path = tmp_path / "mainstay.prom"
    path.write_text("old")
    write_metrics(path, "new\n")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new\n", 0o644)
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be written to .*/none/mainstay\.prom: No such file"):
        write_metrics(tmp_path / "none/mainstay.prom", "x")
