"""The city as site.yml makes it, and the payments service's answers when its database fails.

One city for the whole module; the tests stand in the order of what they leave behind, and the
last one moves the database to the other site.
"""

import time
from collections.abc import Iterator

import pytest

from automation.adapters import nspawn
from automation.adapters.dns import observe_moves, reconcile_server, swap_address
from automation.adapters.ssh import await_ready
from automation.model.actions import AwaitReady, PowerOffServer, ReconcileServer, SwapAddress
from automation.model.errors import AdapterError
from automation.model.moves import Move, Stamp
from automation.model.records import Outcome
from tests.lab.checkout import until
from tests.lab.city import City, port_is_open

CLUSTER = "postgresql@15-main.service"


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    city = City("city", "10.76", tmp_path_factory.mktemp("city"))
    try:
        city.up()
        assert city.converge() > 0
        yield city
    finally:
        city.down()


def test_a_second_run_of_the_site_changes_nothing(city: City) -> None:
    assert city.converge() == 0


def test_the_standby_streams_from_its_slot_with_checksums_on(city: City) -> None:
    seen = city.sql(
        "pg-a",
        "select application_name, state, sync_state from pg_stat_replication",
        "select slot_name, active from pg_replication_slots",
        "show data_checksums",
    )
    assert seen.splitlines() == ["pg-b|streaming|async", "standby_eoc|t", "on"]


def test_the_application_may_only_insert_and_read(city: City) -> None:
    rights = "select string_agg(privilege_type, ',' order by 1) from information_schema.role_table_grants"
    assert (
        city.sql("pg-a", f"{rights} where grantee = 'payments_app'", database="payments") == "INSERT,SELECT"
    )


def test_every_host_finds_the_service_by_name(city: City) -> None:
    address = city.inventory.server("app-a").address
    assert {city.resolve("pay", host) for host in city.inventory.servers} == {address}
    assert "nameserver 10.76.2.10\nnameserver 10.76.1.10" in city.root("client-1", "cat", "/etc/resolv.conf")


def test_an_update_of_the_zone_without_the_key_is_refused(city: City) -> None:
    script = "server 127.0.0.1\nupdate add x.city.lab. 5 A 192.0.2.1\nsend\n"
    done = city.connections.remote("dns-a").run(["nsupdate"], stdin=script)
    assert done.exit_code != 0
    assert "REFUSED" in done.stderr


def test_the_service_stands_ready_but_does_not_run_at_the_recovery_site(city: City) -> None:
    assert not port_is_open(city.inventory.server("app-b").address, 8080)
    states = city.connections.remote("app-b").run(["systemctl", "is-enabled", "payments.service"])
    assert states.stdout.strip() == "disabled"


def test_no_secret_can_be_read_by_other_users_of_a_host(city: City) -> None:
    for host, path in (
        ("app-a", "/etc/payments.env"),
        ("pg-b", "/var/lib/postgresql/replication.pgpass"),
        ("dns-a", "/etc/bind/update.key"),
    ):
        assert city.connections.remote(host).run(["cat", path]).exit_code != 0


# --- names that are moved -------------------------------------------------------------------------

BOTH = ("dns-a", "dns-b")


def move(city: City, host: str, *servers: str) -> None:
    """Move the name pay to an application server, as a failover that reaches these name servers does."""
    other = "app-b" if host == "app-a" else "app-a"
    old, new = city.inventory.server(other).address, city.inventory.server(host).address
    swap = SwapAddress(name="pay.city.lab", old=old, new=new, servers=servers, required=servers)
    assert swap_address(swap, city.context).changed


def told(city: City, server: str) -> Move:
    return observe_moves(server, city.context)["pay.city.lab"]


def reconcile(city: City, server: str = "dns-a") -> Outcome:
    sources = tuple(other for other in BOTH if other != server)
    return reconcile_server(ReconcileServer(server=server, sources=sources), city.context)


def life_of(city: City, unit: str = "named") -> str:
    """What differs from one start of a unit to the next."""
    return city.root("dns-a", "systemctl", "show", "--property=InvocationID", "--value", unit)


def serial(city: City) -> str:
    return city.root("dns-a", "dig", "+short", "@127.0.0.1", "city.lab", "SOA")


