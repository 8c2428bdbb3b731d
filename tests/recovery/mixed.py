"""The lab's city with services of every strategy: what its machines move, what people and vendors do."""

from datetime import date

from automation.model.catalog import Service
from automation.recovery.planner import City
from automation.recovery.spec import Failover, RecoveryPlan

ASKED = Failover(plan="all", site="city-hall", title="fire", declaration="20261121-031400-0b1e")
CHECKS = ("drtests/checks",)

_COMMON = {"owner": "web-team", "tier": 3, "rto": "30 min", "rpo": "1 h", "primary": "city-hall"}

NOTICES = Service.model_validate(
    {
        **_COMMON,
        "title": "Public notices",
        "recovery": "eoc",
        "depends_on": ["payments"],
        "endpoints": {"web": {"name": "notices.city.lab", "port": 8081}},
        "probes": {"page": {"kind": "http", "endpoint": "web"}},
        "strategy": {
            "kind": "playbooks",
            "hosts": {"city-hall": ["app-a"], "eoc": ["app-b"]},
            "fence": "playbooks/notices_fence.yml",
            "recover": "playbooks/notices_recover.yml",
            "verify": "playbooks/notices_verify.yml",
        },
    }
)
SWITCHBOARD = Service.model_validate(
    {
        **_COMMON,
        "title": "Switchboard",
        "owner": "telephone-desk",
        "recovery": "eoc",
        "strategy": {
            "kind": "manual",
            "checklist": [
                {"do": "Forward the main number to the EOC", "expect": "a test call rings there"},
                {"do": "Seat two people at the EOC desk", "takes": "20 min"},
            ],
            "sign_off": "clerk",
        },
    }
)
PORTAL = Service.model_validate(
    {
        **_COMMON,
        "title": "Tax portal",
        "owner": "treasurer",
        "recovery": "city-hall",
        "contacts": [{"role": "support-desk", "reach": "page 3 of the contact list"}],
        "strategy": {
            "kind": "vendor",
            "vendor": "Taxes Inc",
            "accepted_risk": "taxes are paid at the counter for two days",
            "accepted_by": "treasurer",
            "review_by": date(2027, 1, 1),
        },
    }
)
OWN = {"notices": NOTICES, "switchboard": SWITCHBOARD, "portal": PORTAL}


def mix(city: City, **changes: Service) -> City:
    """Add the three to a city's catalog."""
    services = {**city.catalog.services, **OWN, **changes}
    return city._replace(catalog=city.catalog.model_copy(update={"services": services}))


def plan_of(**words: object) -> RecoveryPlan:
    """Make a recovery plan as its file would."""
    return RecoveryPlan.model_validate({"title": "all", "services": "all", "checks": CHECKS, **words})
