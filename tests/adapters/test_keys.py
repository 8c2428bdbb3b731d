"""Keys, logins and certificates of an environment: made once, whole, for nobody else to read."""

import ssl
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from automation.adapters import keys
from automation.model.actions import MakeKeys
from automation.model.environment import load_environment
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome
from tests.conftest import ROOT

NAMES = {"s3": ("s3.city.lab", "10.77.4.10")}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("state")
    made = make(state)
    assert made.changed
    return state


def make(state: Path) -> Outcome:
    action = MakeKeys(secrets=(), logins=("vault_writer",), vcenter_logins=("vcenter",), certificates=NAMES)
    return keys.make(action, cast(Context, SimpleNamespace(state=state)))


def test_what_is_there_is_left_as_it_is(state: Path) -> None:
    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}

    before = content()
    assert not make(state).changed
    assert content() == before
    assert keys.missing(state, ("vault_writer",), ("s3",)) == ()
    assert keys.missing(state, ("vault_owner",), ("ec2",)) == ("vault_owner", "certificates/ec2")


def test_a_login_has_an_access_key_and_a_secret_of_their_own(state: Path) -> None:
    lines = (state / "secrets/vault_writer").read_text().splitlines()
    named = dict(line.split("=") for line in lines)
    assert {name: len(value) for name, value in named.items()} == {
        "AWS_ACCESS_KEY_ID": 20,
        "AWS_SECRET_ACCESS_KEY": 40,
    }


def test_a_login_of_a_vcenter_has_a_user_and_a_password_that_nobody_guesses(state: Path) -> None:
    named = dict(line.split("=", 1) for line in (state / "secrets/vcenter").read_text().splitlines())
    assert named.keys() == {"VSPHERE_USER", "VSPHERE_PASSWORD"}
    assert len(named["VSPHERE_PASSWORD"]) >= 40


def test_a_certificate_is_of_its_names_and_signed_by_the_authority(state: Path) -> None:
    folder = state / "certificates"
    for name in (("-verify_hostname", "s3.city.lab"), ("-verify_ip", "10.77.4.10")):
        argv = ["openssl", "verify", "-CAfile", str(folder / "ca.crt"), *name, str(folder / "s3.crt")]
        subprocess.run(argv, check=True, capture_output=True)
    ssl.create_default_context(cafile=str(folder / "ca.crt"))
    assert {path.name: oct(path.stat().st_mode & 0o077) for path in folder.glob("*.key")} == {
        "ca.key": "0o0",
        "s3.key": "0o0",
    }


def test_a_certificate_that_cannot_be_made_is_an_error_and_leaves_none(tmp_path: Path) -> None:
    (tmp_path / "certificates").mkdir()
    (tmp_path / "certificates/ca.crt").write_text("no certificate\n")
    (tmp_path / "certificates/ca.key").write_text("no key\n")
    with pytest.raises(AdapterError, match="no certificate was made"):
        make(tmp_path)
    assert not (tmp_path / "certificates/s3.crt").exists()


@pytest.mark.parametrize(
    ("url", "reached"),
    [
        ("https://s3.city.lab", "https://10.77.4.10"),
        ("s3:https://s3.city.lab/city-files", "s3:https://10.77.4.10/city-files"),
        ("https://10.77.4.10/city-files", "https://10.77.4.10/city-files"),
        ("https://s3.us-east-2.amazonaws.com/x", "https://s3.us-east-2.amazonaws.com/x"),
    ],
)
def test_the_control_node_reaches_a_simulator_by_its_address(url: str, reached: str) -> None:
    lab = load_environment(ROOT, "lab")
    assert lab.from_control_node(url) == reached
    assert (lab.simulator_at(url) is None) == ("amazonaws" in url)
