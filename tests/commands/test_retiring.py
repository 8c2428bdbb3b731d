"""What a server may not be retired for, and what a refusal tells a person to do."""

from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from automation.commands import _retiring, _retiring_kept
from automation.commands._providers import saved_hosts
from automation.commands._render_servers import kept_in_words
from automation.commands._retiring import RetireFlags, refuse_needed, refuse_unproven, retire
from automation.commands._retiring_kept import copies_of
from automation.model.actions import DeleteKept
from automation.model.environment import Inventory, Server, load_environment
from automation.model.errors import AdapterError, ConfigError, PreflightError
from automation.model.servers import KeptSnapshot
from automation.provisioning.retiring import Leave, plan_end
from tests.conftest import ROOT

LAB = ROOT / "inventories/lab"
NAS = Server(name="nas", address="10.77.1.99")
LEAVE = Leave(name="files-a", site="city-hall", since=datetime(2026, 11, 1, tzinfo=UTC), run_id="r")
DECISION: Any = SimpleNamespace(name="files-a", provider="nspawn")


@pytest.fixture
def city(tmp_path: Path) -> Any:
    """The lab's own files in a folder that a test may change; its inventory knows one host more."""
    for name in ("services.yml", "backups.yml"):
        (tmp_path / name).write_text((LAB / name).read_text())
    environment = load_environment(ROOT, "lab").model_copy(update={"folder": tmp_path})
    return SimpleNamespace(environment=environment, inventory=Inventory(servers={"nas": NAS}))


@pytest.mark.parametrize(
    ("host", "why", "file"),
    [
        ("pg-a", "payments-db stands on pg-a", "services.yml"),
        ("dns-b", "dns-b is the DNS server of eoc", "services.yml"),
        ("client-1", "clients are watched from client-1", "environment.yml"),
        ("bk-b", "bk-b is needed for eoc-nas, eoc-pg, scratch of backups.yml", "backups.yml"),
    ],
    ids=["a service's", "a DNS server", "the witness", "a keeper of backups"],
)
def test_a_host_that_serves_is_not_retired(city: Any, host: str, why: str, file: str) -> None:
    with pytest.raises(PreflightError, match=why) as told:
        refuse_needed(city, host)
    assert str(told.value).endswith("; nothing was changed")
    assert file in (told.value.hint or "")


@pytest.mark.parametrize(
    "place", ["sftp:backup@nas:/srv/restic", "sftp://b@10.77.1.99:22//srv", "rest:http://nas/"]
)
def test_a_server_that_only_holds_a_repository_is_not_retired(city: Any, place: str) -> None:
    path = city.environment.folder / "backups.yml"
    path.write_text(path.read_text().replace("sftp:backup@bk-a:/srv/restic/main", place))
    with pytest.raises(PreflightError, match=r"nas is needed for hall-nas of backups\.yml"):
        refuse_needed(city, "nas")


def test_a_catalog_of_several_files_counts_as_one(city: Any) -> None:
    folder = city.environment.folder
    (folder / "services").mkdir()
    (folder / "services.yml").rename(folder / "services/all.yml")
    with pytest.raises(PreflightError, match="payments-db stands on pg-a"):
        refuse_needed(city, "pg-a")


def test_where_nothing_is_declared_nothing_is_needed_but_the_witness(city: Any) -> None:
    for path in city.environment.folder.iterdir():
        path.unlink()
    for host in ("pg-a", "bk-b", "nas"):
        refuse_needed(city, host)
    with pytest.raises(PreflightError, match="clients are watched from"):
        refuse_needed(city, "client-1")


@pytest.mark.parametrize(
    ("provider", "stays"),
    [
        ("nspawn", "its disk stays until lab.down"),
        ("aws", "snapshots of its disks stay"),
        ("vsphere", "its disks stay, moved aside in their datastore"),
    ],
)
def test_one_that_is_not_saved_is_told_what_stays_of_it_at_its_provider(
    city: Any, provider: str, stays: str
) -> None:
    nas: Any = SimpleNamespace(name="nas", provider=provider)
    with pytest.raises(PreflightError, match="nothing of nas is saved") as told:
        refuse_unproven(city, nas, False, None)
    assert f"{stays} in any case" in (told.value.hint or "")


def test_rollback_guards_of_a_vm_are_no_backup_of_it_to_be_proven(city: Any) -> None:
    path = city.environment.folder / "backups.yml"
    guard = (
        "  nas-guard:\n    source: {kind: vsphere-snapshots, vm: nas}\n    rpo: 24 h\n"
        "    take: {on_demand: true}\n    to: [nas-vcenter]\n    keep: {profile: rollback}\n"
        "    verify: [{level: L0, every: 1 day}]\n"
    )
    store = "stores:\n  nas-vcenter: {type: vsphere, site: city-hall}\n"
    text = path.read_text().replace("resources:\n", f"resources:\n{guard}").replace("stores:\n", store)
    path.write_text(text.replace("retention:\n", "retention:\n  rollback: {all_for: 2 days}\n"))
    nas: Any = SimpleNamespace(name="nas", provider="vsphere")
    with pytest.raises(PreflightError, match=r"nas-guard of backups\.yml only rolls changes back") as told:
        refuse_unproven(city, nas, False, None)
    assert "--unsaved" in (told.value.hint or "")
    refuse_unproven(city, nas, True, None)
    assert "nas" not in saved_hosts(city)


