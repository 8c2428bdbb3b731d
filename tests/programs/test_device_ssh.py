"""Devices over real SSH: who is let in, whose host key is believed; their files, and how they are proven."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from automation.adapters import devices
from automation.adapters.devices.files import Pair, write_pair
from automation.adapters.devices.secrets import split
from automation.adapters.devices.vendors import vendor_kind
from automation.adapters.nspawn.image import build, root_of
from automation.adapters.ssh import Connections
from automation.engine.context import RunContext
from automation.model.actions import FetchConfig, ProveConfig
from automation.model.backup_evidence import ConfigFetched, PointProven, ProofFailed
from automation.model.environment import Environment, Inventory, state_root
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Remote
from automation.model.recovery_points import Level
from automation.model.terminals import Manners, Terminal
from tests.adapters.device_configs import FRR, IOS
from tests.adapters.talking_device import Script
from tests.lab.ssh_devices import Bench, Here, bench_in

SHOW = "show running-config"
KIND = vendor_kind("cisco-ios")
SCRIPT = Script(prompt="gear#", answers={SHOW: IOS}, page_lines=24)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bench_in(tmp_path) as made:
        yield made


def ask(bench: Bench, password: str | None = None) -> str:
    connections = bench.connections()
    try:
        with closing(connections.terminal("gear", KIND.manners, "", password, None)) as terminal:
            return terminal.ask(SHOW, whole=KIND.is_whole)
    finally:
        connections.close()


@pytest.mark.parametrize("turns_pager_off", [True, False])
def test_a_whole_configuration_comes_over_a_kept_connection(bench: Bench, turns_pager_off: bool) -> None:
    bench.device(replace(SCRIPT, turns_pager_off=turns_pager_off))
    assert ask(bench) == IOS.decode()


def test_a_device_that_takes_no_key_takes_a_password_which_is_never_told(bench: Bench) -> None:
    bench.device(SCRIPT, password="S3CRET")
    assert ask(bench, "S3CRET") == IOS.decode()
    with pytest.raises(AdapterError, match="cannot log in to gear") as told:
        ask(bench, "S3CRET-wrong")
    assert "S3CRET" not in str(told.value)


def test_a_host_key_that_is_not_pinned_is_refused_and_nothing_is_said(bench: Bench) -> None:
    device = bench.device(SCRIPT, pinned=False)
    with pytest.raises(AdapterError, match="cannot log in to gear") as told:
        ask(bench)
    assert not told.value.transient
    assert device.heard == []


def test_a_device_that_hangs_up_half_way_is_a_failure(bench: Bench) -> None:
    bench.device(replace(SCRIPT, hangs_up_after=len(IOS) // 2))
    with pytest.raises(AdapterError, match="closed the connection"):
        ask(bench)


# --- fetched to files and proven ------------------------------------------------------------------


def fetched(bench: Bench, folder: Path, **changes: object) -> Outcome:
    action = FetchConfig(
        host="keeper", device="gear", vendor="cisco-ios", folder=str(folder), split_secrets=True
    ).model_copy(update=changes)
    connections = bench.connections()
    try:
        return devices.fetch(action, context(connections, folder))
    finally:
        connections.close()


def context(connections: Connections, folder: Path) -> Context:
    """What an adapter needs of a run: a terminal, and this machine for every host."""
    run = RunContext(
        run_id="test",
        environment=cast("Environment", SimpleNamespace(name="test", kind="lab")),
        inventory=Inventory(servers={}),
        state=folder,
        images=folder,
        artifacts=folder,
        connections=connections,
        progress=lambda step, text: None,
    )
    connections.remote = lambda host: Here()  # type: ignore[method-assign, assignment, return-value]
    connections.terminal = partial(_hastier, connections.terminal)  # type: ignore[method-assign]
    return run


def _hastier(terminal: Callable[..., Terminal], host: str, manners: Manners, *login: str | None) -> Terminal:
    return terminal(host, manners.model_copy(update={"settle_s": 0.03}), *login)


def proving(folder: Path, vendor: str = "cisco-ios") -> ProveConfig:
    return ProveConfig.model_validate(
        {
            "host": "scratch",
            "resource": "routers",
            "store": "nas",
            "point": "0" * 64,
            "vendor": vendor,
            "folder": str(folder),
            "devices": ["gear"],
        }
    )


def test_two_files_of_root_alone_hold_a_configuration_and_apart_from_it_its_secrets(
    bench: Bench, tmp_path: Path
) -> None:
    bench.device(SCRIPT)
    folder = tmp_path / "configs/routers"
    folder.mkdir(parents=True)
    (folder / ".gear.secrets.a1B2c3").write_text("left by one that was killed")
    outcome = fetched(bench, folder)
    config, secrets = folder / "gear.conf", folder / "gear.secrets"
    assert "S3CRET" not in config.read_text() + outcome.model_dump_json()
    assert "S3CRET-bgp" in secrets.read_text()
    assert {file.stat().st_mode & 0o777 for file in (config, secrets)} == {0o600}
    assert sorted(file.name for file in folder.iterdir()) == ["gear.conf", "gear.secrets"]
    evidence = outcome.evidence
    assert isinstance(evidence, ConfigFetched)
    assert evidence.changed
    assert evidence.secrets == IOS.count(b"S3CRET") + 1  # and a description that speaks of a password


def test_what_only_looks_changed_leaves_the_files_alone(bench: Bench, tmp_path: Path) -> None:
    device = bench.device(SCRIPT)
    fetched(bench, tmp_path)
    before = (tmp_path / "gear.conf").stat()
    device.script = replace(SCRIPT, answers={SHOW: IOS.replace(b"10:21:07", b"11:22:33")})
    again = fetched(bench, tmp_path)
    assert not again.changed
    assert (tmp_path / "gear.conf").stat().st_ino == before.st_ino
    device.script = replace(SCRIPT, answers={SHOW: IOS.replace(b"S3CRET-bgp", b"S3CRET-new")})
    changed = fetched(bench, tmp_path)
    assert isinstance(changed.evidence, ConfigFetched)
    assert changed.evidence.changed
    assert "S3CRET-new" in (tmp_path / "gear.secrets").read_text()


def test_files_that_were_damaged_are_written_anew(bench: Bench, tmp_path: Path) -> None:
    bench.device(SCRIPT)
    fetched(bench, tmp_path)
    whole = (tmp_path / "gear.conf").read_text()
    for damage in (whole[:100], "", whole.replace("gear", "geer")):
        (tmp_path / "gear.conf").write_text(damage)
        assert fetched(bench, tmp_path).changed
        assert (tmp_path / "gear.conf").read_text() == whole


def test_a_device_that_hangs_up_leaves_what_was_fetched_before(bench: Bench, tmp_path: Path) -> None:
    device = bench.device(SCRIPT)
    fetched(bench, tmp_path)
    before = (tmp_path / "gear.conf").read_bytes()
    device.script = replace(SCRIPT, hangs_up_after=900)
    with pytest.raises(AdapterError, match="closed the connection"):
        fetched(bench, tmp_path)
    assert (tmp_path / "gear.conf").read_bytes() == before


def test_secrets_may_stay_where_they_are(bench: Bench, tmp_path: Path) -> None:
    bench.device(SCRIPT)
    fetched(bench, tmp_path)
    assert fetched(bench, tmp_path, split_secrets=False).changed
    assert "S3CRET-bgp" in (tmp_path / "gear.conf").read_text()
    assert "S3CRET" not in (tmp_path / "gear.secrets").read_text()


def test_a_vendor_without_a_checker_is_refused_l4_though_all_is_whole(bench: Bench, tmp_path: Path) -> None:
    bench.device(SCRIPT)
    fetched(bench, tmp_path)
    with pytest.raises(AdapterError, match="L4 cannot be proven") as told:
        devices.prove(proving(tmp_path), context(bench.connections(), tmp_path))
    assert told.value.evidence is None
    assert "L3" in str(told.value.hint)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[: text.index("line vty")], "not what was fetched"),
        (lambda text: text.replace("<secret-3>", "<secret-99>"), "secrets are missing"),
        (lambda text: "", "not in the point"),
    ],
    ids=["cut off", "a secret gone", "empty"],
)
def test_a_damaged_configuration_is_a_failed_proof(
    bench: Bench, tmp_path: Path, damage: Callable[[str], str], said: str
) -> None:
    bench.device(SCRIPT)
    fetched(bench, tmp_path)
    config = tmp_path / "gear.conf"
    config.write_text(damage(config.read_text()))
    with pytest.raises(AdapterError, match=said) as told:
        devices.prove(proving(tmp_path), context(bench.connections(), tmp_path))
    assert isinstance(told.value.evidence, ProofFailed)
    assert "S3CRET" not in str(told.value)


# --- FRR's own checker ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vtysh(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give a PATH in which vtysh is that of the lab's image."""
    images = state_root() / "images"
    build(images, "debian-12", print)
    root, folder = root_of(images, "debian-12"), tmp_path_factory.mktemp("bin")
    libraries = f"{root}/usr/lib/x86_64-linux-gnu/frr:{root}/usr/lib/x86_64-linux-gnu"
    program = folder / "vtysh"
    program.write_text(
        f'#!/bin/sh\nexec "{root}/lib64/ld-linux-x86-64.so.2" --library-path "{libraries}" '
        f'"{root}/usr/bin/vtysh" "$@"\n'
    )
    program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_a_routers_configuration_is_read_by_its_own_checker(
    tmp_path: Path, vtysh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", vtysh)
    leave(tmp_path, configuration())
    evidence = devices.prove(proving(tmp_path, "frr"), context(FakeConnections(), tmp_path)).evidence
    assert isinstance(evidence, PointProven)
    assert evidence.level is Level.L4
    assert sorted(file.name for file in tmp_path.iterdir()) == ["gear.conf", "gear.secrets"]


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("remote-as 65002", "remote-is S3CRET", "gear: line 18: Unknown command"),
        (" neighbor 10.77.2.60 password", " neighbor 10.77.2.60 passwort", "gear: line 19: Unknown command"),
        ("10.1.0.0/16 10.77.1.1", "10.1.0.0/16", "gear: line 10: Command incomplete"),
        ("10.1.0.0/16", "10.1.0.0/160", "gear: line 10: Unknown command"),
        ("router bgp 65001\n", "", "gear: line 17: Unknown command"),
        ("!\nend\n", "!\n", "the configuration is cut off"),
    ],
    ids=["a word", "a secret's line", "a line cut", "an address", "a line gone", "cut at a line's end"],
)
def test_the_checker_really_fails(
    tmp_path: Path, vtysh: str, monkeypatch: pytest.MonkeyPatch, good: str, bad: str, said: str
) -> None:
    monkeypatch.setenv("PATH", vtysh)
    assert good in configuration()
    leave(tmp_path, configuration().replace(good, bad))
    with pytest.raises(AdapterError, match=said) as told:
        devices.prove(proving(tmp_path, "frr"), context(FakeConnections(), tmp_path))
    assert isinstance(told.value.evidence, ProofFailed)
    assert "S3CRET" not in str(told.value)


def test_a_scratch_host_without_the_checker_proves_nothing_and_accuses_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    leave(tmp_path, configuration())
    with pytest.raises(AdapterError, match="has no vtysh") as told:
        devices.prove(proving(tmp_path, "frr"), context(FakeConnections(), tmp_path))
    assert told.value.evidence is None


def configuration() -> str:
    return vendor_kind("frr").configuration(FRR.decode(errors="surrogateescape"))


def leave(folder: Path, text: str) -> None:
    """Leave a configuration as if it had been fetched and restored so."""
    apart = split(text, vendor_kind("frr").hidden, {})
    write_pair(cast("Remote", Here()), str(folder), "gear", Pair(apart.text, apart.secrets))


class FakeConnections(Connections):
    """Nobody to connect to."""

    def __init__(self) -> None:
        super().__init__(Inventory(servers={}), "ops", Path("/nowhere"), Path("/nowhere"))
