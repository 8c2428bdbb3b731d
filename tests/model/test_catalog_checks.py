"""What two services would each fence and move as their own: found before anything is planned."""

import pytest

from automation.model.catalog_checks import Declared, Finding, check_catalog
from automation.model.services import Service
from tests.recovery.cloud_city import GIS, PORTAL, make_cloud_city

CITY = make_cloud_city().catalog
WEB = {"aws-east": ("shop-e1", "shop-e2"), "aws-west": ("shop-w1", "shop-w2")}
DATABASES = {"aws-east": "shop-db", "aws-west": "shop-db-west"}


def beside(name: str, **changes: object) -> list[Finding]:
    """Give what is found when another service stands beside one of the city, with another strategy."""
    first = CITY.services[name]
    end = first.endpoints["web"].model_copy(update={"name": "shop.city.lab"})
    strategy = first.strategy.model_copy(update=changes)
    shop = first.model_copy(update={"endpoints": {"web": end}, "strategy": strategy})
    services: dict[str, Service] = {name: first, "shop": shop}
    return list(check_catalog(services, Declared(tuple(CITY.sites), tuple(services))))


def test_pilot_lights_with_their_own_databases_and_instances_stand_beside_each_other() -> None:
    assert beside("portal", hosts=WEB, database=DATABASES) == []
    assert beside("portal", hosts=WEB, database={}) == []


@pytest.mark.parametrize(
    ("database", "where", "told"),
    [
        ({**DATABASES, "aws-east": "portal-db"}, ("database", "aws-east"), "portal-db of aws-east"),
        ({**DATABASES, "aws-west": "portal-db-west"}, ("database", "aws-west"), "portal-db-west of aws-west"),
        ({"aws-east": "portal-db-west"}, ("database",), "portal-db-west of aws-west"),
    ],
    ids=["serving", "replica", "made-under-the-other-name"],
)
def test_a_database_that_two_services_would_promote_is_found(
    database: dict[str, str], where: tuple[str, ...], told: str
) -> None:
    assert beside("portal", hosts=WEB, database=database) == [
        Finding(
            ("services", "shop", "strategy", *where),
            f"portal promotes database {told} too; declare it once and depend on that service",
        )
    ]


def test_an_instance_that_two_services_would_stop_is_found() -> None:
    hosts = {**WEB, "aws-east": ("shop-e1", "web-e2")}
    assert beside("portal", hosts=hosts, database=DATABASES) == [
        Finding(
            ("services", "shop", "strategy", "hosts", "aws-east", 1),
            "portal stops and starts web-e2 too; give each service instances of its own",
        )
    ]


def test_a_vm_that_two_services_would_move_is_found_once() -> None:
    assert beside("gis", vms=(("shop-a",), (GIS.vms[0][0],))) == [
        Finding(
            ("services", "shop", "strategy", "vms", 1, 0),
            "gis moves VM gis-db-a too; declare it once and depend on that service",
        )
    ]
    assert beside("gis", vms=(("shop-a",),)) == []


def test_a_database_of_that_name_in_another_region_is_another_one() -> None:
    swapped = {"aws-east": PORTAL.database["aws-west"], "aws-west": PORTAL.database["aws-east"]}
    assert beside("portal", hosts=WEB, database=swapped) == []