def test_a_host_that_stands_is_proven_first_and_saved_anew_only_once_it_runs(
    city: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_retiring, "_unproven", lambda session, name: [f"{name} is old"])
    hints = []
    for leave in (None, LEAVE):
        with pytest.raises(PreflightError, match="city-share is old") as told:
            refuse_unproven(city, DECISION, False, leave)
        hints.append(told.value.hint or "")
    running, standing = (
        [hint.find(word) for word in ("backup.verify", "--back", "backup.run")] for hint in hints
    )
    assert 0 <= running[2] < running[0]
    assert 0 <= standing[0] < standing[1] < standing[2]


# --- what was kept -----------------------------------------------------------------------------------


def kept(id_: str, site: str = "east", until: date | None = date(2027, 2, 20)) -> KeptSnapshot:
    at = datetime(2026, 11, 22, tzinfo=UTC)
    return KeptSnapshot(
        id=id_, site=site, server="files-a", disk="data", size_bytes=2**30, at=at, run_id="r", until=until
    )


def test_what_is_over_goes_by_ids_at_each_site_and_behind_a_question_of_its_own() -> None:
    over = (kept("snap-1"), kept("snap-2", "west"), kept("snap-3"))
    steps = plan_end("city", "files-a", over, "This is the last copy.").steps
    assert [step.id for step in steps] == ["delete-kept/files-a/east", "delete-kept/files-a/west"]
    runs = [step.run for step in steps if isinstance(step.run, DeleteKept)]
    assert [[one.id for one in run.snapshots] for run in runs] == [["snap-1", "snap-3"], ["snap-2"]]
    asked = [step.gate.ask if step.gate else "" for step in steps]
    assert "snap-1 (disk data, of 2026-11-22), snap-3" in asked[0]
    assert all(ask.endswith("? This is the last copy.") for ask in asked)


@pytest.mark.parametrize(
    ("today", "until", "said"),
    [
        (date(2027, 2, 20), date(2027, 2, 20), "kept until 2027-02-20"),
        (date(2027, 3, 1), date(2027, 2, 20), "over since 2027-02-21"),
        (date(2027, 3, 1), None, "kept for good: its tag mainstay:until tells no day"),
    ],
    ids=["its last day", "over", "no day"],
)
def test_what_is_kept_is_shown_with_its_end(today: date, until: date | None, said: str) -> None:
    assert kept_in_words(kept("snap-1", until=until), today).endswith(f"(run r); {said}")


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (
            {"city-share": datetime(2026, 12, 1, tzinfo=UTC)},
            "Its newest good backups: city-share of 2026-12-01.",
        ),
        ({"city-share": None}, "the last copy of files-a that is known of: no good point of city-share was"),
        ({}, "could not be looked at (nas is silent): take this for the last copy of files-a."),
    ],
    ids=["saved", "no good point", "not seen"],
)
def test_who_is_asked_is_told_whether_it_is_the_last_copy(
    city: Any, monkeypatch: pytest.MonkeyPatch, seen: dict[str, Any], said: str
) -> None:
    def last_good(session: Any, resource: str) -> Any:
        if resource not in seen:
            raise AdapterError("nas is silent")
        return seen[resource]

    monkeypatch.setattr(_retiring_kept, "_last_good", last_good)
    monkeypatch.setattr(_retiring_kept, "resources_of", lambda session, host: ("city-share",))
    assert said in copies_of(city, "files-a", ())


def test_what_stays_of_its_disks_is_no_last_copy(city: Any) -> None:
    said = copies_of(city, "nas", (kept("snap-9", until=date(2027, 5, 1)),))
    assert said == "1 other snapshots of its disks stay until 2027-05-01."


def test_a_host_that_nothing_saves_is_told_to_be_the_last_copy(city: Any) -> None:
    assert "of nas that is known of: no resource of backups.yml saves it." in copies_of(city, "nas", ())


@pytest.mark.parametrize(
    "flags",
    [RetireFlags("files-a", back=True, kept=True), RetireFlags(network="app", kept=True)],
    ids=["back", "network"],
)
def test_what_is_kept_goes_neither_back_nor_with_a_network(city: Any, flags: RetireFlags) -> None:
    with pytest.raises(ConfigError, match="--kept goes with --host alone; nothing was touched"):
        retire(city, SimpleNamespace(), flags)  # type: ignore[arg-type]