def test_a_server_that_never_heard_of_a_move_takes_two_names_at_once(city: City) -> None:
    city.root("dns-a", "systemctl", "stop", "dns-guard")
    move(city, "app-b", "dns-b")
    swap = SwapAddress(
        name="pay-db.city.lab",
        old=city.inventory.server("pg-a").address,
        new=city.inventory.server("pg-b").address,
        servers=("dns-b",),
        required=("dns-b",),
    )
    assert swap_address(swap, city.context).changed
    assert told(city, "dns-a").stamp is None
    assert reconcile(city).changed
    assert observe_moves("dns-a", city.context)["pay-db.city.lab"].addresses == (swap.new,)
    city.point("pay-db", "pg-a")
    city.point("pay", "app-a")
    city.root("dns-a", "systemctl", "start", "dns-guard")


def test_a_move_that_reached_all_servers_leaves_nothing_to_reconcile(city: City) -> None:
    move(city, "app-b", *BOTH)
    assert told(city, "dns-a") == told(city, "dns-b")
    before = serial(city)
    assert not reconcile(city).changed
    assert not reconcile(city, "dns-b").changed
    assert serial(city) == before


@pytest.fixture
def unguarded(city: City) -> Iterator[None]:
    """The guard of dns-a looks away; it would take a move by itself within seconds."""
    city.root("dns-a", "systemctl", "stop", "dns-guard")
    yield
    city.root("dns-a", "systemctl", "start", "named", "dns-guard")


@pytest.mark.usefixtures("unguarded")
def test_a_server_that_missed_a_move_takes_it_without_a_moment_of_silence_and_once(city: City) -> None:
    move(city, "app-a", "dns-b")
    assert told(city, "dns-a") != told(city, "dns-b")
    life = life_of(city)
    outcome = reconcile(city)
    assert (outcome.changed, life_of(city)) == (True, life)
    assert told(city, "dns-a") == told(city, "dns-b")
    assert not reconcile(city).changed
    assert not reconcile(city, "dns-b").changed


@pytest.mark.usefixtures("unguarded")
def test_a_server_that_is_off_takes_a_move_before_it_answers(city: City) -> None:
    city.root("dns-a", "systemctl", "stop", "named")
    move(city, "app-b", "dns-b")
    outcome = reconcile(city)
    assert outcome.changed
    assert "it was started" in outcome.summary
    assert told(city, "dns-a") == told(city, "dns-b")


@pytest.mark.usefixtures("unguarded")
def test_what_a_killed_server_had_only_in_its_journal_is_kept(city: City) -> None:
    key = (city.state / "secrets/tsig_key").read_text().strip()
    lines = ("server 127.0.0.1", f"key hmac-sha256:mainstay {key}", "update add own.city.lab. 5 A 10.76.9.9")
    city.root("dns-a", "nsupdate", stdin="\n".join([*lines, "send", ""]))
    city.root("dns-a", "systemctl", "mask", "--runtime", "named")
    city.root("dns-a", "systemctl", "kill", "--signal=KILL", "named")
    move(city, "app-a", "dns-b")
    city.root("dns-a", "systemctl", "unmask", "--runtime", "named")
    city.root("dns-a", "systemctl", "start", "named")
    assert told(city, "dns-a") == told(city, "dns-b")
    assert city.root("dns-a", "dig", "+short", "@127.0.0.1", "own.city.lab") == "10.76.9.9"


@pytest.mark.usefixtures("unguarded")
def test_nothing_is_changed_while_another_server_is_silent(city: City) -> None:
    move(city, "app-b", "dns-b")
    before = told(city, "dns-a")
    city.root("dns-b", "systemctl", "stop", "named")
    with pytest.raises(AdapterError, match=r"dns-b cannot say what was moved.*nothing was changed"):
        reconcile(city)
    assert told(city, "dns-a") == before
    city.root("dns-b", "systemctl", "start", "named")
    assert reconcile(city).changed


@pytest.mark.usefixtures("unguarded")
def test_an_address_that_somebody_changed_by_hand_is_left_for_a_person(city: City) -> None:
    city.point("pay", "app-a", "dns-a")
    with pytest.raises(AdapterError, match=r"pay\.city\.lab: .* changed by hand"):
        reconcile(city)
    assert told(city, "dns-a").addresses == (city.inventory.server("app-a").address,)
    city.point("pay", "app-b", "dns-a")
    assert not reconcile(city).changed


def test_a_move_counts_after_one_that_a_faster_clock_has_stamped(city: City) -> None:
    last = Stamp(at_ms=9_000_000_000_000, run_id="a-clock-that-is-ahead")
    city.point("pay", "app-b", *BOTH, stamp=last.text)
    move(city, "app-a", "dns-b")
    stamp = told(city, "dns-b").stamp
    assert stamp is not None
    assert stamp.order > last.order
    city.root("dns-a", "systemctl", "restart", "dns-guard")
    until(lambda: told(city, "dns-a") == told(city, "dns-b"), "the guard of dns-a takes it by itself")


