"""A login that nobody made before: what proves that somebody can still come in."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from automation.adapters.devices.vendors import vendor_kind
from automation.model.errors import AdapterError
from tests.adapters.device_configs import IOS
from tests.adapters.talking_device import Script
from tests.lab.checkout import until
from tests.lab.ssh_devices import Bench, bench_in

pytestmark = pytest.mark.lab

SHOW = "show running-config"
KIND = vendor_kind("cisco-ios")
SCRIPT = Script(prompt="gear#", answers={SHOW: IOS}, page_lines=24)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bench_in(tmp_path) as made:
        yield made


def test_a_fresh_login_is_a_connection_of_its_own_and_the_kept_one_outlives_it(bench: Bench) -> None:
    gear = bench.device(SCRIPT)
    connections = bench.connections()
    try:
        with closing(connections.terminal("gear", KIND.manners, "", None, None)) as kept:
            assert gear.logged_in == 1
            with connections.fresh("gear"):
                until(lambda: gear.logged_in == 2, "one more is in")
            until(lambda: gear.logged_in == 1, "it has gone again")
            assert kept.ask(SHOW, whole=KIND.is_whole) == IOS.decode()
    finally:
        connections.close()


def test_a_fresh_login_believes_no_other_host_key(bench: Bench) -> None:
    gear = bench.device(SCRIPT, pinned=False)
    with pytest.raises(AdapterError, match="cannot log in to gear"), bench.connections().fresh("gear"):
        pytest.fail("somebody else was believed")
    assert gear.logged_in == 0
