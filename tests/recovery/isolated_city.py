"""The lab's city with a drill's server, and what its backups hold."""

from datetime import UTC, datetime, timedelta

from automation.model.actions.databases import Stanza
from automation.model.environment import Inventory, Server
from automation.model.plan import Plan
from automation.model.recovery_points import Level
from automation.model.restorable import Backup, Copy, Moments, Restorable
from automation.recovery.isolated import compile_isolated
from automation.recovery.isolation import Given, Source
from automation.recovery.planner import City
from automation.recovery.spec import Drill, RecoveryPlan
from tests.recovery.conftest import make_city

DAY = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
LABEL = "20261122-010000F"
DRILL = Drill.model_validate(
    {
        "name": "restore-from-backup",
        "title": "from backup alone",
        "plan": "city",
        "mode": "test-failover",
        "site": "city-hall",
        "isolation": {"services": ("payments-db", "payments"), "host": "drill-b", "store": "eoc-pg"},
    }
)
PLAN = RecoveryPlan.model_validate({"title": "t", "services": "all", "checks": ["drtests/checks"]})


def make_isolated_city(**server: object) -> City:
    city = make_city()
    known = {"site": "eoc", "provider": "nspawn", "image": "debian-12"}
    more = {
        "bk-a": Server(name="bk-a", address="10.77.1.40", **{**known, "site": "city-hall"}),  # type: ignore[arg-type]
        "bk-b": Server(name="bk-b", address="10.77.2.40", **known),  # type: ignore[arg-type]
        "drill-b": Server.model_validate(
            {"name": "drill-b", "address": "10.77.2.50", **known, "on_demand": True, **server}
        ),
    }
    return city._replace(inventory=Inventory(servers={**city.inventory.servers, **more}))


def make_restorable(**changes: object) -> Restorable:
    words: dict[str, object] = {
        "resource": "payments-db",
        "kept": Copy(of=Stanza(store="eoc-pg", stanza="payments", repo=2), keeper="bk-b"),
        "site": "eoc",
        "backups": (Backup(label=LABEL, at=DAY - timedelta(hours=2)),),
        "moments": (Moments(first=DAY - timedelta(hours=1), last=DAY - timedelta(minutes=1)),),
        "seen_at": DAY,
        "level": Level.L4,
        "proven_at": DAY - timedelta(days=1),
        "restore_s": 40.0,
    }
    return Restorable.model_validate({**words, **changes})


def given(restorable: Restorable | None = None, seed: int = 7) -> Given:
    copies = (
        Copy(of=Stanza(store="hall-pg", stanza="payments", repo=1), keeper="bk-a"),
        Copy(of=Stanza(store="eoc-pg", stanza="payments", repo=2), keeper="bk-b"),
    )
    return Given({"payments-db": Source(restorable or make_restorable(), copies)}, {}, seed)


def make_isolated_plan(drill: Drill = DRILL, seed: int = 7) -> Plan:
    return compile_isolated(drill, PLAN, make_isolated_city(), given(seed=seed))