# --- the service's promises -----------------------------------------------------------------------


def test_a_payment_has_one_receipt_however_often_it_is_sent(city: City) -> None:
    first, again, other = city.pay("twice"), city.pay("twice"), city.pay("twice", amount_cents=1)
    assert (first.status, again.status, other.status) == (201, 200, 409)
    assert first.body == again.body
    assert city.call("GET", "/receipts?limit=1").body[0]["reference"] == "twice"


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{", '{"reference": "r", "account": "a", "amount_cents": 0}', '{"reference": "\\u0000"}'],
)
def test_a_wrong_request_is_refused_and_not_written(city: City, body: str) -> None:
    answer = city.call("POST", "/payments", body=body)
    assert (answer.status, answer.body["written"]) == (400, False)


def test_without_its_database_it_says_so_and_comes_back_by_itself(city: City) -> None:
    assert city.pay("before-stop").status == 201  # leaves a kept connection that will prove dead
    city.root("pg-a", "systemctl", "stop", CLUSTER)
    answer, health = city.pay("while-stopped"), city.call("GET", "/health")
    city.root("pg-a", "systemctl", "start", CLUSTER)
    assert (answer.status, answer.body["written"]) == (503, False)
    assert (health.status, health.body["database"]) == (503, "unreachable")
    assert city.pay("after-start").status == 201
    assert not city.stored("while-stopped")


def test_a_database_that_hangs_is_given_up_in_time_and_nothing_is_written(city: City) -> None:
    assert city.pay("before-freeze").status == 201
    city.root("pg-a", "pkill", "-STOP", "-u", "postgres", "postgres")
    began = time.monotonic()
    answer = city.pay("while-frozen")
    waited = time.monotonic() - began
    city.root("pg-a", "pkill", "-CONT", "-u", "postgres", "postgres")
    assert (answer.status, answer.body["written"]) == (503, False)
    assert waited < 5
    assert city.pay("after-freeze").status == 201
    assert not city.stored("while-frozen")


def test_a_commit_that_got_no_answer_is_never_called_written_or_not(city: City) -> None:
    city.converge(limit="postgresql", postgresql_synchronous=True)
    assert city.pay("synchronous").status == 201
    nspawn.power_off_server(PowerOffServer(host="pg-b"), city.context)
    answer = city.pay("in-doubt")
    assert (answer.status, answer.body["written"]) == (500, "unknown")
    _power_on(city, "pg-b")
    assert city.pay("in-doubt").status == 200, "it was committed; the standby has it by now"
    assert city.stored("in-doubt", "pg-b")
    assert city.converge() > 0
    assert city.sql("pg-a", "show synchronous_standby_names") == ""


def test_the_service_follows_its_database_to_the_other_site_and_the_site_leaves_it_there(city: City) -> None:
    assert city.pay("before-move").status == 201
    nspawn.power_off_server(PowerOffServer(host="pg-a"), city.context)
    assert city.pay("while-moving").status == 503
    city.sql("pg-b", "select pg_promote()")
    city.point("pay-db", "pg-b")
    assert city.pay("after-move").status == 201
    assert city.stored("after-move", "pg-b")
    assert city.converge(limit="all:!pg-a") == 0
    assert city.sql("pg-b", "select pg_is_in_recovery(), count(*) from pg_replication_slots") == "f|0"
    assert city.resolve("pay-db", "client-1") == city.inventory.server("pg-b").address


def _power_on(city: City, host: str) -> None:
    city.connections.close()  # the kept ones died with the power
    supervisor = nspawn.client.Supervisor(city.state, city.environment.require_lab().id)
    supervisor.ask("start_server", server=host, autostart=True)
    await_ready(AwaitReady(host=host), city.context)
    # Its own word: the primary goes on calling the dead connection streaming for some seconds.
    question = "select status from pg_stat_wal_receiver"
    command = ["sudo", "-n", "runuser", "-u", "postgres", "--", "psql", "-XqAt", "-c", question]
    deadline = time.monotonic() + 20
    while city.connections.remote(host).run(command).stdout.strip() != "streaming":
        assert time.monotonic() < deadline, f"{host} does not stream again"
        time.sleep(0.1)
